package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"iocpipe/enrich"
	"iocpipe/filter"
	"iocpipe/filter/annotate"
	"iocpipe/sinks"
	"iocpipe/sinks/elastic"
)

// What becomes of verdicts that come after their documents were sent.
const (
	lateHit    = "hit"    // a document of its own
	lateUpdate = "update" // the stored documents are updated
	lateNone   = "none"
)

// finishFor is how long stored documents may be updated after the last line.
const finishFor = time.Minute

// esLateFlags are the flags of late verdicts about documents in Elasticsearch.
type esLateFlags struct {
	mode     string
	throttle float64
}

func (f *esLateFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.mode, "es-late", lateHit, "a verdict that comes late, from a source or from local intelligence that is new: hit (a document in "+
		enrich.HitStream+"), update (the stored documents that hold it), or none")
	flags.Float64Var(&f.throttle, "es-late-rate", 200, "documents updated per second at most with --es-late update")
}

func (f *esLateFlags) validate() error {
	switch {
	case !slices.Contains([]string{lateHit, lateUpdate, lateNone}, f.mode):
		return usagef("--es-late %q: use hit, update or none", f.mode)
	case f.throttle <= 0:
		return usagef("--es-late-rate %v: must be above 0", f.throttle)
	}
	return nil
}

// A storedWay is the way of late verdicts to documents that are stored already. Nothing that goes wrong on it touches the
// documents that are on their way.
type storedWay struct {
	late   *enrich.Late
	hits   *sinks.Hits // nil unless they are written
	stream *stream
	stop   context.CancelFunc
	done   chan struct{}
}

// openStored opens the way of a session whose knowledge is there; nil when it has none.
func (s *session) openStored() *storedWay {
	f := &s.index.late
	if s.elastic == nil || f.mode == lateNone {
		return nil
	}
	annotator := annotate.New()
	annotator.MaxRelated = s.maxRelated
	w := &storedWay{stream: s.stream, done: make(chan struct{})}
	w.late = enrich.NewLate(s.elastic.client, enrich.LateOptions{
		Indices: s.elastic.indexNames, Scanner: s.scanner, Know: s.know, Annotator: annotator, PerSecond: f.throttle,
		Settled: s.elastic.bulk.After, Note: func(note string) { s.stream.say("--es-late: %s", note) },
	})
	if f.mode == lateHit {
		w.hits = sinks.NewHits(w.deliver, func(err error) {
			if err != nil {
				s.stream.say("--es-late hit: %v", err)
			}
		})
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() {
		defer close(w.done)
		w.late.Run(ctx)
	}()
	return w
}

// tell tells of a late verdict.
func (w *storedWay) tell(v filter.LateVerdict) {
	if w.hits == nil {
		w.late.Update(v.Key, v.First.Time)
		return
	}
	for _, hit := range v.Hits() {
		w.hits.Meet(sinkHit(hit))
	}
}

// deliver stores a hit.
func (w *storedWay) deliver(ctx context.Context, _ string, h sinks.Hit) (passing bool, err error) {
	err = w.late.Hit(ctx, enrich.LateHit{Key: h.Key, Finding: h.Finding, Host: h.Host, Events: h.Events, First: h.First, Last: h.Last,
		From: h.First.Time, To: h.Last.Time})
	return err != nil && !elastic.Final(err), err
}

// close tells what is left, once all documents are stored.
func (w *storedWay) close(stats bool) {
	if w.hits != nil {
		if lost := w.hits.Close(); lost > 0 {
			w.stream.complain(fmt.Errorf("--es-late hit: %s hits were lost", thousands(lost)))
		}
	}
	w.stop()
	<-w.done
	ctx, cancel := context.WithTimeoutCause(context.Background(), finishFor, errors.New("the time for it was over"))
	defer cancel()
	counts, lost := w.late.Finish(ctx)
	if lost > 0 {
		w.stream.complain(fmt.Errorf("--es-late update: of %s verdicts not all documents were updated; enrich-index does that", thousands(lost)))
	}
	if stats && w.hits == nil {
		w.stream.say("--es-late update: %s stored documents updated, %s changed by others meanwhile", thousands(counts.Updated), thousands(counts.Conflicts))
	}
}
