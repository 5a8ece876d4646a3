package intel

import (
	"time"

	"iocpipe/extract"
)

// An Origin is the kind of a source, as matched.id spells it.
type Origin string

// The origins.
const (
	FromThreatCrowd Origin = "threatcrowd"
	FromOTX         Origin = "otx"
	FromLocal       Origin = "local"
)

// A Finding is what is known of one indicator at one moment, and who says so. The zero Finding says nothing is known.
type Finding struct {
	Verdict Verdict
	Origin  Origin
	Source  string // the source's name for people: "ThreatCrowd", "OTX", or a local feed's name

	// Report is the answer of the source. For a Related finding it is the malicious report that names the
	// indicator; its votes are not the indicator's.
	Report *Report

	Via      extract.Key // for Related: the indicator whose malicious report names this one
	Relation string      // for Related: one of the By constants
	Seen     time.Time   // for Related: when the relation was last seen; zero when unknown

	Stale bool // the answer has expired and waits to be asked again
}

// Worse returns the finding with the worse verdict; of two that agree, a. This is how sources that disagree are
// joined: the worst verdict wins, and of equals the source that was named first. Only a direct answer that is more
// than a miss replaces a relation.
func Worse(a, b Finding) Finding {
	if a.Verdict == Related && b.Verdict != NoVerdict && b.Verdict != Related {
		return b
	}
	if b.Verdict == Related && a.Verdict != NoVerdict {
		return a
	}
	if b.Verdict > a.Verdict {
		return b
	}
	return a
}
