package lookup

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"iocpipe/cache"
	"iocpipe/extract"
)

// A Budget is what one source may be asked. Processes that ask the same source can share one; it then also keeps two of
// them from asking the same.
type Budget interface {
	// Delay returns how long after now a token is likely to be there, 0 when one is. It does not wait.
	Delay(now time.Time) time.Duration

	// Take spends a token on asking about key, unless somebody else asks, or has asked. It comes before every
	// request; after [cache.Granted], Done must follow.
	Take(key extract.Key, now time.Time) cache.Grant

	// Hold gives nobody a token until then: the source has asked to be left alone.
	Hold(until time.Time)

	// Done ends the question about key. An answer must be at hand for all who share the budget by then.
	Done(key extract.Key, outcome string, now time.Time)
}

// A Bucket is the budget of one source within one process: tokens come at a steady rate, up to a burst, and each
// request costs one. It is full at first. Unlike [rate.Limiter.Wait] it lets the question be chosen only when the token
// is there.
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
func (b Bucket) Take(_ extract.Key, now time.Time) cache.Grant {
	if b.limiter.AllowN(now, 1) {
		return cache.Granted
	}
	return cache.NotYet
}

// Hold does nothing: within a process the source's breaker waits.
func (b Bucket) Hold(time.Time) {}

// Done does nothing: nobody shares the bucket.
func (b Bucket) Done(extract.Key, string, time.Time) {}

// Tokens returns how many requests could be made at once.
func (b Bucket) Tokens(now time.Time) float64 { return max(0, b.limiter.TokensAt(now)) }

// A Solo is the budget of one process at a time, where several cannot share one: it is empty at first, so that starting
// again buys nothing, and gives tokens only while its process is alone.
type Solo struct {
	Bucket
	alone func() bool

	mu     sync.Mutex
	lookAt time.Time // whether it is alone by now
	mine   bool      // it has seen that it is
}

// lookAgain is how often a Solo looks whether its process is alone by now.
const lookAgain = time.Second

// NewSolo returns an empty bucket for limit requests per second, which gives tokens from when alone has become true; that
// it then stays.
func NewSolo(limit rate.Limit, burst int, alone func() bool) *Solo {
	s := &Solo{Bucket: NewBucket(limit, burst), alone: alone}
	s.limiter.AllowN(time.Now(), burst)
	return s
}

// Delay is how long until there is a token, or it is worth looking whether the process is alone.
func (s *Solo) Delay(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.Bucket.Delay(now), s.lookAt.Sub(now))
}

// look notes whether the process is alone. The bucket is empty when it becomes so: what came in before is others'.
func (s *Solo) look(now time.Time) {
	if s.mine = s.alone(); !s.mine {
		s.lookAt = now.Add(lookAgain)
		return
	}
	burst := s.limiter.Burst()
	s.limiter.SetBurstAt(now, 0)
	s.limiter.SetBurstAt(now, burst)
}

// Take takes a token, if there is one and the process is alone. It is here, and not in Delay, that this is found out: who
// has no question does not keep others from asking.
func (s *Solo) Take(key extract.Key, now time.Time) cache.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mine {
		s.look(now)
	}
	if !s.mine {
		return cache.NotYet
	}
	return s.Bucket.Take(key, now)
}
