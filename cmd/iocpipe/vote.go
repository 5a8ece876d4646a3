package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
)

// A voter is a source that takes votes.
type voter interface {
	Local() bool
	Vote(ctx context.Context, key extract.Key, malicious bool) error
}

func newVoteCommand(con console) *cobra.Command {
	var sources sourceFlags
	cmd := &cobra.Command{
		Use:   "vote malicious|benign VALUE",
		Short: "Submit a vote to a ThreatCrowd v2 source",
		Long: `Vote tells a ThreatCrowd v2 source what you think of an address, a name, an e-mail address or a hash. What is
private, reserved or internal is not sent to public hosts, and while asking is paused nothing is.

` + exitCodes + ".",
		Example: `  iocpipe vote malicious 'evil[.]example' --intel https://crowd.example/searchApi/v2`,
		Args:    exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if sources.configured, err = settle(cmd); err != nil {
				return err
			}
			if !slices.Contains([]string{"malicious", "benign"}, args[0]) {
				return usagef("vote %q: say malicious or benign", args[0])
			}
			key, err := parseValue(args[1], "")
			if err != nil {
				return err
			}
			networks, _, err := sources.split()
			if err != nil {
				return err
			}
			if len(networks) != 1 {
				return usagef("vote: give one --intel, the URL of the v2 API that takes the vote")
			}
			source, ok := networks[0].Provider.(voter)
			if !ok {
				return usagef("vote: %s takes no votes; give --intel the URL of a v2 API", networks[0].Name)
			}
			skip := new(extract.Policy).Skip(key)
			if !source.Local() && skip != extract.Worth && skip != extract.Resolver {
				return usagef("vote: %s is not sent to a public host: %s", annotate.Safe(key.Value), skip)
			}
			if note := pauseNote(stateDir(sources.state)); note != "" {
				return fmt.Errorf("vote: %s; iocpipe asking resume ends it", note)
			}
			ctx := cmd.Context()
			if err := source.Vote(ctx, key, args[0] == "malicious"); err != nil {
				return fmt.Errorf("vote: %w", err)
			}
			_, err = fmt.Fprintf(con.stdout, "%s: voted %s at %s\n", annotate.Safe(key.Value), args[0], networks[0].Name)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&sources.intel, "intel", nil, "`URL` of the ThreatCrowd v2 API that takes the vote (https://host[/path])")
	flags.BoolVar(&sources.insecureHTTP, "insecure-http", false, "allow plain http:// to public hosts")
	flags.StringVar(&sources.state, "state", "", "`DIR` of the state, as the filter has it: asking that is paused in it is obeyed")
	addConfig(flags)
	return cmd
}
