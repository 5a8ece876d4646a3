package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"iocpipe/filter/annotate"
	"iocpipe/filter/source"
)

func newVerifyCommand(con console) *cobra.Command {
	return &cobra.Command{
		Use:   "verify IN OUT",
		Short: "Prove that OUT is IN with nothing but annotations added",
		Long: `Verify strips the annotations from OUT and compares the rest with IN: lines, order, bytes. Where IN had threat, related
or iocpipe already, all of it must still be there. Records of --late follow are counted apart. Either file may be
compressed; - is standard input.

Exit codes: 0 it is; 1 it is not, or a file cannot be read; 2 wrong flags.`,
		Args: exactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == source.Stdin && args[1] == source.Stdin {
				return usagef("verify: IN and OUT cannot both be standard input")
			}
			in, err := openLines(args[0], con)
			if err != nil {
				return err
			}
			out, err := openLines(args[1], con)
			if err != nil {
				return err
			}
			c, err := annotate.Compare(in, out)
			if err != nil {
				return err
			}
			for _, problem := range c.Problems {
				fmt.Fprintln(con.stderr, "iocpipe:", problem)
			}
			fmt.Fprintf(con.stdout, "%s lines, %s missing, %s reordered, %s changed, %s added", thousands(c.Lines),
				thousands(c.Missing), thousands(c.Reordered), thousands(c.Changed), thousands(c.Added))
			if c.FollowUps > 0 {
				fmt.Fprintf(con.stdout, "; %s follow-up records", thousands(c.FollowUps))
			}
			fmt.Fprintln(con.stdout)
			if !c.OK() {
				return exitError{exitFailed, ""}
			}
			return nil
		},
	}
}

func openLines(path string, con console) (io.Reader, error) {
	if path != source.Stdin {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
	}
	files := source.Open([]string{path}, con.stdin)
	if _, err := files.Next(); err != nil {
		return nil, err
	}
	return files, nil
}
