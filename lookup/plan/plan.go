// Package plan runs the lookup scheduler's policy against a simulated clock: what would a budget have bought on this
// log? Hours pass in a second and nothing is sent. It drives the same [lookup.Table] as the live scheduler, so what it
// says is what the filter would have done with a source that never fails.
package plan

import (
	"crypto/sha256"
	"errors"
	"iter"
	"math"
	"time"

	"golang.org/x/time/rate"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/lookup"
)

// An Event is one line of a log: when it came, and what it names.
type Event struct {
	At         time.Duration // since the start of the log
	Indicators []Indicator
}

// An Indicator is what one event says about one indicator. An event names each at most once.
type Indicator struct {
	extract.Key
	extract.Context
}

// Config says what is simulated.
type Config struct {
	Rate       rate.Limit      // requests per second
	Burst      int             // requests that may be made at once; the bucket is full at the start
	MaxWaiting int             // as in [lookup.TableOptions]
	Types      extract.TypeSet // what may be asked about

	// Answer plays the source. When it is nil, the source knows nothing.
	Answer func(extract.Key) intel.Report

	// OnAsk gets each decision in the order of time; it may be nil. An error ends the run.
	OnAsk func(Ask) error
}

// An Ask is one decision: which question was worth a request at that moment.
type Ask struct {
	At      time.Duration // since the start of the log
	Key     extract.Key
	Verdict intel.Verdict // of the answer, which comes a little later
}

// A Summary says what the budget bought.
type Summary struct {
	Events    int           // lines with an indicator
	Distinct  int           // indicators seen
	Asked     int           // requests made
	Malicious int           // of them, answered with a malicious verdict
	Related   int           // indicators seen and not asked, because a malicious report named them
	Evicted   uint64        // left the table unasked, because it was full
	Waiting   int           // left at the end
	Length    time.Duration // of the log
	NeedAll   time.Duration // what asking every indicator would take; the longest Duration with no budget at all
}

// Run replays events, which must be in the order of time, and says what was achieved until the last of them.
func Run(events iter.Seq2[Event, error], c Config) (Summary, error) {
	if c.Burst < 1 || c.Rate <= 0 {
		return Summary{}, errors.New("plan: rate and burst must be above 0")
	}
	s := newSimulation(c)
	for event, err := range events {
		if err != nil {
			return s.summary(), err
		}
		if err := s.event(event); err != nil {
			return s.summary(), err
		}
	}
	return s.summary(), nil
}

// AnswerDelay is how long the simulated source takes to answer about value: 0.2 to 2.2 s, always the same for one
// value, so that runs can be repeated.
func AnswerDelay(value string) time.Duration {
	const step = time.Second / 128
	return 200*time.Millisecond + time.Duration(sha256.Sum256([]byte(value))[0])*step
}

// simulation is the clock, the bucket and what is known at the moment.
type simulation struct {
	Config
	Summary
	table    *lookup.Table
	bucket   lookup.Bucket
	start    time.Time
	now      time.Time
	inFlight []answer // by due
	known    map[extract.Key]intel.Verdict
	seen     map[extract.Key]struct{}
}

type answer struct {
	due     time.Time
	key     extract.Key
	verdict intel.Verdict
	related []extract.Key
}

func newSimulation(c Config) *simulation {
	start := time.Unix(0, 0)
	return &simulation{
		Config: c,
		table: lookup.NewTable(lookup.TableOptions{
			MaxWaiting: c.MaxWaiting, Types: []extract.TypeSet{c.Types}, Start: start, Seed: 1,
		}),
		bucket: lookup.NewBucket(c.Rate, c.Burst),
		start:  start,
		now:    start,
		known:  make(map[extract.Key]intel.Verdict),
		seen:   make(map[extract.Key]struct{}),
	}
}

func (s *simulation) event(e Event) error {
	if err := s.advance(s.start.Add(e.At)); err != nil {
		return err
	}
	s.Events++
	s.Length = e.At
	beside := s.noteMalicious(e)
	for _, ind := range e.Indicators {
		if _, ok := s.seen[ind.Key]; !ok {
			s.seen[ind.Key.Clone()] = struct{}{}
			s.Distinct++
		}
		if _, ok := s.known[ind.Key]; !ok {
			s.table.Want(lookup.Sighting{Key: ind.Key, Context: ind.Context, Beside: beside}, s.now)
		}
	}
	return s.spend()
}

// noteMalicious reports whether the event names something that is known to be malicious, and marks its hosts.
func (s *simulation) noteMalicious(e Event) bool {
	var found bool
	for _, ind := range e.Indicators {
		if s.known[ind.Key] == intel.Malicious {
			found = true
			s.table.Met(ind.Host, s.now)
		}
	}
	return found
}

// advance lets the time pass until t: answers arrive, and tokens, which are spent at once.
func (s *simulation) advance(t time.Time) error {
	for {
		next := t
		if len(s.inFlight) > 0 && s.inFlight[0].due.Before(next) {
			next = s.inFlight[0].due
		}
		if token := s.now.Add(s.bucket.Delay(s.now)); s.table.Waiting() > 0 && token.Before(next) {
			next = token
		}
		s.now = next
		s.receive()
		if !next.Before(t) {
			return nil
		}
		if err := s.spend(); err != nil {
			return err
		}
	}
}

// receive takes the answers that are due.
func (s *simulation) receive() {
	for len(s.inFlight) > 0 && !s.inFlight[0].due.After(s.now) {
		a := s.inFlight[0]
		s.inFlight = s.inFlight[1:]
		s.known[a.key] = a.verdict
		for _, key := range a.related {
			if _, ok := s.known[key]; !ok {
				s.known[key] = intel.Related
			}
		}
		s.table.Answer(0, a.key, a.verdict, a.related, s.now)
	}
}

// spend asks as long as the bucket holds a token and something waits.
func (s *simulation) spend() error {
	for s.bucket.Delay(s.now) == 0 {
		key, _, ok := s.table.Next(0, s.now)
		if !ok {
			return nil
		}
		s.bucket.Take(key, s.now)
		if err := s.ask(key); err != nil {
			return err
		}
	}
	return nil
}

func (s *simulation) ask(key extract.Key) error {
	var report intel.Report
	if s.Answer != nil {
		report = s.Answer(key)
	}
	a := answer{due: s.now.Add(AnswerDelay(key.Value)), key: key, verdict: report.Verdict()}
	s.Asked++
	if a.verdict == intel.Malicious {
		s.Malicious++
		a.related = lookup.RelatedKeys(&report)
	}
	s.send(a)
	if s.OnAsk == nil {
		return nil
	}
	return s.OnAsk(Ask{s.now.Sub(s.start), key, a.verdict})
}

// send puts a among the answers that are on their way, in the order of their arrival.
func (s *simulation) send(a answer) {
	i := len(s.inFlight)
	s.inFlight = append(s.inFlight, a)
	for ; i > 0 && s.inFlight[i-1].due.After(a.due); i-- {
		s.inFlight[i] = s.inFlight[i-1]
	}
	s.inFlight[i] = a
}

func (s *simulation) summary() Summary {
	sum := s.Summary
	for key, verdict := range s.known {
		if _, seen := s.seen[key]; seen && verdict == intel.Related {
			sum.Related++
		}
	}
	sum.Evicted = s.table.Evicted()
	sum.Waiting = s.table.Waiting()
	sum.NeedAll = s.needed(sum.Distinct)
	return sum
}

// needed returns how long n asks take from a full bucket.
func (s *simulation) needed(n int) time.Duration {
	after := max(0, float64(n-s.Burst)) / float64(s.Rate) * float64(time.Second)
	if after >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(after)
}
