package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/filter"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/lookup"
)

func newExplainCommand(con console) *cobra.Command {
	var scan scanFlags
	var sources sourceFlags
	cmd := &cobra.Command{
		Use:   "explain [LINE|VALUE]",
		Short: "Say why: what of a line is found, dropped and known, and what would be asked",
		Long: `Explain tells for a line, or for each line of standard input, what is found in it and what only looks like an
indicator and by which rule it was dropped; and for each find, what is known of it and what it would cost to know more.`,
		Example: `  iocpipe explain --intel lists/ 'sshd: Failed password for root from 203.0.113.7'`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if sources.configured, err = settle(cmd); err != nil {
				return err
			}
			e, err := newExplainer(con, &scan, &sources)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				err = e.line([]byte(strings.Join(args, " ")))
			} else {
				err = e.lines(con.stdin)
			}
			return cmp.Or(err, e.stream.end(nil))
		},
	}
	sources.add(cmd.Flags())
	scan.add(cmd.Flags(), "common")
	addConfig(cmd.Flags())
	return cmd
}

// An explainer explains one line after the other.
type explainer struct {
	con      console
	scanner  extract.Scanner
	know     *filter.Knowledge
	mine     *local.Store // local intelligence
	networks []network
	stateDir string  // empty without state
	stream   *stream // what went wrong
}

func newExplainer(con console, scan *scanFlags, sources *sourceFlags) (*explainer, error) {
	if err := sources.validate(); err != nil {
		return nil, err
	}
	networks, paths, err := sources.split()
	if err != nil {
		return nil, err
	}
	s := newStream(con, inputFlags{})
	dir, state, err := sources.existingState()
	if err != nil {
		s.complain(fmt.Errorf("state: %w; what sources answered and what waits is not told", err))
	}
	know, err := sources.knowledge(networks, state, nil, nil)
	if err != nil {
		return nil, err
	}
	mine := sources.own(paths, scan, know, s)
	if err := mine.load(); err != nil {
		return nil, err
	}
	scanner, err := scan.scanner()
	scanner.Explain = true
	return &explainer{con, scanner, know, local.Join(mine.host, mine.lists), networks, dir, s}, err
}

func (e *explainer) lines(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if err := e.line(bytes.TrimRight(line, "\r\n")); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// line prints a block for everything in the line that is, or looks like, an indicator.
func (e *explainer) line(line []byte) error {
	matches, event := e.scanner.AppendEvent(nil, line)
	kind := "text"
	if event {
		kind = "JSON event"
	}
	fmt.Fprintf(e.con.stdout, "%s: %s\n", kind, annotate.Safe(string(line)))
	if len(matches) == 0 {
		_, err := fmt.Fprintln(e.con.stdout, "  no indicators, and nothing that looks like one")
		return err
	}
	for _, m := range matches {
		e.match(line, m)
	}
	return nil
}

func (e *explainer) match(line []byte, m extract.Match) {
	w := e.con.stdout
	raw := annotate.Safe(string(line[m.Start:m.End]))
	where := fmt.Sprintf("at %d", m.Start)
	if m.Field != "" {
		where += " in " + annotate.Safe(m.Field)
	}
	if m.Rule != extract.Accepted {
		fmt.Fprintf(w, "  %s  dropped · %s · %s\n", raw, m.Rule, where)
		return
	}
	held := e.know.Cache.Fetch(m.Key)
	found, skip := e.know.Find(m.Key, time.Now())
	fmt.Fprintf(w, "  %s  %s %s · %s\n", raw, m.Type, annotate.Safe(m.Value), where)
	if skip != extract.Worth {
		fmt.Fprintf(w, "    not asked · %s\n", skip)
	}
	e.answers(held)
	e.byHand(m.Key)
	e.queue(m.Key, e.known(m.Key, found, skip, held))
}

// answers prints what sources have said, and until when that holds.
func (e *explainer) answers(held cache.Held) {
	for _, a := range held.Answers {
		says, holds := a.Report.Verdict().String(), "holds until"
		if !a.Report.Known {
			says = "not known"
		}
		if time.Now().After(a.Expires) {
			holds = "stale since"
		}
		fmt.Fprintf(e.con.stdout, "    answer · %s: %s · asked %s, %s %s\n", annotate.Safe(a.Source), says,
			a.Fetched.UTC().Format(time.DateTime), holds, a.Expires.UTC().Format(time.DateTime))
	}
}

// byHand prints who has allowed the key or removed it from the store, when and why.
func (e *explainer) byHand(key extract.Key) {
	for _, edit := range e.mine.Edits() {
		did := ""
		switch {
		case edit.Kind == local.Removed && edit.Value == key.Value:
			did = "removed by hand"
		case allows(edit, key):
			did = "allowed by hand as " + annotate.Safe(edit.Value)
		default:
			continue
		}
		note := ""
		if edit.Note != "" {
			note = " · " + annotate.Safe(edit.Note)
		}
		fmt.Fprintf(e.con.stdout, "    %s · by %s on %s%s%s\n", did, annotate.Safe(edit.By), edit.At.UTC().Format(time.DateTime), note, until(edit.Until))
	}
}

// tellWords prints what each list of a store says of key, where that is more than who does.
func tellWords(w io.Writer, store *local.Store, key extract.Key, indent string) {
	about := intel.Subject{Key: key}
	judged := func(entry intel.Entry) bool {
		return entry.Relation == "" && (entry.Subject == about || entry.Net.IsValid() || entry.Below)
	}
	entries := store.About(key)
	judges := 0
	for _, entry := range entries {
		if judged(entry) {
			judges++
		}
	}
	for _, entry := range entries {
		more := entry.By != "" || len(entry.Report.Tags) > 0 || !entry.Expires.IsZero()
		if more || judged(entry) && (judges > 1 || entry.Subject != about) {
			fmt.Fprintf(w, "%s%s\n", indent, entryText(about, entry))
		}
	}
}

// queue prints where the key waits in running processes, and why there; or, when it might be asked, that it waits in
// none of them.
func (e *explainer) queue(key extract.Key, asked bool) {
	if e.stateDir == "" {
		return
	}
	queues := readQueues(e.stateDir)
	waits, others, evicted := false, 0, uint64(0)
	for _, queue := range queues {
		others, evicted = others+queue.Waiting, evicted+queue.Evicted
		for _, q := range queue.Queue {
			if q.Value == key.Value && q.Type == key.Type.String() {
				e.waiting(q)
				waits = true
			}
		}
	}
	if asked && !waits && len(queues) > 0 {
		fmt.Fprintf(e.con.stdout, "    does not wait in the %d running processes, or behind place %s · %s others do; %s left unasked when a table was full\n",
			len(queues), thousands(queueLines), thousands(others), thousands(evicted))
	}
}

// waiting prints a place in a queue.
func (e *explainer) waiting(q lookup.Queued) {
	w := e.con.stdout
	if q.Asking {
		fmt.Fprintf(w, "    waits · seen %d times, being asked now\n", q.Seen)
		return
	}
	fmt.Fprintf(w, "    waits · seen %d times, place %d, asked in about %s\n", q.Seen, q.Place, roundTime(q.AskIn))
	fmt.Fprintf(w, "      score %.3f = probability %.3f × worth %.2f\n", q.Score, q.Probability, q.Worth)
	for _, part := range q.Parts {
		fmt.Fprintf(w, "      %+.1f %s\n", part.Weight, part.Name)
	}
	if q.AlikeAnswers > 0 {
		fmt.Fprintf(w, "      others that look the same: %d answers, %d malicious\n", q.AlikeAnswers, q.AlikeMalicious)
	}
	if q.GroupAnswers > 0 {
		fmt.Fprintf(w, "      its neighbourhood: %d answers, %d malicious\n", q.GroupAnswers, q.GroupMalicious)
	}
}

// known prints what is known of key, or who would be asked. It reports whether anybody would.
func (e *explainer) known(key extract.Key, found intel.Finding, skip extract.Skip, held cache.Held) (asked bool) {
	w := e.con.stdout
	switch {
	case skip == extract.Allowed:
		return false
	case found.Verdict == intel.Related:
		seen := ""
		if !found.Seen.IsZero() {
			seen = " " + found.Seen.UTC().Format(time.DateOnly)
		}
		fmt.Fprintf(w, "    related · named by malicious %s (%s, %s%s), not itself reported\n",
			annotate.Safe(found.Via.Value), annotate.Safe(found.Source), found.Relation, seen)
	case found.Verdict != intel.NoVerdict:
		fmt.Fprintf(w, "    %s · %s\n", found.Verdict, annotate.Safe(found.Source))
	}
	tellWords(w, e.mine, key, "      ")
	if skip != extract.Worth || found.Verdict == intel.Malicious && !found.Stale {
		return false
	}
	if len(e.networks) == 0 && found.Verdict == intel.NoVerdict {
		fmt.Fprintln(w, "    unknown · no local intelligence names it, and no network source is given")
	}
	for _, n := range e.networks {
		if held.Fresh(n.Name, time.Now()) {
			continue
		}
		if !n.Types.Has(key.Type) {
			fmt.Fprintf(w, "    not asked · %s: %s\n", n.Name, n.notAsked(key.Type))
			continue
		}
		asked = true
		every := time.Duration(float64(time.Second) / float64(n.Rate))
		fmt.Fprintf(w, "    would be asked · one question to %s, which may be asked every %s\n", n.Name, every)
	}
	if note := pauseNote(e.stateDir); note != "" {
		fmt.Fprintf(w, "    %s\n", note)
	}
	return asked
}
