package main

import (
	"cmp"
	"io"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func sessionCommand() *cobra.Command {
	return group("session", "List, mint and revoke sessions, each of which lets an agent use one vault for a time",
		sessionListCommand(), sessionMintCommand(), sessionRevokeCommand())
}

func sessionListCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List a vault's sessions that have not ended", Args: noArgs,
		Long: `List a vault's sessions that have not ended, newest first. Whoever is no member
of the vault sees those that they minted themselves.

A leased session is of a vault run, and ends with it.`,
		Example: "  agent-vault session list\n  agent-vault session list --vault team-a -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.SessionList, error) {
				return client.Sessions(c.Context(), vaultOrDefault(vaultName))
			}, func(w io.Writer, l api.SessionList) {
				list(w, []string{"ID", "LABEL", "MINTED BY", "LEASED", "CREATED", "ENDS"}, l.Sessions, func(s api.SessionInfo) []string {
					return []string{s.ID, s.Label, cmp.Or(s.CreatedBy, "-"), shownYes(s.Leased), shownTime(s.CreatedAt), shownTime(s.ExpiresAt)}
				})
			})
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func sessionMintCommand() *cobra.Command {
	var f sessionFlags
	var o output
	c := &cobra.Command{
		Use: "mint", Short: "Make a session and print all that belongs to it", Args: noArgs,
		Long: `Make a session and print its token, which is shown only now, its id and the
addresses that an agent uses it at. vault token prints the token alone.`,
		Example: "  agent-vault session mint --ttl 1h --label nightly\n  agent-vault session mint --vault team-a -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := f.mint(c, f.label, false)
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), s, func(w io.Writer) {
				facts(w, "id", s.ID, "vault", f.vault, "token", s.Token, "ends", shownTime(s.ExpiresAt),
					"address", s.Addr, "path entrance", s.ProxyURL, "proxy entrance", s.MITMURL)
			})
		},
	}
	f.add(c)
	o.add(c)
	return c
}

func sessionRevokeCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "revoke ID", Short: "End a session, and cut what it has open", Args: exactly("ID"),
		Example:           "  agent-vault session revoke wq3f5s2kqv7c4hjzr6x7m2t4ya",
		ValidArgsFunction: arguments(sessionIDs),
		RunE: func(c *cobra.Command, args []string) error {
			return unlessListed(done(c, &o, args[0], func(client *api.Client) error {
				return client.RevokeSession(c.Context(), args[0])
			}, "ended the session %s", args[0]), "session list")
		},
	}
	o.add(c)
	return c
}
