package cache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
)

// fakeStore is a store in memory that tells changes when the test does, and counts what it is asked.
type fakeStore struct {
	*cache.Memory
	changes chan cache.Change
	all     bool
	gets    atomic.Int64
}

func (s *fakeStore) Get(key extract.Key) (cache.Held, bool) {
	s.gets.Add(1)
	return s.Memory.Get(key)
}

func (s *fakeStore) Follow(ctx context.Context, _ int, apply func(cache.Change), loaded func(bool)) error {
	loaded(s.all)
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-s.changes:
			apply(c)
		}
	}
}

// overFake calls test in a bubble with a memory for size indicators that runs over an empty fake.
func overFake(t *testing.T, size int, all bool, test func(*testing.T, *cache.Memory, *fakeStore)) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{Memory: newMemory(t, 10_000), changes: make(chan cache.Change), all: all}
		m := newMemory(t, size)
		m.Over(store)
		go func() {
			if err := m.Run(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		<-m.Loaded()
		test(t, m, store)
	})
}

// naming is a malicious report that names ip(2).
func naming() *intel.Report {
	r := voted(-1)
	r.Resolutions = []intel.Resolution{{Value: ip(2).Value}}
	return r
}

func answer(votes int8) cache.Answer {
	return cache.Answer{Source: "one", Report: voted(votes), Fetched: time.Now(), Expires: time.Now().Add(time.Hour)}
}

func TestWriteThrough(t *testing.T) {
	overFake(t, 10, true, func(t *testing.T, m *cache.Memory, store *fakeStore) {
		m.Put(ip(1), cache.Answer{Source: "one", Report: naming(), Fetched: time.Now()})
		m.Relate(ip(2), intel.Finding{Verdict: intel.Related, Source: "one", Via: ip(1), Relation: intel.ByResolution})
		for _, key := range []extract.Key{ip(1), ip(2)} {
			above, _ := m.Get(key)
			below, ok := store.Get(key)
			if !ok || len(above.Answers) != len(below.Answers) || !above.Until.Equal(below.Until) {
				t.Errorf("%v: %+v below, %+v above", key, below, above)
			}
		}
		if err := m.Remove(ip(1)); err != nil || store.Len() != 0 || m.Len() != 0 {
			t.Errorf("%v: %d left below, %d above", err, store.Len(), m.Len())
		}
	})
}

func TestChanges(t *testing.T) {
	overFake(t, 10, true, func(t *testing.T, m *cache.Memory, store *fakeStore) {
		tell := func(c cache.Change) {
			store.changes <- c
			synctest.Wait()
		}
		malicious := answer(-1)
		malicious.Report = naming()
		tell(cache.Change{Key: ip(1), Answer: malicious})
		until := time.Now().Add(time.Hour)
		relation := intel.Finding{Verdict: intel.Related, Source: "one", Report: voted(-1), Via: ip(1)}
		tell(cache.Change{Key: ip(2), Relation: relation, Until: until})
		first, _ := m.Get(ip(2))
		relation.Report = voted(-1)
		tell(cache.Change{Key: ip(2), Relation: relation, Until: until})
		if again, _ := m.Get(ip(2)); again.Relation.Report != first.Relation.Report || again.Relation.Report == nil {
			t.Error("a relation that is told twice is held anew")
		}
		two := answer(1)
		two.Source = "two"
		store.Put(ip(1), two) // what is left of it below
		tell(cache.Change{Key: ip(1)})
		if h, _ := m.Get(ip(1)); len(h.Answers) != 1 || h.Answers[0].Source != "two" {
			t.Errorf("after a removal: %+v", h)
		}
		if h, ok := m.Get(ip(2)); ok {
			t.Errorf("after a removal, it is still related: %+v", h)
		}
	})
}

// TestMisses tells apart when a miss is looked up below, and when that would be in vain.
func TestMisses(t *testing.T) {
	for name, test := range map[string]struct {
		all        bool
		size, fill int
		want       int64
	}{
		"all is in memory":       {true, 10, 5, 0},
		"memory is full":         {true, 10, 11, 1},
		"not all was loaded":     {false, 10, 5, 1},
		"not all, and it is not": {false, 10, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			overFake(t, test.size, test.all, func(t *testing.T, m *cache.Memory, store *fakeStore) {
				for n := range test.fill {
					m.Put(ip(n), answer(1))
				}
				for range 3 {
					m.Get(ip(99))
					synctest.Wait()
				}
				if got := store.gets.Load(); got != test.want {
					t.Errorf("looked up %d times, want %d", got, test.want)
				}
			})
		})
	}
}

// TestMissedAgain evicts what was found below, so that it is missed and found a second time.
func TestMissedAgain(t *testing.T) {
	overFake(t, 2, false, func(t *testing.T, m *cache.Memory, store *fakeStore) {
		store.Put(ip(1), answer(1))
		for round := range 3 {
			if _, ok := m.Get(ip(1)); ok {
				t.Fatalf("round %d: it is there already", round)
			}
			synctest.Wait()
			if _, ok := m.Get(ip(1)); !ok {
				t.Fatalf("round %d: not found below", round)
			}
			m.Put(ip(2), answer(1))
			m.Put(ip(3), answer(1))
		}
	})
}

func TestFetch(t *testing.T) {
	overFake(t, 10, true, func(t *testing.T, m *cache.Memory, store *fakeStore) {
		store.Put(ip(1), answer(-1))
		if h := m.Fetch(ip(1)); !h.Fresh("one", time.Now()) {
			t.Errorf("got %+v", h)
		}
		if _, ok := m.Get(ip(1)); !ok {
			t.Error("what was fetched is not held")
		}
		if h := m.Fetch(ip(2)); len(h.Answers) != 0 {
			t.Errorf("got %+v", h)
		}
	})
}

func TestMissAllocates(t *testing.T) {
	m := newMemory(t, 10)
	m.Over(&fakeStore{Memory: newMemory(t, 10)})
	key := ip(99)
	m.Get(key)
	if n := testing.AllocsPerRun(100, func() { m.Get(key) }); n != 0 {
		t.Errorf("%v allocations for a miss that repeats", n)
	}
}

func BenchmarkMissBelow(b *testing.B) {
	m := newMemory(b, 10)
	m.Over(&fakeStore{Memory: newMemory(b, 10)})
	key := ip(99)
	b.ReportAllocs()
	for b.Loop() {
		m.Get(key)
	}
}
