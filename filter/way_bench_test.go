package filter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/lookup"
	"iocpipe/lookup/httpapi"
	"iocpipe/lookup/lookuptest"
	"iocpipe/lookup/threatcrowd"
)

// waySize is how much each benchmark of the whole way passes at once, in bytes.
const waySize = 16_000_000

// BenchmarkWay passes each kind of example log the whole way, with the example intelligence.
func BenchmarkWay(b *testing.B) {
	logs := exampleLogs(b)
	for _, path := range slices.Sorted(maps.Keys(logs)) {
		b.Run(filepath.Base(path), func(b *testing.B) {
			benchmarkWay(b, repeated(logs[path], waySize),
				localKnowledge(b), nil)
		})
	}
}

// BenchmarkWayBesideSource passes lines with ever new indicators beside a network source in every state: the lines must
// not notice. The source that does nothing wrong still answers far fewer questions than the lines raise.
func BenchmarkWayBesideSource(b *testing.B) {
	lines := newIndicators(waySize)
	b.Run("none", func(b *testing.B) { benchmarkWay(b, lines, localKnowledge(b), nil) })
	for _, bb := range []struct {
		name  string
		reply http.Handler // nil when nothing listens
		late  bool
	}{
		{"healthy", lookuptest.JSON(`{"response_code":"1","votes":-1,"resolutions":[],"hashes":[],"references":[]}`),
			false},
		{"healthy, late answers wanted",
			lookuptest.JSON(`{"response_code":"1","votes":-1,"resolutions":[],"hashes":[],"references":[]}`), true},
		{"dead", nil, false},
		{"stalled", lookuptest.Stall(func() {}, nil, lookuptest.Empty()), false},
		{"slow by 30 s", slow(30 * time.Second), false},
		{"junk", lookuptest.HTML(), false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			k := localKnowledge(b)
			ask(b, k, bb.reply)
			var late *Late
			if bb.late {
				late = NewLate()
			}
			benchmarkWay(b, lines, k, late)
		})
	}
}

func benchmarkWay(b *testing.B, lines []byte, k *Knowledge, late *Late) {
	tally := new(Tally)
	newWorker := func() Worker {
		return &Annotation{Scanner: extract.Scanner{Defang: extract.DefangCommon}, Know: k, Annotator: annotate.New(),
			Tally: tally, Late: late}
	}
	events := 0
	before := mallocs()
	b.SetBytes(int64(len(lines)))
	for b.Loop() {
		stats, err := Run(b.Context(), from(bytes.NewReader(lines)), io.Discard, newWorker, Options{Failed: failing(b)})
		if err != nil || stats.Lines != stats.LinesOut {
			b.Fatalf("%v: %d lines in, %d out", err, stats.Lines, stats.LinesOut)
		}
		events += int(stats.Lines)
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(mallocs()-before)/float64(events), "allocs/event")
	b.ReportMetric(float64(tally.Malicious.Load()+tally.Related.Load()+tally.Other.Load())/float64(events),
		"annotated/event")
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// localKnowledge knows what the example intelligence says.
func localKnowledge(b *testing.B) *Knowledge {
	store, errs := local.Load([]string{"../testdata/intel"})
	if len(errs) > 0 {
		b.Fatal(errs)
	}
	memory, err := cache.NewMemory(cache.DefaultSize, cache.DefaultLifetimes)
	if err != nil {
		b.Fatal(err)
	}
	k := &Knowledge{Cache: memory, Providers: map[string]Provider{"crowd": {Origin: intel.FromThreatCrowd, Name: "crowd"}}}
	k.SetOwn(store, extract.Policy{}, true)
	return k
}

// ask lets k ask a source that answers by reply, until the benchmark ends.
func ask(b *testing.B, k *Knowledge, reply http.Handler) {
	b.Helper()
	url := "http://127.0.0.1:1" // where nothing listens
	if reply != nil {
		url = lookuptest.NewServer(b, reply).URL
	}
	client, err := threatcrowd.New(httpapi.Config{BaseURL: url})
	if err != nil {
		b.Fatal(err)
	}
	k.Sources = []lookup.Source{{Name: "crowd", Provider: client, Types: extract.AllTypes, Rate: 50, Burst: 50}}
	if k.Scheduler, err = lookup.New(lookup.Options{Sources: k.Sources, Answers: k}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Scheduler.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		<-ended
	})
}

// slow answers after a time, or when the client goes.
func slow(pause time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(pause):
			lookuptest.Empty().ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// repeated returns lines over and over, whole, up to size bytes.
func repeated(lines []byte, size int) (out []byte) {
	for len(out)+len(lines) < size {
		out = append(out, lines...)
		if lines[len(lines)-1] != '\n' {
			out = append(out, '\n')
		}
	}
	return out
}

// newIndicators returns lines of text and of JSON with an address and a name each that no other line has.
func newIndicators(size int) (out []byte) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; len(out) < size; i++ {
		addr := fmt.Sprintf("%d.%d.%d.%d", 60+random.IntN(30), random.IntN(256), random.IntN(256), random.IntN(256))
		if i%2 == 0 {
			out = fmt.Appendf(out,
				"Jan 12 06:25:41 web1 sshd[2217]: Failed password for invalid user admin from "+
					"%s (h%d.site%d.com) port 50022\n", addr, i, i%5000)
		} else {
			out = fmt.Appendf(out,
				`{"@timestamp":"2026-01-12T06:25:41Z","event":{"action":"connection"},"source":{"ip":"10.0.0.7"},`+
					`"destination":{"ip":"%s","domain":"h%d.site%d.com","port":443},"network":{"bytes":12}}`+"\n",
				addr, i, i%5000)
		}
	}
	return out
}
