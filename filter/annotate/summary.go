package annotate

import (
	"slices"
	"strconv"

	"iocpipe/intel"
)

// summaryText is the rendered summary: a piece of Annotator.text for each of summaryNames, empty where there is none.
type summaryText [len(summaryNames)]span

func (a *Annotator) renderSummary() (texts summaryText) {
	for i := range summaryNames {
		from := len(a.text)
		a.text = a.sum.appendValue(a.text, i, a.now())
		texts[i] = span{from, len(a.text)}
	}
	return texts
}

// mergeSummary renders the summary and takes out the one that the event has. When that says the same already, or when
// there is no own entry to sum up, it stays, and the result is empty.
func (a *Annotator) mergeSummary() summaryText {
	if a.sum.matches == 0 {
		return summaryText{}
	}
	texts := a.renderSummary()
	if !a.changed && a.summaryStands(texts) {
		return summaryText{}
	}
	a.doc.kept -= a.deleteSummary(a.doc.spreadMembers(ownFields), true)
	own := &a.doc.families[ownFields]
	own.kept -= a.deleteSummary(a.doc.nestedMembers(ownFields), false)
	return texts
}

// summaryStands reports whether the event has this summary once, whatever the time in it.
func (a *Annotator) summaryStands(texts summaryText) bool {
	for i, name := range summaryNames {
		if name == "enriched_at" {
			continue
		}
		value, n := a.doc.lookup(ownFields, name)
		want := texts[i].of(a.text)
		if n > 1 || (n == 1) != (len(want) > 0) || n == 1 && !a.reader.same(value.of(a.doc.src), want) {
			return false
		}
	}
	return true
}

// deleteSummary takes the members of the summary out, and returns how many there were.
func (a *Annotator) deleteSummary(members []member, dotted bool) (deleted int) {
	for i, m := range members {
		if a.doc.isSummary(m, dotted) {
			a.edits = append(a.edits, edit{at: cut(members, i, deleted)})
			deleted++
		}
	}
	return deleted
}

func (a *Annotator) addSummary(texts summaryText) {
	for i, name := range summaryNames {
		if texts[i].start < texts[i].end {
			at := a.openMember(ownFields, name)
			a.edits = append(a.edits, edit{span{at, at}, texts[i]})
		}
	}
}

// summary is what the own entries of an event say together.
type summary struct {
	verdict intel.Verdict
	votes   int8
	voted   bool
	matches int
	fields  []string
}

func (s *summary) reset() { *s = summary{fields: s.fields[:0]} }

// add counts an entry.
func (s *summary) add(verdict intel.Verdict, votes int8, voted bool, field string) {
	s.matches++
	s.verdict = max(s.verdict, verdict)
	s.fields = append(s.fields, field)
	if voted && (!s.voted || votes < s.votes) {
		s.votes, s.voted = votes, true
	}
}

// appendValue appends the value of summaryNames[i], or nothing when there is none.
func (s *summary) appendValue(dst []byte, i int, now []byte) []byte {
	switch summaryNames[i] {
	case "verdict":
		return AppendString(dst, s.verdict.String())
	case "votes_min":
		if s.voted {
			dst = strconv.AppendInt(dst, int64(s.votes), 10)
		}
		return dst
	case "matches":
		return strconv.AppendInt(dst, int64(s.matches), 10)
	case "fields":
		return s.appendFields(dst)
	case "enriched_at":
		dst = append(append(dst, '"'), now...)
		return append(dst, '"')
	}
	return append(dst, schema...)
}

// schema is the version of the contract that entries and summary follow; it is raised when that changes.
const schema = "1"

// appendFields appends the distinct fields, sorted.
func (s *summary) appendFields(dst []byte) []byte {
	slices.Sort(s.fields)
	s.fields = slices.Compact(s.fields)
	dst = append(dst, '[')
	for _, field := range s.fields {
		dst = AppendString(dst, field)
		dst = append(dst, ',')
	}
	return appendClose(dst, ']')
}
