package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/intel/local/feed"
)

func newIntelListCommand(con console) *cobra.Command {
	var refused, byHand, asJSON bool
	cmd := storeCommand("ls [VALUE…]", "List the sources of the local store, or what they say of values", func(path, _ string, values []string) error {
		store, err := openStore(path)
		if err != nil {
			return err
		}
		switch {
		case len(values) > 0:
			return listValues(con, store, values)
		case byHand:
			for _, e := range store.Edits() {
				fmt.Fprintf(con.stdout, "%s\t%s\n", e.Kind, editLine(e))
			}
			return nil
		case refused:
			return listRefused(con, store)
		}
		registry, err := feed.Load(registryPath(path))
		if err != nil {
			return err
		}
		return listSources(con, store, registry.Ages(time.Now()), asJSON)
	})
	flags := cmd.Flags()
	flags.BoolVar(&refused, "refused", false, "what was refused of each source, where and why")
	flags.BoolVar(&byHand, "edits", false, "what was added, removed and allowed by hand: when, by whom, until when, why")
	flags.BoolVar(&asJSON, "json", false, "one JSON object per source")
	return cmd
}

// A listedSource is a source as intel ls --json tells it.
type listedSource struct {
	Source     string    `json:"source"`
	Format     string    `json:"format,omitempty"`
	From       string    `json:"from,omitempty"`
	Entries    int       `json:"entries"`
	Refused    int       `json:"refused"`
	Updated    time.Time `json:"updated,omitzero"`
	AgeSeconds int64     `json:"age_seconds"`
	Stale      bool      `json:"stale"`
}

// listSources prints the sources with their ages. A feed is as old as its last good answer.
func listSources(con console, store *local.Store, feeds []feed.Age, asJSON bool) error {
	table := tabwriter.NewWriter(con.stdout, 0, 0, 2, ' ', 0)
	for _, s := range store.Sources() {
		age, stale := time.Since(s.Updated), false
		for _, f := range feeds {
			if f.Name == s.Name {
				age, stale = f.Age, f.Stale
			}
		}
		if asJSON {
			if err := json.NewEncoder(con.stdout).Encode(listedSource{s.Name, s.Kind, s.From, s.Entries, s.Refused, s.Updated, int64(age.Seconds()), stale}); err != nil {
				return err
			}
			continue
		}
		state := feed.Rounded(age) + " old"
		if s.Updated.IsZero() {
			state = ""
		}
		if stale {
			state += ", stale"
		}
		fmt.Fprintf(table, "%s\t%s entries\t%s refused\t%s\t%s\t%s\n", annotate.Safe(s.Name), thousands(s.Entries), thousands(s.Refused), s.Kind, state, annotate.Safe(s.From))
	}
	return table.Flush()
}

func listRefused(con console, store *local.Store) error {
	for _, s := range store.Sources() {
		for _, sample := range s.Samples {
			fmt.Fprintf(con.stdout, "%s: %s\n", annotate.Safe(s.Name), annotate.Safe(sample))
		}
		if more := s.Refused - len(s.Samples); more > 0 && len(s.Samples) > 0 {
			fmt.Fprintf(con.stdout, "%s: and %s more\n", annotate.Safe(s.Name), thousands(more))
		}
	}
	return nil
}

// listValues prints what each source says of values.
func listValues(con console, store *local.Store, values []string) error {
	subjects, err := parseSubjects(values)
	if err != nil {
		return err
	}
	unknown := 0
	for _, subject := range subjects {
		entries := store.Listed(subject)
		if subject.Key.Value != "" && !subject.Below && subject.URL == "" {
			entries = store.About(subject.Key)
		}
		if len(entries) == 0 {
			unknown++
			fmt.Fprintf(con.stderr, "iocpipe: nothing lists %s\n", subjectText(subject))
		}
		for _, e := range entries {
			fmt.Fprintf(con.stdout, "%s\t%s\n", subjectText(subject), entryText(subject, e))
		}
	}
	if unknown > 0 {
		return exitError{exitFailed, ""}
	}
	return nil
}

// entryText says for a person what an entry says of a subject: the verdict, by whom, through what, since and until when.
func entryText(about intel.Subject, e intel.Entry) string {
	text := e.Report.Verdict().String()
	switch {
	case e.Relation != "":
		text = fmt.Sprintf("%s · named by %s (%s)", intel.Related, annotate.Safe(e.Via.Value), e.Relation)
	case e.Subject.Covers() != about.Covers():
		text += " · as " + subjectText(e.Subject)
	}
	text += " · " + annotate.Safe(e.Source)
	for _, tag := range e.Report.Tags {
		text += " · " + annotate.Safe(tag)
	}
	if seen := e.Report.LastSeen(); !seen.IsZero() {
		text += " · last seen " + seen.UTC().Format(time.DateOnly)
	}
	if e.By != "" {
		text += fmt.Sprintf(" · by %s on %s", annotate.Safe(e.By), e.Added.UTC().Format(time.DateTime))
	}
	if e.Note != "" {
		text += " · " + annotate.Safe(e.Note)
	}
	text += until(e.Expires)
	if e.Report.Permalink != "" {
		text += " · " + annotate.Safe(e.Report.Permalink)
	}
	return text
}
