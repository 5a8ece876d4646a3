// Package local is the host's own intelligence: report lines and plain lists, held in memory and asked in the event's
// way, where it costs no budget. What an entry covers beyond itself is its business, too: networks, the names below a
// domain, the hosts of URLs, and the indicators that a malicious report names.
package local

import (
	"errors"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A Store answers from local intelligence. It is filled by [Load] and not changed afterwards, so that any number of
// goroutines can ask it. A nil Store knows nothing. A million entries of a plain list take about 75 MB.
type Store struct {
	exact     [extract.Antivirus + 1]map[string]*entry // by type and value: a look into an empty map costs nothing
	below     map[string]*entry                        // of the names below this one
	networks  []network                                // by first address, of equals the widest first, once sorted
	relations map[extract.Key]relation

	scanner *extract.Scanner // reads defanged values while the store is filled; one for each value would take 40 KB
	matches []extract.Match
}

// An entry is what one feed says about what it lists. All that a plain list holds shares one.
type entry struct {
	source string
	report *intel.Report
}

// A relation is why an indicator is known though no feed lists it itself.
type relation struct {
	via  extract.Key
	kind string
	last time.Time
	*entry
}

// listed is the report of a plain list: being listed means malicious.
var listed = &intel.Report{Known: true, Votes: -1, Voted: true}

func newStore() *Store {
	s := &Store{
		below:     make(map[string]*entry),
		relations: make(map[extract.Key]relation),
	}
	for i := range s.exact {
		s.exact[i] = make(map[string]*entry)
	}
	return s
}

// Len returns how many indicators and networks the store lists; relations do not count.
func (s *Store) Len() (n int) {
	if s == nil {
		return 0
	}
	for _, entries := range s.exact {
		n += len(entries)
	}
	return n + len(s.networks) + len(s.below)
}

func (e *entry) finding() intel.Finding {
	return intel.Finding{Verdict: e.report.Verdict(), Origin: intel.FromLocal, Source: e.source, Report: e.report}
}

func (r *relation) finding() intel.Finding {
	return intel.Finding{
		Verdict: intel.Related, Origin: intel.FromLocal, Source: r.source, Report: r.report,
		Via: r.via, Relation: r.kind, Seen: r.last,
	}
}

// Find returns what the store knows of key: the worst of what lists it, or else what relates it to something
// malicious: what names it, before what it stands below.
func (s *Store) Find(key extract.Key) intel.Finding {
	if s == nil {
		return intel.Finding{}
	}
	found := s.exact[key.Type][key.Value]
	var cover, parent *entry
	var above string
	switch key.Type {
	case extract.IP:
		cover = s.findNetwork(key.Value)
	case extract.Domain:
		cover, parent, above = s.findAbove(key.Value)
	}
	if cover != nil && (found == nil || found.report.Verdict() < cover.report.Verdict()) {
		found = cover
	}
	if found != nil {
		return found.finding()
	}
	if r, ok := s.relations[key]; ok {
		return r.finding()
	}
	if parent != nil {
		r := relation{via: extract.Key{Type: extract.Domain, Value: above}, kind: intel.ByParent, entry: parent}
		return r.finding()
	}
	return intel.Finding{}
}

// A network is an entry of a list. Networks are nested or apart.
type network struct {
	netip.Prefix
	*entry
	around int // index of the network that this one is nested in; -1 when there is none
}

// finish makes the store ready to be asked, and lets go of what filling it took.
func (s *Store) finish() {
	s.sortNetworks()
	s.scanner, s.matches = nil, nil
}

// sortNetworks prepares the networks for findNetwork. Of two entries of the same one the first is kept.
func (s *Store) sortNetworks() {
	slices.SortStableFunc(s.networks, func(a, b network) int { return a.Compare(b.Prefix) })
	s.networks = slices.CompactFunc(s.networks, func(a, b network) bool { return a.Prefix == b.Prefix })
	for i := range s.networks {
		s.networks[i].around = s.innermost(i-1, s.networks[i].Addr())
	}
}

// innermost returns the index of the first of network i and those around it that holds addr, -1 when none does.
func (s *Store) innermost(i int, addr netip.Addr) int {
	for i >= 0 && !s.networks[i].Contains(addr) {
		i = s.networks[i].around
	}
	return i
}

// findNetwork returns the entry of the smallest network that holds the address, or nil. It takes one search, however
// many lengths of prefixes there are.
func (s *Store) findNetwork(value string) *entry {
	if len(s.networks) == 0 {
		return nil
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return nil
	}
	behind := sort.Search(len(s.networks), func(i int) bool { return addr.Less(s.networks[i].Addr()) })
	if i := s.innermost(behind-1, addr); i >= 0 {
		return s.networks[i].entry
	}
	return nil
}

// findAbove returns the entry of the *.domain that covers a name, or else of the nearest malicious domain above it,
// which relates it.
func (s *Store) findAbove(name string) (cover, parent *entry, above string) {
	_, upper, _ := strings.Cut(name, ".")
	for ; strings.IndexByte(upper, '.') >= 0; _, upper, _ = strings.Cut(upper, ".") { // what is listed has a dot
		if e := s.below[upper]; e != nil {
			return e, nil, ""
		}
		e := s.exact[extract.Domain][upper]
		if e != nil && parent == nil && e.report.Verdict() == intel.Malicious && sameOwner(name, upper) {
			parent, above = e, upper
		}
	}
	return nil, parent, above
}

// sameOwner reports whether no public suffix, of the list's private section neither, is parent or stands between it and
// name: below a suffix live strangers.
func sameOwner(name, parent string) bool {
	suffix, _ := publicsuffix.PublicSuffix(name)
	return len(parent) > len(suffix)
}

// addEntry lists key; of two feeds that do, the worse is kept, of equals the first. What a malicious report names is
// known in any case.
func (s *Store) addEntry(key extract.Key, e *entry) {
	verdict := e.report.Verdict()
	if verdict == intel.Malicious {
		for r := range e.report.Relations() {
			if tells(r.Key) {
				s.relate(r.Key, relation{key, r.Kind, r.Last, e})
			}
		}
	}
	old := s.exact[key.Type][key.Value]
	if verdict > intel.NoVerdict && (old == nil || old.report.Verdict() < verdict) {
		s.exact[key.Type][key.Value] = e
	}
}

// tells reports whether it tells something that a malicious report names key. Many a malicious name is taken down by
// letting it resolve to no host at all, or to whoever asks.
func tells(key extract.Key) bool {
	if key.Type != extract.IP {
		return true
	}
	addr, err := netip.ParseAddr(key.Value)
	return err == nil && (addr.IsGlobalUnicast() || addr.IsLinkLocalUnicast())
}

// relate notes why key is known. Of two reasons the first is kept.
func (s *Store) relate(key extract.Key, r relation) {
	if _, ok := s.relations[key]; !ok && key != r.via {
		s.relations[key] = r
	}
}

// The shortest networks that are taken: what is wider is a slip, and would call a good part of the Internet malicious.
const (
	shortestIPv4 = 8
	shortestIPv6 = 16
)

var errTooBroad = errors.New("network is too broad")

func (s *Store) addNetwork(p netip.Prefix, e *entry) error {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	shortest := shortestIPv6
	if p.Addr().Is4() {
		shortest = shortestIPv4
	}
	if p.Bits() < shortest {
		return errTooBroad
	}
	s.networks = append(s.networks, network{Prefix: p.Masked(), entry: e})
	return nil
}
