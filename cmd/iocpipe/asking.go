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

// folderCommand is a command about the state's folder that does not need the file in it, which may be damaged.
func folderCommand(use, short string, run func(dir string) error) *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := settle(cmd); err != nil {
				return err
			}
			dir := stateDir(state)
			if dir == "" {
				return errNoState
			}
			return run(dir)
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "`DIR` of the state, as the filter has it")
	addConfig(cmd.Flags())
	return cmd
}

func newPauseCommand(con console) *cobra.Command {
	var note string
	cmd := folderCommand("pause", "Ask nothing from now on, in all processes that share the state", func(dir string) error {
		if u, err := user.Current(); note == "" && err == nil {
			note = u.Username
		}
		if err := host.PauseAsking(dir, note); err != nil {
			return err
		}
		_, err := fmt.Fprintln(con.stdout, "asking is paused; lines flow on with what is known")
		return err
	})
	cmd.Flags().StringVar(&note, "note", "", "why (default: who)")
	return cmd
}

func newResumeCommand(con console) *cobra.Command {
	return folderCommand("resume", "Ask again", func(dir string) error {
		if err := host.ResumeAsking(dir); err != nil {
			return err
		}
		_, err := fmt.Fprintln(con.stdout, "asking goes on")
		return err
	})
}

// pauseNote says that asking is paused in dir, since when and why. It is empty while asking goes on, and without dir.
func pauseNote(dir string) string {
	if dir == "" {
		return ""
	}
	pause, err := host.AskingPaused(dir)
	switch {
	case err != nil:
		return "asking is paused: " + annotate.Safe(err.Error())
	case pause == nil:
		return ""
	}
	return fmt.Sprintf("asking is paused since %s (%s)", pause.Since.UTC().Format(time.RFC3339), annotate.Safe(pause.Note))
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
				if _, err := fmt.Fprintf(con.stdout, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.At.UTC().Format("2006-01-02T15:04:05.000Z07:00"), a.Key.Type,
					annotate.Safe(a.Key.Value), annotate.Safe(a.Source), a.Owner, annotate.Safe(outcome), a.Took); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Flags().IntVar(&lines, "lines", 1000, "how many questions at most")
	return cmd
}
