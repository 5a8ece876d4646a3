package format

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"iocpipe/intel"
)

func gzipped(content string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, content)
	w.Close()
	return b.String()
}

func zstded(t testing.TB, content string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(w.EncodeAll([]byte(content), nil))
}

// zipped returns an archive of files, which are given as name and content in turn.
func zipped(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, files[i+1])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// bzipped is "evil.test\n", compressed with bzip2.
const bzipped = "425a68393141592653598c787431000001d1800010000102240d002000310c0820d19a91e22405e2ee48a70a12118f0e8620"

func TestOpen(t *testing.T) {
	long := strings.Repeat("host.evil.test\n", 100_000)
	for _, tt := range []struct{ name, content, want string }{
		{"plain", "evil.test\n", "evil.test\n"},
		{"empty", "", ""},
		{"short", "a", "a"},
		{"gzip", gzipped(long), long},
		{"gzip, two members", gzipped("a.test\n") + gzipped("b.test\n"), "a.test\nb.test\n"},
		{"zstd", zstded(t, long), long},
		{"zip", zipped(t, "a.csv", long), long},
		{"zip, several", zipped(t, "folder/", "", "folder/a.txt", "a.test", "empty", "", "b.txt", "b.test\n"),
			"a.test\nb.test\n"},
		{"zip, empty", zipped(t), ""},
	} {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, err := io.ReadAll(r)
		if string(got) != tt.want || err != nil {
			t.Errorf("%s: %v, %d bytes, want %d", tt.name, err, len(got), len(tt.want))
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: close: %v", tt.name, err)
		}
	}
}

func TestOpenBroken(t *testing.T) {
	encrypted := []byte(zipped(t, "a.txt", "evil.test"))
	encrypted[6] |= 1 // in the member's header, which readers pass over
	encrypted[bytes.Index(encrypted, []byte("PK\x01\x02"))+8] |= 1
	for _, tt := range []struct{ name, content, want string }{
		{"gzip, cut off", gzipped(strings.Repeat("evil.test\n", 1000))[:20], "EOF"},
		{"gzip, header cut off", "\x1f\x8b\x08\x00", "EOF"},
		{"zip, cut off", zipped(t, "a.txt", "evil.test")[:40], "zip"},
		{"zip, encrypted", string(encrypted), "encrypted"},
		{"zstd, cut off", zstded(t, strings.Repeat("evil.test\n", 1000))[:12], "EOF"},
	} {
		r, err := Decompress(strings.NewReader(tt.content))
		if err == nil {
			_, err = io.ReadAll(r)
			r.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("missing file: %v", err)
	}
}

// tree writes files below a new folder and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// filesOf returns the files of root, relative to it, and the errors.
func filesOf(root string) (files []string, errs []error) {
	target, _ := filepath.EvalSymlinks(root)
	for path, err := range Files(root) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		name, _ := filepath.Rel(target, path)
		files = append(files, name)
	}
	return files, errs
}

func TestFiles(t *testing.T) {
	root := tree(t, map[string]string{
		"b.txt": "", "a/feed.v2.ndjson": "", "noext": "", ".hidden": "", ".git/list.txt": "", "a/.old.txt": "",
	})
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil { // nobody will ever write to it
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, ".hidden"), filepath.Join(root, "shown.txt")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{root, link} {
		got, errs := filesOf(path)
		want := []string{"a/feed.v2.ndjson", "b.txt", "noext", "shown.txt"}
		if !slices.Equal(got, want) || len(errs) > 0 {
			t.Errorf("%v, %v, want %v", got, errs, want)
		}
	}
	for range Files(root) {
		break // must not go on
	}
}

func TestFilesTakesHiddenPathsThatAreNamed(t *testing.T) {
	root := tree(t, map[string]string{".lists/a.txt": "", ".one.txt": ""})
	if got, errs := filesOf(filepath.Join(root, ".lists")); !slices.Equal(got, []string{"a.txt"}) || len(errs) > 0 {
		t.Errorf("%v, %v", got, errs)
	}
	if got, errs := filesOf(filepath.Join(root, ".one.txt")); !slices.Equal(got, []string{"."}) || len(errs) > 0 {
		t.Errorf("%v, %v", got, errs)
	}
	if _, errs := filesOf(filepath.Join(root, "missing")); len(errs) != 1 {
		t.Errorf("%v, want one error", errs)
	}
}

func TestSourceName(t *testing.T) {
	for path, want := range map[string]string{
		"/lists/evil.txt": "evil", "feed.v2.ndjson": "feed.v2", "noext": "noext", "full.csv.zip": "full",
		"ipsum.txt.gz": "ipsum", "a.GZ": "a", ".hidden": ".hidden", "x/y/drop_v4.json": "drop_v4",
	} {
		if got := SourceName(path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestBzip2(t *testing.T) {
	data, err := hex.DecodeString(bzipped)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Decompress(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "evil.test\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestArchiveOfSeveralFormats reads each file of an archive as the list that it is.
func TestArchiveOfSeveralFormats(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, file := range []struct{ name, content string }{
		{"a.txt", "203.0.113.7\nrubbish\n"}, {"empty/", ""}, {"b.csv", "indicator,type\nevil.test,domain"}, {"c.txt", "203.0.113.8"},
	} {
		f, err := w.Create(file.name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write([]byte(file.content))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "lists.zip")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got, refused []string
	kind, err := Read(r, Options{}, func(e intel.Entry) error {
		got = append(got, e.Key.Value)
		return nil
	}, func(r Refused) { refused = append(refused, r.String()) })
	if err != nil || kind != "plain, csv" {
		t.Errorf("%q, %v", kind, err)
	}
	if text := strings.Join(got, " "); text != "203.0.113.7 evil.test 203.0.113.8" {
		t.Errorf("got %s", text)
	}
	if text := strings.Join(refused, "; "); text != `a.txt, line 2: no indicator: "rubbish"` {
		t.Errorf("refused %s", text)
	}
}
