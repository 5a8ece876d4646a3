package main

import (
	"github.com/spf13/cobra"

	"iocpipe/filter"
	"iocpipe/filter/source"
)

func newExtractCommand(con console) *cobra.Command {
	var scan scanFlags
	var in inputFlags
	var all, unique, private bool
	cmd := &cobra.Command{
		Use:   "extract [FILE…]",
		Short: "Print the indicators of each line as JSON",
		Long: `Extract prints one JSON line for each input line that has indicators worth asking about: their type, normalised
value, what stands there, and where, in bytes from 0.`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if _, err := settle(cmd); err != nil {
				return err
			}
			if err := in.validate(); err != nil {
				return err
			}
			scanner, err := scan.scanner()
			if err != nil {
				return err
			}
			policy, err := scan.policy()
			if err != nil {
				return err
			}
			var counts *filter.Counts
			if unique {
				counts = new(filter.Counts)
			}
			newWorker := func() filter.Worker {
				return &filter.Extraction{Scanner: scanner, Policy: policy, All: all, Private: private, File: len(files) > 1, Count: counts}
			}
			run := newStream(con, in)
			ctx, restore := run.signals(cmd.Context())
			defer restore()
			inputs := source.Open(files, con.stdin)
			inputs.Written = written(con.stdout)
			widenPipe(con.stdout)
			err = run.do(ctx, inputs, con.stdout, newWorker, newWorker(), 0)
			if unique && err == nil {
				_, err = counts.WriteTo(con.stdout)
			}
			return run.end(err)
		},
	}
	scan.add(cmd.Flags(), "all")
	in.add(cmd.Flags(), "is not looked into")
	cmd.Flags().BoolVar(&all, "all", false, "also print lines without indicators")
	cmd.Flags().BoolVar(&unique, "unique", false, "print each indicator once, with its count")
	cmd.Flags().BoolVar(&private, "private", false, "also print what is not worth asking about: private, reserved, resolvers, allowed")
	addConfig(cmd.Flags())
	return cmd
}
