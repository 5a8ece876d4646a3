package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/intel/local"
)

// noon is when the tests annotate.
var noon = time.Date(2026, 3, 4, 9, 15, 25, 310e6, time.UTC)

// newAnnotation returns a worker that finds defanged indicators, as the filter does, and annotates at noon.
func newAnnotation(k *Knowledge, form Form, only Only) *Annotation {
	annotator := annotate.New()
	annotator.Now = func() time.Time { return noon }
	return &Annotation{
		Scanner: extract.Scanner{Defang: extract.DefangCommon}, Know: k, Annotator: annotator, Form: form, Only: only,
		Tally: new(Tally),
	}
}

// whole returns data as one block.
func whole(data string) *Block {
	return &Block{Data: []byte(data), Lines: strings.Count(data, "\n"), Name: "in", Line: 1}
}

// mine is local intelligence that the fuzzer meets.
var mine = sync.OnceValue(func() *local.Store {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("mine-%d.txt", os.Getpid()))
	defer os.Remove(path)
	_ = os.WriteFile(path, []byte("10.0.0.0/8\n*.bad.example\nevil.example\nhttp://link.example/x\n"), 0o600)
	store, _ := local.Load([]string{path})
	return store
})

// halfKnown returns a Knowledge in which every second indicator of data is known, each with another verdict.
func halfKnown(t testing.TB, data []byte) *Knowledge {
	k := newKnowledge(t, "", askable("crowd", extract.AllTypes))
	k.SetOwn(mine(), extract.Policy{}, true)
	scanner := extract.Scanner{Defang: extract.DefangCommon}
	seen := make(map[extract.Key]bool)
	for line := range bytes.Lines(data) {
		for _, m := range scanner.Append(nil, line) {
			if !seen[m.Key] {
				know(k, m.Key.Clone(), len(seen))
				seen[m.Key.Clone()] = true
			}
		}
	}
	return k
}

// know lets every second indicator be known, by its number.
func know(k *Knowledge, key extract.Key, n int) {
	report := &intel.Report{Known: true, Voted: n%8 < 6, Votes: int8(n/2%4) - 1, Subdomains: []string{"a\"b.example"}}
	switch {
	case n%2 == 1:
	case n%10 == 8:
		via := extract.Key{Type: extract.Domain, Value: "via.com"}
		k.Cache.Put(via, cache.Answer{Source: "crowd", Report: voted(-1), Fetched: time.Now()})
		k.Cache.Relate(key, intel.Finding{Verdict: intel.Related, Source: "crowd", Report: voted(-1), Via: via,
			Relation: intel.ByURL})
	default:
		k.Cache.Put(key, cache.Answer{Source: "crowd", Origin: intel.FromThreatCrowd, Report: report,
			Fetched: time.Now()})
	}
}

// A passed line is what an Annotation is to make of one line.
type passedLine struct {
	in, ending string
	out        string // with the ending
	verdict    intel.Verdict
	long       bool
}

// passEach annotates each line of data alone, as a block of its own.
func passEach(k *Knowledge, form Form, data []byte, maxLine int) (lines []passedLine) {
	for content := range bytes.Lines(data) {
		line, ending, _ := cutLine(content)
		p := passedLine{in: string(line), ending: string(ending), long: len(line) > maxLine}
		if p.long {
			p.out = string(longAlone(form, line)) + p.ending
		} else {
			a := newAnnotation(k, form, All)
			p.out = string(a.Process(nil, whole(string(content))))
			p.verdict = worstOf(k, line)
		}
		lines = append(lines, p)
	}
	return lines
}

// longAlone is what becomes of a line over the limit.
func longAlone(form Form, line []byte) []byte {
	if form == NDJSON && (len(line) == 0 || line[0] != '{') {
		var w annotate.Wrapper
		return w.End(w.Append(w.Begin(nil, nil), line))
	}
	return line
}

// worstOf returns the worst that is known of what a line holds.
func worstOf(k *Knowledge, line []byte) (worst intel.Verdict) {
	scanner := extract.Scanner{Defang: extract.DefangCommon}
	for _, m := range scanner.Append(nil, line) {
		if f, skip := k.Find(m.Key, time.Now()); skip != extract.Allowed {
			worst = max(worst, f.Verdict)
		}
	}
	return worst
}

// passInPortions reads data in portions and annotates it block by block.
func passInPortions(t testing.TB, a *Annotation, data []byte, maxLine int, sizes ...int) []byte {
	t.Helper()
	r := NewReader(from(&portions{data, sizes}), maxLine, failing(t))
	var out []byte
	for b, err := r.Next(); err == nil; b, err = r.Next() {
		before := string(b.Data)
		out = append(out, a.Process(nil, b)...)
		if string(b.Data) != before {
			t.Fatalf("the block has changed: %q, was %q", b.Data, before)
		}
		r.Release(b)
	}
	return out
}

// checkAnnotation holds what an Annotation promises for data, however it is cut.
func checkAnnotation(t *testing.T, data []byte, maxLine int, sizes ...int) {
	k := halfKnown(t, data)
	for _, form := range []Form{Text, NDJSON} {
		lines := passEach(k, form, data, maxLine)
		for _, p := range lines {
			checkLine(t, form, p)
		}
		for _, only := range []Only{All, OnlyAnnotated, OnlyMalicious} {
			a := newAnnotation(k, form, only)
			got := passInPortions(t, a, data, maxLine, sizes...)
			if want := keptLines(lines, only); string(got) != want {
				t.Fatalf("form %d, only %d, %d bytes a line, portions of %d: got %q, want %q", form, only, maxLine,
					sizes, got, want)
			}
			checkTally(t, a.Tally, lines, only)
		}
	}
}

// keptLines returns the lines that leave.
func keptLines(lines []passedLine, only Only) string {
	var out strings.Builder
	for _, p := range lines {
		if only == All || !p.long && (p.verdict == intel.Malicious || only == OnlyAnnotated &&
			p.verdict != intel.NoVerdict) {
			out.WriteString(p.out)
		}
	}
	return out.String()
}

// checkLine wants one line that is the line which came in, annotated when something is known of it.
func checkLine(t *testing.T, form Form, p passedLine) {
	t.Helper()
	out, ok := strings.CutSuffix(p.out, p.ending)
	if !ok || strings.Contains(out, "\n") {
		t.Fatalf("line %q with ending %q became %q", p.in, p.ending, p.out)
	}
	if err := annotate.VerifyLine([]byte(p.in), []byte(out)); err != nil {
		t.Fatalf("form %d: %v: %q became %q", form, err, p.in, out)
	}
	if form == Text && !p.long && (out != p.in) != (p.verdict != intel.NoVerdict) {
		t.Fatalf("verdict %v: %q became %q", p.verdict, p.in, out)
	}
	object := strings.IndexByte(out, '{')
	if form == NDJSON && !p.long && (object < 0 || !json.Valid([]byte(out[object:]))) {
		t.Fatalf("%q became %q, which is no JSON", p.in, out)
	}
}

// checkTally wants the counts of what has passed.
func checkTally(t *testing.T, tally *Tally, lines []passedLine, only Only) {
	t.Helper()
	var all, shown, found, answered int64
	verdicts := make(map[intel.Verdict]int64)
	scanner := extract.Scanner{Defang: extract.DefangCommon}
	for _, p := range lines {
		all++
		if p.long { // it is not looked into
			verdicts[intel.NoVerdict]++
			if only == All {
				shown++
			}
			continue
		}
		found += int64(len(scanner.Append(nil, []byte(p.in))))
		verdicts[p.verdict]++
		if keptLines([]passedLine{p}, only) != "" {
			shown++
		}
	}
	var byType int64
	for i := range tally.Found {
		byType += tally.Found[i].Load()
	}
	for i := range tally.Answered {
		answered += tally.Answered[i].Load()
	}
	other := all - verdicts[intel.Malicious] - verdicts[intel.Related] - verdicts[intel.NoVerdict]
	got := []int64{tally.Lines.Load(), tally.Shown.Load(), tally.Malicious.Load(), tally.Related.Load(),
		tally.Other.Load(), byType, answered}
	want := []int64{all, shown, verdicts[intel.Malicious], verdicts[intel.Related], other, found, found}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("only %d: lines, shown, malicious, related, other, by type, answered: got %v, want %v", only, got,
			want)
	}
	if unknown := tally.Unknown.Load(); unknown > found {
		t.Fatalf("%d of %d indicators are unknown", unknown, found)
	}
}

// mixedLines are lines of all sorts.
const mixedLines = "Failed password for root from 45.61.4.2 port 22\r\n" +
	"\n\r\n" +
	`{"source":{"ip":"45.61.4.2"},"message":"to evil.example and 10.0.0.9","related":{"ip":["1.2.3.4"]}}` + "\n" +
	"\ufeff" + ` @cee: {"a":"www.bad.example","a":"hxxp://link[.]example/x"}` + "\r\n" +
	"\xff 45.61.4.3 \\ \x00 bad bytes\n" +
	`{"a":"` + "\xff" + `45.61.4.2"}` + "\n" +
	`{"a":"45.61.4.2"} trailing 45.61.4.9` + "\n" +
	`{"a":"45.61.4.2","threat":{"enrichments":[{"x":1}]},"iocpipe":{"verdict":"benign"}}` + "\n" +
	"joe@evil.example 2c5039f5d2c491e058d097fb29cdf9a8 2001:470::7 iocpipe={\"verdict\":\"malicious\"}\n" +
	"no end 45.61.4.2\r"

func TestAnnotation(t *testing.T) {
	for _, maxLine := range []int{1, 20, 60, 1 << 20} {
		for _, size := range []int{1, 7, 100, 1 << 20} {
			checkAnnotation(t, []byte(mixedLines), maxLine, size)
		}
	}
}

// TestAnnotationOfLogs passes the example logs.
func TestAnnotationOfLogs(t *testing.T) {
	for path, data := range exampleLogs(t) {
		t.Run(filepath.Base(path), func(t *testing.T) { checkAnnotation(t, data, 2000, 5000, 33) })
	}
}

// exampleLogs returns the example logs by their path.
func exampleLogs(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../testdata/logs/*.log")
	if err != nil || len(paths) == 0 {
		t.Fatal("no logs", err)
	}
	logs := make(map[string][]byte)
	for _, path := range paths {
		if logs[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return logs
}

func FuzzAnnotation(f *testing.F) {
	f.Add([]byte(mixedLines), 40, 7, 3)                           // long and short lines in small portions
	f.Add([]byte(mixedLines), 1<<20, 1<<20, 1)                    // all at once
	f.Add([]byte("a\r\r\r\nb\r\n\r\r\xe2\x82\xac\r\n"), 1, 1, 2)  // carriage returns at the ends of pieces
	f.Add([]byte(`{"a":"45.61.4.2","iocpipe":1}`), 100, 10, 10)   // a name of ours that holds something else
	f.Add([]byte("{\"\\u0061\":\"evil.example\"}\r"), 100, 5, 10) // escapes
	f.Fuzz(func(t *testing.T, data []byte, maxLine, size, other int) {
		bound := func(n, most int) int { return 1 + (n%most+most)%most }
		checkAnnotation(t, data, bound(maxLine-1, 1<<20), bound(size-1, 4096), bound(other-1, 4096))
	})
}

func TestNothingChangesNothingIsCopied(t *testing.T) {
	a := newAnnotation(newKnowledge(t, "evil.example"), Text, All)
	b := whole("from 45.61.4.2\r\n\n{\"a\":\"good.com\"}\nend")
	if got := a.Process(make([]byte, 0, 100), b); !sameArray(got, b.Data) || len(got) != len(b.Data) {
		t.Errorf("got a copy, %q", got)
	}
}

func TestAllowedIsNotAnnotatedButCounted(t *testing.T) {
	k := newKnowledge(t, "evil.example\nother.example")
	store := k.own.Load().local
	k.SetOwn(store, extract.Policy{Allow: listOf(t, "evil.example")}, true)
	a := newAnnotation(k, Text, All)
	const line = "evil.example evil.example\n"
	if got := a.Process(nil, whole(line)); string(got) != line || a.Tally.Hidden.Load() != 2 ||
		a.Tally.Malicious.Load() != 0 {
		t.Errorf("got %q, %d hidden, %d malicious", got, a.Tally.Hidden.Load(), a.Tally.Malicious.Load())
	}
	got := string(a.Process(nil, whole("evil.example other.example\n")))
	if strings.Contains(got, `"value":"evil.example"`) || !strings.Contains(got, `"value":"other.example"`) {
		t.Errorf("got %s", got)
	}
}

func TestPrettyKeepsLongLines(t *testing.T) {
	a := newAnnotation(newKnowledge(t, ""), Pretty, All)
	got := passInPortions(t, a, []byte("a\x1b[31mred\r\nb\n"), 3, 5)
	if want := `a\x1b[31mred` + "\r\nb\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAllocations: a line of which nothing is known costs none, one with a hit what it takes to say who met it.
func TestAllocations(t *testing.T) {
	k := newKnowledge(t, "203.0.113.0/24\nevil.example", askable("crowd", extract.AllTypes))
	for _, tt := range []struct {
		name, line string
		form       Form
		most       float64
	}{
		{"text", "Jan 12 06:25:41 web1 sshd[2217]: Failed password from 45.61.4.2 port 50022 to www.good.com\n", Text, 0},
		{"event", `{"source":{"ip":"45.61.4.2"},"dns":{"question":{"name":"www.good.com"}},"n":1.50}` + "\n", Text, 0},
		{"wrapped", "Failed password for root from 45.61.4.2\n", NDJSON, 0},
		{"text with a hit", "Failed password for root from 203.0.113.7\n", Text, 1},
		{"event with a hit", `{"source":{"ip":"203.0.113.7"},"n":1.50}` + "\n", Text, 1},
		{"wrapped with a hit", "Failed password for root from 203.0.113.7\n", NDJSON, 1},
	} {
		a := newAnnotation(k, tt.form, All)
		b := whole(strings.Repeat(tt.line, 100))
		dst := make([]byte, 0, 1<<20)
		if got := testing.AllocsPerRun(20, func() { a.Process(dst, b) }) / 100; got > tt.most {
			t.Errorf("%s: %v allocations a line, want at most %v", tt.name, got, tt.most)
		}
	}
}

// TestHitsWithoutSource annotates with local intelligence alone, and tells Hits of it.
func TestHitsWithoutSource(t *testing.T) {
	k := newKnowledge(t, "203.0.113.7\n")
	a := newAnnotation(k, Text, All)
	var told []Hit
	a.Hits = func(h Hit) { told = append(told, h) }
	out := a.Process(nil, whole("from 203.0.113.7 to 203.0.113.7\n"))
	if !bytes.Contains(out, []byte(" iocpipe=")) || len(told) != 1 || told[0].Key.Value != "203.0.113.7" {
		t.Errorf("got %q and hits %v, want an annotation and one hit", out, told)
	}
}
