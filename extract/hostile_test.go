package extract

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// hostile are pieces that an attacker repeats to fill a line: whatever makes the scanner look far around itself, start
// over, or keep much.
var hostile = []struct{ name, head, piece, tail string }{
	{name: "dots", piece: "."},
	{name: "labels", piece: "a."},
	{name: "long labels", piece: strings.Repeat("a", 63) + "."},
	{name: "numbers", piece: "1."},
	{name: "octets", piece: "1.1.1.1."},
	{name: "colons", piece: ":"},
	{name: "hex colons", piece: "a:"},
	{name: "double colons", piece: "1::"},
	{name: "hex", piece: "a"},
	{name: "digits", piece: "0"},
	{name: "hashes", piece: strings.Repeat("a1", 16) + " "},
	{name: "hashes in a request", head: "[req-", piece: strings.Repeat("a1", 16) + " "},
	{name: "at", piece: "@"},
	{name: "words at", piece: "a@"},
	{name: "plus at", piece: "+a@b"},
	{name: "VERP", piece: "a=b.c+"},
	{name: "equals at", piece: "=a.b@"},
	{name: "quotes", piece: `"`},
	{name: "quoted at", piece: `"@`},
	{name: "open", piece: "["},
	{name: "closed", piece: "]"},
	{name: "open dots", piece: "[."},
	{name: "defanged", piece: "a[.]"},
	{name: "defanged numbers", piece: "1[.]1[.]1[.]1 "},
	{name: "halves", piece: "a[.a"},
	{name: "brackets", piece: "((("},
	{name: "words", piece: "a dot "},
	{name: "AT", piece: "a AT a"},
	{name: "percent", piece: "%"},
	{name: "percent escapes", piece: "%25"},
	{name: "percent dots", piece: "a%2e"},
	{name: "backslashes", piece: `\`},
	{name: "backslash dots", piece: `a\.`},
	{name: "backslash n", piece: `a.b\n`},
	{name: "zero width", piece: "a\u200b"},
	{name: "ideographs", piece: "語"},
	{name: "ideographs and dots", piece: "語."},
	{name: "ideographs and letters", piece: "語a."},
	{name: "ideographic stops", piece: "a.com。語"},
	{name: "bad bytes", piece: "\xff."},
	{name: "addresses", piece: "8.8.4.4 "},
	{name: "domains", piece: "t.co "},
	{name: "ambiguous domains", piece: "x.id "},
	{name: "hosted", piece: "a.b.app "},
	{name: "e-mails", piece: "a@t.co "},
	{name: "detections", piece: "virus:a1 "},
	{name: "long detections", piece: "threat name: "},
	{name: "found", piece: ": a FOUND"},
	{name: "slashes", piece: "/"},
	{name: "user information", head: "http://", piece: "a:"},
	{name: "dashes", piece: "1.1.1.1-"},
	{name: "reverse", piece: "1.1.1.1.in-addr.arpa "},
	{name: "blank dots", head: "http://a", piece: " .a"},
	{name: "numbers and blanks", piece: "1 . "},
	{name: "spelled dots", piece: "aDOTb"},
	{name: "spelled domains", piece: "a-dot-com "},
	{name: "labels in brackets", piece: "a.[a]"},
	{name: "closed words", piece: "adot]"},
	{name: "empty labels", piece: "a.."},
	{name: "leaders", piece: "a..1.1.1.1"},
	{name: "address literals", piece: "a@[IPv6:1::2]"},
	{name: "escaped quotes at", piece: `\"@`},
	{name: "nested percent", head: "%", piece: "25"},
	{name: "versions in a header", head: "EF:", piece: "|1.1.1.1|"},
	{name: "columns", piece: strings.Repeat("a1", 16) + "\t"},
	{name: "JSON objects", head: `{"a":`, piece: `{"a":`, tail: "!"},
	{name: "JSON arrays", head: `{"a":`, piece: `[`, tail: "!"},
	{name: "JSON empty names", head: `{"":`, piece: `{"":["t.co"],"":`, tail: "!"},
	{name: "JSON members", head: `{"a":0`, piece: `,"a":"t.co"`, tail: "}"},
	{name: "JSON names", head: `{"a":0`, piece: `,"threat.name":"t.co"`, tail: "}"},
	{name: "JSON escapes", head: `{"a":"`, piece: `\n`, tail: `"}`},
	{name: "JSON escaped dots", head: `{"a":"`, piece: `a\u002e`, tail: `"}`},
	{name: "JSON escaped domains", head: `{"a":"`, piece: `\tt.co`, tail: `"}`},
	{name: "JSON strings", head: `{"a":[0`, piece: `,"\n"`, tail: "]}"},
	{name: "JSON in JSON", head: `{"a":"{\"a\":0`, piece: `,\"a\":\"t.co\"`, tail: `}"}`},
	{name: "JSON in JSON in vain", head: `{"a":[0`, piece: `,"{\"a\":\"t.co\""`, tail: "]}"},
}

// hostileLine returns a line of about size bytes.
func hostileLine(i, size int) []byte {
	h := hostile[i]
	n := max(0, size-len(h.head)-len(h.tail)) / len(h.piece)
	return []byte(h.head + strings.Repeat(h.piece, n) + h.tail)
}

// BenchmarkHostile shows that the time per byte does not depend on the length of a line. IOCPIPE_BENCH_LONG adds lines
// of that many bytes to it.
func BenchmarkHostile(b *testing.B) {
	sizes := []int{1 << 10, 1 << 16, 1 << 20}
	if long, err := strconv.Atoi(os.Getenv("IOCPIPE_BENCH_LONG")); err == nil {
		sizes = append(sizes, long)
	}
	for i, h := range hostile {
		for _, size := range sizes {
			line := hostileLine(i, size)
			b.Run(fmt.Sprintf("%s/%d", h.name, size), func(b *testing.B) {
				s := Scanner{Defang: DefangAll}
				var matches []Match
				b.SetBytes(int64(len(line)))
				for b.Loop() {
					matches = s.Append(matches[:0], line)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(line)), "ns/byte")
			})
		}
	}
}

// TestHostileMemory checks that what the scanner keeps grows no faster than the line.
func TestHostileMemory(t *testing.T) {
	const (
		short, long = 1 << 12, 1 << 18
		slack       = 1 << 12
		mostGrowth  = 1.1 // of what is kept per byte
	)
	for i, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			small, large := kept(hostileLine(i, short)), kept(hostileLine(i, long))
			if limit := mostGrowth*float64(small)*long/short + slack; float64(large) > limit {
				t.Errorf("%d bytes are kept of a line of %d, %d of one of %d", small, short, large, long)
			}
		})
	}
}

// kept returns how many bytes and entries a scanner keeps of a line.
func kept(line []byte) int {
	s := Scanner{Defang: DefangAll, Explain: true}
	n := len(s.Append(nil, bytes.Clone(line))) + len(s.memory) + len(s.outer.fields.known) + len(s.inner.fields.known)
	for _, v := range s.stage {
		n += len(v.text) + len(v.edits)
	}
	return n
}
