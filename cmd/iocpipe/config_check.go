package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel/local"
)

func newConfigCommand(con console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config check",
		Short: "Check the settings of flags, environment and file without running",
		Args:  noSuchCommand,
		RunE:  func(*cobra.Command, []string) error { return usagef("config: say check") },
	}
	cmd.AddCommand(newConfigCheckCommand(con))
	return cmd
}

func newConfigCheckCommand(con console) *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether the filter could run as it is set up, and whom it would ask",
		Long: `Check takes the flags of the filter, reads what they name, and says what is wrong. It asks nobody and writes nothing.

Exit codes: 0 all is well; 1 a list cannot be read; 2 wrong flags or configuration.`,
		Example: `  iocpipe config check --config /etc/iocpipe/iocpipe.yaml`,
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if f.sources.configured, err = settle(cmd); err != nil {
				return err
			}
			return f.check(con)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// check does what the filter does before lines flow, but for what others would notice.
func (f *filterFlags) check(con console) error {
	if err := f.validate(); err != nil {
		return err
	}
	networks, paths, err := f.sources.split()
	if err != nil {
		return err
	}
	if _, err := f.scan.scanner(); err != nil {
		return err
	}
	know, err := f.sources.knowledge(networks, nil, nil, nil)
	if err != nil {
		return err
	}
	s := newStream(con, f.in)
	mine := f.sources.own(paths, &f.scan, know, s)
	if err := mine.load(); err != nil {
		return err
	}
	if sources := local.Join(mine.host, mine.lists).Sources(); len(sources) > 0 {
		entries := 0
		for _, source := range sources {
			entries += source.Entries
		}
		fmt.Fprintf(con.stdout, "local intelligence: %s entries\n", thousands(entries))
	}
	for _, n := range networks {
		fmt.Fprintf(con.stdout, "asks %s about %s: %.3g a minute, %d at once\n", annotate.Safe(n.Name), typeNames(n.Types), 60*float64(n.Rate), n.Burst)
	}
	return s.end(nil)
}

func typeNames(set extract.TypeSet) string {
	var names []string
	for t := extract.IP; t <= extract.Antivirus; t++ {
		if set.Has(t) {
			names = append(names, t.String())
		}
	}
	return strings.Join(names, ", ")
}
