package lookup

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"iocpipe/extract"
)

// flooded returns a table for max that has seen n names once each, within its first second.
func flooded(max, n int) *Table {
	table := newTestTable(max)
	for i := range n {
		want(table, domain(fmt.Sprintf("x%d.example", i)), time.Millisecond, extract.OK)
	}
	return table
}

func TestDoorClosesAndOpens(t *testing.T) {
	const max = 64
	table := flooded(max, max+newcomersPerSecond)
	turnsAway := func(key extract.Key, at time.Duration, want bool) {
		t.Helper()
		if got := table.door.turnsAway(key, at); got != want {
			t.Errorf("%v is turned away at %v: %v, want %v", key, at, got, want)
		}
	}
	newcomer := domain("new.example")
	for table.door.slot(newcomer).Load() > 0 {
		newcomer.Value += "x" // it was taken for somebody who waits
	}
	inside := table.entries[0]
	turnsAway(newcomer, 999*time.Millisecond, true)
	turnsAway(inside.key, 999*time.Millisecond, false)
	turnsAway(newcomer, time.Second, false)

	if want(table, newcomer, 2*time.Millisecond, extract.OK) != 0 || table.Evicted() != newcomersPerSecond+1 {
		t.Errorf("a newcomer entered by the closed door, %d evicted", table.Evicted())
	}
	if want(table, inside.key, 3*time.Millisecond, extract.OK); inside.n != 2 {
		t.Errorf("%d sightings of what waits, want 2", inside.n)
	}
	if want(table, newcomer, time.Second, extract.OK) == 0 {
		t.Error("the door stays closed")
	}
}

func TestDoorIsForFullTablesOnly(t *testing.T) {
	table := flooded(3*newcomersPerSecond, 2*newcomersPerSecond)
	if table.Waiting() != 2*newcomersPerSecond || table.door.closed(0) {
		t.Errorf("%d wait, closed %v", table.Waiting(), table.door.closed(0))
	}
}

func TestSchedulerHeedsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestScheduler(t, Options{MaxWaiting: 64, Sources: []Source{source("a", says(unknown))}})
		const flood = 64 + newcomersPerSecond + 1000
		heeded := 0
		for i := range flood {
			if key := ip(i); s.Heeds(key, time.Now()) {
				heeded++
				s.Want(Sighting{Key: key})
			} else {
				s.Unheeded(1)
			}
		}
		if heeded < 64+newcomersPerSecond || heeded == flood {
			t.Errorf("%d of %d heeded", heeded, flood)
		}
		if stats := s.Stats(); stats.Waiting != 64 || stats.Evicted != flood-64 {
			t.Errorf("%d wait, %d evicted, want 64 and %d", stats.Waiting, stats.Evicted, flood-64)
		}
		waiting := extract.Key{Type: extract.IP, Value: s.Snapshot(1).Queue[0].Value}
		if !s.Waits(waiting) || !s.Heeds(waiting, time.Now()) {
			t.Errorf("%v waits: %v, heeded: %v", waiting, s.Waits(waiting), s.Heeds(waiting, time.Now()))
		}
		if s.Waits(ip(flood - 1)) {
			t.Error("what was turned away waits")
		}
	})
}

func TestSchedulerWantDoesNotAllocate(t *testing.T) {
	s := newTestScheduler(t, Options{Sources: []Source{source("a", says(unknown))}})
	sightings := []Sighting{
		{Key: ip(1), Context: extract.Context{Host: "10.0.0.9", Outcome: extract.Fail}}, {Key: domain("www.example.com")},
	}
	s.Want(sightings...)
	if n := testing.AllocsPerRun(100, func() { s.Want(sightings...) }); n != 0 {
		t.Errorf("%v allocations for what waits, want 0", n)
	}
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() { s.Heeds(sightings[0].Key, now) }); n != 0 {
		t.Errorf("%v allocations per Heeds, want 0", n)
	}
}
