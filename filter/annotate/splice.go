package annotate

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"iocpipe/extract"
)

// AppendTime appends a time as it is written on events: in UTC, with milliseconds. The time package has a short way for
// RFC 3339 that it does not have with them.
func AppendTime(dst []byte, t time.Time) []byte {
	dst = t.UTC().AppendFormat(dst, time.RFC3339)
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(dst[:len(dst)-1], '.', '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z')
}

// An edit replaces bytes of the event, or puts some in where at is empty, by a piece of Annotator.text.
type edit struct{ at, text span }

// AppendJSON appends event with its annotation to dst. event is a JSON object, which may stand behind a byte order
// mark, blanks and @cee:, and before blanks; hits are in the order of their offsets in event. Every byte that the
// annotation does not need stays:
//
//   - threat.enrichments gets one own entry for each field and value. One that is there already for the same value is
//     replaced in place and keeps its matched.occurred, and what others have put into it; all other elements stay. A value that is no array becomes an
//     array which begins with it.
//   - related.ip, related.hosts and related.hash get the values that they lack, last.
//   - iocpipe gets the summary over all own entries, also those that came with the event; it takes the place of a
//     summary that was there. Other members of iocpipe stay.
//   - Each of these is merged where the event has it, in an object or under dotted names. Where threat, related or
//     iocpipe is something that is no object, it stays, and dotted names are written beside it.
//   - Of names that occur twice, the last one is merged into. No name is written that is there already.
//
// An event whose entries and summary would change in nothing but their times keeps both as they are, so that annotating
// twice is the same as annotating once. ok is false, and event is appended as it came, when it is no JSON object.
// AppendJSON takes time linear in event but for the sorting of hits.
func (a *Annotator) AppendJSON(dst, event []byte, hits []Hit) (out []byte, ok bool) {
	a.choose(event, hits, true)
	if !a.doc.parse(event) {
		return append(dst, event...), false
	}
	return a.splice(dst), true
}

// splice appends a.doc annotated with a.picks, whose hits may be of another line.
func (a *Annotator) splice(dst []byte) []byte {
	a.begin()
	lists := [...]list{a.mergeRelated("ip"), a.mergeRelated("hosts"), a.mergeRelated("hash"), a.mergeEntries()}
	summary := a.mergeSummary()
	for _, l := range lists { // before the new members, which may go to the same offset
		a.extend(l)
	}
	for f := range numFamilies {
		for _, l := range lists {
			if l.family == f {
				a.addList(l)
			}
		}
		if f == ownFields {
			a.addSummary(summary)
		}
		a.closeFamily(f)
	}
	return a.apply(dst)
}

// begin forgets the edits of the event before.
func (a *Annotator) begin() {
	a.edits, a.text, a.stamp, a.changed = a.edits[:0], a.text[:0], a.stamp[:0], false
	a.sum.reset()
}

// now returns the time of the annotation at hand, as it is written. Most events have nothing to write it to.
func (a *Annotator) now() []byte {
	if len(a.stamp) == 0 {
		a.stamp = AppendTime(a.stamp, a.Now())
	}
	return a.stamp
}

// apply appends the event with the edits made.
func (a *Annotator) apply(dst []byte) []byte {
	slices.SortStableFunc(a.edits, func(x, y edit) int {
		return cmp.Or(cmp.Compare(x.at.start, y.at.start), cmp.Compare(x.at.end, y.at.end))
	})
	done := 0
	for _, e := range a.edits {
		dst = append(dst, a.doc.src[done:e.at.start]...)
		dst = append(dst, e.text.of(a.text)...)
		done = e.at.end
	}
	return append(dst, a.doc.src[done:]...)
}

func (a *Annotator) insertString(at int, s string) {
	from := len(a.text)
	a.text = append(a.text, s...)
	a.edits = append(a.edits, edit{span{at, at}, span{from, len(a.text)}})
}

// A list is an array that an annotation adds to, or what stands in its place.
type list struct {
	family  family
	name    string
	exists  bool
	value   span // what the event has
	array   bool // value is an array; its elements are in Annotator.items
	tail    int  // where a new element goes
	empty   bool // nothing stands before a new element
	touched bool // elements were replaced
	added   span // of Annotator.text: new elements, each behind a comma
}

// list finds an array of the event. Its elements are in a.items, valid until the next call.
func (a *Annotator) list(f family, name string) list {
	a.items = a.items[:0]
	value, n := a.doc.lookup(f, name)
	l := list{family: f, name: name, exists: n > 0, value: value, tail: value.end, empty: n == 0}
	switch {
	case !l.exists:
	case a.doc.src[value.start] == '[':
		c := container{members: a.items}
		_, l.array = c.scan(a.doc.src, value.start)
		a.items, l.tail, l.empty = c.members, c.tail(), len(c.members) == 0
	default:
		a.items = append(a.items, member{span{value.start, value.start}, value})
	}
	return l
}

// elements returns the new elements of l without a comma that has nothing before it.
func (l *list) elements() span {
	if l.empty && l.added.start < l.added.end {
		return span{l.added.start + 1, l.added.end}
	}
	return l.added
}

// extend writes the new elements of a list that the event has, and makes it an array if it is none.
func (a *Annotator) extend(l list) {
	added := l.elements()
	if !l.exists || added.start == added.end && (l.array || !l.touched) {
		return
	}
	if !l.array {
		a.insertString(l.value.start, "[")
	}
	a.edits = append(a.edits, edit{span{l.tail, l.tail}, added})
	if !l.array {
		a.insertString(l.tail, "]")
	}
}

// addList writes a list that the event lacks.
func (a *Annotator) addList(l list) {
	added := l.elements()
	if l.exists || added.start == added.end {
		return
	}
	at := a.openMember(l.family, l.name)
	a.insertString(at, "[")
	a.edits = append(a.edits, edit{span{at, at}, added})
	a.insertString(at, "]")
}

// openMember writes the name of a new member of f, and returns where its value goes.
func (a *Annotator) openMember(f family, name string) (at int) {
	fam := &a.doc.families[f]
	at = a.doc.tail()
	kept := &a.doc.kept
	if fam.nested {
		at, kept = fam.object.tail(), &fam.kept
	}
	from := len(a.text)
	if *kept > 0 {
		a.text = append(a.text, ',')
	}
	switch {
	case fam.nested:
		a.text = appendName(a.text, name)
	case fam.dotted:
		a.text = append(a.text, '"')
		a.text = append(append(a.text, familyNames[f]...), '.')
		a.text = append(append(a.text, name...), '"', ':')
	default:
		if !fam.opened {
			a.text = append(appendName(a.text, familyNames[f]), '{')
			fam.opened = true
		}
		a.text = appendName(a.text, name)
	}
	*kept++
	a.edits = append(a.edits, edit{span{at, at}, span{from, len(a.text)}})
	return at
}

// closeFamily ends the object of f if it is new.
func (a *Annotator) closeFamily(f family) {
	if a.doc.families[f].opened {
		a.insertString(a.doc.tail(), "}")
	}
}

func (a *Annotator) hasEntries() bool {
	return slices.ContainsFunc(a.picks, func(p pick) bool { return p.entry })
}

// mergeEntries replaces the own entries of the event that are known anew, and renders those that it lacks.
func (a *Annotator) mergeEntries() list {
	l := list{family: threatFields}
	if !a.hasEntries() {
		return l
	}
	if a.Flat {
		a.countAll()
		return l
	}
	l = a.list(threatFields, "enrichments")
	for _, m := range a.items {
		a.mergeEntry(m.value)
	}
	l.touched = a.changed
	l.added.start = len(a.text)
	for i := range a.picks {
		if p := &a.picks[i]; p.entry && !p.done {
			a.changed = true
			a.countPick(p)
			a.text = append(a.text, ',')
			a.text = a.appendEntry(a.text, p, a.now())
		}
	}
	l.added.end = len(a.text)
	return l
}

// countAll counts what would get an entry.
func (a *Annotator) countAll() {
	for i := range a.picks {
		if p := &a.picks[i]; p.entry {
			a.countPick(p)
		}
	}
}

// mergeEntry counts an own entry of the event, and replaces it if more than its time has changed.
func (a *Annotator) mergeEntry(value span) {
	raw := value.of(a.doc.src)
	own, ok := a.reader.read(raw)
	if !ok {
		return
	}
	p := a.find(own.kind, own.value, own.field)
	if p == nil || p.field != string(own.field) || !p.entry {
		a.sum.add(own.verdict, own.votes, own.voted, string(own.field))
		return
	}
	p.done = true
	a.countPick(p)
	occurred := a.now()
	if isTime(own.occurred) {
		occurred = own.occurred
	}
	from := len(a.text)
	a.text = a.appendEntry(a.text, p, occurred)
	a.keepForeign(from, raw)
	if a.reader.same(raw, a.text[from:]) {
		a.text = a.text[:from]
		return
	}
	a.changed = true
	a.edits = append(a.edits, edit{value, span{from, len(a.text)}})
}

func (a *Annotator) countPick(p *pick) {
	votes, voted := votesOf(&p.hit.Finding)
	a.sum.add(p.hit.Finding.Verdict, votes, voted, p.field)
}

// relatedName returns the member of related.* that values of type t belong to, or the empty string.
func relatedName(t extract.Type) string {
	switch {
	case t == extract.IP:
		return "ip"
	case t == extract.Domain:
		return "hosts"
	case t.IsHash():
		return "hash"
	}
	return ""
}

// mergeRelated renders the values that a member of related.* lacks.
func (a *Annotator) mergeRelated(name string) list {
	l := list{family: relatedFields}
	if !slices.ContainsFunc(a.picks, func(p pick) bool { return relatedName(p.hit.Type) == name }) {
		return l
	}
	l = a.list(relatedFields, name)
	for _, m := range a.items {
		a.markRelated(name, m.value.of(a.doc.src))
	}
	l.added.start = len(a.text)
	a.text = a.appendValues(a.text, name)
	l.added.end = len(a.text)
	return l
}

// appendValues appends the values that a member of related.* lacks, each behind a comma.
func (a *Annotator) appendValues(dst []byte, name string) []byte {
	for i := range a.picks {
		p := &a.picks[i]
		if relatedName(p.hit.Type) == name && len(p.hit.Value) <= maxKeyword && a.once(p) {
			dst = AppendString(append(dst, ','), p.hit.Value)
		}
	}
	return dst
}

// markRelated marks the key that an element of related.* names as listed.
func (a *Annotator) markRelated(name string, raw []byte) {
	if raw[0] != '"' {
		return
	}
	value := raw[1 : len(raw)-1]
	if bytes.IndexByte(value, '\\') >= 0 {
		value = appendUnescaped(nil, value)
	}
	kind := hashOfLen(len(value))
	switch name {
	case "ip":
		kind = extract.IP
	case "hosts":
		kind = extract.Domain
	}
	if p := a.find(kind, value, nil); p != nil {
		a.picks[p.head].listed = true
	}
}
