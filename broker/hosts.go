package broker

import (
	"slices"
	"strings"

	"agentvault/policy"
	"agentvault/vault"
)

// VaultHosts returns the hosts that the services of a vault name, without ports,
// sorted: exact ones, and with "*." for one label. Tunnels are intercepted for no
// others, but to say why they are refused. It must not be changed.
func (b *Broker) VaultHosts(vaultID string) []string {
	v := b.view.Load()
	if v == nil {
		return nil
	}
	for _, vv := range v.vaults {
		if vv.id == vaultID {
			return vv.hosts
		}
	}
	return nil
}

func hostsOf(services []vault.Service) []string {
	var hosts []string
	for _, s := range services {
		host := policy.PatternHost(s.Host)
		if strings.HasPrefix(s.Host, "*.") {
			host = "*." + host
		}
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
