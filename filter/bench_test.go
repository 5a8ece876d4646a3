package filter

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"iocpipe/filter/source"
)

// A passing worker changes nothing.
type passing struct{}

func (passing) Process(_ []byte, b *Block) []byte { return b.Data }

// A copying worker changes nothing either, but copies.
type copying struct{}

func (copying) Process(dst []byte, b *Block) []byte { return append(dst, b.Data...) }

const logLine = "Jan 12 06:25:41 web1 sshd[2217]: Failed password for invalid user admin from 198.51.100.7 port 50022\n"

// logFile writes a file of size bytes, in lines of length bytes, and returns its path.
func logFile(b *testing.B, size, length int) string {
	line := append(bytes.Repeat([]byte("x"), length-1), '\n')
	path := filepath.Join(b.TempDir(), "log")
	if err := os.WriteFile(path, bytes.Repeat(line, size/length), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

var lineLengths = []struct {
	name   string
	length int
}{{"lines of 100 bytes", 100}, {"lines of 600 kB", 600_000}, {"long lines of 8 MB", 8_000_000}}

func BenchmarkReader(b *testing.B) {
	const size = 256_000_000
	for _, bb := range lineLengths {
		b.Run(bb.name, func(b *testing.B) {
			path := logFile(b, size, bb.length)
			b.SetBytes(size)
			for b.Loop() {
				r := NewReader(source.Open([]string{path}, nil), 0, failing(b))
				for block, err := r.Next(); err == nil; block, err = r.Next() {
					r.Release(block)
				}
			}
		})
	}
}

func BenchmarkRun(b *testing.B) {
	const size = 256_000_000
	for _, bb := range lineLengths {
		b.Run(bb.name, func(b *testing.B) {
			path := logFile(b, size, bb.length)
			b.SetBytes(size)
			for b.Loop() {
				_, err := Run(b.Context(), source.Open([]string{path}, nil), io.Discard,
					func() Worker { return passing{} }, Options{Failed: failing(b)})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReaderSingleBytes shows that a line costs the same per byte however long it is.
func BenchmarkReaderSingleBytes(b *testing.B) {
	for _, length := range []int{100, 100_000} {
		b.Run(strconv.Itoa(length), func(b *testing.B) {
			input := strings.Repeat(strings.Repeat("x", length-1)+"\n", 100_000/length)
			b.SetBytes(int64(len(input)))
			for b.Loop() {
				r := NewReader(from(iotest.OneByteReader(strings.NewReader(input))), 0, failing(b))
				for block, err := r.Next(); err == nil; block, err = r.Next() {
					r.Release(block)
				}
			}
		})
	}
}

// BenchmarkLoneLine sends a line and waits for it to come back before the next.
func BenchmarkLoneLine(b *testing.B) {
	in, toIn, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	fromOut, out, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := Run(b.Context(), source.Open(nil, in), out, func() Worker { return copying{} }, Options{Failed: failing(b)})
		ended <- err
	}()
	answer := make([]byte, len(logLine))
	for b.Loop() {
		if _, err := toIn.WriteString(logLine); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(fromOut, answer); err != nil {
			b.Fatal(err)
		}
	}
	toIn.Close()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
