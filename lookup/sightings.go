package lookup

import (
	"slices"
	"time"

	"iocpipe/extract"
)

// maxHosts bounds the hosts that are remembered per indicator: what matters is one, a few, or many.
const maxHosts = 8

// numOutcomes bounds the outcomes that are counted, in whatever order they are declared.
const numOutcomes = max(extract.NoOutcome, extract.OK, extract.Fail, extract.Deny, extract.NXDomain) + 1

// seconds counts from the start of a [Table].
type seconds float64

func (s seconds) duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// sightings is what was seen of one indicator while it waited.
type sightings struct {
	n           uint32
	hostCount   uint8
	beside      bool // it stood in one event with something malicious
	first, last seconds
	m2          float64 // sum of the squared differences of the gaps from their mean (Welford)
	outcomes    [numOutcomes]uint32
	hosts       [maxHosts]uint64 // hashes
}

// add counts one more sighting. host is a hash; 0 when the line names none.
func (s *sightings) add(now seconds, outcome extract.Outcome, host uint64, beside bool) {
	if s.n == 0 {
		s.first = now
	} else {
		s.addGap(float64(now - s.last))
	}
	s.n++
	s.last = max(s.last, now)
	s.beside = s.beside || beside
	if outcome < numOutcomes {
		s.outcomes[outcome]++
	}
	if host != 0 && int(s.hostCount) < maxHosts && !slices.Contains(s.hosts[:s.hostCount], host) {
		s.hosts[s.hostCount] = host
		s.hostCount++
	}
}

// addGap must be called before last and n change: the mean of the gaps follows from first, last and n.
func (s *sightings) addGap(gap float64) {
	before := s.gap()
	after := (float64(s.last-s.first) + gap) / float64(s.n)
	s.m2 += (gap - before) * (gap - after)
}

// gap returns the mean time between sightings in seconds, 0 for a single one.
func (s *sightings) gap() float64 {
	if s.n < 2 {
		return 0
	}
	return float64(s.last-s.first) / float64(s.n-1)
}

// periodic reports whether the sightings come like a clock: a beacon, or a monitor.
func (s *sightings) periodic() bool {
	gap := s.gap()
	return s.n >= 4 && gap > 5 && s.m2/float64(s.n-1) < 0.06*gap*gap
}

// mostly reports whether more than half of the sightings had this outcome.
func (s *sightings) mostly(outcome extract.Outcome) bool { return 2*s.outcomes[outcome] > s.n }

// traits returns what the sightings say about an indicator of type t.
func (s *sightings) traits(t extract.Type) traits {
	var f traits
	s.outcomeTraits(&f, t)
	s.hostTraits(&f)
	f.setIf(s.beside, traitBeside)
	f.setIf(s.periodic(), traitPeriodic)
	f.setIf(s.n >= 20, traitFrequent)
	f.setIf(s.n >= 100, traitVeryFrequent)
	return f
}

func (s *sightings) outcomeTraits(f *traits, t extract.Type) {
	fail, deny := s.mostly(extract.Fail), s.mostly(extract.Deny)
	f.setIf(fail && s.outcomes[extract.OK] > 0, traitFailThenOK)
	switch {
	case t == extract.IP:
		f.setIf(fail, traitIPFail)
		f.setIf(fail && s.n >= 5, traitIPFail5)
		f.setIf(fail && s.n >= 20, traitIPFail20)
		f.setIf(deny, traitIPDeny)
		f.setIf(s.mostly(extract.OK), traitIPOK)
	case t == extract.Domain:
		f.setIf(fail, traitDomainFail)
		f.setIf(deny, traitDomainDeny)
	case t == extract.Email:
		f.setIf(deny, traitEmailDeny)
	case t.IsHash():
		f.setIf(deny, traitHashDeny)
	}
}

func (s *sightings) hostTraits(f *traits) {
	f.setIf(s.hostCount == 1 && s.n >= 3, traitOneHost)
	f.setIf(s.hostCount >= 4, traitHosts4)
	f.setIf(s.hostCount >= 8, traitHosts8)
}
