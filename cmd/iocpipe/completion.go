package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// shells are those for which there is a completion script.
var shells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletionCommand(con console) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the script that completes commands and flags in a shell",
		Long:  "Completion prints a script for SHELL, which is " + strings.Join(shells, ", ") + ".",
		Example: `  source <(iocpipe completion bash)
  iocpipe completion zsh > "${fpath[1]}/_iocpipe"
  iocpipe completion fish > ~/.config/fish/completions/iocpipe.fish`,
		ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return usagef("completion: name one shell: %s", strings.Join(shells, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(con.stdout, true)
			case "zsh":
				return root.GenZshCompletion(con.stdout)
			case "fish":
				return root.GenFishCompletion(con.stdout, true)
			}
			return root.GenPowerShellCompletionWithDesc(con.stdout)
		},
	}
}
