package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

func agentCommand() *cobra.Command {
	return group("agent", "Make agents with tokens of their own, and say which vaults they may use",
		agentCreateCommand(), agentListCommand(), agentGrantCommand(), agentUngrantCommand(),
		agentRotateCommand(), agentRevokeCommand(), agentRenameCommand(), agentDeleteCommand(),
		agentInviteCommand(),
		invitesCommand("agent", "agents", func(c *cobra.Command, client *api.Client) (api.InviteList, error) {
			return client.AgentInvites(c.Context())
		}),
		revokeInviteCommand("agent", "an agent's", agentInviteIDs, func(c *cobra.Command, client *api.Client, id string) error {
			return client.RevokeAgentInvite(c.Context(), id)
		}),
		agentJoinCommand())
}

func agentCreateCommand() *cobra.Command {
	var f grantsFlags
	var o output
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an agent and print its token, which is shown only now",
		Long: `Make an agent and print its token, which is shown only now.

An agent's token lasts over sessions and may be good for several vaults; with
each request the agent names one of them in X-Vault.` + grantsHelp,
		Example: `  agent-vault agent create build-bot --vault default
  agent-vault agent create build-bot --vault team-a=member --vault team-b --ttl 720h
  TOKEN=$(agent-vault agent create build-bot --vault default --service github --service npm-registry)`,
		Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			vaults, err := f.read(c)
			if err != nil {
				return err
			}
			ttl, err := seconds(c, "ttl", vault.MinAgentTTL, vault.MaxAgentTTL)
			if err != nil {
				return err
			}
			a, err := byPerson(c, func(client *api.Client) (api.AgentResponse, error) {
				return client.CreateAgent(c.Context(), api.AgentRequest{Name: args[0], Vaults: vaults, SessionTTLSeconds: ttl})
			})
			if err != nil {
				return err
			}
			return o.printOnce(c, a, a.Token, fmt.Sprintf("This is the token of the agent %s, for %s. It is shown only now.", a.AgentName, shownGrants(vaults)))
		},
	}
	f.add(c)
	c.Flags().Duration("ttl", 0, "how long the token lasts: 5m to 8784h (default: until it is revoked)")
	o.add(c)
	return c
}

func agentListCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List the agents", Args: noArgs,
		Long:    "List the agents of the vaults of which you are a member. STATUS is that of its\ntoken: active, revoked or expired. ENDS is when the token does; - is when it is\nrevoked.",
		Example: "  agent-vault agent list\n  agent-vault agent list -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.AgentList, error) {
				return client.Agents(c.Context())
			}, func(w io.Writer, l api.AgentList) {
				list(w, []string{"NAME", "STATUS", "VAULTS", "CREATED", "ENDS"}, l.Agents, func(a api.AgentInfo) []string {
					ends := "-"
					if a.ExpiresAt != nil {
						ends = shownTime(*a.ExpiresAt)
					}
					return []string{a.Name, a.Status, shownGrants(a.Vaults), shownTime(a.CreatedAt), ends}
				})
			})
		},
	}
	o.add(c)
	return c
}

func agentRotateCommand() *cobra.Command {
	var o output
	var overlap time.Duration
	c := &cobra.Command{
		Use: "rotate NAME", Short: "Give an agent a new token, and print it",
		Long:    "Give an agent a new token, and print it: it is shown only now. The old one stops\nworking at once, and what it has open is cut; or with --overlap it works for so\nlong beside the new one, and no request fails.",
		Example: "  agent-vault agent rotate build-bot\n  TOKEN=$(agent-vault agent rotate build-bot --overlap 10m)",
		Args:    exactly("NAME"), ValidArgsFunction: arguments(agentNames),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := seconds(c, "overlap", 0, vault.MaxTokenOverlap); err != nil {
				return err
			}
			old := "the old one no longer works"
			if overlap > 0 {
				old = "the old one works for " + shortDuration(overlap) + " more"
			}
			a, err := byPerson(c, func(client *api.Client) (api.AgentResponse, error) {
				return client.RotateAgentOver(c.Context(), args[0], overlap)
			})
			if err != nil {
				return unlessListed(err, "agent list")
			}
			return o.printOnce(c, a, a.Token, fmt.Sprintf("This is the new token of the agent %s; %s. It is shown only now.", a.AgentName, old))
		},
	}
	c.Flags().DurationVar(&overlap, "overlap", 0, "for how long the old token works too: up to 24h")
	o.add(c)
	return c
}

func agentRevokeCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "revoke NAME", Short: "End an agent's token; the agent stays",
		Long:    "End an agent's token, and cut what it has open. The agent stays with its vaults:\nagent rotate gives it a new token.",
		Example: "  agent-vault agent revoke build-bot",
		Args:    exactly("NAME"), ValidArgsFunction: arguments(agentNames),
		RunE: func(c *cobra.Command, args []string) error {
			return unlessListed(done(c, &o, args[0], func(client *api.Client) error {
				return client.RevokeAgent(c.Context(), args[0])
			}, "ended the token of the agent %s", args[0]), "agent list")
		},
	}
	o.add(c)
	return c
}

func agentRenameCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "rename OLD NEW", Short: "Rename an agent", Example: "  agent-vault agent rename build-bot ci-bot",
		Args: exactly("OLD", "NEW"), ValidArgsFunction: arguments(agentNames),
		RunE: func(c *cobra.Command, args []string) error {
			return unlessListed(printAnswer(c, &o, func(client *api.Client) (api.AgentInfo, error) {
				return client.RenameAgent(c.Context(), args[0], args[1])
			}, func(w io.Writer, a api.AgentInfo) {
				fmt.Fprintf(w, "renamed the agent %s to %s\n", plain(args[0]), plain(a.Name))
			}), "agent list")
		},
	}
	o.add(c)
	return c
}

func agentDeleteCommand() *cobra.Command {
	var sure confirmation
	var o output
	c := &cobra.Command{
		Use: "delete NAME", Short: "Delete an agent",
		Long:    "Delete an agent with its token, and cut what it has open.",
		Example: "  agent-vault agent delete build-bot\n  agent-vault agent delete build-bot --yes",
		Args:    exactly("NAME"), ValidArgsFunction: arguments(agentNames),
		RunE: func(c *cobra.Command, args []string) error {
			if err := sure.ask(stdioOf(c), "Delete the agent %s, with its token?", args[0]); err != nil {
				return err
			}
			return unlessListed(done(c, &o, args[0], func(client *api.Client) error {
				return client.DeleteAgent(c.Context(), args[0])
			}, "deleted the agent %s", args[0]), "agent list")
		},
	}
	sure.add(c)
	o.add(c)
	return c
}

func agentInviteCommand() *cobra.Command {
	var f grantsFlags
	var o output
	c := &cobra.Command{
		Use:   "invite NAME",
		Short: "Print a link that makes one agent",
		Long: `Print a link that makes one agent, which gets its token with agent join, or by a
POST to the link. The link works once, for whoever has it.` + grantsHelp,
		Example: `  agent-vault agent invite build-bot --vault default
  agent-vault agent invite build-bot --vault default --service github --ttl 1h --token-ttl 720h
  agent-vault agent invite build-bot --vault team-a=member -o json`,
		Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			vaults, err := f.read(c)
			if err != nil {
				return err
			}
			r := api.AgentInviteRequest{Name: args[0], Vaults: vaults}
			if r.TTLSeconds, err = seconds(c, "ttl", vault.MinInviteTTL, vault.MaxInviteTTL); err != nil {
				return err
			}
			if r.SessionTTLSeconds, err = seconds(c, "token-ttl", vault.MinAgentTTL, vault.MaxAgentTTL); err != nil {
				return err
			}
			i, err := byPerson(c, func(client *api.Client) (api.AgentInviteResponse, error) {
				return client.InviteAgent(c.Context(), r)
			})
			if err != nil {
				return err
			}
			return o.printOnce(c, i, i.InviteLink, fmt.Sprintf(
				"This link makes the agent %s, for %s, once, until %s. It is shown only now. Redeem it with: agent-vault agent join LINK", i.AgentName, shownGrants(i.Vaults), shownTime(i.ExpiresAt)))
		},
	}
	f.add(c)
	c.Flags().Duration("ttl", vault.DefaultInviteTTL, "how long the link works: 1m to 168h")
	c.Flags().Duration("token-ttl", 0, "how long the agent's token lasts: 5m to 8784h (default: until it is revoked)")
	o.add(c)
	return c
}
