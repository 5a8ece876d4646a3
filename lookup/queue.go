package lookup

import (
	"cmp"
	"slices"
	"time"

	"iocpipe/extract"
)

// A Queued is one indicator that waits, as a snapshot tells it to other processes.
type Queued struct {
	Type  string `json:"type"`
	Value string `json:"value"`
	Explanation
}

// Queue returns the n indicators that are asked next, the best first, and those that are being asked.
func (s *Scheduler) Queue(n int) []Queued {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := s.table.queue(n, time.Now())
	for i := range queue {
		q := &queue[i]
		if key := (extract.Key{Value: q.Value}); !q.Asking {
			key.Type, _ = extract.ParseType(q.Type)
			q.AskIn = max(q.AskIn, s.soonest(q.Place, s.table.index[key].todo))
		}
	}
	return queue
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

// queue returns the n entries that are worth most, with why.
func (t *Table) queue(n int, now time.Time) []Queued {
	at := t.since(now)
	entries := slices.Clone(t.entries)
	for _, e := range entries {
		t.refresh(e, at)
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(b.score, a.score) })
	queue := make([]Queued, 0, min(n, len(entries)))
	for i, e := range entries[:min(n, len(entries))] {
		queue = append(queue, Queued{e.key.Type.String(), e.key.Value, t.explain(e, i+1, at)})
	}
	return queue
}
