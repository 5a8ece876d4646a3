// Package local is the host's own intelligence: report lines and plain lists, held in memory and asked in the event's
// way, where it costs no budget. What an entry covers beyond itself is its business, too: networks, the names below a
// domain, the hosts of URLs, and the indicators that a malicious report names.
package local

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A Store answers from local intelligence. It is filled by [Load] and not changed afterwards, so that any number of
// goroutines can ask it. A nil Store knows nothing.
type Store struct {
	exact     map[extract.Key]entry
	networks  map[netip.Prefix]entry
	lengths   [2]lengthSet // of the networks, for IPv4 and IPv6
	below     map[string]entry
	relations map[extract.Key]relation
}

// An entry is what one feed says about what it lists.
type entry struct {
	source string
	report *intel.Report
}

// A relation is why an indicator is known though no feed lists it itself.
type relation struct {
	intel.Relation
	via   extract.Key
	entry entry
}

// listed is the report of a plain list: being listed means malicious.
var listed = &intel.Report{Known: true, Votes: -1, Voted: true}

func newStore() *Store {
	return &Store{
		exact:     make(map[extract.Key]entry),
		networks:  make(map[netip.Prefix]entry),
		below:     make(map[string]entry),
		relations: make(map[extract.Key]relation),
	}
}

// Len returns how many indicators and networks the store lists; relations do not count.
func (s *Store) Len() int {
	if s == nil {
		return 0
	}
	return len(s.exact) + len(s.networks) + len(s.below)
}

func (e entry) finding() intel.Finding {
	return intel.Finding{Verdict: e.report.Verdict(), Origin: intel.FromLocal, Source: e.source, Report: e.report}
}

// Find returns what the store knows of key: the worst of what lists it, or else what relates it to something
// malicious.
func (s *Store) Find(key extract.Key) intel.Finding {
	if s == nil {
		return intel.Finding{}
	}
	var found intel.Finding
	if e, ok := s.exact[key]; ok {
		found = e.finding()
	}
	switch key.Type {
	case extract.IP:
		found = intel.Worse(found, s.findNetwork(key.Value))
	case extract.Domain:
		found = intel.Worse(found, s.findAbove(key.Value))
	}
	if found.Verdict != intel.NoVerdict {
		return found
	}
	if r, ok := s.relations[key]; ok {
		return r.finding()
	}
	return found
}

func (r relation) finding() intel.Finding {
	return intel.Finding{
		Verdict: intel.Related, Origin: intel.FromLocal, Source: r.entry.source, Report: r.entry.report,
		Via: r.via, Relation: r.Kind, Seen: r.Last,
	}
}

// A lengthSet is the prefix lengths that occur among networks.
type lengthSet [129]bool

// findNetwork returns what the longest network says that holds the address.
func (s *Store) findNetwork(value string) intel.Finding {
	if len(s.networks) == 0 {
		return intel.Finding{}
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return intel.Finding{}
	}
	lengths := &s.lengths[family(addr)]
	for bits := addr.BitLen(); bits >= 0; bits-- {
		if !lengths[bits] {
			continue
		}
		prefix, _ := addr.Prefix(bits) // bits are those of the address's family
		if e, ok := s.networks[prefix]; ok {
			return e.finding()
		}
	}
	return intel.Finding{}
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

// findAbove returns what the entries say that stand above a name: *.domain covers it fully, a malicious domain relates
// it. Neither reaches across a public suffix, for below one live strangers.
func (s *Store) findAbove(name string) intel.Finding {
	for parent := name; ; {
		dot := strings.IndexByte(parent, '.')
		if dot < 0 {
			return intel.Finding{}
		}
		parent = parent[dot+1:]
		if e, ok := s.below[parent]; ok {
			return e.finding()
		}
		key := extract.Key{Type: extract.Domain, Value: parent}
		if e, ok := s.exact[key]; ok && e.report.Verdict() == intel.Malicious && !isSuffix(parent) {
			return relation{intel.Relation{Key: key, Kind: intel.ByParent}, key, e}.finding()
		}
	}
}

// isSuffix reports whether name is a public suffix, of the list's private section, too.
func isSuffix(name string) bool {
	suffix, _ := publicsuffix.PublicSuffix(name)
	return suffix == name
}

// addEntry lists key; of two feeds that do, the worse is kept, of equals the first.
func (s *Store) addEntry(key extract.Key, e entry) {
	if old, ok := s.exact[key]; ok && old.report.Verdict() >= e.report.Verdict() {
		return
	}
	s.exact[key] = e
	if e.report.Verdict() != intel.Malicious {
		return
	}
	for r := range e.report.Relations() {
		s.relate(r, key, e)
	}
}

// relate notes that the entry of via names an indicator. The first relation of two is kept.
func (s *Store) relate(r intel.Relation, via extract.Key, e entry) {
	if _, ok := s.relations[r.Key]; !ok && r.Key != via {
		s.relations[r.Key] = relation{r, via, e}
	}
}

func (s *Store) addNetwork(p netip.Prefix, e entry) {
	p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()).Masked()
	if _, ok := s.networks[p]; !ok {
		s.networks[p] = e
		s.lengths[family(p.Addr())][p.Bits()] = true
	}
}
