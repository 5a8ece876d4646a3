package extract

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkScanner measures the scanner alone on each kind of log in testdata/logs, and on those that
// IOCPIPE_BENCH_LOGS names.
func BenchmarkScanner(b *testing.B) {
	paths := append(glob(b, "../testdata/logs/*.log"), filepath.SplitList(os.Getenv("IOCPIPE_BENCH_LOGS"))...)
	for _, path := range paths {
		lines := readLines(b, path)
		b.Run(filepath.Base(path), func(b *testing.B) {
			s := Scanner{Defang: DefangCommon}
			var matches []Match
			b.SetBytes(int64(len(bytes.Join(lines, []byte("\n")))))
			b.ReportAllocs()
			for b.Loop() {
				for _, line := range lines {
					matches = s.Append(matches[:0], line)
				}
			}
		})
	}
}

// TestAllocations proves that the scanner does not allocate per line, on every kind of log.
func TestAllocations(t *testing.T) {
	for _, path := range glob(t, "../testdata/logs/*.log") {
		lines := readLines(t, path)
		for _, defang := range []Defang{DefangCommon, DefangAll} {
			s := Scanner{Defang: defang}
			var matches []Match
			scan := func() {
				for _, line := range lines {
					matches = s.Append(matches[:0], line)
				}
			}
			scan() // grows the scanner's memory and fills its cache
			if n := testing.AllocsPerRun(3, scan); n > 0 {
				t.Errorf("%s, defang %d: %v allocations for %d lines, want 0", path, defang, n, len(lines))
			}
		}
	}
}

func readLines(tb testing.TB, path string) [][]byte {
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(data), []byte("\n"))
}

func glob(tb testing.TB, pattern string) []string {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		tb.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	return paths
}

// million is how many entries the lists of these benchmarks have.
const million = 1_000_000

// millionEntries are the entries of one kind, by their number. The multiplier, prime to the length, puts them out of order.
var millionEntries = []struct {
	name  string
	entry func(n uint64) string
}{
	{"domains", func(n uint64) string { return fmt.Sprintf("host-%d.example-%d.net", n*7919%million, n%9973) }},
	{"addresses", func(n uint64) string {
		a := n*7919%million + 0x0b000000
		return fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&0xff, a>>8&0xff, a&0xff)
	}},
	{"networks", func(n uint64) string {
		a := n*7919%million<<8 + 0x0b000000
		return fmt.Sprintf("%d.%d.%d.0/25", a>>24, a>>16&0xff, a>>8&0xff)
	}},
	{"hashes", func(n uint64) string { return fmt.Sprintf("%032x", n*0x9E3779B97F4A7C15) }},
}

// millionList returns the text of a list of one kind.
func millionList(entry func(uint64) string) string {
	var b strings.Builder
	for n := range uint64(million) {
		b.WriteString(entry(n))
		b.WriteByte('\n')
	}
	return b.String()
}

// BenchmarkListLoad measures how long a list of a million entries takes to load.
func BenchmarkListLoad(b *testing.B) {
	for _, kind := range millionEntries {
		b.Run(kind.name, func(b *testing.B) {
			text := millionList(kind.entry)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				var l List
				if err := l.Load(strings.NewReader(text)); err != nil || l.Len() < million/2 {
					b.Fatalf("%d entries, %v", l.Len(), err)
				}
			}
		})
	}
}

// BenchmarkListLines measures what a line costs, scanned and asked of the policy, without a list and with one of a
// million entries of each kind.
func BenchmarkListLines(b *testing.B) {
	var lines [][]byte
	for _, path := range glob(b, "../testdata/logs/*.log") {
		lines = append(lines, readLines(b, path)...)
	}
	full := new(List)
	for _, kind := range millionEntries {
		if err := full.Load(strings.NewReader(millionList(kind.entry))); err != nil {
			b.Fatal(err)
		}
	}
	for name, policy := range map[string]Policy{"none": {}, "million": {Allow: full}} {
		b.Run(name, func(b *testing.B) {
			s := Scanner{Defang: DefangAll}
			var matches []Match
			for b.Loop() {
				for _, line := range lines {
					matches = s.Append(matches[:0], line)
					for _, m := range matches {
						policy.Skip(m.Key)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(lines)), "ns/line")
		})
	}
}
