package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"iocpipe/filter/source"
)

func newVerifyCommand(con console) *cobra.Command {
	return &cobra.Command{
		Use:   "verify IN OUT",
		Short: "Prove that OUT is IN with nothing but annotations added",
		Long: `Verify strips the annotations from OUT and compares the rest with IN: lines, order, bytes. Where IN had threat, related
or iocpipe already, all of it must still be there. Either file may be compressed; - is standard input.`,
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
			v := verifier{in: in, out: out}
			if err := v.run(); err != nil {
				return err
			}
			for _, m := range v.problems {
				fmt.Fprintln(con.stderr, "iocpipe:", m)
			}
			fmt.Fprintf(con.stdout, "%s lines, %s missing, %s reordered, %s changed, %s added\n", thousands(v.lines),
				thousands(v.missing), thousands(v.reordered), thousands(v.changed), thousands(v.added))
			if v.missing+v.reordered+v.changed+v.added > 0 {
				return exitError{exitFailed, ""}
			}
			return nil
		},
	}
}

func openLines(path string, con console) (*lineReader, error) {
	if path != source.Stdin {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
	}
	files := source.Open([]string{path}, con.stdin)
	if _, err := files.Next(); err != nil {
		return nil, err
	}
	return newLineReader(files), nil
}
