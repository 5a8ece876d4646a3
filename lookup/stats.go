package lookup

import (
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// Stats is what a scheduler has done, and what it holds.
type Stats struct {
	Sources  []SourceStats // in the order of asking
	Waiting  int           // indicators that wait for a question
	InFlight int           // requests without an answer yet
	Evicted  uint64        // indicators that left a full table unasked, or found no place in it
	Bytes    int           // about what the waiting indicators take
	Oldest   time.Duration // how long the one has waited that has waited longest
}

// SourceStats is what became of the requests to one source.
type SourceStats struct {
	Source      string
	Answered    [intel.Malicious + 1]uint64 // by verdict; NoVerdict: the source does not know the indicator
	Failed      uint64
	Unsupported uint64  // answered with [ErrUnsupported]
	Tokens      float64 // requests that could be made at once
}

// Asked returns the number of requests that have ended with an answer or an error.
func (s SourceStats) Asked() uint64 {
	asked := s.Failed
	for _, n := range s.Answered {
		asked += n
	}
	return asked
}

// Stats returns the counts of the moment.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	stats := Stats{
		Waiting: s.table.Waiting(),
		Evicted: s.table.Evicted() + s.unheeded.Load(),
		Bytes:   s.table.Bytes(),
		Oldest:  s.table.Oldest(now),
	}
	for _, a := range s.askers {
		stats.InFlight += a.inFlight
		source := a.stats
		if b, ok := a.budget.(interface{ Tokens(time.Time) float64 }); ok {
			source.Tokens = b.Tokens(now)
		}
		stats.Sources = append(stats.Sources, source)
	}
	return stats
}

// Waiting returns how many indicators wait for a question. With [Scheduler.InFlight] it tells when a drain is done.
func (s *Scheduler) Waiting() int { return s.Stats().Waiting }

// InFlight returns how many requests have no answer yet.
func (s *Scheduler) InFlight() int { return s.Stats().InFlight }

// Expects reports whether the answer about key may come within a time: it is being asked, or so few wait that its turn
// will come.
func (s *Scheduler) Expects(key extract.Key, within time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.table.index[key]
	if e == nil || e.asking {
		return e != nil
	}
	questions := 0.0
	for _, a := range s.askers {
		if spare := within - a.delay(time.Now()); e.todo.Has(a.place) && !a.breaker.open && spare >= 0 {
			questions += float64(a.Rate)*spare.Seconds() + 1
		}
	}
	return float64(s.table.Waiting()) <= questions
}

// Health returns how each source does, in the order of asking.
func (s *Scheduler) Health() []Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Health
	for _, a := range s.askers {
		all = append(all, a.breaker.health(a.Name))
	}
	return all
}

// An Explanation is why an indicator that waits stands where it stands.
type Explanation struct {
	Seen   int  // sightings since it entered
	Asking bool // it is being asked
	Place  int  // 1 is next; every 20th request goes to what has waited longest, whatever its place

	Score       float64 // what asking it is worth: Probability times Worth
	Probability float64 // that the answer is malicious
	Worth       float64 // of a malicious answer, in annotated sightings
	Parts       []Part  // what Probability was made of

	// AlikeAnswers and AlikeMalicious are what indicators with the same Parts have shown.
	AlikeAnswers, AlikeMalicious int

	// GroupAnswers and GroupMalicious are what its neighbourhood or registered domain has shown.
	GroupAnswers, GroupMalicious int

	// AskIn is the likely time until it is asked, if nothing better comes and nothing before it is settled otherwise.
	AskIn time.Duration
}

// A Part is one thing that speaks for (above 0) or against an indicator, in log odds.
type Part struct {
	Name   string
	Weight float64
}

// maxAskIn bounds what is foretold: beyond it, never is as good a word.
const maxAskIn = 365 * 24 * time.Hour

// explain tells why e stands at place.
func (t *Table) explain(e *entry, place int, at seconds) Explanation {
	evidence, alike := t.groups.of(e.group), t.alike.of(t.allTraits(e, at).group())
	return Explanation{
		Seen:           int(e.n),
		Asking:         e.asking,
		Place:          place,
		Score:          e.score,
		Probability:    e.p,
		Worth:          e.worth(at),
		Parts:          t.parts(e, at),
		AlikeAnswers:   int(alike.answers),
		AlikeMalicious: int(alike.malicious),
		GroupAnswers:   int(evidence.answers),
		GroupMalicious: int(evidence.malicious),
		AskIn:          max(0, (e.retry - at).duration()),
	}
}

// parts names what the probability of e is made of.
func (t *Table) parts(e *entry, at seconds) []Part {
	if p, ok := oldOdds(e.was); ok {
		return []Part{{"an answer before said " + e.was.String(), logit(p)}}
	}
	parts := []Part{{"nothing else known", bias}}
	set := t.allTraits(e, at)
	for x := range numTraits {
		if set&(1<<x) != 0 {
			parts = append(parts, Part{weights[x].name, weights[x].value})
		}
	}
	return parts
}
