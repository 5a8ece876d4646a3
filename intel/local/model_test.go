package local

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/intel/local/format"
)

// A model is the obvious store: lists of entries, looked through from the beginning to the end.
type model struct {
	order   []string // of the sources
	lists   map[string][]intel.Entry
	hand    []intel.Entry
	removed map[intel.Subject]bool
}

// find returns what told says of the finding.
func (m *model) find(key extract.Key) string {
	var feeds []intel.Entry
	for _, source := range m.order {
		for _, e := range m.lists[source] {
			if !m.hides(&e.Subject) {
				feeds = append(feeds, e)
			}
		}
	}
	for _, list := range [][]intel.Entry{m.hand, feeds} {
		if e := directOf(key, list); e != nil {
			return e.Report.Verdict().String() + " in " + e.Source
		}
	}
	for _, list := range [][]intel.Entry{m.hand, feeds} {
		for _, e := range list {
			if e.URL != "" && e.Key == key && e.Report.Verdict() == intel.Malicious {
				return "related by url of " + e.URL + " in " + e.Source
			}
		}
	}
	return parentOf(key, m.hand, feeds)
}

func (m *model) hides(s *intel.Subject) bool {
	return m.removed[*s] || m.removed[intel.Subject{URL: s.URL}] || !s.Below && m.removed[intel.Subject{Key: s.Key}]
}

// directOf returns the entry of a list that lists or covers key.
func directOf(key extract.Key, list []intel.Entry) *intel.Entry {
	var itself, cover *intel.Entry
	closest := -1
	for i := range list {
		e := &list[i]
		near := nearness(&e.Subject, key)
		switch {
		case near == 0 || near > 0 && near < closest:
		case near < 0:
			if itself == nil || itself.Report.Verdict() < e.Report.Verdict() ||
				itself.Report.Verdict() == e.Report.Verdict() && itself.URL != "" && e.URL == "" {
				itself = e
			}
		case near > closest || cover.Report.Verdict() < e.Report.Verdict():
			cover, closest = e, near
		}
	}
	if cover != nil && (itself == nil || itself.Report.Verdict() < cover.Report.Verdict()) {
		return cover
	}
	return itself
}

// nearness is -1 for what lists key, 0 for what does not bear on it, and else the greater the more closely s is around
// key.
func nearness(s *intel.Subject, key extract.Key) int {
	switch {
	case s.Net.IsValid():
		if addr, err := netip.ParseAddr(key.Value); err == nil && s.Net.Contains(addr) {
			return s.Net.Bits() + 1
		}
	case s.Below:
		if strings.HasSuffix(key.Value, "."+s.Key.Value) {
			return len(s.Key.Value)
		}
	case s.Key == key && (s.URL == "" || key.Type == extract.IP):
		return -1
	}
	return 0
}

func parentOf(key extract.Key, lists ...[]intel.Entry) string {
	var best *intel.Entry
	for _, list := range lists {
		for i := range list {
			e := &list[i]
			if e.Key.Type == extract.Domain && !e.Below && e.URL == "" && e.Report.Verdict() == intel.Malicious &&
				strings.HasSuffix(key.Value, "."+e.Key.Value) &&
				(best == nil || len(best.Key.Value) < len(e.Key.Value)) {
				best = e
			}
		}
	}
	if best == nil {
		return ""
	}
	return "related by parent of " + best.Key.Value + " in " + best.Source
}

// TestAgainstModel imports, edits and removes at random, and holds every answer against the obvious one.
func TestAgainstModel(t *testing.T) {
	subjects := []string{"a.test", "b.a.test", "c.b.a.test", "*.a.test", "*.b.a.test", "10.0.0.1", "10.0.0.2",
		"10.0.0.0/30", "10.0.0.0/24", "10.0.0.0/8", "2001:db8::1", "2001:db8::/32", "2001:db8::/64",
		"http://b.a.test/1", "http://b.a.test/2", "http://10.0.0.2/x", "http://c.b.a.test/"}
	keys := []string{"a.test", "b.a.test", "c.b.a.test", "d.c.b.a.test", "x.a.test", "10.0.0.1", "10.0.0.2", "10.0.0.9",
		"10.9.9.9", "2001:db8::1", "2001:db8::2", "2001:db8:1::"}
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		path := filepath.Join(t.TempDir(), "intel.store")
		m := &model{lists: make(map[string][]intel.Entry), removed: make(map[intel.Subject]bool)}
		for step := range 12 {
			what := m.step(t, random, path, subjects)
			s := open(t, path)
			for _, value := range keys {
				key := keyOf(t, value)
				if got, want := told(s.Find(key)), m.find(key); got != want {
					t.Fatalf("seed %d, step %d (%s), %s: got %q, want %q", seed, step, what, value, got, want)
				}
			}
		}
	}
}

// step does one thing to the store and the model.
func (m *model) step(t *testing.T, random *rand.Rand, path string, subjects []string) string {
	pick := func() intel.Subject {
		s, err := format.ParseSubject(subjects[random.IntN(len(subjects))])
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	entry := func(source string) intel.Entry {
		said := &intel.Statement{Source: source, Report: intel.Report{Known: true, Voted: true}}
		said.Report.Votes = int8(random.IntN(3) - 1)
		return intel.Entry{Subject: pick(), Statement: said}
	}
	switch source := string(rune('a' + random.IntN(3))); random.IntN(4) {
	case 0:
		e := entry(ByHand)
		m.hand = slices.DeleteFunc(m.hand, func(o intel.Entry) bool { return o.Subject == e.Subject })
		m.hand = append(m.hand, e)
		sortByVerdict(m.hand)
		delete(m.removed, e.Subject)
		if e.URL != "" {
			delete(m.removed, intel.Subject{URL: e.URL})
		}
		if err := Change(path, func(edits *Edits) error { return edits.Add(e) }); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("added %+v", e.Subject)
	case 1:
		s := pick()
		m.remove(s)
		if err := Change(path, func(edits *Edits) error { return edits.Remove(s, "", "") }); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("removed %+v", s)
	default:
		var list []intel.Entry
		for range random.IntN(12) {
			list = append(list, entry(source))
		}
		if !slices.Contains(m.order, source) {
			m.order = append(m.order, source)
		}
		_, err := Replace(path, &Import{Source{Name: source}, func(take func(intel.Entry) error) error {
			for _, e := range list {
				if err := take(e); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		m.lists[source] = slices.Clone(list)
		sortByVerdict(m.lists[source])
		return "imported " + source
	}
}

// sortByVerdict orders the entries of one source as they are told.
func sortByVerdict(list []intel.Entry) {
	slices.SortStableFunc(list, func(a, b intel.Entry) int {
		return cmp.Compare(b.Report.Verdict(), a.Report.Verdict())
	})
}

func (m *model) remove(s intel.Subject) {
	gone := func(o *intel.Subject) bool {
		if s.URL != "" {
			return o.URL == s.URL
		}
		return o.Key == s.Key && o.Net == s.Net && o.Below == s.Below
	}
	m.hand = slices.DeleteFunc(m.hand, func(o intel.Entry) bool { return gone(&o.Subject) })
	if s.URL != "" {
		s = intel.Subject{URL: s.URL}
	}
	m.removed[s] = true
}
