package lookup

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

var epoch = time.Unix(1_700_000_000, 0)

func after(d time.Duration) time.Time { return epoch.Add(d) }

// newTestTable returns a table for one source that can be asked about everything.
func newTestTable(max int) *Table {
	return NewTable(TableOptions{MaxWaiting: max, Types: []extract.TypeSet{extract.AllTypes}, Start: epoch, Seed: 7})
}

func ip(n int) extract.Key {
	return extract.Key{Type: extract.IP, Value: fmt.Sprintf("198.%d.%d.%d", 18+n>>16, n>>8&255, n&255)}
}

func domain(name string) extract.Key { return extract.Key{Type: extract.Domain, Value: name} }

func want(t *Table, key extract.Key, d time.Duration, outcome extract.Outcome) SourceSet {
	return t.Want(Sighting{Key: key, Context: extract.Context{Outcome: outcome}}, after(d))
}

// mustNext takes the next question for source 0 and checks that it is key.
func mustNext(t *testing.T, table *Table, source int, d time.Duration, want extract.Key) {
	t.Helper()
	if got, wait, ok := table.Next(source, after(d)); !ok || got != want {
		t.Fatalf("Next(%d) at %v = %v, wait %v, %v; want %v", source, d, got, wait, ok, want)
	}
}

func mustNotNext(t *testing.T, table *Table, source int, d time.Duration) time.Duration {
	t.Helper()
	got, wait, ok := table.Next(source, after(d))
	if ok {
		t.Fatalf("Next(%d) at %v = %v, want nothing", source, d, got)
	}
	return wait
}

func TestTableAsksTheMostTelling(t *testing.T) {
	table := newTestTable(0)
	for i := range 10 {
		want(table, ip(i), time.Duration(i)*time.Second, extract.OK)
	}
	for i := range 6 {
		want(table, ip(100), time.Duration(i)*time.Second, extract.Fail)
	}
	want(table, domain("www.google.com"), 9*time.Second, extract.OK)
	want(table, domain("paypal-secure-login.top"), 9*time.Second, extract.OK)
	mustNext(t, table, 0, 10*time.Second, ip(100))
	mustNext(t, table, 0, 10*time.Second, domain("paypal-secure-login.top"))
	for range 10 {
		if key, _, ok := table.Next(0, after(10*time.Second)); !ok || key.Type != extract.IP {
			t.Fatalf("Next = %v, %v, want an address before the well-known domain", key, ok)
		}
	}
	mustNext(t, table, 0, 10*time.Second, domain("www.google.com"))
	if wait := mustNotNext(t, table, 0, 10*time.Second); wait != forever {
		t.Errorf("wait %v, want forever: nothing pauses", wait)
	}
}

func TestTableWantReportsWhoMayAskAnew(t *testing.T) {
	table := NewTable(TableOptions{Types: []extract.TypeSet{1 << extract.IP, extract.AllTypes}, Start: epoch})
	f := func(s Sighting, want SourceSet) {
		t.Helper()
		if got := table.Want(s, epoch); got != want {
			t.Errorf("Want(%v) = %b, want %b", s.Key, got, want)
		}
	}
	f(Sighting{Key: ip(1)}, 0b11)
	f(Sighting{Key: ip(1)}, 0)
	f(Sighting{Key: domain("a.example")}, 0b10)
	f(Sighting{Key: ip(2), Held: 0b01}, 0b10)
	f(Sighting{Key: ip(3), Held: 0b11}, 0)
	if got := table.Waiting(); got != 3 {
		t.Errorf("%d wait, want 3", got)
	}
}

func TestTableDoesNotAskTwice(t *testing.T) {
	table := NewTable(TableOptions{Types: []extract.TypeSet{extract.AllTypes, extract.AllTypes}, Start: epoch})
	want(table, ip(1), 0, extract.Fail)
	mustNext(t, table, 0, 0, ip(1))
	mustNotNext(t, table, 0, 0)
	mustNotNext(t, table, 1, 0)
	if want(table, ip(1), 0, extract.Fail) != 0 {
		t.Error("what is being asked was wanted anew")
	}
	table.Answer(0, ip(1), intel.NoVerdict, nil, epoch)
	mustNotNext(t, table, 0, 0)
	mustNext(t, table, 1, 0, ip(1)) // a miss is a miss of that source alone
	table.Answer(1, ip(1), intel.Unknown, nil, epoch)
	if table.Waiting() != 0 || len(table.index) != 0 {
		t.Error("it waits although everybody has answered")
	}
}

func TestTableMaliciousAnswerIsForAll(t *testing.T) {
	table := NewTable(TableOptions{Types: []extract.TypeSet{extract.AllTypes, extract.AllTypes}, Start: epoch})
	for i := range 4 {
		want(table, ip(i<<8), 0, extract.Fail)
	}
	key, _, _ := table.Next(0, epoch)
	asking, _, _ := table.Next(1, epoch)
	table.Answer(0, key, intel.Malicious, []extract.Key{ip(0), ip(1 << 8), ip(2 << 8), ip(3 << 8)}, epoch)
	if len(table.entries) != 1 || table.index[asking] == nil {
		t.Errorf("%d entries are left, want the one whose answer is on its way", len(table.entries))
	}
}

func TestTableRelatedWaitsBehindAll(t *testing.T) {
	table := newTestTable(0)
	table.Want(Sighting{Key: ip(1), Context: extract.Context{Outcome: extract.Fail}, Was: intel.Related}, epoch)
	want(table, domain("www.google.com"), 0, extract.OK)
	mustNext(t, table, 0, 0, domain("www.google.com"))
	mustNext(t, table, 0, 0, ip(1))
}

// Another process's answer may name what waits here: its next sighting says so.
func TestTableHearsThatWhatWaitsIsRelated(t *testing.T) {
	table := newTestTable(0)
	want(table, ip(1), 0, extract.Fail)
	want(table, domain("quiet.example"), 0, extract.OK)
	table.Want(Sighting{Key: ip(1), Context: extract.Context{Outcome: extract.Fail}, Was: intel.Related}, after(time.Second))
	mustNext(t, table, 0, time.Second, domain("quiet.example"))
	mustNext(t, table, 0, time.Second, ip(1))
}

func TestTableOldAnswersRank(t *testing.T) {
	table := newTestTable(0)
	table.Want(Sighting{Key: domain("benign.example"), Was: intel.Benign}, epoch)
	table.Want(Sighting{Key: domain("malicious.example"), Was: intel.Malicious}, epoch)
	want(table, domain("unknown.example"), 0, extract.OK)
	mustNext(t, table, 0, 0, domain("malicious.example"))
	mustNext(t, table, 0, 0, domain("unknown.example"))
	mustNext(t, table, 0, 0, domain("benign.example"))
}

func TestTableErrorsPauseTheValue(t *testing.T) {
	table := newTestTable(0)
	want(table, ip(1), 0, extract.Fail)
	var now time.Duration
	for n, pause := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600} {
		mustNext(t, table, 0, now, ip(1))
		table.Fail(ip(1), after(now))
		wait := mustNotNext(t, table, 0, now)
		low, high := pause*time.Second*3/4, pause*time.Second*5/4+time.Microsecond
		if wait < low || wait > high {
			t.Fatalf("pause %d is %v, want %v to %v", n, wait, low, high)
		}
		now += wait
	}
	if got := table.index[ip(1)].n; got != 1 {
		t.Errorf("%d sightings, want 1: the counts stay", got)
	}
}

// Values that failed together are not asked again together.
func TestTablePausesDiffer(t *testing.T) {
	table := newTestTable(0)
	const values = 100
	for i := range values {
		want(table, ip(i<<8), 0, extract.Fail)
	}
	for range values {
		key, _, _ := table.Next(0, after(0))
		table.Fail(key, after(0))
	}
	shortest, longest := table.entries[0].retry, table.entries[0].retry
	for _, e := range table.entries {
		shortest, longest = min(shortest, e.retry), max(longest, e.retry)
	}
	if shortest < 3.75 || longest > 6.25 || longest-shortest < 1 {
		t.Errorf("pauses from %v to %v, want them spread around 5 s", shortest.duration(), longest.duration())
	}
}

func TestTableReleaseAsksAgain(t *testing.T) {
	table := newTestTable(0)
	want(table, ip(1), 0, extract.Fail)
	mustNext(t, table, 0, 0, ip(1))
	table.Release(ip(1))
	mustNext(t, table, 0, 0, ip(1))
}

func TestTableEveryTwentiethIsTheOldest(t *testing.T) {
	table := newTestTable(0)
	old := domain("www.google.com")
	want(table, old, 0, extract.OK)
	for i := range 100 {
		want(table, ip(i<<8), time.Second, extract.Fail)
	}
	for n := 1; ; n++ {
		if key, _, _ := table.Next(0, after(2*time.Second)); key == old {
			if n != 20 {
				t.Errorf("ask %d went to the oldest, want ask 20", n)
			}
			return
		}
	}
}

// TestTableKeepsWhatHasShownItself floods a small table with names that are never seen again.
func TestTableKeepsWhatHasShownItself(t *testing.T) {
	table := newTestTable(64)
	for i := range 8 {
		for range 6 {
			want(table, ip(i<<8), 0, extract.Fail)
		}
	}
	const flood = 10_000
	for i := range flood {
		want(table, domain(fmt.Sprintf("x%d.example", i)), time.Second, extract.OK)
	}
	for i := range 8 {
		if table.index[ip(i<<8)] == nil {
			t.Errorf("%v was lost", ip(i<<8))
		}
	}
	if len(table.entries) != 64 || table.Evicted() != flood-56 {
		t.Errorf("%d entries, %d evicted, want 64 and %d", len(table.entries), table.Evicted(), flood-56)
	}
}

func TestTableFullOfQuestionsTakesNoMore(t *testing.T) {
	table := newTestTable(1)
	want(table, ip(1), 0, extract.OK)
	mustNext(t, table, 0, 0, ip(1))
	if want(table, ip(2), 0, extract.OK) != 0 || table.Evicted() != 1 {
		t.Error("an indicator found a place that was taken")
	}
	table.Answer(0, ip(1), intel.Benign, nil, epoch)
	if want(table, ip(2), 0, extract.OK) == 0 {
		t.Error("an indicator found no place in an empty table")
	}
}

func TestTableKeysDoNotAliasTheLine(t *testing.T) {
	line := []byte("evil.example")
	table := newTestTable(0)
	table.Want(Sighting{Key: domain(aliasing(line))}, epoch)
	copy(line, "XXXX")
	mustNext(t, table, 0, 0, domain("evil.example"))
}

func TestTableSuspicionSpreads(t *testing.T) {
	probability := func(prepare func(*Table)) float64 {
		table := newTestTable(0)
		prepare(table)
		table.Want(Sighting{Key: domain("new.example.com"), Context: extract.Context{Host: "10.0.0.9"}}, epoch)
		e := explained(table, domain("new.example.com"))
		return e.Probability
	}
	base := probability(func(*Table) {})
	answered := func(key extract.Key, host string, verdict intel.Verdict) func(*Table) {
		return func(table *Table) {
			table.Want(Sighting{Key: key, Context: extract.Context{Host: host}}, epoch)
			table.Next(0, epoch)
			table.Answer(0, key, verdict, nil, epoch)
		}
	}
	for name, p := range map[string]float64{
		"host that met something":        probability(func(t *Table) { t.Met("10.0.0.9", epoch) }),
		"host of a malicious answer":     probability(answered(domain("login.top"), "10.0.0.9", intel.Malicious)),
		"registered domain is malicious": probability(answered(domain("deep.in.www.example.com"), "", intel.Malicious)),
		"looks like something malicious": probability(answered(domain("www.example.org"), "", intel.Malicious)),
	} {
		if p <= base {
			t.Errorf("%s: probability %.4f, want above %.4f", name, p, base)
		}
	}
	for name, p := range map[string]float64{
		"another host met something":    probability(func(t *Table) { t.Met("10.0.0.8", epoch) }),
		"too long ago":                  probability(func(t *Table) { t.Met("10.0.0.9", after(-601*time.Second)) }),
		"another registered domain":     probability(answered(domain("login.top"), "", intel.Malicious)),
		"registered domain is harmless": probability(answered(domain("deep.in.www.example.com"), "", intel.Benign)),
		"looks like something harmless": probability(answered(domain("www.example.org"), "", intel.Benign)),
	} {
		if p > base {
			t.Errorf("%s: probability %.4f, want at most %.4f", name, p, base)
		}
	}
}

// Answers tell of what looks the same, and of nothing else: whoever floods the log devalues his own kind alone.
func TestTableFloodDevaluesItself(t *testing.T) {
	table := newTestTable(0)
	rank := func(key extract.Key) float64 {
		e := table.index[key]
		table.refresh(e, 0)
		return e.score
	}
	bait, plain := domain("secure-login.top"), domain("secure-login.org")
	want(table, bait, 0, extract.OK)
	want(table, plain, 0, extract.OK)
	before := rank(plain)
	if rank(bait) <= before {
		t.Fatal("bait under an abused top-level domain is not worth more than elsewhere")
	}
	for i := range 40 {
		key := domain(fmt.Sprintf("verify%d.top", i))
		want(table, key, 0, extract.OK)
		table.index[bait].asking, table.index[plain].asking = true, true // leave them alone
		if got, _, ok := table.Next(0, epoch); !ok || got != key {
			t.Fatalf("asked %v", got)
		}
		table.index[bait].asking, table.index[plain].asking = false, false
		table.Answer(0, key, intel.NoVerdict, nil, epoch)
	}
	if rank(bait) >= before || rank(plain) != before {
		t.Errorf("after 40 answers about the flood: %.4f, and elsewhere %.4f, which was %.4f", rank(bait), rank(plain), before)
	}
}

func TestTableRareTypes(t *testing.T) {
	table := newTestTable(0)
	want(table, ip(1), 0, extract.OK)
	rare := func() bool { return table.allTraits(table.index[ip(1)], 0)&(1<<traitRareType) != 0 }
	for i := range 198 {
		want(table, domain(fmt.Sprintf("x%d.example", i)), 0, extract.OK)
		if rare() {
			t.Fatalf("rare among %d", i+2)
		}
	}
	want(table, domain("last.example"), 0, extract.OK)
	if !rare() {
		t.Error("1 of 200 is not rare")
	}
}

// explained tells why key would be second.
func explained(table *Table, key extract.Key) Explanation {
	e := table.index[key]
	table.refresh(e, table.since(epoch))
	return table.explain(e, 2, table.since(epoch))
}

func TestTableExplain(t *testing.T) {
	table := newTestTable(0)
	want(table, domain("a.example"), 0, extract.OK)
	want(table, ip(1), 0, extract.Fail)
	want(table, ip(1), 0, extract.Fail)
	e := explained(table, domain("a.example"))
	if e.Place != 2 || e.Seen != 1 {
		t.Errorf("got %+v", e)
	}
	var sum float64
	for _, part := range e.Parts {
		sum += part.Weight
	}
	if got := sigmoid(sum); got != e.Probability {
		t.Errorf("the parts make %v, the probability is %v", got, e.Probability)
	}
	if got := e.Probability * e.Worth; got != e.Score {
		t.Errorf("score %v, want %v", e.Score, got)
	}
}

func TestTableWantDoesNotAllocate(t *testing.T) {
	table := newTestTable(0)
	sighting := Sighting{Key: ip(1), Context: extract.Context{Host: "10.0.0.9", Outcome: extract.Fail}}
	table.Want(sighting, epoch)
	if n := testing.AllocsPerRun(100, func() { table.Want(sighting, epoch) }); n != 0 {
		t.Errorf("%v allocations per repeated sighting, want 0", n)
	}
}

// TestTableModel drives the table at random and holds it against what must always be so.
func TestTableModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	table := NewTable(TableOptions{
		MaxWaiting: 32, Types: []extract.TypeSet{extract.AllTypes, 1 << extract.IP}, Start: epoch, Seed: 3,
	})
	asking := map[extract.Key]int{} // by whom
	for i := range 20_000 {
		now := time.Duration(i) * 300 * time.Millisecond
		switch source := random.IntN(2); random.IntN(4) {
		case 0, 1:
			want(table, ip(random.IntN(100)), now, extract.Outcome(random.IntN(5)))
		case 2:
			if key, _, ok := table.Next(source, after(now)); ok {
				if _, twice := asking[key]; twice {
					t.Fatalf("step %d: %v is asked twice", i, key)
				}
				asking[key] = source
			}
		case 3:
			for key, source := range asking {
				settleAtRandom(table, random, source, key, after(now))
				delete(asking, key)
				break
			}
		}
		checkTable(t, table, asking)
	}
}

func settleAtRandom(table *Table, random *rand.Rand, source int, key extract.Key, now time.Time) {
	switch random.IntN(4) {
	case 0:
		table.Answer(source, key, intel.Malicious, []extract.Key{ip(random.IntN(100))}, now)
	case 1:
		table.Answer(source, key, intel.NoVerdict, nil, now)
	case 2:
		table.Fail(key, now)
	case 3:
		table.Skip(source, key)
	}
}

func checkTable(t *testing.T, table *Table, asking map[extract.Key]int) {
	t.Helper()
	bytes, inFlight := 0, 0
	for i, e := range table.entries {
		if e.place != i || table.index[e.key] != e || e.todo == 0 {
			t.Fatalf("entry %d: %+v", i, e)
		}
		bytes += len(e.key.Value)
		if e.asking {
			inFlight++
		}
	}
	behindDoor := 0
	for i := range table.door.counts {
		behindDoor += int(table.door.counts[i].Load())
	}
	if behindDoor != len(table.entries) {
		t.Fatalf("%d entries, %d behind the door", len(table.entries), behindDoor)
	}
	if len(table.index) != len(table.entries) || len(table.entries) > table.max || bytes != table.keyBytes ||
		inFlight != table.asking || inFlight != len(asking) {
		t.Fatalf("%d entries, %d indexed, %d key bytes for %d, %d asking for %d", len(table.entries), len(table.index),
			table.keyBytes, bytes, table.asking, inFlight)
	}
}

func TestPicksKeepTheBest(t *testing.T) {
	var p picks
	random := rand.New(rand.NewPCG(1, 1))
	var all []float64
	for range 500 {
		score := random.Float64()
		all = append(all, score)
		p.offer(ranked{score: score})
	}
	slices.Sort(all)
	slices.Reverse(all)
	var got []float64
	for _, r := range p.ranked {
		got = append(got, r.score)
	}
	if !slices.Equal(got, all[:maxPicks]) {
		t.Errorf("kept %v, want %v", got, all[:maxPicks])
	}
}
