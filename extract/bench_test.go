package extract

import (
	"bytes"
	"os"
	"path/filepath"
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
