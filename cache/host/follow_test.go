package host

import (
	"fmt"
	"testing"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
)

// within fails unless ok comes true in the time that a change may take to be seen by others.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 5 s: %s", what)
		}
	}
}

func holds(m *cache.Memory, key extract.Key) func() bool {
	return func() bool {
		_, ok := m.Get(key)
		return ok
	}
}

func not(ok func() bool) func() bool { return func() bool { return !ok() } }

// TestProcessesShare has one process put and remove, and another, and one that starts later, see it.
func TestProcessesShare(t *testing.T) {
	dir := t.TempDir()
	one := memoryOver(t, openTest(t, dir, Options{}), 10)
	two := memoryOver(t, openTest(t, dir, Options{}), 10)
	domain := extract.Key{Type: extract.Domain, Value: "evil.example"}
	a := answerNow("one", -1)
	a.Report.Resolutions = []intel.Resolution{{Value: "203.0.113.7"}}
	one.Put(domain, a)
	one.Relate(ip("203.0.113.7"), intel.Finding{
		Verdict: intel.Related, Source: "one", Report: a.Report, Via: domain, Relation: intel.ByResolution,
	})
	one.Put(ip("203.0.113.8"), answerNow("one", 1))
	within(t, "the other process does not know the answer", holds(two, domain))
	within(t, "the other process does not know what it relates", holds(two, ip("203.0.113.7")))
	if h, _ := two.Get(ip("203.0.113.7")); h.Relation.Via != domain || h.Relation.Report.Votes != -1 {
		t.Errorf("relation %+v", h.Relation)
	}

	three := memoryOver(t, openTest(t, dir, Options{}), 10)
	for _, key := range []extract.Key{domain, ip("203.0.113.7"), ip("203.0.113.8")} {
		if !holds(three, key)() {
			t.Errorf("a process that starts does not know %v", key)
		}
	}

	if err := openTest(t, dir, Options{}).Remove(domain); err != nil { // as the command does
		t.Fatal(err)
	}
	for i, m := range []*cache.Memory{one, two, three} {
		within(t, fmt.Sprint(i, " still holds what was removed"), not(holds(m, domain)))
		within(t, fmt.Sprint(i, " still holds what it related"), not(holds(m, ip("203.0.113.7"))))
		if !holds(m, ip("203.0.113.8"))() {
			t.Errorf("%d has lost another answer", i)
		}
	}
}

// TestMoreThanMemory has a memory that holds less than the file: what is missed is looked up for the next time.
func TestMoreThanMemory(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	const size = chunk + 10 // so that loading takes two steps
	for n := range 2 * size {
		s.Put(question(n), answerNow("one", 1))
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	m := memoryOver(t, s, size)
	if newest := question(2*size - 1); !holds(m, newest)() {
		t.Errorf("the newest is not loaded")
	}
	within(t, "what was missed is not looked up", holds(m, question(1)))
	if h := m.Fetch(question(2)); len(h.Answers) != 1 {
		t.Errorf("fetched %+v", h)
	}
	if n := testing.AllocsPerRun(100, func() { m.Get(ip("203.0.113.99")) }); n != 0 {
		t.Errorf("%v allocations for a miss that repeats", n)
	}
}

func TestAnswers(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	const n = chunk + 10
	for i := range n {
		s.Put(question(i), answerNow("one", 1))
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	next := n
	for c, err := range s.Answers(t.Context()) {
		if next--; err != nil || c.Key != question(next) {
			t.Fatalf("got %v, %v; want %v", c.Key, err, question(next))
		}
	}
	if next != 0 {
		t.Errorf("%d are missing", next)
	}
	for range s.Answers(t.Context()) {
		break
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := openTest(b, dir, Options{})
	for n := range 10_000 {
		s.Put(question(n), answerNow("one", 1))
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

func BenchmarkPut(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	a := answerNow("one", -1)
	n := 0
	for b.Loop() {
		s.Put(question(n), a)
		if n++; n%maxBatch == 0 {
			if err := s.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	for n := range 10_000 {
		s.Put(question(n), answerNow("one", 1))
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		s.Get(question(n * 7919 % 10_000))
		n++
	}
}

func BenchmarkTake(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	budget := s.Budget("one", 1e9, 1000)
	n := 0
	for b.Loop() {
		if grant := budget.Take(question(n), time.Now()); grant != cache.Granted {
			b.Fatal(grant)
		}
		budget.Done(question(n), "benign", time.Now())
		n++
	}
}

func BenchmarkLoad(b *testing.B) {
	s := openTest(b, b.TempDir(), Options{})
	const answers = 50_000
	for n := range answers {
		if s.Put(question(n), answerNow("one", 1)); n%10_000 == 0 {
			if err := s.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if n := memoryOver(b, s, 2*answers).Len(); n != answers {
			b.Fatalf("%d answers loaded", n)
		}
	}
	b.ReportMetric(float64(answers)*float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}
