package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/filter/annotate"
	"iocpipe/intel/local"
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
	cmd := storeCommand("add VALUE…", "Allow values; running processes know within 5 s", func(cmd *cobra.Command, f *storeFlags, values []string) error {
		if err := needValues(cmd, values); err != nil {
			return err
		}
		path, err := f.need()
		if err != nil {
			return err
		}
		now := time.Now().UTC().Truncate(time.Second)
		a := local.Allowance{By: editor(), Added: now, Note: note}
		if expires > 0 {
			a.Expires = now.Add(time.Duration(expires))
		}
		if err := local.Change(path, func(e *local.Edits) error {
			for _, value := range values {
				a.Value = value
				if err := e.Allow(a); err != nil {
					return usagef("allow add: %v", err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
		for _, value := range values {
			fmt.Fprintf(con.stdout, "allowed %s%s\n", annotate.Safe(value), until(a.Expires))
		}
		return nil
	})
	cmd.Long = `Add puts values on the host's allow list: addresses, networks, domains with all below (=domain for itself alone),
e-mail addresses and hashes. They are neither asked about nor annotated, whoever calls them malicious.`
	cmd.Example = `  iocpipe allow add cdn.example --note FP-118
  iocpipe allow add 198.51.100.0/24 --expires 7d --note 'pentest'`
	cmd.Flags().Var(&expires, "expires", "how long it holds, as 30d or 36h (default: until it is removed)")
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}

func newAllowRemoveCommand(con console) *cobra.Command {
	return storeCommand("rm VALUE…", "Take values from the allow list", func(cmd *cobra.Command, f *storeFlags, values []string) error {
		if err := needValues(cmd, values); err != nil {
			return err
		}
		path, err := f.need()
		if err != nil {
			return err
		}
		missing := make(map[string]bool)
		if err := local.Change(path, func(e *local.Edits) error {
			for _, value := range values {
				missing[value] = !e.Disallow(value, editor(), time.Now())
			}
			return nil
		}); err != nil {
			return err
		}
		failed := false
		for _, value := range values {
			if missing[value] {
				failed = true
				fmt.Fprintf(con.stderr, "iocpipe: %s is not on the allow list; iocpipe allow ls prints it\n", annotate.Safe(value))
				continue
			}
			fmt.Fprintf(con.stdout, "no longer allowed: %s\n", annotate.Safe(value))
		}
		if failed {
			return exitError{exitFailed, ""}
		}
		return nil
	})
}

func newAllowListCommand(con console) *cobra.Command {
	return storeCommand("ls", "List what is allowed: since when, by whom, why, until when", func(cmd *cobra.Command, f *storeFlags, args []string) error {
		if err := exactArgs(0)(cmd, args); err != nil {
			return err
		}
		store, err := f.open()
		if err != nil {
			return err
		}
		for _, a := range store.Allowed() {
			if _, err := fmt.Fprintf(con.stdout, "%s\t%s\t%s\t%s\t%s\n", annotate.Safe(a.Value), a.Added.UTC().Format(time.RFC3339),
				annotate.Safe(a.By), day(a.Expires), annotate.Safe(a.Note)); err != nil {
				return err
			}
		}
		return nil
	})
}

// day is a time in a table: - when it is zero.
func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
