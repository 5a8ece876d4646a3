package filter

import (
	"slices"
	"sync"
	"time"

	"iocpipe/extract"
)

// A Waiting holds blocks back for the answers to what is unknown in them (--on-miss wait): up to a time, and up to a
// number of bytes in all. When more would be held, the oldest leave. It is safe for concurrent use.
type Waiting struct {
	Time  time.Duration // how long a block waits at most
	Bytes int           // that are held at most

	// Expected reports whether the answer about key can come within Time: it is being asked, or will be.
	Expected func(key extract.Key) bool

	mu       sync.Mutex
	held     []*heldBlock // oldest first
	bytes    int
	overflow int64
}

// A heldBlock is one block that waits.
type heldBlock struct {
	size int
	wake chan struct{} // told when an answer has come, or the block must leave
	left bool          // it must leave, for others need its room
}

// Overflowed returns how many blocks left before their time because too much was held.
func (w *Waiting) Overflowed() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.overflow
}

// Answered wakes the blocks that wait: there is a new answer.
func (w *Waiting) Answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.held {
		h.rouse()
	}
}

func (h *heldBlock) rouse() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// wait returns when nothing is to be expected any more about keys, when the time is over, or when the room is needed.
// It keeps keys for its own use.
func (w *Waiting) wait(size int, keys []extract.Key) {
	if keys = w.expected(keys); len(keys) == 0 {
		return
	}
	h := w.hold(size)
	defer w.release(h)
	deadline := time.NewTimer(w.Time)
	defer deadline.Stop()
	look := time.NewTicker(w.Time/20 + time.Millisecond)
	defer look.Stop()
	for len(keys) > 0 && !w.mustLeave(h) {
		select {
		case <-h.wake:
		case <-look.C: // a question may have left the queue without an answer
		case <-deadline.C:
			return
		}
		keys = w.expected(keys)
	}
}

// expected returns those of the keys about which an answer is to be expected.
func (w *Waiting) expected(keys []extract.Key) []extract.Key {
	return slices.DeleteFunc(keys, func(key extract.Key) bool { return !w.Expected(key) })
}

func (w *Waiting) hold(size int) *heldBlock {
	h := &heldBlock{size: size, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held, w.bytes = append(w.held, h), w.bytes+size
	for i := 0; w.bytes > w.Bytes && i < len(w.held); i++ {
		if old := w.held[i]; !old.left {
			old.left = true
			w.bytes -= old.size
			w.overflow++
			old.rouse()
		}
	}
	return h
}

func (w *Waiting) mustLeave(h *heldBlock) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return h.left
}

func (w *Waiting) release(h *heldBlock) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.held {
		if other == h {
			w.held = append(w.held[:i], w.held[i+1:]...)
			break
		}
	}
	if !h.left {
		w.bytes -= h.size
	}
}
