package lookup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
)

// A Source is one place to ask, with its own budget.
type Source struct {
	Name     string // unique; for people, and for [Answers]
	Provider Provider
	Types    extract.TypeSet // what it may be asked about
	Rate     rate.Limit      // requests per second; above 0
	Burst    int             // requests at once, and in flight at once; above 0
	Budget   Budget          // nil for one of this process alone, of Rate and Burst
}

// An Answer is what a source said about an indicator.
type Answer struct {
	Key     extract.Key
	Source  string // its Name
	Report  *intel.Report
	Related []extract.Key // known from then on, because a malicious report names them; set by [Answers].Put
	At      time.Time     // when it arrived
}

// Answers keeps what was answered, so that it is not asked again. Its methods are called by several goroutines.
type Answers interface {
	// Held reports whether nothing would be gained by asking source about key: its answer, or somebody's malicious
	// one, is at hand and fresh. It is asked before each request, since other processes may share the answers.
	Held(key extract.Key, source string) bool

	// Put keeps an answer. When it returns, the indicator and what the answer relates it to are found by whoever
	// looks for them; only then does the scheduler forget that it asked.
	// It returns the indicators that are known from then on because a malicious answer names them.
	Put(Answer) (related []extract.Key)
}

// Options say what a [Scheduler] works with.
type Options struct {
	Sources    []Source // in the order of asking; at most [MaxSources]
	MaxWaiting int      // indicators that may wait; 0 means [DefaultMaxWaiting]
	Answers    Answers

	// OnAnswer, if not nil, gets each answer after Answers has it: for verdicts that come late. OnHealth, if not
	// nil, gets the new health of a source that went down or came back. Both are called by several goroutines and
	// hold up requests, not events.
	OnAnswer func(Answer)
	OnHealth func(Health)
}

// A Scheduler spends the budgets of several sources on the questions that are most worth it. [Scheduler.Want] feeds
// it from the hot path, [Scheduler.Run] asks. It is safe for concurrent use.
type Scheduler struct {
	opt    Options
	askers []*asker

	// mu guards table and the fields of the askers that say so. It is held for microseconds: a scan of the table
	// lets go of it between steps, and nothing that waits for a source or for Answers happens under it.
	mu    sync.Mutex
	table *Table

	unheeded atomic.Uint64 // see Unheeded
}

// asker spends the budget of one source.
type asker struct {
	Source
	place  int // in the order of asking
	budget Budget
	wake   chan struct{}

	// Guarded by Scheduler.mu.
	breaker  breaker
	inFlight int
	hungry   bool // sleeps until something is wanted that it may be asked
	stats    SourceStats
}

// New returns a scheduler that has asked nothing yet.
func New(opt Options) (*Scheduler, error) {
	if len(opt.Sources) > MaxSources {
		return nil, fmt.Errorf("%d sources: there can be %d", len(opt.Sources), MaxSources)
	}
	s := &Scheduler{opt: opt}
	types := make([]extract.TypeSet, len(opt.Sources))
	for i, source := range opt.Sources {
		if source.Rate <= 0 || source.Burst < 1 {
			return nil, fmt.Errorf("source %q: rate and burst must be above 0", source.Name)
		}
		types[i] = source.Types
		budget := source.Budget
		if budget == nil {
			budget = NewBucket(source.Rate, source.Burst)
		}
		s.askers = append(s.askers, &asker{
			Source: source,
			place:  i,
			budget: budget,
			wake:   make(chan struct{}, 1),
			stats:  SourceStats{Source: source.Name},
		})
	}
	s.table = NewTable(TableOptions{opt.MaxWaiting, types, time.Now(), rand.Uint64()})
	s.table.breathe = func() {
		s.mu.Unlock()
		runtime.Gosched() // else this goroutine would have the lock again before anyone who waits for it
		s.mu.Lock()
	}
	return s, nil
}

// Want notes what one event shows of indicators about which something is still to be asked. It waits for nothing but a
// short lock, and allocates only for an indicator that does not wait yet, whose key it clones.
func (s *Scheduler) Want(sightings ...Sighting) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range sightings {
		if todo := s.table.Want(sightings[i], now); todo != 0 {
			s.wakeHungry(todo)
		}
	}
}

// Waits reports whether key waits for a question, or is being asked about.
func (s *Scheduler) Waits(key extract.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.index[key] != nil
}

// Heeds reports whether anything would come of calling [Scheduler.Want] about key: it does not for a newcomer while the
// table is full and takes in no more of them. What is not heeded needs no reading of its line; it is to be counted with
// [Scheduler.Unheeded]. Heeds takes no lock and does not allocate.
func (s *Scheduler) Heeds(key extract.Key, now time.Time) bool {
	return !s.table.door.turnsAway(key, now.Sub(s.table.start))
}

// Unheeded counts n sightings that were not heeded among what found no place in the table.
func (s *Scheduler) Unheeded(n int) { s.unheeded.Add(uint64(n)) }

// Met notes that host met something that is known to be malicious: what else it meets is worth asking about.
func (s *Scheduler) Met(host string) {
	now := time.Now()
	s.mu.Lock()
	s.table.Met(host, now)
	s.mu.Unlock()
}

// wakeHungry wakes those of the sources that wait for something to ask.
func (s *Scheduler) wakeHungry(sources SourceSet) {
	for _, a := range s.askers {
		if a.hungry && sources.Has(a.place) {
			a.hungry = false
			a.rouse()
		}
	}
}

// rouse ends the sleep of a, or its next one.
func (a *asker) rouse() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run asks the best question of the moment whenever the budget of a source allows one, until ctx is done; then it
// waits for the requests in flight, which end with ctx, and returns its cause. One Run at a time.
func (s *Scheduler) Run(ctx context.Context) error {
	var askers sync.WaitGroup
	for _, a := range s.askers {
		askers.Go(func() { s.spend(ctx, a) })
	}
	askers.Wait()
	return context.Cause(ctx)
}

// spend makes the requests to one source, as many at once as its burst: one that is slow does not hold up the others.
func (s *Scheduler) spend(ctx context.Context, a *asker) {
	var requests sync.WaitGroup
	defer requests.Wait()
	for ctx.Err() == nil {
		key, wait, ok := s.next(a)
		switch {
		case !ok:
			a.sleep(ctx, wait)
		case s.opt.Answers.Held(key, a.Name):
			s.settle(a, func() { s.table.Skip(a.place, key) })
		default:
			if s.granted(a, key) {
				requests.Go(func() { s.ask(ctx, a, key) })
			}
		}
	}
}

// granted reports whether key may be asked about now; otherwise it settles what becomes of the question.
func (s *Scheduler) granted(a *asker, key extract.Key) bool {
	now := time.Now()
	switch a.budget.Take(key, now) {
	case cache.Granted:
		return true
	case cache.Answered:
		s.settle(a, func() { s.table.Skip(a.place, key) })
	case cache.Elsewhere:
		s.settle(a, func() { s.table.Postpone(key, now) })
	default:
		s.settle(a, func() { s.table.Release(key) })
	}
	return false
}

func (a *asker) sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-a.wake:
	case <-timer.C:
	}
}

// next chooses the question for a. When there is none now, wait says how long to sleep unless woken.
func (s *Scheduler) next(a *asker) (key extract.Key, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if a.inFlight >= a.maxInFlight() {
		return extract.Key{}, forever, false // the end of a request wakes it
	}
	if wait := a.delay(now); wait > 0 {
		return extract.Key{}, wait, false
	}
	a.hungry = true // from now on: Want may come in while the table is scanned
	key, wait, ok = s.table.Next(a.place, now)
	if ok {
		a.hungry = false
		a.inFlight++
	}
	return key, wait, ok
}

func (a *asker) maxInFlight() int {
	if a.breaker.open {
		return 1
	}
	return a.Burst
}

// delay returns how long it takes until the source may be asked, 0 for now.
func (a *asker) delay(now time.Time) time.Duration {
	return max(a.budget.Delay(now), a.breaker.notBefore.Sub(now))
}

// ask makes one request and settles what becomes of the question.
func (s *Scheduler) ask(ctx context.Context, a *asker, key extract.Key) {
	asked := time.Now()
	report, err := a.Provider.Lookup(ctx, key)
	defer func() { a.budget.Done(key, outcome(ctx, &report, err), time.Now()) }()
	switch {
	case err == nil:
		s.answered(a, key, &report, asked)
	case errors.Is(err, ErrUnsupported):
		s.settle(a, func() {
			a.stats.Unsupported++
			s.table.Skip(a.place, key)
		})
	case errors.Is(err, ErrRefused): // kept like an indicator that is not known, so that it is left alone for as long
		s.answered(a, key, new(intel.Report), asked)
	case ctx.Err() != nil: // we ended it: that says nothing about the source
		s.settle(a, func() { s.table.Release(key) })
	default:
		s.failed(a, key, err, asked)
	}
}

// outcome says in a word or two what came of a question, for a log that people read.
func outcome(ctx context.Context, report *intel.Report, err error) string {
	switch {
	case err == nil && !report.Known:
		return "not known"
	case err == nil:
		return report.Verdict().String()
	case ctx.Err() != nil:
		return "given up"
	}
	return err.Error()
}

func (s *Scheduler) answered(a *asker, key extract.Key, report *intel.Report, asked time.Time) {
	answer := Answer{Key: key, Source: a.Name, Report: report, At: time.Now()}
	verdict := report.Verdict()
	answer.Related = s.opt.Answers.Put(answer)
	var changed bool
	health := s.settle(a, func() {
		a.stats.Answered[verdict]++
		s.table.Answer(a.place, key, verdict, answer.Related, answer.At)
		changed = a.breaker.succeed(asked, answer.At)
	})
	if changed {
		s.report(health)
	}
	if s.opt.OnAnswer != nil {
		s.opt.OnAnswer(answer)
	}
}

func (s *Scheduler) failed(a *asker, key extract.Key, err error, asked time.Time) {
	now := time.Now()
	if busy, ok := errors.AsType[*BusyError](err); ok && busy.RetryAfter > 0 {
		a.budget.Hold(now.Add(busy.RetryAfter))
	}
	var changed bool
	health := s.settle(a, func() {
		a.stats.Failed++
		s.table.Fail(key, now)
		changed = a.breaker.fail(err, asked, now)
	})
	if changed {
		s.report(health)
	}
}

func (s *Scheduler) report(health Health) {
	if s.opt.OnHealth != nil {
		s.opt.OnHealth(health)
	}
}

// settle ends a request: it calls note under the lock and wakes whoever may ask something on account of it.
func (s *Scheduler) settle(a *asker, note func()) Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	note()
	a.inFlight--
	a.rouse()
	s.wakeHungry(^SourceSet(0))
	return a.breaker.health(a.Name)
}
