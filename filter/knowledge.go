package filter

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/lookup"
)

// Knowledge is all that is known of indicators on this host, and the way to know more. It is asked in the event's way:
// nothing in it waits for a network. It is safe for concurrent use.
type Knowledge struct {
	Cache     *cache.Memory
	Sources   []lookup.Source
	Providers map[string]Provider // of the sources, by their names

	RelationAge time.Duration // how old a network source's relations may be; 0 means [DefaultRelationAge]

	// Scheduler asks what nobody here knows; nil when nothing may be asked.
	Scheduler *lookup.Scheduler

	own atomic.Pointer[ownKnowledge]
}

// A Provider is how a source is written on events.
type Provider struct {
	Origin intel.Origin
	Name   string // for people

	Lifetimes cache.Lifetimes // of its answers; zero for those of the cache
}

// ownKnowledge is what the user says; it is replaced as a whole when the files behind it change.
type ownKnowledge struct {
	local  *local.Store
	policy extract.Policy
	silent bool // nothing may be asked: an allow list could not be read
}

// SetOwn replaces local intelligence and policy, for all goroutines at once. With mayAsk false nothing is asked from
// now on.
func (k *Knowledge) SetOwn(store *local.Store, policy extract.Policy, mayAsk bool) {
	k.own.Store(&ownKnowledge{store, policy, !mayAsk})
}

// Find returns what is known of key now, and why it is not to be asked about.
func (k *Knowledge) Find(key extract.Key, now time.Time) (intel.Finding, extract.Skip) {
	found := k.find(key, now)
	return found.Finding, found.skip
}

// Wanted returns what the scheduler is to be told of key; ok is false when nobody is to be asked about it.
func (k *Knowledge) Wanted(key extract.Key, now time.Time) (s lookup.Sighting, ok bool) {
	found := k.find(key, now)
	return lookup.Sighting{Key: key, Held: found.held, Was: found.Verdict}, found.want
}

// FindLocal returns what local intelligence knows of key, and why key is not to be asked about.
func (k *Knowledge) FindLocal(key extract.Key) (intel.Finding, extract.Skip) {
	own := k.own.Load()
	return own.local.Find(key), own.policy.Skip(key)
}

// LocalLen returns how many entries local intelligence has.
func (k *Knowledge) LocalLen() int { return k.own.Load().local.Len() }

// A known is what [Knowledge.Find] says about one indicator.
type known struct {
	intel.Finding
	skip extract.Skip
	held lookup.SourceSet // sources whose fresh answer is at hand
	want bool             // a source may still be asked
}

// find returns what is known of key: from local intelligence at once, else from the answers that are held.
func (k *Knowledge) find(key extract.Key, now time.Time) (found known) {
	own := k.own.Load()
	found.skip = own.policy.Skip(key)
	found.Finding = own.local.Find(key)
	if found.Verdict != intel.Malicious && found.skip == extract.Worth && k.Cache != nil {
		k.findHeld(key, now, &found)
		found.want = found.want && !own.silent
	}
	if found.Verdict == intel.Related && (found.skip == extract.Owned || found.skip == extract.Resolver) {
		found.Finding = intel.Finding{} // much that is malicious has to do with them, and it tells nothing of them
	}
	return found
}

// findHeld adds the answers that are held, and says whether a source is left to ask.
func (k *Knowledge) findHeld(key extract.Key, now time.Time, found *known) {
	held, known := k.Cache.Get(key)
	if known { // seldom
		answer := held.Finding(now)
		if p, ok := k.Providers[answer.Source]; ok {
			answer.Source = p.Name
		}
		found.Finding = intel.Worse(found.Finding, answer)
	}
	if k.Scheduler == nil || found.Verdict == intel.Malicious && !found.Stale {
		return
	}
	for i := range k.Sources {
		switch source := &k.Sources[i]; {
		case !source.Types.Has(key.Type):
		case known && held.Fresh(source.Name, now):
			found.held = found.held.With(i)
		default:
			found.want = true
		}
	}
}

// Held reports whether nothing would be gained by asking source about key.
func (k *Knowledge) Held(key extract.Key, source string) bool {
	if own := k.own.Load(); own.silent || own.policy.Skip(key) != extract.Worth {
		return true // an allow list has changed since it was wanted
	}
	held := k.Cache.Fetch(key)
	now := time.Now()
	return held.Fresh(source, now) || slices.ContainsFunc(held.Answers, func(a cache.Answer) bool {
		return a.Report.Verdict() == intel.Malicious && now.Before(a.Expires)
	})
}

// Put keeps an answer, and what a malicious one relates to it, which it returns.
func (k *Knowledge) Put(a lookup.Answer) (related []extract.Key) {
	provider := k.Providers[a.Source]
	answer := cache.Answer{Source: a.Source, Origin: provider.Origin, Report: a.Report, Fetched: a.At}
	if provider.Lifetimes != (cache.Lifetimes{}) {
		answer.Expires = provider.Lifetimes.Expiry(a.Report, a.At)
	}
	k.Cache.Put(a.Key, answer)
	if a.Report.Verdict() != intel.Malicious {
		return nil
	}
	for r := range relations(a, k.own.Load().policy, cmp.Or(k.RelationAge, DefaultRelationAge)) {
		related = append(related, r.Key)
		k.Cache.Relate(r.Key, intel.Finding{
			Verdict: intel.Related, Origin: answer.Origin, Source: a.Source, Report: a.Report,
			Via: a.Key, Relation: r.Kind, Seen: r.Last,
		})
	}
	return related
}
