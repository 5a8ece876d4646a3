package export

import (
	"crypto/md5"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// misp writes one event in the format of MISP (https://www.misp-project.org/datamodels/): an attribute for each value,
// with to_ids for what is malicious.
type misp struct {
	now        time.Time
	attributes int
}

func newMISP(opt Options) encoder { return &misp{now: opt.Now} }

var (
	mispEvent        = idOf("misp event", "iocpipe")
	mispOrganisation = mispOrg{"iocpipe", idOf("misp organisation", "iocpipe")}
)

const mispInfo = "iocpipe: the indicators of a local store"

type mispOrg struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
}

type mispTag struct {
	Name string `json:"name"`
}

type mispAttribute struct {
	UUID         string    `json:"uuid"`
	Type         string    `json:"type"`
	Category     string    `json:"category"`
	Value        string    `json:"value"`
	ToIDs        bool      `json:"to_ids"`
	Timestamp    string    `json:"timestamp"`
	Distribution string    `json:"distribution"` // 5: that of the event
	Comment      string    `json:"comment,omitempty"`
	FirstSeen    string    `json:"first_seen,omitempty"`
	LastSeen     string    `json:"last_seen,omitempty"`
	Tags         []mispTag `json:"Tag,omitempty"`
}

// open writes the event: only for one's own organisation (distribution 0), its threat undefined (4), its analysis
// complete (2).
func (m *misp) open(dst []byte) []byte {
	dst = append(dst, `{"Event":{"uuid":"`+mispEvent+`","info":"`+mispInfo+`","date":"`+m.now.UTC().Format(time.DateOnly)+
		`","timestamp":"`+unix(m.now)+`","publish_timestamp":"`+unix(m.now)+`","published":true,"analysis":"2",`+
		`"threat_level_id":"4","distribution":"0","Orgc":`...)
	return append(appendJSON(dst, mispOrganisation), `,"Attribute":[`...)
}

func (m *misp) close(dst []byte) []byte { return append(dst, "\n]}}\n"...) }

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func (m *misp) record(dst []byte, r *record) ([]byte, Reason) {
	typ, category, why := mispType(r)
	if why != "" {
		return dst, why
	}
	stamp := r.newest()
	if stamp.IsZero() || stamp.After(m.now) {
		stamp = m.now
	}
	attribute := mispAttribute{
		UUID: idOf(r.kind(), r.Text()), Type: typ, Category: category, Value: r.Text(),
		ToIDs: r.verdict == intel.Malicious, Timestamp: unix(stamp), Distribution: "5", Comment: mispComment(r),
		FirstSeen: moment(r.first()), LastSeen: moment(r.last()),
	}
	for _, tag := range r.tags() {
		attribute.Tags = append(attribute.Tags, mispTag{tag})
	}
	if r.verdict == intel.Benign {
		attribute.Tags = append(attribute.Tags, mispTag{`false-positive:risk="high"`})
	}
	return appendJSON(separated(dst, &m.attributes), attribute), ""
}

// mispComment holds what an attribute has no field for: sources, notes and references.
func mispComment(r *record) string {
	var parts []string
	if sources := r.sources(); len(sources) > 0 {
		parts = append(parts, "source: "+strings.Join(sources, ", "))
	}
	parts = append(append(parts, r.notes()...), r.references()...)
	return cut(strings.Join(parts, "\n"), 60_000) // the column is of 64 KiB
}

// mispType returns the type and category of r's attribute.
func mispType(r *record) (typ, category string, why Reason) {
	const network, payload = "Network activity", "Payload delivery"
	switch t := r.Type(); {
	case r.Below:
		return "", "", NamesBelow
	case r.URL != "":
		return "url", network, ""
	case t == extract.IP:
		return "ip-dst", network, ""
	case t == extract.Domain:
		return "domain", network, ""
	case t == extract.Email:
		return "email-src", payload, ""
	case t.IsHash():
		return t.String(), payload, ""
	}
	return "", "", Antivirus
}

// mispFeed makes the files of a MISP feed: the event, the manifest that lists it, and the MD5 of each value, by which
// MISP knows without the event whether a value is in the feed.
func mispFeed(opt Options) []file {
	return []file{
		{mispEvent + ".json", newMISP(opt)},
		{"hashes.csv", mispHashes{}},
		{"manifest.json", mispManifest{now: opt.Now}},
	}
}

type mispHashes struct{ plain }

func (mispHashes) record(dst []byte, r *record) ([]byte, Reason) {
	if _, _, why := mispType(r); why != "" {
		return dst, why
	}
	sum := md5.Sum([]byte(r.Text()))
	return append(hex.AppendEncode(dst, sum[:]), ","+mispEvent+"\n"...), ""
}

type mispManifest struct {
	plain
	now time.Time
}

func (mispManifest) record(dst []byte, _ *record) ([]byte, Reason) { return dst, elsewhere }

func (m mispManifest) close(dst []byte) []byte {
	dst = appendJSON(dst, map[string]any{mispEvent: map[string]any{
		"info": mispInfo, "date": m.now.UTC().Format(time.DateOnly), "timestamp": unix(m.now), "analysis": "2",
		"threat_level_id": "4", "Orgc": mispOrganisation, "Tag": []mispTag{},
	}})
	return append(dst, '\n')
}
