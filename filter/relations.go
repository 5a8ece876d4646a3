package filter

import (
	"iter"
	"time"

	"golang.org/x/net/publicsuffix"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/lookup"
)

// DefaultRelationAge is how long ago a relation may have been seen last to be told on events, when a network source
// names it: addresses and names pass from hand to hand. Local reports are the user's word, and hold whatever their age.
const DefaultRelationAge = 180 * 24 * time.Hour

// maxTenants is how many registered domains an address may have had lately before it is taken for a shared host, whose
// names have nothing to do with each other.
const maxTenants = 50

// relations yields what a malicious answer relates: neither the indicator itself, nor what policy passes over, nor
// what was seen too long ago, nor strangers. A relation without a date is not taken for old.
func relations(a lookup.Answer, policy extract.Policy, maxAge time.Duration) iter.Seq[intel.Relation] {
	outdated := func(last time.Time) bool { return !last.IsZero() && a.At.Sub(last) > maxAge }
	strangers := strangersIn(a, outdated)
	return func(yield func(intel.Relation) bool) {
		for r := range a.Report.Relations() {
			if r.Key == a.Key || r.Kind == strangers || outdated(r.Last) || policy.Skip(r.Key) != extract.Worth {
				continue
			}
			if !yield(r) {
				return
			}
		}
	}
}

// strangersIn returns the kind of relations by which an answer names what belongs to others: the names at a shared
// host, or those below a public suffix. It is empty when there is none.
func strangersIn(a lookup.Answer, outdated func(time.Time) bool) string {
	switch a.Key.Type {
	case extract.IP:
		if isSharedHost(a.Report.Resolutions, outdated) {
			return intel.ByResolution
		}
	case extract.Domain:
		if suffix, _ := publicsuffix.PublicSuffix(a.Key.Value); suffix == a.Key.Value {
			return intel.BySubdomain
		}
	}
	return ""
}

func isSharedHost(resolutions []intel.Resolution, outdated func(time.Time) bool) bool {
	tenants := make(map[string]bool)
	for _, r := range resolutions {
		if domain, err := publicsuffix.EffectiveTLDPlusOne(r.Value); err == nil && !outdated(r.Last) {
			tenants[domain] = true
		}
	}
	return len(tenants) > maxTenants
}
