package extract

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzScanner holds the scanner against what must be true of any bytes.
func FuzzScanner(f *testing.F) {
	for _, line := range seedLines(f) {
		f.Add([]byte(line))
	}
	f.Add([]byte("0 dot dot 0"))      // two forms that share a blank
	used := make(map[Defang]*Scanner) // scanners that have seen other lines before
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, defang := range []Defang{DefangOff, DefangCommon, DefangAll} {
			if used[defang] == nil {
				used[defang] = &Scanner{Defang: defang}
			}
			before := bytes.Clone(line)
			got := used[defang].Append(nil, line)
			if !bytes.Equal(line, before) {
				t.Fatalf("the scanner changed %q", before)
			}
			checkMatches(t, line, got)
			if again := (&Scanner{Defang: defang}).Append(nil, line); !slices.Equal(got, again) {
				t.Fatalf("%q: a used scanner finds %v, a new one %v", line, got, again)
			}
			explained := (&Scanner{Defang: defang, Explain: true}).Append(nil, line)
			if kept := accepted(explained); !slices.Equal(got, kept) {
				t.Fatalf("%q: %v found, %v with Explain", line, got, kept)
			}
		}
	})
}

func accepted(matches []Match) (kept []Match) {
	for _, m := range matches {
		if m.Rule == Accepted {
			kept = append(kept, m)
		}
	}
	return kept
}

// checkMatches checks that matches are in order, inside of the line, and normalised.
func checkMatches(t *testing.T, line []byte, matches []Match) {
	t.Helper()
	last := 0
	for _, m := range matches {
		if m.Start < last || m.End <= m.Start || m.End > len(line) {
			t.Fatalf("%q: match at %d:%d behind one at %d", line, m.Start, m.End, last)
		}
		last = m.Start
		if m.Type == Antivirus {
			continue
		}
		if key, ok := ParseKey(m.Value); !ok || key != m.Key {
			t.Fatalf("%q: %v is no normalised value: ParseKey gives %v, %v", line, m.Key, key, ok)
		}
	}
}

// FuzzJSON holds the walker against encoding/json: a line is an event if it is one object, and the strings of an event
// hold what they hold as texts.
func FuzzJSON(f *testing.F) {
	for _, line := range seedLines(f) {
		f.Add([]byte(line))
	}
	var used Scanner // that remembers the fields of other lines
	f.Fuzz(func(t *testing.T, line []byte) {
		matches, event := used.AppendEvent(nil, line)
		body := bytes.TrimSpace(line)
		object := utf8.Valid(line) && json.Valid(line) && body[0] == '{'
		prefixed := bytes.HasPrefix(line, []byte("\ufeff")) || bytes.Contains(line, []byte("@cee:"))
		if event != object && !prefixed {
			t.Fatalf("%q: event %v, object %v", line, event, object)
		}
		checkMatches(t, line, matches)
	})
}

// FuzzStrings checks that a text and the same text as a string of an event hold the same indicators.
func FuzzStrings(f *testing.F) {
	for _, line := range seedLines(f) {
		f.Add(line)
	}
	f.Add("evilDOTcom")
	f.Add("virus=0\x00AA") // an escape that stands for NUL
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || eventStart([]byte(text)) >= 0 {
			t.Skip()
		}
		event, err := json.Marshal(map[string]string{"k": text})
		if err != nil {
			t.Fatal(err)
		}
		for _, defang := range []Defang{DefangOff, DefangAll} {
			want := keys((&Scanner{Defang: defang}).Append(nil, []byte(text)))
			got := keys((&Scanner{Defang: defang}).Append(nil, event))
			if !slices.Equal(got, want) {
				t.Fatalf("text %q: %q, event: %q", text, want, got)
			}
		}
	})
}

func keys(matches []Match) (out []string) {
	for _, m := range matches {
		out = append(out, m.Key.String())
	}
	return out
}

// FuzzParseKey checks that a value that is accepted is normalised: it is accepted again, and stays the same.
func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"198.51.100.7", "::ffff:198.51.100.7", "fe80::1%eth0", "Bücher.DE.",
		"a_b.example.com", `"a b"@example.com`,
		"d41d8cd98f00b204e9800998ecf8427e", "a@b", "x", " evil.com ", "=evil.com", "用户@例え.jp"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, ok := ParseKey(s)
		if !ok {
			return
		}
		if again, ok := ParseKey(key.Value); !ok || again != key {
			t.Fatalf("%q gives %v, which gives %v, %v", s, key, again, ok)
		}
	})
}

// FuzzList checks that lists of any bytes load or fail, and that what they hold can be looked up.
func FuzzList(f *testing.F) {
	f.Add("198.51.100.0/24 # network\n=example.com\n*.example.net;x\n\n2001:db8::/32\na@example.org\n")
	f.Add(`{"type":"hostname","list":["example.com",".example.net"]}`)
	f.Add(`{"type":"cidr","list":["10.0.0.0/8","10.1.0.0/16"]}`)
	f.Add(`{"type":"regex","list":["/^a.*b$/","("]}`)
	f.Fuzz(func(t *testing.T, data string) {
		l := &List{Loose: true}
		err := l.Load(strings.NewReader(data))
		for line := range strings.Lines(data) {
			key, ok := ParseKey(line)
			commented := strings.ContainsAny(line, "#;")
			if ok && !commented && err == nil && !strings.HasPrefix(strings.TrimLeft(data, "\ufeff \t\r\n"), "{") && !l.Has(key) {
				t.Fatalf("%q does not have %v", data, key)
			}
		}
	})
}
