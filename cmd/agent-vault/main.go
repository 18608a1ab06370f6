// Command agent-vault is the vault and the proxy in one binary: server,
// client, and what runs an agent behind it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses besides a child's own.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// net/http's Transport writes bytes of upstreams to the standard logger by
	// itself; none of it may reach a log (R17).
	log.SetOutput(io.Discard)
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
	err := root.ExecuteContext(ctx)
	var status *exitStatus
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return status.code
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(io.err, "agent-vault: %s\n", strings.ReplaceAll(err.Error(), "\n", "; ")) // of joined errors
	var failed *statusError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &failed):
		return failed.code
	}
	return exitFailed
}

// A statusError is an error with an exit status of its own.
type statusError struct {
	error
	code int
}

func (e *statusError) Unwrap() error { return e.error }

// An exitStatus ends the process without a word: a child has said its own.
type exitStatus struct{ code int }

func (e *exitStatus) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// A usageError is a command that was not understood.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func newRoot(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "agent-vault",
		Short: "Let AI agents use credentials that they can never read",
		Long: `Agent Vault lets AI agents use credentials that they can never read.

The server keeps the credentials and reaches the world in the agents' place;
an agent holds a session token that is worth nothing anywhere else.`,
		Example: `  agent-vault demo                                   see it work, with nothing installed
  agent-vault server                                 start the server
  agent-vault auth register --email you@example.com  make yourself its owner
  agent-vault apply -f vault.yaml                    declare vaults, services and credentials
  agent-vault vault run -- my-agent                  run an agent behind it`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// pflag repeats what strconv or time say of a value.
		text, _, _ := strings.Cut(err.Error(), ": strconv.")
		text, _, _ = strings.Cut(text, ": time: ")
		return &usageError{fmt.Errorf("%s; see: %s --help", text, c.CommandPath())}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().String("address", "", "the server's address (default: AGENT_VAULT_ADDR, or http://127.0.0.1:14321)")
	root.AddCommand(
		serverCommand(io), authCommand(io), applyCommand(io), vaultCommand(io), caCommand(io),
		demoCommand(io), demoAgentCommand(io), versionCommand(io),
	)
	return root
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c.HasSubCommands() {
		return &usageError{fmt.Errorf("there is no command %q; see: %s --help", args[0], c.CommandPath())}
	}
	return &usageError{fmt.Errorf("%s takes no argument %q; see: %s --help", c.CommandPath(), args[0], c.CommandPath())}
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
