package elastic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// FloodPause is the time between looks whether a full disk has room again.
const FloodPause = 30 * time.Second

const (
	firstPause, maxPause = 500 * time.Millisecond, time.Minute
	maxRetryAfter        = 10 * time.Minute
	maxMalformed         = 8 // answers, one after the other, that are none
)

// A pace is how fast requests may go, guarded by the Bulk's mu.
type pace struct {
	limit, most int
	clean       int       // answers without trouble since the limit changed
	maxBytes    int       // of a request
	since       time.Time // when the trouble began, or something was taken last; zero without trouble
	told        bool      // of the trouble
}

// cleanAnswers is after how many, for each request at once, there may be one more: after one round, as TCP grows.
const cleanAnswers = 1

// waiting is how one batch waits.
type waiting struct {
	bulk      *Bulk
	tries     int // without any progress
	malformed int
	probing   bool
}

// pause waits before a batch goes on after trouble; without trouble it does not. progress says that items became final.
func (w *waiting) pause(trouble error, progress bool) error {
	b := w.bulk
	if progress {
		w.tries, w.malformed = 0, 0
	}
	var answer *Error
	w.probing = errors.As(trouble, &answer) && answer.Flooded()
	since, tell := b.adapt(trouble, progress, w.probing || w.tries > 0)
	if tell && b.options.Waiting != nil {
		b.options.Waiting(trouble)
	}
	if trouble == nil {
		return nil
	}
	if errors.Is(trouble, ErrMalformed) {
		if w.malformed++; w.malformed >= maxMalformed {
			return fmt.Errorf("%d times in a row: %w", maxMalformed, trouble)
		}
	}
	if limit := b.options.GiveUp; limit > 0 && time.Since(since) >= limit {
		return fmt.Errorf("nothing was taken for %s: %w", limit, trouble)
	}
	d := w.length(trouble)
	w.tries++
	return Sleep(b.ctx, d)
}

// length returns how long to wait after trouble: what the server says, a while for a full disk, else [Backoff].
func (w *waiting) length(trouble error) time.Duration {
	var r *rejection
	switch {
	case w.probing:
		return FloodPause
	case errors.As(trouble, &r) && r.after > 0:
		return r.after
	}
	return Backoff(w.tries)
}

// Backoff returns how long to wait for a busy server before it is tried again: a random part of a time that doubles with each
// try (full jitter), of a minute at most.
func Backoff(try int) time.Duration { return 1 + rand.N(min(firstPause<<min(try, 10), maxPause)) }

// Sleep waits. When ctx is done it returns at once, with the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// adapt makes the number of requests at once follow what the server says. It returns since when nothing was taken, and
// whether people are to be told that trouble begins or ends. It begins for them when it lasts.
func (b *Bulk) adapt(trouble error, progress, lasts bool) (since time.Time, tell bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &b.pace
	if trouble == nil {
		if p.clean++; p.clean >= cleanAnswers*p.limit && p.limit < p.most {
			p.limit, p.clean = p.limit+1, 0
		}
		tell = p.told
		p.since, p.told = time.Time{}, false
		return p.since, tell
	}
	p.limit, p.clean = max(1, p.limit/2), 0
	if p.since.IsZero() || progress {
		p.since = time.Now()
	}
	tell = lasts && !progress && !p.told
	p.told = p.told || tell
	return p.since, tell
}
