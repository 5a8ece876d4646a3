package plan

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"iocpipe/extract"
	"iocpipe/intel"
)

// corpusYields are the yields of the policy that the corpus was published with, at 1 request per 10 s, burst 5.
var corpusYields = map[string]float64{
	"dns": 0.548, "endpoint": 0.694, "mail": 0.391, "mixed": 0.364, "ssh": 0.355, "web": 0.427,
}

// TestCorpusYield holds the policy against the published one. One seed per world: differences under 0.05 in one world
// are within what another seed gives, so the mean is held more strictly than each.
func TestCorpusYield(t *testing.T) {
	dir := os.Getenv("IOCPIPE_CORPUS")
	if dir == "" {
		t.Skip("IOCPIPE_CORPUS does not name the folder of the corpus")
	}
	var sum, want float64
	for name, reference := range corpusYields {
		yield := corpusYield(t, filepath.Join(dir, "budget", name))
		t.Logf("%-8s yield %.3f, reference %.3f", name, yield, reference)
		if yield < reference-0.08 {
			t.Errorf("%s: yield %.3f is more than 0.08 below the reference %.3f", name, yield, reference)
		}
		sum += yield
		want += reference
	}
	n := float64(len(corpusYields))
	t.Logf("mean     yield %.3f, reference %.3f", sum/n, want/n)
	if sum/n < want/n-0.03 {
		t.Errorf("mean yield %.3f is more than 0.03 below the reference %.3f", sum/n, want/n)
	}
}

func corpusYield(t *testing.T, base string) float64 {
	t.Helper()
	events := loadTrace(t, base+".ndjson.gz")
	answers := loadTruth(t, base+".truth.json.gz")
	var log []Ask
	config := defaultBudget(answers)
	config.OnAsk = func(a Ask) error {
		log = append(log, a)
		return nil
	}
	if _, err := Run(replay(events), config); err != nil {
		t.Fatal(err)
	}
	writeLog(t, base, log)
	return yield(events, answers, log)
}

// writeLog keeps the decisions for other tools when the environment names a folder for them.
func writeLog(t *testing.T, base string, log []Ask) {
	dir := os.Getenv("IOCPIPE_ASKS")
	if dir == "" {
		return
	}
	file, err := os.Create(filepath.Join(dir, filepath.Base(base)+".asks.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, ask := range log {
		if err := WriteAsk(file, ask); err != nil {
			t.Fatal(err)
		}
	}
}

// defaultBudget is what the v2 terms allow: a request per 10 s, with bursts of 5.
func defaultBudget(answers *Answers) Config {
	return Config{Rate: rate.Every(10 * time.Second), Burst: 5, Types: extract.AllTypes, Answer: answers.Lookup}
}

func loadTrace(t *testing.T, name string) []Event {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var events []Event
	for event, err := range ReadTrace(file) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		events = append(events, event)
	}
	return events
}

func loadTruth(t *testing.T, name string) *Answers {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	answers, err := ReadAnswers(file, noReportLines)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return answers
}

func noReportLines([]byte) (extract.Key, intel.Report, error) {
	return extract.Key{}, intel.Report{}, os.ErrInvalid
}

func replay(events []Event) func(func(Event, error) bool) {
	return func(yield func(Event, error) bool) {
		for _, event := range events {
			if !yield(event, nil) {
				return
			}
		}
	}
}

// yield is the mean of on time (the share of events with a malicious indicator, of which one was known as they passed)
// and coverage (the share of distinct malicious indicators that became known). It is worked out from the decisions and
// the answers alone, without the code under test.
func yield(events []Event, answers *Answers, log []Ask) float64 {
	known := knownAt(answers, log, events[len(events)-1].At)
	malicious := make(map[string]bool)
	var bad, onTime, found int
	for _, event := range events {
		earliest := math.Inf(1)
		var any bool
		for _, ind := range event.Indicators {
			if answers.truth[ind.Value].Votes == -1 {
				malicious[ind.Value], any = true, true
				if at, ok := known[ind.Value]; ok {
					earliest = min(earliest, at.Seconds())
				}
			}
		}
		if any {
			bad++
		}
		if earliest <= event.At.Seconds() {
			onTime++
		}
	}
	for value := range maps.Keys(malicious) {
		if _, ok := known[value]; ok {
			found++
		}
	}
	return (share(onTime, bad) + share(found, len(malicious))) / 2
}

// knownAt returns when each value became known, by its own answer or by a malicious report that names it.
func knownAt(answers *Answers, log []Ask, end time.Duration) map[string]time.Duration {
	known := make(map[string]time.Duration)
	learn := func(value string, at time.Duration) {
		if before, ok := known[value]; !ok || at < before {
			known[value] = at
		}
	}
	for _, ask := range log {
		at := ask.At + AnswerDelay(ask.Key.Value)
		if at > end {
			continue
		}
		learn(ask.Key.Value, at)
		if truth := answers.truth[ask.Key.Value]; truth.Votes == -1 {
			for _, value := range truth.Related {
				learn(value, at)
			}
		}
	}
	return known
}

func share(part, whole int) float64 { return float64(part) / float64(max(whole, 1)) }
