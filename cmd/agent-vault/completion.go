package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// A shell is one for which completion can be written.
type shell struct {
	name    string
	write   func(root *cobra.Command, w io.Writer) error
	example string
}

var shells = []shell{
	{"bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		`  agent-vault completion bash > ~/.local/share/bash-completion/completions/agent-vault
  source <(agent-vault completion bash)`},
	{"zsh", func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
		`  agent-vault completion zsh > "${fpath[1]}/_agent-vault"
  source <(agent-vault completion zsh)`},
	{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
		`  agent-vault completion fish > ~/.config/fish/completions/agent-vault.fish
  agent-vault completion fish | source`},
	{"powershell", func(root *cobra.Command, w io.Writer) error { return root.GenPowerShellCompletionWithDesc(w) },
		`  agent-vault completion powershell | Out-String | Invoke-Expression`},
}

func completionCommand() *cobra.Command {
	var commands []*cobra.Command
	for _, s := range shells {
		more := ""
		if s.name == "bash" {
			more = "\n\nIt needs the package bash-completion (Debian, Fedora), or bash-completion@2\n(Homebrew)."
		}
		commands = append(commands, &cobra.Command{
			Use: s.name, Short: "Write the completion script for " + s.name, Example: s.example, Args: noArgs,
			Long: "Write the completion script for " + s.name + ` to standard output.

The first example is for every new shell, a further one for this shell only.` + more,
			RunE: func(c *cobra.Command, _ []string) error { return s.write(c.Root(), c.OutOrStdout()) },
		})
	}
	return group("completion", "Complete commands and flags in your shell", commands...)
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND...]", Short: "Show what a command does, and how", Example: "  agent-vault help vault run",
		ValidArgsFunction: func(c *cobra.Command, args []string, begun string) (names []string, _ cobra.ShellCompDirective) {
			if at, rest, err := c.Root().Find(args); err == nil && len(rest) == 0 {
				for _, below := range at.Commands() {
					if below.IsAvailableCommand() && strings.HasPrefix(below.Name(), begun) {
						names = append(names, cobra.CompletionWithDesc(below.Name(), below.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			of, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return noArgs(of, rest)
			}
			of.InitDefaultHelpFlag()
			of.InitDefaultVersionFlag()
			return of.Help()
		},
	}
}
