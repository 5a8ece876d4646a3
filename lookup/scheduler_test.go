package lookup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/time/rate"

	"iocpipe/extract"
	"iocpipe/intel"
)

// aliasing returns a string that changes with line, as the keys of a scanner do.
func aliasing(line []byte) string { return unsafe.String(&line[0], len(line)) }

// provider is a Provider from a function; it notes what it was asked and when.
type provider struct {
	answer func(ctx context.Context, key extract.Key) (intel.Report, error)

	mu    sync.Mutex
	asked []extract.Key
	times []time.Time
}

func (p *provider) Lookup(ctx context.Context, key extract.Key) (intel.Report, error) {
	p.mu.Lock()
	p.asked = append(p.asked, key)
	p.times = append(p.times, time.Now())
	p.mu.Unlock()
	return p.answer(ctx, key)
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

// gaps returns the times between requests.
func (p *provider) gaps() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(p.times); i++ {
		gaps = append(gaps, p.times[i].Sub(p.times[i-1]))
	}
	return gaps
}

// says returns a provider with one report for everything.
func says(report intel.Report) *provider {
	return &provider{answer: func(context.Context, extract.Key) (intel.Report, error) { return report, nil }}
}

// fails returns a provider with one error for everything.
func fails(err error) *provider {
	return &provider{answer: func(context.Context, extract.Key) (intel.Report, error) { return intel.Report{}, err }}
}

var (
	malicious = intel.Report{Known: true, Voted: true, Votes: -1}
	benign    = intel.Report{Known: true, Voted: true, Votes: 1}
	unknown   = intel.Report{}
)

// memory is Answers in a map.
type memory struct {
	mu   sync.Mutex
	held map[string]Answer
}

func (m *memory) Held(key extract.Key, source string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.held[source+" "+key.String()]
	return ok
}

func (m *memory) Put(a Answer) []extract.Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[a.Source+" "+a.Key.String()] = a
	if a.Report == nil {
		return nil
	}
	return RelatedKeys(a.Report)
}

func newTestScheduler(t testing.TB, opt Options) *Scheduler {
	t.Helper()
	if opt.Answers == nil {
		opt.Answers = &memory{held: make(map[string]Answer)}
	}
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// source returns a source with the budget of the v2 terms.
func source(name string, p Provider) Source {
	return Source{Name: name, Provider: p, Types: extract.AllTypes, Rate: rate.Every(10 * time.Second), Burst: 5}
}

// running runs f in a bubble of simulated time while the scheduler asks.
func running(t *testing.T, opt Options, f func(t *testing.T, s *Scheduler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newTestScheduler(t, opt)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		f(t, s)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want the cause of the end", err)
		}
		if n := s.InFlight(); n != 0 {
			t.Errorf("%d in flight after the end", n)
		}
	})
}

// pass lets simulated time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantMany(s *Scheduler, n int) {
	for i := range n {
		s.Want(Sighting{Key: ip(i << 8)})
	}
}

func TestSchedulerKeepsTheBudget(t *testing.T) {
	p := says(unknown)
	running(t, Options{Sources: []Source{source("a", p)}}, func(t *testing.T, s *Scheduler) {
		wantMany(s, 1000)
		for _, step := range []struct {
			pass time.Duration
			want int
		}{{0, 5}, {9 * time.Second, 5}, {time.Second, 6}, {10 * time.Second, 7}, {time.Hour, 367}} {
			if pass(step.pass); p.count() != step.want {
				t.Errorf("after %v more: %d asked, want %d", step.pass, p.count(), step.want)
			}
		}
	})
}

// TestSchedulerChoosesLate: what is best is decided when the token is there.
func TestSchedulerChoosesLate(t *testing.T) {
	p := says(unknown)
	running(t, Options{Sources: []Source{source("a", p)}}, func(t *testing.T, s *Scheduler) {
		wantMany(s, 10)
		pass(9 * time.Second)
		late := domain("secure-login.top")
		s.Want(Sighting{Key: late, Beside: true})
		pass(time.Second)
		if got := p.asked[len(p.asked)-1]; got != late {
			t.Errorf("asked %v, want %v", got, late)
		}
	})
}

func TestSchedulerWakesForTheFirstQuestion(t *testing.T) {
	p := says(unknown)
	running(t, Options{Sources: []Source{source("a", p)}}, func(t *testing.T, s *Scheduler) {
		pass(time.Hour)
		s.Want(Sighting{Key: ip(1)})
		if pass(0); p.count() != 1 || s.Waiting() != 0 {
			t.Errorf("%d asked, %d wait, want 1 and none", p.count(), s.Waiting())
		}
	})
}

func TestSchedulerAnswers(t *testing.T) {
	report := malicious
	report.Hashes = []string{"0577699a93ef88cbb2779f2b9caf380e"}
	var got []Answer
	held := &memory{held: make(map[string]Answer)}
	opt := Options{
		Sources: []Source{source("a", says(report))},
		Answers: held,
		OnAnswer: func(a Answer) {
			if !held.Held(a.Key, a.Source) {
				t.Error("told before it was kept")
			}
			got = append(got, a)
		},
	}
	running(t, opt, func(t *testing.T, s *Scheduler) {
		s.Want(Sighting{Key: ip(1)})
		pass(0)
		if len(got) != 1 || got[0].Key != ip(1) || len(got[0].Related) != 1 || !got[0].At.Equal(time.Now()) {
			t.Errorf("got %+v", got)
		}
		if stats := s.Stats().Sources[0]; stats.Answered[intel.Malicious] != 1 || stats.Asked() != 1 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// TestSchedulerSpendsNothingOnWhatIsHeld: another process has the answer already.
func TestSchedulerSpendsNothingOnWhatIsHeld(t *testing.T) {
	p := says(unknown)
	held := &memory{held: make(map[string]Answer)}
	for i := range 100 {
		held.Put(Answer{Key: ip(i << 8), Source: "a"})
	}
	running(t, Options{Sources: []Source{source("a", p)}, Answers: held}, func(t *testing.T, s *Scheduler) {
		wantMany(s, 105)
		if pass(10 * time.Second); p.count() != 5 || s.Waiting() != 0 {
			t.Errorf("%d asked, %d wait, want 5 and none", p.count(), s.Waiting())
		}
	})
}

func TestSchedulerSeveralSources(t *testing.T) {
	first, second := says(unknown), says(malicious)
	onlyIPs := source("first", first)
	onlyIPs.Types = 1 << extract.IP
	opt := Options{Sources: []Source{onlyIPs, source("second", second)}}
	running(t, opt, func(t *testing.T, s *Scheduler) {
		s.Want(Sighting{Key: domain("a.example")})
		pass(0)
		if first.count() != 0 || second.count() != 1 {
			t.Errorf("asked %d and %d times about a domain, want 0 and 1", first.count(), second.count())
		}
		s.Want(Sighting{Key: ip(1)})
		pass(0)
		if first.count()+second.count() < 2 || s.Waiting() != 0 {
			t.Errorf("asked %d and %d times, %d wait", first.count(), second.count(), s.Waiting())
		}
	})
}

func TestSchedulerMissGoesToTheNextSource(t *testing.T) {
	first, second := says(unknown), says(benign)
	running(t, Options{Sources: []Source{source("first", first), source("second", second)}},
		func(t *testing.T, s *Scheduler) {
			s.Want(Sighting{Key: ip(1)})
			if pass(0); first.count() != 1 || second.count() != 1 || s.Waiting() != 0 {
				t.Errorf("asked %d and %d times, %d wait, want 1, 1, 0", first.count(), second.count(), s.Waiting())
			}
		})
}

func TestSchedulerUnsupportedIsNoFailure(t *testing.T) {
	running(t, Options{Sources: []Source{source("a", fails(ErrUnsupported))}}, func(t *testing.T, s *Scheduler) {
		wantMany(s, 20)
		pass(time.Hour)
		if h := s.Health()[0]; !h.Up || h.Failures != 0 || s.Waiting() != 0 {
			t.Errorf("health %+v, %d wait", h, s.Waiting())
		}
	})
}

// TestSchedulerSlowSource: requests that take 30 s do not hold up the others, of this source or of another.
func TestSchedulerSlowSource(t *testing.T) {
	slow := &provider{answer: func(ctx context.Context, _ extract.Key) (intel.Report, error) {
		select {
		case <-time.After(30 * time.Second):
			return intel.Report{}, nil
		case <-ctx.Done():
			return intel.Report{}, ctx.Err()
		}
	}}
	fast := says(unknown)
	sources := []Source{
		{Name: "slow", Provider: slow, Types: 1 << extract.IP, Rate: 1, Burst: 3},
		{Name: "fast", Provider: fast, Types: 1 << extract.Domain, Rate: 1, Burst: 3},
	}
	running(t, Options{Sources: sources}, func(t *testing.T, s *Scheduler) {
		wantMany(s, 100)
		for i := range 100 {
			s.Want(Sighting{Key: domain(string(rune('a'+i%26)) + string(rune('a'+i/26)) + ".example")})
		}
		pass(29 * time.Second)
		if slow.count() != 3 || s.InFlight() != 3 || fast.count() != 3+29 {
			t.Errorf("slow %d, in flight %d, fast %d, want 3, 3, 32", slow.count(), s.InFlight(), fast.count())
		}
		if pass(time.Second); slow.count() != 6 {
			t.Errorf("slow %d, want 6", slow.count())
		}
	})
	if n := slow.count(); n > 6 {
		t.Errorf("%d requests, want none after the end", n)
	}
}

func TestSchedulerObeysRetryAfter(t *testing.T) {
	p := fails(&BusyError{Host: "h.example", Status: 429, RetryAfter: 10 * time.Minute})
	sources := []Source{{Name: "a", Provider: p, Types: extract.AllTypes, Rate: 1, Burst: 1}}
	running(t, Options{Sources: sources}, func(t *testing.T, s *Scheduler) {
		wantMany(s, 10)
		pass(10*time.Minute - time.Second)
		if p.count() != 1 {
			t.Errorf("%d asked, want 1", p.count())
		}
		if pass(time.Second); p.count() != 2 {
			t.Errorf("%d asked after the wait, want 2", p.count())
		}
	})
}

// A source that takes no question about an indicator is well, and is not asked the same again.
func TestSchedulerLeavesAloneWhatIsRefused(t *testing.T) {
	p := fails(fmt.Errorf("h.example: %w", ErrRefused))
	var changes []Health
	opt := Options{Sources: []Source{source("a", p)}, OnHealth: func(h Health) { changes = append(changes, h) }}
	running(t, opt, func(t *testing.T, s *Scheduler) {
		for range 3 {
			wantMany(s, 8)
			pass(time.Hour)
		}
		if stats := s.Stats().Sources[0]; p.count() != 8 || stats.Answered[intel.NoVerdict] != 8 || stats.Failed != 0 {
			t.Errorf("%d asked, %+v, want 8 that are as good as not known", p.count(), stats)
		}
		if len(changes) > 0 {
			t.Errorf("the health changed: %v", changes)
		}
	})
}

func TestSchedulerBreaker(t *testing.T) {
	down := errors.New("h.example: no route")
	var mu sync.Mutex
	err := down
	p := &provider{answer: func(context.Context, extract.Key) (intel.Report, error) {
		mu.Lock()
		defer mu.Unlock()
		return intel.Report{}, err
	}}
	var changes []Health
	opt := Options{
		Sources:  []Source{{Name: "a", Provider: p, Types: extract.AllTypes, Rate: 1, Burst: 1}},
		OnHealth: func(h Health) { changes = append(changes, h) },
	}
	running(t, opt, func(t *testing.T, s *Scheduler) {
		wantMany(s, 2000)
		pass(time.Hour)
		checkGaps(t, p.gaps(), []time.Duration{1, 1, 1, 1, 60, 120, 240, 480, 900, 900})
		if len(changes) != 1 || changes[0].Up || !errors.Is(changes[0].Err, down) {
			t.Fatalf("changes %+v, want one, down", changes)
		}
		mu.Lock()
		err = nil
		mu.Unlock()
		pass(15 * time.Minute)
		if len(changes) != 2 || !changes[1].Up || changes[1].Err != nil {
			t.Fatalf("changes %+v, want a second, up", changes)
		}
		before := p.count()
		if pass(10 * time.Second); p.count() != before+10 {
			t.Errorf("%d asked in 10 s after it came back, want 10", p.count()-before)
		}
		if n := s.Stats().Sources[0].Failed; n != 11 {
			t.Errorf("%d failed, want 11", n)
		}
	})
}

// A source that is down gets one probe at a time, however many requests its budget allows at once.
func TestSchedulerProbesOneAtATime(t *testing.T) {
	var asked atomic.Int64
	p := &provider{answer: func(context.Context, extract.Key) (intel.Report, error) {
		time.Sleep(10*time.Second + time.Duration(asked.Add(1))*time.Millisecond) // one fails after the other
		return intel.Report{}, errDown
	}}
	sources := []Source{{Name: "a", Provider: p, Types: extract.AllTypes, Rate: 1, Burst: 5}}
	running(t, Options{Sources: sources}, func(t *testing.T, s *Scheduler) {
		wantMany(s, 100)
		pass(firstProbe + 10*time.Second)
		before := p.count()
		if pass(9 * time.Second); p.count() != before+1 {
			t.Errorf("%d probes at once, want 1", p.count()-before)
		}
		pass(time.Minute)
	})
}

// checkGaps compares times between requests, given in seconds.
func checkGaps(t *testing.T, got, want []time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d gaps %v, want %v s", len(got), got, want)
	}
	for i := range want {
		if got[i].Round(time.Millisecond) != want[i]*time.Second {
			t.Errorf("gap %d is %v, want %d s", i, got[i], want[i])
		}
	}
}

func TestSchedulerEndIsNoFailure(t *testing.T) {
	hangs := &provider{answer: func(ctx context.Context, _ extract.Key) (intel.Report, error) {
		<-ctx.Done()
		return intel.Report{}, ctx.Err()
	}}
	var s *Scheduler
	running(t, Options{Sources: []Source{source("a", hangs)}}, func(_ *testing.T, running *Scheduler) {
		s = running
		wantMany(s, 5)
		pass(time.Minute)
	})
	if stats := s.Stats(); stats.Sources[0].Failed != 0 || stats.Waiting != 5 {
		t.Errorf("stats %+v, want no failure and all 5 waiting again", stats)
	}
}

// What is foretold comes true.
func TestSchedulerForetells(t *testing.T) {
	p := says(unknown)
	running(t, Options{Sources: []Source{source("a", p)}}, func(t *testing.T, s *Scheduler) {
		wantMany(s, 8)
		pass(0)
		s.Want(Sighting{Key: domain("www.google.com")})
		queue := s.Snapshot(100).Queue
		if last := queue[len(queue)-1]; len(queue) != 4 || last.Value != "www.google.com" || last.Place != 4 || last.AskIn != 40*time.Second {
			t.Errorf("%+v, want place 4 of 4, in 40 s", last)
		}
		if pass(40 * time.Second); s.Waiting() != 0 {
			t.Errorf("%d wait after that time", s.Waiting())
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for name, sources := range map[string][]Source{
		"no rate":  {{Name: "a", Burst: 1}},
		"no burst": {{Name: "a", Rate: 1}},
		"too many": make([]Source, MaxSources+1),
	} {
		if _, err := New(Options{Sources: sources}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestSchedulerManyWorkers is for the race detector: several workers want, while several sources are asked.
func TestSchedulerManyWorkers(t *testing.T) {
	a, b := says(unknown), says(malicious)
	sources := []Source{{Name: "a", Provider: a, Types: extract.AllTypes, Rate: rate.Inf, Burst: 4}, {Name: "b", Provider: b, Types: extract.AllTypes, Rate: rate.Inf, Burst: 4}}
	running(t, Options{Sources: sources, MaxWaiting: 500}, func(t *testing.T, s *Scheduler) {
		var workers sync.WaitGroup
		for w := range 4 {
			workers.Go(func() {
				for i := range 2000 {
					s.Want(Sighting{Key: ip((i + w) % 3000)})
					s.Met("10.0.0.9")
					if i%500 == 0 {
						s.Snapshot(100)
					}
				}
			})
		}
		workers.Wait()
		pass(time.Second)
		stats := s.Stats()
		if stats.Waiting != 0 || stats.InFlight != 0 || stats.Sources[1].Asked() == 0 {
			t.Errorf("stats %+v, want everything asked", stats)
		}
	})
}
