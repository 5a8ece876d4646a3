package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"iocpipe/cache/host"
	"iocpipe/enrich"
	"iocpipe/filter"
	"iocpipe/filter/annotate"
)

// enrichFlags are the flags of enrich-index.
type enrichFlags struct {
	scan    scanFlags
	sources sourceFlags
	server  elasticFlags

	index, query, since  string
	dryRun, prune, whole bool
	restart              bool
	maxQuestions         int
	askFor               time.Duration
	throttle             float64
	maxInFlight          int
	window               int64
	maxRelated           int
	deadLetter           string
}

func newEnrichIndexCommand(con console) *cobra.Command {
	var f enrichFlags
	cmd := &cobra.Command{
		Use:   "enrich-index",
		Short: "Enrich documents that are already in Elasticsearch or OpenSearch",
		Long: `enrich-index finds the indicators in the documents of an index, asks about those that nobody here knows within the
budget, the most telling first, and updates the documents that hold something known: each only if nobody has changed it
meanwhile, and only if its annotation changes. A run that is stopped or killed goes on where it was when it is started
again. With --dry-run it only says what it would do and what that takes.

` + exitCodes,
		Example: `  iocpipe enrich-index --es-url https://localhost:9200 --index 'logs-*' --since 7d --dry-run
  iocpipe enrich-index --es-url https://localhost:9200 --index logs-fw-prod --fields source.ip,destination.ip --throttle 500`,
		Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if f.sources.configured, err = settle(cmd); err != nil {
				return err
			}
			return f.run(contextOf(cmd), con)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.index, "index", "", "`NAMES` of indices, aliases and data streams, or patterns, separated by commas")
	flags.StringVar(&f.query, "query", "", "only documents that match this `QUERY`: JSON of the search API, or a query string such as event.module:fw")
	flags.StringVar(&f.since, "since", "", "only documents whose @timestamp is not older than this `TIME`: a duration, such as 7d, or a date")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say how many documents, values, questions and hours it would take; write and ask nothing")
	flags.IntVar(&f.maxQuestions, "max-questions", enrich.DefaultMaxQuestions, "end when there would be more questions than these")
	flags.DurationVar(&f.askFor, "ask-for", 0, "how long to ask at most, the most telling first; 0 is until nothing is left to ask")
	flags.Float64Var(&f.throttle, "throttle", 0, "`DOCUMENTS` written per second at most; 0 for as many as the server takes")
	flags.Int64Var(&f.window, "checkpoint-every", enrich.DefaultWindow, "`DOCUMENTS` between two notes of how far an index has come: whole hours of @timestamp, one at least")
	flags.IntVar(&f.maxInFlight, "es-max-requests", enrich.DefaultMaxInFlight, "bulk requests at once, at most, and shards that are read at once")
	flags.BoolVar(&f.prune, "prune", false, "take out own entries whose value nobody knows any more")
	flags.BoolVar(&f.whole, "whole-documents", false, "write documents whole instead of updating a part of them: for a server that refuses updates, as a user who sees all fields")
	flags.BoolVar(&f.restart, "restart", false, "begin anew instead of going on with an unfinished run")
	flags.StringVar(&f.deadLetter, "dead-letter", "", "`FILE` for updates that the server refuses, a JSON line each")
	flags.IntVar(&f.maxRelated, "max-related", 10, "related indicators written per annotation; the totals always are")
	f.server.add(flags)
	f.sources.add(flags)
	f.scan.add(flags, "common")
	addConfig(flags)
	return cmd
}

func (f *enrichFlags) validate() error {
	switch {
	case f.index == "":
		return usagef("--index: name the index, such as logs-fw-prod or 'logs-*'")
	case f.maxQuestions < 1:
		return usagef("--max-questions %d: must be at least 1", f.maxQuestions)
	case f.throttle < 0:
		return usagef("--throttle %v: must not be negative", f.throttle)
	case f.askFor < 0:
		return usagef("--ask-for %s: must not be negative", f.askFor)
	case f.window < 1:
		return usagef("--checkpoint-every %d: must be at least 1", f.window)
	case f.maxInFlight < 1:
		return usagef("--es-max-requests %d: must be at least 1", f.maxInFlight)
	case f.maxRelated < 0:
		return usagef("--max-related %d: must not be negative", f.maxRelated)
	case len(f.sources.intel) == 0:
		return usagef("nothing to ask: give --intel a file, a folder or the https:// URL of a ThreatCrowd v2 API")
	}
	if err := f.server.validate(); err != nil {
		return err
	}
	return f.sources.validate()
}

// forEver is how long a server is waited for unless --es-give-up says otherwise.
const forEver = time.Duration(math.MaxInt64)

// An enrichment is one run of enrich-index.
type enrichment struct {
	*enrichFlags
	con     console
	stream  *stream
	state   *host.State // nil without
	know    *filter.Knowledge
	letters *os.File // nil without
	bar     jobBar
}

func (f *enrichFlags) run(ctx context.Context, con console) error {
	if err := f.validate(); err != nil {
		return err
	}
	e := &enrichment{enrichFlags: f, con: con, stream: newStream(con, inputFlags{}), bar: jobBar{con: con}}
	options, err := e.options()
	if err != nil {
		return err
	}
	client, err := f.server.client()
	if err != nil {
		return err
	}
	ctx, restore := e.stream.signals(ctx)
	defer restore()
	if e.state != nil {
		fresh, cancel := context.WithCancel(ctx)
		defer cancel()
		keepFresh(fresh, e.know.Cache, e.stream.complain)
	}
	err = e.do(ctx, client, options)
	e.bar.finish()
	if e.state != nil {
		err = errors.Join(err, e.state.Close())
	}
	if e.letters != nil {
		err = errors.Join(err, e.letters.Close())
	}
	switch {
	case errors.Is(err, enrich.ErrSettings):
		return usagef("%v; give the same flags to go on with it, or --restart to begin anew", err)
	case errors.Is(err, enrich.ErrLimit):
		return exitError{exitFailed, err.Error() + "; narrow it with --since, --query or --fields, or raise --max-questions (--ask-for bounds the time)"}
	case err != nil && ctx.Err() != nil:
		return exitError{exitFailed, "stopped; the same command does the rest"}
	case err != nil:
		return fmt.Errorf("%w; the same command does the rest", err)
	}
	return e.stream.end(nil)
}

// do runs the steps of the job.
func (e *enrichment) do(ctx context.Context, server enrich.Server, options enrich.Options) error {
	job, err := enrich.Open(ctx, server, options)
	if err != nil {
		return err
	}
	if job.Resumed {
		e.stream.say("going on with a run that was not finished")
	}
	e.bar.begin("counting")
	found, err := job.Discover(ctx, e.dryRun)
	e.bar.finish()
	e.tellPlan(job, found)
	if e.dryRun && errors.Is(err, enrich.ErrLimit) {
		e.stream.say("it would not begin: %v", err)
		return nil
	}
	if err != nil || e.dryRun {
		return err
	}
	e.bar.begin("asking")
	left, err := job.Ask(ctx, e.askFor)
	e.bar.finish()
	switch {
	case errors.Is(err, enrich.ErrSources):
		e.stream.complain(fmt.Errorf("%w; going on with what is known", err))
	case err != nil:
		return err
	}
	if left > 0 {
		e.stream.say("%s questions are left", thousands(int64(left)))
	}
	e.bar.begin("updating")
	began := time.Now()
	before := job.Counts()
	err = job.Apply(ctx)
	e.bar.finish()
	e.tellCounts(job, before, time.Since(began))
	return err
}

// options prepares what a job needs.
func (e *enrichment) options() (o enrich.Options, err error) {
	o = enrich.Options{Index: e.index, MaxQuestions: e.maxQuestions, Whole: e.whole, Prune: e.prune, PerSecond: e.throttle,
		MaxInFlight: e.maxInFlight, Window: e.window, Patience: cmp.Or(e.server.giveUp, forEver), Fields: split(e.scan.fields), Annotator: annotate.New(),
		Note: func(note string) { e.stream.say("%s", note) }, Progress: e.bar.documents, Asking: e.bar.asking}
	o.Annotator.MaxRelated = e.maxRelated
	if o.Scanner, err = e.scan.scanner(); err != nil {
		return o, err
	}
	if o.Query, err = parseQuery(e.query); err != nil {
		return o, usagef("--query: %v", err)
	}
	if o.Since, err = parseSince(e.since, time.Now()); err != nil {
		return o, usagef("--since: %v", err)
	}
	if err := e.knowledge(&o); err != nil {
		return o, err
	}
	if e.deadLetter != "" && !e.dryRun {
		if e.letters, err = os.OpenFile(e.deadLetter, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
			return o, usagef("--dead-letter: %v", err)
		}
	}
	o.DeadLetters = e.refused
	return o, e.checkpoint(&o)
}

// knowledge sets up what answers.
func (e *enrichment) knowledge(o *enrich.Options) error {
	networks, paths, err := e.sources.split()
	if err != nil {
		return err
	}
	if len(networks) > 0 {
		e.state = e.sources.openState(e.stream)
	}
	e.sources.maxWaiting = max(e.sources.maxWaiting, e.maxQuestions)
	if e.know, err = e.sources.knowledge(networks, e.state, e.stream.health, nil); err != nil {
		return err
	}
	o.Know, o.Scheduler, o.Sources = e.know, e.know.Scheduler, e.know.Sources
	return (&own{paths: paths, scan: &e.scan, know: e.know, stream: e.stream}).load()
}

// checkpoint names the file of how far the job has come: one for each server and index.
func (e *enrichment) checkpoint(o *enrich.Options) error {
	o.Settings = fmt.Sprintf("query %q, since %q, fields %q, ignored fields %q, types %q, intel %q, whole %t, prune %t",
		e.query, e.since, e.scan.fields, e.scan.ignoreFields, e.scan.types, e.sources.intel, e.whole, e.prune)
	dir := stateDir(e.sources.state)
	if dir == "" || e.dryRun {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usagef("--state: %v", err)
	}
	sum := sha256.Sum256([]byte(strings.Join(append([]string{e.index, e.server.cloudID}, e.server.urls...), " ")))
	o.Checkpoint = filepath.Join(dir, "enrich-"+hex.EncodeToString(sum[:8])+".json")
	if e.restart {
		if err := os.Remove(o.Checkpoint); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("--restart: %w", err)
		}
	}
	return nil
}

// refused keeps an update that the server refuses.
func (e *enrichment) refused(l enrich.Letter) error {
	if e.letters == nil {
		return nil
	}
	line, err := json.Marshal(map[string]any{
		"@timestamp": l.Time.UTC().Format(time.RFC3339Nano), "index": l.Index, "id": l.ID, "action": "update", "status": l.Error.Status,
		"error": map[string]string{"type": l.Error.Type, "reason": l.Error.Reason}, "attempts": l.Attempts, "document": json.RawMessage(l.Update),
	})
	if err != nil {
		return err
	}
	if _, err = e.letters.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("--dead-letter: %w", err)
	}
	return nil
}

// parseQuery reads a query: JSON as the search API takes it, with or without its "query", or a query string.
func parseQuery(s string) ([]byte, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return nil, nil
	case s[0] != '{':
		return json.Marshal(map[string]any{"query_string": map[string]string{"query": s}})
	}
	var query map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &query); err != nil {
		return nil, err
	}
	if inner, ok := query["query"]; ok && len(query) == 1 {
		return inner, nil
	}
	return []byte(s), nil
}

// parseSince reads a duration before now, or a time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	var ago days
	if ago.Set(s) == nil {
		return now.Add(-time.Duration(ago)), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration, such as 7d, nor a time, such as 2026-03-04", s)
}

// tellPlan says what is to be done.
func (e *enrichment) tellPlan(job *enrich.Job, d enrich.Discovery) {
	w := e.con.stderr
	if e.dryRun {
		w = e.con.stdout
	}
	fmt.Fprintf(w, "%s documents in %s of %s indices", thousands(d.Documents), thousands(int64(len(job.Targets)-job.Left())), thousands(int64(len(job.Targets))))
	if d.Counted+d.Scanned > 0 {
		fmt.Fprintf(w, "; %s values, %s of them known, %s to ask, which takes %s", thousands(int64(d.Values)), thousands(int64(d.Known)),
			thousands(int64(d.Questions)), roundTime(d.Time))
	}
	fmt.Fprintln(w)
	if !e.dryRun {
		return
	}
	for _, t := range job.Targets {
		if t.Refused != "" {
			fmt.Fprintf(w, "%s would be left out: %s\n", t.Index, t.Refused)
		}
	}
}

// tellCounts prints the balance, and complains about what was left.
func (e *enrichment) tellCounts(job *enrich.Job, before enrich.Counts, took time.Duration) {
	c := job.Counts()
	fmt.Fprintf(e.con.stderr, "%s documents read, %s updated, %s as they were; %s changed by others meanwhile and read again, %s deleted meanwhile, %s sent again; %s documents a second\n",
		thousands(c.Read), thousands(c.Updated), thousands(c.Read-c.Updated-c.Gone-c.DeadLetters), thousands(c.Conflicts), thousands(c.Gone), thousands(c.Retried),
		thousands(int64(float64(c.Read-before.Read)/max(took.Seconds(), 1e-3))))
	if c.DeadLetters > 0 {
		e.stream.complain(fmt.Errorf("%s documents were refused by the server%s", thousands(c.DeadLetters), where(e.deadLetter)))
	}
	if n := job.Left(); n > 0 {
		e.stream.complain(fmt.Errorf("%s of %s indices were left out, or not done to their end", thousands(int64(n)), thousands(int64(len(job.Targets)))))
	}
}

func where(file string) string {
	if file == "" {
		return "; --dead-letter FILE keeps them"
	}
	return " and are in " + file
}

// A jobBar shows how far a job has come: on a terminal as a bar with an estimate, else by a line now and then.
type jobBar struct {
	con   console
	bar   *progressbar.ProgressBar // nil where there is no terminal
	step  string
	began time.Time
	told  time.Time
}

// tellEvery is how often a run without a terminal says how far it is.
const tellEvery = 30 * time.Second

func (b *jobBar) begin(step string) {
	b.step, b.began, b.told = step, time.Now(), time.Now()
	if isTerminal(b.con.stderr) && os.Getenv("TERM") != "dumb" {
		b.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(b.con.stderr), progressbar.OptionSetDescription(step),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	}
}

func (b *jobBar) documents(done, total int64) { b.show(done, total, "documents") }
func (b *jobBar) asking(asked, waiting int)   { b.show(int64(asked), int64(asked+waiting), "questions") }
func (b *jobBar) show(done, total int64, what string) {
	if b.bar != nil {
		if b.bar.GetMax64() != total {
			b.bar.ChangeMax64(total)
		}
		_ = b.bar.Set64(done) // what a terminal does not show is no loss
		return
	}
	if now := time.Now(); now.Sub(b.told) >= tellEvery && done > 0 {
		b.told = now
		rest := time.Duration(float64(now.Sub(b.began)) / float64(done) * float64(total-done))
		fmt.Fprintf(b.con.stderr, "iocpipe: %s: %s of %s %s, about %s left\n", b.step, thousands(done), thousands(total), what, roundTime(rest))
	}
}

func (b *jobBar) finish() {
	if b.bar != nil {
		_ = errors.Join(b.bar.Finish(), b.bar.Exit())
		b.bar = nil
	}
}
