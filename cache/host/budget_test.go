package host

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
)

// fakeClock is a clock that is set by hand, and the time of day with it.
type fakeClock struct {
	boot  string
	since time.Duration
}

var dawn = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (c *fakeClock) read() (string, time.Duration) { return c.boot, c.since }

func (c *fakeClock) now() time.Time { return dawn.Add(c.since) }

func openFake(t testing.TB, dir string, c *fakeClock) *State {
	t.Helper()
	s, err := open(dir, Options{}, c.read)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !s.isClosed() {
			_ = s.Close()
		}
	})
	return s
}

// checkTerms fails when a window of the sorted times holds more than rate × time + burst.
func checkTerms(t *testing.T, times []time.Duration, perSecond float64, burst int) {
	t.Helper()
	for i := range times {
		for j := i; j < len(times); j++ {
			if most := perSecond*(times[j]-times[i]).Seconds() + float64(burst); float64(j-i+1) > most+1e-6 {
				t.Fatalf("%d requests from %v to %v: the terms allow %.2f", j-i+1, times[i], times[j], most)
			}
		}
	}
}

// question returns an indicator that nobody has asked about.
func question(n int) extract.Key {
	return extract.Key{Type: extract.Domain, Value: fmt.Sprintf("q%d.example", n)}
}

// TestMeter holds the meter against the terms for any order of requests, restarts of the host and late requests.
func TestMeter(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		perSecond, burst := []float64{0.1, 1, 7, 50}[rng.IntN(4)], 1+rng.IntN(60)
		m := newMeter(perSecond, burst)
		var times []time.Duration
		var due, now time.Duration
		for range 300 {
			now += time.Duration(rng.Float64() * rng.Float64() * 3 * float64(m.interval))
			if rng.IntN(50) == 0 {
				now += time.Duration(burst) * m.interval
			}
			next, wait := m.admit(due, now)
			if due = next; wait == 0 {
				times = append(times, now)
			} else if _, again := m.admit(due, now+wait); again > 0 {
				t.Fatalf("seed %d: no token after the wait of %v", seed, wait)
			}
		}
		checkTerms(t, times, perSecond, burst)
		late := slices.Clone(times)
		for i := range late { // requests that are late on their way, but for a burst that has no room for it
			if m.tolerance > 0 {
				late[i] += time.Duration(rng.Int64N(int64(slack(float64(burst-1) * float64(m.interval)))))
			}
		}
		slices.Sort(late)
		checkTerms(t, late, perSecond, burst)
	}
}

func TestMeterUsesTheRate(t *testing.T) {
	m := newMeter(50, 10)
	var due, now time.Duration
	n := 0
	for now < time.Minute {
		next, wait := m.admit(due, now)
		if due = next; wait == 0 {
			n++
		}
		now += wait
	}
	if n < 50*60 {
		t.Errorf("%d requests in a minute at 50 per second", n)
	}
}

// TestTermsAcrossProcesses lets eight processes ask, die and come back at random, with the host rebooted and its time
// set now and then.
func TestTermsAcrossProcesses(t *testing.T) {
	const perSecond, burst = 0.5, 5
	dir, rng, c := t.TempDir(), rand.New(rand.NewPCG(1, 2)), &fakeClock{boot: "a"}
	var real time.Duration
	var times []time.Duration
	states := make([]*State, 4)
	budgets := make([]*Budget, len(states))
	for i := range states {
		states[i] = openFake(t, dir, c)
		budgets[i] = states[i].Budget("one", perSecond, burst)
	}
	for n := range 800 {
		step := time.Duration(rng.Int64N(int64(time.Second)))
		real, c.since = real+step, c.since+step
		i := rng.IntN(len(states))
		if n%100 == 50 { // a process is killed: what it knows is gone
			budgets[i] = states[i].Budget("one", perSecond, burst)
		}
		if n%200 == 100 { // the host is rebooted: its clock begins anew
			*c = fakeClock{boot: fmt.Sprint(n)}
		}
		if n == 700 { // a clock that goes back, where there is none that does not
			c.since -= 30 * time.Second
		}
		if budgets[i].Take(question(n), dawn.Add(real)) == cache.Granted {
			times = append(times, real)
		}
	}
	checkTerms(t, times, perSecond, burst)
	if most := perSecond*real.Seconds() + burst; float64(len(times)) < 0.8*most {
		t.Errorf("%d requests where %.0f were allowed", len(times), most)
	}
}

func TestBudgetOutlivesProcesses(t *testing.T) {
	dir, c := t.TempDir(), &fakeClock{boot: "a", since: time.Hour}
	asked := 0
	for range 10 {
		s := openFake(t, dir, c)
		b := s.Budget("one", 0.1, 5)
		for b.Delay(c.now()) == 0 && b.Take(question(asked), c.now()) == cache.Granted {
			asked++
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 4 { // the fifth comes a moment later
		t.Errorf("%d requests at once in ten runs, with a burst of 5", asked)
	}
	c.since += maxSlack
	if grant := openFake(t, dir, c).Budget("one", 0.1, 5).Take(question(99), c.now()); grant != cache.Granted {
		t.Errorf("the fifth: %v", grant)
	}
}

// TestClockGoesBack is for hosts whose only clock is the time of day.
func TestClockGoesBack(t *testing.T) {
	dir, c := t.TempDir(), &fakeClock{since: 10 * time.Hour}
	b := openFake(t, dir, c).Budget("one", 1, 3)
	take := func(n int) cache.Grant { return b.Take(question(n), dawn) }
	for n := range 2 {
		if grant := take(n); grant != cache.Granted {
			t.Fatalf("%d: %v", n, grant)
		}
	}
	c.since = time.Hour
	if grant := take(10); grant != cache.NotYet {
		t.Errorf("the jump back gave a token: %v", grant)
	}
	c.since += time.Second
	if grant := take(11); grant != cache.Granted {
		t.Errorf("a second after the jump back: %v", grant)
	}
	c.since += 1000 * time.Hour
	granted := 0
	for n := range 10 {
		if take(20+n) == cache.Granted {
			granted++
		}
	}
	if granted != 2 { // slack takes the third
		t.Errorf("a jump forward gave %d tokens at once, the burst is 3", granted)
	}
}

// TestFairShares lets eight processes wait for the tokens of one source.
func TestFairShares(t *testing.T) {
	const perSecond, burst, processes, asks = 0.1, 5, 8, 240
	dir, c := t.TempDir(), &fakeClock{boot: "a"}
	budgets := make([]*Budget, processes)
	for i := range budgets {
		budgets[i] = openFake(t, dir, c).Budget("one", perSecond, burst)
	}
	shares := make([]int, processes)
	for n := 0; n < asks; {
		first, wait := 0, time.Duration(1<<62)
		for i, b := range budgets {
			if d := b.Delay(c.now()); d < wait {
				first, wait = i, d
			}
		}
		c.since += wait
		if budgets[first].Take(question(n), c.now()) == cache.Granted {
			shares[first]++
			n++
		}
	}
	for i, share := range shares {
		if fair := asks / processes; share < fair/2 || share > 2*fair {
			t.Errorf("process %d got %d of %d tokens", i, share, asks)
		}
	}
	t.Logf("shares %v in %v", shares, c.since)
}

func TestLease(t *testing.T) {
	dir, c := t.TempDir(), &fakeClock{boot: "a"}
	one, two := openFake(t, dir, c), openFake(t, dir, c)
	b1, b2, other := one.Budget("one", 1000, 100), two.Budget("one", 1000, 100), two.Budget("two", 1000, 100)
	key := question(1)
	take := func(b *Budget, want cache.Grant, when string) {
		t.Helper()
		c.since += time.Second
		if grant := b.Take(key, c.now()); grant != want {
			t.Errorf("%s: %v, want %v", when, grant, want)
		}
	}
	take(b1, cache.Granted, "nobody asks")
	take(b2, cache.Elsewhere, "another asks")
	take(other, cache.Elsewhere, "another asks somebody else")
	c.since += DefaultLease
	take(b2, cache.Granted, "the other did not come back")

	b2.Done(key, "failed", c.now())
	if err := two.Flush(); err != nil {
		t.Fatal(err)
	}
	take(b1, cache.Granted, "the other failed")
	a := answerNow("one", 1)
	a.Fetched, a.Expires = c.now(), c.now().Add(time.Hour)
	one.Put(key, a)
	b1.Done(key, "benign", c.now())
	if err := one.Flush(); err != nil {
		t.Fatal(err)
	}
	take(b2, cache.Answered, "the other has the answer")
	take(other, cache.Granted, "another source may know more")
	c.boot = "b"
	take(b1, cache.Answered, "after a reboot")
	key = question(2)
	take(b1, cache.Granted, "leases end with a reboot")
}

func TestMaliciousAnswersForAll(t *testing.T) {
	c := &fakeClock{boot: "a"}
	s := openFake(t, t.TempDir(), c)
	a := answerNow("one", -1)
	a.Expires = c.now().Add(time.Hour)
	s.Put(question(1), a)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if grant := s.Budget("two", 1, 5).Take(question(1), c.now()); grant != cache.Answered {
		t.Errorf("got %v", grant)
	}
	c.since = 2 * time.Hour
	if grant := s.Budget("two", 1, 5).Take(question(1), c.now()); grant != cache.Granted {
		t.Errorf("when it has expired: %v", grant)
	}
}

func TestPause(t *testing.T) {
	dir, c := t.TempDir(), &fakeClock{boot: "a"}
	b := openFake(t, dir, c).Budget("one", 1, 5)
	if err := PauseAsking(dir, "by the tester"); err != nil {
		t.Fatal(err)
	}
	if p, err := AskingPaused(dir); err != nil || p == nil || p.Note != "by the tester" || p.Since.IsZero() {
		t.Errorf("got %+v, %v", p, err)
	}
	if grant := b.Take(question(1), c.now()); grant != cache.NotYet || b.Delay(c.now()) > 5*time.Second {
		t.Errorf("while paused: %v, next in %v", grant, b.Delay(c.now()))
	}
	for range 2 {
		if err := ResumeAsking(dir); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := AskingPaused(dir); p != nil || err != nil {
		t.Errorf("got %+v, %v", p, err)
	}
	if grant := b.Take(question(1), c.now()); grant != cache.Granted {
		t.Errorf("when resumed: %v", grant)
	}
	if !paused(filepath.Join(dir, "\x00")) {
		t.Error("asks though nobody can tell whether it may")
	}
}

func TestLog(t *testing.T) {
	c := &fakeClock{boot: "a"}
	s := openFake(t, t.TempDir(), c)
	s.opt.MaxAsked = 3
	b := s.Budget("one", 10, 100)
	for n := range 5 {
		if grant := b.Take(question(n), c.now()); grant != cache.Granted {
			t.Fatal(grant)
		}
		if n != 4 {
			b.Done(question(n), fmt.Sprint("outcome ", n), c.now().Add(time.Second))
		}
	}
	log, err := s.Log(t.Context(), 10)
	if err != nil || len(log) != 3 {
		t.Fatalf("%v, %v", log, err)
	}
	want := Asked{At: log[1].At, Key: question(3), Source: "one", Owner: s.owner, Outcome: "outcome 3", Took: time.Second}
	if log[0].Key != question(4) || log[0].Outcome != "" || log[1] != want || !want.At.Equal(c.now()) {
		t.Errorf("got %+v", log)
	}
	if log, _ := s.Log(t.Context(), 1); len(log) != 1 {
		t.Errorf("the last one alone: %v", log)
	}
	b.Done(question(3), "again", c.now())
	if log, _ := s.Log(t.Context(), 10); log[1].Outcome != "outcome 3" {
		t.Errorf("a question ended twice: %+v", log)
	}
}

func TestStats(t *testing.T) {
	c := &fakeClock{boot: "a"}
	s := openFake(t, t.TempDir(), c)
	s.Budget("one", 0.1, 5).Take(question(1), c.now())
	s.Put(question(1), answerNow("one", -1))
	s.NoteHealth(Health{Source: "one", Up: false, Note: "HTTP 503", At: c.now()})
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.Answers["one"]["malicious"] != 1 || stats.Leases != 1 || stats.Asked != 1 || stats.Version != len(steps) ||
		stats.Bytes == 0 || stats.Oldest.IsZero() || stats.Path != s.path() {
		t.Errorf("got %+v", stats)
	}
	if len(stats.Health) != 1 || stats.Health[0].Note != "HTTP 503" || stats.Health[0].Up {
		t.Errorf("health %+v", stats.Health)
	}
	if len(stats.Budgets) != 1 || stats.Budgets[0].Left < 3.9 || stats.Budgets[0].Left > 4 {
		t.Errorf("budgets %+v", stats.Budgets)
	}
}

// Processes that write at the same time wait for each other: none of them takes that for trouble.
func TestWritersWaitForEachOther(t *testing.T) {
	const processes, takes = 4, 40
	dir := t.TempDir()
	var working sync.WaitGroup
	for p := range processes {
		s, err := Open(dir, Options{OnTrouble: func(err error) { t.Errorf("process %d: %v", p, err) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		b := s.Budget("crowd", 1e6, 1e6)
		working.Go(func() {
			for n := range takes {
				key := question(1000*p + n)
				if grant := b.Take(key, time.Now()); grant != cache.Granted {
					t.Errorf("process %d: grant %d for question %d", p, grant, n)
				}
				s.Put(key, answerNow("crowd", 1))
				b.Done(key, "benign", time.Now())
			}
		})
	}
	working.Wait()
}

// The budget of a file that was lost is empty at first, and fills.
func TestBudgetOfLostFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte("this is no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock := &fakeClock{boot: "a", since: time.Hour}
	b := openFake(t, dir, clock).Budget("crowd", 1, 5)
	if grant := b.Take(question(0), clock.now()); grant != cache.NotYet {
		t.Fatalf("grant %d at once, want none", grant)
	}
	clock.since += 2 * time.Second
	if grant := b.Take(question(0), clock.now()); grant != cache.Granted {
		t.Errorf("grant %d after two tokens' time, want one", grant)
	}
}

// A folder that is removed while processes ask gives nobody another burst.
func TestBudgetOfRemovedFolder(t *testing.T) {
	dir, clock := t.TempDir(), &fakeClock{boot: "a", since: time.Hour}
	first, second := openFake(t, dir, clock).Budget("crowd", 1, 5), openFake(t, dir, clock).Budget("crowd", 1, 5)
	for n := range 4 {
		if grant := first.Take(question(n), clock.now()); grant != cache.Granted {
			t.Fatalf("question %d: grant %d", n, grant)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for n, b := range []*Budget{second, first} {
		if grant := b.Take(question(10+n), clock.now()); grant != cache.NotYet {
			t.Errorf("process %d: grant %d once the folder was removed, want none", n, grant)
		}
	}
	clock.since += 2 * time.Second
	if grant := first.Take(question(20), clock.now()); grant != cache.Granted {
		t.Errorf("grant %d after two tokens' time, want one", grant)
	}
}

// What a source wants is heard by all processes, and by those that start later.
func TestHold(t *testing.T) {
	dir, clock := t.TempDir(), &fakeClock{boot: "a", since: time.Since(dawn)}
	first, other := openFake(t, dir, clock).Budget("crowd", 1, 5), openFake(t, dir, clock).Budget("other", 1, 5)
	first.Hold(clock.now().Add(time.Hour))
	first.Hold(clock.now().Add(time.Minute)) // does not shorten it
	later := openFake(t, dir, clock)
	second := later.Budget("crowd", 1, 5)
	for name, b := range map[string]*Budget{"first": first, "second": second} {
		if grant := b.Take(question(1), clock.now()); grant != cache.NotYet || b.Delay(clock.now()) < 59*time.Minute {
			t.Errorf("%s: grant %d, next try in %v", name, grant, b.Delay(clock.now()))
		}
	}
	if grant := other.Take(question(2), clock.now()); grant != cache.Granted {
		t.Errorf("another source: grant %d", grant)
	}
	if stats, err := later.Stats(t.Context()); err != nil || len(stats.Budgets) != 1 || !stats.Budgets[0].Held.IsZero() {
		t.Errorf("stats %+v, %v", stats.Budgets, err)
	}
	clock.since += time.Hour + time.Second
	if grant := second.Take(question(1), clock.now()); grant != cache.Granted {
		t.Errorf("after it: grant %d", grant)
	}
	if stats, err := later.Stats(t.Context()); err != nil || len(stats.Budgets) != 2 || stats.Budgets[0].Held.IsZero() {
		t.Errorf("stats %+v, %v", stats.Budgets, err)
	}
	clock.since -= 48 * time.Hour
	if grant := second.Take(question(3), clock.now()); grant != cache.NotYet || second.Delay(clock.now()) > time.Hour {
		t.Errorf("the clock went back two days: grant %d, next try in %v", grant, second.Delay(clock.now()))
	}
}

func TestBudgetTokens(t *testing.T) {
	clock := &fakeClock{boot: "a", since: time.Hour}
	b := openFake(t, t.TempDir(), clock).Budget("crowd", 1, 5)
	full := b.Tokens(clock.now())
	for i := range 2 {
		if grant := b.Take(question(i), clock.now()); grant != cache.Granted {
			t.Fatalf("grant %d", grant)
		}
	}
	if left := b.Tokens(clock.now()); full < 4 || left < full-2.1 || left > full-1.9 {
		t.Errorf("%v tokens of %v are left after 2 questions", left, full)
	}
}
