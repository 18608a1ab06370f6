package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/policy"
	"agentvault/vault"
)

func serviceSetCommand() *cobra.Command {
	var vaultName string
	var file fileFlag
	var switches switchFlags
	var sure confirmation
	var o output
	c := &cobra.Command{
		Use:   "set {NAME | -f FILE}",
		Short: "Set switches of a service, or replace all services of a vault",
		Long: `Set switches of a service that is there, or replace all services of a vault.

With NAME, --scrub says whether the service's answers are searched for the vault's
credentials, --undecodable what becomes of answers that cannot be searched, --pin
which public keys the upstream's certificates must hold, one of them, and --upgrade
which protocols requests may switch to, whose bytes are not searched. --limit bounds
what goes through the service (docs/limits.md). Pins, upgrades and limits replace
those that there are, and none removes them. --for says how long
the service lasts from now; good is for good. What turns a protection off is asked about unless --yes is given.

With -f FILE, all services of the vault are replaced by those of the file, which is
YAML or JSON: a list of services, a map with the list under "services:", or a
declaration, of which the vault's services are taken. A name that is left out is
made from the host. What would change is shown first, and asked about unless --yes
is given.`,
		Example: `  agent-vault service set github --undecodable pass
  agent-vault service set github --scrub on --pin sha256/d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM=
  agent-vault service set cluster --upgrade spdy/3.1
  agent-vault service set github --for 24h
  agent-vault service set stripe --limit budget=500.00,field=amount,window=24h --limit requests=10,window=1s
  agent-vault service set -f services.yaml
  agent-vault service list -o yaml > services.yaml
  agent-vault service set -f - --vault team-a --yes < services.yaml`,
		Args:              atMostOne,
		ValidArgsFunction: arguments(serviceNames),
		RunE: func(c *cobra.Command, args []string) error {
			std := stdioOf(c)
			if len(args) == 1 {
				if file != "" {
					return misused(c, "NAME and -f exclude each other")
				}
				return setSwitches(c, vaultOrDefault(vaultName), args[0], &switches, &sure, &o)
			}
			for _, flag := range switchNames {
				if c.Flags().Changed(flag) {
					return misused(c, "--%s is for one service: name it", flag)
				}
			}
			if err := file.check(c); err != nil {
				return err
			}
			if file == "-" && !sure.yes {
				return &usageError{hint(errors.New("with -f - there is no standard input left to ask on"), "say --yes if it is meant")}
			}
			name := vaultOrDefault(vaultName)
			services, err := readServicesOf(string(file), std.in, name)
			if err != nil {
				return err
			}
			return setServices(c, name, services, &sure, &o)
		},
	}
	addVault(c, &vaultName)
	switches.add(c)
	file.add(c, "services (YAML or JSON)")
	sure.add(c)
	o.add(c)
	return c
}

// setServices shows what would change, asks, and does it.
func setServices(c *cobra.Command, vaultName string, services []vault.Service, sure *confirmation, o *output) error {
	std := stdioOf(c)
	before, err := byPerson(c, func(client *api.Client) (api.ServiceList, error) { return client.Services(c.Context(), vaultName) })
	if err != nil {
		return err
	}
	was, err := servicesText(before.Services)
	if err != nil {
		return err
	}
	will, err := servicesText(services)
	if err != nil {
		return err
	}
	answer := before
	if was != will {
		if err := screenOf(std.err).diffServices(std.err, serviceDiffs(before.Services, services)); err != nil {
			return err
		}
		sayWarnings(std.err, append(endWarnings(before.Services, services, time.Now()), switchWarnings(before.Services, services)...))
		if err := sure.ask(std, "Replace the services of the vault %s?", plain(vaultName)); err != nil {
			return err
		}
		if answer, err = byPerson(c, func(client *api.Client) (api.ServiceList, error) {
			return client.SetServices(c.Context(), vaultName, api.ServiceList{Services: services})
		}); err != nil {
			return err
		}
	}
	return o.print(c.OutOrStdout(), answer, func(w io.Writer) {
		if was == will {
			fmt.Fprintf(w, "the vault %s has these services already\n", plain(vaultName))
			return
		}
		fmt.Fprintf(w, "the vault %s has %d services\n", plain(vaultName), len(answer.Services))
	})
}

// readServicesOf reads the services of a vault: as readServices does, or out of
// a declaration.
func readServicesOf(file string, stdin io.Reader, vaultName string) ([]vault.Service, error) {
	d, err := readEither(file, stdin, vaultName)
	if err != nil {
		return nil, err
	}
	for _, v := range d.Vaults {
		if v.Name == vaultName && v.Services != nil {
			return v.Services, nil
		}
	}
	return nil, fmt.Errorf("%s: it gives no services for a vault %s", file, vaultName)
}

// readEither reads a declaration, or services, which are this vault's.
func readEither(file string, stdin io.Reader, vaultName string) (declaration, error) {
	return readParsed(file, stdin, func(raw []byte) (declaration, error) {
		document, _, err := readDocument(raw)
		if err != nil {
			return declaration{}, err
		}
		if m, ok := document.(map[string]any); ok {
			if _, declares := m["vaults"]; declares {
				return parseDeclaration(raw)
			}
		}
		services, err := parseServices(raw)
		return declaration{Vaults: []declaredVault{{Name: vaultName, Services: services}}}, err
	})
}

// readServices reads services from a file: a list, a map with one, or one
// service.
func readServices(file string, stdin io.Reader) ([]vault.Service, error) {
	return readParsed(file, stdin, parseServices)
}

// parseServices reads services. Their names are made from their hosts where they
// are left out.
func parseServices(raw []byte) ([]vault.Service, error) {
	document, _, err := readDocument(raw)
	if err != nil {
		return nil, err
	}
	list, isList := document.([]any)
	m, isMap := document.(map[string]any)
	switch {
	case isMap && m["vaults"] != nil:
		return nil, hint(errors.New("it declares whole vaults"), "run: agent-vault apply -f FILE")
	case isMap && m["host"] != nil:
		list, isList = []any{m}, true
	case isMap:
		if err := onlyFields(m, "", "services"); err != nil {
			return nil, err
		}
		list, isList = m["services"].([]any)
	}
	for _, item := range list {
		_, ok := item.(map[string]any)
		isList = isList && ok
	}
	if !isList {
		return nil, errors.New("it must be a list of services, or a map with one under \"services:\"")
	}
	asJSON, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	services := []vault.Service{}
	if err := json.Unmarshal(asJSON, &services); err != nil {
		return nil, declarationError(err)
	}
	for i := range services {
		if host, err := policy.CanonicalPattern(services[i].Host); err == nil { // what is wrong, the server says
			services[i].Host = host
		}
		if services[i].Name == "" {
			services[i].Name = vault.NameFor(services[i].Host)
		}
		if switches, err := services[i].Canonical(); err == nil {
			services[i].Switches = switches
		}
	}
	return services, nil
}

// servicesText is a vault's services as they are written in a file, "" for none.
func servicesText(services []vault.Service) (string, error) {
	if len(services) == 0 {
		return "", nil
	}
	raw, err := json.Marshal(services)
	if err != nil {
		return "", err
	}
	text, err := asYAML(raw)
	return string(text), err
}

// serviceDiffs pairs services by name: those that there are, then new ones.
func serviceDiffs(before, after []vault.Service) (diffs []vault.ServiceDiff) {
	at := make(map[string]int)
	for i := range before {
		at[before[i].Name] = len(diffs)
		diffs = append(diffs, vault.ServiceDiff{Name: before[i].Name, Before: &before[i]})
	}
	for i := range after {
		n, ok := at[after[i].Name]
		if !ok || diffs[n].After != nil { // a name that stands there twice is the server's to refuse
			n = len(diffs)
			diffs = append(diffs, vault.ServiceDiff{Name: after[i].Name})
		}
		diffs[n].After = &after[i]
	}
	return diffs
}

// diffServices shows what changes, each service by itself, so that its name is
// always seen.
func (s screen) diffServices(w io.Writer, diffs []vault.ServiceDiff) error {
	same := true
	for _, d := range diffs {
		var texts [2]string
		for i, service := range []*vault.Service{d.Before, d.After} {
			if service == nil {
				continue
			}
			text, err := servicesText([]vault.Service{*service})
			if err != nil {
				return err
			}
			texts[i] = text
		}
		if texts[0] != texts[1] {
			same = false
			s.diff(w, "service "+d.Name+" now", texts[0], "service "+d.Name+" then", texts[1])
		}
	}
	if same { // but perhaps their order
		fmt.Fprintln(w, "no service differs")
	}
	return nil
}
