package plan

import (
	"errors"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"iocpipe/extract"
	"iocpipe/intel"
)

const gateway = "testdata/gateway"

// asks runs the policy on events and returns its decisions.
func asks(t *testing.T, events []Event, c Config) ([]Ask, Summary) {
	t.Helper()
	var log []Ask
	c.OnAsk = func(a Ask) error {
		log = append(log, a)
		return nil
	}
	summary, err := Run(replay(events), c)
	if err != nil {
		t.Fatal(err)
	}
	return log, summary
}

// firstComeFirstServed is the naive policy: one ask per token, in the order of appearance.
func firstComeFirstServed(events []Event) []Ask {
	var log []Ask
	seen := make(map[extract.Key]bool)
	next := -40 * time.Second // a burst of 5 in advance
	for _, event := range events {
		for _, ind := range event.Indicators {
			if !seen[ind.Key] {
				seen[ind.Key] = true
				log = append(log, Ask{At: max(next, event.At), Key: ind.Key})
				next += 10 * time.Second
			}
		}
	}
	return log
}

func TestRunOnTheGateway(t *testing.T) {
	events, answers := loadTrace(t, gateway+".ndjson.gz"), loadTruth(t, gateway+".truth.json.gz")
	log, summary := asks(t, events, defaultBudget(answers))
	got, naive := yield(events, answers, log), yield(events, answers, firstComeFirstServed(events))
	if got < 0.6 || naive > got/2 {
		t.Errorf("yield %.3f, first come first served %.3f; want 0.6 at least, and twice as much", got, naive)
	}
	checkSummary(t, summary, events, log)
	again, _ := asks(t, events, defaultBudget(answers))
	if !slices.Equal(log, again) {
		t.Error("a second run decided otherwise")
	}
}

func checkSummary(t *testing.T, s Summary, events []Event, log []Ask) {
	t.Helper()
	distinct := make(map[extract.Key]bool)
	for _, event := range events {
		for _, ind := range event.Indicators {
			distinct[ind.Key] = true
		}
	}
	var malicious int
	for _, ask := range log {
		if ask.Verdict == intel.Malicious {
			malicious++
		}
	}
	if s.Events != len(events) || s.Distinct != len(distinct) || s.Asked != len(log) || s.Malicious != malicious ||
		s.Length != events[len(events)-1].At || s.Related == 0 {
		t.Errorf("summary %+v; %d events, %d distinct, %d asks, %d malicious", s, len(events), len(distinct), len(log),
			malicious)
	}
	if want := time.Duration(len(distinct)-5) * 10 * time.Second; (s.NeedAll - want).Abs() > time.Microsecond {
		t.Errorf("all would take %v, want %v", s.NeedAll, want)
	}
}

// TestRunKeepsTheRules holds decisions against the rules of a run: the budget, nothing unseen, nothing twice, nothing
// that a malicious report has named.
func TestRunKeepsTheRules(t *testing.T) {
	events, answers := loadTrace(t, gateway+".ndjson.gz"), loadTruth(t, gateway+".truth.json.gz")
	for _, c := range []Config{
		{Rate: 0.1, Burst: 5}, {Rate: 1, Burst: 1}, {Rate: 1. / 60, Burst: 3}, {Rate: 0.1, Burst: 5, MaxWaiting: 16},
	} {
		c.Types, c.Answer = extract.AllTypes, answers.Lookup
		log, _ := asks(t, events, c)
		checkBudget(t, log, c)
		checkQuestions(t, events, log)
		checkRelated(t, answers, log)
	}
}

func checkBudget(t *testing.T, log []Ask, c Config) {
	t.Helper()
	tokens, last := float64(c.Burst), time.Duration(0)
	for i, ask := range log {
		tokens = min(float64(c.Burst), tokens+(ask.At-last).Seconds()*float64(c.Rate))
		if ask.At < last || tokens < 1-1e-6 {
			t.Fatalf("ask %d at %v, after %v, with %.6f tokens", i, ask.At, last, tokens)
		}
		tokens--
		last = ask.At
	}
}

func checkQuestions(t *testing.T, events []Event, log []Ask) {
	t.Helper()
	first := make(map[extract.Key]time.Duration)
	for _, event := range events {
		for _, ind := range event.Indicators {
			if _, ok := first[ind.Key]; !ok {
				first[ind.Key] = event.At
			}
		}
	}
	asked := make(map[extract.Key]bool)
	for _, ask := range log {
		if at, ok := first[ask.Key]; !ok || at > ask.At || asked[ask.Key] {
			t.Fatalf("asked %v at %v, first seen at %v, asked before: %v", ask.Key, ask.At, at, asked[ask.Key])
		}
		asked[ask.Key] = true
	}
}

func checkRelated(t *testing.T, answers *Answers, log []Ask) {
	t.Helper()
	known := knownAt(answers, log, math.MaxInt64)
	for _, ask := range log {
		if known[ask.Key.Value] < ask.At {
			t.Errorf("asked %v at %v, known since %v", ask.Key, ask.At, known[ask.Key.Value])
		}
	}
}

func TestRunAsksOnlyTheTypes(t *testing.T) {
	events := loadTrace(t, gateway+".ndjson.gz")
	log, _ := asks(t, events, Config{Rate: 0.1, Burst: 5, Types: 1 << extract.Domain})
	if len(log) == 0 {
		t.Fatal("nothing was asked")
	}
	for _, ask := range log {
		if ask.Key.Type != extract.Domain || ask.Verdict != intel.NoVerdict {
			t.Errorf("asked %+v, want domains, of a source that knows nothing", ask)
		}
	}
}

func TestRunStopsAtAnError(t *testing.T) {
	broken := errors.New("broken")
	var events iter.Seq2[Event, error] = func(yield func(Event, error) bool) {
		key := extract.Key{Type: extract.IP, Value: "198.51.100.7"}
		if yield(Event{Indicators: []Indicator{{Key: key}}}, nil) {
			yield(Event{}, broken)
		}
	}
	c := Config{Rate: rate.Inf, Burst: 1, Types: extract.AllTypes}
	summary, err := Run(events, c)
	if !errors.Is(err, broken) || summary.Asked != 1 {
		t.Errorf("Run = %+v, %v, want one ask and the error", summary, err)
	}
	c.OnAsk = func(Ask) error { return broken }
	if _, err := Run(events, c); !errors.Is(err, broken) {
		t.Errorf("Run = %v, want the error of OnAsk", err)
	}
	if _, err := Run(events, Config{}); err == nil {
		t.Error("no error without a budget")
	}
}

func BenchmarkRun(b *testing.B) {
	w := newWorld()
	var events []Event
	for _, raw := range w.events {
		ind := raw.Indicators[0]
		typ, _ := extract.ParseType(ind.Type)
		events = append(events, Event{
			At: time.Duration(raw.T * float64(time.Second)),
			Indicators: []Indicator{{
				extract.Key{Type: typ, Value: ind.Value},
				extract.Context{Outcome: outcomes[ind.Ctx.Outcome], Host: ind.Ctx.Host},
			}},
		})
	}
	config := defaultBudget(&Answers{truth: w.truth})
	for b.Loop() {
		if _, err := Run(replay(events), config); err != nil {
			b.Fatal(err)
		}
	}
}
