package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/filter/annotate"
	"iocpipe/httpclient"
	"iocpipe/intel/local"
	"iocpipe/intel/local/feed"
	"iocpipe/intel/local/format"
)

func newIntelFeedCommand(con console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "feed add|rm|ls",
		Short: "Say which public or own feeds intel update fetches",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return usagef("intel feed: say add, rm or ls") },
	}
	cmd.AddCommand(newFeedAddCommand(con), newFeedRemoveCommand(), newFeedListCommand(con))
	return cmd
}

// registryPath returns where the feeds of the store at path are kept.
func registryPath(store string) string { return filepath.Join(filepath.Dir(store), feed.FileName) }

// feedFlags are the settings of feeds that are added.
type feedFlags struct {
	store             storeFlags
	name, format      string
	every, maxAge     days
	vote              string
	keyEnv, keyHeader string
	insecureHTTP      bool
}

func newFeedAddCommand(con console) *cobra.Command {
	var f feedFlags
	cmd := &cobra.Command{
		Use:   "add NAME|URL|PATH…",
		Short: "Add feeds: known ones by name (feed ls --known), or a URL, file or folder of your own",
		Long: `Add feeds: known ones by name (feed ls --known tells them), the URL of a list (https, http, file), or the path of a
file or folder. threatcrowd:URL adds the three lists of a ThreatCrowd server. A feed that is there gets the new settings.
Nothing is fetched: intel update does that.

` + exitCodes + ".",
		Args: someArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, con, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name of the feed, when one is added (default made from the URL or path)")
	flags.StringVar(&f.format, "format", "", "format of the list (default told by content)")
	flags.Var(&f.every, "every", "how often it is fetched, as 30m, 6h or 1d (default the known feed's, else 1h)")
	flags.Var(&f.maxAge, "max-age", "age from which on it is stale (default 3 times its interval)")
	flags.StringVar(&f.vote, "vote", "", "what being listed means: malicious, undecided or benign (default what the format says)")
	flags.StringVar(&f.keyEnv, "key-env", "", "`VARIABLE` of the environment of intel update that holds the key")
	flags.StringVar(&f.keyHeader, "key-header", "", "`HEADER` that the key is sent in, such as Auth-Key (or write {key} in the URL)")
	flags.BoolVar(&f.insecureHTTP, "insecure-http", false, "allow plain http:// to a public host")
	f.store.add(flags)
	return cmd
}

func (f *feedFlags) run(cmd *cobra.Command, con console, args []string) error {
	store, err := f.store.settled(cmd)
	if err != nil {
		return err
	}
	feeds, err := f.feeds(args)
	if err != nil {
		return err
	}
	if err := makeFolder(store); err != nil {
		return err
	}
	err = feed.Change(cmd.Context(), registryPath(store), func(r *feed.Registry) error {
		for i := range feeds {
			if _, err := r.Add(feeds[i]); err != nil {
				return usagef("intel feed add: %v", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, added := range feeds {
		if known, ok := feed.ByName(added.Name); ok && known.Limited {
			fmt.Fprintf(con.stderr, "iocpipe: %s: %s; see %s\n", added.Name, known.License, known.Page)
		}
		if added.KeyNeeded && os.Getenv(added.KeyEnv) == "" {
			fmt.Fprintf(con.stderr, "iocpipe: %s: intel update needs the key in %s\n", added.Name, added.KeyEnv)
		}
	}
	return nil
}

// feeds returns the feeds that args stand for, with the settings of the flags.
func (f *feedFlags) feeds(args []string) (feeds []feed.Feed, err error) {
	for _, arg := range args {
		named, err := feed.Named(arg)
		if err != nil {
			return nil, usagef("intel feed add: %v (feed ls --known tells the names)", err)
		}
		feeds = append(feeds, named...)
	}
	if f.name != "" && len(feeds) != 1 {
		return nil, usagef("--name: %d feeds cannot have one name", len(feeds))
	}
	for i := range feeds {
		feeds[i].Added = time.Now().UTC().Truncate(time.Second)
		if err := f.apply(&feeds[i]); err != nil {
			return nil, err
		}
	}
	return feeds, nil
}

// apply gives added the settings of the flags, and checks them.
func (f *feedFlags) apply(added *feed.Feed) error {
	if f.vote != "" {
		votes, err := parseVote(f.vote)
		if err != nil {
			return err
		}
		added.Votes = &votes
	}
	if !slices.Contains(format.Kinds(), format.Kind(cmp.Or(f.format, string(format.Plain)))) {
		return usagef("--format %s: there are %v", annotate.Safe(f.format), format.Kinds())
	}
	added.Name, added.Format = cmp.Or(f.name, added.Name), cmp.Or(f.format, added.Format)
	if added.Name == local.ByHand {
		return usagef("intel feed add: %s is the name of what was added by hand: give another with --name", added.Name)
	}
	added.Every, added.MaxAge = cmp.Or(feed.Duration(f.every), added.Every), cmp.Or(feed.Duration(f.maxAge), added.MaxAge)
	added.KeyEnv, added.KeyHeader = cmp.Or(f.keyEnv, added.KeyEnv), cmp.Or(f.keyHeader, added.KeyHeader)
	added.InsecureHTTP = f.insecureHTTP
	switch err := added.Validate(); {
	case errors.Is(err, httpclient.ErrPlainHTTP):
		return usagef("intel feed add: %v; --insecure-http allows it", err)
	case err != nil:
		return usagef("intel feed add: %v", err)
	}
	return nil
}

func newFeedRemoveCommand() *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:   "rm NAME…",
		Short: "Remove feeds, and what they said from the store",
		Args:  someArgs,
		RunE: func(cmd *cobra.Command, names []string) error {
			store, err := flags.settled(cmd)
			if err != nil {
				return err
			}
			return feed.Change(cmd.Context(), registryPath(store), func(r *feed.Registry) error {
				for _, name := range names {
					if err := r.Remove(name); err != nil {
						return exitError{exitFailed, "intel feed rm: " + err.Error()}
					}
				}
				return removeSources(store, names)
			})
		},
	}
	flags.add(cmd.Flags())
	return cmd
}

func newFeedListCommand(con console) *cobra.Command {
	var (
		flags         storeFlags
		known, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the feeds of this host, or with --known the public ones that have a name",
		Args:  exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if known {
				return listKnown(con, asJSON)
			}
			store, err := flags.settled(cmd)
			if err != nil {
				return err
			}
			r, err := feed.Load(registryPath(store))
			if err != nil {
				return err
			}
			return listFeeds(con, r, asJSON, time.Now())
		},
	}
	cmd.Flags().BoolVar(&known, "known", false, "the public feeds that can be added by name")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per feed")
	flags.add(cmd.Flags())
	return cmd
}

func listKnown(con console, asJSON bool) error {
	table := tabwriter.NewWriter(con.stdout, 0, 0, 2, ' ', 0)
	for _, k := range feed.KnownFeeds() {
		if asJSON {
			if err := json.NewEncoder(con.stdout).Encode(map[string]string{
				"name": k.Name, "from": k.From, "format": k.Format, "every": k.Every.String(), "about": k.About,
				"license": k.License, "page": k.Page, "key_env": k.KeyEnv,
			}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(table, "%s\tevery %s\t%s\t%s\n", k.Name, k.Every, k.About, k.License)
	}
	return table.Flush()
}

// A listedFeed is a feed as feed ls --json tells it.
type listedFeed struct {
	feed.Feed
	AgeSeconds int64     `json:"age_seconds"`
	Stale      bool      `json:"stale"`
	Due        time.Time `json:"due"`
}

func listFeeds(con console, r feed.Registry, asJSON bool, now time.Time) error {
	table := tabwriter.NewWriter(con.stdout, 0, 0, 2, ' ', 0)
	ages := r.Ages(now)
	for i, f := range r.Feeds {
		if asJSON {
			if err := json.NewEncoder(con.stdout).Encode(listedFeed{f, int64(ages[i].Age.Seconds()), ages[i].Stale, f.Due()}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(table, "%s\t%s entries\t%s\t%s\t%s\t%s\n", f.Name, thousands(f.Entries), ageWords(ages[i]),
			dueWords(f.Due(), now), stateWords(f, ages[i]), annotate.Safe(f.From))
	}
	return table.Flush()
}

func ageWords(a feed.Age) string {
	if a.Never {
		return "never came"
	}
	return feed.Rounded(a.Age) + " old"
}

func dueWords(due, now time.Time) string {
	if !due.After(now) {
		return "due now"
	}
	return "due in " + feed.Rounded(due.Sub(now))
}

func stateWords(f feed.Feed, a feed.Age) string {
	switch {
	case f.Error != "":
		return fmt.Sprintf("failed %d× (%s)", f.Failures, annotate.Safe(f.Error))
	case a.Stale:
		return "stale"
	case a.Never:
		return "new"
	}
	return "ok"
}
