package main

import (
	"io"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func loginsCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "logins", Short: "List your sign-ins", Args: noArgs,
		Long: `List your sign-ins, newest first. The one in use here is marked with *.

A sign-in ends when it was not used for twelve hours, and after seven days.`,
		Example: "  agent-vault auth logins\n  agent-vault auth logins -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.LoginList, error) {
				return client.Logins(c.Context())
			}, func(w io.Writer, l api.LoginList) {
				list(w, []string{"ID", "", "CLIENT", "SIGNED IN", "SEEN", "ENDS"}, l.Logins, func(x api.LoginInfo) []string {
					mark := ""
					if x.Current {
						mark = "*"
					}
					return []string{x.ID, mark, x.Client, shownTime(x.CreatedAt), shownTime(x.SeenAt), shownTime(x.EndsAt)}
				})
			})
		},
	}
	o.add(c)
	return c
}

func revokeLoginCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "revoke ID", Short: "End one of your sign-ins", Args: exactly("ID"),
		Example:           "  agent-vault auth revoke wq3f5s2kqv7c4hjzr6x7m2t4ya",
		ValidArgsFunction: arguments(loginIDs),
		RunE: func(c *cobra.Command, args []string) error {
			return unlessListed(done(c, &o, args[0], func(client *api.Client) error {
				return client.RevokeLogin(c.Context(), args[0])
			}, "ended the sign-in %s", args[0]), "auth logins")
		},
	}
	o.add(c)
	return c
}
