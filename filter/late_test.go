package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fastjson"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/lookup"
)

func TestWitness(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"Mar  4 09:15:22 web-3 sshd[811]: Failed password for root from 203.0.113.7", "web-3"},
		{"Mar  4 09:15:22 fw kernel: SRC=203.0.113.7 DST=10.1.2.3", "10.1.2.3"},
		{"<34>1 2026-03-04T09:15:22Z mymachine su - ID47 - 203.0.113.7", "mymachine"},
		{"2026-03-04T09:15:22.481Z gw nginx: 203.0.113.7", "gw"},
		{`{"host":{"name":"h1"},"source":{"ip":"203.0.113.7"}}`, "h1"},
		{`{"host":{"name":"h1"},"destination":{"ip":"203.0.113.7"},"source":{"ip":"10.0.0.9"}}`, "10.0.0.9"},
		{`{"user.name":"eve","destination.ip":"203.0.113.7"}`, "eve"},
		{"203.0.113.7 alone", ""},
		{"2026-03-04T09:15:22.481Z 203.0.113.7", ""},
		{`{"source":{"ip":"203.0.113.7"},"user":{"name":"eve"}}`, "eve"},
		{`{"source":{"ip":"203.0.113.7"},"destination":{"ip":"198.51.100.8"}}`, "198.51.100.8"},
		{`{"src_ip":"203.0.113.7","dest_ip":"198.51.100.8"}`, "198.51.100.8"},
		{`{"source":{"ip":"203.0.113.7"}}`, ""},
	} {
		var s extract.Scanner
		matches, event := s.AppendEvent(nil, []byte(c.line))
		private := extract.ReadContext([]byte(c.line), matches).Host
		if got := witness(private, []byte(c.line), event, "203.0.113.7", new(fastjson.Parser)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.line, got, c.want)
		}
	}
}

// knowing returns a knowledge whose cache holds the answer.
func knowing(t *testing.T, a lookup.Answer) *Knowledge {
	t.Helper()
	memory, err := cache.NewMemory(100, cache.DefaultLifetimes)
	if err != nil {
		t.Fatal(err)
	}
	k := &Knowledge{Cache: memory, Providers: map[string]Provider{"src": {Origin: intel.FromThreatCrowd, Name: "src"}}}
	k.SetOwn(nil, extract.Policy{}, true)
	k.Put(a)
	return k
}

func TestLateVerdicts(t *testing.T) {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	asked := extract.Key{Type: extract.IP, Value: "52.80.34.196"}
	named := extract.Key{Type: extract.Domain, Value: "evil.com"}
	other := extract.Key{Type: extract.Domain, Value: "other.com"}
	report := &intel.Report{Known: true, Voted: true, Votes: -1, Resolutions: []intel.Resolution{{Value: "evil.com", Last: at}}}
	answer := lookup.Answer{Key: asked, Source: "src", Report: report, Related: lookup.RelatedKeys(report), At: at}
	know := knowing(t, answer)

	late := NewLate()
	late.Pass(asked, Place{at, "a.log", 3}, "h1")
	late.Pass(asked, Place{at.Add(time.Second), "a.log", 9}, "h2")
	late.Pass(asked, Place{at.Add(2 * time.Second), "a.log", 12}, "h1")
	late.Pass(named, Place{at, "b.log", 1}, "")
	late.Pass(asked, Place{at.Add(time.Hour), "a.log", 99}, "h1")
	late.Pass(other, Place{at, "b.log", 2}, "")

	verdicts := late.Answered(answer, know)
	if len(verdicts) != 2 {
		t.Fatalf("got %v, want the asked and the named", verdicts)
	}
	v := verdicts[0]
	if v.Key != asked || v.Finding.Verdict != intel.Malicious || v.Events != 4 || v.First.Line != 3 || v.Last.Line != 99 {
		t.Errorf("got %+v", v)
	}
	if hits := v.Hits(); len(hits) != 3 || hits[0].Host != "h1" || hits[1].Host != "h2" || hits[2].First.Line != 99 || !hits[0].Late ||
		hits[0].Events != 2 || hits[0].Last.Line != 12 || hits[1].Events != 1 || hits[1].First.Line != 9 {
		t.Errorf("hits: %+v", hits)
	}
	if v := verdicts[1]; v.Finding.Verdict != intel.Related || v.Finding.Via != asked || len(v.Hits()) != 0 {
		t.Errorf("the named: %+v", v)
	}
	if again := late.Answered(answer, know); len(again) != 0 {
		t.Errorf("told twice: %+v", again)
	}
	checkFollowUp(t, verdicts[0])
}

// checkFollowUp checks the record of a late verdict against the fixed form.
func checkFollowUp(t *testing.T, v LateVerdict) {
	t.Helper()
	line := AppendFollowUp(nil, annotate.New(), v, time.Date(2026, 11, 1, 1, 0, 0, 0, time.UTC))
	if strings.Count(string(line), "\n") != 1 {
		t.Fatalf("not one line: %s", line)
	}
	var r struct {
		Timestamp string `json:"@timestamp"`
		Event     struct{ Kind string }
		Threat    struct{ Enrichments []any }
		Iocpipe   struct {
			Verdict string
			Late    struct {
				Events      int
				First, Last struct {
					File string
					Line int
				}
			}
		}
	}
	if err := json.Unmarshal(line, &r); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	l := r.Iocpipe.Late
	if r.Event.Kind != "enrichment" || len(r.Threat.Enrichments) != 1 || r.Iocpipe.Verdict != "malicious" || l.Events != 4 ||
		l.First.Line != 3 || l.Last.File != "a.log" || r.Timestamp != "2026-11-01T01:00:00.000Z" {
		t.Errorf("got %s", line)
	}
	if c, err := annotate.Compare(strings.NewReader(""), bytes.NewReader(line)); err != nil || !c.OK() || c.FollowUps != 1 {
		t.Errorf("verify takes it for %+v, %v", c, err)
	}
}

// Everybody who met what turns out to be malicious is told of, up to a bound, and what is over that is counted.
func TestLateTellsOfManyHosts(t *testing.T) {
	key, late := extract.Key{Type: extract.IP, Value: "52.80.34.196"}, NewLate()
	for i := range maxMeetings + 50 {
		for range 3 {
			late.Pass(key, Place{}, fmt.Sprint("host-", i))
		}
	}
	p, ok := late.take(key)
	if !ok || len(p.Meetings) != maxMeetings || p.Unmet != 150 || p.Events != 3*(maxMeetings+50) {
		t.Errorf("%d meetings, %d events without, of %d", len(p.Meetings), p.Unmet, p.Events)
	}
	if late.passed.meetings != 0 {
		t.Errorf("%d meetings are still counted", late.passed.meetings)
	}
	for i := range 3 * maxAllMeetings / maxMeetings {
		for host := range maxMeetings {
			late.Pass(extract.Key{Type: extract.Domain, Value: fmt.Sprint("n", i)}, Place{}, fmt.Sprint(host))
		}
	}
	if late.passed.meetings > maxAllMeetings || late.passed.meetings < maxAllMeetings-maxMeetings {
		t.Errorf("%d meetings are held, of at most %d", late.passed.meetings, maxAllMeetings)
	}
}

func TestLateForgetsTheOldest(t *testing.T) {
	late := NewLate()
	for i := range maxPassed + 10 {
		late.Pass(extract.Key{Type: extract.Domain, Value: "n" + strings.Repeat("x", i%7) + "." + time.Duration(i).String()}, Place{}, "")
	}
	if n := len(late.passed.known); n != maxPassed {
		t.Errorf("%d are remembered, want %d", n, maxPassed)
	}
}

// What was met again outlives what was not; what was taken is known no more, and keeps what it was.
func TestPassages(t *testing.T) {
	key := func(i int) extract.Key {
		return extract.Key{Type: extract.Domain, Value: fmt.Sprint("n", i, ".example")}
	}
	late := NewLate()
	for i := range maxPassed {
		late.Pass(key(i), Place{Line: int64(i)}, fmt.Sprint("host-", i))
	}
	for i := 0; i < 100; i += 2 {
		if !late.Again(key(i)) {
			t.Fatalf("%d is not known", i)
		}
	}
	taken, ok := late.take(key(200))
	if _, again := late.take(key(200)); again || !ok || late.Again(key(200)) {
		t.Error("what was taken is still known")
	}
	for i := range 60 {
		late.Pass(key(maxPassed+i), Place{}, "")
	}
	for i := range 100 {
		if known := late.Again(key(i)); known != (i%2 == 0) {
			t.Errorf("%d is known: %v", i, known)
		}
	}
	if m := taken.Meetings; len(m) != 1 || m[0].Host != "host-200" || m[0].First.Line != 200 || taken.First.Line != 200 || taken.Events != 1 {
		t.Errorf("taken: %+v", taken)
	}
	if n := len(late.passed.keys()); n != len(late.passed.known) || n != late.passed.meetings || n > maxPassed {
		t.Errorf("%d keys, %d known, %d meetings", n, len(late.passed.known), late.passed.meetings)
	}
}

// FuzzPassages compares what is remembered with a map, as long as there is room.
func FuzzPassages(f *testing.F) {
	f.Add([]byte{1, 2, 1, 130, 1, 2, 129, 1}) // met, met again, taken
	f.Fuzz(func(t *testing.T, steps []byte) {
		late, events := NewLate(), make(map[byte]int64)
		for _, step := range steps {
			n := step & 0x7f
			key := extract.Key{Type: extract.Domain, Value: fmt.Sprint(n)}
			if step < 0x80 {
				late.Pass(key, Place{Line: int64(n)}, "")
				events[n]++
				continue
			}
			got, ok := late.take(key)
			if want, known := events[n]; ok != known || got.Events != want || ok && got.First.Line != int64(n) {
				t.Fatalf("%d: got %+v, %v, want %d events", n, got, ok, want)
			}
			delete(events, n)
		}
		if len(late.passed.keys()) != len(events) || late.passed.meetings != len(events) {
			t.Fatalf("%d keys, %d meetings, want %d", len(late.passed.keys()), late.passed.meetings, len(events))
		}
	})
}

func BenchmarkPass(b *testing.B) {
	keys := make([]extract.Key, 4*maxPassed)
	for i := range keys {
		keys[i] = extract.Key{Type: extract.IP, Value: fmt.Sprintf("93.%d.%d.%d", i>>16, i>>8&255, i&255)}
	}
	late, i := NewLate(), 0
	b.ReportAllocs()
	for b.Loop() { // each is new
		if key := keys[i%len(keys)]; !late.Again(key) {
			late.Pass(key, Place{}, "")
		}
		i++
	}
}

func TestWaiting(t *testing.T) {
	key := extract.Key{Type: extract.IP, Value: "52.80.34.196"}
	t.Run("until the answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var inFlight atomic.Bool
			inFlight.Store(true)
			w := &Waiting{Time: 2 * time.Second, Bytes: 1000, Expected: func(extract.Key) bool { return inFlight.Load() }}
			go func() {
				time.Sleep(300 * time.Millisecond)
				inFlight.Store(false)
				w.Answered()
			}()
			began := time.Now()
			w.wait(10, []extract.Key{key})
			if took := time.Since(began); took > 310*time.Millisecond || took < 100*time.Millisecond {
				t.Errorf("waited %s", took)
			}
		})
	})
	t.Run("up to its time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &Waiting{Time: 2 * time.Second, Bytes: 1000, Expected: func(extract.Key) bool { return true }}
			began := time.Now()
			w.wait(10, []extract.Key{key})
			if took := time.Since(began); took != 2*time.Second {
				t.Errorf("waited %s", took)
			}
		})
	})
	t.Run("not for what nobody asks", func(t *testing.T) {
		w := &Waiting{Time: time.Hour, Bytes: 1000, Expected: func(extract.Key) bool { return false }}
		w.wait(10, []extract.Key{key})
	})
	t.Run("the oldest leave when too much is held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &Waiting{Time: 2 * time.Second, Bytes: 25, Expected: func(extract.Key) bool { return true }}
			left := make(chan int, 3)
			for i := range 3 {
				go func() {
					w.wait(10, []extract.Key{key})
					left <- i
				}()
				synctest.Wait()
			}
			if first := <-left; first != 0 || w.Overflowed() != 1 {
				t.Errorf("%d left first, %d for lack of room", first, w.Overflowed())
			}
			<-left
			<-left
			if w.bytes != 0 || len(w.held) != 0 {
				t.Errorf("%d bytes are still held", w.bytes)
			}
		})
	})
}

// TestLateRemembersWhatWaits floods the scheduler: what it has no place for is counted, and not remembered.
func TestLateRemembersWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		know := newKnowledge(t, "", askable("crowd", extract.AllTypes))
		const lines = 20_000
		var in []byte
		for i := range lines {
			in = fmt.Appendf(in, "Failed password for root from 45.61.%d.%d\n", i>>8, i&255)
		}
		tally, late := new(Tally), NewLate()
		a := &Annotation{Know: know, Annotator: annotate.New(), Tally: tally, Late: late}
		a.Process(nil, &Block{Data: in, Lines: lines, Line: 1})
		stats := know.Scheduler.Stats()
		if tally.Unknown.Load() != lines || stats.Waiting+int(stats.Evicted) != lines {
			t.Errorf("%d unknown, %d wait, %d evicted of %d", tally.Unknown.Load(), stats.Waiting, stats.Evicted, lines)
		}
		if n := len(late.passed.known); n < stats.Waiting || n > lines*3/4 {
			t.Errorf("%d of %d are remembered, %d wait", n, lines, stats.Waiting)
		}
	})
}
