// Command iocpipe puts threat intelligence on log lines: lines go in, the same lines come out, annotated. The package
// holds a file per command: flags, wiring and exit codes, nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes, the same for every command.
const (
	exitOK        = 0
	exitFailed    = 1 // something failed; stderr says what
	exitUsage     = 2 // wrong flags or configuration
	exitMalicious = 3 // --fail-on malicious, and there was
)

const exitCodes = `Exit codes: 0 done; 1 something failed, stderr says what; 2 wrong flags or configuration`

// helpWidth is how wide the help is, in columns.
const helpWidth = 118

// An exitError ends the program with a code. A message is printed before, unless it is empty.
type exitError struct {
	code    int
	message string
}

func (e exitError) Error() string { return e.message }

// usagef is an error of the user's: a wrong flag, value or setting. It ends the program with exitUsage.
func usagef(format string, args ...any) error {
	return exitError{exitUsage, fmt.Sprintf(format, args...)}
}

// A console is where a command reads and writes.
type console struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() {
	signal.Ignore(syscall.SIGPIPE) // a closed stdout is an error to handle, not an end
	os.Exit(run(os.Args[1:], console{os.Stdin, os.Stdout, os.Stderr}))
}

// run runs the command line args and returns its exit code. It is the one place where errors become exit codes.
func run(args []string, con console) int {
	told := &results{w: con.stdout}
	root := newRootCommand(con, told)
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		err = told.err
	}
	if err == nil || errors.Is(err, syscall.EPIPE) { // that nobody reads on is no failure
		return exitOK
	}
	exit := exitError{exitFailed, err.Error()}
	errors.As(err, &exit)
	if exit.message != "" {
		fmt.Fprintf(con.stderr, "iocpipe: %s\n", oneLine(exit.message))
	}
	return exit.code
}

// results is standard output for commands that print for people. It remembers what went wrong, so that not every line
// printed needs a look; that nobody reads any more is nothing wrong.
type results struct {
	w   io.Writer
	err error
}

// Write writes p, or returns the first error again.
func (r *results) Write(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	if n, err = r.w.Write(p); err != nil && !errors.Is(err, syscall.EPIPE) {
		r.err = fmt.Errorf("output: %w", err)
	}
	return n, err
}

func newRootCommand(con console, told *results) *cobra.Command {
	tell := con
	tell.stdout = told
	root := newFilterCommand(con)
	named := newFilterCommand(con)
	root.Use, named.Use = "iocpipe [FILE…]", "filter [FILE…]"
	named.Short = "Annotate lines: what iocpipe does without a command"
	root.AddCommand(named, newExtractCommand(con), newLookupCommand(tell), newVoteCommand(tell), newExplainCommand(tell),
		newVerifyCommand(tell), newPlanCommand(tell), newCacheCommand(tell),
		newAskingCommand(tell), newIntelCommand(tell), newAllowCommand(tell), newReplayCommand(tell), newEnrichIndexCommand(tell), newConfigCommand(tell), newCompletionCommand(tell),
		newVersionCommand(tell))
	cobra.AddTemplateFunc("wrapped", flagUsages)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".LocalFlags.FlagUsages | trimTrailingWhitespaces", "wrapped .LocalFlags"))
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = versionLine()
	root.Flags().Bool("version", false, "print the version")
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(newHelpCommand())
	root.SetIn(con.stdin)
	root.SetOut(told)
	root.SetErr(con.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%v; %s --help lists the flags", err, cmd.CommandPath())
	})
	return root
}

// contextOf returns the command's context.
func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// flagUsages is the help about flags.
func flagUsages(flags *pflag.FlagSet) string {
	shown := pflag.NewFlagSet("", pflag.ContinueOnError)
	shown.SortFlags = flags.SortFlags
	flags.VisitAll(func(f *pflag.Flag) {
		show := *f
		if f.Value.Type() == "bool" {
			show.Value = aSwitch{f.Value}
		}
		shown.AddFlag(&show)
	})
	return strings.TrimRight(shown.FlagUsagesWrapped(helpWidth), " \n")
}

// aSwitch hides that a flag can be told false, so that help does not write [=true|false] behind each switch.
type aSwitch struct{ pflag.Value }

// newHelpCommand is cobra's, which takes what is no command for the program itself.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("there is no command %q; iocpipe --help lists them", strings.Join(args, " "))
			}
			return about.Help()
		},
	}
}

// exactArgs is cobra.ExactArgs as a usage error.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s takes %d arguments, not %d: %s", cmd.CommandPath(), n, len(args), cmd.UseLine())
		}
		return nil
	}
}

// someArgs refuses an empty list of arguments.
func someArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("%s: nothing is named; usage: %s", cmd.CommandPath(), cmd.UseLine())
	}
	return nil
}
