package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/cache"
	"iocpipe/cache/host"
	"iocpipe/extract"
	"iocpipe/filter"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/lookup"
)

// lookupFlags are the flags of lookup.
type lookupFlags struct {
	scan    scanFlags
	sources sourceFlags
	json    bool
	typ     string
}

func newLookupCommand(con console) *cobra.Command {
	var f lookupFlags
	cmd := &cobra.Command{
		Use:   "lookup VALUE…",
		Short: "Ask about values and print the reports",
		Long: `Lookup asks about each value, defanged or not, and prints what every source says. What is private, reserved or your
own is never sent to a network source; local intelligence is asked all the same.

` + exitCodes + ".",
		Example: `  iocpipe lookup --intel lists/ 203.0.113[.]7
  iocpipe lookup --json --intel https://crowd.example/searchApi/v2 evil.example`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("lookup: name a value, such as 203.0.113.7")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, values []string) (err error) {
			if f.sources.configured, err = settle(cmd); err != nil {
				return err
			}
			return f.run(cmd.Context(), con, values)
		},
	}
	f.sources.add(cmd.Flags())
	f.scan.add(cmd.Flags(), "all")
	cmd.Flags().BoolVar(&f.json, "json", false, "print report lines (NDJSON) with source, fetched_at and cached")
	cmd.Flags().StringVar(&f.typ, "type", "", "antivirus: the values are detection names")
	addConfig(cmd.Flags())
	return cmd
}

func (f *lookupFlags) run(ctx context.Context, con console, values []string) (err error) {
	if f.typ != "" && f.typ != extract.Antivirus.String() {
		return usagef("--type %q: use antivirus; the other types are told by their form", f.typ)
	}
	if len(f.sources.intel) == 0 && !f.sources.hasStore() {
		return usagef("nothing to ask: give --intel a file, a folder, the https:// URL of a ThreatCrowd v2 API or otx:, or fill the local store (iocpipe intel)")
	}
	if err := f.sources.validate(); err != nil {
		return err
	}
	networks, paths, err := f.sources.split()
	if err != nil {
		return err
	}
	keys := make([]extract.Key, len(values))
	for i, value := range values {
		if keys[i], err = parseValue(value, f.typ); err != nil {
			return err
		}
	}
	s := newStream(con, inputFlags{})
	var state *host.State
	if len(networks) > 0 {
		if state = f.sources.openState(s); state != nil {
			defer func() { err = errors.Join(err, state.Close()) }()
		}
	}
	asker, err := f.newAsker(con, s, networks, paths, state)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := asker.ask(ctx, key); err != nil {
			s.complain(err)
		}
	}
	return s.end(nil)
}

// newAsker returns what asks the networks and the local intelligence in paths; state may be nil.
func (f *lookupFlags) newAsker(con console, s *stream, networks []network, paths []string, state *host.State) (*asker, error) {
	know, err := f.sources.knowledge(networks, state, nil, nil)
	if err != nil {
		return nil, err
	}
	mine := f.sources.own(paths, &f.scan, know, s)
	if err := mine.load(); err != nil {
		return nil, err
	}
	a := &asker{con: con, json: f.json, know: know, store: mine.host, networks: networks, mayAsk: !s.failed || len(f.scan.allow) == 0}
	if state != nil {
		a.stateDir = stateDir(f.sources.state)
	}
	for i, source := range know.Sources {
		a.networks[i].Budget = source.Budget
		if source.Budget == nil {
			a.networks[i].Budget = lookup.NewBucket(source.Rate, source.Burst)
		}
	}
	return a, nil
}

// An asker asks every source about one value after the other, within their budgets, and prints what they say.
type asker struct {
	con      console
	json     bool
	know     *filter.Knowledge
	store    *local.Store // of the host
	networks []network
	mayAsk   bool
	stateDir string // empty without state
}

// ask prints what is known of key. Its error joins those of the sources that did not answer.
func (a *asker) ask(ctx context.Context, key extract.Key) error {
	found, skip := a.know.FindLocal(key)
	if found.Verdict != intel.NoVerdict {
		a.print(key, found, time.Now(), true)
		if !a.json {
			tellWords(a.con.stdout, a.store, key, "  ")
		}
	}
	if skip == extract.Allowed && len(a.networks) == 0 {
		fmt.Fprintf(a.con.stderr, "iocpipe: %s is on an allow list: the filter does not annotate it\n", annotate.Safe(key.Value))
	}
	answered := found.Verdict != intel.NoVerdict
	var errs []error
	for _, n := range a.networks {
		if reason := a.silence(n, key, skip); reason != "" {
			fmt.Fprintf(a.con.stderr, "iocpipe: %s is not asked about %s: %s\n", n.Name, annotate.Safe(key.Value), reason)
			continue
		}
		answer, cached, err := a.question(ctx, n, key)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s", n.Name, reason(n.Name, err)))
			continue
		}
		answered = true
		a.print(key, intel.Finding{Verdict: answer.Report.Verdict(), Origin: answer.Origin, Source: a.shown(answer.Source), Report: answer.Report}, answer.Fetched, cached)
	}
	if !answered && len(errs) == 0 && !a.json {
		fmt.Fprintf(a.con.stdout, "%s  nothing known\n", annotate.Safe(key.Value))
	}
	return errors.Join(errs...)
}

// shown returns the name of a source for people; of one that is not asked any more only its place is known.
func (a *asker) shown(name string) string {
	if p, ok := a.know.Providers[name]; ok {
		return p.Name
	}
	return name
}

// question returns the answer of n about key: the one that is kept, while it holds, or else a new one when the budget
// allows it, which is then kept.
func (a *asker) question(ctx context.Context, n network, key extract.Key) (answer cache.Answer, cached bool, err error) {
	const elsewhere = 200 * time.Millisecond // until another process has its answer
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the budget allowed no question for minutes"))
	defer cancel()
	for {
		held := a.know.Cache.Fetch(key)
		if answer, ok := held.Answer(n.Name); ok && time.Now().Before(answer.Expires) {
			return answer, true, nil
		}
		if note := pauseNote(a.stateDir); note != "" {
			return answer, false, errors.New(note)
		}
		wait := n.Budget.Delay(time.Now())
		if wait == 0 {
			switch n.Budget.Take(key, time.Now()) {
			case cache.Granted:
				return a.request(ctx, n, key)
			case cache.Answered: // since the look at what is held, or another source has called it malicious
				if answer, ok := heldMalicious(a.know.Cache.Fetch(key)); ok {
					return answer, true, nil
				}
			case cache.Elsewhere:
				wait = elsewhere
			}
		}
		select {
		case <-time.After(max(wait, time.Millisecond)):
		case <-ctx.Done():
			return answer, false, context.Cause(ctx)
		}
	}
}

// heldMalicious returns the answer that calls an indicator malicious, while it holds.
func heldMalicious(held cache.Held) (cache.Answer, bool) {
	for _, a := range held.Answers {
		if a.Report.Verdict() == intel.Malicious && time.Now().Before(a.Expires) {
			return a, true
		}
	}
	return cache.Answer{}, false
}

// patience is how long a person waits for a question to be allowed.
const patience = 3 * time.Minute

// request asks n about key, for which a token was taken.
func (a *asker) request(ctx context.Context, n network, key extract.Key) (answer cache.Answer, cached bool, err error) {
	outcome := "error"
	defer func() { n.Budget.Done(key, outcome, time.Now()) }()
	report, err := n.Provider.Lookup(ctx, key)
	if err != nil {
		return answer, false, err
	}
	outcome = report.Verdict().String()
	now := time.Now()
	a.know.Put(lookup.Answer{Key: key, Source: n.Name, Report: &report, At: now})
	return cache.Answer{Source: n.Name, Origin: n.origin, Report: &report, Fetched: now}, false, nil
}

// silence says why a source is not asked about key; it is empty when it is.
func (a *asker) silence(n network, key extract.Key, skip extract.Skip) string {
	switch {
	case skip != extract.Worth:
		return skip.String()
	case !a.mayAsk:
		return "an allow list cannot be read"
	case !n.Types.Has(key.Type):
		return n.notAsked(key.Type)
	}
	return ""
}

func (a *asker) print(key extract.Key, found intel.Finding, at time.Time, cached bool) {
	if a.json {
		_, _ = a.con.stdout.Write(appendLookup(nil, key, found, at, cached))
		return
	}
	printFinding(a.con, key, found)
}

// appendLookup appends a report line with where it comes from.
func appendLookup(dst []byte, key extract.Key, found intel.Finding, at time.Time, cached bool) []byte {
	report := found.Report
	if found.Verdict == intel.Related || report == nil {
		report = new(intel.Report)
	}
	dst = intel.AppendReport(dst, key, report)
	dst = dst[:len(dst)-1]
	dst = append(dst, `,"source":`...)
	dst = annotate.AppendString(dst, annotate.Safe(found.Source))
	if found.Verdict == intel.Related {
		dst = append(dst, `,"via":`...)
		dst = annotate.AppendString(dst, annotate.Safe(found.Via.Value))
		dst = append(dst, `,"relation":`...)
		dst = annotate.AppendString(dst, found.Relation)
	}
	dst = append(dst, `,"fetched_at":"`...)
	dst = at.UTC().AppendFormat(dst, time.RFC3339)
	dst = append(dst, `","cached":`...)
	dst = strconv.AppendBool(dst, cached)
	return append(dst, "}\n"...)
}

// printFinding prints a report for a person.
func printFinding(con console, key extract.Key, found intel.Finding) {
	w := con.stdout
	if found.Verdict == intel.NoVerdict {
		fmt.Fprintf(w, "%s  nothing known · %s\n", annotate.Safe(key.Value), annotate.Safe(found.Source))
		return
	}
	fmt.Fprintf(w, "%s  %s · %s\n", annotate.Safe(key.Value), strings.ToUpper(found.Verdict.String()), annotate.Safe(found.Source))
	if found.Verdict == intel.Related {
		fmt.Fprintf(w, "  named by malicious %s (%s)\n", annotate.Safe(found.Via.Value), found.Relation)
		return
	}
	r := found.Report
	if r.Voted {
		fmt.Fprintf(w, "  votes %d\n", r.Votes)
	}
	for _, res := range r.Resolutions {
		day := "unknown day"
		if !res.Last.IsZero() {
			day = res.Last.Format(time.DateOnly)
		}
		fmt.Fprintf(w, "  resolution %s  %s\n", day, annotate.Safe(res.Value))
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"subdomain", r.Subdomains}, {"domain", r.Domains}, {"address", r.IPs}, {"hash", r.Hashes}, {"e-mail", r.Emails}, {"detected as", r.Scans}, {"tag", r.Tags}, {"reference", r.References}} {
		for _, value := range list.values {
			fmt.Fprintf(w, "  %s %s\n", list.name, annotate.Safe(value))
		}
	}
	if r.Permalink != "" {
		fmt.Fprintf(w, "  %s\n", annotate.Safe(r.Permalink))
	}
}
