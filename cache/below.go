package cache

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"iocpipe/extract"
	"iocpipe/intel"
)

const (
	maxMissed   = 1024    // keys that wait to be looked up below; the others wait for their next sighting
	recentSlots = 1 << 14 // misses that are remembered, so that a sighting that repeats is looked up once
)

// below is what a [Memory] knows of the store under it.
//
// Misses are the rule, not the exception: most of what a log shows was never answered. While all that the store holds
// is in memory, a miss there is a miss below and nothing is looked up. Otherwise (it is being loaded, or is larger than
// the memory) a miss costs a hash and a slot; a new one is queued, and dropped when the queue is full.
type below struct {
	store   Store
	partial atomic.Bool // the store may hold what memory does not
	loaded  chan struct{}

	// reading is held from reading the store until memory has what was read, so that what was read before a removal
	// does not come after it.
	reading sync.Mutex

	seed   maphash.Seed
	recent [recentSlots]atomic.Uint64 // hashes of keys
	queue  chan extract.Key
}

// Over puts m over store, before anything else is done with either. [Memory.Run] must run then.
func (m *Memory) Over(store Store) {
	m.below = &below{
		store: store, loaded: make(chan struct{}), seed: maphash.MakeSeed(), queue: make(chan extract.Key, maxMissed),
	}
	m.below.partial.Store(true)
}

// Run fills m from the store below and keeps it up to date with what others put and remove there, until ctx is done.
// It returns an error only before that; m then goes on without hearing of others.
func (m *Memory) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() { m.lookUpMissed(ctx) })
	defer looking.Wait()
	defer cancel()
	return m.below.store.Follow(ctx, m.size, m.apply, func(all bool) {
		m.below.partial.Store(!all)
		if m.Len() >= m.size { // something was evicted before; from now on update tells
			m.below.partial.Store(true)
		}
		close(m.below.loaded)
	})
}

// Loaded is closed once [Memory.Run] has filled m as far as it goes, so that a short run can wait for it.
func (m *Memory) Loaded() <-chan struct{} { return m.below.loaded }

// Fetch returns what is held of key, here and below. It waits for the store: it is for whoever is about to spend a
// request, or asks for a person.
func (m *Memory) Fetch(key extract.Key) Held {
	if m.below != nil {
		m.below.reading.Lock()
		if h, ok := m.below.store.Get(key); ok {
			m.merge(key, h)
		}
		m.below.reading.Unlock()
	}
	h, _ := m.held.Get(key)
	return h
}

// apply takes over a change of the store.
func (m *Memory) apply(c Change) {
	switch {
	case c.Answer.Report != nil:
		m.keep(c.Key, c.Answer)
	case c.Relation.Verdict != intel.NoVerdict:
		m.keepRelation(c.Key, c.Relation, c.Until)
	default:
		m.below.reading.Lock()
		defer m.below.reading.Unlock()
		h, _ := m.below.store.Get(c.Key)
		m.forget(c.Key)
		m.merge(c.Key, h)
	}
}

// merge adds what the store holds of key.
func (m *Memory) merge(key extract.Key, h Held) {
	for _, a := range h.Answers {
		m.keep(key, a)
	}
	if h.Relation.Verdict != intel.NoVerdict {
		m.keepRelation(key, h.Relation, h.Until)
	}
}

// missed queues key for [Memory.lookUpMissed] unless that would be in vain. It neither waits nor allocates for a key
// that was missed before.
func (b *below) missed(key extract.Key) {
	if !b.partial.Load() || len(b.queue) == cap(b.queue) {
		return
	}
	slot, hash := b.slot(key)
	if slot.Swap(hash) == hash {
		return
	}
	select {
	case b.queue <- key.Clone():
	default:
		slot.Store(0)
	}
}

// slot returns where it is remembered that key was missed, and as what.
func (b *below) slot(key extract.Key) (*atomic.Uint64, uint64) {
	hash := maphash.String(b.seed, key.Value) ^ uint64(key.Type)
	return &b.recent[hash%recentSlots], hash
}

func (m *Memory) lookUpMissed(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-m.below.queue:
			if !m.Fetch(key).empty() { // it may be evicted and missed again
				slot, _ := m.below.slot(key)
				slot.Store(0)
			}
		}
	}
}
