package filter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/lookup"
)

// mute is a provider that is never to be asked.
type mute struct{}

func (mute) Lookup(context.Context, extract.Key) (intel.Report, error) {
	return intel.Report{}, errors.New("asked, though nothing was to be asked")
}

// askable returns a source of that name that may be asked about types.
func askable(name string, types extract.TypeSet) lookup.Source {
	return lookup.Source{Name: name, Provider: mute{}, Types: types, Rate: 1, Burst: 1}
}

// newKnowledge returns what is known with sources to ask and the lines of one local feed called "mine".
func newKnowledge(t testing.TB, feed string, sources ...lookup.Source) *Knowledge {
	t.Helper()
	memory, err := cache.NewMemory(10_000, cache.DefaultLifetimes)
	if err != nil {
		t.Fatal(err)
	}
	k := &Knowledge{Cache: memory, Sources: sources, Providers: map[string]Provider{
		"crowd": {Origin: intel.FromThreatCrowd, Name: "crowd"}, "otx": {Origin: intel.FromOTX, Name: "otx"},
	}}
	if len(sources) > 0 {
		if k.Scheduler, err = lookup.New(lookup.Options{Sources: sources, Answers: k}); err != nil {
			t.Fatal(err)
		}
	}
	var store *local.Store
	if feed != "" {
		store = localStore(t, feed)
	}
	k.SetOwn(store, extract.Policy{}, true)
	return k
}

func localStore(t testing.TB, feed string) *local.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mine.txt")
	if err := os.WriteFile(path, []byte(feed), 0o600); err != nil {
		t.Fatal(err)
	}
	store, errs := local.Load([]string{path})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return store
}

func listOf(t testing.TB, values ...string) *extract.List {
	t.Helper()
	list := new(extract.List)
	for _, value := range values {
		if err := list.Add(value); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func parseKey(t testing.TB, value string) extract.Key {
	t.Helper()
	key, ok := extract.ParseKey(value)
	if !ok {
		t.Fatalf("%q is no indicator", value)
	}
	return key
}

// voted returns a report of nothing but votes.
func voted(votes int8) *intel.Report { return &intel.Report{Known: true, Voted: true, Votes: votes} }

var miss = new(intel.Report)

// said is the answer of the source "crowd".
func said(t testing.TB, value string, report *intel.Report, at time.Time) lookup.Answer {
	return lookup.Answer{Key: parseKey(t, value), Source: "crowd", Report: report, At: at}
}

const everyMail = 1 << extract.Email

func TestFind(t *testing.T) {
	now := time.Now()
	const hour = time.Hour
	crowd, otx := askable("crowd", extract.AllTypes), askable("otx", extract.AllTypes&^everyMail)
	type told struct {
		source, value string
		report        *intel.Report
		ago           time.Duration
	}
	for _, tt := range []struct {
		name  string
		feed  string
		told  []told
		value string

		verdict intel.Verdict
		source  string
		stale   bool
		want    bool
		held    lookup.SourceSet
	}{
		{name: "nothing known", value: "8.8.4.1", want: true},
		{name: "local malicious asks nobody", feed: "8.8.4.1", value: "8.8.4.1", verdict: intel.Malicious,
			source: "mine"},
		{name: "local malicious needs no cache", feed: "8.8.4.1", told: []told{{"crowd", "8.8.4.1", voted(1), 0}},
			value: "8.8.4.1", verdict: intel.Malicious, source: "mine"},
		{name: "local benign asks", feed: `{"value":"8.8.4.1","response_code":"1","votes":1}`, value: "8.8.4.1",
			verdict: intel.Benign, source: "mine", want: true},
		{name: "local related asks", feed: "evil.com", value: "www.evil.com", verdict: intel.Related, source: "mine",
			want: true},
		{name: "malicious answer", told: []told{{"crowd", "8.8.4.1", voted(-1), hour}}, value: "8.8.4.1",
			verdict: intel.Malicious, source: "crowd"},
		{name: "malicious answer of the second", told: []told{{"otx", "8.8.4.1", voted(-1), hour}}, value: "8.8.4.1",
			verdict: intel.Malicious, source: "otx"},
		{name: "malicious before local benign", feed: `{"value":"8.8.4.1","response_code":"1","votes":1}`,
			told:  []told{{"crowd", "8.8.4.1", voted(-1), hour}},
			value: "8.8.4.1", verdict: intel.Malicious, source: "crowd"},
		{name: "one miss leaves the other", told: []told{{"crowd", "8.8.4.1", miss, hour}}, value: "8.8.4.1",
			want: true, held: lookup.SourceSet(0).With(0)},
		{name: "the other way round", told: []told{{"otx", "8.8.4.1", miss, hour}}, value: "8.8.4.1", want: true,
			held: lookup.SourceSet(0).With(1)},
		{name: "two misses", told: []told{{"crowd", "8.8.4.1", miss, hour}, {"otx", "8.8.4.1", miss, hour}},
			value: "8.8.4.1", held: lookup.SourceSet(0).With(0).With(1)},
		{name: "a miss and a benign answer", told: []told{{"crowd", "8.8.4.1", miss, hour},
			{"otx", "8.8.4.1", voted(1), hour}},
			value: "8.8.4.1", verdict: intel.Benign, source: "otx", held: lookup.SourceSet(0).With(0).With(1)},
		{name: "an old miss", told: []told{{"crowd", "8.8.4.1", miss, 48 * hour}, {"otx", "8.8.4.1", miss, hour}},
			value: "8.8.4.1", want: true, held: lookup.SourceSet(0).With(1)},
		{name: "a stale answer is used and asked again",
			told:  []told{{"crowd", "8.8.4.1", voted(-1), 9 * 24 * hour}, {"otx", "8.8.4.1", miss, hour}},
			value: "8.8.4.1", verdict: intel.Malicious, source: "crowd", stale: true, want: true,
			held: lookup.SourceSet(0).With(1)},
		{name: "a dead answer is forgotten", told: []told{{"crowd", "8.8.4.1", voted(-1), 60 * 24 * hour}},
			value: "8.8.4.1", want: true},
		{name: "a stale benign answer hides no fresh one",
			told:  []told{{"otx", "8.8.4.1", voted(-1), hour}, {"crowd", "8.8.4.1", voted(1), 40 * 24 * hour}},
			value: "8.8.4.1", verdict: intel.Malicious, source: "otx"},
		{name: "only who knows the type is asked", told: []told{{"crowd", "joe@mail.com", miss, hour}},
			value: "joe@mail.com", held: lookup.SourceSet(0).With(0)},
		{name: "private is not asked", value: "10.0.0.1"},
		{name: "private is told locally", feed: "10.0.0.1", value: "10.0.0.1", verdict: intel.Malicious,
			source: "mine"},
		{name: "documentation is told locally", feed: "203.0.113.0/24", value: "203.0.113.9", verdict: intel.Malicious,
			source: "mine"},
		{name: "resolver is not asked", value: "8.8.8.8"},
		{name: "resolver is told when listed", feed: "8.8.8.8", value: "8.8.8.8", verdict: intel.Malicious,
			source: "mine"},
		{name: "resolver is not told by relation",
			feed:  `{"value":"evil.com","response_code":"1","votes":-1,"resolutions":[{"ip_address":"8.8.8.8"}]}`,
			value: "8.8.8.8"},
		{name: "private by local relation",
			feed:  `{"value":"evil.com","response_code":"1","votes":-1,"resolutions":[{"ip_address":"10.0.0.1"}]}`,
			value: "10.0.0.1", verdict: intel.Related, source: "mine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKnowledge(t, tt.feed, crowd, otx)
			for _, a := range tt.told {
				k.Put(lookup.Answer{Key: parseKey(t, a.value), Source: a.source, Report: a.report, At: now.Add(-a.ago)})
			}
			got := k.find(parseKey(t, tt.value), now)
			if got.Verdict != tt.verdict || got.Verdict != intel.NoVerdict && got.Source != tt.source ||
				got.Stale != tt.stale {
				t.Errorf("got %v of %q, stale %v; want %v of %q, stale %v", got.Verdict, got.Source, got.Stale,
					tt.verdict, tt.source, tt.stale)
			}
			if got.want != tt.want {
				t.Errorf("want is %v, not %v", got.want, tt.want)
			}
			if got.held != tt.held {
				t.Errorf("held is %b, want %b", got.held, tt.held)
			}
		})
	}
}

func TestFindAllowedAndOwned(t *testing.T) {
	k := newKnowledge(t, "allowed.com\nowned.com\n", askable("crowd", extract.AllTypes))
	now := time.Now()
	for _, value := range []string{"a.owned.com", "b.com", "8.8.4.1"} { // before anybody said whose they are
		k.Put(said(t, value, voted(-1), now))
	}
	k.SetOwn(localStore(t, "allowed.com\nowned.com\n"), extract.Policy{
		Allow: listOf(t, "allowed.com", "8.8.4.1"), Own: listOf(t, "owned.com", "b.com"),
	}, true)
	for _, tt := range []struct {
		value   string
		verdict intel.Verdict
		skip    extract.Skip
	}{
		{"allowed.com", intel.Malicious, extract.Allowed}, // told so that it can be counted as hidden
		{"8.8.4.1", intel.NoVerdict, extract.Allowed},
		{"owned.com", intel.Malicious, extract.Owned},     // the user's list names the user's own
		{"www.owned.com", intel.NoVerdict, extract.Owned}, // but a relation says nothing of it
		{"b.com", intel.NoVerdict, extract.Owned},         // and what others say is not looked up
	} {
		got := k.find(parseKey(t, tt.value), now)
		if got.Verdict != tt.verdict || got.skip != tt.skip || got.want {
			t.Errorf("%s: got %v, %v, want %v; want %v, %v, false", tt.value, got.Verdict, got.skip, got.want,
				tt.verdict, tt.skip)
		}
		if !k.Held(parseKey(t, tt.value), "crowd") {
			t.Errorf("%s: may be asked", tt.value)
		}
	}
}

func TestFindAsksNothing(t *testing.T) {
	key := parseKey(t, "8.8.4.1")
	silent := newKnowledge(t, "", askable("crowd", extract.AllTypes))
	silent.SetOwn(nil, extract.Policy{}, false)
	if silent.find(key, time.Now()).want || !silent.Held(key, "crowd") {
		t.Error("asks though an allow list cannot be read")
	}
	silent.Put(said(t, "8.8.4.1", voted(-1), time.Now()))
	if f, _ := silent.Find(key, time.Now()); f.Verdict != intel.Malicious {
		t.Error("does not use what is held though an allow list cannot be read")
	}
	if newKnowledge(t, "").find(key, time.Now()).want {
		t.Error("asks without a source")
	}
	alone := new(Knowledge) // no cache, no sources
	alone.SetOwn(localStore(t, "8.8.4.1"), extract.Policy{}, true)
	if f, _ := alone.Find(key, time.Now()); f.Verdict != intel.Malicious {
		t.Errorf("without a cache: got %v", f.Verdict)
	}
}

func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKnowledge(t, "", askable("crowd", extract.AllTypes), askable("otx", extract.AllTypes))
		now := time.Now()
		k.Put(said(t, "miss.com", miss, now))
		k.Put(said(t, "evil.com", voted(-1), now))
		for _, tt := range []struct {
			after time.Duration
			want  map[string]bool
		}{
			{time.Hour, map[string]bool{"miss.com crowd": true, "miss.com otx": false, "evil.com crowd": true,
				"evil.com otx": true, "new.com crowd": false}},
			{48 * time.Hour, map[string]bool{"miss.com crowd": false, "evil.com otx": true}},
			{9 * 24 * time.Hour, map[string]bool{"evil.com crowd": false, "evil.com otx": false}},
		} {
			time.Sleep(time.Until(now.Add(tt.after)))
			for question, want := range tt.want {
				var value, source string
				_, _ = fmt.Sscan(question, &value, &source)
				if got := k.Held(parseKey(t, value), source); got != want {
					t.Errorf("after %v, %s: got %v, want %v", tt.after, question, got, want)
				}
			}
		}
	})
}

func TestPutRelates(t *testing.T) {
	now := time.Now()
	days := func(n int) time.Time { return now.AddDate(0, 0, -n) }
	resolutions := func(values ...string) (rs []intel.Resolution) {
		for _, value := range values {
			rs = append(rs, intel.Resolution{Value: value, Last: days(1)})
		}
		return rs
	}
	var tenants []string
	for i := range maxTenants {
		tenants = append(tenants, fmt.Sprintf("a.tenant%d.com", i), fmt.Sprintf("b.tenant%d.com", i))
	}
	for _, tt := range []struct {
		name   string
		value  string
		report intel.Report
		want   map[string]string // kind of relation, empty for none
	}{
		{"everything that it names", "evil.com", intel.Report{
			Resolutions: resolutions("8.8.4.1"), Subdomains: []string{"www.evil.com",
				"evil.com"}, Emails: []string{"joe@mail.com"},
			Hashes: []string{"2c5039f5d2c491e058d097fb29cdf9a8"},
		}, map[string]string{
			"8.8.4.1": intel.ByResolution, "www.evil.com": intel.BySubdomain, "joe@mail.com": intel.ByEmail,
			"2c5039f5d2c491e058d097fb29cdf9a8": intel.ByHash, "mail.com": "",
		}},
		{"no special addresses", "evil.com", intel.Report{
			Resolutions: resolutions("0.0.0.0", "127.0.0.1", "10.0.0.1", "192.0.2.1", "::1", "fe80::1", "2001:db8::1",
				"224.0.0.1", "255.255.255.255"),
		}, map[string]string{
			"0.0.0.0": "", "127.0.0.1": "", "10.0.0.1": "", "192.0.2.1": "", "::1": "", "fe80::1": "",
			"2001:db8::1": "", "224.0.0.1": "", "255.255.255.255": "",
		}},
		{"no resolvers, own and allowed", "evil.com", intel.Report{
			Resolutions: resolutions("8.8.8.8", "1.2.3.4"), Subdomains: []string{"dns.google", "www.owned.com",
				"allowed.com"},
		}, map[string]string{"8.8.8.8": "", "1.2.3.4": "", "dns.google": "", "www.owned.com": "", "allowed.com": ""}},
		{"nothing old", "evil.com", intel.Report{Resolutions: []intel.Resolution{
			{Value: "8.8.4.1", Last: days(179)}, {Value: "8.8.4.2", Last: days(181)}, {Value: "8.8.4.3"},
		}}, map[string]string{"8.8.4.1": intel.ByResolution, "8.8.4.2": "", "8.8.4.3": intel.ByResolution}},
		{"names of one host", "8.8.4.1", intel.Report{Resolutions: resolutions(tenants...)}, map[string]string{
			"a.tenant0.com": intel.ByResolution, "b.tenant49.com": intel.ByResolution,
		}},
		{"strangers of a shared host", "8.8.4.1", intel.Report{
			Resolutions: resolutions(append(tenants,
				"one.too.com")...), Hashes: []string{"2c5039f5d2c491e058d097fb29cdf9a8"},
		}, map[string]string{
			"a.tenant0.com": "", "b.tenant49.com": "", "one.too.com": "",
			"2c5039f5d2c491e058d097fb29cdf9a8": intel.ByHash,
		}},
		{"tenants of long ago", "8.8.4.1", intel.Report{Resolutions: append(resolutions(tenants...),
			intel.Resolution{Value: "one.too.com", Last: days(500)})},
			map[string]string{"a.tenant0.com": intel.ByResolution, "one.too.com": ""}},
		{"strangers below a public suffix", "duckdns.org", intel.Report{
			Resolutions: resolutions("8.8.4.1"), Subdomains: []string{"joe.duckdns.org"},
		}, map[string]string{"8.8.4.1": intel.ByResolution, "joe.duckdns.org": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKnowledge(t, "")
			k.SetOwn(nil, extract.Policy{Own: listOf(t, "owned.com", "1.2.3.0/24"), Allow: listOf(t, "allowed.com")},
				true)
			report := tt.report
			report.Known, report.Voted, report.Votes = true, true, -1
			k.Put(said(t, tt.value, &report, now))
			k.SetOwn(nil, extract.Policy{}, true) // what is passed over now must have been passed over when it was put
			for value, want := range tt.want {
				held, _ := k.Cache.Get(parseKey(t, value))
				if got := held.Relation.Relation; got != want {
					t.Errorf("%s: got %q, want %q", value, got, want)
				}
			}
			if held, _ := k.Cache.Get(parseKey(t, tt.value)); held.Relation.Verdict != intel.NoVerdict {
				t.Errorf("%s is related to itself", tt.value)
			}
		})
	}
}

func TestPutRelatesOnlyWhenMalicious(t *testing.T) {
	for votes := int8(0); votes <= 1; votes++ {
		k := newKnowledge(t, "")
		report := voted(votes)
		report.Subdomains = []string{"www.good.com"}
		k.Put(said(t, "good.com", report, time.Now()))
		if f, _ := k.Find(parseKey(t, "www.good.com"), time.Now()); f.Verdict != intel.NoVerdict {
			t.Errorf("votes %d: got %v", votes, f.Verdict)
		}
	}
}

func TestPutTellsWhoAndWhen(t *testing.T) {
	k := newKnowledge(t, "")
	now := time.Now()
	report := voted(-1)
	report.Resolutions = []intel.Resolution{{Value: "8.8.4.1", Last: now.AddDate(0, 0, -3)}}
	k.Put(said(t, "evil.com", report, now))
	f, _ := k.Find(parseKey(t, "8.8.4.1"), now)
	want := intel.Finding{
		Verdict: intel.Related, Origin: intel.FromThreatCrowd, Source: "crowd", Report: report,
		Via: parseKey(t, "evil.com"), Relation: intel.ByResolution, Seen: report.Resolutions[0].Last,
	}
	if f != want {
		t.Errorf("got %+v, want %+v", f, want)
	}
	k.Put(said(t, "8.8.4.1", voted(1), now))
	if f, _ := k.Find(parseKey(t, "8.8.4.1"), now); f.Verdict != intel.Benign {
		t.Errorf("got %v, want the direct answer", f.Verdict)
	}
}

// TestSetOwnWhileAsked replaces everything while it is used; the race detector looks on.
func TestSetOwnWhileAsked(t *testing.T) {
	k := newKnowledge(t, "evil.com", askable("crowd", extract.AllTypes))
	listed, empty := localStore(t, "evil.com"), localStore(t, "")
	key, related := parseKey(t, "evil.com"), parseKey(t, "www.evil.com")
	report := voted(-1)
	report.Subdomains = []string{"www.evil.com"}
	var g sync.WaitGroup
	g.Go(func() {
		for i := range 1000 {
			k.SetOwn([]*local.Store{listed, empty}[i%2], extract.Policy{Allow: listOf(t, "other.com")}, i%3 > 0)
		}
	})
	for range 2 {
		g.Go(func() {
			for range 1000 {
				if f, _ := k.Find(key, time.Now()); f.Verdict != intel.Malicious && f.Verdict != intel.NoVerdict {
					t.Errorf("got %v", f.Verdict)
				}
				k.find(related, time.Now())
				k.Held(related, "crowd")
			}
		})
	}
	g.Go(func() {
		for range 100 {
			k.Put(said(t, "8.8.4.1", report, time.Now()))
		}
	})
	g.Wait()
}

func TestFindDoesNotAllocate(t *testing.T) {
	k := newKnowledge(t, "evil.com\n203.0.113.0/24", askable("crowd", extract.AllTypes))
	now := time.Now()
	k.Put(said(t, "8.8.4.1", voted(-1), now))
	for _, value := range []string{"evil.com", "203.0.113.9", "8.8.4.1", "8.8.4.2", "good.com",
		"2c5039f5d2c491e058d097fb29cdf9a8", "joe@mail.com"} {
		key := parseKey(t, value)
		if n := testing.AllocsPerRun(100, func() { k.find(key, now) }); n != 0 {
			t.Errorf("%s: %v allocations", value, n)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	k := newKnowledge(b, "evil.com\n203.0.113.0/24", askable("crowd", extract.AllTypes))
	now := time.Now()
	k.Put(said(b, "8.8.4.1", voted(-1), now))
	for _, value := range []string{"evil.com", "8.8.4.1", "45.61.4.2", "www.good.com"} {
		key := parseKey(b, value)
		b.Run(value, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.find(key, now)
			}
		})
	}
}
