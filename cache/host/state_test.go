package host

import (
	"testing"

	"iocpipe/cache"
	"iocpipe/cache/cachetest"
)

func openTest(t testing.TB, dir string, opt Options) *State {
	t.Helper()
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.isClosed() {
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestLayer(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Layer { return openTest(t, t.TempDir(), Options{}) })
}

func TestMemoryOverHost(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Layer { return memoryOver(t, openTest(t, t.TempDir(), Options{}), 1000) })
}

// memoryOver returns a memory for size indicators that follows s and has loaded it.
func memoryOver(t testing.TB, s *State, size int) *cache.Memory {
	m, err := cache.NewMemory(size, cache.DefaultLifetimes)
	if err != nil {
		t.Fatal(err)
	}
	m.Over(s)
	running := make(chan struct{})
	go func() {
		defer close(running)
		if err := m.Run(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { <-running })
	<-m.Loaded()
	return m
}
