package main

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/intel/local/export"
)

// exportFlags are the flags of intel export.
type exportFlags struct {
	format, out, verdicts, types, sources string
}

func newIntelExportCommand(con console) *cobra.Command {
	var f exportFlags
	cmd := storeCommand("export", "Write the local store in a form that others read", func(cmd *cobra.Command, s *storeFlags, args []string) error {
		if err := exactArgs(0)(cmd, args); err != nil {
			return err
		}
		return f.run(con, s)
	})
	cmd.Example = `  iocpipe intel export --format wazuh-cdb --out /var/ossec/etc/lists/ioc
  iocpipe intel export --format stix --verdict malicious > bundle.json`
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "plain", "one of "+strings.Join(export.Names(), ", "))
	flags.StringVar(&f.out, "out", "-", "`FILE` (or folder, for formats of several files), written beside and renamed; - is standard output")
	flags.StringVar(&f.verdicts, "verdict", "malicious", "verdicts to export, as malicious,undecided")
	flags.StringVar(&f.types, "types", "all", "types to export: ip, domain, email, hash, …")
	flags.StringVar(&f.sources, "source", "", "names of sources to export (default: all)")
	return cmd
}
