package local

import (
	"runtime/debug"
	"strings"

	"golang.org/x/net/publicsuffix"

	"iocpipe/extract"
	"iocpipe/intel"
)

// Find returns what the store knows of key: what lists it, or else what relates it to something malicious: what names
// it, before what it stands below. What was added by hand goes before feeds; of feeds that list it, the worst verdict
// wins, and of equals the one that was imported or named first. It takes well under a microsecond and does not
// allocate, but for a name below a malicious domain (the list of public suffixes does, once), and when the words of a
// source have to be read for the first time, or again after many others.
func (s *Store) Find(key extract.Key) (found intel.Finding) {
	if s == nil {
		return intel.Finding{}
	}
	if len(s.files) > 0 {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer s.catchFault() // keeps the mapping alive, too
	}
	return s.find(key)
}

// A hit is an item that answers. Its zero value is none.
type hit struct {
	seg *segment
	item
	direct bool   // it lists what was asked about, or covers it
	parent string // else: the malicious domain above, for relation parent
}

func (h *hit) ok() bool { return h.seg != nil }

// A word is the most that some segments say of a name.
type word struct {
	direct  hit
	related hit
	parent  hit
}

func (s *Store) find(key extract.Key) intel.Finding {
	n, ok := nameOf(key)
	if !ok {
		return intel.Finding{}
	}
	var hand, feeds word
	s.ask(s.added, false, &n, &hand)
	if hand.direct.ok() {
		return hand.direct.finding()
	}
	s.ask(s.feeds, len(s.removed) > 0, &n, &feeds)
	for _, h := range [...]*hit{&feeds.direct, &hand.related, &feeds.related} {
		if h.ok() {
			return h.finding()
		}
	}
	if hand.parent.ok() && len(hand.parent.parent) >= len(feeds.parent.parent) {
		return hand.parent.finding()
	}
	return feeds.parent.finding()
}

// ask collects what segments say of n. With correct true what was removed by hand is passed over.
func (s *Store) ask(segments []*segment, correct bool, n *name, w *word) {
	hash := uint64(0)
	hashed := false
	var cover hit
	widest := -1
	for _, seg := range segments {
		if !seg.usable() || seg.names == 0 {
			continue
		}
		if !hashed {
			hash, hashed = n.hash(), true
		}
		s.askExact(seg, correct, n, seg.find(hash, n), w)
		if w.direct.ok() && w.direct.verdict == intel.Malicious {
			return // nothing is worse
		}
		if n.class == ipv4 || n.class == ipv6 {
			s.askNetworks(seg, correct, n, &cover, &widest)
		}
	}
	if n.class == domain && hashed {
		s.askAbove(segments, correct, n, &cover, w)
	}
	w.direct.worse(&cover)
}

// worse replaces h by other, if that is worse.
func (h *hit) worse(other *hit) {
	if other.ok() && (!h.ok() || h.verdict < other.verdict) {
		*h = *other
	}
}

// askExact looks at the items of the name itself.
func (s *Store) askExact(seg *segment, correct bool, n *name, items []byte, w *word) {
	for len(items) > 0 {
		it, rest, ok := readItem(items)
		if !ok {
			seg.damaged("items of a name")
			return
		}
		items = rest
		into := &w.related
		switch {
		case it.kind == below:
			continue
		case it.kind == exact, it.kind == byURL && n.class != domain: // an address serves nothing else
			into = &w.direct
		case it.kind == byURL && it.verdict != intel.Malicious:
			continue
		}
		better := !into.ok() || into == &w.direct && into.verdict < it.verdict
		if better && seg.holds(&it) && !(correct && s.hides(n, seg, &it)) {
			*into = hit{seg: seg, item: it, direct: into == &w.direct}
		}
	}
}

// askNetworks looks for the smallest network that holds the address; of two segments that have it, the worse word.
func (s *Store) askNetworks(seg *segment, correct bool, n *name, cover *hit, bits *int) {
	seg.covers(n, func(g group) bool {
		size := int(g.name[len(g.name)-1])
		if size < *bits {
			return true
		}
		network := name{class: g.class}
		copy(network.raw[:], g.name)
		found := s.first(seg, correct, &network, g.items, exact)
		if !found.ok() {
			return false // all that is said of it has expired, or was removed: ask the one around
		}
		if size > *bits {
			*cover, *bits = found, size
		} else {
			cover.worse(&found)
		}
		return true
	})
}

// askAbove looks at the names above a domain, from the nearest: for the *.domain that covers it, or else for the nearest
// malicious one, which relates it.
func (s *Store) askAbove(segments []*segment, correct bool, n *name, cover *hit, w *word) {
	upper := name{class: domain}
	_, upper.text, _ = strings.Cut(n.text, ".")
	for ; strings.IndexByte(upper.text, '.') >= 0; _, upper.text, _ = strings.Cut(upper.text, ".") {
		hash := upper.hash() // what is listed has a dot
		for _, seg := range segments {
			if !seg.usable() {
				continue
			}
			items := seg.find(hash, &upper)
			if len(items) == 0 { // nearly always
				continue
			}
			found := s.first(seg, correct, &upper, items, below)
			cover.worse(&found)
			if !w.parent.ok() || w.parent.parent == upper.text {
				found = s.first(seg, correct, &upper, items, exact)
				if found.ok() && found.verdict == intel.Malicious && sameOwner(n.text, upper.text) && !w.parent.ok() {
					found.parent = upper.text
					w.parent = found
				}
			}
		}
		if cover.ok() {
			return
		}
	}
}

// first returns the first item of a kind that holds.
func (s *Store) first(seg *segment, correct bool, n *name, items []byte, k kind) hit {
	for len(items) > 0 {
		it, rest, ok := readItem(items)
		if !ok {
			seg.damaged("items of a name")
			break
		}
		if it.kind > k {
			break
		}
		if it.kind == k && seg.holds(&it) && !(correct && s.hides(n, seg, &it)) {
			return hit{seg: seg, item: it, direct: true}
		}
		items = rest
	}
	return hit{}
}

// sameOwner reports whether no public suffix, of the list's private section neither, is parent or stands between it and
// name: below a suffix live strangers.
func sameOwner(name, parent string) bool {
	suffix, _ := publicsuffix.PublicSuffix(name)
	return len(parent) > len(suffix)
}
