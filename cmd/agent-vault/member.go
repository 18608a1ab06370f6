package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

func memberCommand() *cobra.Command {
	return group("member", "Say who may use and change a vault",
		memberListCommand(), memberSetCommand(), memberRemoveCommand())
}

func memberListCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List who has a role in a vault", Args: noArgs,
		Long:    "List who has a role in a vault. Owners of the instance are admins of every vault,\nand are not listed for it.",
		Example: "  agent-vault vault member list --vault team-a\n  agent-vault vault member list -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.MemberList, error) {
				return client.Members(c.Context(), vaultOrDefault(vaultName))
			}, func(w io.Writer, l api.MemberList) {
				list(w, []string{"EMAIL", "ROLE"}, l.Members, func(m api.MemberInfo) []string { return []string{m.Email, m.Role} })
			})
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func memberSetCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "set EMAIL ROLE", Short: "Give a user a role in a vault",
		Long: `Give a user a role in a vault, in the place of the one that they have: an admin
may do all, a member all but say who may, and proxy may only run agents and ask.`,
		Example: "  agent-vault vault member set ann@example.com member --vault team-a",
		Args:    exactly("EMAIL", "ROLE"), ValidArgsFunction: then(userEmails, vaultRoles...),
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf(c, "ROLE", args[1], vaultRoles); err != nil {
				return err
			}
			name := vaultOrDefault(vaultName)
			err := printAnswer(c, &o, func(client *api.Client) (api.MemberInfo, error) {
				return client.SetMember(c.Context(), name, args[0], args[1])
			}, func(w io.Writer, m api.MemberInfo) {
				fmt.Fprintf(w, "%s is now %s of the vault %s\n", plain(m.Email), plain(m.Role), plain(name))
			})
			if isCode(err, vault.CodeNotFound) {
				return hint(err, "ask an owner to invite them: agent-vault user invite %s --vault %s=%s", args[0], name, args[1])
			}
			return err
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func memberRemoveCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "remove EMAIL", Short: "Take a user's role in a vault away",
		Long:    "Take a user's role in a vault away. Sessions that they minted there end.",
		Example: "  agent-vault vault member remove ann@example.com --vault team-a",
		Args:    exactly("EMAIL"), ValidArgsFunction: arguments(memberEmails),
		RunE: func(c *cobra.Command, args []string) error {
			name := vaultOrDefault(vaultName)
			return unlessListed(done(c, &o, args[0], func(client *api.Client) error {
				return client.RemoveMember(c.Context(), name, args[0])
			}, "%s has no role in the vault %s any more", args[0], name), "vault member list --vault "+name)
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}
