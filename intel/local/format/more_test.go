package format

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"iocpipe/intel"
)

// What is wrong with a file as a whole.
func TestWholeFilesRefused(t *testing.T) {
	for _, tt := range []struct{ content, want string }{
		{"name,size\nfoo,1\n", "no column holds indicators (have: name, size)"},
		{"68fecd3b63b272e813f600f1a4885e0c,00000000-0000-4000-8000-000000000001\n", "hashes.csv of a MISP feed"},
		{`{"cidr":"1.10.16.0/20","sblid":"SBL1"}` + "\n" + `{"type":"metadata","records":2}`, "says it has 2 records, and has 1"},
		{`{"query_status":"no_results","urls":[],"urlhaus_reference":""}`, `query_status is "no_results"`},
		{`{"name":"x","size":1}`, "JSON of no format that is known (its members: name, size)"},
		{`[]`, "JSON of no format that is known"},
		{`{"Event":{"Attribute":[{"type":"domain","value":"a.b"}`, "Event.Attribute: JSON is cut off"},
		{`{"objects":[{"type":"indicator"} {"type":"indicator"}]}`, "objects[1]: not JSON"},
		{`{"list":["a.b"`, "JSON is cut off"},
		{"<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>", "a web page"},
		{"<?xml version=\"1.0\"?>\n<html xmlns=\"x\">", "a web page"},
		{"<ioc><definition>", "not XML"},
		{`{"Event":` + strings.Repeat("[", 1<<20), "nested too deeply"},
	} {
		r := read(tt.content, Options{})
		if r.err == nil || !strings.Contains(r.err.Error(), tt.want) {
			t.Errorf("%.60s: read as %q, %v, want %q", tt.content, r.kind, r.err, tt.want)
		}
	}
	if r := read(`{"query_status":"unknown_auth_key"}`, Options{Kind: ThreatFox}); r.err == nil ||
		!strings.Contains(r.err.Error(), "unknown_auth_key") {
		t.Errorf("an API without a key: %v", r.err)
	}
	if _, err := Read(strings.NewReader("a.b"), Options{Kind: "rss"}, nil, nil); err == nil || !strings.Contains(err.Error(), `"rss"`) {
		t.Errorf("unknown kind: %v", err)
	}
}

// What spreadsheets call their columns.
func TestColumnNames(t *testing.T) {
	for _, header := range []string{"IP Address", "ip-address", "Domain Name", "Email Address", "File Hash", "Indicator Value", " SHA256 Hash "} {
		value := map[bool]string{true: "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592", false: "a.test"}[strings.Contains(header, "Hash")]
		r := read("Comment,"+header+"\nseen twice,"+value+"\n", Options{})
		if r.err != nil || r.kind != CSV || r.subjects() != value {
			t.Errorf("%q: read as %q: %q, %v", header, r.kind, r.subjects(), r.err)
		}
	}
}

// One record that is too large or no JSON is refused, and those around it are taken.
func TestBadRecordsAmongGoodOnes(t *testing.T) {
	good := func(value string) string { return `{"type":"domain","to_ids":true,"value":"` + value + `"}` }
	huge := `{"type":"domain","comment":"` + strings.Repeat("x", maxRecord) + `","value":"huge.test"}`
	parts := `{"type":"domain","comment":[` + strings.Repeat("[],", maxParts) + `1],"value":"parts.test"}`
	deep := `{"type":"domain","comment":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `,"value":"deep.test"}`
	for name, bad := range map[string]string{"too large": huge, "too many parts": parts, "not JSON": deep, "not  JSON": `{"type":domain}`} {
		r := read(`{"Event":{"Attribute":[`+good("a.test")+","+bad+","+good("b.test")+`]}}`, Options{})
		if r.err != nil || r.subjects() != "a.test\nb.test" || len(r.refused) != 1 {
			t.Errorf("%s: %v, refused %v, took %q", name, r.err, r.refused, r.subjects())
			continue
		}
		if got := r.refused[0].String(); !strings.HasPrefix(got, "Event.Attribute[1]: ") ||
			!strings.Contains(got, strings.ReplaceAll(name, "  ", " ")) {
			t.Errorf("%s: refused as %s", name, got)
		}
	}
}

func TestCSVQuotes(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"a field of several lines", "value,note\n\"a.test\",\"one\ntwo \"\"three\"\"\n\"\nb.test,x\n", "a.test\nb.test"},
		{"a quote that is never closed", "value,note\na.test,\"open\nb.test,x\nc.test,y", "b.test\nc.test"},
		{"two of them", "value,note\na.test,\"open\nb.test,x\nc.test,\"y\nd.test,z", "b.test\nd.test"},
		{"two on each of its lines", "value,note\na.test,\"\"open\"\nb.test,\"x\"\nc.test,y", "a.test\nb.test\nc.test"},
		{"blanks around quotes", "value, note\n \"a.test\" , \"x\" \n", "a.test"},
		{"a semicolon in a field", "value,note\na.test,x;y;z\n", "a.test"},
		{"columns of another order and case", "Note,DOMAIN\nx,a.test\n", "a.test"},
	} {
		if r := read(tt.content, Options{}); r.kind != CSV || r.err != nil || r.subjects() != tt.want {
			t.Errorf("%s: as %s, %v, refused %v, took %q, want %q", tt.name, r.kind, r.err, r.refused, r.subjects(), tt.want)
		}
	}
}

func TestColumnsGivenByTheUser(t *testing.T) {
	r := read("x;bad.test;c2\ny;good.test\n", Options{Columns: []string{"id", "domain", "tags"}})
	if r.kind != CSV || r.err != nil || r.subjects() != "bad.test" || len(r.refused) != 1 {
		t.Errorf("as %s, %v, refused %v, took %q", r.kind, r.err, r.refused, r.subjects())
	}
	if r := read("x", Options{Columns: []string{"id"}}); r.err == nil || !strings.Contains(r.err.Error(), "(have: id)") {
		t.Errorf("no column of values: %v", r.err)
	}
}

// Lists whose comments, or first lines, look like something else.
func TestTell(t *testing.T) {
	for _, tt := range []struct {
		content string
		want    Kind
	}{
		{"", Plain}, {"\n\n", Plain}, {"# ip, domain and url lists\n203.0.113.7\n", Plain}, {"# domain\nbad.test\n", Plain},
		{"203.0.113.7,203.0.113.8\n", Plain}, {"bad.test\nworse.test\n", Plain}, {"[2001:db8::7]:80\n", Plain},
		{"203.0.113.7 # a, b\n203.0.113.8 # a, b\n", Plain}, {"::1 localhost\n0.0.0.0 bad.test\n", Hosts},
		{"domain\nbad.test\n", CSV}, {"name,size\nfoo,1\n", CSV}, {"# ip,port\n203.0.113.7,80\n", CSV},
		{"203.0.113.7\t3\n203.0.113.8\t1\n", IPsum}, {"# IPsum Threat Intelligence Feed\n203.0.113.7\t3\n", IPsum},
		{"1.10.16.0/20 ; SBL1\n", SpamhausDROP}, {"1.10.16.0/20 ; seen\n", Plain},
		{`{"value":"bad.test","response_code":"1"}`, Reports}, {"\ufeff {\"objects\":[]}", STIX},
		{`{"5b2e2d5e-6f0c-4b8f-9d2e-0a1b2c3d4e5f":1714550400}`, MISPFeed},
		{`[{"Event":{"info":"x"}}]`, MISP}, {`{"info":"x","Orgc":{},"Attribute":[]}`, MISP},
		{`[{"type":"indicator","spec_version":"2.1","pattern":"x"}]`, STIX},
		{`{"description":"x","list":[],"name":"y","type":"string"}`, Warninglist},
	} {
		r := read(tt.content, Options{})
		if r.kind != tt.want {
			t.Errorf("%q is told as %q (%v), want %q", tt.content, r.kind, r.err, tt.want)
		}
	}
}

func TestLargePulsesAccuseNobody(t *testing.T) {
	for n, want := range map[int]intel.Verdict{maxTelling: intel.Malicious, maxTelling + 1: intel.Undecided} {
		var b strings.Builder
		b.WriteString(`{"name":"dump","indicators":[`)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"indicator":"h%d.test","type":"hostname"}`, i)
		}
		b.WriteString("]}")
		r := read(b.String(), Options{})
		if len(r.entries) != n || r.entries[0].Report.Verdict() != want || r.entries[0].Statement != r.entries[n-1].Statement {
			t.Errorf("%d indicators: %d entries, %v", n, len(r.entries), r.err)
		}
	}
}

// Only the first values of a block of trails are named as related; the others share what is said of it.
func TestLargeBlocksOfTrails(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Reference: https://example.org/a (# 2019-11-04)\n\n")
	for i := range 3 * maxBlock {
		fmt.Fprintf(&b, "h%d.test\n", i)
	}
	b.WriteString("# Referecne: https://example.org/b\nlast.test\nother.test\n# Generic\nalone.test\nalone2.test\n")
	r := read(b.String(), Options{Source: "cobaltstrike-1"})
	if len(r.entries) != 3*maxBlock+4 || r.kind != Maltrail {
		t.Fatalf("%s: %d entries, %v, %v", r.kind, len(r.entries), r.err, r.refused)
	}
	first, last := r.entries[0].Statement, r.entries[3*maxBlock].Statement
	if r.entries[3*maxBlock-1].Statement != first || len(first.Report.Domains) != maxBlock {
		t.Errorf("the first block: %d domains", len(first.Report.Domains))
	}
	if !slices.Equal(last.Report.Domains, []string{"last.test", "other.test"}) ||
		!slices.Equal(last.Report.References, []string{"https://example.org/b"}) ||
		!slices.Equal(last.Report.Tags, []string{"cobaltstrike"}) {
		t.Errorf("the second block: %+v", last.Report)
	}
	if generic := r.entries[3*maxBlock+2].Report; generic.Domains != nil || generic.References != nil {
		t.Errorf("a block without a reference: %+v", generic)
	}
}

func TestAllowRed(t *testing.T) {
	for _, name := range []string{"misp-search.json", "misp-hand.json", "otx-subscribed.json", "stix21.json", "stix20.json"} {
		content := sample(t, name)
		without, with := read(content, Options{}), read(content, Options{AllowRed: true})
		if len(with.entries) != len(without.entries)+1 || len(with.refused) != len(without.refused)-1 {
			t.Errorf("%s: %d taken with TLP:RED, %d without", name, len(with.entries), len(without.entries))
		}
	}
}

func TestFilesOfMISPFeeds(t *testing.T) {
	there, missing := "5b2e2d5e-6f0c-4b8f-9d2e-0a1b2c3d4e5f", "5b2e2d5e-6f0c-4b8f-9d2e-0a1b2c3d4e60"
	root := tree(t, map[string]string{
		"feed/manifest.json": `{"` + there + `":{"info":"a","timestamp":"1"},"` + missing + `":{"info":"b","timestamp":"1"}}`,
		"feed/hashes.csv":    "68fecd3b63b272e813f600f1a4885e0c," + there, "feed/" + there + ".json": "{}",
		"other/manifest.json": `{"name":"x"}`, "other/hashes.csv": "sha256\n",
	})
	files, errs := filesOf(root)
	if want := []string{"feed/" + there + ".json", "other/hashes.csv", "other/manifest.json"}; !slices.Equal(files, want) {
		t.Errorf("got %v, want %v", files, want)
	}
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), missing) {
		t.Errorf("%v, want one error about %s", errs, missing)
	}
}

// TestFeeds reads all files below the folder that IOCPIPE_FEEDS names, such as MISP's warninglists: each is told, and
// most of what it lists is taken.
func TestFeeds(t *testing.T) {
	root := os.Getenv("IOCPIPE_FEEDS")
	if root == "" {
		t.Skip("IOCPIPE_FEEDS names no folder of feeds")
	}
	for path, err := range Files(root) {
		if err != nil {
			t.Error(err)
			continue
		}
		in, err := Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		taken, faults := 0, 0
		kind, err := Read(in, Options{Source: SourceName(path), Now: now},
			func(e intel.Entry) error { taken++; check(t, e); return nil },
			func(r Refused) {
				if r.Fault() {
					faults++
				}
			})
		in.Close()
		if err != nil || faults > taken {
			t.Errorf("%s: read as %q, %v, %d taken, %d bad", path, kind, err, taken, faults)
		}
		t.Logf("%s: %s, %d taken, %d bad", path, kind, taken, faults)
	}
}
