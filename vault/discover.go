package vault

import (
	"context"
	"slices"

	"agentvault/policy/inject"
)

// A Discovery tells an agent what it may use.
type Discovery struct {
	Vault                string              `json:"vault"`
	ProxyURL             string              `json:"proxy_url"`
	Services             []DiscoveredService `json:"services"`
	AvailableCredentials []string            `json:"available_credentials"`
	Dummies              map[string]string   `json:"dummies"` // of the available credentials: of the shape that clients check, and worth nothing
}

// A DiscoveredService is a service as agents see it.
type DiscoveredService struct {
	Name        string `json:"name"`
	Host        string `json:"host"`
	Description string `json:"description"`

	// Substitutions are what it replaces, each with its placeholder.
	Substitutions []inject.Substitution `json:"substitutions,omitempty"`

	// Placeholder is what requests send where clients put a key, to be this
	// service's; "" where they need none.
	Placeholder string `json:"placeholder,omitempty"`
}

// Discover tells an agent which services and credential keys its vault has.
// vaultName is what X-Vault says; a session's vault is part of it.
func (r *Registry) Discover(ctx context.Context, c Caller, vaultName string) (Discovery, error) {
	if err := actDiscover.admits(c); err != nil {
		return Discovery{}, err
	}
	var v Vault
	var g Grant
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		ref, grant, err := r.agentsVault(tx, c, vaultName)
		if err != nil {
			return err
		}
		g = grant
		v, err = tx.VaultByID(ref.ID)
		return err
	})
	if err != nil {
		return Discovery{}, err
	}
	d := Discovery{Vault: v.Name, ProxyURL: r.proxyURL(), Services: []DiscoveredService{}, AvailableCredentials: v.keysFor(g), Dummies: make(map[string]string)}
	dummyOf := func(key string) string { return r.dummyOf(v, key) }
	for _, key := range d.AvailableCredentials {
		d.Dummies[key] = dummyOf(key)
	}
	for _, s := range v.Services {
		if s.Enabled && !s.Expired(r.now()) && g.includes(s.Name) && s.isFor(c.agent) {
			d.Services = append(d.Services, DiscoveredService{
				Name: s.Name, Host: s.Host, Description: s.Description,
				Substitutions: inject.Placeholders(s.Substitutions, dummyOf).All(), Placeholder: s.Chooser(dummyOf),
			})
		}
	}
	return d, nil
}

// keysFor are the credential keys that a grant is told of, sorted: all of the
// vault's, or, of an agent that is narrowed to some services, theirs.
func (v *Vault) keysFor(g Grant) []string {
	keys := []string{}
	var used map[string]bool
	if g.Services != nil {
		used = v.usedBy(g)
	}
	for key := range v.Credentials {
		if g.Services == nil || used[key] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// usedBy are the keys that the services of a grant use.
func (v *Vault) usedBy(g Grant) map[string]bool {
	used := make(map[string]bool)
	for _, s := range v.Services {
		if !g.includes(s.Name) {
			continue
		}
		for _, key := range s.Keys() {
			used[key] = true
		}
	}
	return used
}

// includes reports whether the grant is for the service.
func (g Grant) includes(service string) bool {
	return g.Services == nil || slices.Contains(g.Services, service) || g.Ends.of(service) != nil
}

// agentsVault finds the vault that an agent's request is about, and what the
// agent may do there.
func (r *Registry) agentsVault(tx Tx, c Caller, named string) (VaultRef, Grant, error) {
	c, err := r.holderNow(tx, c)
	if err != nil {
		return VaultRef{}, Grant{}, err
	}
	if c.session != nil {
		v, err := tx.VaultRefByID(c.session.VaultID) // sessions go with their vault
		return v, Grant{Role: VaultProxy}, err
	}
	if named == "" {
		return VaultRef{}, Grant{}, refuse(CodeVaultRequired, "an agent token must name its vault in the X-Vault header")
	}
	v, err := byName(tx, named)
	if err != nil {
		return VaultRef{}, Grant{}, err
	}
	g, ok := c.agent.Vaults[v.ID]
	if !ok {
		return VaultRef{}, Grant{}, refuse(CodeVaultForbidden, "this agent has no access to the vault %s; a person can grant it", v.Name)
	}
	return v, g, nil
}
