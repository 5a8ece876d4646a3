package lookup

import "testing"

func TestNetwork(t *testing.T) {
	f := func(a, b string, same bool) {
		t.Helper()
		if got := network(a) == network(b); got != same {
			t.Errorf("%s and %s: one network is %v, want %v", a, b, got, same)
		}
	}
	f("198.51.100.7", "198.51.100.200", true)
	f("198.51.100.7", "198.51.101.7", false)
	f("2001:db8:1:2::1", "2001:db8:1:ffff::9", true)
	f("2001:db8:1::1", "2001:db8:2::1", false)
	if network("no address").IsValid() {
		t.Error("what is no address has a network")
	}
}

func TestGroups(t *testing.T) {
	g := newGroups()
	g.add(0, true)
	if got := g.of(0); got != (evidence{}) {
		t.Errorf("no group has evidence %v", got)
	}
	g.add(1, true)
	g.add(1, false)
	if got := g.of(1).pull(0.1); got != (8*0.1+1)/10 {
		t.Errorf("0.1 was pulled to %v", got)
	}
	for group := range uint64(maxGroups) {
		g.add(2+group, false)
	}
	if got := g.of(1); got != (evidence{}) {
		t.Errorf("the oldest of too many groups is still there: %v", got)
	}
}

func TestHotHosts(t *testing.T) {
	h := newHotHosts()
	h.met(0, 0)
	h.met(1, 100)
	f := func(want bool, now seconds, hosts ...uint64) {
		t.Helper()
		if got := h.any(hosts, now); got != want {
			t.Errorf("hosts %v at %v: %v, want %v", hosts, now, got, want)
		}
	}
	f(true, 100, 1)
	f(true, 700, 2, 1)
	f(false, 701, 1)
	f(false, 100, 2)
	f(false, 100, 0)
	f(false, 100)
}
