package lookup

import (
	"cmp"
	"slices"
	"time"
)

// A Queued is one indicator that waits, as a snapshot tells it to other processes.
type Queued struct {
	Type  string `json:"type"`
	Value string `json:"value"`
	Explanation
}

// A Snapshot is what waits in a scheduler at one moment, for other processes.
type Snapshot struct {
	Waiting int    `json:"waiting"`
	Evicted uint64 `json:"evicted"` // as in [Stats]

	// Queue are those that are asked next, the best first, and those that are being asked.
	Queue []Queued `json:"queue"`
}

// Snapshot returns what waits, with the first n of the queue. Like a scan it lets others have the table between steps.
func (s *Scheduler) Snapshot(n int) Snapshot {
	stats := s.Stats()
	now := time.Now()
	ranking := s.ranking(now)
	slices.SortFunc(ranking, func(a, b ranked) int { return cmp.Compare(b.score, a.score) })
	snapshot := Snapshot{Waiting: stats.Waiting, Evicted: stats.Evicted, Queue: make([]Queued, 0, min(n, len(ranking)))}
	s.mu.Lock()
	defer s.mu.Unlock()
	place := 1
	for i, r := range ranking[:min(n, len(ranking))] {
		if e := s.table.index[r.key]; e != nil { // else it was answered, or left, meanwhile
			snapshot.Queue = append(snapshot.Queue, s.queued(e, place, now))
			if !e.asking {
				place++
			}
		}
		if i%scanStep == scanStep-1 {
			s.table.breathe()
		}
	}
	return snapshot
}

// ranking returns everything in the table and what it is worth.
func (s *Scheduler) ranking(now time.Time) (all []ranked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.table.since(now)
	for i := 0; i < len(s.table.entries); i++ {
		e := s.table.entries[i]
		s.table.refresh(e, at)
		all = append(all, ranked{e.key, e.score})
		if i%scanStep == scanStep-1 {
			s.table.breathe()
		}
	}
	return all
}

func (s *Scheduler) queued(e *entry, place int, now time.Time) Queued {
	q := Queued{e.key.Type.String(), e.key.Value, s.table.explain(e, place, s.table.since(now))}
	if !e.asking {
		q.AskIn = max(q.AskIn, s.soonest(place, e.todo))
	}
	return q
}

// soonest returns how long it takes until one of the sources comes to a place in the queue.
func (s *Scheduler) soonest(place int, todo SourceSet) time.Duration {
	soonest := forever
	for _, a := range s.askers {
		if todo.Has(a.place) {
			queue := float64(place-1) / float64(a.Rate) * float64(time.Second)
			soonest = min(soonest, max(0, a.delay(time.Now()))+time.Duration(min(queue, float64(maxAskIn))))
		}
	}
	return soonest
}
