package local

import (
	"bytes"
	"cmp"
	"slices"
)

// mostOfWords is how many statements a source may have on one and the same thing.
const mostOfWords = 16

// settle writes what is said of the names of one hash.
func (m *merger) settle(w *segmentWriter) error {
	if len(m.group) > 1 { // seldom
		slices.SortFunc(m.group, func(a, b record) int {
			return cmp.Or(a.compareThing(&b), cmp.Compare(a.order, b.order))
		})
	}
	for rest := m.group; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].sameName(&rest[0]) {
			n++
		}
		if err := m.settleName(w, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	m.group, m.held = m.group[:0], m.held[:0]
	return nil
}

func (r *record) sameName(o *record) bool {
	return r.class == o.class && string(r.name) == string(o.name)
}

// compareThing orders records by what says what of what.
func (r *record) compareThing(o *record) int {
	return cmp.Or(
		cmp.Compare(r.class, o.class), bytes.Compare(r.name, o.name), cmp.Compare(r.kind, o.kind),
		cmp.Compare(r.source, o.source), bytes.Compare(r.extra, o.extra),
	)
}

// settleName writes the group of one name.
func (m *merger) settleName(w *segmentWriter, all []record) error {
	m.kept = m.kept[:0]
	for rest := all; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].compareThing(&rest[0]) == 0 {
			n++
		}
		m.settleThing(rest[:n])
		rest = rest[n:]
	}
	if len(m.kept) == 0 {
		return nil
	}
	slices.SortFunc(m.kept, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(b.verdict, a.verdict), cmp.Compare(a.source, b.source),
			cmp.Compare(a.order, b.order))
	})
	return m.writeGroup(w)
}

// settleThing keeps what one source says of one and the same thing, and counts.
func (m *merger) settleThing(all []record) {
	n := m.newOf[all[0].source]
	if n < 0 {
		m.kept = append(m.kept, all...)
		return
	}
	olds := 0
	for olds < len(all) && all[olds].old {
		olds++
	}
	before, now := all[:olds], all[olds:]
	start := len(m.kept)
	for _, r := range now {
		m.keep(start, r)
	}
	if !all[0].isListed() {
		return
	}
	result := &m.results[n]
	kept := m.kept[start:]
	result.Taken += len(kept)
	result.Duplicate += len(now) - len(kept)
	for _, r := range kept {
		switch {
		case olds == 0:
		case slices.ContainsFunc(before, func(o record) bool { return o.sum == r.sum && o.verdict == r.verdict }):
			result.Unchanged++
		default:
			result.Replaced++
		}
	}
	if len(kept) == 0 {
		result.Dropped++
	}
}

// keep adds r to what is kept from start on, unless it is there, or there are enough that are no better.
func (m *merger) keep(start int, r record) {
	kept := m.kept[start:]
	if slices.ContainsFunc(kept, func(k record) bool { return k.statement == r.statement }) {
		return
	}
	if len(kept) < mostOfWords {
		m.kept = append(m.kept, r)
		return
	}
	least := 0
	for i := range kept {
		if kept[i].verdict < kept[least].verdict {
			least = i
		}
	}
	if kept[least].verdict < r.verdict {
		kept[least] = r
	}
}
