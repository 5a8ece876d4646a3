package format

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iocpipe/intel"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// samples are the files of testdata/samples and the formats they are in.
var samples = map[string]Kind{
	"plain.txt": Plain, "reports.ndjson": Reports, "generic.csv": CSV, "semicolon.csv": CSV, "tabs.tsv": CSV,
	"urlhaus.csv": URLhaus, "urlhaus-8columns.csv": URLhaus, "urlhaus.json": URLhaus, "urlhaus-api.json": URLhaus, "urlhaus.ndjson": URLhaus,
	"threatfox.csv": ThreatFox, "threatfox.json": ThreatFox, "threatfox-api.json": ThreatFox,
	"feodo.csv": Feodo, "feodo.json": Feodo,
	"malwarebazaar.csv": MalwareBazaar, "malwarebazaar-api.json": MalwareBazaar,
	"drop.txt": SpamhausDROP, "drop.json": SpamhausDROP, "asndrop.json": SpamhausDROP, "hosts.txt": Hosts,
	"misp-hand.json": MISP, "misp-search.json": MISP, "misp-pymisp.json": MISP, "misp-pymisp-feed.json": MISP,
	"manifest.json": MISPFeed, "warninglist-cidr-v6.json": Warninglist, "warninglist-rfc1918.json": Warninglist,
	"warninglist-hostname.json": Warninglist, "warninglist-regex.json": Warninglist,
	"warninglist-substring.json": Warninglist, "warninglist-empty-hashes.json": Warninglist,
	"stix20.json": STIX, "stix21.json": STIX, "stix-misp.json": STIX,
	"otx-subscribed.json": OTX, "otx-export.json": OTX, "otx-pulse.json": OTX,
	"maltrail-agenttesla.txt": Maltrail, "maltrail-mixed.txt": Maltrail, "ipsum.txt": IPsum,
	"openioc-hand.ioc": OpenIOC, "openioc-writer.ioc": OpenIOC, "openioc-writer10.ioc": OpenIOC,
}

func sample(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "samples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// golden is all that came of a list, as text.
func golden(r result) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s, %d taken, %d refused\n", r.kind, len(r.entries), len(r.refused))
	if r.err != nil {
		fmt.Fprintf(&b, "error: %v\n", r.err)
	}
	for _, e := range r.entries {
		statement := intel.AppendStatement(nil, e.Statement)
		fmt.Fprintf(&b, "+ %s\n  %s\n", told(e.Subject), statement)
	}
	for _, refused := range r.refused {
		mark := "!"
		if !refused.Fault() {
			mark = "-"
		}
		fmt.Fprintf(&b, "%s %v\n", mark, refused)
	}
	return b.Bytes()
}

func TestSamples(t *testing.T) {
	files, err := os.ReadDir(filepath.Join("testdata", "samples"))
	if err != nil || len(files) != len(samples) {
		t.Errorf("%v: %d files, and %d are told", err, len(files), len(samples))
	}
	for name, kind := range samples {
		r := read(sample(t, name), Options{Source: SourceName(name)})
		if r.kind != kind || r.err != nil {
			t.Errorf("%s is read as %q, %v, want %q", name, r.kind, r.err, kind)
		}
		for _, e := range r.entries {
			check(t, e)
			if _, err := intel.ParseStatement(intel.AppendStatement(nil, e.Statement)); err != nil {
				t.Errorf("%s: %s: the statement is not read back: %v", name, told(e.Subject), err)
			}
		}
		path := filepath.Join("testdata", "golden", name)
		got := golden(r)
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v: got\n%s\nwant\n%s", name, err, got, want)
		}
	}
}

// What the bytes around it are does not change what a list says.
func TestBrokenSamples(t *testing.T) {
	for name, kind := range samples {
		content := sample(t, name)
		opt := Options{Source: SourceName(name)}
		want := string(golden(read(content, opt)))
		for variant, changed := range map[string]string{
			"with a byte order mark": "\ufeff" + content,
			"with CRLF":              strings.ReplaceAll(strings.ReplaceAll(content, "\r\n", "\n"), "\n", "\r\n"),
			"behind blank lines":     "\n\n" + content,
			"without a last newline": strings.TrimRight(content, "\r\n"),
		} {
			r := read(changed, opt)
			if got := string(golden(r)); r.kind != kind || variant != "behind blank lines" && got != want {
				t.Errorf("%s %s is read as %q: got\n%s\nwant\n%s", name, variant, r.kind, got, want)
			}
		}
		all := read(content, opt)
		for cut := range 20 { // at any place: no panic, and no more than what stands before
			r := read(content[:len(content)*cut/20], Options{Source: SourceName(name), Kind: kind})
			if len(r.entries) > len(all.entries)+1 {
				t.Errorf("%s: %d entries when cut at %d/20, %d in all", name, len(r.entries), cut, len(all.entries))
			}
			for _, e := range r.entries {
				check(t, e)
			}
		}
	}
}

// Any format may be given in the place of any other: errors and refusals, no panic.
func TestMistakenFormats(t *testing.T) {
	broken := []string{
		"", "\x00", "\x00\x00\x00\n\x00", "{", "[", "[[[[", "{}", "[]", "null", `""`, "<", "<a><b>", "\"", "a,b\n\"c", ",,,\n,,,",
		`{"objects":{"a":1}}`, `{"Event":[[{"Attribute":[1,null,"x",{}]}]]}`, `{"a":[1e999999,{"b":-0}]}`,
		strings.Repeat("[", 200_000), strings.Repeat(`{"a":`, 100_000), `{"objects":[` + strings.Repeat("[", 100_000),
		`{"list":` + strings.Repeat("9", 100_000) + `}`, `{"list":["` + strings.Repeat("x", 100_000) + `"]}`,
		`{"Event":` + strings.Repeat(`{"Event":`, 10) + `{}`,
	}
	for _, kind := range Kinds() {
		for _, content := range broken {
			for _, e := range read(content, Options{Kind: kind}).entries {
				check(t, e)
			}
		}
		for name := range samples {
			for _, e := range read(sample(t, name), Options{Kind: kind}).entries {
				check(t, e)
			}
		}
	}
	for _, content := range broken {
		read(content, Options{})
	}
}
