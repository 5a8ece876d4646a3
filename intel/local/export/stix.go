package export

import (
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"iocpipe/extract"
	"iocpipe/intel"
)

// idSpace is the name space of the identifiers that exports make up (UUID version 5), so that a value has the same in
// all of them. That of the STIX specification is for observables alone.
var idSpace = uuid.MustParse("4e8a23e4-44f2-49ff-8eee-572541382c5c")

// idOf returns the identifier of what name names within the exports of one kind.
func idOf(kind, name string) string {
	return uuid.NewSHA1(idSpace, []byte(kind+"\x00"+name)).String()
}

// stix writes a bundle of STIX 2.1 (https://docs.oasis-open.org/cti/stix/v2.1/): an indicator for each value.
type stix struct {
	now     time.Time
	objects int
}

func newSTIX(opt Options) encoder { return &stix{now: opt.Now} }

var stixAuthor = "identity--" + idOf("stix identity", "iocpipe")

// stixEpoch is when what has no date was created: that may not change from export to export.
var stixEpoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

type stixIdentity struct {
	Type          string `json:"type"`
	SpecVersion   string `json:"spec_version"`
	ID            string `json:"id"`
	Created       string `json:"created"`
	Modified      string `json:"modified"`
	Name          string `json:"name"`
	IdentityClass string `json:"identity_class"`
}

type stixIndicator struct {
	Type           string          `json:"type"`
	SpecVersion    string          `json:"spec_version"`
	ID             string          `json:"id"`
	CreatedBy      string          `json:"created_by_ref"`
	Created        string          `json:"created"`
	Modified       string          `json:"modified"`
	Name           string          `json:"name"`
	Description    string          `json:"description"`
	IndicatorTypes []string        `json:"indicator_types"`
	Pattern        string          `json:"pattern"`
	PatternType    string          `json:"pattern_type"`
	ValidFrom      string          `json:"valid_from"`
	ValidUntil     string          `json:"valid_until,omitempty"`
	Labels         []string        `json:"labels,omitempty"`
	Confidence     *int            `json:"confidence,omitempty"`
	References     []stixReference `json:"external_references,omitempty"`
}

type stixReference struct {
	SourceName  string `json:"source_name"`
	URL         string `json:"url,omitempty"`
	Description string `json:"description,omitempty"`
}

func (x *stix) open(dst []byte) []byte {
	dst = append(dst, `{"type":"bundle","id":"bundle--`+idOf("stix bundle", moment(x.now))+`","objects":[`...)
	return appendJSON(separated(dst, &x.objects),
		stixIdentity{"identity", "2.1", stixAuthor, stixTime(stixEpoch), stixTime(stixEpoch), "iocpipe", "system"})
}

func (x *stix) close(dst []byte) []byte { return append(dst, "\n]}\n"...) }

func (x *stix) record(dst []byte, r *record) ([]byte, Reason) {
	pattern, why := stixPattern(r)
	if why != "" {
		return dst, why
	}
	created, from := stixEpoch, x.now
	if known := r.known(); !known.IsZero() && !known.After(x.now) {
		created, from = known, known
	}
	indicator := stixIndicator{
		Type: "indicator", SpecVersion: "2.1", ID: "indicator--" + idOf(r.kind(), r.Text()), CreatedBy: stixAuthor,
		Created: stixTime(created), Modified: stixTime(x.now), Name: r.Text(),
		Description: r.description(4 * maxKeyword), IndicatorTypes: []string{stixTypes[r.verdict]},
		Pattern: pattern, PatternType: "stix", ValidFrom: stixTime(from), Labels: r.tags(), References: stixReferences(r),
	}
	if until := r.expires(); !until.IsZero() {
		indicator.ValidUntil = stixTime(until)
	}
	if c, ok := stixConfidence[r.verdict]; ok {
		indicator.Confidence = &c
	}
	return appendJSON(separated(dst, &x.objects), indicator), ""
}

func stixTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

var stixTypes = map[intel.Verdict]string{
	intel.Malicious: "malicious-activity", intel.Related: "anomalous-activity", intel.Undecided: "anomalous-activity",
	intel.Benign: "benign", intel.Unknown: "unknown", intel.NoVerdict: "unknown",
}

var stixConfidence = map[intel.Verdict]int{
	intel.Malicious: 50, intel.Related: 15, intel.Undecided: 15, intel.Benign: 0,
}

// stixReferences names the pages about r; what is no URL stands as text.
func stixReferences(r *record) (references []stixReference) {
	name := firstOf(r.sources())
	if name == "" {
		name = "iocpipe"
	}
	for _, reference := range r.references() {
		if strings.HasPrefix(reference, "http://") || strings.HasPrefix(reference, "https://") {
			references = append(references, stixReference{SourceName: name, URL: reference})
		} else {
			references = append(references, stixReference{SourceName: name, Description: reference})
		}
	}
	return references
}

// stixPattern returns the pattern that finds r.
func stixPattern(r *record) (string, Reason) {
	network, isNetwork := r.network()
	switch t := r.Type(); {
	case r.URL != "":
		return stixComparison("url:value", "=", r.URL), ""
	case isNetwork && r.Net.IsValid():
		return stixComparison(stixAddress(network.Addr()), "ISSUBSET", network.String()), ""
	case isNetwork:
		return stixComparison(stixAddress(network.Addr()), "=", network.Addr().String()), ""
	case r.Below:
		return stixComparison("domain-name:value", "LIKE", "%"+strings.TrimPrefix(r.Text(), "*")), ""
	case t == extract.Domain:
		return stixComparison("domain-name:value", "=", r.Text()), ""
	case t == extract.Email:
		return stixComparison("email-addr:value", "=", r.Text()), ""
	case t.IsHash():
		return stixComparison("file:hashes."+stixHashes[t], "=", r.Text()), ""
	}
	return "", Antivirus
}

var stixHashes = map[extract.Type]string{
	extract.MD5: "MD5", extract.SHA1: "'SHA-1'", extract.SHA256: "'SHA-256'", extract.SHA512: "'SHA-512'",
}

func stixAddress(addr netip.Addr) string {
	if addr.Is4() {
		return "ipv4-addr:value"
	}
	return "ipv6-addr:value"
}

var stixEscapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func stixComparison(path, operator, value string) string {
	return "[" + path + " " + operator + " '" + stixEscapes.Replace(value) + "']"
}
