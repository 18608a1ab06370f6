package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// Bounds of a vault.
const (
	maxServices    = 10_000
	maxCredentials = 10_000
	maxDescription = 500      // characters
	maxRules       = 200      // of one service
	maxValue       = 64 << 10 // bytes of a credential's value
)

// Vaults returns the vaults that the caller may see, by name. Boxes stay shut.
func (r *Registry) Vaults(ctx context.Context, c Caller) ([]Vault, error) {
	if err := allow(c, readVault); err != nil {
		return nil, err
	}
	var list []Vault
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		list, err = tx.ListVaults()
		return err
	})
	return list, err
}

// Vault returns one vault.
func (r *Registry) Vault(ctx context.Context, c Caller, name string) (Vault, error) {
	if err := allow(c, readVault); err != nil {
		return Vault{}, err
	}
	var v Vault
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		v, err = byName(tx, name)
		return err
	})
	return v, err
}

// CreateVault makes an empty vault.
func (r *Registry) CreateVault(ctx context.Context, c Caller, name string) (Vault, error) {
	if err := allow(c, runInstance); err != nil {
		return Vault{}, err
	}
	if err := checkName("vault", name); err != nil {
		return Vault{}, err
	}
	v := Vault{ID: newID(), Name: name, UnmatchedHosts: UnmatchedDeny, CreatedAt: r.now()}
	err := r.write(ctx, func(tx Tx) error {
		switch _, err := tx.VaultByName(name); {
		case err == nil:
			return refuse(CodeConflict, "there is a vault %q already", name)
		case !errors.Is(err, ErrNotFound):
			return err
		}
		return tx.PutVault(v)
	})
	return v, err
}

// DeleteVault removes a vault with all that is in it. Its sessions end.
func (r *Registry) DeleteVault(ctx context.Context, c Caller, name string) error {
	if err := allow(c, runInstance); err != nil {
		return err
	}
	return r.write(ctx, func(tx Tx) error {
		v, err := byName(tx, name)
		if err != nil {
			return err
		}
		return tx.DeleteVault(v.ID)
	})
}

// change loads a vault, changes it and puts it back, in one transaction.
func (r *Registry) change(ctx context.Context, c Caller, name string, f func(*Vault) error) error {
	if err := allow(c, changeVault); err != nil {
		return err
	}
	return r.write(ctx, func(tx Tx) error {
		v, err := byName(tx, name)
		if err != nil {
			return err
		}
		if err := f(&v); err != nil {
			return err
		}
		return tx.PutVault(v)
	})
}

// SetServices replaces all services of a vault and returns them as they are
// stored.
func (r *Registry) SetServices(ctx context.Context, c Caller, vaultName string, services []Service) ([]Service, error) {
	if err := allow(c, changeVault); err != nil {
		return nil, err
	}
	checked, err := r.checkServices(services)
	if err != nil {
		return nil, err
	}
	err = r.change(ctx, c, vaultName, func(v *Vault) error {
		v.Services = checked
		return nil
	})
	if err != nil {
		return nil, err
	}
	return checked, nil
}

// checkServices returns the services in canonical form, or an error that names
// the service and the field.
func (r *Registry) checkServices(services []Service) ([]Service, error) {
	if len(services) > maxServices {
		return nil, badRequest("a vault has at most %d services", maxServices)
	}
	out := append([]Service{}, services...)
	rules := make([]policy.Service, len(out))
	names := make(map[string]bool, len(out))
	for i := range out {
		s := &out[i]
		if err := r.checkService(s); err != nil {
			return nil, err
		}
		if names[s.Name] {
			return nil, badRequest("service %q stands there twice", s.Name)
		}
		names[s.Name] = true
		rules[i] = s.Policy()
	}
	if _, err := policy.Compile(rules); err != nil {
		return nil, &Error{Code: CodeBadRequest, Message: err.Error()}
	}
	return out, nil
}

func (r *Registry) checkService(s *Service) error {
	if err := checkName("service", s.Name); err != nil {
		return err
	}
	bad := func(err error) error {
		return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("service %q: %v", s.Name, err)}
	}
	host, err := policy.CanonicalPattern(s.Host)
	if err != nil {
		return bad(err)
	}
	s.Host = host
	if name := policy.PatternHost(host); policy.IsLocalName(name) && !r.development {
		return badRequest("service %q: host %q is a local name; only a server in development mode takes those", s.Name, name)
	}
	if _, err := inject.Parse(s.Auth); err != nil {
		return bad(err)
	}
	switch {
	case !isText(s.Description, maxDescription):
		return badRequest("service %q: description: at most %d characters of UTF-8 without control characters", s.Name, maxDescription)
	case len(s.Rules) > maxRules:
		return badRequest("service %q: rules: at most %d", s.Name, maxRules)
	}
	return nil
}

func isText(s string, maxChars int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxChars &&
		strings.IndexFunc(s, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }) < 0
}

// SetCredentials seals values and stores them, and returns their keys, sorted.
func (r *Registry) SetCredentials(ctx context.Context, c Caller, vaultName string, values map[string]seal.Plaintext) ([]string, error) {
	if err := allow(c, changeVault); err != nil {
		return nil, err
	}
	if len(values) == 0 {
		return nil, badRequest("credentials: none given")
	}
	if err := checkValues(values); err != nil {
		return nil, err
	}
	keys := slices.Sorted(maps.Keys(values))
	err := r.change(ctx, c, vaultName, func(v *Vault) error {
		for _, key := range keys {
			if err := r.setCredential(v, key, values[key]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

func checkValues(values map[string]seal.Plaintext) error {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !inject.ValidKey(key) {
			return badRequest("credentials: a key has A-Z, 0-9 and _, and begins with a letter") // it may be a value
		}
		if err := checkValue(key, values[key].Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// checkValue refuses what could not stand in a header (R9). The message says
// nothing of the value.
func checkValue(key string, value []byte) error {
	switch {
	case len(value) == 0:
		return badRequest("credential %s: the value is empty", key)
	case len(value) > maxValue:
		return badRequest("credential %s: the value is longer than 64 KiB", key)
	case value[len(value)-1] == '\n' || value[len(value)-1] == '\r':
		return badRequest("credential %s: the value ends with a line break; leave it out", key)
	case bytes.IndexByte([]byte(" \t"), value[0]) >= 0 || bytes.IndexByte([]byte(" \t"), value[len(value)-1]) >= 0:
		// HTTP drops them around a field's value, so what came back would not be
		// what is looked for.
		return badRequest("credential %s: the value begins or ends with a space or tab; leave it out", key)
	}
	for _, b := range value {
		if b < ' ' && b != '\t' || b == 0x7f {
			return badRequest("credential %s: the value holds a control character", key)
		}
	}
	return nil
}

// setCredential seals a value as the credential's next version.
func (r *Registry) setCredential(v *Vault, key string, value seal.Plaintext) error {
	now := r.now()
	old, existed := v.Credentials[key]
	next := Credential{Key: key, Version: old.Version + 1, CreatedAt: now, UpdatedAt: now}
	if existed {
		next.CreatedAt = old.CreatedAt
	} else if len(v.Credentials) >= maxCredentials {
		return badRequest("a vault has at most %d credentials", maxCredentials)
	}
	box, err := r.key.ForVault(v.ID).Seal(v.sealContext(next), value)
	if err != nil {
		return err
	}
	next.Box = box
	if v.Credentials == nil {
		v.Credentials = make(map[string]Credential)
	}
	v.Credentials[key] = next
	return nil
}

func (v *Vault) sealContext(c Credential) seal.Context {
	return seal.Context{Vault: v.ID, Credential: c.Key, Field: FieldValue, Version: c.Version}
}

// DeleteCredential removes a value. Services that use its key answer
// credential_not_found from then on.
func (r *Registry) DeleteCredential(ctx context.Context, c Caller, vaultName, key string) error {
	return r.change(ctx, c, vaultName, func(v *Vault) error {
		if _, ok := v.Credentials[key]; !ok {
			return refuse(CodeCredentialNotFound, "there is no credential %q in the vault %s", shorten(key), vaultName)
		}
		delete(v.Credentials, key)
		return nil
	})
}

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
	if err := allow(c, discover); err != nil {
		return Discovery{}, err
	}
	var v Vault
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		v, err = agentsVault(tx, c, vaultName)
		return err
	})
	if err != nil {
		return Discovery{}, err
	}
	d := Discovery{
		Vault: v.Name, ProxyURL: r.proxyURL(), Services: []DiscoveredService{},
		AvailableCredentials: slices.Sorted(maps.Keys(v.Credentials)),
	}
	if d.AvailableCredentials == nil {
		d.AvailableCredentials = []string{}
	}
	for _, s := range v.Services {
		if s.Enabled {
			d.Services = append(d.Services, DiscoveredService{s.Name, s.Host, s.Description})
		}
	}
	return d, nil
}

// agentsVault is the vault that an agent's request is about.
func agentsVault(tx Tx, c Caller, named string) (Vault, error) {
	if c.session != nil {
		v, err := tx.VaultByID(c.session.VaultID)
		if errors.Is(err, ErrNotFound) { // deleted in between, and the session with it
			err = errUnknownToken
		}
		return v, err
	}
	if named == "" {
		return Vault{}, refuse(CodeVaultRequired, "an agent token must name its vault in the X-Vault header")
	}
	v, err := byName(tx, named)
	if err != nil {
		return Vault{}, err
	}
	if _, ok := c.agent.Vaults[v.ID]; !ok {
		return Vault{}, refuse(CodeVaultForbidden, "this agent has no access to the vault %s; a person can grant it", v.Name)
	}
	return v, nil
}
