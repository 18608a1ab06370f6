// Command agent-vault is the vault and the proxy in one binary: server,
// client, and what runs an agent behind it.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/isolate"
)

func main() {
	isolate.Stage() // where this is a process of vault run --isolate, nothing below is reached
	// net/http's Transport writes bytes of upstreams to the standard logger by
	// itself; none of it may reach a log (R17).
	log.SetOutput(io.Discard)
	if err := hideMemory(); err != nil { // every command handles what is secret, but for a few
		os.Exit(report(os.Stderr, err))
	}
	os.Exit(run(context.Background(), os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// stdio is where a command reads and writes.
type stdio struct {
	in       *os.File
	out, err io.Writer
}

func run(ctx context.Context, args []string, io stdio) int {
	root := newRoot(io)
	root.SetArgs(args)
	return report(io.err, root.ExecuteContext(ctx))
}

func newRoot(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "agent-vault",
		Short: "Let AI agents use credentials that they can never read",
		Long: `Agent Vault lets AI agents use credentials that they can never read.

The server keeps the credentials and reaches the world in the agents' place;
an agent holds a session token that is worth nothing anywhere else.

Commands that print data take -o table, json or yaml. Values of credentials and
passwords never stand on the command line: they are asked for without echo, or
read from standard input, the environment or a file. The exit status is 0 when
it was done, 1 when it was refused or failed, 2 when the command was not
understood; vault run passes its command's on.`,
		Example: `  agent-vault demo                                   see it work, with nothing installed
  agent-vault server                                 start the server
  agent-vault auth register --email you@example.com  make yourself its owner
  agent-vault apply -f vault.yaml                    declare vaults, services and credentials
  agent-vault vault run -- my-agent                  run an agent behind it`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		Version:       currentVersion().String(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// pflag repeats what strconv or time say of a value.
		text, _, _ := strings.Cut(err.Error(), ": strconv.")
		text, _, _ = strings.Cut(text, ": time: ")
		return misused(c, "%s", text)
	})
	root.PersistentFlags().String("address", "", "the server's address (default: AGENT_VAULT_ADDR, or http://127.0.0.1:14321)")
	root.SetHelpCommand(helpCommand())
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp) // where files fit, commands say so
	root.AddCommand(
		serverCommand(), authCommand(), applyCommand(), vaultCommand(), userCommand(),
		agentCommand(), sessionCommand(), caCommand(), skillCommand(), imageCommand(),
		credentialCommand(), serviceCommand(), catalogCommand(), proposalCommand(), approvalCommand(), eventsCommand(),
		logsCommand(), hostsCommand(), auditCommand(), policyCommand(),
		demoCommand(), demoAgentCommand(), completionCommand(), versionCommand(),
	)
	return root
}

// must panics on a mistake in a command's making, such as a flag that it lacks.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// shortPath names a command without the program, which stands before every
// error.
func shortPath(c *cobra.Command) string {
	_, path, _ := strings.Cut(c.CommandPath(), " ")
	return path
}

// noArgs refuses every argument. One of a group is a command that there is not.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !c.HasSubCommands() {
		return misused(c, "%s takes no argument %q", shortPath(c), args[0])
	}
	c.SuggestionsMinimumDistance = 2 // cobra's own default, which it sets elsewhere
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return &usageError{hint(fmt.Errorf("there is no command %q", args[0]), "did you mean: %s %s", c.CommandPath(), near[0])}
	}
	return misused(c, "there is no command %q", args[0])
}

// atMostOne takes one argument or none.
func atMostOne(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return misused(c, "%s takes no argument %q", shortPath(c), args[1])
	}
	return nil
}

// exactly wants one argument for each name, as in exactly("VAULT", "KEY"). The
// hint is the command's first example.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		example, _, _ := strings.Cut(c.Example, "\n")
		example = strings.TrimSpace(example)
		switch {
		case len(args) < len(names):
			return &usageError{hint(fmt.Errorf("%s: %s is missing", shortPath(c), names[len(args)]), "as in: %s", example)}
		case len(args) > len(names):
			return &usageError{hint(fmt.Errorf("%s takes no argument %q", shortPath(c), args[len(names)]), "as in: %s", example)}
		}
		return nil
	}
}

// group is a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	g.AddCommand(commands...)
	for _, c := range commands {
		first, _, _ := strings.Cut(c.Example, "\n")
		g.Example = strings.TrimPrefix(g.Example+"\n"+first, "\n")
	}
	return g
}
