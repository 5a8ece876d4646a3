package annotate

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"iocpipe/extract"
	"iocpipe/intel"
)

// VerifyLine returns nil when out is the line in with nothing but an annotation added, in any of the forms of this
// package but the one for people; both are without line ending. It does not share the way in which annotations are
// spliced in: it goes through both lines side by side, and all that the annotation does not account for must be there,
// byte for byte and in its order. Where in had threat, related or iocpipe already, their contents must still be there;
// own entries and the summary may be newer: the summary has then moved behind the rest of iocpipe, and must say what
// the entries of out say.
func VerifyLine(in, out []byte) error {
	if bytes.Equal(in, out) || isAnnotatedText(in, out) {
		return nil
	}
	if bytes.HasPrefix(out, []byte(bareStart)) {
		if utf8.Valid(in) && verifyEvent(appendBare(nil, nil, in), out) == nil {
			return nil
		}
		if verifyEvent(appendBareEscaped(nil, nil, in), out) == nil {
			return nil
		}
	}
	return verifyEvent(in, out)
}

// isAnnotatedText reports whether out is in and the annotation of a text line.
func isAnnotatedText(in, out []byte) bool {
	rest, ok := bytes.CutPrefix(out, in)
	if !ok {
		return false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(textMark)); !ok || !bytes.HasSuffix(rest, []byte("}")) {
		return false
	}
	v, err := fastjson.ParseBytes(rest)
	if err != nil || !hasOnly(v, "verdict", "matches") {
		return false
	}
	matches := v.GetArray("matches")
	foreign := slices.ContainsFunc(matches, func(m *fastjson.Value) bool {
		return !hasOnly(m, "value", "type", "verdict", "source", "votes", "via", "relation", "stale", "reference") ||
			m.GetStringBytes("value") == nil || verdictNamed(m.GetStringBytes("verdict")) == intel.NoVerdict
	})
	return len(matches) > 0 && !foreign && verdictNamed(v.GetStringBytes("verdict")) != intel.NoVerdict
}

// hasOnly reports whether v is an object whose members are among names, none of them twice.
func hasOnly(v *fastjson.Value, names ...string) bool {
	if v.Type() != fastjson.TypeObject {
		return false
	}
	only, seen := true, make(map[string]bool)
	v.GetObject().Visit(func(key []byte, _ *fastjson.Value) {
		only = only && !seen[string(key)] && slices.Contains(names, string(key))
		seen[string(key)] = true
	})
	return only
}

// A verifier compares an event with its annotated form.
type verifier struct {
	in, out   []byte
	reader    entryReader
	rewritten bool     // the summary is not the one that in had
	related   []string // values that were added to related.*
}

// verifyEvent is VerifyLine for two events.
func verifyEvent(in, out []byte) error {
	v := verifier{in: in, out: out}
	var was, is container
	wasAt, ok := was.scanEvent(in)
	if !ok {
		return changedAt(commonLen(in, out))
	}
	isAt, ok := is.scanEvent(out)
	if !ok {
		return errors.New("the output is no JSON object")
	}
	if !bytes.Equal(in[:wasAt.start], out[:isAt.start]) || !bytes.Equal(in[wasAt.end:], out[isAt.end:]) {
		return errors.New("what stands around the object has changed")
	}
	if err := v.contents(&was, &is, ""); err != nil {
		return err
	}
	return v.annotation()
}

func commonLen(x, y []byte) (n int) {
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	return n
}

// changedAt says where, in the annotated line, something differs from the line before.
func changedAt(offset int) error { return fmt.Errorf("changed at byte %d of the output", offset) }

// What an annotation may do to a value, by its path. The elements of a list have the path of the list and "[]".
type part uint8

const (
	foreignPart part = iota // nothing
	familyPart              // an object that gets members
	listPart                // an array that gets elements, or a value that becomes an array
	entryPart               // an own entry, which may be replaced
	valuePart               // a value of related.*
	summaryPart             // a member of the summary, which is replaced
)

func partAt(path string) part {
	switch path {
	case "related", "threat", "iocpipe":
		return familyPart
	case "related.ip", "related.hosts", "related.hash", "threat.enrichments":
		return listPart
	case "related.ip[]", "related.hosts[]", "related.hash[]":
		return valuePart
	case "threat.enrichments[]":
		return entryPart
	}
	if name, ok := strings.CutPrefix(path, "iocpipe."); ok && slices.Contains(summaryNames[:], name) {
		return summaryPart
	}
	return foreignPart
}

// pathOf returns the path of a member of c, which is at path itself.
func (c *container) pathOf(m member, path string) string {
	if m.key.start == m.key.end {
		return path + "[]"
	}
	name := string(appendUnescaped(nil, c.src[m.key.start+1:m.key.end-1]))
	if path == "" {
		return name
	}
	return path + "." + name
}

// whole returns member i with the gap before it.
func (c *container) whole(i int) []byte {
	m := c.members[i]
	return c.src[m.key.start-len(c.gap(i)) : m.value.end]
}

// contents compares what stands between two brackets: the members of was come first in is, with the same gaps; what
// follows was added.
func (v *verifier) contents(was, is *container, path string) error {
	kept, paths := v.keptMembers(was, is, path)
	if len(is.members) < len(kept) {
		return fmt.Errorf("%d of %d members are missing", len(kept)-len(is.members), len(kept))
	}
	for j, i := range kept {
		if err := v.member(was, is, i, j, paths[j]); err != nil {
			return err
		}
	}
	var lead []byte // what stands before the first member
	if len(was.members) > 0 {
		lead = was.gap(0)
	}
	if len(is.members) > 0 && !bytes.Equal(lead, is.gap(0)) {
		return changedAt(is.open)
	}
	if !bytes.Equal(was.gap(len(was.members)), is.gap(len(is.members))) {
		return changedAt(is.tail())
	}
	for j := len(kept); j < len(is.members); j++ {
		at := is.pathOf(is.members[j], path)
		if err := v.added(is, j, at, slices.Contains(paths, at)); err != nil {
			return err
		}
		if partAt(at) != entryPart && partAt(at) != valuePart {
			paths = append(paths, at)
		}
	}
	return nil
}

// keptMembers returns which members of was must be in is, and their paths. These are all members, unless the summary
// has been rewritten: then its members are among those added, but for votes_min perhaps.
func (v *verifier) keptMembers(was, is *container, path string) (kept []int, paths []string) {
	rewritten := false
	for i, m := range was.members {
		rewritten = rewritten || partAt(was.pathOf(m, path)) == summaryPart && (i >= len(is.members) ||
			!bytes.Equal(was.whole(i), is.whole(i)))
	}
	v.rewritten = v.rewritten || rewritten
	for i, m := range was.members {
		if at := was.pathOf(m, path); !rewritten || partAt(at) != summaryPart {
			kept, paths = append(kept, i), append(paths, at)
		}
	}
	return kept, paths
}

// member compares member i of was with member j of is.
func (v *verifier) member(was, is *container, i, j int, path string) error {
	x, y := was.members[i], is.members[j]
	if j > 0 && !bytes.Equal(was.gap(i), is.gap(j)) ||
		!bytes.Equal(was.src[x.key.start:x.value.start], is.src[y.key.start:y.value.start]) {
		return changedAt(y.key.start)
	}
	before, after := x.value.of(was.src), y.value.of(is.src)
	if bytes.Equal(before, after) {
		return nil
	}
	switch partAt(path) {
	case familyPart:
		if before[0] == '{' && after[0] == '{' {
			return v.nested(was, is, x.value, y.value, path)
		}
	case listPart:
		if after[0] == '[' {
			return v.nested(was, is, x.value, y.value, path)
		}
	case entryPart:
		if v.replaces(before, after) {
			return nil
		}
	}
	return changedAt(y.value.start + commonLen(before, after))
}

// nested compares the contents of two values. One that is no container counts as the only element of an array.
func (v *verifier) nested(was, is *container, x, y span, path string) error {
	before := container{src: was.src, open: x.start, close: x.end, members: []member{{span{x.start, x.start}, x}}}
	if was.src[x.start] == is.src[y.start] {
		if _, ok := before.scan(was.src, x.start); !ok {
			return changedAt(y.start)
		}
	}
	var after container
	if _, ok := after.scan(is.src, y.start); !ok {
		return changedAt(y.start)
	}
	return v.contents(&before, &after, path)
}

// replaces reports whether both are own entries for the same value of the same field, with the same foreign members.
func (v *verifier) replaces(before, after []byte) bool {
	x, ok := v.reader.read(before)
	if !ok {
		return false
	}
	field, value := string(x.field), string(x.value)
	y, ok := v.reader.read(after)
	return ok && x.kind == y.kind && string(y.field) == field && string(y.value) == value &&
		sameForeign(foreignIn(before), foreignIn(after))
}

// added checks member i of is, which was not there before: it must be of the annotation, have a name that was not
// taken, and stand there without blanks.
func (v *verifier) added(is *container, i int, path string, taken bool) error {
	m := is.members[i]
	between := is.src[m.key.end:m.value.start]
	if m.key.start < m.key.end && (taken || string(between) != ":") {
		return changedAt(m.key.start)
	}
	if i > 0 && string(is.gap(i)) != "," {
		return changedAt(m.key.start)
	}
	if !v.isOurs(is, m.value, path) {
		return fmt.Errorf("%q at byte %d of the output is not of the annotation", path, m.key.start)
	}
	return nil
}

// isOurs reports whether an added value is one that an annotation adds at path.
func (v *verifier) isOurs(is *container, value span, path string) bool {
	raw := value.of(is.src)
	switch partAt(path) {
	case familyPart:
		return raw[0] == '{' && v.consistsOfOurs(is, value, path)
	case listPart:
		return raw[0] == '[' && v.consistsOfOurs(is, value, path)
	case entryPart:
		_, ok := v.reader.read(raw)
		return ok && len(foreignIn(raw)) == 0
	case valuePart:
		s, err := v.reader.first.ParseBytes(raw)
		if err != nil || s.Type() != fastjson.TypeString {
			return false
		}
		v.related = append(v.related, string(s.GetStringBytes()))
		return true
	case summaryPart:
		v.rewritten = true
		return true
	}
	return false
}

// consistsOfOurs reports whether all that stands between the brackets of an added value is of the annotation.
func (v *verifier) consistsOfOurs(is *container, value span, path string) bool {
	nothing := container{src: is.src, open: value.start + 1, close: value.start + 1}
	var c container
	_, ok := c.scan(is.src, value.start)
	return ok && v.contents(&nothing, &c, path) == nil
}

// annotation compares the parts of the annotation: a summary that was written says what the own entries say, and what
// was added to related.* is a value of theirs, or stands in the event.
func (v *verifier) annotation() error {
	a := New()
	if !a.doc.parse(v.out) {
		return errors.New("the output is no JSON object")
	}
	var values []string
	a.list(threatFields, "enrichments")
	for _, m := range a.items {
		if e, ok := a.reader.read(m.value.of(v.out)); ok {
			a.sum.add(e.verdict, e.votes, e.voted, string(e.field))
			values = append(values, string(e.value))
		}
	}
	if v.rewritten && (a.sum.matches == 0 || !a.summaryStands(a.renderSummary())) {
		return errors.New("the summary in iocpipe is not that of the entries")
	}
	slices.Sort(values)
	for _, value := range v.related {
		if _, ok := slices.BinarySearch(values, value); !ok && !v.seen(value) {
			return fmt.Errorf("related value %q is not in the event", value)
		}
	}
	return nil
}

// seen reports whether value is an indicator, in its normalised form, that stands in the event.
func (v *verifier) seen(value string) bool {
	key, ok := extract.ParseKey(value)
	return ok && key.Value == value && bytes.Contains(v.in, []byte(value))
}
