package export

import (
	"bytes"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"iter"
	"net/netip"
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

var now = time.Date(2026, 3, 1, 12, 30, 5, 0, time.UTC)

var everyVerdict = []intel.Verdict{intel.Malicious, intel.Related, intel.Undecided, intel.Unknown, intel.Benign}

func ofType(t extract.Type, value string) intel.Subject {
	return intel.Subject{Key: extract.Key{Type: t, Value: value}}
}

func entry(s intel.Subject, said *intel.Statement) intel.Entry {
	return intel.Entry{Subject: s, Statement: said}
}

func withURL(t extract.Type, host, url string) intel.Subject {
	return intel.Subject{Key: extract.Key{Type: t, Value: host}, URL: url}
}

func network(cidr string) intel.Subject { return intel.Subject{Net: netip.MustParsePrefix(cidr)} }

func voted(source string, votes int8) *intel.Statement {
	return &intel.Statement{Source: source, Report: intel.Report{Known: true, Voted: true, Votes: votes}}
}

// known is a small store: every kind of subject and verdict, sources that disagree, and text that would end a cell, a
// string or a line.
func known() []intel.Entry {
	feodo := voted("feodo", -1)
	feodo.Expires = now.AddDate(0, 1, 0)
	feodo.Report.First, feodo.Report.Last = now.AddDate(0, -2, 0), now.AddDate(0, 0, -1)
	feodo.Report.Tags, feodo.Report.Permalink = []string{"Emotet", "c2, \"epoch 4\""}, "https://feed.test/1?a=b&c=d"

	urlhaus := voted("urlhaus", -1)
	urlhaus.Report.References = []string{"https://reports.test/x", "a report on paper"}

	byHand := voted("by hand", -1)
	byHand.By, byHand.Added, byHand.Note = "ann", now.AddDate(0, 0, -3), "=cmd|' /C calc'!A0,\"CASE-42\"\nline 2 ${HOST} $$ \\"

	sample := voted("+samples", -1)
	sample.Report.MD5, sample.Report.Domains = strings.Repeat("a", 32), []string{"evil.test"}

	past := voted("feodo", -1)
	past.Expires = now

	noVotes := &intel.Statement{Source: "crowd", Report: intel.Report{Known: true}}

	named := ofType(extract.Domain, "named.test")
	named.Via, named.Relation = extract.Key{Value: "Campaign 7"}, intel.ByReference

	below := ofType(extract.Domain, "below.test")
	below.Below = true

	return []intel.Entry{
		entry(ofType(extract.IP, "203.0.113.7"), feodo),
		entry(ofType(extract.IP, "203.0.113.7"), urlhaus),
		entry(withURL(extract.IP, "203.0.113.7", "http://203.0.113.7:8080/i"), urlhaus),
		entry(withURL(extract.IP, "203.0.113.8", "http://203.0.113.8/a'b\\c?d=%27&e=\"f\"#g;h"), urlhaus),
		entry(ofType(extract.IP, "203.0.113.9"), past),
		entry(ofType(extract.IP, "2001:db8::7"), urlhaus),
		entry(network("198.51.100.0/22"), urlhaus),
		entry(network("2001:db8:1::/48"), urlhaus),
		entry(ofType(extract.Domain, "evil.test"), byHand),
		entry(ofType(extract.Domain, "evil.test"), voted("warninglist", 1)),
		entry(below, urlhaus),
		entry(withURL(extract.Domain, "host.test", "https://host.test/a,b $c"), feodo),
		entry(named, voted("misp", 0)),
		entry(ofType(extract.Domain, "good.test"), voted("warninglist", 1)),
		entry(ofType(extract.Domain, "tied.test"), voted("crowd", 0)),
		entry(ofType(extract.Domain, "seen.test"), noVotes),
		entry(ofType(extract.Email, "=cmd@evil.test"), urlhaus),
		entry(ofType(extract.MD5, strings.Repeat("a", 32)), sample),
		entry(ofType(extract.SHA1, strings.Repeat("b", 40)), sample),
		entry(ofType(extract.SHA256, strings.Repeat("c", 64)), sample),
		entry(ofType(extract.SHA512, strings.Repeat("d", 128)), sample),
		entry(ofType(extract.Antivirus, "trojan:win32/\"x\""), urlhaus),
		entry(ofType(extract.Antivirus, "two\nlines"), urlhaus),
	}
}

func each(entries []intel.Entry) iter.Seq2[intel.Entry, error] {
	return func(yield func(intel.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func export(t testing.TB, format Format, entries []intel.Entry, opt Options) (string, Result) {
	t.Helper()
	if opt.Now.IsZero() {
		opt.Now = now
	}
	var b bytes.Buffer
	result, err := Write(&b, format, each(entries), opt)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), result
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (accept with -update): %s", path, diff)
	}
}

func TestFormats(t *testing.T) {
	var results strings.Builder
	for _, format := range Formats {
		got, result := export(t, format, known(), Options{Verdicts: everyVerdict})
		golden(t, string(format)+".golden", got)
		fmt.Fprintf(&results, "%s: %+v\n", format, result)
		if again, _ := export(t, format, known(), Options{Verdicts: everyVerdict}); again != got {
			t.Errorf("%s: two exports differ", format)
		}
		if err := grammars[format](got); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		empty, _ := export(t, format, nil, Options{})
		if err := grammars[format](empty); err != nil {
			t.Errorf("%s of nothing: %v", format, err)
		}
	}
	golden(t, "results.golden", results.String())
	bulk, _ := export(t, ECS, known(), Options{Bulk: true})
	golden(t, "ecs-indicator-bulk.golden", bulk)
}

func TestFormatNames(t *testing.T) {
	for _, format := range Formats {
		if got, err := ParseFormat(string(format)); err != nil || got != format {
			t.Errorf("%s: %v, %v", format, got, err)
		}
	}
	if len(Formats) != len(kinds) {
		t.Errorf("%d formats, %d kinds", len(Formats), len(kinds))
	}
	if _, err := ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), "plain, csv") {
		t.Errorf("got %v", err)
	}
	if _, err := Write(nil, "xml", each(nil), Options{}); err == nil {
		t.Error("no error")
	}
	if _, err := File(filepath.Join(t.TempDir(), "x"), "xml", each(nil), Options{}); err == nil {
		t.Error("no error")
	}
}

// What is written as report lines comes back as it was.
func TestV2RoundTrip(t *testing.T) {
	var want []intel.Entry
	for _, e := range known() {
		if isText(e.Text()) && !e.Expired(now) {
			want = append(want, e)
		}
	}
	lines, _ := export(t, V2, known(), Options{Verdicts: everyVerdict})
	var got []intel.Entry
	for line := range strings.Lines(lines) {
		e, err := intel.ParseEntryLine([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		got = append(got, e)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b intel.Subject) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		opt  Options
		want []string
	}{
		{"what is malicious", Options{Types: 1<<extract.Domain | 1<<extract.Email},
			[]string{"evil.test", "*.below.test", "https://host.test/a,b $c", "=cmd@evil.test"}},
		{"verdicts", Options{Verdicts: []intel.Verdict{intel.Related, intel.Unknown}}, []string{"named.test", "seen.test"}},
		{"since; what has no date stays", Options{Since: now.AddDate(0, 0, -2), Types: 1<<extract.Domain | 1<<extract.IP},
			[]string{
				"203.0.113.7", "203.0.113.7", "http://203.0.113.7:8080/i", "http://203.0.113.8/a'b\\c?d=%27&e=\"f\"#g;h",
				"2001:db8::7", "198.51.100.0/22", "2001:db8:1::/48", "*.below.test", "https://host.test/a,b $c",
			}},
		{"expiry", Options{Now: now.AddDate(1, 0, 0), Types: 1 << extract.IP, Since: now},
			[]string{
				"203.0.113.7", "http://203.0.113.7:8080/i", "http://203.0.113.8/a'b\\c?d=%27&e=\"f\"#g;h", "2001:db8::7",
				"198.51.100.0/22", "2001:db8:1::/48",
			}},
	} {
		lines, result := export(t, V2, known(), tt.opt)
		var got []string
		for line := range strings.Lines(lines) {
			e, err := intel.ParseEntryLine([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Text())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if result.Written != len(got) {
			t.Errorf("%s: %d written, %d are there", tt.name, result.Written, len(got))
		}
	}
}

func TestJoin(t *testing.T) {
	subject := ofType(extract.Domain, "x.test")
	related := subject
	related.Relation = intel.ByReference
	hand := voted("hand", 1)
	hand.By = "ann"
	for _, tt := range []struct {
		name  string
		about []intel.Entry
		want  intel.Verdict
		from  []string
	}{
		{"the worst wins", []intel.Entry{entry(subject, voted("a", 1)), entry(subject, voted("b", -1)), entry(subject, voted("c", -1))},
			intel.Malicious, []string{"b", "c"}},
		{"a hand goes before lists", []intel.Entry{entry(subject, voted("a", -1)), entry(subject, hand), entry(subject, voted("c", 1))},
			intel.Benign, []string{"hand", "c"}},
		{"a judgement before a relation", []intel.Entry{entry(related, voted("a", -1)), entry(subject, voted("b", 1))},
			intel.Benign, []string{"b"}},
		{"a relation before nothing", []intel.Entry{entry(subject, &intel.Statement{Source: "a"}), entry(related, voted("b", -1))},
			intel.Related, []string{"b"}},
	} {
		r := join(tt.about)
		if got := r.sources(); r.verdict != tt.want || !slices.Equal(got, tt.from) {
			t.Errorf("%s: %v by %v, want %v by %v", tt.name, r.verdict, got, tt.want, tt.from)
		}
	}
}

func TestCDBNetworks(t *testing.T) {
	entries := []intel.Entry{
		entry(network("10.0.0.0/8"), voted("x", -1)), entry(network("172.16.0.0/15"), voted("x", -1)),
		entry(network("192.0.2.0/24"), voted("x", -1)), entry(network("198.51.100.254/31"), voted("x", -1)),
		entry(network("192.0.2.0/23"), voted("x", -1)),
		entry(ofType(extract.IP, "198.51.100.255"), voted("x", -1)),
		entry(ofType(extract.IP, "198.51.100.1"), voted("x", -1)),
	}
	got, result := export(t, WazuhCDB, entries, Options{})
	want := "10.:malicious\n172.16.:malicious\n172.17.:malicious\n192.0.2.:malicious\n" +
		"198.51.100.254:malicious\n198.51.100.255:malicious\n192.0.3.:malicious\n198.51.100.1:malicious\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if result.Written != len(entries) || len(result.LeftOut) != 0 {
		t.Errorf("got %v", result)
	}
	for bits := 8; bits <= 32; bits++ {
		p := netip.PrefixFrom(netip.MustParseAddr("203.0.113.77"), bits).Masked()
		keys := strings.Count(string(newCDB(Options{}).(cdb).network(nil, p, "x")), "\n")
		if want := 1 << ((32 - bits) % 8); keys != want {
			t.Errorf("%v: %d keys, want %d", p, keys, want)
		}
	}
}

func TestGuarded(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a=b": "a=b", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1",
		"\n=1": "'\n=1", "\r=1": " =1", "'quoted'": "''quoted'", "a\x00b\x1b[31m": "a b [31m", "\xff": "\ufffd",
	} {
		if got := guarded(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// Cells are those of encoding/csv, whatever is in them.
func TestCells(t *testing.T) {
	for _, row := range [][]string{
		{"a"}, {"a", ""}, {"", "", ""}, {"a,b", `"`, "c\nd", " e", "f ", "\ng\n", `h"i,"`, "ü", `\`, `"",""`}, {"a b", "c"},
	} {
		for _, comma := range []byte{',', ' '} {
			r := csv.NewReader(strings.NewReader(cell(row, comma)))
			r.Comma = rune(comma)
			got, err := r.Read()
			if diff := cmp.Diff(row, got); err != nil || diff != "" {
				t.Errorf("%q: %v: %s", row, err, diff)
			}
		}
	}
}

var errBroken = errors.New("broken")

func broken(entries []intel.Entry) iter.Seq2[intel.Entry, error] {
	return func(yield func(intel.Entry, error) bool) {
		for e := range each(entries) {
			if !yield(e, nil) {
				return
			}
		}
		yield(intel.Entry{}, errBroken)
	}
}

type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestErrors(t *testing.T) {
	many := slices.Repeat(known(), 1000)
	for _, format := range Formats {
		if _, err := Write(new(bytes.Buffer), format, broken(known()), Options{Now: now}); err != errBroken {
			t.Errorf("%s: got %v", format, err)
		}
		for _, left := range []int{0, 100_000} {
			if _, err := Write(&full{left}, format, each(many), Options{Now: now}); err != errBroken {
				t.Errorf("%s: got %v", format, err)
			}
		}
	}
}

// An export holds one value's entries at a time, however many there are.
func TestMemory(t *testing.T) {
	said := voted("feed", -1)
	for _, format := range Formats {
		n := 0
		endless := func(yield func(intel.Entry, error) bool) {
			for ; n < 20_000; n++ {
				addr := netip.AddrFrom4([4]byte{203, byte(n >> 16), byte(n >> 8), byte(n)})
				if !yield(entry(ofType(extract.IP, addr.String()), said), nil) {
					return
				}
			}
		}
		w := &largest{}
		result, err := Write(w, format, endless, Options{Now: now})
		if err != nil || result.Written != 20_000 {
			t.Errorf("%s: %v, %v", format, result, err)
		}
		if w.piece > 2*fullBuffer {
			t.Errorf("%s: a piece of %d bytes", format, w.piece)
		}
	}
}

// largest keeps the size of the largest piece that is written to it.
type largest struct{ piece int }

func (l *largest) Write(p []byte) (int, error) {
	l.piece = max(l.piece, len(p))
	return len(p), nil
}

func BenchmarkWrite(b *testing.B) {
	said := voted("feed", -1)
	said.Report.Tags, said.Report.First = []string{"Emotet"}, now
	var entries []intel.Entry
	for n := range 10_000 {
		addr := netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)})
		entries = append(entries, entry(ofType(extract.IP, addr.String()), said))
	}
	for _, format := range Formats {
		b.Run(string(format), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Write(&largest{}, format, each(entries), Options{Now: now}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/value")
		})
	}
}
