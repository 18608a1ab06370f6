package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/policy"
	"agentvault/vault"
	"agentvault/vault/catalog"
)

func serviceAddCommand() *cobra.Command {
	var vaultName string
	var file fileFlag
	var f serviceFlags
	var switches switchFlags
	var sure confirmation
	var o output
	c := &cobra.Command{
		Use:   "add --host HOST --auth KIND [--key KEY ...]",
		Short: "Add a service to a vault",
		Long: `Add a service to a vault: a host that agents may reach, and what their requests
to it carry. The name is made from the host when it is left out. Flags name
credentials by their keys, never their values.

What agents may do there is said by --allow, --ask (a person decides on each) and
--deny, in the order in which they stand: the first that matches decides, and when
none does the request is refused. Each is a list of methods, a list of paths, or
both, as in 'GET,HEAD /v1/*'; '*' is everything. Behind "if" stands a condition, as
in 'POST /pay if json.amount < 500.0', or a preset: read-only, no-delete,
business-hours. Without any rule, everything is allowed.

Answers are searched for the vault's credentials before an agent gets them.
--scrub off turns that off for this host, and --undecodable pass lets through
what cannot be searched. With --pin, the certificates of the host must hold one of
these public keys, besides leading to a root. With --upgrade, requests may switch
to that protocol, whose bytes are not searched (spdy/3.1 for kubectl exec, tcp for
docker). With --for, the service ends after that time, as if it were removed.

A credential that has a value already, and that no service of the vault sends to
this host yet, is asked about unless --yes is given; so is a protection that is
turned off.

With -f, services are read from a file (YAML or JSON) instead.`,
		Example: `  agent-vault service add --host api.github.com --auth bearer --key GITHUB_TOKEN
  agent-vault service add --host api.example.com --auth basic --username USER --password PASSWORD
  agent-vault service add --host api.example.com --auth api-key --key API_KEY --header X-Api-Key
  agent-vault service add --host api.example.com --auth query --key API_KEY --parameter api_key
  agent-vault service add --host api.example.com --auth custom --header 'X-Api-Key: {{ API_KEY }}'
  agent-vault service add --host s3.eu-west-1.amazonaws.com --auth aws-sigv4 --field access_key_id=AWS_KEY_ID --field secret_access_key=AWS_SECRET
  agent-vault service add --host api.example.com --auth bearer --key API_KEY --allow 'if read-only' --ask POST
  agent-vault service add --host docs.example.com --auth passthrough --allow 'GET,HEAD /v1/*'
  agent-vault service add --host files.example.com --auth bearer --key FILES_KEY --undecodable pass
  agent-vault service add --host api.example.com --auth bearer --key API_KEY --for 24h
  agent-vault service add --vault team-a -f service.yaml`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			std := stdioOf(c)
			services, err := f.services(c, string(file), std.in)
			if err != nil {
				return err
			}
			if file == "" {
				services[0].Switches = vault.Switches{Scrub: switches.scrub, Undecodable: switches.undecodable, Pins: switches.pins, Upgrades: switches.upgrades, Limits: switches.limits.limits, ExpiresAt: switches.lasts.end(time.Now())}
				if services[0].Switches, err = services[0].Canonical(); err != nil {
					return &usageError{err}
				}
			}
			name := vaultOrDefault(vaultName)
			sayWarnings(std.err, endWarnings(nil, services, time.Now()))
			if err := confirmSwitches(c, switchWarnings(nil, services), &sure); err != nil {
				return err
			}
			if err := confirmReuse(c, name, services, &sure); err != nil {
				return err
			}
			added, err := byPerson(c, func(client *api.Client) (api.ServiceList, error) {
				return client.AddServices(c.Context(), name, api.AddServicesRequest{Services: services})
			})
			if err != nil {
				return err
			}
			return sayAdded(c, &o, name, added)
		},
	}
	addVault(c, &vaultName)
	f.add(c)
	switches.add(c)
	file.add(c, "services (YAML or JSON) instead of flags")
	sure.add(c)
	o.add(c)
	return c
}

// services are those of the file, or the one that the flags describe.
func (f *serviceFlags) services(c *cobra.Command, file string, stdin io.Reader) ([]vault.Service, error) {
	if file == "" {
		s, err := f.service(c)
		return []vault.Service{s}, err
	}
	if name := f.changed(c); name != "" {
		return nil, misused(c, "--%s and -f exclude each other", name)
	}
	services, err := readServices(file, stdin)
	if err == nil && len(services) == 0 {
		err = fmt.Errorf("%s: it holds no service", file)
	}
	return services, err
}

// service is what the flags describe.
func (f *serviceFlags) service(c *cobra.Command) (s vault.Service, err error) {
	if f.host == "" {
		return s, &usageError{hint(errors.New("--host is missing"), "name the host and its auth, as in: --host api.github.com --auth bearer --key GITHUB_TOKEN")}
	}
	s = vault.Service{Name: f.name, Host: f.host, Scheme: f.scheme, Description: f.description, Enabled: true, Rules: f.rules}
	if s.Host, err = policy.CanonicalPattern(f.host); err != nil {
		return s, &usageError{orTenant(err, f.host)}
	}
	if s.Name == "" {
		s.Name = vault.NameFor(s.Host)
	}
	if s.Auth, err = f.authOf(c); err != nil {
		return s, err
	}
	return s, f.checkRules(c)
}

// orTenant hints at the catalog, when a wildcard is over a domain on which each
// customer of an API has a host.
func orTenant(err error, host string) error {
	parent, wildcard := strings.CutPrefix(strings.ToLower(host), "*.")
	if !wildcard {
		return err
	}
	for _, e := range catalog.All() {
		for _, s := range e.Services {
			if e.Tenant.Placeholder != "" && s.Host == e.Tenant.Placeholder+"."+parent {
				return hint(err, "run: agent-vault catalog add %s --tenant %s", e.Name, e.Tenant.Example)
			}
		}
	}
	return err
}

// sayAdded prints which services were added, and tells the person which of their
// credentials have no value yet.
func sayAdded(c *cobra.Command, o *output, vaultName string, added api.ServiceList) error {
	if err := o.print(c.OutOrStdout(), added, func(w io.Writer) {
		for _, s := range added.Services {
			fmt.Fprintf(w, "added %s to the vault %s: %s\n", plain(s.Name), plain(vaultName), plainService(s))
		}
	}); err != nil {
		return err
	}
	return signedIn(c, func(client *api.Client) error {
		return sayMissing(c, client, vaultName, added.Services)
	})
}

// sayMissing tells the person which credentials of services have no value yet, and how
// they get one.
func sayMissing(c *cobra.Command, client *api.Client, vaultName string, services []vault.Service) error {
	l, err := client.Credentials(c.Context(), vaultName)
	if err != nil {
		return err
	}
	var said []string
	for _, s := range services {
		for _, key := range s.Keys() {
			if slices.Contains(said, key) || slices.ContainsFunc(l.Credentials, func(cr api.CredentialInfo) bool { return cr.Key == key }) {
				continue
			}
			said = append(said, key)
			if s.Connects() == key {
				fmt.Fprintf(c.ErrOrStderr(), "%s is not connected yet\nhint: run: agent-vault credential connect %s --vault %s\n", plain(s.Name), plain(s.Name), plain(vaultName))
				continue
			}
			fmt.Fprintf(c.ErrOrStderr(), "%s has no value yet\nhint: run: agent-vault credential set %s --vault %s\n", key, key, plain(vaultName))
		}
	}
	return nil
}
