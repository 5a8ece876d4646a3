package lookup

import (
	"errors"
	"net/http"
	"time"
)

const (
	opensAfter    = 5 // failures in a row
	firstProbe    = time.Minute
	maxProbePause = 15 * time.Minute
	firstHold     = 15 * time.Second
)

// A breaker keeps requests from a source that fails: after a few failures in a row, or a Retry-After that is as long as
// its own first pause, it opens, and only one probe at a time is sent, ever more rarely, until one is answered. A missing
// or wrong key opens it at once. It holds a shorter Retry-After, too. The zero breaker is closed.
type breaker struct {
	failures  int // in a row
	open      bool
	since     time.Time     // when it last opened or closed; zero when it never did
	pause     time.Duration // before the next probe
	notBefore time.Time
	err       error // the last failure; nil after an answer
}

// succeed notes an answer to a request that was made at asked. It reports whether that closed the breaker: what was on
// its way when it opened does not, for the source may have asked since to be left alone.
func (b *breaker) succeed(asked, now time.Time) bool {
	switch {
	case !b.open:
		b.failures, b.err = 0, nil
		return false
	case asked.Before(b.since):
		return false
	}
	*b = breaker{since: now}
	return true
}

// fail notes a failure of a request that was made at asked. It reports whether that opened the breaker.
func (b *breaker) fail(err error, asked, now time.Time) bool {
	b.failures++
	b.err = err
	alone := b.busyFor(err)
	opened := !b.open && (b.failures >= opensAfter || alone >= firstProbe || errors.Is(err, ErrDenied))
	switch {
	case opened:
		b.open, b.since, b.pause = true, now, firstProbe
		b.holdUntil(now.Add(b.pause))
	case b.open && !asked.Before(b.since): // a probe; not a request that was on its way when it opened
		b.pause = min(2*b.pause, maxProbePause)
		b.holdUntil(now.Add(b.pause))
	}
	b.holdUntil(now.Add(alone))
	return opened
}

// busyFor returns how long a source wants to be left alone. One that limits the rate of questions and does not say for
// how long gets a pause that doubles.
func (b *breaker) busyFor(err error) time.Duration {
	busy, ok := errors.AsType[*BusyError](err)
	switch {
	case !ok:
		return 0
	case busy.RetryAfter == 0 && busy.Status == http.StatusTooManyRequests:
		return min(firstHold<<min(b.failures-1, 10), maxProbePause)
	}
	return busy.RetryAfter
}

func (b *breaker) holdUntil(t time.Time) {
	if t.After(b.notBefore) {
		b.notBefore = t
	}
}

// Health is how a source does.
type Health struct {
	Source   string
	Up       bool      // false when it failed several times in a row and is only probed
	Since    time.Time // when Up last changed; zero when it never did
	Failures int       // in a row
	Err      error     // the last of them, nil when the last request was answered
	NotAsked time.Time // until then it is not asked; zero, or past, when it is
}

func (b *breaker) health(source string) Health {
	return Health{source, !b.open, b.since, b.failures, b.err, b.notBefore}
}
