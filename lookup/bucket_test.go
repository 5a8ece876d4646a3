package lookup

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"iocpipe/cache"
	"iocpipe/extract"
)

func TestBucket(t *testing.T) {
	b := NewBucket(rate.Every(10*time.Second), 2)
	now := epoch
	for _, want := range []time.Duration{0, 0, 10 * time.Second, 10 * time.Second} {
		got := b.Delay(now)
		if got.Round(time.Millisecond) != want {
			t.Errorf("wait %v, want %v", got, want)
		}
		now = now.Add(got)
		if b.Delay(now) != 0 {
			t.Errorf("no token after the wait of %v", got)
		}
		if grant := b.Take(extract.Key{}, now); grant != cache.Granted {
			t.Errorf("grant %v where a token is", grant)
		}
	}
	if got := NewBucket(rate.Inf, 1).Delay(epoch); got != 0 {
		t.Errorf("wait %v without a limit", got)
	}
}

// A Solo gives nothing at first, and nothing while others are there; neither makes anybody ask without pause.
func TestSolo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alone := false
		s := NewSolo(rate.Every(10*time.Second), 5, func() bool { return alone })
		if wait := s.Delay(time.Now()); wait < 9*time.Second || s.Take(ip(1), time.Now()) != cache.NotYet {
			t.Errorf("a token at the start, or in %v", wait)
		}
		time.Sleep(10 * time.Second)
		if s.Take(ip(1), time.Now()) != cache.NotYet || s.Delay(time.Now()) != lookAgain {
			t.Errorf("a token beside others; looks again in %v", s.Delay(time.Now()))
		}
		alone = true
		time.Sleep(lookAgain)
		if s.Take(ip(1), time.Now()) != cache.NotYet {
			t.Error("a token that came in while others asked")
		}
		time.Sleep(10 * time.Second)
		if s.Take(ip(1), time.Now()) != cache.Granted || s.Take(ip(2), time.Now()) != cache.NotYet {
			t.Error("not the one token of the time alone")
		}
	})
}

// Until a Solo looks, nobody knows who asked: it begins with an empty bucket then, not when it was made.
func TestSoloCountsFromItsFirstLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSolo(rate.Every(10*time.Second), 5, func() bool { return true })
		time.Sleep(time.Hour)
		if s.Take(ip(1), time.Now()) != cache.NotYet || s.Delay(time.Now()).Round(time.Millisecond) != 10*time.Second {
			t.Errorf("a token that came in before it looked, or in %v", s.Delay(time.Now()))
		}
		time.Sleep(10 * time.Second)
		if s.Take(ip(1), time.Now()) != cache.Granted || s.Take(ip(2), time.Now()) != cache.NotYet {
			t.Error("not the one token since it looked")
		}
	})
}
