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
	a.begin()
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

// Flatten appends event without its own entries, and reports whether it had any; elements of others and the summary stay.
func (a *Annotator) Flatten(dst, event []byte) (out []byte, had bool) {
	if !a.doc.parse(event) {
		return append(dst, event...), false
	}
	a.begin()
	l := a.list(threatFields, "enrichments")
	switch pruned := a.pruneEntries(func(extract.Key) bool { return false }); {
	case pruned == 0:
		return append(dst, event...), false
	case pruned == len(a.items) && len(a.doc.nestedMembers(threatFields)) == 1 && len(a.doc.spreadMembers(threatFields)) == 0:
		a.edits = a.edits[:0]
		a.deleteFamily(threatFields) // it held nothing else
	case !l.array:
		a.insertString(l.value.start, "[]") // in the place of the only one
	}
	return a.apply(dst), true
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
		a.edits = append(a.edits, edit{at: cut(items, i, pruned)})
		pruned++
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
	a.deleteFamily(ownFields)
}

// deleteFamily takes out the object of a family.
func (a *Annotator) deleteFamily(f family) {
	for i, m := range slices.Backward(a.doc.members) {
		if string(a.doc.nameOf(m)) == familyNames[f] {
			a.edits = append(a.edits, edit{at: cut(a.doc.members, i, 0)})
			return
		}
	}
}
