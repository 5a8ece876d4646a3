package export

import (
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"iocpipe/extract"
	"iocpipe/intel"
)

// maxGroup is how many entries about one host are held; URLs of a host beyond them are joined among themselves.
const maxGroup = 1 << 16

// groups yields the entries that stand together and are about one value, or one host and its URLs. A group is valid
// until the next.
func groups(entries iter.Seq2[intel.Entry, error]) iter.Seq2[[]intel.Entry, error] {
	return func(yield func([]intel.Entry, error) bool) {
		var group []intel.Entry
		for e, err := range entries {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(group) > 0 && (e.Key != group[0].Key || e.Net != group[0].Net || len(group) == maxGroup) {
				if !yield(group, nil) {
					return
				}
				group = group[:0]
			}
			group = append(group, e)
		}
		if len(group) > 0 {
			yield(group, nil)
		}
	}
}

// values returns the entries of a group by value, without those that have expired, in the order in which the values
// come first.
func (x *exporter) values(group []intel.Entry) (values [][]intel.Entry) {
	at := make(map[intel.Subject]int, 1)
	add := func(e intel.Entry) {
		value := e.Subject.Covers()
		i, ok := at[value]
		if !ok {
			i = len(values)
			at[value] = i
			values = append(values, nil)
		}
		values[i] = append(values[i], e)
	}
	for _, e := range group {
		if e.Expired(x.Now) {
			continue
		}
		add(e)
		if x.hosts && e.URL != "" && e.Key.Type == extract.IP {
			e.URL = ""
			add(e)
		}
	}
	if len(values) == 0 {
		x.result.Skipped++
	}
	return values
}

// A record is one value and what is known of it.
type record struct {
	intel.Subject
	verdict intel.Verdict
	voices  []intel.Entry // who says so, never empty; in the order of the entries
}

// join returns what several entries say of one value: what was added by hand goes before lists; else the worst verdict
// wins, and a relation only where nobody judges the value itself.
func join(about []intel.Entry) *record {
	judges := about
	if byHand := filter(about, func(e intel.Entry) bool { return e.By != "" }); len(byHand) > 0 {
		judges = byHand
	}
	if direct := filter(judges, func(e intel.Entry) bool {
		return e.Relation == "" && verdictOf(e) != intel.NoVerdict
	}); len(direct) > 0 {
		judges = direct
	}
	r := &record{Subject: about[0].Subject.Covers()}
	for _, e := range judges {
		r.verdict = max(r.verdict, verdictOf(e))
	}
	r.voices = filter(about, func(e intel.Entry) bool { return verdictOf(e) == r.verdict })
	return r
}

func filter(entries []intel.Entry, keep func(intel.Entry) bool) []intel.Entry {
	if !slices.ContainsFunc(entries, func(e intel.Entry) bool { return !keep(e) }) {
		return entries // nearly always
	}
	var kept []intel.Entry
	for _, e := range entries {
		if keep(e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// verdictOf returns what one entry says of its value.
func verdictOf(e intel.Entry) intel.Verdict {
	if e.Relation != "" {
		return intel.Related
	}
	return e.Report.Verdict()
}

// kind returns the word for what r is about: that of its type, or url. Networks are ip, *.domain is domain.
func (r *record) kind() string {
	if r.URL != "" {
		return "url"
	}
	return r.Type().String()
}

// network returns the network that r is about, an address as one of itself; ok is false for all else.
func (r *record) network() (network netip.Prefix, ok bool) {
	if r.Net.IsValid() {
		return r.Net, true
	}
	if addr, err := netip.ParseAddr(r.Key.Value); r.Key.Type == extract.IP && r.URL == "" && err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	return netip.Prefix{}, false
}

// maxList bounds how much is told of one value that many sources list.
const maxList = 100

// union returns what of yields for all voices, each once.
func (r *record) union(of func(*intel.Statement) []string) (list []string) {
	for _, e := range r.voices {
		for _, s := range of(e.Statement) {
			if s != "" && len(list) < maxList && !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	return list
}

func (r *record) sources() []string {
	return r.union(func(s *intel.Statement) []string { return []string{s.Source} })
}

func (r *record) tags() []string {
	return r.union(func(s *intel.Statement) []string { return s.Report.Tags })
}

// references returns the pages about r, the permalinks first.
func (r *record) references() []string {
	return append(r.union(func(s *intel.Statement) []string { return []string{s.Report.Permalink} }),
		r.union(func(s *intel.Statement) []string { return s.Report.References })...)
}

// notes returns what people wrote of r, and the publications and indicators that it is related by.
func (r *record) notes() []string {
	notes := r.union(func(s *intel.Statement) []string { return []string{s.Note} })
	for _, e := range r.voices {
		if e.Relation != "" {
			notes = append(notes, "related by "+e.Relation+": "+e.Via.Value)
			break
		}
	}
	return notes
}

// description returns one line for people, of at most size bytes.
func (r *record) description(size int) string {
	parts := []string{r.verdict.String() + " by " + strings.Join(r.sources(), ", ")}
	if len(r.sources()) == 0 {
		parts[0] = r.verdict.String()
	}
	parts = append(append(parts, r.tags()...), r.notes()...)
	return cut(oneLine(strings.Join(parts, "; ")), size)
}

// votes returns the vote of the first voice that has one.
func (r *record) votes() (votes int8, voted bool) {
	for _, e := range r.voices {
		if e.Report.Voted && e.Relation == "" {
			return e.Report.Votes, true
		}
	}
	return 0, false
}

// first returns when anybody saw r first, and zero when nobody says.
func (r *record) first() (first time.Time) {
	for _, e := range r.voices {
		if t := e.Report.First; !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// last returns when anybody saw r last, and zero when nobody says; never before first.
func (r *record) last() (last time.Time) {
	for _, e := range r.voices {
		last = later(last, e.Report.LastSeen())
	}
	if !last.IsZero() {
		last = later(last, r.first())
	}
	return last
}

// known returns since when r is known: seen or added; zero when nobody says.
func (r *record) known() (since time.Time) {
	since = r.first()
	for _, e := range r.voices {
		if !e.Added.IsZero() && (since.IsZero() || e.Added.Before(since)) {
			since = e.Added
		}
	}
	return since
}

// newest returns the newest time that r bears, but for its end.
func (r *record) newest() time.Time {
	newest := later(r.first(), r.last())
	for _, e := range r.voices {
		newest = later(newest, e.Added)
	}
	return newest
}

// expires returns when the last of the voices ends, and zero for never; RFC 3339 has no later years than 9999.
func (r *record) expires() (end time.Time) {
	for _, e := range r.voices {
		if e.Expires.IsZero() || e.Expires.Year() > 9999 {
			return time.Time{}
		}
		end = later(end, e.Expires)
	}
	return end
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// hasRelations reports whether a report of r names anything else.
func (r *record) hasRelations() bool {
	for _, e := range r.voices {
		for range e.Report.Relations() {
			return true
		}
		if len(e.Report.Scans) > 0 {
			return true
		}
	}
	return false
}

// isText reports whether a value is text that every format can hold: a value that had to be changed to be written
// would be another value.
func isText(value string) bool {
	return value != "" && utf8.ValidString(value) && strings.IndexFunc(value, isControl) < 0
}

// isControl reports whether a character can end a line or a string for some reader.
func isControl(c rune) bool { return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' }

// oneLine returns text on one line, its control characters as blanks.
func oneLine(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if strings.IndexFunc(text, isControl) < 0 { // nearly always
		return text
	}
	return strings.Map(func(c rune) rune {
		if isControl(c) {
			return ' '
		}
		return c
	}, text)
}

// cut returns text, or as much of it as fits size bytes with an ellipsis.
func cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	end := size - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// moment returns t as RFC 3339 in UTC, and "" for no time.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
