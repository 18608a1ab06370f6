package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func credentialDummyCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "dummy KEY", Short: "Print a dummy that has the shape of a credential's value",
		Long: `Print a dummy for a credential: it has the shape of a value, so that clients that
check that start, and is worth nothing. The credential's name chooses the shape
(GITHUB_TOKEN: ghp_...), and the dummy stays the same whatever the value is. Where a
service replaces placeholders, the dummy is one.`,
		Example: `  agent-vault credential dummy ANTHROPIC_API_KEY
  export GITHUB_TOKEN=$(agent-vault credential dummy GITHUB_TOKEN)`,
		Args:              oneKey,
		ValidArgsFunction: arguments(credentialKeys),
		RunE: func(c *cobra.Command, args []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.DummyInfo, error) {
				return client.Dummy(c.Context(), vaultOrDefault(vaultName), args[0])
			}, func(w io.Writer, d api.DummyInfo) { fmt.Fprintln(w, d.Dummy) })
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

// needed reports whether programs need a variable for something else than a
// credential.
func needed(name string) bool {
	return slices.Contains([]string{"PATH", "HOME", "PWD", "SHELL", "USER", "LOGNAME", "LANG", "TERM", "TZ", "TMPDIR", "IFS", "ENV"}, name) ||
		slices.ContainsFunc([]string{"LD_", "DYLD_", "LC_", "XDG_", "GIT_SSH", "AGENT_VAULT_"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
