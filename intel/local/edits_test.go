package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/intel/local/format"
)

// subject returns what a value of a list is about.
func subject(t testing.TB, value string) intel.Subject {
	t.Helper()
	s, err := format.ParseSubject(value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// edit does one thing to the store: "add", "benign" (adds a vote for it) or "rm" with a value, "allow" or "disallow".
func edit(t testing.TB, path string, edits ...string) {
	t.Helper()
	err := Change(path, func(e *Edits) error {
		for i := 0; i < len(edits); i += 2 {
			value := edits[i+1]
			s := &intel.Statement{Report: *listed, By: "ann", Note: "CASE-42"}
			var err error
			switch edits[i] {
			case "benign":
				s.Report.Votes = 1
				fallthrough
			case "add":
				err = e.Add(intel.Entry{Subject: subject(t, value), Statement: s})
			case "rm":
				err = e.Remove(subject(t, value), "bob", "wrong")
			case "allow":
				err = e.Allow(value, "ann", "ours", time.Time{})
			case "disallow":
				err = e.Disallow(value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEdits(t *testing.T) {
	const named = `{"value":"named.test","response_code":"1","votes":-1,"emails":["joe@mail.test"]}`
	for _, tt := range []struct {
		name  string
		feed  string
		edits []string
		want  map[string]string
	}{
		{"what is added is known", "", []string{"add", "evil.test", "add", "10.0.0.0/8", "add", "*.bad.test"},
			map[string]string{
				"evil.test": "malicious in manual", "10.1.1.1": "malicious in manual",
				"x.bad.test": "malicious in manual", "x.evil.test": "related by parent of evil.test in manual",
			}},
		{"by hand goes before feeds", "evil.test\n10.0.0.0/8\n*.bad.test",
			[]string{"benign", "evil.test", "benign", "10.1.1.1", "benign", "good.bad.test"}, map[string]string{
				"evil.test": "benign in manual", "10.1.1.1": "benign in manual", "10.1.1.2": "malicious in a",
				"good.bad.test": "benign in manual", "x.bad.test": "malicious in a",
			}},
		{"a feed goes before a relation by hand", "www.evil.test", []string{"add", "http://www.evil.test/x"},
			map[string]string{"www.evil.test": "malicious in a"}},
		{"what is removed is gone", mixed, []string{"rm", "203.0.113.7", "rm", "evil.test", "rm", "*.bad.test", "rm",
			"198.51.100.0/24", "rm", "http://page.test/x"}, map[string]string{
			"203.0.113.7": "", "evil.test": "", "www.evil.test": "", "x.bad.test": "", "198.51.100.9": "",
			"page.test": "", "2001:db8::9": "malicious in a",
		}},
		{"what a removed value relates is gone with it", named, []string{"rm", "named.test"},
			map[string]string{"named.test": "", "joe@mail.test": ""}},
		{"a name covers its URLs", "http://page.test/x\nhttp://page.test/y", []string{"rm", "page.test"},
			map[string]string{"page.test": ""}},
		{"a URL is one of several", "http://page.test/x\nhttp://page.test/y", []string{"rm", "http://page.test/x"},
			map[string]string{"page.test": "related by url of http://page.test/y in a"}},
		{"a URL of an address", "http://198.51.100.1/x", []string{"rm", "http://198.51.100.1/x"},
			map[string]string{"198.51.100.1": ""}},
		{"*.domain and domain are two", "evil.test\n*.evil.test", []string{"rm", "evil.test"},
			map[string]string{"evil.test": "", "x.evil.test": "malicious in a"}},
		{"domain and *.domain are two", "evil.test\n*.evil.test", []string{"rm", "*.evil.test"}, map[string]string{
			"evil.test": "malicious in a", "x.evil.test": "related by parent of evil.test in a",
		}},
		{"behind a removed network is the one around", "10.0.0.0/8\n10.1.0.0/16", []string{"rm", "10.1.0.0/16"},
			map[string]string{"10.1.2.3": "malicious in a"}},
		{"a network says what a removed address said", "10.0.0.0/8\n10.1.2.3", []string{"rm", "10.1.2.3"},
			map[string]string{"10.1.2.3": "malicious in a"}},
		{"added again", "evil.test", []string{"rm", "evil.test", "add", "evil.test"},
			map[string]string{"evil.test": "malicious in manual"}},
		{"a URL that is added again is no longer hidden in feeds", "http://page.test/x",
			[]string{"rm", "http://page.test/x", "benign", "http://page.test/x"},
			map[string]string{"page.test": "related by url of http://page.test/x in a"}},
		{"added and removed", "", []string{"add", "evil.test", "rm", "evil.test"}, map[string]string{"evil.test": ""}},
		{"added URL removed by its host", "", []string{"add", "http://page.test/x", "rm", "page.test"},
			map[string]string{"page.test": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := storeFile(t, "a", tt.feed)
			edit(t, path, tt.edits...)
			wantTold(t, open(t, path), tt.want)
			replace(t, path, "a", tt.feed) // an update brings nothing back
			wantTold(t, open(t, path), tt.want)
			for value := range tt.want {
				checkAbout(t, open(t, path), keyOf(t, value))
			}
		})
	}
}

// checkAbout holds what is told about key against what is found: the finding is among the words that bear on it.
func checkAbout(t *testing.T, s *Store, key extract.Key) {
	t.Helper()
	found, about := s.Find(key), s.About(key)
	if (found.Verdict == intel.NoVerdict) != (len(about) == 0) {
		t.Errorf("%v: found %s, about it %+v", key, told(found), about)
	}
	if found.Verdict != intel.NoVerdict && !slices.ContainsFunc(about, func(e intel.Entry) bool {
		return e.Source == found.Source && &e.Report == found.Report
	}) {
		t.Errorf("%v: found %s, which is not among %+v", key, told(found), about)
	}
}

func TestEditsAreTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.store") // without an import
	edit(t, path, "add", "evil.test", "rm", "203.0.113.0/24", "rm", "http://page.test/x", "allow", "good.test")
	var got []string
	s := open(t, path)
	for _, e := range s.Edits() {
		if e.At.IsZero() {
			t.Errorf("%+v has no time", e)
		}
		got = append(got, fmt.Sprint(e.Kind, " ", e.Value, " by ", e.By, ": ", e.Note))
	}
	slices.Sort(got)
	want := []string{"added evil.test by ann: CASE-42", "allowed good.test by ann: ours",
		"removed 203.0.113.0/24 by bob: wrong", "removed http://page.test/x by bob: wrong"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !s.Allow().Has(keyOf(t, "www.good.test")) {
		t.Error("good.test is not allowed")
	}
	edit(t, path, "disallow", " Good.test")
	if open(t, path).Allow().Has(keyOf(t, "www.good.test")) {
		t.Error("good.test is still allowed")
	}
	for value, change := range map[string]func(*Edits) error{
		"never.test": func(e *Edits) error { return e.Disallow("never.test") },
		"a b":        func(e *Edits) error { return e.Allow("a b", "", "", time.Time{}) },
		"value":      func(e *Edits) error { return e.Add(intel.Entry{}) },
	} {
		if err := Change(path, change); err == nil || !strings.Contains(err.Error(), value) {
			t.Errorf("got %v, want an error about %s", err, value)
		}
	}
	if got := len(open(t, path).Edits()); got != 3 {
		t.Errorf("%d edits after refused ones, want 3", got)
	}
}

// TestExpiry holds that what expires says nothing from then on, without anybody doing anything.
func TestExpiry(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "intel.store")
		soon := time.Now().Add(time.Hour)
		until := func(value string, expires time.Time) intel.Entry {
			return intel.Entry{Subject: subject(t, value), Statement: &intel.Statement{Report: *listed, Expires: expires}}
		}
		entries := []intel.Entry{until("evil.test", soon), until("10.1.0.0/16", soon), until("10.0.0.0/8", time.Time{}),
			until("*.bad.test", soon), until("past.test", time.Now())}
		results, err := Replace(path, &Import{Source{Name: "a"}, func(take func(intel.Entry) error) error {
			for _, e := range entries {
				if err := take(e); err != nil {
					return err
				}
			}
			return nil
		}}, listOf("wide", "10.0.0.0/8\nlast.test"))
		if err != nil || results[0].Expired != 1 || results[0].Taken != 4 {
			t.Fatalf("%+v, %v", results, err)
		}
		err = Change(path, func(e *Edits) error {
			return errors.Join(e.Add(until("last.test", soon)), e.Allow("ours.test", "ann", "", soon))
		})
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, path)
		wantTold(t, s, map[string]string{"evil.test": "malicious in a", "x.bad.test": "malicious in a",
			"last.test": "malicious in manual", "past.test": ""})
		if !s.Allow().Has(keyOf(t, "ours.test")) || len(s.Edits()) != 2 {
			t.Errorf("edits: %+v", s.Edits())
		}
		time.Sleep(2 * time.Hour)
		wantTold(t, s, map[string]string{"evil.test": "", "x.bad.test": "", "10.1.2.3": "malicious in a",
			"last.test": "malicious in wide"})
		if s.Allow().Has(keyOf(t, "ours.test")) || len(s.Edits()) != 0 {
			t.Errorf("edits after they expired: %+v", s.Edits())
		}
		entriesLeft := 0
		for range s.Entries() {
			entriesLeft++
		}
		replace(t, path, "b", "other.test")
		if left := open(t, path).Len(); entriesLeft != 3 || left != 3 { // 10.0.0.0/8 twice and last.test; other.test
			t.Errorf("%d entries and %d after an import, want 3 and 3", entriesLeft, left)
		}
	})
}

func TestReplaceCounts(t *testing.T) {
	path := storeFile(t, "a", "one.test\ntwo.test\nthree.test\n10.0.0.0/8\n", "b", "one.test\n")
	got := replace(t, path, "a", "two.test\ntwo.test\n10.0.0.0/8\n"+line("one.test", benign)+"four.test\n", "c", "five.test")
	want := []Result{
		{Source: "a", Taken: 4, Unchanged: 2, Replaced: 1, Dropped: 1, Duplicate: 1},
		{Source: "c", Taken: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s := open(t, path)
	wantTold(t, s, map[string]string{"one.test": "malicious in b", "two.test": "malicious in a", "three.test": "",
		"10.1.1.1": "malicious in a", "four.test": "malicious in a", "five.test": "malicious in c"})
	var names []string
	for _, source := range s.Sources() {
		names = append(names, fmt.Sprint(source.Name, source.Entries))
	}
	if !slices.Equal(names, []string{"a4", "b1", "c1"}) {
		t.Errorf("sources: %v", names)
	}
	if err := Remove(path, "b"); err != nil {
		t.Fatal(err)
	}
	wantTold(t, open(t, path), map[string]string{"one.test": "benign in a", "five.test": "malicious in c"})
	if err := Remove(path, "b"); err == nil || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("removed twice: %v", err)
	}
}

// TestReplaceKeepsReports holds that words of sources that are not replaced come through merges as they are.
func TestReplaceKeepsReports(t *testing.T) {
	path := filepath.Join(t.TempDir(), "intel.store")
	for round := range 3 {
		for _, name := range []string{"a", "b", "c"} {
			var list strings.Builder
			for i := range 200 {
				list.WriteString(line(fmt.Sprintf("%s%d.test", name, i), fmt.Sprintf(
					`,"response_code":"1","votes":-1,"references":["%s %d %d"]`, name, i, round)))
			}
			replace(t, path, name, list.String())
		}
		s := open(t, path)
		for _, name := range []string{"a", "b", "c"} {
			for i := range 200 {
				f := s.Find(keyOf(t, fmt.Sprintf("%s%d.test", name, i)))
				if want := fmt.Sprint(name, " ", i, " ", round); f.Source != name || f.Report.References[0] != want {
					t.Fatalf("got %q of %s, want %q", f.Report.References, f.Source, want)
				}
			}
		}
	}
}

// TestManyWords bounds what one list may say of one thing, and keeps the worst of it.
func TestManyWords(t *testing.T) {
	var list strings.Builder
	for i := range 100 {
		list.WriteString(line("evil.test", fmt.Sprintf(`,"response_code":"1","votes":1,"references":["%d"]`, i)))
	}
	list.WriteString("evil.test\n")
	path := storeFile(t, "a", list.String())
	wantTold(t, open(t, path), map[string]string{"evil.test": "malicious in a"})
	if n := len(open(t, path).About(keyOf(t, "evil.test"))); n != mostOfWords {
		t.Errorf("%d words, want %d", n, mostOfWords)
	}
}

func TestEntriesRoundTrip(t *testing.T) {
	var want, got []string
	path := storeFile(t, "a", mixed, "b", "other.test\n2001:db8:1::/48\nhttp://page.test/x\nhttp://198.51.100.7/z")
	say := func(e intel.Entry) string {
		return fmt.Sprintf("%s %+v %+v", e.Source, e.Subject, string(intel.AppendStatement(nil, e.Statement)))
	}
	for e, err := range open(t, path).Entries() {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, say(e))
	}
	again := filepath.Join(t.TempDir(), "again")
	var imports []*Import
	for _, name := range []string{"a", "b"} {
		imports = append(imports, &Import{Source{Name: name}, func(take func(intel.Entry) error) error {
			for e := range open(t, path).Entries() {
				if e.Source == name {
					if err := take(e); err != nil {
						return err
					}
				}
			}
			return nil
		}})
	}
	if _, err := Replace(again, imports...); err != nil {
		t.Fatal(err)
	}
	for e := range open(t, again).Entries() {
		got = append(got, say(e))
	}
	if len(want) != 11 || !slices.Equal(got, want) {
		t.Errorf("got %d entries %q,\nwant %d %q", len(got), got, len(want), want)
	}
}

// TestBrokenImportChangesNothing reads a list that ends in an error.
func TestBrokenImportChangesNothing(t *testing.T) {
	path := storeFile(t, "a", mixed)
	before, _ := os.ReadFile(path)
	broken := errors.New("connection reset")
	_, err := Replace(path, &Import{Source{Name: "a"}, func(take func(intel.Entry) error) error {
		_ = take(intel.Entry{Subject: subject(t, "x.test"), Statement: &intel.Statement{Report: *listed}})
		return broken
	}})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the store changed")
	}
	files, _ := os.ReadDir(filepath.Dir(path))
	for _, f := range files {
		if f.Name() != "intel.store" && f.Name() != ".intel.store.lock" {
			t.Errorf("%s was left behind", f.Name())
		}
	}
}

// TestEntriesStandTogether checks that an export sees all that is said of a value at once, by hand first.
func TestEntriesStandTogether(t *testing.T) {
	path := storeFile(t, "a", "evil.test\n203.0.113.7\n203.0.113.8\n", "b", "203.0.113.7\nother.test\n")
	edit(t, path, "benign", "203.0.113.7", "add", "evil.test", "add", "mine.test", "rm", "203.0.113.8")
	var got []string
	for e, err := range open(t, path).Entries() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Key.Value+" "+e.Report.Verdict().String()+" "+e.Source)
	}
	for i, want := range map[string]string{"203.0.113.7 malicious a": "203.0.113.7 benign manual", "evil.test malicious a": "evil.test malicious manual",
		"203.0.113.7 malicious b": "203.0.113.7 malicious a"} {
		if at := slices.Index(got, i); at < 1 || got[at-1] != want {
			t.Errorf("%q does not follow %q: %q", i, want, got)
		}
	}
	if len(got) != 7 || !slices.Contains(got, "mine.test malicious manual") {
		t.Errorf("got %q", got)
	}
}
