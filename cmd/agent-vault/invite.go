package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

// A kindOfInvite is where its link leads and what its token begins with.
type kindOfInvite struct {
	segment, prefix string
	redeem          string // the command
}

var (
	usersInvite  = kindOfInvite{"join", vault.PrefixJoin, "auth join"}
	agentsInvite = kindOfInvite{"invite", vault.PrefixInvite, "agent join"}
)

// opened finds the server and the token of an invite, which is given as a link
// or as the token alone. --address comes before the link's server. Errors do
// not repeat the token.
func (k kindOfInvite) opened(c *cobra.Command, given string) (client *api.Client, token string, err error) {
	token = given
	address, err := addressOf(c)
	if link, perr := url.Parse(given); perr == nil && link.Host != "" {
		var base string
		base, token = pathOfInvite(link.Path)
		if !c.Flags().Changed("address") {
			address, err = checkAddress((&url.URL{Scheme: link.Scheme, Host: link.Host, Path: base}).String())
		}
	}
	if err != nil {
		return nil, "", err
	}
	prefix, whole := vault.CheckToken(token)
	for _, other := range []kindOfInvite{usersInvite, agentsInvite} {
		if whole && prefix == other.prefix && other != k {
			return nil, "", &usageError{hint(errors.New("this invite is of another kind"), "run: agent-vault %s LINK", other.redeem)}
		}
	}
	if !whole || prefix != k.prefix {
		return nil, "", &usageError{hint(errors.New("this is no invite, or not the whole of it"), "it looks like %s/%s/%s…", defaultAddress, k.segment, k.prefix)}
	}
	return clientAt(c, address), token, nil
}

// pathOfInvite takes the path of a link apart: where the server is, and the token. A
// path of another shape has none.
func pathOfInvite(path string) (base, token string) {
	path = strings.TrimSuffix(path, "/")
	at := strings.LastIndex(path, "/")
	if at < 0 {
		return "", ""
	}
	for _, kind := range []kindOfInvite{usersInvite, agentsInvite} { // a wrong one has an error of its own
		if base, ok := strings.CutSuffix(path[:at], "/"+kind.segment); ok {
			return base, path[at+1:]
		}
	}
	return "", ""
}

// invitesCommand lists invites of one kind.
func invitesCommand(noun, plural string, invites func(*cobra.Command, *api.Client) (api.InviteList, error)) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "invites", Short: "List the invites of " + plural, Args: noArgs,
		Example: fmt.Sprintf("  agent-vault %s invites\n  agent-vault %s invites -o json", noun, noun),
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.InviteList, error) {
				return invites(c, client)
			}, func(w io.Writer, l api.InviteList) {
				header := []string{"ID", strings.ToUpper(noun), "STATUS", "VAULTS", "ENDS"}
				ofUsers := noun == "user"
				if ofUsers {
					header = slices.Insert(header, 2, "ROLE")
				}
				list(w, header, l.Invites, func(i api.InviteInfo) []string {
					row := []string{i.ID, i.Name, i.Status, shownGrants(i.Vaults), shownTime(i.ExpiresAt)}
					if ofUsers {
						row = slices.Insert(row, 2, i.Role)
					}
					return row
				})
			})
		},
	}
	o.add(c)
	return c
}

// revokeInviteCommand ends a pending invite of one kind.
func revokeInviteCommand(noun, whose string, ids lister, revoke func(*cobra.Command, *api.Client, string) error) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "revoke-invite ID", Short: "Revoke " + whose + " invite", Args: exactly("ID"),
		Example:           fmt.Sprintf("  agent-vault %s revoke-invite wq3f5s2kqv7c4hjzr6x7m2t4ya", noun),
		ValidArgsFunction: arguments(ids),
		RunE: func(c *cobra.Command, args []string) error {
			return unlessListed(done(c, &o, args[0], func(client *api.Client) error {
				return revoke(c, client, args[0])
			}, "revoked the invite %s", args[0]), noun+" invites")
		},
	}
	o.add(c)
	return c
}
