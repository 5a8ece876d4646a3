package local

import (
	"iter"
	"runtime/debug"
	"strings"

	"iocpipe/extract"
	"iocpipe/intel"
)

// Entries yields all entries of the store, in no order that means anything, less what has expired and what was removed
// by hand. Those about one name stand together in a store that is one file, by hand first. Entries share statements,
// which are not to be changed. An error comes last.
func (s *Store) Entries() iter.Seq2[intel.Entry, error] {
	return func(yield func(intel.Entry, error) bool) {
		if s == nil {
			return
		}
		more := func(e intel.Entry) bool { return yield(e, nil) }
		if s.feedEntries(more) && s.handEntries(more) {
			if err := s.Err(); err != nil {
				yield(intel.Entry{}, err)
			}
		}
	}
}

// feedEntries yields what feeds list, each name's after what was added of it by hand, until yield has enough.
func (s *Store) feedEntries(yield func(intel.Entry) bool) bool {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.catchFault()
	for i, seg := range s.feeds {
		if !seg.usable() {
			continue
		}
		hides := func(n *name, it *item) bool { return len(s.removed) > 0 && s.hides(n, seg, it) }
		for g := range seg.groups() {
			n := g.storedName()
			if !anyKnows(s.feeds[:i], &n) && !s.addedEntries(&n, yield) {
				return false
			}
			if !seg.yieldItems(&n, g.items, hides, yield) {
				return false
			}
		}
	}
	return true
}

// addedEntries yields what was added of n by hand.
func (s *Store) addedEntries(n *name, yield func(intel.Entry) bool) bool {
	for _, seg := range s.added {
		if seg.usable() && !seg.yieldItems(n, seg.find(n.hash(), n), nil, yield) {
			return false
		}
	}
	return true
}

// handEntries yields what was added by hand of names that no feed has.
func (s *Store) handEntries(yield func(intel.Entry) bool) bool {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.catchFault()
	for _, seg := range s.added {
		if !seg.usable() {
			continue
		}
		for g := range seg.groups() {
			if n := g.storedName(); !anyKnows(s.feeds, &n) && !seg.yieldItems(&n, g.items, nil, yield) {
				return false
			}
		}
	}
	return true
}

// anyKnows reports whether one of segments has something under n.
func anyKnows(segments []*segment, n *name) bool {
	for _, seg := range segments {
		if seg.usable() && len(seg.find(n.hash(), n)) > 0 {
			return true
		}
	}
	return false
}

// yieldItems yields the items under n as entries, less what has expired and what hides reports; hides may be nil.
func (s *segment) yieldItems(n *name, items []byte, hides func(*name, *item) bool, yield func(intel.Entry) bool) bool {
	for it := range s.each(items) {
		if !it.isListed() || !s.holds(it) || hides != nil && hides(n, it) {
			continue
		}
		if e, ok := s.entry(subjectOf(n.class, n.stored()), it); !ok || !yield(e) {
			return false
		}
	}
	return true
}

// entries yields the entries of a segment, less what has expired.
func (s *segment) entries() iter.Seq[intel.Entry] {
	return func(yield func(intel.Entry) bool) {
		for g := range s.groups() {
			if n := g.storedName(); !s.yieldItems(&n, g.items, nil, yield) {
				return
			}
		}
	}
}

// entry returns an item as the entry that it was made from, or, of one that a report implies, could have been.
func (s *segment) entry(subject intel.Subject, it *item) (e intel.Entry, ok bool) {
	e.Subject = subject
	switch it.kind {
	case below:
		e.Below = true
	case byURL:
		e.URL = string(it.extra)
	case related:
		r, ok := s.relation(it)
		if !ok {
			return e, false
		}
		e.Via, e.Relation = r.via, r.kind
	}
	e.Statement = s.statement(it.source, it.statement)
	return e, e.Statement != nil
}

// writtenAs returns a subject as people write it.
func writtenAs(s *intel.Subject) string {
	switch {
	case s.URL != "":
		return s.URL
	case s.Net.IsValid():
		return s.Net.String()
	case s.Below:
		return "*." + s.Key.Value
	}
	return s.Key.Value
}

// About returns all that bears on key, each source's word: what lists it, the networks and *.domains that cover it,
// what names it, and the malicious domains above it; what was added by hand first. Without what has expired or was
// removed by hand.
func (s *Store) About(key extract.Key) (entries []intel.Entry) {
	if s == nil {
		return nil
	}
	n, ok := nameOf(key)
	if !ok {
		return nil
	}
	return s.collect(func(a *about) {
		a.add(&n, func(it *item) bool { return it.kind != below })
		if n.class == ipv4 || n.class == ipv6 {
			a.seg.covers(&n, func(g group) bool {
				network := g.storedName()
				a.add(&network, func(*item) bool { return true })
				return false
			})
		}
		if n.class == domain {
			a.addAbove(n.text)
		}
	})
}

// Listed returns the words about a subject itself, each source's: what lists it as it is given, be it an indicator, a
// network, *.domain or URL. What was added by hand comes first. Without what has expired or was removed by hand.
func (s *Store) Listed(subject intel.Subject) (entries []intel.Entry) {
	n, ok := nameOfSubject(&subject)
	if s == nil || !ok {
		return nil
	}
	return s.collect(func(a *about) {
		a.add(&n, func(it *item) bool {
			switch it.kind {
			case below:
				return subject.Below
			case byURL:
				return subject.URL == string(it.extra)
			}
			return it.kind == exact && !subject.Below && subject.URL == ""
		})
	})
}

// An about collects entries of one segment.
type about struct {
	*Store
	seg     *segment
	correct bool // by what was removed by hand
	entries []intel.Entry
}

// collect returns what from adds of each segment, those with what was added by hand first.
func (s *Store) collect(from func(a *about)) (entries []intel.Entry) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.catchFault()
	for i, seg := range append(s.added[:len(s.added):len(s.added)], s.feeds...) {
		if seg.usable() {
			a := about{s, seg, i >= len(s.added) && len(s.removed) > 0, entries}
			from(&a)
			entries = a.entries
		}
	}
	return entries
}

// add adds the items of a name that are wanted.
func (a *about) add(n *name, wanted func(*item) bool) {
	for it := range a.seg.each(a.seg.find(n.hash(), n)) {
		if !wanted(it) || !a.seg.holds(it) || a.correct && a.hides(n, a.seg, it) {
			continue
		}
		if e, ok := a.seg.entry(subjectOf(n.class, n.stored()), it); ok {
			a.entries = append(a.entries, e)
		}
	}
}

// addAbove adds what covers or relates a domain from above.
func (a *about) addAbove(domainName string) {
	upper := name{class: domain}
	_, upper.text, _ = strings.Cut(domainName, ".")
	for ; strings.IndexByte(upper.text, '.') >= 0; _, upper.text, _ = strings.Cut(upper.text, ".") {
		a.add(&upper, func(it *item) bool {
			parent := it.kind == exact && it.verdict == intel.Malicious
			return it.kind == below || parent && sameOwner(domainName, upper.text)
		})
	}
}
