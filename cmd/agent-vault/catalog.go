package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
	"agentvault/vault/catalog"
)

func catalogCommand() *cobra.Command {
	return group("catalog", "Add well-known APIs to a vault without looking them up",
		catalogListCommand(), catalogShowCommand(), catalogAddCommand())
}

// fromCatalog calls a route of the catalog, which is open to everybody.
func fromCatalog[T any](c *cobra.Command, call func(*api.Client) (T, error)) (out T, err error) {
	client, err := anonymous(c)
	if err != nil {
		return out, err
	}
	return call(client)
}

func catalogListCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "list [SEARCH]", Short: "List the catalog, or what in it holds a text",
		Example: `  agent-vault catalog list
  agent-vault catalog list commerce
  agent-vault catalog list -o json`,
		Args: atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			search := strings.Join(args, "")
			l, err := fromCatalog(c, func(client *api.Client) (api.CatalogList, error) { return client.Catalog(c.Context(), search) })
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), l, func(w io.Writer) {
				list(w, []string{"NAME", "CATEGORY", "TITLE", "HOSTS"}, l.Entries, func(e api.CatalogSummary) []string {
					return []string{e.Name, e.Category, e.Title, strings.Join(e.Hosts, " ")}
				})
			})
		},
	}
	o.add(c)
	return c
}

func catalogShowCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "show NAME", Short: "Show an API of the catalog, and where its credentials come from",
		Example: `  agent-vault catalog show github
  agent-vault catalog show atlassian -o yaml`,
		Args:              exactly("NAME"),
		ValidArgsFunction: arguments(catalogNames),
		RunE: func(c *cobra.Command, args []string) error {
			e, err := catalogEntry(c, args[0])
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), e, func(w io.Writer) { printEntry(w, e) })
		},
	}
	o.add(c)
	return c
}

func catalogEntry(c *cobra.Command, name string) (catalog.Entry, error) {
	e, err := fromCatalog(c, func(client *api.Client) (catalog.Entry, error) { return client.CatalogEntry(c.Context(), name) })
	return e, unlessListed(err, "catalog list")
}

func printEntry(w io.Writer, e catalog.Entry) {
	fmt.Fprintf(w, "%s: %s\n%s\n%s\n", plain(e.Name), plain(e.Title), plain(e.Description), plain(e.Docs))
	if e.Tenant != (catalog.Tenant{}) {
		fmt.Fprintf(w, "\nIt asks for a tenant: %s, as in %s. It stands in hosts for %s.\n", plain(e.Tenant.Label), plain(e.Tenant.Example), plain(e.Tenant.Placeholder))
	}
	fmt.Fprintln(w)
	list(w, []string{"SERVICE", "HOST", "AUTH", "RULES", "DESCRIPTION"}, e.Services, func(s catalog.Service) []string {
		name := e.Name
		if s.Suffix != "" {
			name += "-" + s.Suffix
		}
		return []string{name, s.Host, shownAuth(s.Auth), strconv.Itoa(len(s.Rules)), s.Description}
	})
	for _, cr := range e.Credentials {
		fmt.Fprintln(w)
		printCatalogCredential(w, cr)
	}
}

func printCatalogCredential(w io.Writer, cr catalog.Credential) {
	fmt.Fprintf(w, "%s: %s\n  %s\n", plain(cr.Key), plain(cr.Description), plain(cr.Obtain))
	if cr.ObtainInstructions != "" {
		fmt.Fprintf(w, "  %s\n", plain(cr.ObtainInstructions))
	}
}

func catalogAddCommand() *cobra.Command {
	var vaultName, tenant string
	var from valueFlags
	var short bool
	var o output
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Add an API of the catalog to a vault",
		Long: `Add an API of the catalog to a vault: its services, and the values of its
credentials. On a terminal, a tenant's name and values that --from does not give
are asked for; a value that is left empty can be set later.`,
		Example: `  agent-vault catalog add github
  agent-vault catalog add github --vault team-a --from GITHUB_TOKEN=env:GITHUB_TOKEN
  agent-vault catalog add atlassian --tenant acme`,
		Args:              exactly("NAME"),
		ValidArgsFunction: arguments(catalogNames),
		RunE: func(c *cobra.Command, args []string) error {
			std := stdioOf(c)
			e, err := catalogEntry(c, args[0])
			if err != nil {
				return err
			}
			name := vaultOrDefault(vaultName)
			if tenant, err = askTenant(std, e, tenant); err != nil {
				return err
			}
			values, err := catalogValues(c, e, name, tenant, from)
			if err != nil {
				return err
			}
			added, err := byPerson(c, func(client *api.Client) (api.ServiceList, error) {
				return client.AddFromCatalog(c.Context(), name, api.CatalogRequest{Entry: e.Name, Tenant: tenant, Credentials: values, AllowShort: short})
			})
			if err != nil {
				return err
			}
			warnShort(std.err, values)
			return sayAdded(c, &o, name, added)
		},
	}
	addVault(c, &vaultName)
	c.Flags().StringVar(&tenant, "tenant", "", "the part of the host that is yours alone, where the API asks for it")
	from.add(c)
	allowShort(c, &short)
	o.add(c)
	return c
}

// askTenant asks for the tenant where the entry needs one.
func askTenant(std stdio, e catalog.Entry, tenant string) (string, error) {
	if e.Tenant == (catalog.Tenant{}) || tenant != "" {
		return tenant, nil
	}
	if !onTerminal(std) {
		return "", hint(fmt.Errorf("%s needs a tenant: %s", plain(e.Name), plain(e.Tenant.Label)), "name it, as in: --tenant %s", plain(e.Tenant.Example))
	}
	for {
		answer, err := askLine(std, fmt.Sprintf("Tenant (%s, as in %s): ", plain(e.Tenant.Label), plain(e.Tenant.Example)))
		if errors.Is(err, io.EOF) {
			err = errNotConfirmed
		}
		if err != nil {
			return "", err
		}
		_, wrong := e.Instantiate(answer)
		if wrong == nil {
			return answer, nil
		}
		fmt.Fprintln(std.err, plain(wrong.Error()))
	}
}

// namesFree refuses services of whose name the vault has one, before anybody
// types a value for them.
func namesFree(c *cobra.Command, vaultName string, services []vault.Service) error {
	l, err := byPerson(c, func(client *api.Client) (api.ServiceList, error) { return client.Services(c.Context(), vaultName) })
	if err != nil {
		return err
	}
	for _, s := range services {
		if slices.ContainsFunc(l.Services, func(old vault.Service) bool { return old.Name == s.Name }) {
			return hint(fmt.Errorf("there is a service %q already", s.Name), "remove it first: agent-vault service remove %s --vault %s", s.Name, vaultName)
		}
	}
	return nil
}

// catalogValues shows what will be added, and gathers the values.
func catalogValues(c *cobra.Command, e catalog.Entry, vaultName, tenant string, from valueFlags) (map[string]string, error) {
	std := stdioOf(c)
	services, err := e.Instantiate(tenant)
	if err != nil {
		return nil, err
	}
	if err := namesFree(c, vaultName, services); err != nil {
		return nil, err
	}
	var keys []string
	for _, cr := range e.Credentials {
		keys = append(keys, cr.Key)
	}
	values, err := from.read(std, keys)
	if err != nil || !onTerminal(std) {
		return values, err
	}
	there, err := byPerson(c, func(client *api.Client) (api.CredentialList, error) {
		return client.Credentials(c.Context(), vaultName)
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(std.err, "This will be added to the vault %s:\n", plain(vaultName))
	for _, s := range services {
		fmt.Fprintf(std.err, "  %s: %s\n", plain(s.Name), plainService(s))
	}
	for _, cr := range e.Credentials {
		if _, given := values[cr.Key]; given {
			continue
		}
		fmt.Fprintln(std.err)
		printCatalogCredential(std.err, cr)
		empty := "empty to set it later"
		if slices.ContainsFunc(there.Credentials, func(x api.CredentialInfo) bool { return x.Key == cr.Key }) {
			empty = "empty to keep the one there is"
		}
		value, err := askHidden(std, fmt.Sprintf("Value of %s (%s): ", plain(cr.Key), empty))
		if err != nil {
			return nil, err
		}
		if value != "" {
			values[cr.Key] = value
		}
	}
	return values, nil
}
