package sharedfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestLock(t *testing.T) {
	if !CanLock {
		t.Skip("this system has no locks")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	for _, name := range []string{path, dir} { // a file and a folder
		write(t, path, "")
		first, second := open(t, name), open(t, name)
		if err := Lock(first); err != nil {
			t.Fatal(err)
		}
		if ok, err := TryLock(second); ok || err != nil {
			t.Errorf("%s: locked twice: %v, %v", name, ok, err)
		}
		taken := make(chan error)
		go func() { taken <- Lock(second) }()
		first.Close()
		if err := <-taken; err != nil {
			t.Error(err)
		}
		if ok, err := TryLock(open(t, name)); ok || err != nil {
			t.Errorf("%s: the one who waited has no lock: %v, %v", name, ok, err)
		}
		second.Close()
		if ok, err := TryLock(open(t, name)); !ok || err != nil {
			t.Errorf("%s: still locked: %v, %v", name, ok, err)
		}
	}
	closed := open(t, path)
	closed.Close()
	if Lock(closed) == nil {
		t.Error("a closed file was locked")
	}
}

func TestDraft(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "list"), filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	publish := func(content string) {
		t.Helper()
		if err := Replace(link, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path, "old")
	if err := os.Chmod(path, 0o646); err != nil { // which no umask leaves
		t.Fatal(err)
	}
	publish("new")
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o646 || read(t, path) != "new" {
		t.Errorf("%v, %v: %q", info, err, read(t, path))
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	wantNames(t, dir, "link", "list")

	d, err := Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	d.Discard()
	if got := read(t, path); got != "new" {
		t.Errorf("half a draft changed the file: %q", got)
	}
	wantNames(t, dir, "link", "list")
}

func TestNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	d, err := Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Discard()
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is there before it is whole")
	}
	if err := d.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Create(filepath.Join(path, "below"), 0o600); err == nil {
		t.Error("a draft below a file")
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"list", ".list.lock", ".list.4711.new", ".list.new", ".listing.12.new", "list.1.new"} {
		write(t, filepath.Join(dir, name), "")
	}
	Sweep(filepath.Join(dir, "list"))
	wantNames(t, dir, ".list.lock", ".listing.12.new", "list", "list.1.new")
	Sweep(filepath.Join(dir, "none", "list"))
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// wantNames checks what is in a folder, in order.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}
