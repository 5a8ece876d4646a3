package export

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	for _, format := range Formats {
		path := filepath.Join(dir, string(format))
		result, err := File(path, format, each(known()), Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		want, wantResult := export(t, format, known(), Options{})
		if diff := cmp.Diff(want, read(t, path)); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
		if diff := cmp.Diff(wantResult, result); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
	}
	if got := names(t, dir); len(got) != len(Formats) {
		t.Errorf("left behind: %v", got)
	}
}

func TestFileKeepsTheOldOne(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "list"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := File(link, Plain, broken(known()), Options{Now: now}); err != errBroken {
		t.Errorf("got %v", err)
	}
	if got := read(t, path); got != "old\n" {
		t.Errorf("a broken export left %q", got)
	}
	if _, err := File(link, Plain, each(known()[:1]), Options{Now: now}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if info, err = os.Stat(path); err != nil || info.Mode().Perm() != 0o640 || read(t, path) != "203.0.113.7\n" {
		t.Errorf("%v, %v: %q", info, err, read(t, path))
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}

func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := File(dir, CSV, each(known()), Options{Now: now}); err == nil || !strings.Contains(err.Error(), "name it") {
		t.Errorf("got %v", err)
	}
	if _, err := File(filepath.Join(dir, "none", "list"), CSV, each(known()), Options{Now: now}); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if result, err := File(os.DevNull, CSV, each(known()), Options{Now: now}); err != nil || result.Written == 0 {
		t.Errorf("%v, %v", result, err)
	}
}

// A format of several files puts them into a folder, all or none.
func TestFolder(t *testing.T) {
	for format, want := range map[Format][]string{
		Splunk: {"domain_intel.csv", "email_intel.csv", "file_intel.csv", "http_intel.csv", "ip_intel.csv"},
		MISP:   {mispEvent + ".json", "hashes.csv", "manifest.json"},
	} {
		dir := filepath.Join(t.TempDir(), "feed") + string(filepath.Separator) // is made
		result, err := File(dir, format, each(known()), Options{Now: now, Verdicts: everyVerdict})
		if err != nil {
			t.Fatal(err)
		}
		_, wantResult := export(t, format, known(), Options{Verdicts: everyVerdict})
		if diff := cmp.Diff(wantResult, result); diff != "" {
			t.Errorf("%s: a folder and a file hold different things: %s", format, diff)
		}
		if diff := cmp.Diff(want, names(t, dir)); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
		var all strings.Builder
		for _, name := range want {
			all.WriteString("== " + name + "\n" + read(t, filepath.Join(dir, name)))
		}
		golden(t, string(format)+"-folder.golden", all.String())

		if _, err := File(dir, format, broken(known()[:1]), Options{Now: now}); err != errBroken {
			t.Errorf("got %v", err)
		}
		for _, name := range want {
			if !strings.Contains(all.String(), "== "+name+"\n"+read(t, filepath.Join(dir, name))) {
				t.Errorf("a broken export changed %s", name)
			}
		}
	}
}
