package format

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// now is when the tests read.
var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// A result is all that came of reading one list.
type result struct {
	kind    Kind
	entries []intel.Entry
	refused []Refused
	err     error
}

// read reads content.
func read(content string, opt Options) (r result) {
	if opt.Now.IsZero() {
		opt.Now = now
	}
	if opt.Source == "" {
		opt.Source = "a"
	}
	r.kind, r.err = Read(strings.NewReader(content), opt, func(e intel.Entry) error {
		r.entries = append(r.entries, e)
		return nil
	}, func(refused Refused) { r.refused = append(r.refused, refused) })
	return r
}

// told is what an entry is about, in short.
func told(s intel.Subject) string {
	var b strings.Builder
	switch {
	case s.Net.IsValid():
		b.WriteString(s.Net.String())
	case s.Below:
		b.WriteString("*." + s.Key.Value)
	case s.URL != "":
		b.WriteString(s.Key.Value + " of " + s.URL)
	default:
		b.WriteString(s.Key.Value)
	}
	if s.Relation != "" {
		fmt.Fprintf(&b, " by %s of %s", s.Relation, s.Via.Value)
	}
	return b.String()
}

// subjects are what the entries are about.
func (r *result) subjects() string {
	var all []string
	for _, e := range r.entries {
		all = append(all, told(e.Subject))
	}
	return strings.Join(all, "\n")
}

func TestParseSubject(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"203.0.113.7", "203.0.113.7"},
		{" EVIL.test. ", "evil.test"},
		{"203[.]0[.]113[.]7", "203.0.113.7"},
		{"203[.]0[.]113[.]7:80", "203.0.113.7"},
		{"203.0.113.7:8080", "203.0.113.7"},
		{"[2001:db8::7]:80", "2001:db8::7"},
		{"evil.test:443", "evil.test"},
		{"*.evil.test", "*.evil.test"},
		{"*[.]evil[.]test", "*.evil.test"},
		{"joe@mail.test", "joe@mail.test"},
		{"D00F9E70A3E0FF21436AFD012821B847", "d00f9e70a3e0ff21436afd012821b847"},
		{"198.51.100.7/24", "198.51.100.0/24"},
		{"198.51.100.7/32", "198.51.100.7/32"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"::ffff:192.0.2.0/120", "192.0.2.0/24"},
		{"http://evil.test/login", "evil.test of http://evil.test/login"},
		{"evil.test/login", "evil.test of evil.test/login"},
		{"hxxp://evil[.]test/Login", "evil.test of http://evil.test/Login"},
		{"hxxps[:]//evil.test/x", "evil.test of https://evil.test/x"},
		{"http[://]evil.test/x", "evil.test of http://evil.test/x"},
		{"hxxp://[2001:db8::7]:8080/x", "2001:db8::7 of http://[2001:db8::7]:8080/x"},
		{"http://u:p@evil.test:81/@x", "evil.test of http://u:p@evil.test:81/@x"},
		{"evil.test//login", "evil.test of evil.test//login"},
		{"//evil.test/login", "evil.test of //evil.test/login"},
		{"http://203.0.113.7", "203.0.113.7 of http://203.0.113.7"},
	} {
		s, err := ParseSubject(tt.value)
		if got := told(s); err != nil || got != tt.want {
			t.Errorf("%q: got %q, %v, want %q", tt.value, got, err, tt.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"not an indicator", "no indicator"},
		{"two.test three.test", "more than one value"},
		{"two[.]test, three[.]test", "more than one value"},
		{"203.0.113.7/33", "no indicator"},
		{"user.name:password", "no indicator"},
		{"evil.test:99999", "no indicator"},
		{"http:///path", "no indicator"},
		{"http://localhost/", "no indicator"},
		{"*.test", "no indicator"},
		{"*", "no indicator"},
		{"and/or", "no indicator"},
		{"/gate.php", "a path alone"},
		{"0.0.0.0/0", "network is too broad"},
		{"10.0.0.0/7", "network is too broad"},
		{"::/0", "network is too broad"},
		{"::ffff:0.0.0.0/96", "network is too broad"},
		{"2000::/15", "network is too broad"},
		{"d41d8cd98f00b204e9800998ecf8427e", "hash of the empty file"},
		{"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", "hash of the empty file"},
		{`{"value":"d41d8cd98f00b204e9800998ecf8427e","response_code":"1"}`, "hash of the empty file"},
		{"{\"value\":\"evil.test\"", "JSON"},
		{"{\"value\":\"no indicator\",\"response_code\":\"1\"}", "value"},
		{strings.Repeat("x", maxListLine+1), "too long"},
		{"{" + strings.Repeat(" ", maxReportLine) + "}", "too long"},
	} {
		r := read("# one\n"+tt.line+"\nevil.test\n", Options{Kind: Plain})
		name := tt.line[:min(len(tt.line), 40)]
		if r.err != nil || len(r.refused) != 1 || r.subjects() != "evil.test" {
			t.Errorf("%q: %v, refused %v, took %q, want one refused and the line after it taken", name, r.err, r.refused,
				r.subjects())
			continue
		}
		text := r.refused[0].String()
		if !strings.HasPrefix(text, "line 2: ") || !strings.Contains(text, tt.want) || len(text) > 300 {
			t.Errorf("%q: refused as %q, want %q of line 2", name, text, tt.want)
		}
	}
}

func TestPlain(t *testing.T) {
	r := read("\ufeff# ThreatCrowd feed style\r\n\r\n203.0.113.7\r\n  bad.test  ; seen 2024-05-01\r\n"+
		"198.51.100.0/24 # net\n203.0.113.8;c2\nhttp://evil.test/a;b#c\n203.0.113.9", Options{})
	want := "203.0.113.7\nbad.test\n198.51.100.0/24\n203.0.113.8\nevil.test of http://evil.test/a;b#c\n203.0.113.9"
	if r.err != nil || len(r.refused) > 0 || r.subjects() != want || r.kind != Plain {
		t.Fatalf("%v %v as %q: got\n%s\nwant\n%s", r.err, r.refused, r.kind, r.subjects(), want)
	}
	for _, e := range r.entries {
		if e.Statement != r.entries[0].Statement || e.Report.Verdict() != intel.Malicious || e.Source != "a" {
			t.Errorf("%v: %+v, want one shared statement of malice", told(e.Subject), e.Statement)
		}
	}
}

func TestReportLines(t *testing.T) {
	var subdomains strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&subdomains, `,"host%d.evil.test"`, i)
	}
	r := read(`{"value":"evil.test","response_code":"1","votes":-1,"expires":"2027-01-01","subdomains":["www.evil.test"`+
		subdomains.String()+"]}\n203.0.113.8\n", Options{})
	if r.err != nil || len(r.refused) > 0 || r.subjects() != "evil.test\n203.0.113.8" || r.kind != Reports {
		t.Fatalf("%v %v as %q: %s", r.err, r.refused, r.kind, r.subjects())
	}
	if s := r.entries[0].Statement; s.Source != "a" || len(s.Report.Subdomains) != 10_001 || s.Expires.Year() != 2027 {
		t.Errorf("%q, %d subdomains, expires %v", s.Source, len(s.Report.Subdomains), s.Expires)
	}
}

func TestVotesOfAllThatIsListed(t *testing.T) {
	good := benign
	r := read("203.0.113.7\n"+`{"value":"evil.test","response_code":"1","votes":-1}`+"\n"+
		`{"value":"none.test","response_code":"0"}`, Options{Votes: &good})
	want := []intel.Verdict{intel.Benign, intel.Benign, intel.NoVerdict}
	for i, e := range r.entries {
		if got := e.Report.Verdict(); got != want[i] {
			t.Errorf("%s: %v, want %v", told(e.Subject), got, want[i])
		}
	}
}

func TestReadErrorKeepsWhatWasRead(t *testing.T) {
	broken := errors.New("disk on fire")
	var got []string
	_, err := Read(io.MultiReader(strings.NewReader("evil.test\n203.0.113."), iotest.ErrReader(broken)), Options{},
		func(e intel.Entry) error { got = append(got, told(e.Subject)); return nil }, func(Refused) {})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
	if strings.Join(got, " ") != "evil.test" {
		t.Errorf("took %v, want evil.test alone", got)
	}
}

func TestErrorOfTakeEndsTheReading(t *testing.T) {
	full := errors.New("disk is full")
	n := 0
	_, err := Read(strings.NewReader("a.test\nb.test\nc.test\n"), Options{}, func(intel.Entry) error {
		n++
		return full
	}, func(Refused) {})
	if err != full || n != 1 {
		t.Errorf("%v after %d, want %v after one", err, n, full)
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		taken, refused int
		good           bool
	}{{0, 0, false}, {0, 5, false}, {5, 6, false}, {5, 5, true}, {1, 0, true}} {
		if err := Judge(tt.taken, tt.refused); (err == nil) != tt.good {
			t.Errorf("%d taken, %d refused: %v", tt.taken, tt.refused, err)
		}
	}
}

// check fails when an entry of anything is not what the store can rely on.
func check(t *testing.T, e intel.Entry) {
	t.Helper()
	s := e.Subject
	switch {
	case e.Statement == nil:
		t.Fatalf("%+v has no statement", s)
	case s.Net.IsValid():
		if s.Net != s.Net.Masked() || s.Key != (extract.Key{}) || s.Below || s.URL != "" {
			t.Errorf("network %+v", s)
		}
	case s.Key.Type == extract.Antivirus:
	default:
		if key, ok := extract.ParseKey(s.Key.Value); !ok || key != s.Key {
			t.Errorf("key %q is not normalised", s.Key)
		}
	}
	if s.Below && s.Key.Type != extract.Domain || s.URL != "" && s.Key.Type != extract.Domain && s.Key.Type != extract.IP {
		t.Errorf("subject %+v", s)
	}
	if e.Report.Known && e.Report.Voted && (e.Report.Votes < -1 || e.Report.Votes > 1) {
		t.Errorf("%+v: votes %d", s, e.Report.Votes)
	}
}

// FuzzPlain reads anything as a plain list.
func FuzzPlain(f *testing.F) {
	for _, seed := range []string{
		"203.0.113.7\r\n# comment\n*.evil.test\n10.0.0.0/8", // the plain forms
		"hxxp://evil[.]example/x\n203[.]0[.]113[.]7:80",     // defanged ones
		`{"value":"evil.test","response_code":"1","votes":-1,"subdomains":["www.evil.test"]}`,
		"\ufeffhttp://[2001:db8::1]:8080/@x\n//\n:\n[\n*[.]a.b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		for _, e := range read(content, Options{Kind: Plain}).entries {
			check(t, e)
		}
	})
}
