package main

import (
	"context"
	"fmt"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/cache/host"
	"iocpipe/filter/annotate"
)

func newAskingCommand(con console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "asking pause|resume|log",
		Short: "Stop all questions on this host at once, and see what was sent, when and to whom",
		Args:  noSuchCommand,
		RunE:  func(*cobra.Command, []string) error { return usagef("asking: say pause, resume or log") },
	}
	cmd.AddCommand(newPauseCommand(con), newResumeCommand(con), newAskingLogCommand(con))
	return cmd
}

// needStateDir returns the state's folder for a command that does not need the file in it.
func needStateDir(flag string) (string, error) {
	dir := stateDir(flag)
	if dir == "" {
		return "", usagef("there is no state: give --state the folder that the filter uses")
	}
	return dir, nil
}

func newPauseCommand(con console) *cobra.Command {
	var state, note string
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Ask nothing from now on, in all processes that share the state",
		Args:  exactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			dir, err := needStateDir(state)
			if err != nil {
				return err
			}
			if u, err := user.Current(); note == "" && err == nil {
				note = u.Username
			}
			if err := host.PauseAsking(dir, note); err != nil {
				return err
			}
			_, err = fmt.Fprintln(con.stdout, "asking is paused; lines flow on with what is known")
			return err
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "`DIR` of the state, as the filter has it")
	cmd.Flags().StringVar(&note, "note", "", "why (default: who)")
	return cmd
}

func newResumeCommand(con console) *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Ask again",
		Args:  exactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			dir, err := needStateDir(state)
			if err != nil {
				return err
			}
			if err := host.ResumeAsking(dir); err != nil {
				return err
			}
			_, err = fmt.Fprintln(con.stdout, "asking goes on")
			return err
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "`DIR` of the state, as the filter has it")
	return cmd
}

func newAskingLogCommand(con console) *cobra.Command {
	var lines int
	cmd := stateCommand("log", "Print what was asked, the latest first: when, what, whom, which process, what came of it",
		cobra.NoArgs, func(ctx context.Context, s *host.State, _ []string) error {
			log, err := s.Log(ctx, lines)
			if err != nil {
				return err
			}
			for _, a := range log {
				outcome := a.Outcome
				if outcome == "" {
					outcome = "no outcome yet"
				}
				if _, err := fmt.Fprintf(con.stdout, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.At.UTC().Format(time.RFC3339Nano), a.Key.Type,
					annotate.Safe(a.Key.Value), annotate.Safe(a.Source), a.Owner, annotate.Safe(outcome), a.Took); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Flags().IntVar(&lines, "lines", 1000, "how many questions at most")
	return cmd
}
