package lookup

import (
	"testing"
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
