package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"iocpipe/extract"
	"iocpipe/intel"
)

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"not an indicator", "no indicator"},
		{"two.test three.test", "no indicator"},
		{"two[.]test, three[.]test", "no indicator"},
		{"203.0.113.7/33", "no indicator"},
		{"user.name:password", "no indicator"},
		{"evil.test:99999", "no indicator"},
		{"http:///path", "no indicator"},
		{"http://localhost/", "no indicator"},
		{"*.test", "no indicator"},
		{"*", "no indicator"},
		{"and/or", "no indicator"},
		{"0.0.0.0/0", "network is too broad"},
		{"10.0.0.0/7", "network is too broad"},
		{"::/0", "network is too broad"},
		{"::ffff:0.0.0.0/96", "network is too broad"},
		{"2000::/15", "network is too broad"},
		{"d41d8cd98f00b204e9800998ecf8427e", "hash of the empty file"},
		{"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", "hash of the empty file"},
		{"{\"value\":\"evil.test\"", "JSON"},
		{"{\"value\":\"no indicator\",\"response_code\":\"1\"}", "value"},
		{strings.Repeat("x", maxListLine+1), "too long"},
		{"{" + strings.Repeat(" ", maxReportLine) + "}", "too long"},
	} {
		s := newStore()
		err := s.load(strings.NewReader("# one\n"+tt.line+"\nevil.test\n"), "a")
		name := tt.line[:min(len(tt.line), 40)]
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "line 2: ") {
			t.Errorf("%q: got %v, want %q of line 2", name, err, tt.want)
			continue
		}
		if len(err.Error()) > 200 {
			t.Errorf("%q: an error of %d bytes", name, len(err.Error()))
		}
		if s.Len() != 1 || len(s.relations) != 0 {
			t.Errorf("%q: %d entries and %d relations, want the line after it alone", name, s.Len(), len(s.relations))
		}
	}
}

func TestRefusedLinesAreCounted(t *testing.T) {
	err := newStore().load(strings.NewReader("evil.test\nfoo\nbar\n\nbaz\n"), "a")
	if want := `line 2: no indicator: "foo" (and 2 more lines that were left out)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLongReportLine(t *testing.T) {
	var subdomains strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&subdomains, `,"host%d.evil.test"`, i)
	}
	s := storeOf(t, "a", "203.0.113.7\n"+line("evil.test",
		malicious+`,"subdomains":["www.evil.test"`+subdomains.String()+"]")+"203.0.113.8\n")
	for value, want := range map[string]string{
		"203.0.113.7": "malicious in a", "203.0.113.8": "malicious in a",
		"host9999.evil.test": "related by subdomain of evil.test in a",
	} {
		if got := told(s.Find(keyOf(t, value))); got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}

func TestReadErrorKeepsWhatWasRead(t *testing.T) {
	broken := errors.New("disk on fire")
	s := newStore()
	err := s.load(io.MultiReader(strings.NewReader("evil.test\n203.0.113."), iotest.ErrReader(broken)), "a")
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
	if s.Len() != 1 || s.Find(keyOf(t, "evil.test")).Verdict != intel.Malicious {
		t.Errorf("%d entries, want evil.test alone", s.Len())
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

func TestLoadFolders(t *testing.T) {
	root := tree(t, map[string]string{
		"b.txt": "evil.test", "a/feed.v2.ndjson": line("evil.test", malicious), "noext": "203.0.113.7",
		".hidden": "203.0.113.8", ".git/list.txt": "203.0.113.9", "a/.old.txt": "203.0.113.10",
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
		s, errs := Load([]string{path})
		if len(errs) > 0 || s.Len() != 3 {
			t.Errorf("%v, %d entries, want 3", errs, s.Len())
		}
		for value, want := range map[string]string{
			"evil.test": "malicious in feed.v2", "203.0.113.7": "malicious in noext",
			"203.0.113.8": "malicious in shown",
		} {
			if got := told(s.Find(keyOf(t, value))); got != want {
				t.Errorf("%s: got %q, want %q", value, got, want)
			}
		}
	}
}

func TestLoadTakesHiddenPathsThatAreNamed(t *testing.T) {
	root := tree(t, map[string]string{".lists/a.txt": "evil.test", ".one.txt": "203.0.113.7"})
	s, errs := Load([]string{filepath.Join(root, ".lists"), filepath.Join(root, ".one.txt")})
	if len(errs) > 0 || s.Len() != 2 {
		t.Errorf("%v, %d entries, want 2", errs, s.Len())
	}
}

func TestLoadGoesOnBehindWhatItCannotRead(t *testing.T) {
	root := tree(t, map[string]string{"b/good.txt": "evil.test", "c/bad.txt": "foo bar\n203.0.113.7"})
	missing, dangling := filepath.Join(root, "missing"), filepath.Join(root, "b", "dangling.txt")
	if err := os.Symlink(missing, dangling); err != nil {
		t.Fatal(err)
	}
	s, errs := Load([]string{missing, root})
	if len(errs) != 3 {
		t.Fatalf("got %v, want three errors", errs)
	}
	for i, path := range []string{missing, dangling, filepath.Join(root, "c", "bad.txt")} {
		if !strings.Contains(errs[i].Error(), path) {
			t.Errorf("error %d is %v, want one about %s", i, errs[i], path)
		}
	}
	if s.Len() != 2 {
		t.Errorf("%d entries, want 2", s.Len())
	}
}

// FuzzLoad loads anything, and finds what it has loaded.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"203.0.113.7\r\n# comment\n*.evil.test\n10.0.0.0/8", // the plain forms
		"hxxp://evil[.]example/x\n203[.]0[.]113[.]7:80",     // defanged ones
		line("evil.test", malicious+`,"subdomains":["www.evil.test"]`),
		"\ufeffhttp://[2001:db8::1]:8080/@x\n//\n:\n[",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newStore()
		_ = s.load(bytes.NewReader(data), "a")
		s.sortNetworks()
		listed := len(s.networks) + len(s.below)
		for typ, entries := range s.exact {
			listed += len(entries)
			for value := range entries {
				if f := s.Find(extract.Key{Type: extract.Type(typ), Value: value}); f.Verdict < intel.Benign ||
					f.Verdict == intel.Related {
					t.Errorf("%q: found %v", value, f.Verdict)
				}
			}
		}
		for key := range s.relations {
			if f := s.Find(key); f.Verdict == intel.NoVerdict {
				t.Errorf("%v is related, and not found", key)
			}
		}
		for _, n := range s.networks {
			if f := s.Find(extract.Key{Type: extract.IP, Value: n.Addr().String()}); f.Verdict != intel.Malicious {
				t.Errorf("%v: found %v", n, f.Verdict)
			}
		}
		if s.Len() != listed {
			t.Errorf("Len is %d, want %d", s.Len(), listed)
		}
	})
}

// TestLoadDefangedCheaply fills a store with defanged values, and with what it refuses, which took a scanner for each.
func TestLoadDefangedCheaply(t *testing.T) {
	const lines = 2000
	var list strings.Builder
	for i := range lines / 2 {
		fmt.Fprintf(&list, "host%d[.]evil[.]com\n/path/%d.sh\n", i, i)
	}
	s := newStore()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := s.load(strings.NewReader(list.String()), "a")
	runtime.ReadMemStats(&after)
	if err == nil || s.Len() != lines/2 {
		t.Errorf("%d entries, %v, want half of the lines", s.Len(), err)
	}
	if perLine := (after.TotalAlloc - before.TotalAlloc) / lines; perLine > 2000 {
		t.Errorf("a line took %d bytes", perLine)
	}
}

// BenchmarkLoad loads a list of a million addresses, domains and hashes.
func BenchmarkLoad(b *testing.B) {
	const entries = 1_000_000
	var list strings.Builder
	for i := range entries {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&list, "%d.%d.%d.%d\n", 1+i>>24, i>>16&255, i>>8&255, i&255)
		case 1:
			fmt.Fprintf(&list, "host%d.evil%d.com\n", i, i%1000)
		default:
			fmt.Fprintf(&list, "%064x\n", i*7919)
		}
	}
	b.SetBytes(int64(list.Len()))
	before := heap()
	var s *Store
	for b.Loop() {
		s = storeOf(b, "a", list.String())
	}
	after := heap()
	runtime.KeepAlive(list)
	b.ReportMetric(float64(after-before)/float64(s.Len()), "B/entry")
	b.ReportMetric(float64(b.N)*entries/b.Elapsed().Seconds(), "entries/s")
}

// heap returns how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
