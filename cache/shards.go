package cache

import (
	"hash/maphash"
	"math"

	lru "github.com/hashicorp/golang-lru/v2"

	"iocpipe/extract"
)

const (
	maxShards = 64   // of a large cache
	minShard  = 4096 // indicators in a shard of several: with fewer, some would be full long before others
)

// shards is a cache in parts, each with a lock of its own: a look-up locks, and all workers make several per line.
type shards struct {
	seed  maphash.Seed
	parts []*lru.Cache[extract.Key, Held] // as many as a power of two
}

// newShards returns a cache for size indicators, and a few more: hashes do not fill all shards alike, and none is to
// be full before size are held.
func newShards(size int) (shards, error) {
	n := 1
	for n < maxShards && size/n >= 2*minShard {
		n *= 2
	}
	s := shards{maphash.MakeSeed(), make([]*lru.Cache[extract.Key, Held], n)}
	each := size
	if n > 1 {
		const deviations = 6 // of the number in a shard, which is as good as Poisson's
		each = size/n + int(deviations*math.Sqrt(float64(size/n)))
	}
	for i := range s.parts {
		var err error
		if s.parts[i], err = lru.New[extract.Key, Held](each); err != nil {
			return shards{}, err
		}
	}
	return s, nil
}

func (s shards) of(key extract.Key) *lru.Cache[extract.Key, Held] {
	return s.parts[maphash.String(s.seed, key.Value)&uint64(len(s.parts)-1)]
}

func (s shards) Get(key extract.Key) (Held, bool)  { return s.of(key).Get(key) }
func (s shards) Peek(key extract.Key) (Held, bool) { return s.of(key).Peek(key) }
func (s shards) Contains(key extract.Key) bool     { return s.of(key).Contains(key) }
func (s shards) Remove(key extract.Key) bool       { return s.of(key).Remove(key) }

// Add reports whether something was evicted.
func (s shards) Add(key extract.Key, h Held) bool { return s.of(key).Add(key, h) }

func (s shards) Len() (n int) {
	for _, part := range s.parts {
		n += part.Len()
	}
	return n
}
