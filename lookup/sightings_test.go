package lookup

import (
	"math"
	"testing"

	"iocpipe/extract"
)

// seen returns the sightings at the given seconds.
func seen(outcome extract.Outcome, at ...seconds) *sightings {
	var s sightings
	for _, t := range at {
		s.add(t, outcome, 0, false)
	}
	return &s
}

func TestSightingsGaps(t *testing.T) {
	s := seen(extract.OK, 10, 20, 40, 50) // gaps 10, 20, 10
	if s.n != 4 || s.first != 10 || s.last != 50 {
		t.Errorf("n %d, first %v, last %v", s.n, s.first, s.last)
	}
	if mean := 40.0 / 3; math.Abs(s.gap()-mean) > 1e-9 {
		t.Errorf("mean gap %v, want %v", s.gap(), mean)
	}
	if m2 := 2*math.Pow(10-40.0/3, 2) + math.Pow(20-40.0/3, 2); math.Abs(s.m2-m2) > 1e-9 {
		t.Errorf("squared differences %v, want %v", s.m2, m2)
	}
}

func TestSightingsPeriodic(t *testing.T) {
	f := func(want bool, at ...seconds) {
		t.Helper()
		if got := seen(extract.OK, at...).periodic(); got != want {
			t.Errorf("periodic %v at %v", got, at)
		}
	}
	f(false, 0, 60, 120) // too few
	f(true, 0, 60, 121, 179)
	f(false, 0, 2, 4, 6, 8) // a page loading its parts
	f(false, 0, 5, 100, 110, 300)
}

func TestSightingsHosts(t *testing.T) {
	var s sightings
	for _, host := range []uint64{1, 2, 1, 0, 3, 4, 5, 6, 7, 8, 9, 10} {
		s.add(0, extract.OK, host, false)
	}
	if s.hostCount != maxHosts {
		t.Errorf("%d hosts, want %d", s.hostCount, maxHosts)
	}
}

func TestSightingsTraits(t *testing.T) {
	f := func(s *sightings, typ extract.Type, want ...trait) {
		t.Helper()
		var set traits
		for _, x := range want {
			set.set(x)
		}
		if got := s.traits(typ); got != set {
			t.Errorf("traits %b, want %b (%v)", got, set, want)
		}
	}
	failed := func(n int) *sightings { return seen(extract.Fail, make([]seconds, n)...) }
	f(failed(1), extract.IP, traitIPFail)
	f(failed(5), extract.IP, traitIPFail, traitIPFail5)
	f(failed(20), extract.IP, traitIPFail, traitIPFail5, traitIPFail20, traitFrequent)
	f(failed(100), extract.Domain, traitDomainFail, traitFrequent, traitVeryFrequent)
	f(seen(extract.Deny, 0), extract.IP, traitIPDeny)
	f(seen(extract.Deny, 0), extract.Domain, traitDomainDeny)
	f(seen(extract.Deny, 0), extract.Email, traitEmailDeny)
	f(seen(extract.Deny, 0), extract.SHA1, traitHashDeny)
	f(seen(extract.OK, 0), extract.IP, traitIPOK)
	f(seen(extract.NXDomain, 0), extract.Domain)
	mixed := failed(3)
	mixed.add(0, extract.OK, 0, false)
	f(mixed, extract.IP, traitIPFail, traitFailThenOK)
	var hosts sightings
	for host := range uint64(3) {
		hosts.add(0, extract.NoOutcome, 1, host == 2)
	}
	f(&hosts, extract.MD5, traitOneHost, traitBeside)
	for host := range uint64(maxHosts) {
		hosts.add(0, extract.NoOutcome, 1+host, false)
	}
	f(&hosts, extract.MD5, traitHosts4, traitHosts8, traitBeside)
}

func TestFuture(t *testing.T) {
	f := func(s *sightings, idle, want float64) {
		t.Helper()
		if got := s.future(idle); math.Abs(got-want) > 1e-9 {
			t.Errorf("n %d, idle %v s: %v to come, want %v", s.n, idle, got, want)
		}
	}
	f(seen(extract.OK, 0), 0, 1)
	f(seen(extract.OK, 0), 120, 1/math.E)
	f(seen(extract.OK, 0, 10, 20), 0, 3)
	f(seen(extract.OK, 0, 10, 20), 90, 3/math.E)
	f(seen(extract.OK, 0, 899.5), 0, 1) // no more than fit into a quarter of an hour
}

func TestWorthFallsToTheStaleNews(t *testing.T) {
	s := seen(extract.OK, 0)
	if got := s.worth(0); got != 4 {
		t.Errorf("worth %v when just seen, want 4", got)
	}
	if got := s.worth(300); math.Abs(got-(3*0.65+math.Exp(-2.5))) > 1e-9 {
		t.Errorf("worth %v after 300 s", got)
	}
	if got := s.worth(1e6); math.Abs(got-0.9) > 1e-9 {
		t.Errorf("worth %v after days, want 0.9", got)
	}
}

func TestWeightsAreNamed(t *testing.T) {
	for x, w := range weights {
		if w.name == "" {
			t.Errorf("trait %d has no name", x)
		}
	}
	if numTraits > 32 {
		t.Errorf("%d traits do not fit the set", numTraits)
	}
}

func TestLogOdds(t *testing.T) {
	var set traits
	set.set(traitIP)
	set.set(traitIPFail)
	if got, want := set.logOdds(), -4.0+0.3+1.6; math.Abs(got-want) > 1e-9 {
		t.Errorf("log odds %v, want %v", got, want)
	}
	if p := sigmoid(logit(0.9)); math.Abs(p-0.9) > 1e-9 {
		t.Errorf("0.9 became %v", p)
	}
}
