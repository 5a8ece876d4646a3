package lookup

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// A Budget is what one source may be asked. Processes that share a source can share it.
type Budget interface {
	// Delay returns how long after now a token is likely to be there, 0 when one is.
	Delay(now time.Time) time.Duration

	// Take takes a token, which must come before every request. It returns false when there is none after all.
	Take(now time.Time) bool

	// Tokens returns how many requests could be made at once.
	Tokens(now time.Time) float64
}

// A Bucket is the budget of one source within one process: tokens come at a steady rate, up to a burst, and each request costs one. It is
// full at first. Unlike [rate.Limiter.Wait] it lets the question be chosen only when the token is there.
type Bucket struct{ limiter *rate.Limiter }

// NewBucket returns a full bucket for limit requests per second.
func NewBucket(limit rate.Limit, burst int) Bucket {
	return Bucket{rate.NewLimiter(limit, burst)}
}

// Delay returns how long after now a token will be there, 0 when one is.
func (b Bucket) Delay(now time.Time) time.Duration {
	missing := 1 - b.limiter.TokensAt(now)
	if missing <= 0 || b.limiter.Limit() == rate.Inf {
		return 0
	}
	wait := math.Ceil(missing / float64(b.limiter.Limit()) * float64(time.Second))
	return time.Duration(min(max(wait, 1), math.MaxInt64/2))
}

// Take takes a token, if there is one.
func (b Bucket) Take(now time.Time) bool { return b.limiter.AllowN(now, 1) }

// Tokens returns how many tokens there are.
func (b Bucket) Tokens(now time.Time) float64 { return max(0, b.limiter.TokensAt(now)) }
