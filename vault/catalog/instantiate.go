package catalog

import (
	"fmt"
	"strings"

	"agentvault/policy"
	"agentvault/vault"
)

// maxLabel is RFC 1035 §2.3.4's limit of a DNS label, in bytes.
const maxLabel = 63

// Instantiate returns the entry's services as a vault takes them, enabled and
// with hosts in canonical form. They are named like the entry, or like the
// entry with "-" and their suffix. Tenant is one DNS label in any letter case
// where the entry has a [Tenant], and "" where it has none. The error is a
// *vault.Error of the code bad_request that says what to give.
func (e Entry) Instantiate(tenant string) ([]vault.Service, error) {
	label, err := e.tenantLabel(tenant)
	if err != nil {
		return nil, err
	}
	services := make([]vault.Service, 0, len(e.Services))
	for _, s := range e.Services {
		name := e.Name
		if s.Suffix != "" {
			name += "-" + s.Suffix
		}
		host := s.Host
		if label != "" {
			host = strings.ReplaceAll(host, e.Tenant.Placeholder, label)
		}
		if host, err = policy.CanonicalPattern(host); err != nil {
			return nil, badRequest("service %q: %v", name, err)
		}
		services = append(services, vault.Service{
			Name: name, Host: host, Description: s.Description, Enabled: true,
			Auth: s.Auth, Rules: cloneRules(s.Rules),
		})
	}
	return services, nil
}

// tenantLabel checks a tenant and lowers its letters.
func (e Entry) tenantLabel(tenant string) (string, error) {
	t := e.Tenant
	switch {
	case t == Tenant{} && tenant != "":
		return "", badRequest("%s has the same hosts for everyone; leave the tenant out", e.Name)
	case t == Tenant{}:
		return "", nil
	case tenant == "":
		return "", badRequest("%s needs a tenant: %s, as in %s", e.Name, t.Label, t.Example)
	case strings.ContainsAny(tenant, ".:/"):
		return "", badRequest("tenant: of the host only the part that is yours (%s), as in %s", t.Label, t.Example)
	}
	label := strings.ToLower(tenant)
	if !isLabel(label) {
		return "", badRequest("tenant: %s has 1 to 63 characters of a-z, 0-9 and -, and neither begins nor ends with -, as in %s", t.Label, t.Example)
	}
	return label, nil
}

// isLabel reports whether s is a DNS label in lower case. Everything else is
// kept out of hosts: dots, wildcards, ports and paths.
func isLabel(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxLabel && s[0] != '-' && s[len(s)-1] != '-'
}

func badRequest(format string, args ...any) *vault.Error {
	return &vault.Error{Code: vault.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}
