package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iocpipe/extract"
)

// An extracted line is what an Extraction writes.
type extracted struct {
	File       *string
	Line       int64
	Indicators []extractedMatch
}

type extractedMatch struct {
	Type, Value, Raw, Field string
	Offset                  int
	Count                   int64
}

func TestExtraction(t *testing.T) {
	const in = "from 45.61.4.2 to 45[.]61[.]4[.]3\r\n\nto 10.0.0.1 and allowed.com\n" +
		`{"source":{"ip":"45.61.4.2"},"user":"\u004aoe@mail.com"}` + "\nno end"
	match := func(typ, value, raw string, offset int, field string) extractedMatch {
		return extractedMatch{Type: typ, Value: value, Raw: raw, Offset: offset, Field: field}
	}
	first := []extractedMatch{match("ip", "45.61.4.2", "45.61.4.2", 5, ""),
		match("ip", "45.61.4.3", "45[.]61[.]4[.]3", 18, "")}
	hidden := []extractedMatch{match("ip", "10.0.0.1", "10.0.0.1", 3, ""),
		match("domain", "allowed.com", "allowed.com", 16, "")}
	event := []extractedMatch{
		match("ip", "45.61.4.2", "45.61.4.2", 17, "source.ip"), match("email", "joe@mail.com", `\u004aoe@mail.com`, 37,
			"user"),
		match("domain", "mail.com", "mail.com", 46, "user"),
	}
	none := []extractedMatch{}
	for _, tt := range []struct {
		name string
		e    Extraction
		want []extracted
	}{
		{"lines with indicators", Extraction{}, []extracted{{Line: 7, Indicators: first},
			{Line: 10, Indicators: event}}},
		{"private ones, too", Extraction{Private: true},
			[]extracted{{Line: 7, Indicators: first}, {Line: 9, Indicators: hidden}, {Line: 10, Indicators: event}}},
		{"all lines", Extraction{All: true}, []extracted{
			{Line: 7, Indicators: first}, {Line: 8, Indicators: none}, {Line: 9, Indicators: none}, {Line: 10,
				Indicators: event}, {Line: 11, Indicators: none},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.e.Scanner.Defang = extract.DefangCommon
			tt.e.Policy.Allow = listOf(t, "allowed.com")
			b := whole(in)
			b.Line = 7
			if diff := cmp.Diff(tt.want, parseExtracted(t, tt.e.Process(nil, b))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// parseExtracted parses lines of JSON and wants nothing in them that it does not know.
func parseExtracted(t *testing.T, out []byte) (lines []extracted) {
	t.Helper()
	for content := range bytes.Lines(out) {
		d := json.NewDecoder(bytes.NewReader(content))
		d.DisallowUnknownFields()
		var e extracted
		if err := d.Decode(&e); err != nil || !bytes.HasSuffix(content, []byte("}\n")) {
			t.Fatalf("%v in %q", err, content)
		}
		lines = append(lines, e)
	}
	return lines
}

func TestExtractionNamesFiles(t *testing.T) {
	e := Extraction{File: true}
	b := whole("45.61.4.2\n")
	b.Name = "a \"b\"\xff.log"
	name := "a \"b\"\ufffd.log"
	want := []extracted{{File: &name, Line: 1, Indicators: []extractedMatch{{Type: "ip", Value: "45.61.4.2",
		Raw: "45.61.4.2"}}}}
	if diff := cmp.Diff(want, parseExtracted(t, e.Process(nil, b))); diff != "" {
		t.Error(diff)
	}
}

func TestExtractionOfLongLines(t *testing.T) {
	pieces := []*Block{{Data: []byte("45.61.4.2 "), Line: 3, Long: true, First: true},
		{Data: []byte("45.61.4.2\n"), Line: 3, Long: true, Last: true}}
	for _, tt := range []struct {
		e    Extraction
		want string
	}{
		{Extraction{}, ""},
		{Extraction{All: true}, `{"line":3,"indicators":[]}` + "\n"},
		{Extraction{All: true, Count: new(Counts)}, ""},
	} {
		var out []byte
		for _, b := range pieces {
			out = tt.e.Process(out, b)
		}
		if string(out) != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.e, out, tt.want)
		}
	}
}

func TestCounts(t *testing.T) {
	counts := new(Counts)
	for _, in := range []string{"good.com 45.61.4.2 10.0.0.1\n", "45.61.4.2\nother.com 45.61.4.2 other.com\n"} {
		e := Extraction{Count: counts}
		if out := e.Process(nil, whole(in)); len(out) > 0 {
			t.Errorf("got %q", out)
		}
	}
	var out bytes.Buffer
	n, err := counts.WriteTo(&out)
	const want = `{"type":"ip","value":"45.61.4.2","count":3}` + "\n" +
		`{"type":"domain","value":"other.com","count":2}` + "\n" +
		`{"type":"domain","value":"good.com","count":1}` + "\n"
	if err != nil || out.String() != want || n != int64(len(want)) {
		t.Errorf("got %d bytes, %v, %s", n, err, out.String())
	}
}

// FuzzExtraction holds what is written against the line it is about.
func FuzzExtraction(f *testing.F) {
	f.Add([]byte(mixedLines))                                       // lines of all sorts
	f.Add([]byte("\xffjoe@m\u00fcnchen.de \x00\x1f\"evil[.]com\\")) // bytes that JSON escapes
	f.Add([]byte(`{"a\"\u0000\xff":{"b":"45.61.4.2"}}`))            // and in names of fields
	f.Fuzz(func(t *testing.T, data []byte) {
		counts := new(Counts)
		e := Extraction{Private: true, All: true, Scanner: extract.Scanner{Defang: extract.DefangAll}}
		counting := Extraction{Private: true, Count: counts, Scanner: extract.Scanner{Defang: extract.DefangAll}}
		lines := parseExtracted(t, e.Process(nil, whole(string(data))))
		counting.Process(nil, whole(string(data)))
		total := make(map[string]int64)
		n := 0
		for content := range bytes.Lines(data) {
			line, _, _ := cutLine(content)
			checkExtracted(t, lines[n], int64(n+1), line)
			for _, m := range lines[n].Indicators {
				total[m.Type+m.Value]++
			}
			n++
		}
		if n != len(lines) {
			t.Fatalf("%d lines, want %d", len(lines), n)
		}
		checkCounts(t, counts, total)
	})
}

// checkExtracted wants each indicator to stand in the line where it is said to.
func checkExtracted(t *testing.T, got extracted, number int64, line []byte) {
	t.Helper()
	last := 0
	for _, m := range got.Indicators {
		if m.Offset < last || m.Offset >= len(line) || m.Raw == "" || m.Value == "" {
			t.Fatalf("%+v in %q, behind %d", m, line, last)
		}
		if typ, ok := extract.ParseType(m.Type); !ok || typ == extract.None {
			t.Fatalf("type %q", m.Type)
		}
		if !strings.HasPrefix(perByte(line[m.Offset:]), m.Raw) {
			t.Fatalf("%q does not stand at %d of %q", m.Raw, m.Offset, line)
		}
		last = m.Offset
	}
	if got.Line != number {
		t.Fatalf("line %d, want %d", got.Line, number)
	}
}

// perByte returns b as JSON has it: with a replacement for each byte that is no UTF-8.
func perByte(b []byte) string {
	var out strings.Builder
	for _, r := range string(b) {
		out.WriteRune(r)
	}
	return out.String()
}

// checkCounts wants each indicator once, the most frequent first.
func checkCounts(t *testing.T, counts *Counts, want map[string]int64) {
	t.Helper()
	var out bytes.Buffer
	if _, err := counts.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	last := int64(1 << 62)
	for content := range bytes.Lines(out.Bytes()) {
		var m extractedMatch
		if err := json.Unmarshal(content, &m); err != nil {
			t.Fatalf("%v in %q", err, content)
		}
		if got[m.Type+m.Value] > 0 || m.Count > last {
			t.Fatalf("%q comes twice or too late", content)
		}
		got[m.Type+m.Value], last = m.Count, m.Count
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("counted %v, want %v", got, want)
	}
}

func TestExtractionAllocations(t *testing.T) {
	e := Extraction{Scanner: extract.Scanner{Defang: extract.DefangCommon}}
	b := whole(strings.Repeat("Failed password for root from 45.61.4.2 port 50022 to www.good.com\n"+
		`{"source":{"ip":"45.61.4.2"}}`+"\n", 50))
	dst := make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(20, func() { e.Process(dst, b) }); n > 0 {
		t.Errorf("%v allocations for 100 lines", n)
	}
}
