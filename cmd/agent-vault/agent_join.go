package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/api/shown"
)

func agentJoinCommand() *cobra.Command {
	var asEnv, withProxy bool
	var o output
	c := &cobra.Command{
		Use:   "join LINK",
		Short: "Become an agent, by an invite, and print its token",
		Long: `Redeem an invite and print what the agent gets for it: its token, which is shown
only now, and how to use it. No login is needed.

LINK is what agent invite printed, or the token at its end; then the server is
the one that --address or AGENT_VAULT_ADDR names. An invite works once.

With --env it prints lines for a shell to evaluate, which set AGENT_VAULT_ADDR,
AGENT_VAULT_SESSION_TOKEN, AGENT_VAULT_VAULT, the first of the vaults, and
AGENT_VAULT_PROXY, from which agent-vault vault run knows the rest; with --proxy
also HTTPS_PROXY and HTTP_PROXY, which are comments otherwise. A program
behind the proxy must trust agent-vault ca export; agent-vault vault run sees to
both by itself.`,
		Example: `  agent-vault agent join https://vault.example.com/invite/av_inv_…
  eval "$(agent-vault agent join --env https://vault.example.com/invite/av_inv_…)"
  agent-vault agent join -o json av_inv_…`,
		Args: exactly("LINK"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			if asEnv && c.Flags().Changed("output") {
				return misused(c, "--env and -o do not go together")
			}
			if withProxy && !asEnv {
				return misused(c, "--proxy goes with --env")
			}
			client, token, err := agentsInvite.opened(c, args[0])
			if err != nil {
				return err
			}
			r, err := client.RedeemAgent(c.Context(), token)
			if err != nil {
				return err
			}
			if asEnv {
				return printExports(c.OutOrStdout(), r, withProxy)
			}
			return o.print(c.OutOrStdout(), r, func(w io.Writer) {
				facts(w, "agent", r.AgentName, "token", r.Token, "vaults", shownGrants(r.Vaults),
					"address", r.Addr, "path entrance", r.ProxyURL)
				fmt.Fprintln(w)
				for line := range strings.Lines(r.Instructions) {
					fmt.Fprintln(w, plain(strings.TrimSuffix(line, "\n")))
				}
			})
		},
	}
	c.Flags().BoolVar(&asEnv, "env", false, "print lines for a shell to evaluate")
	c.Flags().BoolVar(&withProxy, "proxy", false, "with --env: set HTTPS_PROXY and HTTP_PROXY too")
	o.add(c)
	return c
}

// printExports writes what a shell evaluates. A server whose words are no such
// values is not believed.
func printExports(w io.Writer, r api.RedeemResponse, withProxy bool) error {
	name := ""
	if len(r.Vaults) > 0 {
		name = r.Vaults[0].VaultName
	}
	of := childOf{session: api.SessionResponse{Token: r.Token, MITMURL: r.MITMURL}, vault: name}
	proxy, err := of.proxyURL()
	if err != nil {
		return err
	}
	if strings.ContainsFunc(r.Addr+r.Token+r.MITMURL+name+proxy, shown.Deceptive) {
		return errors.New("the server's answer holds control characters; is it an Agent Vault?")
	}
	_, err = fmt.Fprintf(w, "export %s=%s\nexport AGENT_VAULT_SESSION_TOKEN=%s\nexport %s=%s\nexport %s=%s\n",
		addressVariable, quotedForShell(r.Addr), quotedForShell(r.Token), vaultVariable, quotedForShell(name), proxyVariable, quotedForShell(r.MITMURL))
	comment := "# "
	if withProxy {
		comment = ""
	}
	for _, variable := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		if err == nil {
			_, err = fmt.Fprintf(w, "%sexport %s=%s\n", comment, variable, quotedForShell(proxy))
		}
	}
	return err
}

// quotedForShell quotes a word as POSIX shells read it (POSIX.1-2024, XCU
// §2.2.2): nothing between single quotes means anything.
func quotedForShell(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
