package export

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"

	"iocpipe/extract"
	"iocpipe/intel"
)

const (
	maxKeyword = 1024   // bytes of a keyword field
	maxTerm    = 32_766 // bytes of anything that Lucene finds
)

// ecs writes indicator documents (https://www.elastic.co/docs/reference/ecs/ecs-threat) for Elastic Security's
// indicator match rules, one per line. The domain of a URL is not written: a rule would take it for an indicator, and
// a host that serves one bad URL may serve a million good ones.
type ecs struct {
	plain
	Options
}

func newECS(opt Options) encoder { return ecs{Options: opt} }

type ecsDocument struct {
	Timestamp string       `json:"@timestamp"`
	ECS       ecsVersion   `json:"ecs"`
	Event     ecsEvent     `json:"event"`
	Tags      []string     `json:"tags,omitempty"`
	Threat    ecsThreat    `json:"threat"`
	Iocpipe   ecsKnowledge `json:"iocpipe"`
}

type ecsVersion struct {
	Version string `json:"version"`
}

type ecsEvent struct {
	Kind     string   `json:"kind"`
	Category []string `json:"category"`
	Type     []string `json:"type"`
	Module   string   `json:"module"`
	Dataset  string   `json:"dataset"`
}

type ecsThreat struct {
	Feed      ecsFeed      `json:"feed"`
	Indicator ecsIndicator `json:"indicator"`
}

type ecsFeed struct {
	Name string `json:"name"`
}

type ecsIndicator struct {
	ID          []string  `json:"id"`
	Type        string    `json:"type"`
	Name        string    `json:"name,omitempty"`
	IP          string    `json:"ip,omitempty"`
	URL         *ecsURL   `json:"url,omitempty"`
	Email       *ecsEmail `json:"email,omitempty"`
	File        *ecsFile  `json:"file,omitempty"`
	Provider    string    `json:"provider,omitempty"`
	Reference   string    `json:"reference,omitempty"`
	Confidence  string    `json:"confidence"`
	Description string    `json:"description"`
	FirstSeen   string    `json:"first_seen,omitempty"`
	LastSeen    string    `json:"last_seen,omitempty"`
}

type ecsURL struct {
	Domain   string `json:"domain,omitempty"`
	Full     string `json:"full,omitempty"`
	Original string `json:"original,omitempty"`
}

type ecsEmail struct {
	Address string `json:"address"`
}

type ecsFile struct {
	Hash map[string]string `json:"hash"`
}

type ecsKnowledge struct {
	Verdict string `json:"verdict"`
	Votes   *int8  `json:"votes,omitempty"`
	Expires string `json:"expires,omitempty"`
}

func (x ecs) record(dst []byte, r *record) ([]byte, Reason) {
	indicator, why := ecsOf(r)
	if why != "" {
		return dst, why
	}
	sources := r.sources()
	doc := ecsDocument{
		Timestamp: x.Now.UTC().Format("2006-01-02T15:04:05.000Z"),
		ECS:       ecsVersion{"9.4.0"},
		Event: ecsEvent{
			"enrichment", []string{"threat"}, []string{"indicator"}, "ti_iocpipe", "ti_iocpipe.indicator",
		},
		Tags:    keywords(r.tags()),
		Threat:  ecsThreat{ecsFeed{firstOf(sources)}, indicator},
		Iocpipe: ecsKnowledge{Verdict: r.verdict.String(), Expires: moment(r.expires())},
	}
	if votes, voted := r.votes(); voted {
		doc.Iocpipe.Votes = &votes
	}
	if x.Bulk {
		dst = append(dst, `{"index":{"_id":"`+indicator.ID[0]+"\"}}\n"...)
	}
	return append(appendJSON(dst, doc), '\n'), ""
}

func ecsOf(r *record) (ecsIndicator, Reason) {
	value := r.Text()
	indicator := ecsIndicator{
		ID: []string{stableID(r)}, Name: firstOf(keywords([]string{value})), Provider: firstOf(keywords(r.sources())),
		Reference: firstOf(keywords(r.references())), Confidence: confidence[r.verdict],
		Description: r.description(maxKeyword), FirstSeen: moment(r.first()), LastSeen: moment(r.last()),
	}
	switch t := r.Type(); {
	case r.Net.IsValid():
		return indicator, Networks
	case r.Below:
		return indicator, NamesBelow
	case len(value) > maxTerm:
		return indicator, TooLong
	case r.URL != "":
		indicator.Type, indicator.URL = "url", &ecsURL{Full: value, Original: value}
		if t == extract.IP {
			indicator.IP = r.Key.Value
		}
	case t == extract.IP:
		indicator.Type, indicator.IP = "ipv6-addr", value
		if addr, err := netip.ParseAddr(value); err == nil && addr.Is4() {
			indicator.Type = "ipv4-addr"
		}
	case t == extract.Domain:
		indicator.Type, indicator.URL = "domain-name", &ecsURL{Domain: value}
	case t == extract.Email:
		indicator.Type, indicator.Email = "email-addr", &ecsEmail{value}
	case t.IsHash():
		indicator.Type, indicator.File = "file", &ecsFile{map[string]string{t.String(): value}}
	default:
		return indicator, Antivirus
	}
	return indicator, ""
}

// confidence is a verdict in the words of ECS. A list whose care nobody knows is never High.
var confidence = map[intel.Verdict]string{
	intel.Malicious: "Medium", intel.Related: "Low", intel.Undecided: "Low", intel.Benign: "None",
	intel.Unknown: "Not Specified", intel.NoVerdict: "Not Specified",
}

// stableID returns the same identifier for the same value in all exports.
func stableID(r *record) string {
	sum := sha256.Sum256([]byte(r.kind() + "\x00" + r.Text()))
	return hex.EncodeToString(sum[:])
}

// keywords returns those of list that a keyword field holds.
func keywords(list []string) (kept []string) {
	for _, s := range list {
		if len(s) <= maxKeyword {
			kept = append(kept, s)
		}
	}
	return kept
}
