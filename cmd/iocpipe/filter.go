package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"iocpipe/cache/host"
	"iocpipe/extract"
	"iocpipe/filter"
	"iocpipe/filter/annotate"
	"iocpipe/filter/source"
	"iocpipe/intel"
	"iocpipe/lookup"
)

// filterFlags are the flags of the filter alone.
type filterFlags struct {
	scan    scanFlags
	sources sourceFlags
	in      inputFlags

	output, to, only, failOn string
	maxRelated               int
	quiet, stats, strict     bool

	late     lateFlags
	index    indexFlags
	tail     followFlags
	timeZone string
	listenAt string
}

func newFilterCommand(con console) *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Short: "Put threat intelligence on log lines: same lines, same order, annotated",
		Long: `iocpipe reads lines from FILEs (gzip, zstd and bzip2, too) or standard input and writes the same lines in the same
order, annotated with what threat intelligence says about the addresses, domains, e-mail addresses and hashes in them.
It never waits for the network and never drops a line.

` + exitCodes + `; 3 with --fail-on malicious
when something malicious was seen.`,
		Example: `  iocpipe --intel lists/ /var/log/auth.log
  tail -F app.ndjson | iocpipe --intel https://crowd.example/searchApi/v2 --own corp.example > annotated.ndjson`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, files []string) (err error) {
			if f.sources.configured, err = settle(cmd); err != nil {
				return err
			}
			switch {
			case f.index.print:
				return f.index.printTemplates(con.stdout)
			case f.index.setup:
				return f.index.install(contextOf(cmd), con.stdout)
			}
			if err := f.misspelt(cmd, files); err != nil {
				return err
			}
			return f.run(cmd.Context(), con, files)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (f *filterFlags) add(flags *pflag.FlagSet) {
	flags.SortFlags = false
	f.sources.add(flags)
	f.scan.add(flags, "common")
	flags.StringVar(&f.output, "output", "auto", "form of the lines: text (each keeps its shape), ndjson (text is wrapped), pretty, or auto: pretty on a terminal, else text")
	flags.StringVar(&f.to, "to", "-", "`DEST` of the lines: -, a file, which is appended to, or elasticsearch (see --es-url)")
	flags.StringVar(&f.only, "only", "", "write only lines with something malicious, or annotated ones")
	flags.StringVar(&f.failOn, "fail-on", "", "malicious: exit with 3 when something malicious was seen")
	flags.IntVar(&f.maxRelated, "max-related", 10, "related indicators written per annotation; the totals always are")
	f.late.add(flags)
	f.tail.add(flags)
	f.in.add(flags, "passes through whole and unannotated")
	f.index.add(flags)
	flags.StringVar(&f.timeZone, "time-zone", "Local", "zone of the times that lines state without one, as Europe/Vienna")
	flags.StringVar(&f.listenAt, "listen", "", "`ADDR` for /metrics (Prometheus), /healthz and /readyz")
	flags.BoolVar(&f.quiet, "quiet", false, "nothing on stderr but what ends the program")
	flags.BoolVar(&f.stats, "stats", false, "print what was done on stderr at the end")
	flags.BoolVar(&f.strict, "strict", false, "end at once when something is amiss that costs annotations: intelligence or an allow list that cannot be read, a source that is down")
	addConfig(flags)
}

func (f *filterFlags) validate() error {
	switch {
	case !slices.Contains([]string{"auto", "text", "ndjson", "pretty"}, f.output):
		return usagef("--output %q: use auto, text, ndjson or pretty", f.output)
	case !slices.Contains([]string{"", "malicious", "annotated"}, f.only):
		return usagef("--only %q: use malicious or annotated", f.only)
	case f.failOn != "" && f.failOn != "malicious":
		return usagef("--fail-on %q: use malicious", f.failOn)
	case f.maxRelated < 0:
		return usagef("--max-related %d: must not be negative", f.maxRelated)
	case f.to == "":
		return usagef("--to: name a file, - for standard output, or elasticsearch")
	case f.to == toElastic && f.output != "auto":
		return usagef("--output %s: documents have one form; leave it out with --to elasticsearch", f.output)
	case f.to == toElastic && f.late.late == "follow":
		return usagef("--late follow: not with --to elasticsearch")
	case len(f.sources.intel) == 0 && !f.sources.hasStore():
		return usagef("nothing to ask: give --intel a list (echo 203.0.113.7 > bad.txt; iocpipe --intel bad.txt), the https:// URL of " +
			"a ThreatCrowd v2 API or otx:, or fill the local store (iocpipe intel feed add urlhaus feodo && iocpipe intel update)")
	}
	if err := checkListen(f.listenAt); err != nil {
		return err
	}
	if err := f.in.validate(); err != nil {
		return err
	}
	if err := f.index.late.validate(); err != nil {
		return err
	}
	if err := f.late.validate(f.sources.insecureHTTP); err != nil {
		return err
	}
	return f.sources.validate()
}

// misspelt tells of a first FILE that is none but looks like a command. With a source there to ask it is taken for the
// file that it says it is.
func (f *filterFlags) misspelt(cmd *cobra.Command, files []string) error {
	if len(f.sources.intel) > 0 || len(files) == 0 {
		return nil
	}
	if _, err := os.Stat(files[0]); err == nil {
		return nil
	}
	cmd.Root().SuggestionsMinimumDistance = 2
	if names := cmd.Root().SuggestionsFor(files[0]); len(names) > 0 {
		return usagef("%s is neither a command nor a file; did you mean %s?", annotate.Safe(files[0]), strings.Join(names, ", "))
	}
	return nil
}

// A session is one run of the filter.
type session struct {
	*filterFlags
	con     console
	stream  *stream
	state   *host.State // nil without
	know    *filter.Knowledge
	mine    *own
	tail    *following // nil without --follow
	zone    *time.Location
	out     destination    // which is one of
	lines   *output        // a stream of lines, or
	elastic *elasticOutput // Elasticsearch
	way     *lateWay
	tally   filter.Tally
	scanner extract.Scanner
	form    filter.Form
	color   bool
	hides   sync.Once // the first that --allow hides was told
}

// run filters files to the output.
func (f *filterFlags) run(ctx context.Context, con console, files []string) error {
	if err := f.validate(); err != nil {
		return err
	}
	if f.quiet {
		con.stderr = io.Discard
	}
	if err := f.tail.validate(files); err != nil {
		return err
	}
	s, err := f.open(con)
	if err != nil {
		return err
	}
	src, err := s.input(files)
	if err != nil {
		return err
	}
	ctx, restore := s.stream.signals(ctx)
	defer restore()
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	stop := s.start()
	defer s.listen(f.listenAt)()
	began := time.Now()
	if s.tail != nil {
		s.tail.stopWith(ctx)
	}
	if s.elastic != nil {
		s.elastic.stopWith(ctx, quit)
	}
	err = s.stream.do(ctx, src, s.out, s.newWorker, s.newWorker(), s.workers())
	if err == nil {
		s.late.drainAll(ctx, s.know, isTerminal(con.stdout), con.stderr)
	}
	stop()
	return s.close(err, began)
}

// open makes everything ready for lines to flow.
func (f *filterFlags) open(con console) (s *session, err error) {
	s = &session{filterFlags: f, con: con, stream: newStream(con, f.in)}
	s.stream.strict = f.strict
	networks, paths, err := f.sources.split()
	if err != nil {
		return nil, err
	}
	if s.scanner, err = f.scan.scanner(); err != nil {
		return nil, err
	}
	if s.zone, err = time.LoadLocation(f.timeZone); err != nil {
		return nil, usagef("--time-zone: %v", err)
	}
	s.form, s.color = f.outputForm(con.stdout)
	if err := s.openOutput(); err != nil {
		return nil, err
	}
	stores := s.elastic != nil && f.index.late.mode != lateNone
	if s.way, err = f.late.newLateWay(s.lines, f.maxRelated, stores, func(err error) { s.stream.change("--hits", err) }); err != nil {
		return nil, err
	}
	if len(networks) > 0 {
		s.state = f.sources.openState(s.stream)
	}
	if s.know, err = f.sources.knowledge(networks, s.state, s.healthChanged, s.way.onAnswer); err != nil {
		return nil, err
	}
	s.way.attach(s.know, &f.late)
	s.mine = f.sources.own(paths, &f.scan, s.know, s.stream)
	if err := s.mine.load(); err != nil {
		return nil, err
	}
	if f.strict && s.stream.failed {
		return nil, exitError{exitFailed, ""}
	}
	s.way.stored = s.openStored()
	s.mine.renewed = s.way.review
	return s, nil
}

// openOutput opens where lines go.
func (s *session) openOutput() (err error) {
	if s.to != toElastic {
		s.lines, err = openOutput(s.to, s.con.stdout)
		s.out = s.lines
		return err
	}
	s.elastic, err = s.index.openElastic(s.stream, stateDir(s.sources.state), s.filterFlags.tail.follow)
	s.out = s.elastic
	s.stream.plain = func(dst []byte, b *filter.Block) []byte { return s.newAnnotation().Plain(dst, b) }
	return err
}

// input opens what is read: files to their ends, or as they grow.
func (s *session) input(files []string) (filter.Source, error) {
	if !s.filterFlags.tail.follow {
		inputs := source.Open(files, s.con.stdin)
		inputs.Written = s.out.info()
		return inputs, nil
	}
	to := ""
	if s.lines != nil && s.to != "-" {
		to = s.to
	}
	tail, err := s.filterFlags.tail.open(files, stateDir(s.sources.state), s.destinationName(), to, s.out, s.stream)
	if err != nil {
		return nil, err
	}
	s.tail = tail
	s.out.passOn(tail)
	return tail, nil
}

// destinationName says where lines go, for what is kept of how far they have come.
func (s *session) destinationName() string {
	if s.elastic == nil {
		return s.to
	}
	server := &s.index.server
	return strings.Join(append([]string{s.to, s.index.index, server.cloudID}, server.urls...), " ")
}

func (s *session) newWorker() filter.Worker { return s.newAnnotation() }

func (s *session) newAnnotation() *filter.Annotation {
	a := annotate.New()
	a.MaxRelated = s.maxRelated
	w := &filter.Annotation{Scanner: s.scanner, Know: s.know, Annotator: a, Form: s.form, Color: s.color, Only: s.choice(),
		Tally: &s.tally, Zone: s.zone, Late: s.way.late, Seen: s.way.seen, Waiting: s.way.waiting, Hidden: s.tellHidden}
	if s.way.hits != nil {
		w.Hits = s.way.meet
	}
	if s.elastic != nil {
		w.Documents = s.elastic.documents
	}
	return w
}

// tellHidden says, once, that --allow hides something malicious, and what; the balance counts all.
func (s *session) tellHidden(key extract.Key, f intel.Finding) {
	s.hides.Do(func() {
		s.stream.say("--allow hides %s, which %s calls malicious; what else it hides is counted", key.Value, f.Source)
	})
}

// workers returns how many blocks are handled at once; 0 is one for each core. Those that wait use none.
func (s *session) workers() int {
	if s.way.waiting != nil {
		return waitWorkers
	}
	return 0
}

// close ends what the lines left open, prints the balance, and returns what the command ends with.
func (s *session) close(err error, began time.Time) error {
	s.way.close(s.con.stderr)
	if s.state != nil {
		if e := s.state.Close(); e != nil {
			s.stream.complain(fmt.Errorf("state: %w", e))
		}
	}
	if e := s.out.Close(); err == nil {
		err = e
	}
	if s.way.stored != nil {
		s.way.stored.close(s.stats)
	}
	if s.tail != nil {
		if e := s.tail.close(); e != nil {
			s.stream.complain(e)
		}
	}
	unanswered(s.stream, s.know)
	s.report(time.Since(began))
	if s.elastic != nil {
		s.elastic.report(s.con.stderr, s.stats)
		if e := s.elastic.unbalanced(s.tally.Shown.Load()); e != nil {
			s.stream.complain(e)
		}
	}
	if err = s.stream.end(err); err != nil {
		return err
	}
	if s.failOn != "" && s.tally.Malicious.Load() > 0 {
		return exitError{exitMalicious, ""}
	}
	return nil
}

// start starts what runs beside the lines: the questions, and the eye on the user's files and the HUP signal. It
// returns what ends it.
func (s *session) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	hup, again := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	var beside sync.WaitGroup
	if s.know.Scheduler != nil {
		beside.Go(func() { _ = s.know.Scheduler.Run(ctx) }) // it ends only with ctx
	}
	if s.state != nil {
		keepFresh(ctx, s.know.Cache, s.stream.complain)
		beside.Go(func() { tellQueue(ctx, stateDir(s.sources.state), s.know.Scheduler) })
	}
	go s.mine.watch(ctx, again)
	go func() {
		for {
			select {
			case sig := <-hup:
				if err := s.out.Reopen(); err != nil {
					s.stream.complain(err)
				}
				again <- sig
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		signal.Stop(hup)
		cancel()
		beside.Wait()
	}
}

func (f *filterFlags) outputForm(stdout io.Writer) (form filter.Form, color bool) {
	terminal := f.to == "-" && isTerminal(stdout)
	switch {
	case f.to == toElastic:
		return filter.Indexed, false
	case f.output == "ndjson":
		return filter.NDJSON, false
	case f.output == "pretty", f.output == "auto" && terminal:
		return filter.Pretty, terminal && os.Getenv("NO_COLOR") == ""
	}
	return filter.Text, false
}

func (f *filterFlags) choice() filter.Only {
	switch f.only {
	case "malicious":
		return filter.OnlyMalicious
	case "annotated":
		return filter.OnlyAnnotated
	}
	return filter.All
}

func isTerminal(v any) bool {
	file, ok := v.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// health says on stderr that a source went down or came back, once for each change.
func (s *stream) health(h lookup.Health) {
	if !h.Up {
		s.degraded(h.Source, fmt.Errorf("source %s is down: %s; lines flow on, and it is tried again from time to time",
			h.Source, reason(h.Source, h.Err)))
		return
	}
	s.mended(h.Source)
	s.say("source %s answers again", h.Source)
}

// reason is what err says beside the source's name, which is its host unless the configuration gave it another.
func reason(source string, err error) string {
	return strings.TrimPrefix(err.Error(), strings.TrimPrefix(source, "otx:")+": ")
}

// healthChanged tells people and the state how a source is.
func (s *session) healthChanged(h lookup.Health) {
	s.stream.health(h)
	if s.state != nil {
		note := ""
		if h.Err != nil {
			note = h.Err.Error()
		}
		s.state.NoteHealth(host.Health{Source: h.Source, Up: h.Up, Note: note, At: time.Now()})
	}
}

// unanswered says of a source that it answered nothing at all, when it was not asked often enough to be called down.
func unanswered(s *stream, know *filter.Knowledge) {
	if know.Scheduler == nil {
		return
	}
	health := know.Scheduler.Health()
	for i, src := range know.Scheduler.Stats().Sources {
		if src.Failed > 0 && src.Asked() == src.Failed && health[i].Up {
			s.complain(fmt.Errorf("source %s answered none of %d questions: %s", src.Source, src.Failed, reason(src.Source, health[i].Err)))
		}
	}
}

// report ends with the balance, on a terminal, and with --stats with all that was counted.
func (s *session) report(took time.Duration) {
	w, tally := s.con.stderr, &s.tally
	if s.lines != nil && isTerminal(s.con.stdout) && s.lines.midLine {
		fmt.Fprintln(w) // the last line came without an ending
	}
	if hidden := tally.Hidden.Load(); hidden > 0 {
		fmt.Fprintf(w, "iocpipe: --allow hid %s malicious indicators\n", thousands(hidden))
	}
	asked, left := askedAndLeft(s.know)
	if isTerminal(s.con.stdout) || s.stats {
		fmt.Fprintf(w, "  %s lines in, %s out · %s malicious · %s related · %s asked",
			thousands(s.stream.stats.Lines), thousands(s.linesOut()), thousands(tally.Malicious.Load()), thousands(tally.Related.Load()), thousands(asked))
		if left > 0 {
			fmt.Fprintf(w, ", %s left", thousands(left))
		}
		fmt.Fprintf(w, " · %.2f s\n", took.Seconds())
	}
	if s.stats {
		s.printStats()
	}
}

// linesOut is how many of the lines that came in went out. pretty explains beneath them, in lines that do not count.
func (s *session) linesOut() int64 {
	if s.form == filter.Pretty || s.form == filter.Indexed {
		return s.tally.Shown.Load()
	}
	return s.stream.stats.LinesOut
}

func (s *session) printStats() {
	w, stats := s.con.stderr, s.stream.stats
	fmt.Fprintf(w, "  bytes in %s, out %s; lines over --max-line %s\n", thousands(stats.Bytes), thousands(stats.BytesOut), thousands(stats.Long))
	fmt.Fprintf(w, "  lines annotated otherwise %s; sightings that a source might know %s; answers held %s\n",
		thousands(s.tally.Other.Load()), thousands(s.tally.Unknown.Load()), thousands(int64(s.know.Cache.Len())))
	if s.way.waiting != nil {
		fmt.Fprintf(w, "  blocks that left before their answers for lack of room %s\n", thousands(s.way.waiting.Overflowed()))
	}
	if s.know.Scheduler == nil {
		return
	}
	asked := s.know.Scheduler.Stats()
	for _, src := range asked.Sources {
		fmt.Fprintf(w, "  %s: %s asked, %s malicious, %s unknown, %s failed\n", src.Source, thousands(int64(src.Asked())),
			thousands(int64(src.Answered[intel.Malicious])), thousands(int64(src.Answered[intel.NoVerdict])), thousands(int64(src.Failed)))
	}
	fmt.Fprintf(w, "  waiting %s, left unasked when the table was full %s, about %s bytes held\n",
		thousands(int64(asked.Waiting)), thousands(int64(asked.Evicted)), thousands(int64(asked.Bytes)))
}

func askedAndLeft(know *filter.Knowledge) (asked, left int64) {
	if know.Scheduler == nil {
		return 0, 0
	}
	stats := know.Scheduler.Stats()
	for _, src := range stats.Sources {
		asked += int64(src.Asked())
	}
	return asked, int64(stats.Waiting) + int64(stats.Evicted)
}

// thousands formats n with commas.
func thousands[N int | int64 | uint64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
