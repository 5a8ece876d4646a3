// Package cache holds what sources have answered, so that each question is asked once while its answer holds: in the
// memory of a process, and below that in a [Store] that several processes share (cache/host). It asks nobody.
package cache

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// DefaultSize is how many indicators a [Memory] holds.
const DefaultSize = 1_000_000

// StaleFor is how much longer than its lifetime an answer is used while it waits to be asked again.
const StaleFor = 30 * 24 * time.Hour

// Lifetimes say how long answers hold, by what they say. They are shortened or lengthened at random by up to a tenth,
// so that what was asked together is not asked again together.
type Lifetimes struct {
	Malicious time.Duration
	Known     time.Duration // reports that do not say malicious
	Unknown   time.Duration // the source has no report
}

// DefaultLifetimes are a week for malicious, a month for known and a day for unknown indicators.
var DefaultLifetimes = Lifetimes{7 * 24 * time.Hour, 30 * 24 * time.Hour, 24 * time.Hour}

// Expiry returns until when a report holds that was fetched then. Each call draws anew.
func (l Lifetimes) Expiry(r *intel.Report, fetched time.Time) time.Time {
	hold := l.Known
	switch r.Verdict() {
	case intel.Malicious:
		hold = l.Malicious
	case intel.NoVerdict:
		hold = l.Unknown
	}
	return fetched.Add(time.Duration(float64(hold) * (0.9 + 0.2*rand.Float64())))
}

// An Answer is what a source said, and when. Errors are no answers and are never put into a cache.
type Answer struct {
	Source  string // the source's name
	Origin  intel.Origin
	Report  *intel.Report
	Fetched time.Time
	Expires time.Time // set by [Memory.Put] when zero
}

// Held is what a cache holds of one indicator. The slice is shared and must not be changed.
type Held struct {
	Answers  []Answer      // one of each source that answered
	Relation intel.Finding // a malicious report that names the indicator; the zero Finding when there is none
	Until    time.Time     // how long the relation holds
}

// Answer returns the answer of source.
func (h Held) Answer(source string) (Answer, bool) {
	for _, a := range h.Answers {
		if a.Source == source {
			return a, true
		}
	}
	return Answer{}, false
}

// Fresh reports whether the answer of source is at hand and has not expired.
func (h Held) Fresh(source string, now time.Time) bool {
	a, ok := h.Answer(source)
	return ok && now.Before(a.Expires)
}

// Finding joins what is held: the worst verdict, of equals the first, and a relation when nobody says more.
func (h Held) Finding(now time.Time) intel.Finding {
	var found intel.Finding
	if now.Before(h.Until) {
		found = h.Relation
	}
	for _, a := range h.Answers {
		if now.After(a.Expires.Add(StaleFor)) {
			continue
		}
		found = intel.Worse(found, intel.Finding{
			Verdict: a.Report.Verdict(), Origin: a.Origin, Source: a.Source, Report: a.Report, Stale: now.After(a.Expires),
		})
	}
	return found
}

// empty reports whether nothing is held.
func (h Held) empty() bool { return len(h.Answers) == 0 && h.Relation.Verdict == intel.NoVerdict }

// put returns h with a in the place of the same source's answer, which it returns, too; ok is false when that one is
// no older.
func (h Held) put(a Answer) (with Held, old Answer, ok bool) {
	with = h
	with.Answers = make([]Answer, 0, len(h.Answers)+1)
	for _, other := range h.Answers {
		switch {
		case other.Source != a.Source:
			with.Answers = append(with.Answers, other)
		case !a.Fetched.After(other.Fetched):
			return h, Answer{}, false
		default:
			old = other
		}
	}
	with.Answers = append(with.Answers, a)
	return with, old, true
}

// Memory is a cache in the process's memory that forgets what was least recently used. It is safe for concurrent use.
// Over a [Store] it is a window on it: it is written through, and kept up to date by [Memory.Run].
type Memory struct {
	// Order are the sources as the user named them, to be set before anything is put: of answers that agree, that of
	// the first counts. Those of others stand last.
	Order []string

	lifetimes Lifetimes
	size      int
	below     *below     // nil when it stands alone
	mu        sync.Mutex // held while an entry is read and replaced
	held      shards
}

// NewMemory returns an empty cache for size indicators; size must be above 0.
func NewMemory(size int, lifetimes Lifetimes) (*Memory, error) {
	held, err := newShards(size)
	if err != nil {
		return nil, err
	}
	return &Memory{lifetimes: lifetimes, size: size, held: held}, nil
}

// Get returns what is held of key, which may alias a line. It never waits for the store below: what is missing is
// looked up there by [Memory.Run], for the next time.
func (m *Memory) Get(key extract.Key) (Held, bool) {
	h, ok := m.held.Get(key)
	if !ok && m.below != nil {
		m.below.missed(key)
	}
	return h, ok
}

// Len returns how many indicators are held.
func (m *Memory) Len() int { return m.held.Len() }

// Put keeps an answer, here and below. An answer without Expires holds for the lifetimes of m.
func (m *Memory) Put(key extract.Key, a Answer) {
	if a.Report == nil {
		return
	}
	if a.Expires.IsZero() {
		a.Expires = m.lifetimes.Expiry(a.Report, a.Fetched)
	}
	m.keep(key, a)
	if m.below != nil {
		m.below.store.Put(key, a)
	}
}

// Relate keeps, here and below, that a malicious report which was put names key.
func (m *Memory) Relate(key extract.Key, relation intel.Finding) {
	via, _ := m.held.Peek(relation.Via)
	a, ok := via.Answer(relation.Source)
	if !ok || a.Report.Verdict() != intel.Malicious {
		return
	}
	m.keepRelation(key, relation, a.Expires)
	if m.below != nil {
		m.below.store.Relate(key, relation)
	}
}

// Remove forgets key, here and below; other processes that share the store do so within seconds.
func (m *Memory) Remove(key extract.Key) error {
	m.forget(key)
	if m.below == nil {
		return nil
	}
	return m.below.store.Remove(key)
}

// keep puts an answer into memory alone.
func (m *Memory) keep(key extract.Key, a Answer) {
	var old Answer
	m.update(key, func(h Held) (with Held) {
		var ok bool
		if with, old, ok = h.put(a); ok { // in a slice of its own
			slices.SortStableFunc(with.Answers, func(a, b Answer) int { return m.place(a.Source) - m.place(b.Source) })
		}
		return with
	})
	if old.Report != nil {
		m.unrelate(key, old)
	}
}

func (m *Memory) place(source string) int {
	if i := slices.Index(m.Order, source); i >= 0 {
		return i
	}
	return len(m.Order)
}

// keepRelation puts a relation into memory alone. One that is held already stays, since it shares its report.
func (m *Memory) keepRelation(key extract.Key, relation intel.Finding, until time.Time) {
	m.update(key, func(h Held) Held {
		known := h.Relation.Via == relation.Via && h.Relation.Source == relation.Source
		if !known || until.After(h.Until) {
			h.Relation, h.Until = relation, until
		}
		return h
	})
}

// forget removes key from memory alone, and what its reports related.
func (m *Memory) forget(key extract.Key) {
	h, _ := m.held.Peek(key)
	m.held.Remove(key)
	for _, a := range h.Answers {
		m.unrelate(key, a)
	}
}

// unrelate forgets what an answer about key, which is no longer held, related.
func (m *Memory) unrelate(key extract.Key, a Answer) {
	if a.Report.Verdict() != intel.Malicious {
		return
	}
	for r := range a.Report.Relations() {
		if !m.held.Contains(r.Key) {
			continue
		}
		m.update(r.Key, func(h Held) Held {
			if h.Relation.Via == key && h.Relation.Source == a.Source {
				h.Relation, h.Until = intel.Finding{}, time.Time{}
			}
			return h
		})
	}
}

// update replaces what is held of key, in one step for all goroutines.
func (m *Memory) update(key extract.Key, change func(Held) Held) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.held.Peek(key)
	if !ok {
		key = key.Clone()
	}
	if h = change(h); h.empty() {
		m.held.Remove(key)
	} else if m.held.Add(key, h) && m.below != nil {
		m.below.partial.Store(true)
	}
}
