package annotate

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iocpipe/extract"
	"iocpipe/intel"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// noon is when the tests annotate.
var noon = time.Date(2026, 3, 4, 9, 15, 25, 310e6, time.UTC)

// atNoon returns an Annotator whose clock stands.
func atNoon() *Annotator { return at(noon) }

func at(now time.Time) *Annotator {
	a := New()
	a.Now = func() time.Time { return now }
	return a
}

func day(month time.Month, day int) time.Time {
	return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC)
}

func key(t extract.Type, value string) extract.Key { return extract.Key{Type: t, Value: value} }

// known is what the tests know, by the spelling in lines.
var known = map[string]Hit{
	"203.0.113.7": {
		extract.Match{Key: key(extract.IP, "203.0.113.7")},
		intel.Finding{Verdict: intel.Malicious, Origin: intel.FromThreatCrowd, Source: "ThreatCrowd", Report: &intel.Report{
			Known: true, Voted: true, Votes: -1,
			Resolutions: []intel.Resolution{
				{Value: "old.badexample.test"},
				{Value: "mail.badexample.test", Last: day(1, 5)},
				{Value: "cdn.badexample.test", Last: day(2, 27)},
			},
			Hashes:    []string{"9e107d9d372bb6826bd81d3542a419d6", "e4d909c290d0fb1ca068ffaddf22cbd0"},
			Permalink: "https://www.threatcrowd.org/ip.php?ip=203.0.113.7",
		}},
	},
	"cdn.badexample.test": {
		extract.Match{Key: key(extract.Domain, "cdn.badexample.test")},
		intel.Finding{Verdict: intel.Undecided, Origin: intel.FromThreatCrowd, Source: "ThreatCrowd", Report: &intel.Report{
			Known: true, Voted: true,
			Resolutions: []intel.Resolution{{Value: "198.51.100.24", Last: day(1, 2)}, {Value: "203.0.113.7", Last: day(2, 27)}},
			Permalink:   "https://www.threatcrowd.org/domain.php?domain=cdn.badexample.test",
		}},
	},
	"evil[.]example": {
		extract.Match{Key: key(extract.Domain, "evil.example")},
		intel.Finding{Verdict: intel.Malicious, Origin: intel.FromLocal, Source: "feodo", Report: &intel.Report{
			Known: true, Voted: true, Votes: -1,
		}},
	},
	"198.51.100.24": {
		extract.Match{Key: key(extract.IP, "198.51.100.24")},
		intel.Finding{
			Verdict: intel.Related, Origin: intel.FromOTX, Source: "OTX",
			Via: key(extract.Domain, "evil.example"), Relation: intel.ByResolution, Seen: day(2, 27),
			Report: &intel.Report{
				Known: true, Voted: true, Votes: -1, Emails: []string{"owner@evil.example"},
				Resolutions: []intel.Resolution{{Value: "198.51.100.24", Last: day(2, 27)}, {Value: "198.51.100.25"}},
				Permalink:   "https://otx.example/evil.example",
			},
		},
	},
	"joe@good.example": {
		extract.Match{Key: key(extract.Email, "joe@good.example")},
		intel.Finding{Verdict: intel.Unknown, Origin: intel.FromThreatCrowd, Source: "ThreatCrowd", Report: &intel.Report{
			Known: true, Domains: []string{"good.example"},
		}},
	},
	"good.example": {
		extract.Match{Key: key(extract.Domain, "good.example")},
		intel.Finding{Verdict: intel.Benign, Origin: intel.FromOTX, Source: "OTX", Report: &intel.Report{
			Known: true, Voted: true, Votes: 1, Subdomains: []string{"www.good.example"},
		}},
	},
	"9E107D9D372BB6826BD81D3542A419D6": {
		extract.Match{Key: key(extract.MD5, "9e107d9d372bb6826bd81d3542a419d6")},
		intel.Finding{Verdict: intel.Malicious, Origin: intel.FromOTX, Source: "OTX", Stale: true, Report: &intel.Report{
			Known: true, Voted: true, Votes: -1, MD5: "9e107d9d372bb6826bd81d3542a419d6",
			SHA1: "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12", IPs: []string{"203.0.113.9"},
		}},
	},
	"2001:db8::7": {
		extract.Match{Key: key(extract.IP, "2001:db8::7")},
		intel.Finding{Verdict: intel.Malicious, Origin: intel.FromLocal, Source: "feodo", Report: &intel.Report{Known: true}},
	},
	"Trojan.Agent": {
		extract.Match{Key: key(extract.Antivirus, "trojan.agent")},
		intel.Finding{Verdict: intel.Unknown, Origin: intel.FromThreatCrowd, Source: "ThreatCrowd", Report: &intel.Report{
			Known: true, Hashes: []string{"9e107d9d372bb6826bd81d3542a419d6"},
		}},
	},
}

// find returns what is known in line, by offset. In an event, it looks into the strings outside the annotation.
func find(line []byte) (hits []Hit) {
	fields := stringsOf(line)
	for spelling, hit := range known {
		for from := 0; ; {
			n := bytes.Index(line[from:], []byte(spelling))
			if n < 0 {
				break
			}
			hit.Start, hit.End = from+n, from+n+len(spelling)
			from = hit.End
			if fields == nil {
				hits = append(hits, hit)
			}
			for _, f := range fields {
				if f.start <= hit.Start && hit.End <= f.end {
					hit.Field = f.path
					hits = append(hits, hit)
				}
			}
		}
	}
	slices.SortFunc(hits, func(x, y Hit) int { return 1000*(x.Start-y.Start) + y.End - x.End })
	return hits
}

type stringAt struct {
	span
	path string
}

// stringsOf returns the string values of an event, or nil when line is text.
func stringsOf(line []byte) (found []stringAt) {
	start := objectStart(line)
	if start < 0 {
		return nil
	}
	var walk func(dec *json.Decoder, path string) bool
	dec := json.NewDecoder(bytes.NewReader(line[start:]))
	walk = func(dec *json.Decoder, path string) bool {
		from := start + int(dec.InputOffset())
		token, err := dec.Token()
		if err != nil {
			return false
		}
		switch token {
		case json.Delim('{'):
			for dec.More() {
				name, err := dec.Token()
				if err != nil {
					return false
				}
				if !walk(dec, strings.TrimPrefix(path+"."+name.(string), ".")) {
					return false
				}
			}
			dec.Token()
		case json.Delim('['):
			for dec.More() {
				if !walk(dec, path) {
					return false
				}
			}
			dec.Token()
		default:
			family, _, _ := strings.Cut(path, ".")
			if _, ok := token.(string); ok && !slices.Contains(familyNames[:], family) {
				found = append(found, stringAt{span{from, start + int(dec.InputOffset())}, path})
			}
		}
		return true
	}
	if !walk(dec, "") {
		return nil
	}
	return append(found, stringAt{span{len(line) + 1, 0}, "none"}) // so that an event is never taken for text
}

// golden compares got with a file of testdata, or rewrites that.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// linesOf returns the lines of a file of testdata.
func linesOf(t testing.TB, name string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// annotated returns event as a annotates it, and fails the test unless that is JSON and proves to be event.
func annotated(t testing.TB, a *Annotator, event []byte) []byte {
	t.Helper()
	out, ok := a.AppendJSON(nil, event, find(event))
	if !ok {
		t.Fatalf("no event: %s", event)
	}
	if start := objectStart(out); !json.Valid(out[start:]) {
		t.Fatalf("no JSON: %s", out)
	}
	if err := VerifyLine(event, out); err != nil {
		t.Fatalf("%v\n in: %s\nout: %s", err, event, out)
	}
	return out
}
