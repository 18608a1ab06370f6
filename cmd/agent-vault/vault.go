package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

func vaultCommand() *cobra.Command {
	return group("vault", "Work with vaults and run agents behind them",
		vaultRunCommand(), vaultTokenCommand(), vaultListCommand(), vaultCreateCommand(), vaultShowCommand(),
		vaultRenameCommand(), vaultSetCommand(), vaultGrantCommand(), vaultUngrantCommand(), vaultDeleteCommand(), memberCommand())
}

// sessionFlags are what commands that mint a session take.
type sessionFlags struct {
	vault, label string
	invite       bool // of vault run: an invite takes the place of a login
}

func (f *sessionFlags) add(c *cobra.Command) {
	addVault(c, &f.vault)
	c.Flags().Duration("ttl", vault.DefaultSessionTTL, "how long the session lasts: 5m to 168h")
	c.Flags().StringVar(&f.label, "label", "", "what the session is for, on one line")
}

// mint makes a session with the person's login.
func (f *sessionFlags) mint(c *cobra.Command, label string, lease bool) (s api.SessionResponse, err error) {
	f.vault = vaultOrDefault(f.vault)
	ttl, err := seconds(c, "ttl", vault.MinSessionTTL, vault.MaxSessionTTL)
	if err != nil {
		return s, err
	}
	return byPerson(c, func(client *api.Client) (api.SessionResponse, error) {
		return client.MintSession(c.Context(), api.SessionRequest{Vault: f.vault, TTLSeconds: ttl, Label: label, Lease: lease})
	})
}

func vaultTokenCommand() *cobra.Command {
	var f sessionFlags
	var o output
	c := &cobra.Command{
		Use:   "token",
		Short: "Print a session token for an agent, and nothing else",
		Example: `  TOKEN=$(agent-vault vault token --ttl 1h)
  curl -H "Authorization: Bearer $TOKEN" "$AGENT_VAULT_ADDR/proxy/api.github.com/user"`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := f.mint(c, cmp.Or(f.label, "vault token"), false)
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), s, func(w io.Writer) { fmt.Fprintln(w, plain(s.Token)) })
		},
	}
	f.add(c)
	o.add(c)
	return c
}

func vaultListCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List the vaults", Example: "  agent-vault vault list -o json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.VaultList, error) {
				return client.Vaults(c.Context())
			}, func(w io.Writer, l api.VaultList) {
				list(w, []string{"NAME", "SERVICES", "CREDENTIALS", "UNMATCHED HOSTS"}, l.Vaults, func(v api.VaultInfo) []string {
					return []string{v.Name, strconv.Itoa(len(v.Services)), strconv.Itoa(len(v.Credentials)), v.UnmatchedHosts}
				})
			})
		},
	}
	o.add(c)
	return c
}

func vaultCreateCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "create NAME", Short: "Make an empty vault", Example: "  agent-vault vault create team-a",
		Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.VaultInfo, error) {
				return client.CreateVault(c.Context(), args[0])
			}, func(w io.Writer, v api.VaultInfo) { fmt.Fprintf(w, "created the vault %s\n", plain(v.Name)) })
		},
	}
	o.add(c)
	return c
}

func vaultShowCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a vault: its settings, services and the keys of its credentials",
		Example: "  agent-vault vault show default\n  agent-vault vault show team-a -o yaml",
		Args:    exactly("NAME"), ValidArgsFunction: arguments(vaultNames),
		RunE: func(c *cobra.Command, args []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.VaultInfo, error) {
				return client.Vault(c.Context(), args[0])
			}, printVault)
		},
	}
	o.add(c)
	return c
}

func printVault(w io.Writer, v api.VaultInfo) {
	keys := "none"
	if len(v.Credentials) > 0 {
		keys = strings.Join(v.Credentials, ", ")
	}
	facts(w, "name", v.Name, "unmatched hosts", v.UnmatchedHosts, "created", shownTime(v.CreatedAt),
		"credentials", keys, "services", strconv.Itoa(len(v.Services)))
	if len(v.Services) > 0 {
		fmt.Fprintln(w)
		printServices(w, v.Services)
	}
}

func vaultRenameCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "rename OLD NEW", Short: "Rename a vault",
		Long: `Rename a vault. What belongs to it stays, and so do its sessions; agents with
tokens of their own must send the new name.`,
		Example: "  agent-vault vault rename team-a team-b",
		Args:    exactly("OLD", "NEW"), ValidArgsFunction: arguments(vaultNames),
		RunE: func(c *cobra.Command, args []string) error {
			return changeVault(c, &o, args[0], api.VaultChange{Name: &args[1]}, "renamed the vault "+args[0]+" to "+args[1])
		},
	}
	o.add(c)
	return c
}

func vaultSetCommand() *cobra.Command {
	var unmatched string
	var o output
	c := &cobra.Command{
		Use: "set NAME --unmatched-hosts deny|tunnel", Short: "Change a vault's settings",
		Long: `Say what becomes of hosts that no service of the vault names. They are denied,
or, on the proxy entrance only, tunnelled: such a connection goes through without
a credential, and unseen but for its host.`,
		Example: "  agent-vault vault set default --unmatched-hosts tunnel",
		Args:    exactly("NAME"), ValidArgsFunction: arguments(vaultNames),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("unmatched-hosts") {
				return misused(c, "--unmatched-hosts is missing")
			}
			if err := oneOf(c, "--unmatched-hosts", unmatched, unmatchedHosts); err != nil {
				return err
			}
			return changeVault(c, &o, args[0], api.VaultChange{UnmatchedHosts: &unmatched}, "unmatched hosts of the vault "+args[0]+": "+unmatched)
		},
	}
	c.Flags().StringVar(&unmatched, "unmatched-hosts", "", "deny or tunnel")
	completeFlag(c, "unmatched-hosts", fixed(unmatchedHosts...))
	o.add(c)
	return c
}

var unmatchedHosts = []string{vault.UnmatchedDeny, vault.UnmatchedTunnel}

func changeVault(c *cobra.Command, o *output, name string, change api.VaultChange, done string) error {
	return printAnswer(c, o, func(client *api.Client) (api.VaultInfo, error) {
		return client.ChangeVault(c.Context(), name, change)
	}, func(w io.Writer, v api.VaultInfo) { fmt.Fprintln(w, plain(done)) })
}

func vaultDeleteCommand() *cobra.Command {
	var sure confirmation
	var o output
	c := &cobra.Command{
		Use: "delete NAME", Short: "Delete a vault with all that is in it",
		Long: `Delete a vault with its services, credentials, proposals and sessions. None of
it can be brought back.`,
		Example: "  agent-vault vault delete team-a\n  agent-vault vault delete team-a --yes",
		Args:    exactly("NAME"), ValidArgsFunction: arguments(vaultNames),
		RunE: func(c *cobra.Command, args []string) error {
			if err := sure.ask(stdioOf(c), "Delete the vault %s, with its services, credentials and sessions?", args[0]); err != nil {
				return err
			}
			return done(c, &o, args[0], func(client *api.Client) error {
				return client.DeleteVault(c.Context(), args[0])
			}, "deleted the vault %s", args[0])
		},
	}
	sure.add(c)
	o.add(c)
	return c
}
