// Package cachetest holds what every [cache.Layer] must pass.
package cachetest

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
)

// fetched is when the answers of the suite were given; layers need not keep more than milliseconds.
var fetched = time.Now().Truncate(time.Millisecond)

const (
	domain    = "evil.example"
	address   = "203.0.113.7"
	otherHost = "203.0.113.8"
)

func key(t extract.Type, value string) extract.Key { return extract.Key{Type: t, Value: value} }

// answer returns an answer that holds for a day.
func answer(source string, r intel.Report) cache.Answer {
	return cache.Answer{
		Source: source, Origin: intel.FromThreatCrowd, Report: &r, Fetched: fetched, Expires: fetched.Add(24 * time.Hour),
	}
}

// malicious is a report on domain that names address.
func malicious() intel.Report {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	return intel.Report{
		Known: true, Votes: -1, Voted: true, Resolutions: []intel.Resolution{{Value: address, Last: day}},
		Emails: []string{"whois@evil.example"}, References: []string{"https://blog.example/\"quoted\" – ü"},
		Permalink: "https://crowd.example/domain.php?domain=evil.example",
	}
}

// relate tells l what the report of a about domain relates.
func relate(l cache.Layer, a cache.Answer) {
	for r := range a.Report.Relations() {
		l.Relate(r.Key, intel.Finding{
			Verdict: intel.Related, Origin: a.Origin, Source: a.Source, Report: a.Report,
			Via: key(extract.Domain, domain), Relation: r.Kind, Seen: r.Last,
		})
	}
}

// Run checks the layers that open returns, each of which must be empty and end with its test.
func Run(t *testing.T, open func(*testing.T) cache.Layer) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, cache.Layer)
	}{
		{"what was put is got", testPut},
		{"each source has its answer", testSources},
		{"a later answer stays", testOrder},
		{"lifetimes are kept", testLifetimes},
		{"an error is no answer", testError},
		{"types are told apart", testTypes},
		{"relations", testRelations},
		{"relations end with their report", testRelationsEnd},
		{"remove", testRemove},
		{"keys are cloned", testClone},
		{"many at once", testConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func testPut(t *testing.T, l cache.Layer) {
	k := key(extract.Domain, domain)
	if h, ok := l.Get(k); ok {
		t.Fatalf("empty layer holds %+v", h)
	}
	want := answer("one", malicious())
	l.Put(k, want)
	h, ok := l.Get(k)
	if !ok || len(h.Answers) != 1 {
		t.Fatalf("got %+v, %v", h, ok)
	}
	got := h.Answers[0]
	if !reflect.DeepEqual(got.Report, want.Report) {
		t.Errorf("report:\ngot  %+v\nwant %+v", got.Report, want.Report)
	}
	if got.Source != want.Source || got.Origin != want.Origin {
		t.Errorf("got source %q, origin %q", got.Source, got.Origin)
	}
	l.Put(key(extract.IP, otherHost), answer("one", intel.Report{}))
	if h, _ := l.Get(key(extract.IP, otherHost)); len(h.Answers) != 1 || h.Answers[0].Report.Known {
		t.Errorf("unknown indicator: got %+v", h)
	}
}

func testSources(t *testing.T, l cache.Layer) {
	k := key(extract.Domain, domain)
	l.Put(k, answer("one", intel.Report{}))
	l.Put(k, answer("two", malicious()))
	h, _ := l.Get(k)
	if len(h.Answers) != 2 || !h.Fresh("one", fetched) || !h.Fresh("two", fetched) || h.Fresh("three", fetched) {
		t.Fatalf("got %+v", h)
	}
	if found := h.Finding(fetched); found.Verdict != intel.Malicious || found.Source != "two" {
		t.Errorf("got %+v", found)
	}
}

func testOrder(t *testing.T, l cache.Layer) {
	k := key(extract.IP, address)
	later := answer("one", intel.Report{Known: true, Voted: true, Votes: 1})
	later.Fetched = fetched.Add(time.Minute)
	for _, a := range []cache.Answer{answer("one", malicious()), later, answer("one", malicious())} {
		l.Put(k, a)
	}
	h, _ := l.Get(k)
	if len(h.Answers) != 1 || h.Answers[0].Report.Verdict() != intel.Benign {
		t.Errorf("got %+v", h)
	}
}

func testLifetimes(t *testing.T, l cache.Layer) {
	k := key(extract.Domain, domain)
	a := answer("one", malicious())
	a.Expires = fetched.Add(time.Hour)
	l.Put(k, a)
	h, _ := l.Get(k)
	for _, at := range []struct {
		after   time.Duration
		fresh   bool
		verdict intel.Verdict
		stale   bool
	}{
		{0, true, intel.Malicious, false},
		{59 * time.Minute, true, intel.Malicious, false},
		{61 * time.Minute, false, intel.Malicious, true},
		{cache.StaleFor, false, intel.Malicious, true},
		{cache.StaleFor + 2*time.Hour, false, intel.NoVerdict, false},
	} {
		now := fetched.Add(at.after)
		found := h.Finding(now)
		if h.Fresh("one", now) != at.fresh || found.Verdict != at.verdict || found.Stale != at.stale {
			t.Errorf("after %v: fresh %v, %v, stale %v", at.after, h.Fresh("one", now), found.Verdict, found.Stale)
		}
	}
	expired := answer("one", malicious())
	expired.Fetched, expired.Expires = fetched.Add(-48*time.Hour), fetched.Add(-24*time.Hour)
	l.Put(key(extract.IP, address), expired)
	if h, ok := l.Get(key(extract.IP, address)); !ok || !h.Finding(fetched).Stale {
		t.Errorf("an answer that has expired: got %+v, %v", h, ok)
	}
}

func testError(t *testing.T, l cache.Layer) {
	k := key(extract.Domain, domain)
	l.Put(k, cache.Answer{Source: "one", Fetched: fetched, Expires: fetched.Add(time.Hour)})
	if h, ok := l.Get(k); ok {
		t.Errorf("an answer without report is held: %+v", h)
	}
}

func testTypes(t *testing.T, l cache.Layer) {
	const value = "d41d8cd98f00b204e9800998ecf8427e"
	l.Put(key(extract.MD5, value), answer("one", malicious()))
	if h, ok := l.Get(key(extract.Antivirus, value)); ok {
		t.Errorf("got %+v for a detection name that looks like the hash", h)
	}
	if _, ok := l.Get(key(extract.MD5, value)); !ok {
		t.Error("the hash itself is not held")
	}
}

func testRelations(t *testing.T, l cache.Layer) {
	a := answer("one", malicious())
	relate(l, a)
	if h, ok := l.Get(key(extract.IP, address)); ok {
		t.Fatalf("related by a report that was not put: %+v", h)
	}
	l.Put(key(extract.Domain, domain), a)
	relate(l, a)
	h, ok := l.Get(key(extract.IP, address))
	found := h.Finding(fetched)
	if !ok || found.Verdict != intel.Related || found.Via != key(extract.Domain, domain) || found.Source != "one" ||
		found.Relation != intel.ByResolution || !found.Seen.Equal(a.Report.Resolutions[0].Last) || found.Report.Votes != -1 {
		t.Fatalf("got %+v, %v", found, ok)
	}
	if mail, _ := l.Get(key(extract.Email, "whois@evil.example")); !mail.Relation.Seen.IsZero() {
		t.Errorf("a relation without a day has %v", mail.Relation.Seen)
	}
	if found := h.Finding(a.Expires.Add(time.Second)); found.Verdict != intel.NoVerdict {
		t.Errorf("when the report has expired: got %+v", found)
	}
	l.Put(key(extract.IP, address), answer("two", intel.Report{}))
	if h, _ := l.Get(key(extract.IP, address)); h.Finding(fetched).Verdict != intel.Related || !h.Fresh("two", fetched) {
		t.Errorf("with an answer of its own: got %+v", h)
	}
}

func testRelationsEnd(t *testing.T, l cache.Layer) {
	a := answer("one", malicious())
	l.Put(key(extract.Domain, domain), a)
	relate(l, a)
	now := answer("one", intel.Report{Known: true, Voted: true, Votes: 1})
	now.Fetched = fetched.Add(time.Minute)
	l.Put(key(extract.Domain, domain), now)
	relate(l, a)
	if h, ok := l.Get(key(extract.IP, address)); ok {
		t.Errorf("related by a report that is held no more: %+v", h)
	}
}

func testRemove(t *testing.T, l cache.Layer) {
	a := answer("one", malicious())
	l.Put(key(extract.Domain, domain), a)
	l.Put(key(extract.IP, otherHost), a)
	relate(l, a)
	for range 2 { // what is not held can be removed, too
		if err := l.Remove(key(extract.Domain, domain)); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []extract.Key{key(extract.Domain, domain), key(extract.IP, address)} {
		if h, ok := l.Get(k); ok {
			t.Errorf("%v: got %+v", k, h)
		}
	}
	if _, ok := l.Get(key(extract.IP, otherHost)); !ok {
		t.Error("another indicator is gone, too")
	}
	l.Put(key(extract.Domain, domain), a)
	if _, ok := l.Get(key(extract.Domain, domain)); !ok {
		t.Error("what was removed cannot be put again")
	}
}

func testClone(t *testing.T, l cache.Layer) {
	line := []byte("evil.example 203.0.113.7 !")
	alias := func(start, end int) string { return unsafe.String(&line[start], end-start) }
	a := answer("one", malicious())
	l.Put(key(extract.Domain, alias(0, 12)), a)
	l.Relate(key(extract.IP, alias(13, 24)), intel.Finding{
		Verdict: intel.Related, Source: "one", Report: a.Report,
		Via: key(extract.Domain, domain), Relation: intel.ByResolution,
	})
	l.Get(key(extract.Domain, alias(0, 12)))
	copy(line, strings.Repeat("x", len(line)))
	for _, k := range []extract.Key{key(extract.Domain, domain), key(extract.IP, address)} {
		if _, ok := l.Get(k); !ok {
			t.Errorf("%v is lost with the line that it was found in", k)
		}
	}
}

func testConcurrent(t *testing.T, l cache.Layer) {
	const workers, keys = 4, 40
	name := func(i int) extract.Key { return key(extract.Domain, fmt.Sprintf("host-%d.example", i)) }
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range keys {
				l.Put(name(i), answer(fmt.Sprintf("source-%d", w), intel.Report{}))
				l.Get(name((i + w) % keys))
				if i%8 == w {
					_ = l.Remove(name(keys + i)) // never there: it only gets in the way
				}
			}
		})
	}
	all.Wait()
	for i := range keys {
		if h, _ := l.Get(name(i)); len(h.Answers) != workers {
			t.Fatalf("%v: %d answers of %d", name(i), len(h.Answers), workers)
		}
	}
}
