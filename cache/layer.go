package cache

import (
	"context"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A Layer is one place where answers are held: a [Memory], the file of a host, a store of a fleet. Its methods are safe
// for concurrent use, and what they are given may alias a line. cachetest has the suite that every layer passes.
type Layer interface {
	// Get returns what is held of key, expired or not. It returns false when nothing is, and when the layer cannot
	// be read: a cache that is broken is an empty one.
	Get(key extract.Key) (Held, bool)

	// Put keeps an answer, whose Expires must be set, in the place of an earlier one of the same source; what that
	// one related is forgotten. A later answer stays, and an Answer without Report is none and is not kept.
	Put(key extract.Key, a Answer)

	// Relate keeps that the malicious report of relation.Source about relation.Via names key, for as long as that
	// report is held and fresh; it must have been put before. Of several reports that name key, the last is kept.
	Relate(key extract.Key, relation intel.Finding)

	// Remove forgets all that is held of key, and what its reports related.
	Remove(key extract.Key) error
}

// A Store is a layer that several processes share, below the [Memory] of each.
type Store interface {
	Layer

	// Follow calls apply with the newest n answers and the newest n relations, the older first, then loaded, then
	// apply with whatever changes, until ctx is done; it returns an error only before that. all says whether
	// nothing was left out. It may be slow, and apply is called by one goroutine.
	Follow(ctx context.Context, n int, apply func(Change), loaded func(all bool)) error
}

// A Change is news from a [Store] about one indicator: an answer when that has a Report, else a relation when that has
// a verdict, else that something was removed, so that what is left has to be read again.
type Change struct {
	Key      extract.Key
	Answer   Answer
	Relation intel.Finding
	Until    time.Time // how long the relation holds
}

// A Grant is what a budget that is shared says to a question.
type Grant uint8

// The grants.
const (
	NotYet    Grant = iota // there is no token, or asking is paused: nothing was taken
	Granted                // a token was spent and the indicator is leased: ask now
	Elsewhere              // another process is asking about the indicator: nothing was taken
	Answered               // an answer came meanwhile: nothing was taken
)
