package lookup

import (
	"math"
	"math/bits"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A trait is one thing that makes an indicator more or less likely to be malicious.
type trait uint8

const (
	traitIP trait = iota
	traitDomain
	traitEmail
	traitHash
	traitIPFail
	traitIPFail5
	traitIPFail20
	traitIPDeny
	traitIPOK
	traitFailThenOK
	traitDomainFail
	traitDomainDeny
	traitEmailDeny
	traitHashDeny
	traitWellKnown
	traitAbusedTLD
	traitBait
	traitRandom
	traitDeep
	traitOneHost
	traitHosts4
	traitHosts8
	traitHotHost
	traitBeside
	traitPeriodic
	traitFrequent
	traitVeryFrequent
	traitEarly
	traitRareType
	numTraits
)

// bias is the log odds of an indicator of which nothing else is known: about 1 in 55.
const bias = -4.0

// weights holds, for each trait, its name for people and what it adds to the log odds. They are fixed: whoever can write
// into the log could teach weights that learn. What answers show is held against what looks the same alone, see
// [Table.probability].
var weights = [numTraits]struct {
	name  string
	value float64
}{
	traitIP:           {"is an address", 0.3},
	traitDomain:       {"is a domain", 0},
	traitEmail:        {"is an e-mail address", -0.5},
	traitHash:         {"is a file hash", -0.3},
	traitIPFail:       {"mostly failed", 1.6},
	traitIPFail5:      {"failed, 5 sightings or more", 0.6},
	traitIPFail20:     {"failed, 20 sightings or more", 0.6},
	traitIPDeny:       {"mostly denied", 0.6},
	traitIPOK:         {"mostly succeeded", -1.0},
	traitFailThenOK:   {"mostly failed, but some succeeded", -0.8},
	traitDomainFail:   {"mostly failed", 0.5},
	traitDomainDeny:   {"mostly denied", 1.2},
	traitEmailDeny:    {"mostly denied", 1.0},
	traitHashDeny:     {"mostly denied", 1.5},
	traitWellKnown:    {"well-known registered domain", -4.0},
	traitAbusedTLD:    {"top-level domain with much abuse", 1.0},
	traitBait:         {"bait word or brand in the name", 1.2},
	traitRandom:       {"name looks random", 0.4},
	traitDeep:         {"three dots or more", -0.5},
	traitOneHost:      {"one host, 3 sightings or more", 0.4},
	traitHosts4:       {"4 hosts or more", -1.0},
	traitHosts8:       {"8 hosts or more", -0.8},
	traitHotHost:      {"a host that met something malicious", 1.2},
	traitBeside:       {"in one event with something malicious", 2.0},
	traitPeriodic:     {"periodic", 0.3},
	traitFrequent:     {"20 sightings or more", -0.3},
	traitVeryFrequent: {"100 sightings or more", -0.6},
	traitEarly:        {"there since the start", -0.5},
	traitRareType:     {"a type that hardly occurs in this log", 1.5},
}

// traits is a set of them.
type traits uint32

func (t *traits) set(x trait) { *t |= 1 << x }

func (t *traits) setIf(cond bool, x trait) {
	if cond {
		t.set(x)
	}
}

// group is that of all indicators with just these traits.
func (t traits) group() uint64 { return uint64(t) + 1 } // 0 is no group

// logOdds returns the sum of the weights of the set, and the bias.
func (t traits) logOdds() float64 {
	sum := bias
	for ; t != 0; t &= t - 1 {
		sum += weights[bits.TrailingZeros32(uint32(t))].value
	}
	return sum
}

// keyTraits returns what an indicator's type and spelling say, and the group that its answers are evidence for: the
// neighbourhood of an address, the registered domain of a name; "" when there is none.
func keyTraits(key extract.Key) (t traits, registered string) {
	switch {
	case key.Type == extract.IP:
		t.set(traitIP)
	case key.Type == extract.Domain:
		t.set(traitDomain)
	case key.Type == extract.Email:
		t.set(traitEmail)
	case key.Type.IsHash():
		t.set(traitHash)
	}
	domain := domainOf(key)
	if domain == "" {
		return t, ""
	}
	registered = registeredDomain(domain)
	return t | domainTraits(domain, registered), registered
}

// sigmoid turns log odds into a probability.
func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// logit turns a probability into log odds.
func logit(p float64) float64 { return math.Log(p / (1 - p)) }

// oldOdds is the probability that an indicator is malicious when an expired answer, or another source, said what the
// verdict says. Verdicts that tell nothing leave it to the traits.
func oldOdds(was intel.Verdict) (p float64, ok bool) {
	switch was {
	case intel.Malicious:
		return 0.9, true
	case intel.Benign:
		return 0.002, true
	}
	return 0, false
}

// discovery is what it is worth to learn of a malicious indicator, counted in annotated sightings (kappa).
const discovery = 3

// staleNews is what is left of the worth of a discovery when the indicator was not seen for long.
const staleNews = 0.3

// worth returns how much a malicious answer would be worth now: the discovery, while it is news, and the sightings
// that are still to come.
func (s *sightings) worth(now seconds) float64 {
	idle := max(0, float64(now-s.last))
	return discovery*(staleNews+(1-staleNews)*math.Exp(-idle*math.Ln2/300)) + s.future(idle)
}

// future estimates the sightings to come: what came n times will come about n times more, unless it has stayed away
// for longer than its rhythm explains.
func (s *sightings) future(idle float64) float64 {
	if s.n == 1 {
		return math.Exp(-idle / 120)
	}
	gap := s.gap()
	return min(float64(s.n), 900/(gap+0.5)) * math.Exp(-idle/(3*gap+60))
}
