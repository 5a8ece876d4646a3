package source

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const content = "one\ntwo\n"

// bzipped is content, emptyBzip nothing, as bzip2 1.0.8 writes them.
var (
	bzipped   = unhex("425a6839314159265359a7142b77000002c1800010020184802000218 00c0238f51b8bb9229c2848538a15bb80")
	emptyBzip = unhex("425a683917724538509000000000")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func gzipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.Bytes()
}

func zstded(s string) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll([]byte(s), nil)
}

// write makes a file of data and returns its path.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An input is what Files made of one path.
type input struct {
	Name, Content string
	Err           error
}

func readAll(f *Files) []input {
	var all []input
	for name, err := f.Next(); err != io.EOF; name, err = f.Next() {
		var got []byte
		if err == nil {
			got, err = io.ReadAll(f)
		}
		all = append(all, input{name, string(got), err})
	}
	return all
}

func TestFilesDecompress(t *testing.T) {
	join := func(members ...[]byte) []byte { return bytes.Join(members, nil) }
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"plain", []byte(content), content},
		{"empty", nil, ""},
		{"shorter than a magic", []byte("\x1f"), "\x1f"},
		{"gzip", gzipped(content), content},
		{"gzip, empty", gzipped(""), ""},
		{"gzip, members", join(gzipped("one\n"), gzipped(""), gzipped("two\n")), content},
		{"zstd", zstded(content), content},
		{"zstd, frames", join(zstded("one\n"), zstded("two\n")), content},
		{"zstd, skippable frame first", join([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip"), zstded(content)), content},
		{"bzip2", bzipped, content},
		{"bzip2, empty", emptyBzip, ""},
		{"bzip2, streams", join(bzipped, bzipped), content + content},
		{"text that begins like bzip2", []byte("BZh9 is a magic\n"), "BZh9 is a magic\n"},
		{"text that begins like zstd", []byte("(\xb5/\n"), "(\xb5/\n"},
		{"larger than what is read ahead", []byte(strings.Repeat(content, readAhead)), strings.Repeat(content, readAhead)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "log", tt.file)
			got := readAll(Open([]string{path}, nil))
			if diff := cmp.Diff([]input{{path, tt.want, nil}}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestFilesKeepWhatWasDecoded damages files behind content that can be read.
func TestFilesKeepWhatWasDecoded(t *testing.T) {
	var long strings.Builder // too much for one block of any codec
	for i := range 200_000 {
		long.WriteString(strings.Repeat("x", i*i%41) + "\n")
	}
	flipped := func(b []byte, at int) []byte {
		b[at] ^= 0xff
		return b
	}
	gz, zst := gzipped(long.String()), zstded(long.String())
	tests := []struct {
		name string
		file []byte
		min  int // bytes of content that must be given
		want error
	}{
		{"gzip, cut off", gz[:len(gz)/2], long.Len() / 3, io.ErrUnexpectedEOF},
		{"gzip, checksum", flipped(gzipped(content), len(gzipped(content))-6), len(content), gzip.ErrChecksum},
		{"gzip, header cut off", gz[:5], 0, io.ErrUnexpectedEOF},
		{"gzip, rubbish behind", append(gzipped(content), "rubbish rubbish"...), len(content), gzip.ErrHeader},
		{"zstd, cut off", zst[:len(zst)/2], long.Len() / 3, io.ErrUnexpectedEOF},
		{"zstd, checksum", flipped(zstded(content), len(zstded(content))-1), len(content), zstd.ErrCRCMismatch},
		{"bzip2, second stream cut off", append(bytes.Clone(bzipped), bzipped[:20]...), len(content), io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "log", tt.file)
			got := readAll(Open([]string{path}, nil))[0]
			if !errors.Is(got.Err, tt.want) || strings.Count(got.Err.Error(), path) != 1 {
				t.Errorf("got error %v, want %v with the name", got.Err, tt.want)
			}
			all := content
			if tt.min > len(content) {
				all = long.String()
			}
			if !strings.HasPrefix(all, got.Content) || len(got.Content) < tt.min {
				t.Errorf("got %d bytes, want %d of the content", len(got.Content), tt.min)
			}
		})
	}
}

func TestFilesGoOnAfterFailures(t *testing.T) {
	folder, first, last := t.TempDir(), write(t, "first", []byte("1\n")), write(t, "last", gzipped("2\n"))
	missing := filepath.Join(folder, "missing")
	got := readAll(Open([]string{first, missing, folder, last, Stdin}, strings.NewReader("3\n")))
	if len(got) != 5 {
		t.Fatalf("got %d inputs", len(got))
	}
	if !errors.Is(got[1].Err, fs.ErrNotExist) || !errors.Is(got[2].Err, syscall.EISDIR) {
		t.Errorf("got errors %v and %v", got[1].Err, got[2].Err)
	}
	for i, name := range []string{missing, folder} {
		if message := got[i+1].Err.Error(); strings.Count(message, name) != 1 {
			t.Errorf("%q: want the name once", message)
		}
		got[i+1].Err = nil
	}
	want := []input{{Name: first, Content: "1\n"}, {Name: missing}, {Name: folder},
		{Name: last, Content: "2\n"}, {Name: Stdin, Content: "3\n"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestStdin wants a stranger's bytes to pass as they are, and a file to be read like one that is named.
func TestStdin(t *testing.T) {
	file, err := os.Open(write(t, "log", gzipped(content)))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pipe, toPipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	go func() {
		toPipe.Write(gzipped(content))
		toPipe.Close()
	}()
	for _, tt := range []struct {
		name  string
		stdin io.Reader
		want  string
	}{
		{"file", file, content},
		{"pipe", pipe, string(gzipped(content))},
		{"other reader", bytes.NewReader(gzipped(content)), string(gzipped(content))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := readAll(Open(nil, tt.stdin))
			if diff := cmp.Diff([]input{{Stdin, tt.want, nil}}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestFirstLineDoesNotWait reads first lines, shorter than any magic or flushed by a compressor, while the writer keeps
// the named pipe open.
func TestFirstLineDoesNotWait(t *testing.T) {
	for _, tt := range []struct {
		written []byte
		want    string
	}{
		{[]byte("\n"), "\n"},
		{[]byte("B\n"), "B\n"},
		{[]byte("BZh\n"), "BZh\n"},
		{[]byte("\x1f\n"), "\x1f\n"},
		{flushed(func(w io.Writer) flusher { return gzip.NewWriter(w) }), content},
		{flushed(func(w io.Writer) flusher {
			e, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}), content},
	} {
		f := Open([]string{openPipe(t, tt.written)}, nil)
		if _, err := f.Next(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(tt.want))
		if _, err := io.ReadFull(f, got); err != nil || string(got) != tt.want {
			t.Errorf("got %q, %v, want %q", got, err, tt.want)
		}
		f.close()
	}
}

type flusher interface {
	io.Writer
	Flush() error
}

// flushed returns content, compressed and flushed, but not ended.
func flushed(compressor func(io.Writer) flusher) []byte {
	var b bytes.Buffer
	w := compressor(&b)
	io.WriteString(w, content)
	w.Flush()
	return b.Bytes()
}

// openPipe makes a named pipe that gives data and stays open until the test ends.
func openPipe(t *testing.T, data []byte) string {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0) // so that opening does not wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	return path
}

// FuzzFiles takes any bytes for a file: what has no magic is given as it is, and the rest ends.
func FuzzFiles(f *testing.F) {
	f.Add([]byte(content))
	f.Add(gzipped(content))
	f.Add(zstded(content))
	f.Add(bzipped)
	f.Add([]byte("BZh91AY&SX")) // nearly
	f.Fuzz(func(t *testing.T, file []byte) {
		files := &Files{name: "log", head: bufio.NewReader(bytes.NewReader(file))}
		got, err := io.ReadAll(io.LimitReader(files, 1<<24)) // bombs are the consumer's to end
		if decompress, _ := codecOf(file); decompress != nil {
			return
		}
		if err != nil || !bytes.Equal(got, file) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func BenchmarkDecompress(b *testing.B) {
	log := strings.Repeat("Jan 12 06:25:41 web1 sshd[2217]: Failed password for admin from 198.51.100.7 port 50022\n", 1e5)
	for name, file := range map[string][]byte{"gzip": gzipped(log), "zstd": zstded(log)} {
		b.Run(name, func(b *testing.B) {
			path := write(b, "log", file)
			b.SetBytes(int64(len(log)))
			for b.Loop() {
				f := Open([]string{path}, nil)
				if _, err := f.Next(); err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, f); err != nil || n != int64(len(log)) {
					b.Fatal(n, err)
				}
				f.close()
			}
		})
	}
}

// TestFilesAt checks that a file is told from others, whatever its name.
func TestFilesAt(t *testing.T) {
	dir := t.TempDir()
	one, two, moved := filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "moved")
	idOf := func(path string) string {
		f := Open([]string{path}, nil)
		if _, err := f.Next(); err != nil {
			t.Fatal(err)
		}
		defer f.close()
		id, offset, line := f.At()
		if offset != 0 || line != 1 {
			t.Errorf("begins at %d, line %d", offset, line)
		}
		return id
	}
	for _, path := range []string{one, two} {
		if err := os.WriteFile(path, []byte("same\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := idOf(one)
	if first == "" || first == idOf(two) {
		t.Error("two files have one ID")
	}
	if err := os.Rename(one, moved); err != nil {
		t.Fatal(err)
	}
	if idOf(moved) != first {
		t.Error("a new name is a new ID")
	}
	stdin := Open(nil, strings.NewReader("x"))
	if _, err := stdin.Next(); err != nil {
		t.Fatal(err)
	}
	if id, _, _ := stdin.At(); id != "" {
		t.Errorf("standard input has the ID %q", id)
	}
}
