package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/cache/host"
	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
)

func newCacheCommand(con console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache ls|get|rm|stats",
		Short: "See and correct the answers that this host keeps",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return usagef("cache: say ls, get, rm or stats") },
	}
	cmd.AddCommand(
		stateCommand("ls", "List the answers, the latest first", cobra.NoArgs, func(ctx context.Context, s *host.State, _ []string) error {
			return listAnswers(ctx, con, s)
		}),
		stateCommand("get VALUE…", "Print what is kept of values, as report lines", cobra.MinimumNArgs(1), func(_ context.Context, s *host.State, values []string) error {
			return getAnswers(con, s, values)
		}),
		stateCommand("rm VALUE…", "Forget what is kept of values; running processes follow within seconds", cobra.MinimumNArgs(1), func(_ context.Context, s *host.State, values []string) error {
			return removeAnswers(con, s, values)
		}),
		stateCommand("stats", "Say what is kept, and how budgets and sources do", cobra.NoArgs, func(ctx context.Context, s *host.State, _ []string) error {
			return printStateStats(ctx, con, s)
		}),
	)
	return cmd
}

// noSuchCommand refuses arguments of a command that only has commands.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s has no command %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// stateCommand is a command about the host's state, which it opens and closes.
func stateCommand(use, short string, args cobra.PositionalArgs, run func(context.Context, *host.State, []string) error) *cobra.Command {
	var sources sourceFlags
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args: func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return usagef("%s: %v", cmd.CommandPath(), err)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if _, err := settle(cmd); err != nil {
				return err
			}
			state, err := sources.needState()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, state.Close()) }()
			return run(cmd.Context(), state, given)
		},
	}
	cmd.Flags().StringVar(&sources.state, "state", "", "`DIR` of the state, as the filter has it")
	addConfig(cmd.Flags())
	return cmd
}

func listAnswers(ctx context.Context, con console, s *host.State) error {
	for c, err := range s.Answers(ctx) {
		if err != nil {
			return err
		}
		verdict := c.Answer.Report.Verdict().String()
		if !c.Answer.Report.Known {
			verdict = "not-known"
		}
		if _, err := fmt.Fprintf(con.stdout, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Answer.Fetched.UTC().Format(time.RFC3339), c.Key.Type,
			annotate.Safe(c.Key.Value), verdict, annotate.Safe(c.Answer.Source), c.Answer.Expires.UTC().Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}

func getAnswers(con console, s *host.State, values []string) error {
	missing := 0
	for _, value := range values {
		key, err := parseAnyValue(value)
		if err != nil {
			return err
		}
		held, ok := s.Get(key)
		if !ok {
			missing++
			fmt.Fprintf(con.stderr, "iocpipe: nothing is kept of %s\n", annotate.Safe(key.Value))
			continue
		}
		for _, a := range held.Answers {
			found := intel.Finding{Verdict: a.Report.Verdict(), Origin: a.Origin, Source: a.Source, Report: a.Report}
			_, _ = con.stdout.Write(appendLookup(nil, key, found, a.Fetched, true))
		}
		if held.Relation.Verdict != intel.NoVerdict {
			_, _ = con.stdout.Write(appendLookup(nil, key, held.Relation, time.Now(), true))
		}
	}
	if missing > 0 {
		return exitError{exitFailed, ""}
	}
	return nil
}

// parseAnyValue reads an indicator; what has the form of none is a detection name.
func parseAnyValue(value string) (extract.Key, error) {
	if key, err := parseValue(value, ""); err == nil {
		return key, nil
	}
	return parseValue(value, extract.Antivirus.String())
}

func removeAnswers(con console, s *host.State, values []string) error {
	for _, value := range values {
		key, err := parseAnyValue(value)
		if err != nil {
			return err
		}
		if _, ok := s.Get(key); !ok {
			fmt.Fprintf(con.stderr, "iocpipe: nothing is kept of %s\n", annotate.Safe(key.Value))
			continue
		}
		if err := s.Remove(key); err != nil {
			return err
		}
		fmt.Fprintf(con.stdout, "forgot %s\n", annotate.Safe(key.Value))
	}
	return nil
}

func printStateStats(ctx context.Context, con console, s *host.State) error {
	stats, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	w := con.stdout
	fmt.Fprintf(w, "%s: version %d, %s of at most %s bytes\n", stats.Path, stats.Version, thousands(stats.Bytes), thousands(stats.MaxBytes))
	if note := pauseNote(filepath.Dir(stats.Path)); note != "" {
		fmt.Fprintln(w, note)
	}
	for _, source := range slices.Sorted(maps.Keys(stats.Answers)) {
		var parts []string
		for _, verdict := range slices.Sorted(maps.Keys(stats.Answers[source])) {
			says := verdict
			if verdict == intel.NoVerdict.String() {
				says = "not-known"
			}
			parts = append(parts, fmt.Sprintf("%s %s", thousands(stats.Answers[source][verdict]), says))
		}
		fmt.Fprintf(w, "answers of %s: %s\n", annotate.Safe(source), strings.Join(parts, ", "))
	}
	fmt.Fprintf(w, "relations %s, being asked %d, questions in the log %s\n", thousands(stats.Relations), stats.Leases, thousands(stats.Asked))
	for _, b := range stats.Budgets {
		fmt.Fprintf(w, "budget of %s: %.1f of %d questions left, one more every %s\n", annotate.Safe(b.Source), b.Left, b.Burst,
			time.Duration(float64(time.Second)/b.PerSecond).Round(time.Millisecond))
		if !b.Held.IsZero() {
			fmt.Fprintf(w, "source %s wants to be left alone until %s\n", annotate.Safe(b.Source), b.Held.UTC().Format(time.RFC3339))
		}
	}
	for _, h := range stats.Health {
		state := "up"
		if !h.Up {
			state = "down: " + annotate.Safe(h.Note)
		}
		fmt.Fprintf(w, "source %s is %s, as of %s\n", annotate.Safe(h.Source), state, h.At.UTC().Format(time.RFC3339))
	}
	return nil
}
