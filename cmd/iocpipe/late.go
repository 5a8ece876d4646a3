package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"iocpipe/extract"
	"iocpipe/filter"
	"iocpipe/filter/annotate"
	"iocpipe/httpclient"
	"iocpipe/intel"
	"iocpipe/lookup"
	"iocpipe/sinks"
)

const (
	// waitBytes bounds what --on-miss wait holds back, in bytes; waitWorkers the blocks.
	waitBytes, waitWorkers = 64 << 20, 256

	// terminalDrain is how long a person waits at most for what is in flight.
	terminalDrain = 10 * time.Second
)

// lateFlags are the flags of what becomes of events whose answer is not there yet.
type lateFlags struct {
	onMiss, late, hits string
	wait, drain        time.Duration
}

func (f *lateFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.onMiss, "on-miss", "pass", "what an event does whose answer is missing: pass, or wait up to --wait for it")
	flags.DurationVar(&f.wait, "wait", 2*time.Second, "how long an event is held back at most with --on-miss wait")
	flags.StringVar(&f.late, "late", "none", "follow: write a follow-up record to the output when an answer comes late")
	flags.StringVar(&f.hits, "hits", "", "`FILE` or URL for one record per malicious indicator, host and hour, on time or late")
	flags.DurationVar(&f.drain, "drain", 0, "how long to go on asking at the end of input for what was seen (on a terminal: what is in flight)")
}

func (f *lateFlags) validate(insecureHTTP bool) error {
	switch {
	case !slices.Contains([]string{"pass", "wait"}, f.onMiss):
		return usagef("--on-miss %q: use pass or wait", f.onMiss)
	case !slices.Contains([]string{"none", "follow"}, f.late):
		return usagef("--late %q: use none or follow", f.late)
	case f.wait <= 0:
		return usagef("--wait %s: must be above 0", f.wait)
	case f.drain < 0:
		return usagef("--drain %s: must not be negative", f.drain)
	case isURL(f.hits):
		return checkHitsURL(f.hits, insecureHTTP)
	}
	return nil
}

// checkHitsURL refuses to tell everybody on the way, or on this host, what only the one who is named may know. A URL may
// hold a token: it is not repeated.
func checkHitsURL(dest string, insecureHTTP bool) error {
	u, err := url.Parse(dest)
	switch {
	case err != nil || u.Hostname() == "":
		return usagef("--hits: not of the form http(s)://host[:port][/path]")
	case u.User != nil:
		return usagef("--hits: a URL with a user or password can be read by everyone on this host; give one with a token, by IOCPIPE_HITS or the file of --config")
	}
	if err := httpclient.CheckPlain(u); err != nil && !insecureHTTP {
		return usagef("--hits: %v; --insecure-http allows it", err)
	}
	return nil
}

// A lateWay is what runs for answers that come after their events: it is told of each answer by the scheduler.
type lateWay struct {
	know    *filter.Knowledge
	late    *filter.Late    // nil when nobody wants to know
	waiting *filter.Waiting // nil unless events wait
	hits    *sinks.Hits     // nil without --hits
	follow  *output         // nil unless follow-up records are written
	stored  *storedWay      // nil unless documents are stored
	seen    *filter.Late    // what passed unknown to a store; nil without one

	annotator *annotate.Annotator // for follow-up records; used by answer, one call at a time
	answers   chan lookup.Answer
	done      chan struct{}
}

// newLateWay prepares what the flags ask for. stores says that late verdicts go to stored documents, too.
func (f *lateFlags) newLateWay(out *output, maxRelated int, stores bool, tellHits func(error)) (*lateWay, error) {
	w := &lateWay{answers: make(chan lookup.Answer, 256), done: make(chan struct{}), annotator: annotate.New()}
	w.annotator.MaxRelated = maxRelated
	if f.late == "follow" {
		w.follow = out
	}
	if f.hits != "" {
		hits, err := sinks.OpenHits(f.hits, isURL(f.hits), tellHits)
		if err != nil {
			return nil, fmt.Errorf("--hits: %w", err)
		}
		w.hits = hits
	}
	if w.follow != nil || w.hits != nil || stores {
		w.late = filter.NewLate()
	}
	if stores {
		w.seen = filter.NewLate()
	}
	go w.run()
	return w, nil
}

// attach lets the way know what answers, which must happen before lines flow.
func (w *lateWay) attach(know *filter.Knowledge, f *lateFlags) {
	w.know = know
	if f.onMiss == "wait" && know.Scheduler != nil {
		w.waiting = &filter.Waiting{Time: f.wait, Bytes: waitBytes}
		w.waiting.Expected = func(key extract.Key) bool { return know.Scheduler.Expects(key, f.wait) }
	}
}

// onAnswer is the scheduler's OnAnswer.
func (w *lateWay) onAnswer(a lookup.Answer) {
	if w.waiting != nil {
		w.waiting.Answered()
	}
	if w.late != nil {
		w.answers <- a
	}
}

// run tells of late verdicts, one answer after the other.
func (w *lateWay) run() {
	defer close(w.done)
	for a := range w.answers {
		for _, v := range w.late.Answered(a, w.know) {
			w.tell(v)
			if w.follow != nil {
				w.follow.Insert(filter.AppendFollowUp(nil, w.annotator, v, time.Now()))
			}
		}
	}
}

// tell tells of a late verdict.
func (w *lateWay) tell(v filter.LateVerdict) {
	for _, hit := range v.Hits() {
		w.meet(hit)
	}
	if w.hits != nil && v.Finding.Verdict == intel.Malicious {
		w.hits.Lose(v.Unmet)
	}
	if w.stored != nil {
		w.stored.tell(v)
	}
}

// review tells of what local intelligence that is new calls malicious, of what has passed.
func (w *lateWay) review() {
	if w.seen == nil {
		return
	}
	for _, v := range w.seen.Reviewed(w.know) {
		w.tell(v)
	}
}

// meet hands a hit to the sink.
func (w *lateWay) meet(h filter.Hit) {
	if w.hits != nil {
		w.hits.Meet(sinkHit(h))
	}
}

func sinkHit(h filter.Hit) sinks.Hit {
	place := func(p filter.Place) sinks.Place {
		if p.File == "-" {
			p.File = ""
		}
		return sinks.Place{Time: p.Time.UTC(), File: strings.Clone(p.File), Line: p.Line}
	}
	return sinks.Hit{Key: h.Key, Finding: h.Finding, Host: h.Host, Events: h.Events, First: place(h.First), Last: place(h.Last), Late: h.Late}
}

// drainAll goes on asking for what was seen until nothing waits or is in flight, the time is over, or ctx is done.
// With --drain it tells how far that came.
func (f *lateFlags) drainAll(ctx context.Context, know *filter.Knowledge, terminal bool, stderr io.Writer) {
	if know.Scheduler == nil {
		return
	}
	if f.drain > 0 {
		defer func() { tellDrained(know, stderr) }()
	}
	limit, queue := f.drain, true
	if limit == 0 && terminal {
		limit, queue = terminalDrain, false
	}
	end := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit > 0 && (know.Scheduler.InFlight() > 0 || queue && know.Scheduler.Waiting() > 0) {
		select {
		case <-tick.C:
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}

// tellDrained says what was asked, what was not, and how long that would take.
func tellDrained(know *filter.Knowledge, stderr io.Writer) {
	asked, left := askedAndLeft(know)
	perSecond := 0.0
	for _, source := range know.Sources {
		perSecond = max(perSecond, float64(source.Rate))
	}
	fmt.Fprintf(stderr, "iocpipe: %s asked, %s left", thousands(asked), thousands(left))
	if left > 0 {
		fmt.Fprintf(stderr, ", which would take %s", roundTime(time.Duration(float64(left)/perSecond*float64(time.Second))))
	}
	fmt.Fprintln(stderr)
}

// close ends the way: late verdicts are told, hits are delivered. No answer may come any more.
func (w *lateWay) close(stderr io.Writer) {
	close(w.answers)
	<-w.done
	if w.hits == nil {
		return
	}
	if lost := w.hits.Close(); lost > 0 {
		fmt.Fprintf(stderr, "iocpipe: --hits: %s records were lost\n", thousands(lost))
	}
}
