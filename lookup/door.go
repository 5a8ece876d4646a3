package lookup

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"

	"iocpipe/extract"
)

// newcomersPerSecond is how many newcomers a full table takes in within a second. Each takes the place of another: with
// many more, none would stay long enough to be seen twice. No log brings as much that is new while it is written; a
// replay or a flood does. What comes often is let in soon all the same, for each of its sightings is another chance.
const newcomersPerSecond = 8192

// doorSlots is how many slots a door has, at least, for each entry of the table. With a full one it takes up to one
// newcomer in seventeen for somebody who waits.
const doorSlots = 16

// A door keeps newcomers out of a full table while too many come. To turn one away costs a hash and a look at memory:
// turnsAway is for any goroutine, without a lock. The rest is the table's.
type door struct {
	seed   maphash.Seed
	counts []atomic.Int32 // the entries of the table, by the hash of their value
	until  atomic.Int64   // newcomers are turned away until then, in nanoseconds since the start of the table

	second int64 // of the newcomers counted last
	came   int   // in that second
}

func newDoor(seed maphash.Seed, max int) *door {
	return &door{seed: seed, counts: make([]atomic.Int32, 1<<bits.Len(uint(doorSlots*max-1)))}
}

func (d *door) slot(key extract.Key) *atomic.Int32 {
	return &d.counts[maphash.String(d.seed, key.Value)&uint64(len(d.counts)-1)]
}

// enter and leave keep account of who waits.
func (d *door) enter(key extract.Key) { d.slot(key).Add(1) }
func (d *door) leave(key extract.Key) { d.slot(key).Add(-1) }

// closed reports whether no newcomer is let in, at a time since the start of the table.
func (d *door) closed(at time.Duration) bool { return int64(at) < d.until.Load() }

// turnsAway reports whether key is a newcomer and the door is closed.
func (d *door) turnsAway(key extract.Key, at time.Duration) bool {
	return d.closed(at) && d.slot(key).Load() == 0
}

// admit reports whether one more newcomer may enter a full table.
func (d *door) admit(at time.Duration) bool {
	if d.closed(at) {
		return false
	}
	if second := int64(at / time.Second); second != d.second {
		d.second, d.came = second, 0
	}
	if d.came++; d.came == newcomersPerSecond {
		d.until.Store((d.second + 1) * int64(time.Second))
	}
	return true
}

// bytes returns how much memory the door takes.
func (d *door) bytes() int { return 4 * len(d.counts) }
