package cache_test

import (
	"testing"
	"time"

	"iocpipe/cache"
)

// TestShardsHoldWhatTheyPromise fills a memory of several shards: none may be full before all are.
func TestShardsHoldWhatTheyPromise(t *testing.T) {
	const size = 20_000
	m := newMemory(t, size)
	put := func(from, to int) {
		for n := from; n < to; n++ {
			m.Put(ip(n), cache.Answer{Source: "one", Report: voted(1), Fetched: time.Now()})
		}
	}
	put(0, size)
	if m.Len() != size {
		t.Errorf("%d of %d are held", m.Len(), size)
	}
	if _, ok := m.Get(ip(size - 1)); !ok {
		t.Error("the last is not held")
	}
	put(size, 3*size)
	if m.Len() < size || m.Len() > size*11/10 {
		t.Errorf("%d held, want %d and at most a tenth more", m.Len(), size)
	}
}
