package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"agentvault/vault"
)

type (
	discoverIn struct {
		Vault string `header:"X-Vault" doc:"The vault's name; an agent's token needs it, a session's vault is part of it."`
	}
	renameIn struct {
		byName
		Body NameRequest
	}
	grantPath struct {
		byName
		Vault string `path:"vault"`
	}
	grantIn struct {
		grantPath
		Body GrantRequest
	}
	inviteToken struct {
		Token string `path:"token" doc:"Of the invite."`
	}
)

func (s *server) discover(ctx context.Context, c call[discoverIn]) (vault.Discovery, error) {
	return s.Registry.Discover(ctx, c.caller, c.in.Vault)
}

func (s *server) mintSession(ctx context.Context, c call[SessionRequest]) (SessionResponse, error) {
	m, err := s.Registry.MintSession(ctx, c.caller, vault.NewSession{
		Vault: c.in.Vault, TTL: life(c.in.TTLSeconds), Label: c.in.Label, Lease: c.in.Lease,
	})
	out := SessionResponse{
		Token: m.Token, ID: m.ID, ExpiresAt: m.ExpiresAt, LeaseToken: m.LeaseToken,
		Addr: s.BaseURL(), ProxyURL: s.PathProxyURL(), MITMURL: s.ProxyURL(),
	}
	if m.LeaseToken != "" {
		out.LeaseSeconds = int64(vault.LeaseTTL / time.Second)
	}
	return out, err
}

func (s *server) renewLease(ctx context.Context, c call[none]) (LeaseInfo, error) {
	ends, err := s.Registry.RenewLease(ctx, c.token)
	return LeaseInfo{ends}, err
}

func (s *server) listSessions(ctx context.Context, c call[inVault]) (SessionList, error) {
	sessions, err := s.Registry.Sessions(ctx, c.caller, c.in.Vault)
	out := SessionList{Sessions: []SessionInfo{}}
	for _, x := range sessions {
		out.Sessions = append(out.Sessions, SessionInfo{x.ID, x.Label, x.By, x.Leased(), x.CreatedAt, x.ExpiresAt})
	}
	return out, err
}

func (s *server) revokeSession(ctx context.Context, c call[byID]) (Done, error) {
	return Done{true}, s.Registry.RevokeSession(ctx, c.caller, c.in.ID)
}

func (s *server) revokeSelf(ctx context.Context, c call[none]) (Done, error) {
	return Done{true}, s.Registry.RevokeOwnSession(ctx, c.caller)
}

// newAgent reads what a person wants an agent to be. A vault that stands there
// twice is refused.
func newAgent(name string, vaults []AgentVault, ttl *int64) (vault.NewAgent, error) {
	n := vault.NewAgent{Name: name, Vaults: make(map[string]vault.Grant, len(vaults)), TTL: life(ttl)}
	if ttl != nil && *ttl == 0 { // as good as left out: no end
		n.TTL = 0
	}
	for _, v := range vaults {
		if _, twice := n.Vaults[v.VaultName]; twice {
			return n, bad("vaults: %s stands there twice", quoted(v.VaultName))
		}
		if v.Ending != nil {
			return n, bad("vaults: ending: what ends is granted to an agent that there is")
		}
		n.Vaults[v.VaultName] = vault.Grant{Role: v.VaultRole, Services: v.Services}
	}
	return n, nil
}

func agentVaults(grants map[string]vault.Grant, names map[string]string) []AgentVault {
	out := []AgentVault{}
	for id, g := range grants {
		if name := names[id]; name != "" { // of vaults that the caller may see
			out = append(out, AgentVault{name, g.Role, g.Services, endingGrants(g.Ends.Grants)})
		}
	}
	slices.SortFunc(out, func(a, b AgentVault) int { return cmp.Compare(a.VaultName, b.VaultName) })
	return out
}

func (s *server) createAgent(ctx context.Context, c call[AgentRequest]) (AgentResponse, error) {
	n, err := newAgent(c.in.Name, c.in.Vaults, c.in.SessionTTLSeconds)
	if err != nil {
		return AgentResponse{}, err
	}
	token, a, err := s.Registry.CreateAgent(ctx, c.caller, n)
	return AgentResponse{a.Name, token}, err
}

func (s *server) listAgents(ctx context.Context, c call[none]) (AgentList, error) {
	agents, err := s.Registry.Agents(ctx, c.caller)
	if err != nil {
		return AgentList{}, err
	}
	names, err := s.vaultNames(ctx, c.caller)
	out := AgentList{Agents: []AgentInfo{}}
	for _, a := range agents {
		out.Agents = append(out.Agents, s.agentInfo(a, names))
	}
	return out, err
}

func (s *server) agentInfo(a vault.Agent, names map[string]string) AgentInfo {
	info := AgentInfo{Name: a.Name, Status: s.Registry.AgentStatus(a), Vaults: agentVaults(a.Vaults, names), CreatedAt: a.CreatedAt}
	if !a.ExpiresAt.IsZero() {
		info.ExpiresAt = &a.ExpiresAt
	}
	return info
}

type rotateAgentIn struct {
	byName
	Overlap time.Duration `query:"overlap" minimum:"0" maximum:"86400" doc:"Seconds for which the old token works beside the new one; 0: it ends at once."`
}

// changedAgent answers with an agent that was changed.
func (s *server) changedAgent(ctx context.Context, c vault.Caller, a vault.Agent, err error) (AgentInfo, error) {
	if err != nil {
		return AgentInfo{}, err
	}
	names, err := s.vaultNames(ctx, c)
	return s.agentInfo(a, names), err
}

func (s *server) rotateAgent(ctx context.Context, c call[rotateAgentIn]) (AgentResponse, error) {
	token, err := s.Registry.RotateAgent(ctx, c.caller, c.in.Name, c.in.Overlap)
	return AgentResponse{c.in.Name, token}, err
}

func (s *server) revokeAgent(ctx context.Context, c call[byName]) (Done, error) {
	return Done{true}, s.Registry.RevokeAgent(ctx, c.caller, c.in.Name)
}

func (s *server) renameAgent(ctx context.Context, c call[renameIn]) (AgentInfo, error) {
	a, err := s.Registry.RenameAgent(ctx, c.caller, c.in.Name, c.in.Body.Name)
	return s.changedAgent(ctx, c.caller, a, err)
}

func (s *server) deleteAgent(ctx context.Context, c call[byName]) (Done, error) {
	return Done{true}, s.Registry.DeleteAgent(ctx, c.caller, c.in.Name)
}

func (s *server) grantVault(ctx context.Context, c call[grantIn]) (AgentInfo, error) {
	a, err := s.Registry.GrantVault(ctx, c.caller, c.in.Name, c.in.Vault, vault.Grant{
		Role: cmp.Or(c.in.Body.VaultRole, vault.VaultProxy), Services: c.in.Body.Services,
	})
	return s.changedAgent(ctx, c.caller, a, err)
}

func (s *server) revokeVault(ctx context.Context, c call[grantPath]) (AgentInfo, error) {
	a, err := s.Registry.RevokeVault(ctx, c.caller, c.in.Name, c.in.Vault)
	return s.changedAgent(ctx, c.caller, a, err)
}
