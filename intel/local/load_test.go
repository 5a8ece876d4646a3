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

// TestRefusedLinesAreLeftOut holds that a bad line costs no other.
func TestRefusedLinesAreLeftOut(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{"# one\nnot an indicator\nevil.test\n", "line 2: no indicator"},
		{"# one\n0.0.0.0/0\nevil.test\n", "line 2: network is too broad"},
		{"# one\nd41d8cd98f00b204e9800998ecf8427e\nevil.test\n", "line 2: hash of the empty file"},
		{"evil.test\nfoo\nbar\n\nbaz\n", `line 2: no indicator: "foo" (and 2 more lines that were left out)`},
	} {
		b := newBuilder("")
		err := b.load(strings.NewReader(tt.list), "a")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %q", tt.list, err, tt.want)
		}
		if s := built(t, b); s.Len() != 1 || s.Find(keyOf(t, "evil.test")).Verdict != intel.Malicious {
			t.Errorf("%q: %d entries, want evil.test alone", tt.list, s.Len())
		}
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
	b := newBuilder("")
	err := b.load(io.MultiReader(strings.NewReader("evil.test\n203.0.113."), iotest.ErrReader(broken)), "a")
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
	if s := built(t, b); s.Len() != 1 || s.Find(keyOf(t, "evil.test")).Verdict != intel.Malicious {
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
		b := newBuilder("")
		_ = b.load(bytes.NewReader(data), "a")
		s := built(t, b)
		listed := make(map[intel.Subject]bool)
		for e := range s.feeds[0].entries() {
			key, want := e.Key, e.Report.Verdict()
			if e.URL == "" || e.Key.Type != extract.Domain {
				listed[intel.Subject{Key: e.Key, Net: e.Net, Below: e.Below}] = true
			}
			switch {
			case e.Net.IsValid():
				key = extract.Key{Type: extract.IP, Value: e.Net.Addr().String()}
			case e.Below:
				key.Value = "x." + key.Value
			case e.URL != "" && e.Key.Type == extract.Domain:
				want = intel.Related
			}
			if f := s.Find(key); f.Verdict < want && (want != intel.Related || f.Verdict < intel.Benign) {
				t.Errorf("%+v: found %v, want %v", e.Subject, f.Verdict, want)
			}
		}
		if s.Len() != len(listed) {
			t.Errorf("Len is %d, want %d", s.Len(), len(listed))
		}
	})
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
