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
	cmd := storeCommand("add VALUE…", "Allow values; running processes know within 5 s", func(path, _ string, values []string) error {
		var end time.Time
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
	cmd := storeCommand("ls", "List what is allowed: since when, by whom, until when, why", func(path, _ string, _ []string) error {
		store, err := openStore(path)
		if err != nil {
			return err
		}
		for _, e := range store.Edits() {
			if e.Kind == local.Allowed {
				fmt.Fprintln(con.stdout, editLine(e))
			}
		}
		return nil
	})
	cmd.Args = exactArgs(0)
	return cmd
}

// editLine is an edit as a line of a table: the value, when, by whom, until when, why.
func editLine(e local.Edit) string {
	end := "-"
	if !e.Until.IsZero() {
		end = e.Until.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", annotate.Safe(e.Value), e.At.UTC().Format(time.RFC3339), annotate.Safe(e.By), end, annotate.Safe(e.Note))
}
