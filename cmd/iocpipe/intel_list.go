package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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
	cmd := storeCommand("ls [VALUE…|SOURCE…]", "List the sources of the local store, or what they say of values", func(path, _ string, values []string) error {
		store, err := openStore(path)
		if err != nil {
			return err
		}
		switch {
		case refused:
			return listRefused(con, store, values, asJSON)
		case byHand && len(values) == 0:
			return listEdits(con, store.Edits(), "", asJSON)
		case byHand:
			return usagef("intel ls --edits: lists all; intel ls VALUE tells who changed a value")
		case len(values) > 0:
			return listValues(con, store, values, asJSON)
		}
		registry, err := feed.Load(registryPath(path))
		if err != nil {
			return err
		}
		return listSources(con, store, registry.Ages(time.Now()), asJSON)
	})
	flags := cmd.Flags()
	flags.BoolVar(&refused, "refused", false, "what was refused of each SOURCE, where and why")
	flags.BoolVar(&byHand, "edits", false, "what was added, removed and allowed by hand: when, by whom, until when, why")
	flags.BoolVar(&asJSON, "json", false, "one JSON object per line; of values report lines, as export --format v2 writes them")
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
		fmt.Fprintf(table, "%s\t%s entries\t%s refused\t%s\t%s\t%s\n", cell(s.Name), thousands(s.Entries), thousands(s.Refused), s.Kind, state, cell(s.From))
	}
	return table.Flush()
}

// cell is a text in a table whose columns are parted by tabs.
func cell(text string) string { return annotate.Safe(strings.ReplaceAll(text, "\t", " ")) }

// listRefused prints what was refused of the sources that are named, or of all.
func listRefused(con console, store *local.Store, names []string, asJSON bool) error {
	for _, name := range names {
		if !slices.ContainsFunc(store.Sources(), func(s local.Source) bool { return s.Name == name }) {
			return fmt.Errorf("the store has no source %q; iocpipe intel ls lists them", annotate.Safe(name))
		}
	}
	for _, s := range store.Sources() {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		if asJSON {
			if err := json.NewEncoder(con.stdout).Encode(refusedOf{s.Name, s.Refused, s.Samples}); err != nil {
				return err
			}
			continue
		}
		for _, sample := range s.Samples {
			fmt.Fprintf(con.stdout, "%s: %s\n", annotate.Safe(s.Name), annotate.Safe(sample))
		}
		if more := s.Refused - len(s.Samples); more > 0 && len(s.Samples) > 0 {
			fmt.Fprintf(con.stdout, "%s: and %s more\n", annotate.Safe(s.Name), thousands(more))
		}
	}
	return nil
}

// refusedOf is what was refused of a source, as intel ls --refused --json tells it.
type refusedOf struct {
	Source  string   `json:"source"`
	Refused int      `json:"refused"`
	Samples []string `json:"samples,omitempty"` // the first of them
}

// listEdits prints what was done by hand: of one kind, or with kind in front when it is empty.
func listEdits(con console, edits []local.Edit, kind local.EditKind, asJSON bool) error {
	for _, e := range edits {
		var err error
		switch {
		case kind != "" && e.Kind != kind:
		case asJSON:
			err = writeEdit(con, e)
		case kind == "":
			_, err = fmt.Fprintf(con.stdout, "%s\t%s\n", e.Kind, editLine(e))
		default:
			_, err = fmt.Fprintln(con.stdout, editLine(e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeEdit writes an edit as a JSON line.
func writeEdit(con console, e local.Edit) error {
	return json.NewEncoder(con.stdout).Encode(struct {
		Kind  local.EditKind `json:"kind"`
		Value string         `json:"value"`
		At    time.Time      `json:"at"`
		By    string         `json:"by,omitempty"`
		Until time.Time      `json:"until,omitzero"`
		Note  string         `json:"note,omitempty"`
	}{e.Kind, e.Value, e.At.UTC(), e.By, e.Until.UTC(), e.Note})
}

// listValues prints what each source says of values.
func listValues(con console, store *local.Store, values []string, asJSON bool) error {
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
			if asJSON {
				_, _ = con.stdout.Write(append(intel.AppendEntry(nil, &e), '\n')) // results keep the error
				continue
			}
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
