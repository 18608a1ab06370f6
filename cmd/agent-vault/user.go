package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

func userCommand() *cobra.Command {
	return group("user", "Invite people and say what they may do",
		userListCommand(), userInviteCommand(),
		invitesCommand("user", "users", func(c *cobra.Command, client *api.Client) (api.InviteList, error) {
			return client.UserInvites(c.Context())
		}),
		revokeInviteCommand("user", "a user's", userInviteIDs, func(c *cobra.Command, client *api.Client, id string) error {
			return client.RevokeUserInvite(c.Context(), id)
		}),
		userRoleCommand(), userRemoveCommand())
}

func userListCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List the users", Args: noArgs,
		Example: "  agent-vault user list\n  agent-vault user list -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.UserList, error) {
				return client.Users(c.Context())
			}, func(w io.Writer, l api.UserList) {
				list(w, []string{"EMAIL", "ROLE", "VAULTS", "CREATED"}, l.Users, func(u api.UserDetail) []string {
					return []string{u.Email, u.Role, shownRoles(u.Vaults), shownTime(u.CreatedAt)}
				})
			})
		},
	}
	o.add(c)
	return c
}

func shownRoles(vaults []api.VaultRole) string {
	var all []string
	for _, v := range vaults {
		shown := v.VaultName
		if v.VaultRole != "" {
			shown += "=" + v.VaultRole
		}
		all = append(all, shown)
	}
	return strings.Join(all, ", ")
}

func userInviteCommand() *cobra.Command {
	var role string
	var vaults []string
	var o output
	c := &cobra.Command{
		Use:   "invite EMAIL",
		Short: "Print a link that makes one user",
		Long: `Print a link that makes one user, who chooses a password with auth join.

The link works once, for whoever has it: send it where only that person reads.
Owners are admins of every vault; members have the roles that --vault gives, and
may make vaults of their own; no-access may sign in and nothing else.`,
		Example: `  agent-vault user invite ann@example.com --vault default=member
  agent-vault user invite bob@example.com --vault team-a=admin --vault default=proxy --ttl 1h
  agent-vault user invite eve@example.com --role owner -o json`,
		Args: exactly("EMAIL"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf(c, "--role", role, instanceRoles); err != nil {
				return err
			}
			ttl, err := seconds(c, "ttl", vault.MinInviteTTL, vault.MaxInviteTTL)
			if err != nil {
				return err
			}
			r := api.UserInviteRequest{Email: args[0], Role: role, TTLSeconds: ttl}
			for _, v := range vaults {
				name, role, err := vaultAndRole(c, v, "")
				if err != nil {
					return err
				}
				r.Vaults = append(r.Vaults, api.VaultRole{VaultName: name, VaultRole: role})
			}
			i, err := byPerson(c, func(client *api.Client) (api.UserInviteResponse, error) {
				return client.InviteUser(c.Context(), r)
			})
			if err != nil {
				return err
			}
			return o.printOnce(c, i, i.InviteLink, fmt.Sprintf(
				"This link makes %s a user (%s), once, until %s. It is shown only now. They run: agent-vault auth join LINK", i.Email, i.Role, shownTime(i.ExpiresAt)))
		},
	}
	c.Flags().StringVar(&role, "role", vault.RoleMember, "on the instance: owner, member or no-access")
	c.Flags().StringArrayVar(&vaults, "vault", nil, "a role in a vault, as in `NAME=ROLE`: admin, member or proxy; may be repeated")
	c.Flags().Duration("ttl", vault.DefaultInviteTTL, "how long the link works: 1m to 168h")
	completeFlag(c, "role", fixed(instanceRoles...))
	completeFlag(c, "vault", vaultsAndRoles)
	o.add(c)
	return c
}

func userRoleCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "role EMAIL ROLE", Short: "Change a user's role on the instance",
		Long: `Change a user's role on the instance: owner, member or no-access.

Roles in a vault are changed with vault member set.`,
		Example: "  agent-vault user role ann@example.com owner",
		Args:    exactly("EMAIL", "ROLE"), ValidArgsFunction: then(userEmails, instanceRoles...),
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf(c, "ROLE", args[1], instanceRoles); err != nil {
				return err
			}
			return unlessListed(printAnswer(c, &o, func(client *api.Client) (api.UserInfo, error) {
				return client.SetUserRole(c.Context(), args[0], args[1])
			}, func(w io.Writer, u api.UserInfo) { fmt.Fprintf(w, "%s is now %s\n", plain(u.Email), plain(u.Role)) }), "user list")
		},
	}
	o.add(c)
	return c
}

func userRemoveCommand() *cobra.Command {
	var sure confirmation
	var o output
	c := &cobra.Command{
		Use: "remove EMAIL", Short: "Remove a user, with their sign-ins and sessions",
		Example: "  agent-vault user remove ann@example.com\n  agent-vault user remove ann@example.com --yes",
		Args:    exactly("EMAIL"), ValidArgsFunction: arguments(userEmails),
		RunE: func(c *cobra.Command, args []string) error {
			if err := sure.ask(stdioOf(c), "Remove the user %s, with their sign-ins and sessions?", args[0]); err != nil {
				return err
			}
			return unlessListed(done(c, &o, args[0], func(client *api.Client) error {
				return client.RemoveUser(c.Context(), args[0])
			}, "removed the user %s", args[0]), "user list")
		},
	}
	sure.add(c)
	o.add(c)
	return c
}
