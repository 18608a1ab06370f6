package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func joinCommand() *cobra.Command {
	var fromStdin bool
	var o output
	c := &cobra.Command{
		Use:   "join LINK",
		Short: "Become a user, by an invite",
		Long: `Choose a password and become the user that an invite is for.

LINK is what user invite printed, or the token at its end; then the server is
the one that --address or AGENT_VAULT_ADDR names. An invite works once. You are
signed in afterwards.`,
		Example: `  agent-vault auth join https://vault.example.com/join/av_join_…
  agent-vault auth join --password-stdin av_join_… < password`,
		Args:              exactly("LINK"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			std := stdioOf(c)
			client, token, err := usersInvite.opened(c, args[0])
			if err != nil {
				return err
			}
			password, err := personsPassword(std, fromStdin, true)
			if err != nil {
				return err
			}
			r, err := client.Join(c.Context(), api.JoinRequest{Token: token, Password: string(password)})
			if err != nil {
				return err
			}
			return saveLogin(c, client.Address, r, &o)
		},
	}
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	o.add(c)
	return c
}

// saveLogin keeps a login that was just made, and says whose it is.
func saveLogin(c *cobra.Command, address string, r api.LoginResponse, o *output) error {
	err := changeLogins(func(m map[string]savedLogin) {
		m[address] = savedLogin{Token: r.Token, Email: r.User.Email, ExpiresAt: r.ExpiresAt}
	})
	if err != nil {
		return err
	}
	me := whoIs{Address: address, UserInfo: r.User}
	return o.print(c.OutOrStdout(), me, func(w io.Writer) {
		fmt.Fprintf(w, "signed in to %s as %s (%s)\n", address, plain(me.Email), plain(me.Role))
	})
}
