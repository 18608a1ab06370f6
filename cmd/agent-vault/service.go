package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/policy/inject"
	"agentvault/vault"
)

func serviceCommand() *cobra.Command {
	return group("service", "Say which hosts agents may reach, and with which credentials",
		serviceAddCommand(), serviceSetCommand(), serviceListCommand(), serviceShowCommand(), serviceLimitsCommand(),
		serviceEnableCommand(true), serviceEnableCommand(false), serviceRemoveCommand())
}

func serviceListCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List a vault's services",
		Example: `  agent-vault service list
  agent-vault service list --vault team-a -o yaml`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.ServiceList, error) {
				return client.Services(c.Context(), vaultOrDefault(vaultName))
			}, func(w io.Writer, l api.ServiceList) { printServices(w, l.Services) })
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func printServices(w io.Writer, services []vault.Service) {
	list(w, []string{"NAME", "HOST", "AUTH", "RULES", "SWITCHES", "ENABLED"}, services, func(s vault.Service) []string {
		return []string{s.Name, shownScheme(s) + s.Host, shownAuth(s.Auth), strconv.Itoa(len(s.Rules)), cmp.Or(shownSwitches(s.Switches), "-"), shownYes(s.Enabled)}
	})
}

// shownService is what a service is about, in a line.
func shownService(s vault.Service) string {
	return withSwitches(shownScheme(s)+shownHost(s.Host)+", "+plain(shownAuth(s.Auth)), s)
}

// plainService is shownService with its host as it is written.
func plainService(s vault.Service) string {
	return withSwitches(plain(shownScheme(s)+s.Host+", "+shownAuth(s.Auth)), s)
}

// shownScheme is the scheme where it is not the usual one.
func shownScheme(s vault.Service) string {
	if s.Scheme == "" || s.Scheme == "https" {
		return ""
	}
	return s.Scheme + "://"
}

// shownAuth is the kind of an auth and the keys that it refers to.
func shownAuth(a inject.Auth) string {
	return strings.TrimSpace(a.Type() + " " + strings.Join(keysOf(a), " "))
}

func serviceShowCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a service as it would be written in a file",
		Example: `  agent-vault service show github
  agent-vault service show github --vault team-a -o json`,
		Args:              exactly("NAME"),
		ValidArgsFunction: arguments(serviceNames),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := serviceOf(c, vaultOrDefault(vaultName), args[0])
			if err != nil {
				return err
			}
			if o == "table" { // one service is no table
				o = "yaml"
			}
			return o.print(c.OutOrStdout(), s, nil)
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func serviceOf(c *cobra.Command, vaultName, name string) (vault.Service, error) {
	s, err := byPerson(c, func(client *api.Client) (vault.Service, error) { return client.Service(c.Context(), vaultName, name) })
	return s, unlessListed(err, "service list --vault "+vaultName)
}

// serviceEnableCommand is enable, or disable.
func serviceEnableCommand(enabled bool) *cobra.Command {
	var vaultName string
	var o output
	verb, short := "enable", "Let agents use a disabled service again"
	if !enabled {
		verb, short = "disable", "Refuse agents a service without removing it"
	}
	c := &cobra.Command{
		Use: verb + " NAME", Short: short,
		Example: fmt.Sprintf(`  agent-vault service %s github
  agent-vault service %s github --vault team-a`, verb, verb),
		Args:              exactly("NAME"),
		ValidArgsFunction: arguments(serviceNames),
		RunE: func(c *cobra.Command, args []string) error {
			name := vaultOrDefault(vaultName)
			return unlessListed(printAnswer(c, &o, func(client *api.Client) (vault.Service, error) {
				return client.EnableService(c.Context(), name, args[0], enabled)
			}, func(w io.Writer, s vault.Service) {
				fmt.Fprintf(w, "%sd %s in the vault %s\n", verb, plain(s.Name), plain(name))
			}), "service list --vault "+name)
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func serviceRemoveCommand() *cobra.Command {
	var vaultName string
	var sure confirmation
	var o output
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a service from a vault",
		Long: `Remove a service from a vault. Its credentials stay: agent-vault credential
delete removes them.`,
		Example: `  agent-vault service remove github
  agent-vault service remove github --vault team-a --yes`,
		Args:              exactly("NAME"),
		ValidArgsFunction: arguments(serviceNames),
		RunE: func(c *cobra.Command, args []string) error {
			std := stdioOf(c)
			name := vaultOrDefault(vaultName)
			s, err := serviceOf(c, name, args[0])
			if err != nil {
				return err
			}
			if err := sure.ask(std, "Remove the service %s (%s) from the vault %s?", plain(s.Name), plain(s.Host), plain(name)); err != nil {
				return err
			}
			return done(c, &o, s.Name, func(client *api.Client) error {
				return client.RemoveService(c.Context(), name, args[0])
			}, "removed %s from the vault %s", s.Name, name)
		},
	}
	addVault(c, &vaultName)
	sure.add(c)
	o.add(c)
	return c
}
