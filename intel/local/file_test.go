package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/intel/local/format"
)

// listOf returns the import of a list.
func listOf(name, content string) *Import {
	in := &Import{Source: Source{Name: name, From: name + ".txt"}}
	in.Read = func(take func(intel.Entry) error) error {
		kind, err := format.Read(strings.NewReader(content), format.Options{Source: name}, take,
			func(r format.Refused) {
				in.Source.Refused++
				in.Source.Samples = append(in.Source.Samples, r.String())
			})
		in.Source.Kind = string(kind)
		return err
	}
	return in
}

// storeFile makes a store file of feeds, given as name and content in turn.
func storeFile(t testing.TB, feeds ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "intel.store")
	replace(t, path, feeds...)
	return path
}

func replace(t testing.TB, path string, feeds ...string) []Result {
	t.Helper()
	var imports []*Import
	for i := 0; i < len(feeds); i += 2 {
		imports = append(imports, listOf(feeds[i], feeds[i+1]))
	}
	results, err := Replace(path, imports...)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tells fails unless the store says what is wanted of each value.
func wantTold(t testing.TB, s *Store, want map[string]string) {
	t.Helper()
	for value, want := range want {
		if got := told(s.Find(keyOf(t, value))); got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}

const mixed = "203.0.113.7\nevil.test\n*.bad.test\n198.51.100.0/24\n2001:db8::/32\nhttp://page.test/x\n" +
	`{"value":"named.test","response_code":"1","votes":-1,"emails":["joe@mail.test"]}` + "\n"

var mixedTold = map[string]string{
	"203.0.113.7": "malicious in a", "evil.test": "malicious in a", "x.bad.test": "malicious in a",
	"198.51.100.9": "malicious in a", "2001:db8::9": "malicious in a", "named.test": "malicious in a",
	"www.evil.test": "related by parent of evil.test in a", "joe@mail.test": "related by email of named.test in a",
	"page.test": "related by url of http://page.test/x in a", "203.0.113.8": "", "good.test": "", "bad.test": "",
}

func TestFile(t *testing.T) {
	path := storeFile(t, "a", mixed)
	s := open(t, path)
	wantTold(t, s, mixedTold)
	if s.Len() != 6 || s.Err() != nil {
		t.Errorf("%d entries, want 6; %v", s.Len(), s.Err())
	}
	sources := s.Sources()
	if len(sources) != 1 || sources[0].Name != "a" || sources[0].Kind != "plain" || sources[0].From != "a.txt" ||
		sources[0].Entries != 7 {
		t.Errorf("sources: %+v", sources)
	}
	if loaded, errs := Load([]string{path}); len(errs) > 0 || loaded.Len() != 6 {
		t.Errorf("Load: %v, %d entries", errs, loaded.Len())
	}
}

var update = flag.Bool("update", false, "write the files of testdata anew")

// TestVersion1 reads a file as the first version of the format wrote it: later ones must still do so.
func TestVersion1(t *testing.T) {
	path := filepath.Join("testdata", "version1.store")
	if *update {
		made := storeFile(t, "a", mixed)
		edit(t, made, "add", "added.test", "rm", "2001:db8::/32", "allow", "good.test")
		data, err := os.ReadFile(made)
		if err == nil {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, path)
	want := maps.Clone(mixedTold)
	want["added.test"], want["2001:db8::9"] = "malicious in by hand", ""
	wantTold(t, s, want)
	if len(s.Edits()) != 3 || !s.Allow().Has(keyOf(t, "good.test")) {
		t.Errorf("edits: %+v", s.Edits())
	}
}

// TestGroupBytes holds the example of the package's documentation.
func TestGroupBytes(t *testing.T) {
	items := appendItem(nil, &item{kind: exact, verdict: intel.Malicious})
	items = appendItem(items, &item{kind: below, verdict: intel.Malicious, source: 2, statement: 28})
	got := appendGroup(nil, domain, []byte("evil.test"), items)
	if want := "\x03\x09evil.test\x06\x14\x00\x00\x15\x02\x1c"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFileOutlivesItsName holds that a store goes on to say what it said when its file was opened.
func TestFileOutlivesItsName(t *testing.T) {
	path := storeFile(t, "a", mixed)
	s := open(t, path)
	replace(t, path, "a", "other.test")
	wantTold(t, s, mixedTold)
	wantTold(t, open(t, path), map[string]string{"evil.test": "", "other.test": "malicious in a"})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wantTold(t, s, mixedTold)
}

// TestFindInFileDoesNotAllocate asks for what is there, and for what is not.
func TestFindInFileDoesNotAllocate(t *testing.T) {
	path := storeFile(t, "a", mixed)
	if err := Change(path, func(e *Edits) error {
		return errors.Join(e.Remove(intel.Subject{Key: keyOf(t, "evil.test")}, "ann", ""),
			e.Remove(subject(t, "203.0.113.7"), "ann", ""), e.Add(entryOf("by.hand.test")))
	}); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	for _, value := range append(slices.Collect(maps.Keys(mixedTold)), "by.hand.test") {
		key := keyOf(t, value)
		if n := testing.AllocsPerRun(100, func() { s.Find(key) }); n != 0 {
			t.Errorf("%s: %v allocations", value, n)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	good, err := os.ReadFile(storeFile(t, "a", mixed))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(data []byte) []byte) []byte { return change(bytes.Clone(good)) }
	for _, tt := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrForeign},
		{"text", []byte("evil.test\n"), ErrForeign},
		{"header alone", good[:40], ErrDamaged},
		{"cut", good[:len(good)-1], ErrDamaged},
		{"longer", append(bytes.Clone(good), 0), ErrDamaged},
		{"header", with(func(d []byte) []byte { d[30]++; return d }), ErrDamaged},
		{"table", with(func(d []byte) []byte { d[len(d)-1]++; return d }), ErrDamaged},
		{"body", with(func(d []byte) []byte { d[headerSize+3]++; return d }), ErrDamaged},
		{"newer", with(func(d []byte) []byte {
			d[8]++
			binary.LittleEndian.PutUint32(d[headerSize-4:], crc32.Checksum(d[:headerSize-4], castagnoli))
			return d
		}), ErrNewer},
	} {
		path := filepath.Join(t.TempDir(), "intel.store")
		if err := os.WriteFile(path, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %v that names the file", tt.name, err, tt.want)
		}
		if _, err := Replace(path, listOf("a", "evil.test")); !errors.Is(err, tt.want) {
			t.Errorf("%s: replaced: %v", tt.name, err)
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, tt.data) {
			t.Errorf("%s: the file was changed", tt.name)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a folder was opened")
	}
}

// bigStore makes a file of n indicators that is not checked wholly when it is opened, for long URLs among them.
func bigStore(t testing.TB) (path string, n int) {
	n = 100_000
	in := importOf("a", n)
	few := in.Read
	in.Read = func(take func(intel.Entry) error) error {
		for i := range 16 {
			e := entryOf(fmt.Sprintf("long%d.test", i))
			e.URL = "http://" + e.Key.Value + "/" + strings.Repeat("x", 1<<20)
			if err := take(e); err != nil {
				return err
			}
		}
		return few(take)
	}
	path = filepath.Join(t.TempDir(), "intel.store")
	if _, err := Replace(path, in); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() <= wholeCheck {
		t.Fatalf("a file of %d bytes is not big: %v", info.Size(), err)
	}
	return path, n
}

// TestDamageIsFoundWhenItIsMet flips a bit of a big file: nothing is said from its page, and from then on nothing at
// all.
func TestDamageIsFoundWhenItIsMet(t *testing.T) {
	path, n := bigStore(t)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	at := int64(5<<20 + 123) // among the records
	f.ReadAt(b[:], at)
	b[0] ^= 4
	f.WriteAt(b[:], at)

	s := open(t, path)
	before := 0
	for i := 0; i < n && s.Err() == nil; i++ {
		if got := s.Find(keyOf(t, indicator(i))); got.Verdict == intel.Malicious {
			before++
		} else if s.Err() == nil {
			t.Fatalf("%s is not found, and nothing is wrong", indicator(i))
		}
	}
	if err := s.Err(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want damage of %s", err, path)
	}
	for i := range 3 {
		if got := s.Find(keyOf(t, indicator(i))); got.Verdict != intel.NoVerdict {
			t.Errorf("%s is still found after %d findings", indicator(i), before)
		}
	}
	if _, err := Replace(path, listOf("b", "evil.test")); !errors.Is(err, ErrDamaged) {
		t.Errorf("the damage was merged: %v", err)
	}
	both := Join(s, storeOf(t, "b", "evil.test"))
	wantTold(t, both, map[string]string{"evil.test": "malicious in b"})
	if !errors.Is(both.Err(), ErrDamaged) {
		t.Errorf("joined: %v", both.Err())
	}
}

// TestCutWhileInUse cuts a file short that is mapped: the process must live.
func TestCutWhileInUse(t *testing.T) {
	path, n := bigStore(t)
	s := open(t, path)
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s.Find(keyOf(t, indicator(i)))
	}
	for range s.Entries() {
	}
	s.About(keyOf(t, "evil.test"))
	if !errors.Is(s.Err(), ErrDamaged) {
		t.Errorf("got %v", s.Err())
	}
}

// TestBytesPerIndicator holds what a store takes beyond the texts of its indicators.
func TestBytesPerIndicator(t *testing.T) {
	n := 100_000
	path := filepath.Join(t.TempDir(), "intel.store")
	if _, err := Replace(path, importOf("a", n)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	text := 0
	for i := range n {
		key := keyOf(t, indicator(i))
		if text += len(key.Value); key.Type.IsHash() {
			text -= len(key.Value) / 2
		}
	}
	if beyond := float64(info.Size()-int64(text)) / float64(n); beyond > 10 {
		t.Errorf("%.1f bytes per indicator beyond its text, want at most 10", beyond)
	}
	networks := 50_000
	path = filepath.Join(t.TempDir(), "networks")
	var list strings.Builder
	for i := range networks {
		fmt.Fprintf(&list, "%d.%d.%d.0/24\n", 1+i>>16, i>>8&255, i&255)
	}
	replace(t, path, "a", list.String())
	if info, _ = os.Stat(path); float64(info.Size()-int64(list.Len()))/float64(networks) > 24 {
		t.Errorf("%d bytes for %d networks with %d of text", info.Size(), networks, list.Len())
	}
}

// FuzzOpen opens anything: a file may be wrong in every way, but must not end the process. The sums are made right, so
// that what they cover is read.
func FuzzOpen(f *testing.F) {
	for _, feed := range []string{mixed, "", "203.0.113.7\n203.0.113.0/24\n203.0.0.0/16"} {
		path := storeFile(f, "a", feed)
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		if err := Change(path, func(e *Edits) error {
			return errors.Join(e.Remove(intel.Subject{Key: keyOf(f, "evil.test")}, "ann", "no"), e.Allow("a.test", "", "", time.Time{}))
		}); err != nil {
			f.Fatal(err)
		}
		data, _ = os.ReadFile(path)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		mendSums(data)
		file, err := readFile("fuzz", data)
		if err != nil {
			return
		}
		s := file.store()
		for value := range mixedTold {
			key, _ := extract.ParseKey(value)
			s.Find(key)
			s.About(key)
		}
		n := 0
		for range s.Entries() {
			n++
		}
		s.Edits()
		s.Allow()
		_, _ = editsOf(file)
		_ = merge(new(bytes.Buffer), newBuilder(""), file.base)
	})
}

// mendSums makes the sums of a file right, as far as there is a file.
func mendSums(data []byte) {
	if len(data) < headerSize {
		return
	}
	at, size := binary.LittleEndian.Uint64(data[24:]), binary.LittleEndian.Uint64(data[32:])
	binary.LittleEndian.PutUint64(data[16:], uint64(len(data)))
	if at <= uint64(len(data)) && size <= uint64(len(data))-at {
		f := file{data: data}
		if f.readTable(data[at:at+size]) == nil {
			mendPages(&f, data[at:at+size])
		}
		binary.LittleEndian.PutUint32(data[40:], crc32.Checksum(data[at:at+size], castagnoli))
	}
	binary.LittleEndian.PutUint32(data[headerSize-4:], crc32.Checksum(data[:headerSize-4], castagnoli))
}

func mendPages(f *file, table []byte) {
	for _, p := range f.parts {
		table = table[partHead:]
		sums := summer{w: new(bytes.Buffer)}
		_, _ = sums.Write(f.data[p.at : p.at+p.size])
		for _, sum := range sums.end() {
			binary.LittleEndian.PutUint32(table, sum)
			table = table[4:]
		}
	}
}
