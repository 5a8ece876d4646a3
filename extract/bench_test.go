package extract

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkScanner measures the scanner alone on each kind of log in testdata/logs.
func BenchmarkScanner(b *testing.B) {
	for _, path := range logFiles(b) {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
		b.Run(filepath.Base(path), func(b *testing.B) {
			s := Scanner{Defang: DefangCommon}
			var matches []Match
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				for _, line := range lines {
					matches = s.Append(matches[:0], line)
				}
			}
		})
	}
}

// logFiles are the real logs of the project, and those that IOCPIPE_BENCH_LOGS names.
func logFiles(tb testing.TB) []string {
	paths, err := filepath.Glob("../testdata/logs/*.log")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("testdata/logs: %v", err)
	}
	return append(paths, filepath.SplitList(os.Getenv("IOCPIPE_BENCH_LOGS"))...)
}
