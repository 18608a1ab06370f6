package api

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"agentvault/vault"
	"agentvault/vault/catalog"
	"agentvault/vault/seal"
)

type (
	credentialIn struct {
		Key string `path:"key"`
		inVault
	}
	servicesIn struct {
		byName
		Body ServiceList
	}
	addServicesIn struct {
		byName
		Body AddServicesRequest
	}
	changeVaultIn struct {
		byName
		Body VaultChange
	}
	servicePath struct {
		byName
		Service string `path:"service"`
	}
	patchServiceIn struct {
		servicePath
		Body ServicePatch
	}
	rollBackIn struct {
		Key  string `path:"key"`
		Body RollBackRequest
	}
	catalogIn struct {
		Search string `query:"search" doc:"Part of a name, title or category."`
	}
	fromCatalogIn struct {
		byName
		Body CatalogRequest
	}
)

func vaultInfo(v vault.Vault) VaultInfo {
	info := VaultInfo{
		Name: v.Name, UnmatchedHosts: v.UnmatchedHosts, Services: v.Services,
		Credentials: slices.Sorted(maps.Keys(v.Credentials)), CreatedAt: v.CreatedAt,
	}
	if info.Services == nil {
		info.Services = []vault.Service{}
	}
	if info.Credentials == nil {
		info.Credentials = []string{}
	}
	return info
}

func (s *server) listVaults(ctx context.Context, c call[none]) (VaultList, error) {
	vaults, err := s.Registry.Vaults(ctx, c.caller)
	out := VaultList{Vaults: []VaultInfo{}}
	for _, v := range vaults {
		out.Vaults = append(out.Vaults, vaultInfo(v))
	}
	return out, err
}

func (s *server) createVault(ctx context.Context, c call[NameRequest]) (VaultInfo, error) {
	v, err := s.Registry.CreateVault(ctx, c.caller, c.in.Name)
	return vaultInfo(v), err
}

func (s *server) getVault(ctx context.Context, c call[byName]) (VaultInfo, error) {
	v, err := s.Registry.Vault(ctx, c.caller, c.in.Name)
	return vaultInfo(v), err
}

func (s *server) deleteVault(ctx context.Context, c call[byName]) (Done, error) {
	return Done{true}, s.Registry.DeleteVault(ctx, c.caller, c.in.Name)
}

func (s *server) listServices(ctx context.Context, c call[byName]) (ServiceList, error) {
	v, err := s.Registry.Vault(ctx, c.caller, c.in.Name)
	return ServiceList{vaultInfo(v).Services}, err
}

func (s *server) putServices(ctx context.Context, c call[servicesIn]) (ServiceList, error) {
	if c.in.Body.Services == nil {
		return ServiceList{}, &vault.Error{Code: vault.CodeBadRequest, Message: "services is missing; an empty list removes all"}
	}
	stored, err := s.Registry.SetServices(ctx, c.caller, c.in.Name, c.in.Body.Services)
	return ServiceList{stored}, err
}

func credentialInfo(cr vault.Credential) CredentialInfo {
	return CredentialInfo{Key: cr.Key, Version: cr.Version, Short: cr.Short(), CreatedAt: cr.CreatedAt, UpdatedAt: cr.UpdatedAt}
}

func (s *server) listCredentials(ctx context.Context, c call[inVault]) (CredentialList, error) {
	v, err := s.Registry.Vault(ctx, c.caller, c.in.Vault)
	if err != nil {
		return CredentialList{}, err
	}
	uses, err := s.Registry.CredentialUses(ctx, c.caller, c.in.Vault)
	out := CredentialList{Credentials: []CredentialInfo{}}
	for _, cr := range v.Credentials {
		info := credentialInfo(cr)
		if at, ok := uses[cr.Key]; ok {
			info.LastUsedAt = &at
		}
		out.Credentials = append(out.Credentials, info)
	}
	slices.SortFunc(out.Credentials, func(a, b CredentialInfo) int { return cmp.Compare(a.Key, b.Key) })
	return out, err
}

func plaintexts(values map[string]string) map[string]seal.Plaintext {
	out := make(map[string]seal.Plaintext, len(values))
	for k, v := range values {
		out[k] = seal.NewPlaintext([]byte(v))
	}
	return out
}

func (s *server) setCredentials(ctx context.Context, c call[SetCredentialsRequest]) (SetCredentialsResponse, error) {
	keys, err := s.Registry.SetCredentials(ctx, c.caller, c.in.Vault, plaintexts(c.in.Credentials), c.in.AllowShort)
	return SetCredentialsResponse{keys}, err
}

func (s *server) deleteCredential(ctx context.Context, c call[credentialIn]) (Done, error) {
	return Done{true}, s.Registry.DeleteCredential(ctx, c.caller, c.in.Vault, c.in.Key)
}

func (s *server) apply(ctx context.Context, c call[ApplyRequest]) (ApplyResponse, error) {
	d := vault.Declaration{DryRun: c.in.DryRun, AllowShort: c.in.AllowShort}
	for _, v := range c.in.Vaults {
		d.Vaults = append(d.Vaults, vault.VaultDeclaration{
			Name: v.Name, UnmatchedHosts: v.UnmatchedHosts, Services: v.Services, Credentials: plaintexts(v.Credentials),
		})
	}
	changes, err := s.Registry.Apply(ctx, c.caller, d)
	return ApplyResponse{changes}, err
}

func (s *server) changeVault(ctx context.Context, c call[changeVaultIn]) (VaultInfo, error) {
	in := c.in.Body
	if in.Name == nil && in.UnmatchedHosts == nil {
		return VaultInfo{}, bad("name or unmatched_hosts: give one of them")
	}
	if in.Name != nil && in.UnmatchedHosts != nil {
		return VaultInfo{}, bad("name and unmatched_hosts are changed one at a time")
	}
	if in.Name != nil {
		v, err := s.Registry.RenameVault(ctx, c.caller, c.in.Name, *in.Name)
		return vaultInfo(v), err
	}
	v, err := s.Registry.SetUnmatchedHosts(ctx, c.caller, c.in.Name, *in.UnmatchedHosts)
	return vaultInfo(v), err
}

func (s *server) addServices(ctx context.Context, c call[addServicesIn]) (ServiceList, error) {
	in := c.in.Body
	added, err := s.Registry.AddServices(ctx, c.caller, c.in.Name, in.Services, plaintexts(in.Credentials), in.AllowShort)
	return ServiceList{added}, err
}

func (s *server) reviewServices(ctx context.Context, c call[servicesIn]) (ServicesReview, error) {
	rv, err := s.Registry.ReviewServices(ctx, c.caller, c.in.Name, c.in.Body.Services)
	return ServicesReview(rv), err
}

func (s *server) serviceStates(ctx context.Context, c call[byName]) (ServiceStateList, error) {
	states, err := s.Registry.ServiceStates(ctx, c.caller, c.in.Name)
	out := ServiceStateList{Services: []ServiceState{}}
	for _, x := range states {
		st := ServiceState{Name: x.Name, State: x.State, Keys: texts(x.Keys), Missing: texts(x.Missing), Connects: x.Connects}
		if !x.LastUsedAt.IsZero() {
			st.LastUsedAt = &x.LastUsedAt
		}
		if !x.ExpiresAt.IsZero() {
			st.ExpiresAt = &x.ExpiresAt
		}
		if !x.TokenFailedAt.IsZero() {
			st.TokenFailedAt = &x.TokenFailedAt
		}
		out.Services = append(out.Services, st)
	}
	return out, err
}

func (s *server) getService(ctx context.Context, c call[servicePath]) (vault.Service, error) {
	v, err := s.Registry.Vault(ctx, c.caller, c.in.Name)
	if err != nil {
		return vault.Service{}, err
	}
	at := slices.IndexFunc(v.Services, func(x vault.Service) bool { return x.Name == c.in.Service })
	if at < 0 {
		return vault.Service{}, &vault.Error{Code: vault.CodeNotFound, Message: "there is no service " + quoted(c.in.Service) + " in the vault " + v.Name}
	}
	return v.Services[at], nil
}

func (s *server) patchService(ctx context.Context, c call[patchServiceIn]) (vault.Service, error) {
	in := c.in.Body
	switched := in.Scrub != nil || in.Undecodable != nil || in.Pins != nil || in.Upgrades != nil || in.Limits != nil || in.LastsSeconds != nil
	switch {
	case in.Enabled == nil && !switched:
		return vault.Service{}, bad("enabled, scrub, undecodable, pins, upgrades, limits or lasts_seconds: give one of them")
	case in.Enabled != nil && switched:
		return vault.Service{}, bad("enabled is changed by itself, without the others")
	case in.Enabled != nil:
		return s.Registry.EnableService(ctx, c.caller, c.in.Name, c.in.Service, *in.Enabled)
	}
	return s.Registry.SetSwitches(ctx, c.caller, c.in.Name, c.in.Service, vault.SwitchChange{
		Scrub: in.Scrub, Undecodable: in.Undecodable, Pins: in.Pins, Upgrades: in.Upgrades, Limits: in.Limits, Lasts: lasting(in.LastsSeconds),
	})
}

func (s *server) removeService(ctx context.Context, c call[servicePath]) (Done, error) {
	return Done{true}, s.Registry.RemoveService(ctx, c.caller, c.in.Name, c.in.Service)
}

func (s *server) getDummy(ctx context.Context, c call[credentialIn]) (DummyInfo, error) {
	dummy, err := s.Registry.Dummy(ctx, c.caller, c.in.Vault, c.in.Key)
	return DummyInfo{c.in.Key, dummy}, err
}

func (s *server) listVersions(ctx context.Context, c call[credentialIn]) (VersionList, error) {
	kept, err := s.Registry.CredentialVersions(ctx, c.caller, c.in.Vault, c.in.Key)
	out := VersionList{Versions: []VersionInfo{}}
	for _, v := range kept {
		out.Versions = append(out.Versions, VersionInfo{Version: v.Version, Short: v.Short(), CreatedAt: v.CreatedAt, RetiredAt: v.RetiredAt})
	}
	return out, err
}

func (s *server) rollBack(ctx context.Context, c call[rollBackIn]) (CredentialInfo, error) {
	cr, err := s.Registry.RollBackCredential(ctx, c.caller, c.in.Body.Vault, c.in.Key, c.in.Body.Version)
	return credentialInfo(cr), err
}

func (s *server) listCatalog(_ context.Context, c call[catalogIn]) (CatalogList, error) {
	out := CatalogList{Entries: []CatalogSummary{}}
	search := strings.ToLower(c.in.Search)
	for _, e := range catalog.All() {
		if search != "" && !strings.Contains(strings.ToLower(e.Name+" "+e.Title+" "+e.Category), search) {
			continue
		}
		sum := CatalogSummary{Name: e.Name, Title: e.Title, Category: e.Category, Hosts: []string{}, Tenant: e.Tenant.Label}
		for _, x := range e.Services {
			sum.Hosts = append(sum.Hosts, x.Host)
		}
		out.Entries = append(out.Entries, sum)
	}
	return out, nil
}

func (s *server) getCatalogEntry(_ context.Context, c call[byName]) (catalog.Entry, error) {
	return catalogEntry(c.in.Name)
}

func catalogEntry(name string) (catalog.Entry, error) {
	e, ok := catalog.Find(name)
	if ok {
		return e, nil
	}
	message := "the catalog has no " + quoted(name)
	if other := catalog.Suggest(name); other != "" {
		message += "; did you mean " + other + "?"
	}
	return e, &vault.Error{Code: vault.CodeNotFound, Message: message}
}

func (s *server) addFromCatalog(ctx context.Context, c call[fromCatalogIn]) (ServiceList, error) {
	e, err := catalogEntry(c.in.Body.Entry)
	if err != nil {
		return ServiceList{}, err
	}
	services, err := e.Instantiate(c.in.Body.Tenant)
	if err != nil {
		return ServiceList{}, err
	}
	for key := range c.in.Body.Credentials {
		if !slices.ContainsFunc(e.Credentials, func(x catalog.Credential) bool { return x.Key == key }) {
			return ServiceList{}, bad("credentials: %s has no use for that key", e.Name)
		}
	}
	added, err := s.Registry.AddServices(ctx, c.caller, c.in.Name, services, plaintexts(c.in.Body.Credentials), c.in.Body.AllowShort)
	return ServiceList{added}, err
}
