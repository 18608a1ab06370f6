package main

import (
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

// oneGrant is the service that an agent is granted, or was.
type oneGrant struct{ agent, service, vault string }

func (g *oneGrant) add(c *cobra.Command) {
	c.Flags().StringVar(&g.agent, "agent", "", "the `agent`")
	c.Flags().StringVar(&g.service, "service", "", "the `service` of the vault")
	must(c.MarkFlagRequired("agent"))
	must(c.MarkFlagRequired("service"))
	completeFlag(c, "agent", flagOf(agentNames))
	completeFlag(c, "service", flagOf(serviceNames))
	addVault(c, &g.vault)
}

func (g *oneGrant) listing() string {
	return "agent list, or: agent-vault service list --vault " + vaultOrDefault(g.vault)
}

func vaultGrantCommand() *cobra.Command {
	var g oneGrant
	var uses int64
	var o output
	c := &cobra.Command{
		Use: "grant", Short: "Let an agent use one service for a while",
		Long: `Let an agent use one service of a vault for a while, and with --uses for so many
requests. What else it may use stays as it is. When the time is over, what it has
open there is cut. A grant of the same service that has not ended is replaced.

An agent without access to the vault gets it for as long as the grant lasts.
agent-vault agent list shows what agents may use.`,
		Example: `  agent-vault vault grant --agent build-bot --service github --for 1h
  agent-vault vault grant --agent build-bot --service stripe --for 15m --uses 1 --vault team-a`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			lasts, err := seconds(c, "for", time.Second, vault.MaxLasts)
			if err != nil {
				return err
			}
			if c.Flags().Changed("uses") && (uses < 1 || uses > vault.MaxGrantUses) {
				return misused(c, "--uses is from 1 to %d, not %d", vault.MaxGrantUses, uses)
			}
			return changeGrant(c, &o, g.listing(), func(client *api.Client) (api.AgentInfo, error) {
				return client.GrantService(c.Context(), g.agent, vaultOrDefault(g.vault), g.service, api.GrantServiceRequest{LastsSeconds: *lasts, Uses: uses})
			})
		},
	}
	g.add(c)
	c.Flags().Duration("for", 0, "how long, from now: 1s to 8784h")
	must(c.MarkFlagRequired("for"))
	completeFlag(c, "for", fixed("15m", "1h", "24h"))
	c.Flags().Int64Var(&uses, "uses", 0, "for how many requests (default: as many as it likes)")
	o.add(c)
	return c
}

func vaultUngrantCommand() *cobra.Command {
	var g oneGrant
	var o output
	c := &cobra.Command{
		Use: "ungrant", Short: "End what an agent may use for a while",
		Long:    "End what vault grant gave an agent, and cut what it has open there.",
		Example: "  agent-vault vault ungrant --agent build-bot --service github",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return changeGrant(c, &o, g.listing(), func(client *api.Client) (api.AgentInfo, error) {
				return client.RevokeService(c.Context(), g.agent, vaultOrDefault(g.vault), g.service)
			})
		},
	}
	g.add(c)
	o.add(c)
	return c
}
