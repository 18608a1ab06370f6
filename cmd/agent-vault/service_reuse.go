package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

// confirmReuse asks before a credential that has a value already goes to a host
// to which no service of the vault sends it: the host, or the whole command, may
// be what an agent wants.
func confirmReuse(c *cobra.Command, vaultName string, added []vault.Service, sure *confirmation) error {
	if sure.yes {
		return nil
	}
	var there []vault.Service
	l, err := byPerson(c, func(client *api.Client) (api.CredentialList, error) {
		s, err := client.Services(c.Context(), vaultName)
		if err != nil {
			return api.CredentialList{}, err
		}
		there = s.Services
		return client.Credentials(c.Context(), vaultName)
	})
	if err != nil {
		return err
	}
	for _, s := range added {
		for _, key := range s.Keys() {
			has := slices.ContainsFunc(l.Credentials, func(cr api.CredentialInfo) bool { return cr.Key == key })
			if !has || slices.ContainsFunc(there, func(old vault.Service) bool { return sendsTo(old, key, s) }) {
				continue
			}
			std := stdioOf(c)
			fmt.Fprintf(std.err, "%s has a value already, and no service of the vault %s sends it to %s\n", key, plain(vaultName), plain(hostOf(s)))
			if err := sure.ask(std, "Send %s to %s?", key, hostOf(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendsTo reports whether a service sends a credential to where another would.
func sendsTo(old vault.Service, key string, s vault.Service) bool {
	if !slices.Contains(old.Keys(), key) {
		return false
	}
	from, to := hostOf(old), hostOf(s)
	_, parent, _ := strings.Cut(to, ".")
	return from == to || from == "*."+parent
}

// hostOf is a service's scheme, where it is not the usual one, host and port.
func hostOf(s vault.Service) string {
	host, _, _ := strings.Cut(s.Host, "/")
	return shownScheme(s) + host
}
