package vault

import (
	"context"
	"errors"
	"slices"

	"agentvault/policy/inject"
)

// A Discovery tells an agent what it may use.
type Discovery struct {
	Vault                string              `json:"vault"`
	ProxyURL             string              `json:"proxy_url"`
	Services             []DiscoveredService `json:"services"`
	AvailableCredentials []string            `json:"available_credentials"`
}

// A DiscoveredService is a service as agents see it.
type DiscoveredService struct {
	Name        string `json:"name"`
	Host        string `json:"host"`
	Description string `json:"description"`
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
		v, g, err = agentsVault(tx, c, vaultName)
		return err
	})
	if err != nil {
		return Discovery{}, err
	}
	d := Discovery{Vault: v.Name, ProxyURL: r.proxyURL(), Services: []DiscoveredService{}, AvailableCredentials: v.keysFor(g)}
	for _, s := range v.Services {
		if s.Enabled && g.includes(s.Name) {
			d.Services = append(d.Services, DiscoveredService{s.Name, s.Host, s.Description})
		}
	}
	return d, nil
}

// keysFor are the credential keys that a grant is told of, sorted: all of the
// vault's, or, of an agent that is narrowed to some services, theirs.
func (v *Vault) keysFor(g Grant) []string {
	keys := []string{}
	for key := range v.Credentials {
		if g.Services == nil || v.usedBy(g, key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (v *Vault) usedBy(g Grant, key string) bool {
	return slices.ContainsFunc(v.Services, func(s Service) bool {
		in, err := inject.Parse(s.Auth)
		return err == nil && g.includes(s.Name) && slices.Contains(in.Keys(), key)
	})
}

// includes reports whether the grant is for the service.
func (g Grant) includes(service string) bool {
	return g.Services == nil || slices.Contains(g.Services, service)
}

// agentsVault is the vault that an agent's request is about, and what the
// agent may do there.
func agentsVault(tx Tx, c Caller, named string) (Vault, Grant, error) {
	// The token was looked at before: it may have been revoked, and the grant
	// taken away, in between.
	if c.session != nil {
		_, err := tx.SessionByDigest(c.session.Digest)
		var v Vault
		if err == nil {
			v, err = tx.VaultByID(c.session.VaultID)
		}
		if errors.Is(err, ErrNotFound) {
			err = errUnknownToken
		}
		return v, Grant{Role: VaultProxy}, err
	}
	a, err := tx.AgentByDigest(c.agent.Digest)
	if errors.Is(err, ErrNotFound) {
		err = errUnknownToken
	}
	if err != nil {
		return Vault{}, Grant{}, err
	}
	if named == "" {
		return Vault{}, Grant{}, refuse(CodeVaultRequired, "an agent token must name its vault in the X-Vault header")
	}
	v, err := byName(tx, named)
	if err != nil {
		return Vault{}, Grant{}, err
	}
	g, ok := a.Vaults[v.ID]
	if !ok {
		return Vault{}, Grant{}, refuse(CodeVaultForbidden, "this agent has no access to the vault %s; a person can grant it", v.Name)
	}
	return v, g, nil
}
