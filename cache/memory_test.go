package cache_test

import (
	"fmt"
	"testing"
	"time"

	"iocpipe/cache"
	"iocpipe/cache/cachetest"
	"iocpipe/extract"
	"iocpipe/intel"
)

func newMemory(t testing.TB, size int) *cache.Memory {
	t.Helper()
	m, err := cache.NewMemory(size, cache.DefaultLifetimes)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMemory(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Layer { return newMemory(t, 1000) })
}

func ip(n int) extract.Key {
	return extract.Key{Type: extract.IP, Value: fmt.Sprintf("203.0.%d.%d", n/256, n%256)}
}

func voted(votes int8) *intel.Report { return &intel.Report{Known: true, Voted: true, Votes: votes} }

func TestLifetimes(t *testing.T) {
	m := newMemory(t, 10)
	now := time.Now()
	for n, test := range []struct {
		report *intel.Report
		hold   time.Duration
	}{
		{voted(-1), cache.DefaultLifetimes.Malicious},
		{voted(0), cache.DefaultLifetimes.Known},
		{voted(1), cache.DefaultLifetimes.Known},
		{&intel.Report{}, cache.DefaultLifetimes.Unknown},
	} {
		m.Put(ip(n), cache.Answer{Source: "one", Report: test.report, Fetched: now})
		h, _ := m.Get(ip(n))
		held := h.Answers[0].Expires.Sub(now)
		if held < test.hold*9/10 || held > test.hold*11/10 || held == test.hold {
			t.Errorf("%v holds for %v, want %v and a jitter of a tenth", test.report.Verdict(), held, test.hold)
		}
	}
}

// Of answers that agree, that of the source that was named first counts, whichever came first.
func TestMemoryOrder(t *testing.T) {
	m, now := newMemory(t, 10), time.Now()
	m.Order = []string{"first", "second"}
	for n, source := range []string{"other", "second", "first", "second"} {
		m.Put(ip(1), cache.Answer{Source: source, Report: voted(1), Fetched: now.Add(time.Duration(n))})
	}
	h, _ := m.Get(ip(1))
	if found := h.Finding(now); len(h.Answers) != 3 || found.Source != "first" {
		t.Errorf("%d answers, that of %s counts", len(h.Answers), found.Source)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(t, 10)
	for n := range 20 {
		m.Put(ip(n), cache.Answer{Source: "one", Report: voted(1), Fetched: time.Now()})
		m.Get(ip(0)) // used, so it stays
	}
	if _, ok := m.Get(ip(0)); m.Len() != 10 || !ok {
		t.Errorf("%d held, the one that is used: %v", m.Len(), ok)
	}
	if _, err := cache.NewMemory(0, cache.DefaultLifetimes); err == nil {
		t.Error("a memory for nothing")
	}
}

func BenchmarkMemoryGet(b *testing.B) {
	for name, key := range map[string]extract.Key{"hit": ip(1), "miss": ip(1 << 15)} {
		b.Run(name, func(b *testing.B) {
			m := newMemory(b, 1000)
			for n := range 1000 {
				m.Put(ip(n), cache.Answer{Source: "one", Report: voted(1), Fetched: time.Now()})
			}
			b.ReportAllocs()
			m.Get(ip(1)) // or it may have been pushed out
			for b.Loop() {
				m.Get(key)
			}
		})
	}
}
