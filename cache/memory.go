// Package cache holds what sources have answered, so that each question is asked once while its answer holds. It knows
// nothing of networks and budgets.
package cache

import (
	"math/rand/v2"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"iocpipe/extract"
	"iocpipe/intel"
)

// DefaultSize is how many indicators a [Memory] holds.
const DefaultSize = 1_000_000

// staleFor is how much longer than its lifetime an answer is used while it waits to be asked again.
const staleFor = 30 * 24 * time.Hour

// Lifetimes say how long answers hold, by what they say. They are shortened or lengthened at random by up to a tenth,
// so that what was asked together is not asked again together.
type Lifetimes struct {
	Malicious time.Duration
	Known     time.Duration // reports that do not say malicious
	Unknown   time.Duration // the source has no report
}

// DefaultLifetimes are a week for malicious, a month for known and a day for unknown indicators.
var DefaultLifetimes = Lifetimes{7 * 24 * time.Hour, 30 * 24 * time.Hour, 24 * time.Hour}

// of returns how long a report holds.
func (l Lifetimes) of(r *intel.Report) time.Duration {
	hold := l.Known
	switch r.Verdict() {
	case intel.Malicious:
		hold = l.Malicious
	case intel.NoVerdict:
		hold = l.Unknown
	}
	return time.Duration(float64(hold) * (0.9 + 0.2*rand.Float64()))
}

// An Answer is what a source said, and when. Errors are no answers and are never put into a cache.
type Answer struct {
	Source  string // the source's name
	Origin  intel.Origin
	Report  *intel.Report
	Fetched time.Time
	Expires time.Time // set by Put
}

// Held is what a cache holds of one indicator. The slice is shared and must not be changed.
type Held struct {
	Answers  []Answer      // one of each source that answered
	Relation intel.Finding // a malicious report that names the indicator; the zero Finding when there is none
	Until    time.Time     // how long the relation holds
}

// Fresh reports whether the answer of source is at hand and has not expired.
func (h Held) Fresh(source string, now time.Time) bool {
	for _, a := range h.Answers {
		if a.Source == source {
			return now.Before(a.Expires)
		}
	}
	return false
}

// Finding joins what is held: the worst verdict, of equals the first, and a relation when nobody says more.
func (h Held) Finding(now time.Time) intel.Finding {
	var found intel.Finding
	if now.Before(h.Until) {
		found = h.Relation
	}
	for _, a := range h.Answers {
		if now.After(a.Expires.Add(staleFor)) {
			continue
		}
		found = intel.Worse(found, intel.Finding{
			Verdict: a.Report.Verdict(), Origin: a.Origin, Source: a.Source, Report: a.Report, Stale: now.After(a.Expires),
		})
	}
	return found
}

// Memory is a cache in the process's memory that forgets what was least recently used. It is safe for concurrent use.
type Memory struct {
	lifetimes Lifetimes
	mu        sync.Mutex // held while an entry is read and replaced
	held      *lru.Cache[extract.Key, Held]
}

// NewMemory returns an empty cache for size indicators; size must be above 0.
func NewMemory(size int, lifetimes Lifetimes) (*Memory, error) {
	held, err := lru.New[extract.Key, Held](size)
	if err != nil {
		return nil, err
	}
	return &Memory{lifetimes: lifetimes, held: held}, nil
}

// Get returns what is held of key, which may alias a line.
func (m *Memory) Get(key extract.Key) (Held, bool) { return m.held.Get(key) }

// Len returns how many indicators are held.
func (m *Memory) Len() int { return m.held.Len() }

// Put keeps an answer in the place of the same source's earlier one.
func (m *Memory) Put(key extract.Key, a Answer) {
	a.Expires = a.Fetched.Add(m.lifetimes.of(a.Report))
	m.update(key, func(h *Held) {
		answers := make([]Answer, 0, len(h.Answers)+1)
		for _, old := range h.Answers {
			if old.Source != a.Source {
				answers = append(answers, old)
			}
		}
		h.Answers = append(answers, a)
	})
}

// Relate keeps that a malicious report names key, from now on for as long as malicious answers hold.
func (m *Memory) Relate(key extract.Key, relation intel.Finding, now time.Time) {
	m.update(key, func(h *Held) { h.Relation, h.Until = relation, now.Add(m.lifetimes.Malicious) })
}

// update replaces what is held of key, in one step for all goroutines.
func (m *Memory) update(key extract.Key, change func(*Held)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.held.Peek(key)
	if !ok {
		key = key.Clone()
	}
	change(&h)
	m.held.Add(key, h)
}
