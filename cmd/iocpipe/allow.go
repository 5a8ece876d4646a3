package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel/local"
	"iocpipe/intel/local/format"
)

func newAllowCommand(con console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "allow add|rm|ls",
		Short: "Keep the host's own allow list: values that are never asked about nor annotated",
		Args:  noSuchCommand,
		RunE:  func(*cobra.Command, []string) error { return usagef("allow: say add, rm or ls") },
	}
	cmd.AddCommand(newAllowAddCommand(con), newAllowRemoveCommand(con), newAllowListCommand(con))
	return cmd
}

func newAllowAddCommand(con console) *cobra.Command {
	var expires days
	var note string
	cmd := storeCommand("add VALUE…", "Allow values; running processes know within 5 s", func(path, _ string, values []string) error {
		var end time.Time
		values = allowables(values)
		if expires > 0 {
			end = time.Now().UTC().Truncate(time.Second).Add(time.Duration(expires))
		}
		if err := changeStore(path, func(e *local.Edits) error {
			for _, value := range values {
				if err := e.Allow(value, editor(), note, end); err != nil {
					return usagef("allow add: %v", err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
		for _, value := range values {
			fmt.Fprintf(con.stdout, "allowed %s%s\n", annotate.Safe(value), until(end))
		}
		return nil
	})
	cmd.Args = someArgs
	cmd.Long = `Add puts values on the host's allow list: addresses, networks, domains with all below (=domain for itself alone),
e-mail addresses and hashes. They are neither asked about nor annotated, whoever calls them malicious.`
	cmd.Example = `  iocpipe allow add cdn.example --note FP-118
  iocpipe allow add 198.51.100.0/24 --expires 7d --note pentest`
	cmd.Flags().Var(&expires, "expires", "how long it holds, as 30d or 36h (default: until it is removed)")
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}

func newAllowRemoveCommand(con console) *cobra.Command {
	cmd := storeCommand("rm VALUE…", "Take values off the allow list", func(path, _ string, values []string) error {
		values = allowables(values)
		if err := changeStore(path, func(e *local.Edits) error {
			for _, value := range values {
				if err := e.Disallow(value); err != nil {
					return fmt.Errorf("%w; iocpipe allow ls prints it", err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
		for _, value := range values {
			fmt.Fprintf(con.stdout, "no longer allowed: %s\n", annotate.Safe(value))
		}
		return nil
	})
	cmd.Args = someArgs
	return cmd
}

func newAllowListCommand(con console) *cobra.Command {
	var asJSON bool
	cmd := storeCommand("ls [VALUE…]", "List what is allowed, or what of it covers values: since when, by whom, until when, why", func(path, _ string, values []string) error {
		store, err := openStore(path)
		if err != nil {
			return err
		}
		if len(values) == 0 {
			return listEdits(con, store.Edits(), local.Allowed, asJSON)
		}
		return listCovering(con, store.Edits(), values, asJSON)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return cmd
}

// listCovering prints what of the allow list covers each of the values.
func listCovering(con console, edits []local.Edit, values []string, asJSON bool) error {
	uncovered := false
	for _, value := range values {
		key, err := parseValue(value, "")
		if err != nil {
			return err
		}
		covering := slices.DeleteFunc(slices.Clone(edits), func(e local.Edit) bool { return !allows(e, key) })
		if len(covering) == 0 {
			uncovered = true
			fmt.Fprintf(con.stderr, "iocpipe: nothing allows %s\n", annotate.Safe(key.Value))
		}
		if err := listEdits(con, covering, local.Allowed, asJSON); err != nil {
			return err
		}
	}
	if uncovered {
		return exitError{exitFailed, ""}
	}
	return nil
}

// allows reports whether an edit keeps key from being asked about and annotated.
func allows(e local.Edit, key extract.Key) bool {
	list := new(extract.List)
	return e.Kind == local.Allowed && list.Add(e.Value) == nil && list.Has(key)
}

// allowable returns a value as allow lists spell it. A person may paste it defanged, as intel add takes it; what else a
// list takes, such as =domain and networks, stays as it is.
func allowable(value string) string {
	if new(extract.List).Add(value) == nil {
		return value
	}
	alone, rest := "", strings.TrimSpace(value)
	if name, found := strings.CutPrefix(rest, "="); found {
		alone, rest = "=", name
	}
	subject, err := format.ParseSubject(rest)
	if err != nil || subject.URL != "" { // a host is more than its URL
		return value
	}
	return alone + subject.Text()
}

func allowables(values []string) []string {
	spelled := make([]string, len(values))
	for i, value := range values {
		spelled[i] = allowable(value)
	}
	return spelled
}

// editLine is an edit as a line of a table: the value, when, by whom, until when, why.
func editLine(e local.Edit) string {
	end := "-"
	if !e.Until.IsZero() {
		end = e.Until.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", annotate.Safe(e.Value), e.At.UTC().Format(time.RFC3339), annotate.Safe(e.By), end, cell(e.Note))
}
