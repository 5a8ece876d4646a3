package main

import (
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newIntelCommand(con console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "intel feed|update",
		Short: "Intelligence of this host's own",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return usagef("intel: say feed or update") },
	}
	cmd.AddCommand(newIntelFeedCommand(con), newIntelUpdateCommand(con))
	return cmd
}

// storeFlags say where the host's own store is.
type storeFlags struct {
	state, store string
}

func (f *storeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.state, "state", "", "`DIR` of the state, as the filter has it")
	flags.StringVar(&f.store, "store", "", "the local store, a `FILE` (default intel.store in the state)")
	addConfig(flags)
}

// path returns where the store is.
func (f *storeFlags) path() (string, error) {
	if f.store != "" && f.store != "none" {
		return f.store, nil
	}
	dir := stateDir(f.state)
	if dir == "" || f.store == "none" {
		return "", usagef("there is no local store: give --store a file, or --state a folder")
	}
	return filepath.Join(dir, "intel.store"), nil
}
