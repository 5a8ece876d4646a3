package lookup

import (
	"sync"
	"testing"
	"time"

	"iocpipe/extract"
)

func TestSnapshot(t *testing.T) {
	p := says(unknown)
	sources := []Source{{Name: "a", Provider: p, Types: extract.AllTypes, Rate: 0.1, Burst: 1}}
	s := newTestScheduler(t, Options{Sources: sources, MaxWaiting: 1000})
	wantMany(s, 1200)
	for range 5 {
		s.Want(Sighting{Key: ip(1150 << 8), Context: extract.Context{Outcome: extract.Fail}})
	}
	got := s.Snapshot(100)
	if got.Waiting != 1000 || got.Evicted != 200 || len(got.Queue) != 100 {
		t.Fatalf("%d waiting, %d evicted, %d in the queue", got.Waiting, got.Evicted, len(got.Queue))
	}
	if best := got.Queue[0]; best.Value != ip(1150<<8).Value || best.Seen != 6 || best.Type != "ip" || len(best.Parts) < 3 {
		t.Errorf("the best: %+v", best)
	}
	for i, q := range got.Queue {
		if q.Place != i+1 || i > 0 && q.Score > got.Queue[i-1].Score {
			t.Errorf("place %d: %+v", i+1, q)
		}
	}
	if near, far := got.Queue[1].AskIn, got.Queue[99].AskIn; far-near < 950*time.Second || far-near > 990*time.Second {
		t.Errorf("98 places apart are asked %v apart, at 10 s each", far-near)
	}
	if all := s.Snapshot(5000); len(all.Queue) != 1000 {
		t.Errorf("%d of 1000 in the whole queue", len(all.Queue))
	}
}

// TestSnapshotLetsOthersIn is for the race detector: the table changes between the steps.
func TestSnapshotLetsOthersIn(t *testing.T) {
	s := newTestScheduler(t, Options{Sources: []Source{source("a", says(unknown))}, MaxWaiting: 500})
	var others sync.WaitGroup
	for w := range 2 {
		others.Go(func() {
			for i := range 5000 {
				s.Want(Sighting{Key: ip(2*i + w)})
			}
		})
	}
	for range 50 {
		if got := s.Snapshot(500); len(got.Queue) > 500 || got.Waiting > 500 {
			t.Fatalf("%d in the queue, %d waiting", len(got.Queue), got.Waiting)
		}
	}
	others.Wait()
}
