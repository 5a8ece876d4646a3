package main

import "github.com/spf13/cobra"

func newIntelCommand(con console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "intel add|rm|import|feed|update|ls|export",
		Short: "Keep intelligence of one's own: values, lists and feeds in the host's local store",
		Args:  noSuchCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("intel: say add, rm, import, feed, update, ls or export")
		},
	}
	cmd.AddCommand(newIntelAddCommand(con), newIntelRemoveCommand(con), newIntelImportCommand(con), newIntelFeedCommand(con),
		newIntelUpdateCommand(con), newIntelListCommand(con), newIntelExportCommand(con))
	return cmd
}
