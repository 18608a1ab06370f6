package api

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"agentvault/vault"
	"agentvault/vault/seal"
)

func userInfo(u vault.User) UserInfo { return UserInfo{ID: u.ID, Email: u.Email, Role: u.Role} }

func (s *server) register(ctx context.Context, c call[LoginRequest]) (registered, error) {
	u, token, ends, err := s.Registry.Register(ctx, c.in.Email, []byte(c.in.Password))
	return registered{LoginResponse{userInfo(u), token, ends}}, err
}

func (s *server) login(ctx context.Context, c call[LoginRequest]) (LoginResponse, error) {
	u, token, ends, err := s.Registry.Login(ctx, c.in.Email, []byte(c.in.Password))
	return LoginResponse{userInfo(u), token, ends}, err
}

func (s *server) logout(ctx context.Context, c call[none]) (Done, error) {
	return Done{true}, s.Registry.Logout(ctx, c.token)
}

func (s *server) me(_ context.Context, c call[none]) (UserInfo, error) {
	if u := c.caller.User(); u != nil {
		return userInfo(*u), nil
	}
	return UserInfo{}, &vault.Error{Code: vault.CodeForbidden, Message: "an agent's token is not a person's"}
}

func (s *server) discover(ctx context.Context, c call[none]) (vault.Discovery, error) {
	return s.Registry.Discover(ctx, c.caller, c.vault())
}

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

func (s *server) createVault(ctx context.Context, c call[NameRequest]) (createdVault, error) {
	v, err := s.Registry.CreateVault(ctx, c.caller, c.in.Name)
	return createdVault{vaultInfo(v)}, err
}

func (s *server) getVault(ctx context.Context, c call[none]) (VaultInfo, error) {
	v, err := s.Registry.Vault(ctx, c.caller, c.r.PathValue("name"))
	return vaultInfo(v), err
}

func (s *server) deleteVault(ctx context.Context, c call[none]) (Done, error) {
	return Done{true}, s.Registry.DeleteVault(ctx, c.caller, c.r.PathValue("name"))
}

func (s *server) listServices(ctx context.Context, c call[none]) (ServiceList, error) {
	v, err := s.Registry.Vault(ctx, c.caller, c.r.PathValue("name"))
	return ServiceList{vaultInfo(v).Services}, err
}

func (s *server) putServices(ctx context.Context, c call[ServiceList]) (ServiceList, error) {
	if c.in.Services == nil {
		return ServiceList{}, &vault.Error{Code: vault.CodeBadRequest, Message: "services is missing; an empty list removes all"}
	}
	stored, err := s.Registry.SetServices(ctx, c.caller, c.r.PathValue("name"), c.in.Services)
	return ServiceList{stored}, err
}

func (s *server) listCredentials(ctx context.Context, c call[none]) (CredentialList, error) {
	v, err := s.Registry.Vault(ctx, c.caller, c.r.URL.Query().Get("vault"))
	out := CredentialList{Credentials: []CredentialInfo{}}
	for _, cr := range v.Credentials {
		out.Credentials = append(out.Credentials, CredentialInfo{cr.Key, cr.Version, cr.CreatedAt, cr.UpdatedAt})
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
	keys, err := s.Registry.SetCredentials(ctx, c.caller, c.in.Vault, plaintexts(c.in.Credentials))
	return SetCredentialsResponse{keys}, err
}

func (s *server) deleteCredential(ctx context.Context, c call[none]) (Done, error) {
	return Done{true}, s.Registry.DeleteCredential(ctx, c.caller, c.r.URL.Query().Get("vault"), c.r.PathValue("key"))
}

func (s *server) apply(ctx context.Context, c call[ApplyRequest]) (ApplyResponse, error) {
	var d vault.Declaration
	for _, v := range c.in.Vaults {
		d.Vaults = append(d.Vaults, vault.VaultDeclaration{
			Name: v.Name, UnmatchedHosts: v.UnmatchedHosts, Services: v.Services, Credentials: plaintexts(v.Credentials),
		})
	}
	changes, err := s.Registry.Apply(ctx, c.caller, d)
	return ApplyResponse{changes}, err
}

func (s *server) mintSession(ctx context.Context, c call[SessionRequest]) (SessionResponse, error) {
	var ttl time.Duration
	if n := c.in.TTLSeconds; n != nil {
		// Out of bounds either way; and a product that overflows must not look
		// like a small number.
		if *n < 1 || *n > int64(vault.MaxSessionTTL/time.Second) {
			ttl = -1
		} else {
			ttl = time.Duration(*n) * time.Second
		}
	}
	token, session, err := s.Registry.MintSession(ctx, c.caller, c.in.Vault, ttl, c.in.Label)
	return SessionResponse{
		Token: token, ID: session.ID, ExpiresAt: session.ExpiresAt,
		Addr: s.BaseURL(), ProxyURL: s.PathProxyURL(), MITMURL: s.ProxyURL(),
	}, err
}

func (s *server) listSessions(ctx context.Context, c call[none]) (SessionList, error) {
	sessions, err := s.Registry.Sessions(ctx, c.caller, c.r.URL.Query().Get("vault"))
	out := SessionList{Sessions: []SessionInfo{}}
	for _, x := range sessions {
		out.Sessions = append(out.Sessions, SessionInfo{x.ID, x.Label, x.CreatedAt, x.ExpiresAt})
	}
	return out, err
}

func (s *server) revokeSession(ctx context.Context, c call[none]) (Done, error) {
	return Done{true}, s.Registry.RevokeSession(ctx, c.caller, c.r.PathValue("id"))
}

func (s *server) revokeSelf(ctx context.Context, c call[none]) (Done, error) {
	return Done{true}, s.Registry.RevokeOwnSession(ctx, c.caller)
}

func (s *server) createAgent(ctx context.Context, c call[AgentRequest]) (createdAgent, error) {
	roles := make(map[string]string, len(c.in.Vaults))
	for _, v := range c.in.Vaults {
		roles[v.VaultName] = v.VaultRole
	}
	token, a, err := s.Registry.CreateAgent(ctx, c.caller, c.in.Name, roles)
	return createdAgent{AgentResponse{a.Name, token}}, err
}

func (s *server) listAgents(ctx context.Context, c call[none]) (AgentList, error) {
	agents, err := s.Registry.Agents(ctx, c.caller)
	if err != nil {
		return AgentList{}, err
	}
	vaults, err := s.Registry.Vaults(ctx, c.caller)
	names := make(map[string]string, len(vaults))
	for _, v := range vaults {
		names[v.ID] = v.Name
	}
	out := AgentList{Agents: []AgentInfo{}}
	for _, a := range agents {
		info := AgentInfo{Name: a.Name, Vaults: []AgentVault{}, CreatedAt: a.CreatedAt}
		for id, role := range a.Vaults {
			info.Vaults = append(info.Vaults, AgentVault{names[id], role})
		}
		slices.SortFunc(info.Vaults, func(x, y AgentVault) int { return cmp.Compare(x.VaultName, y.VaultName) })
		out.Agents = append(out.Agents, info)
	}
	return out, err
}

func (s *server) rotateAgent(ctx context.Context, c call[none]) (AgentResponse, error) {
	name := c.r.PathValue("name")
	token, err := s.Registry.RotateAgent(ctx, c.caller, name)
	return AgentResponse{name, token}, err
}

func (s *server) deleteAgent(ctx context.Context, c call[none]) (Done, error) {
	return Done{true}, s.Registry.DeleteAgent(ctx, c.caller, c.r.PathValue("name"))
}
