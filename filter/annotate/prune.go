package annotate

import (
	"slices"

	"iocpipe/extract"
)

// Prune appends event without the own entries whose indicators are not known. The summary then sums up what is left; with
// no own entry left it goes, too. Elements of others stay. An event from which nothing is to be taken, or that is no JSON
// object, is appended as it came.
func (a *Annotator) Prune(dst, event []byte, known func(extract.Key) bool) []byte {
	if !a.doc.parse(event) {
		return append(dst, event...)
	}
	a.edits, a.text, a.stamp, a.changed = a.edits[:0], a.text[:0], a.stamp[:0], false
	a.sum.reset()
	l := a.list(threatFields, "enrichments")
	pruned := a.pruneEntries(known)
	if pruned == 0 {
		return append(dst, event...)
	}
	if !l.array {
		a.insertString(l.value.start, "[]") // in the place of the only one
	}
	if a.sum.matches == 0 {
		a.pruneSummary()
		return a.apply(dst)
	}
	a.changed = true
	a.addSummary(a.mergeSummary())
	a.closeFamily(ownFields)
	return a.apply(dst)
}

// pruneEntries takes out own entries of the list at hand, sums up the others, and returns how many went.
func (a *Annotator) pruneEntries(known func(extract.Key) bool) (pruned int) {
	items := slices.Clone(a.items)
	for i, m := range items {
		own, ok := a.reader.read(m.value.of(a.doc.src))
		if !ok {
			continue
		}
		if known(extract.Key{Type: own.kind, Value: string(own.value)}) {
			a.sum.add(own.verdict, own.votes, own.voted, string(own.field))
			continue
		}
		at := m.value
		if i > pruned {
			at.start = items[i-1].value.end
		} else if i+1 < len(items) {
			at.end = items[i+1].value.start
		}
		pruned++
		a.edits = append(a.edits, edit{at: at})
	}
	return pruned
}

// pruneSummary takes out the summary, and the object that holds nothing else.
func (a *Annotator) pruneSummary() {
	nested := a.doc.nestedMembers(ownFields)
	if foreign := slices.ContainsFunc(nested, func(m member) bool { return !a.doc.isSummary(m, false) }); foreign || len(a.doc.spreadMembers(ownFields)) > 0 {
		a.deleteSummary(a.doc.spreadMembers(ownFields), true)
		a.deleteSummary(nested, false)
		return
	}
	for i, m := range slices.Backward(a.doc.members) {
		if string(a.doc.nameOf(m)) != familyNames[ownFields] {
			continue
		}
		at := span{m.key.start, m.value.end}
		if i > 0 {
			at.start = a.doc.members[i-1].value.end
		} else if len(a.doc.members) > 1 {
			at.end = a.doc.members[1].key.start
		}
		a.edits = append(a.edits, edit{at: at})
		return
	}
}
