// Package intel is what is known of an indicator: the report of one source (modelled on the ThreatCrowd v2 API), its
// verdict, and the relations it names. Where reports come from is the business of intel/local and lookup.
package intel

import (
	"iter"
	"time"

	"iocpipe/extract"
)

// A Verdict says what is known of an indicator. Verdicts are ordered: the worse, the greater.
type Verdict uint8

// The verdicts, from nothing known to malicious.
const (
	NoVerdict Verdict = iota // no source knows it
	Benign                   // most voters say not malicious
	Unknown                  // a report without votes: known, but not judged
	Undecided                // votes are tied, or nobody voted: the API does not tell which
	Related                  // a malicious report names it; nobody reported it itself
	Malicious                // most voters, or a list, say malicious
)

var verdictNames = [...]string{"none", "benign", "unknown", "undecided", "related", "malicious"}

// String returns the verdict's name as it is written on events.
func (v Verdict) String() string { return verdictNames[v] }

// A Report is what one source says about one indicator. The zero Report says that the source does not know it. Which
// fields can be filled depends on the indicator's type; a list that the source leaves out or empty is nil. The lists
// of a parsed report hold normalised values without blanks, placeholders and duplicates, in the source's order.
type Report struct {
	Known bool // the source has a report (response_code 1)

	Votes int8 // -1 most voters say malicious, 0 tied or nobody voted, 1 most say not malicious
	Voted bool // whether the answer holds votes at all; e-mail, file and antivirus reports seldom do

	Resolutions []Resolution // passive DNS: the addresses of a domain, or the domains of an address
	Subdomains  []string     // of a domain: names seen below it
	Domains     []string     // of an e-mail: registered with it; of a file: contacted by it
	IPs         []string     // of a file: contacted by it
	Hashes      []string     // of samples that contact the indicator, or that carry an antivirus name
	Emails      []string     // of a domain: its whois addresses
	Scans       []string     // of a file: antivirus detection names, without engines; as written, not lower case
	MD5, SHA1   string       // of a file: its hashes, lower case
	References  []string     // reports that name the indicator; not always URLs
	Permalink   string       // the page for people

	Tags        []string  // malware families, campaigns and other names that the source gives
	First, Last time.Time // when the source saw the indicator first and last, UTC; zero when it does not say
}

// A Resolution is one entry of passive DNS.
type Resolution struct {
	Value string    // the domain or address at the other end
	Last  time.Time // the day it was last seen, UTC; zero when the source does not know
}

// Verdict returns what r says about its own indicator; it is never [Related].
func (r *Report) Verdict() Verdict {
	switch {
	case !r.Known:
		return NoVerdict
	case !r.Voted:
		return Unknown
	case r.Votes < 0:
		return Malicious
	case r.Votes > 0:
		return Benign
	}
	return Undecided
}

// LastSeen returns the newest of Last and the days of the resolutions, or the zero time when none is known.
func (r *Report) LastSeen() time.Time {
	last := r.Last
	for _, res := range r.Resolutions {
		if res.Last.After(last) {
			last = res.Last
		}
	}
	return last
}

// The kinds of relations, as they are written on events.
const (
	ByResolution = "resolution" // the other end of passive DNS
	BySubdomain  = "subdomain"
	ByHash       = "hash"
	ByEmail      = "email"
	ByDomain     = "domain"
	ByParent     = "parent"    // a malicious domain that it stands below
	ByURL        = "url"       // the host of a malicious URL
	ByReference  = "reference" // stands in one publication with something malicious, and is not called so itself
)

// A Relation is one indicator that a report names.
type Relation struct {
	Key  extract.Key
	Kind string    // one of the By constants
	Last time.Time // when it was last seen; zero when unknown
}

// Relations yields the indicators that r names, in the order of its lists, resolutions first. Antivirus names are not
// among them: a detection name is a family, not a thing that was met.
func (r *Report) Relations() iter.Seq[Relation] {
	return func(yield func(Relation) bool) {
		for _, res := range r.Resolutions {
			if key, ok := extract.ParseKey(res.Value); ok && !yield(Relation{key, ByResolution, res.Last}) {
				return
			}
		}
		for _, list := range []struct {
			kind   string
			values []string
		}{
			{BySubdomain, r.Subdomains}, {ByDomain, r.Domains}, {ByResolution, r.IPs},
			{ByHash, r.Hashes}, {ByHash, []string{r.MD5, r.SHA1}}, {ByEmail, r.Emails},
		} {
			for _, value := range list.values {
				if key, ok := extract.ParseKey(value); ok && !yield(Relation{key, list.kind, time.Time{}}) {
					return
				}
			}
		}
	}
}
