package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

func vaultCommand(std stdio) *cobra.Command {
	return group("vault", "Work with vaults and run agents behind them",
		vaultRunCommand(std), vaultTokenCommand(), vaultListCommand(), vaultCreateCommand())
}

// sessionFlags are what commands that mint a session take.
type sessionFlags struct {
	vault string
	ttl   time.Duration
}

func (f *sessionFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.vault, "vault", "", "the vault (default: AGENT_VAULT_VAULT, or default)")
	c.Flags().DurationVar(&f.ttl, "ttl", 24*time.Hour, "how long the session lasts: 5m to 168h")
}

// mint makes a session with the person's login.
func (f *sessionFlags) mint(c *cobra.Command, label string) (s api.SessionResponse, err error) {
	f.vault = cmp.Or(f.vault, os.Getenv(vaultVariable), vault.DefaultVault)
	if f.ttl < vault.MinSessionTTL || f.ttl > vault.MaxSessionTTL || f.ttl%time.Second != 0 {
		return s, &usageError{fmt.Errorf("--ttl is from 5m to 168h, in whole seconds, not %s", f.ttl)}
	}
	seconds := int64(f.ttl / time.Second)
	err = signedIn(c, func(client *api.Client) (err error) {
		s, err = client.MintSession(c.Context(), api.SessionRequest{Vault: f.vault, TTLSeconds: &seconds, Label: label})
		return err
	})
	return s, err
}

func vaultTokenCommand() *cobra.Command {
	var f sessionFlags
	c := &cobra.Command{
		Use:   "token",
		Short: "Print a session token for an agent, and nothing else",
		Example: `  TOKEN=$(agent-vault vault token --ttl 1h)
  curl -H "Authorization: Bearer $TOKEN" "$AGENT_VAULT_ADDR/proxy/api.github.com/user"`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := f.mint(c, "vault token")
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), s.Token)
			return err
		},
	}
	f.add(c)
	return c
}

func vaultListCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List the vaults", Example: "  agent-vault vault list -o json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return signedIn(c, func(client *api.Client) error {
				l, err := client.Vaults(c.Context())
				if err != nil {
					return err
				}
				return o.print(c.OutOrStdout(), l, func(w io.Writer) {
					for _, v := range l.Vaults {
						fmt.Fprintf(w, "%-24s %d services, %d credentials, unmatched hosts: %s\n", v.Name, len(v.Services), len(v.Credentials), v.UnmatchedHosts)
					}
				})
			})
		},
	}
	o.add(c)
	return c
}

func vaultCreateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "create NAME", Short: "Make an empty vault", Example: "  agent-vault vault create team-a",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{errors.New("vault create takes one name, as in: agent-vault vault create team-a")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return signedIn(c, func(client *api.Client) error {
				v, err := client.CreateVault(c.Context(), args[0])
				if err == nil {
					_, err = fmt.Fprintf(c.OutOrStdout(), "created vault %s\n", v.Name)
				}
				return err
			})
		},
	}
}
