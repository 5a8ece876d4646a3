package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/filter/annotate"
	"iocpipe/intel/local/feed"
)

// updateFlags are the flags of intel update.
type updateFlags struct {
	store   storeFlags
	options feed.Options
	jitter  time.Duration
	json    bool
}

func newIntelUpdateCommand(con console) *cobra.Command {
	var f updateFlags
	cmd := &cobra.Command{
		Use:   "update [NAME…]",
		Short: "Fetch the feeds that are due",
		Long: `Fetch the feeds that are due, or those that are named, be they due or not. What is new in all of them reaches the store
in one step, and running filters within 5 seconds. A feed whose new content is broken, empty or suspiciously small keeps
its old content; the others are updated all the same, and the exit code is 1. No feed is asked sooner than its publisher
permits. Proxies are taken from the environment (HTTPS_PROXY, NO_PROXY), keys from the variables that feed ls --json names.

` + exitCodes + ".",
		RunE: func(cmd *cobra.Command, names []string) error {
			f.options.Names = names
			return f.run(cmd, con)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.options.All, "all", false, "fetch every feed, be it due or not")
	flags.BoolVar(&f.options.AcceptSmall, "accept-small", false, "take content of less than half the entries of before, or of none")
	flags.DurationVar(&f.jitter, "jitter", 0, "wait a random time up to this first, so that not all hosts ask at once")
	flags.IntVar(&f.options.Parallel, "parallel", 4, "downloads at a time")
	flags.Int64Var(&f.options.MaxBytes, "max-bytes", 1<<30, "bytes of one feed on the wire")
	flags.Int64Var(&f.options.MaxContent, "max-content", 8<<30, "bytes of one feed when decompressed")
	flags.DurationVar(&f.options.StallTimeout, "stall-timeout", 30*time.Second, "how long a download may stand still")
	flags.DurationVar(&f.options.Timeout, "timeout", 30*time.Minute, "how long one feed may take")
	flags.StringVar(&f.options.Proxy, "proxy", "", "`URL` of a proxy, http, https or socks5 (default that of the environment)")
	flags.StringVar(&f.options.CAFile, "ca", "", "PEM `FILE` of certificates to trust besides those of the system")
	flags.BoolVar(&f.json, "json", false, "one JSON object per feed")
	f.store.add(flags)
	return cmd
}

func (f *updateFlags) validate() error {
	for name, n := range map[string]int64{
		"parallel": int64(f.options.Parallel), "max-bytes": f.options.MaxBytes, "max-content": f.options.MaxContent,
		"stall-timeout": int64(f.options.StallTimeout), "timeout": int64(f.options.Timeout),
	} {
		if n < 1 {
			return usagef("--%s: must be above 0", name)
		}
	}
	if u, err := url.Parse(f.options.Proxy); err == nil && u.User != nil {
		return usagef("--proxy: a user or password in a flag can be read by everyone on this host: set HTTPS_PROXY in the environment")
	}
	return nil
}

func (f *updateFlags) run(cmd *cobra.Command, con console) error {
	store, err := f.store.settled(cmd)
	if err != nil {
		return err
	}
	if err := f.validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := f.awaitJitter(ctx, registryPath(store)); err != nil {
		return err
	}
	bar := newProgress(con, "fetching")
	opt := f.options
	opt.UserAgent = "iocpipe/" + version()
	opt.Formats, opt.Store, opt.Holds = feedFormats(), feedStore(store), heldSources(store)
	opt.OnWait = func() { fmt.Fprintln(con.stderr, "iocpipe: another update is running; waiting for it") }
	opt.OnProgress = bar.add
	results, err := feed.Update(ctx, registryPath(store), opt)
	bar.finish()
	if err != nil {
		return fmt.Errorf("intel update: %w", err)
	}
	return tellUpdate(con, results, f.json, time.Now())
}

// awaitJitter waits a random time if there is something to fetch.
func (f *updateFlags) awaitJitter(ctx context.Context, registry string) error {
	if f.jitter <= 0 {
		return nil
	}
	r, err := feed.Load(registry)
	if err != nil {
		return err
	}
	now := time.Now()
	if !slices.ContainsFunc(r.Feeds, func(f feed.Feed) bool { return !f.Due().After(now) }) {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(rand.N(f.jitter)):
		return nil
	}
}

// tellUpdate prints what became of the feeds: what holds now on stdout, what failed on stderr.
func tellUpdate(con console, results []feed.Result, asJSON bool, now time.Time) error {
	failed := false
	for _, r := range results {
		if r.Outcome == feed.Failed {
			failed = true
			fmt.Fprintf(con.stderr, "iocpipe: feed %s: %s; %s\n", r.Feed.Name, annotate.Safe(r.Err.Error()), heldWords(r.Feed))
		}
	}
	var err error
	switch {
	case asJSON:
		err = printResults(con, results)
	case len(results) == 0:
		fmt.Fprintln(con.stderr, "iocpipe: there is no feed yet: intel feed add urlhaus threatfox feodo, say")
	default:
		_, err = fmt.Fprintf(con.stdout, "  %s\n", updateWords(results, now))
	}
	if failed && err == nil {
		return exitError{exitFailed, ""}
	}
	return err
}

// heldWords says what the store has of a feed that failed.
func heldWords(f feed.Feed) string {
	if f.Good.IsZero() {
		return "nothing has come of it yet"
	}
	return fmt.Sprintf("the %s entries of %s stay in use", thousands(f.Entries), f.Good.UTC().Format(time.RFC3339))
}

// updateWords says in one line what became of the feeds.
func updateWords(results []feed.Result, now time.Time) string {
	var parts []string
	refused, asked := 0, 0
	var next feed.Result
	for _, r := range results {
		switch r.Outcome {
		case feed.Updated:
			parts = append(parts, r.Feed.Name+" "+thousands(r.Feed.Entries))
			refused += r.Feed.Refused
		case feed.Unchanged:
			parts = append(parts, r.Feed.Name+" "+thousands(r.Feed.Entries)+" unchanged")
		case feed.Failed:
			parts = append(parts, r.Feed.Name+" failed")
		case feed.NotDue:
			if next.Feed.Name == "" || r.Next.Before(next.Next) {
				next = r
			}
			continue
		}
		asked++
	}
	if asked == 0 {
		return fmt.Sprintf("nothing is due · next is %s in %s", next.Feed.Name, feed.Rounded(max(next.Next.Sub(now), 0)))
	}
	if refused > 0 {
		parts = append(parts, fmt.Sprintf("refused %s (intel ls --refused)", thousands(refused)))
	}
	return strings.Join(parts, " · ")
}

// printResults prints the results as JSON, one line each.
func printResults(con console, results []feed.Result) error {
	for _, r := range results {
		line := struct {
			Feed    string       `json:"feed"`
			Outcome feed.Outcome `json:"outcome"`
			Entries int          `json:"entries"`
			Refused int          `json:"refused"`
			Bytes   int64        `json:"bytes"`
			Good    time.Time    `json:"good,omitzero"`
			Next    time.Time    `json:"next,omitzero"`
			Error   string       `json:"error,omitempty"`
		}{r.Feed.Name, r.Outcome, r.Feed.Entries, r.Feed.Refused, r.Feed.Bytes, r.Feed.Good, r.Next, ""}
		if r.Err != nil {
			line.Error = r.Err.Error()
		}
		if err := json.NewEncoder(con.stdout).Encode(line); err != nil {
			return err
		}
	}
	return nil
}
