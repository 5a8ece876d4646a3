package local

import (
	"errors"
	"slices"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A Store answers from local intelligence. It does not change, so that any number of goroutines can ask it; who wants
// to know what the file says now opens it again. A nil Store knows nothing. It needs not be closed: its file is unmapped
// when nobody has it any more.
type Store struct {
	files   []*file
	added   []*segment // by hand
	removed []*segment // by hand: what feeds say that is not to be believed
	feeds   []*segment
	allowed []permit
}

// Join returns one store that says what the stores say: what was added by hand in any of them goes before feeds, what
// was removed by hand in any is hidden in the feeds of all, and of feeds that disagree the worst verdict wins, of equals
// the store that was named first. Stores may be nil.
func Join(stores ...*Store) *Store {
	joined := new(Store)
	for _, s := range stores {
		if s == nil {
			continue
		}
		joined.files = append(joined.files, s.files...)
		joined.added = append(joined.added, s.added...)
		joined.removed = append(joined.removed, s.removed...)
		joined.feeds = append(joined.feeds, s.feeds...)
		joined.allowed = append(joined.allowed, s.allowed...)
	}
	return joined
}

// storeOfSegment returns a store of lists that are in memory.
func storeOfSegment(s *segment) *Store { return &Store{feeds: []*segment{s}} }

// Len returns how many indicators and networks the store lists; relations do not count, hidden and expired entries do.
// What several of joined stores list counts for each.
func (s *Store) Len() (n int) {
	if s == nil {
		return 0
	}
	for _, seg := range slices.Concat(s.added, s.feeds) {
		n += int(seg.listed)
	}
	return n
}

// Err returns what was found to be wrong with the store's files, an [ErrDamaged], or nil. From a damaged file nothing
// is said any more.
func (s *Store) Err() error {
	if s == nil {
		return nil
	}
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.health.get())
	}
	return errors.Join(errs...)
}

// Sources returns the lists of intelligence that were imported, those that were named first before others.
func (s *Store) Sources() (sources []Source) {
	if s == nil {
		return nil
	}
	for _, seg := range s.feeds {
		for _, row := range seg.sources {
			sources = append(sources, row.Source)
		}
	}
	return sources
}

// catchFault is deferred while a mapped file is read: one that somebody cuts short meanwhile must not end the process.
func (s *Store) catchFault() {
	if r := recover(); r != nil {
		s.noteFault(r)
	}
}

// noteFault marks the file at whose bytes a fault happened as damaged; any other panic goes on.
func (s *Store) noteFault(r any) {
	if fault, ok := r.(interface{ Addr() uintptr }); ok {
		for _, f := range s.files {
			if f.holds(fault.Addr()) {
				f.health.fail(errCut)
				return
			}
		}
	}
	panic(r)
}

// hides reports whether it was removed by hand: the name it stands under, the URL, or what it is related by.
func (s *Store) hides(n *name, seg *segment, it *item) bool {
	if s.isRemoved(n, it.kind == below) {
		return true
	}
	if !it.kind.hasExtra() {
		return false
	}
	r, ok := seg.relation(it)
	if !ok {
		return true
	}
	via, ok := nameOf(r.via)
	if !ok {
		via = name{class: url, text: r.via.Value}
	}
	return s.isRemoved(&via, false)
}

// isRemoved reports whether n was, or *.n.
func (s *Store) isRemoved(n *name, wild bool) bool {
	hash := n.hash()
	for _, seg := range s.removed {
		if !seg.usable() {
			continue
		}
		for it := range seg.each(seg.find(hash, n)) {
			if (it.kind == below) == wild {
				return true
			}
		}
	}
	return false
}

// finding is what h says; the zero Finding when it is none.
func (h *hit) finding() intel.Finding {
	if !h.ok() {
		return intel.Finding{}
	}
	s := h.seg.statement(h.source, h.statement)
	if s == nil {
		return intel.Finding{}
	}
	f := intel.Finding{Verdict: h.verdict, Origin: intel.FromLocal, Source: s.Source, Report: &s.Report}
	switch {
	case h.parent != "":
		f.Via, f.Relation = extract.Key{Type: extract.Domain, Value: h.parent}, intel.ByParent
	case h.direct:
		return f
	default:
		r, ok := h.seg.relation(&h.item)
		if !ok {
			return intel.Finding{}
		}
		f.Via, f.Relation, f.Seen = r.via, r.kind, r.last
	}
	f.Verdict = intel.Related
	return f
}
