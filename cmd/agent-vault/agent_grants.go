package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

const grantsHelp = `

The agent may use the vaults that --vault names, with the role proxy unless
another is given; of one vault only the services that --service names, if any.`

// grantsFlags say which vaults a new agent may use.
type grantsFlags struct{ vaults, services []string }

func (f *grantsFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.vaults, "vault", nil, "a vault, and a role in it that is not proxy, as in `V[=ROLE]`; may be repeated (default: AGENT_VAULT_VAULT, or default)")
	completeFlag(c, "vault", vaultsAndRoles)
	addServices(c, &f.services)
}

func addServices(c *cobra.Command, services *[]string) {
	c.Flags().StringArrayVar(services, "service", nil, "only this `service` of the vault; may be repeated (default: all)")
	completeFlag(c, "service", flagOf(serviceNames))
}

// read returns the vaults, in the order in which they were given.
func (f *grantsFlags) read(c *cobra.Command) ([]api.AgentVault, error) {
	given := f.vaults
	if len(given) == 0 {
		given = []string{vaultOrDefault("")}
	}
	if len(f.services) > 0 && len(given) > 1 {
		return nil, &usageError{hint(fmt.Errorf("%s: --service needs exactly one --vault", shortPath(c)), "give the other vaults afterwards: agent-vault agent grant NAME --vault V --service S")}
	}
	var vaults []api.AgentVault
	for _, v := range given {
		name, role, err := vaultAndRole(c, v, vault.VaultProxy)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(vaults, func(x api.AgentVault) bool { return x.VaultName == name }) {
			return nil, misused(c, "--vault names %s twice", name)
		}
		vaults = append(vaults, api.AgentVault{VaultName: name, VaultRole: role, Services: f.services})
	}
	return vaults, nil
}

// vaultAndRole reads V=ROLE, or V, which has the usual role if there is one.
func vaultAndRole(c *cobra.Command, v, usual string) (name, role string, err error) {
	name, role, _ = strings.Cut(v, "=")
	if name == "" {
		return "", "", misused(c, "--vault names no vault in %q", v)
	}
	role = cmp.Or(role, usual)
	return name, role, oneOf(c, "the role in --vault "+name+"=ROLE", role, vaultRoles)
}

// vaultsAndRoles completes V=ROLE: the vault first, and behind = the role.
func vaultsAndRoles(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	name, _, hasRole := strings.Cut(begun, "=")
	if !hasRole {
		return listed(c, vaultNames, begun), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	var all []string
	for _, role := range vaultRoles {
		if whole := name + "=" + role; strings.HasPrefix(whole, begun) {
			all = append(all, whole)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func agentGrantCommand() *cobra.Command {
	var vaultName, role string
	var services []string
	var o output
	c := &cobra.Command{
		Use: "grant NAME", Short: "Let an agent use a vault, or some of its services",
		Long: `Let an agent use a vault, or only those of its services that --service names.
What it was granted in this vault before is replaced. Whatever its role, no agent
decides a proposal, changes a vault or reads a value.`,
		Example: `  agent-vault agent grant build-bot --vault team-a
  agent-vault agent grant build-bot --vault team-a --service github --service npm-registry`,
		Args: exactly("NAME"), ValidArgsFunction: arguments(agentNames),
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf(c, "--role", role, vaultRoles); err != nil {
				return err
			}
			name, listing := vaultOrDefault(vaultName), "agent list"
			if len(services) > 0 { // either of them may be what there is not
				listing += ", or: agent-vault service list --vault " + name
			}
			return changeGrant(c, &o, listing, func(client *api.Client) (api.AgentInfo, error) {
				return client.GrantVault(c.Context(), args[0], name, api.GrantRequest{VaultRole: role, Services: services})
			})
		},
	}
	addVault(c, &vaultName)
	c.Flags().StringVar(&role, "role", vault.VaultProxy, "in the vault: proxy, member or admin")
	completeFlag(c, "role", fixed(vaultRoles...))
	addServices(c, &services)
	o.add(c)
	return c
}

func agentUngrantCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "ungrant NAME", Short: "Take a vault away from an agent",
		Long:    "Take a vault away from an agent, and cut what the agent has open there.",
		Example: "  agent-vault agent ungrant build-bot --vault team-a",
		Args:    exactly("NAME"), ValidArgsFunction: arguments(agentNames),
		RunE: func(c *cobra.Command, args []string) error {
			return changeGrant(c, &o, "agent list", func(client *api.Client) (api.AgentInfo, error) {
				return client.RevokeVault(c.Context(), args[0], vaultOrDefault(vaultName))
			})
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func changeGrant(c *cobra.Command, o *output, listing string, change func(*api.Client) (api.AgentInfo, error)) error {
	return unlessListed(printAnswer(c, o, change, func(w io.Writer, a api.AgentInfo) {
		fmt.Fprintf(w, "the agent %s may use %s\n", plain(a.Name), plain(shownGrants(a.Vaults)))
	}), listing)
}
