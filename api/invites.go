package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"agentvault/vault"
)

func (s *server) inviteUser(ctx context.Context, c call[UserInviteRequest]) (UserInviteResponse, error) {
	roles := make(map[string]string, len(c.in.Vaults))
	for _, v := range c.in.Vaults {
		if _, twice := roles[v.VaultName]; twice {
			return UserInviteResponse{}, bad("vaults: %s stands there twice", quoted(v.VaultName))
		}
		roles[v.VaultName] = v.VaultRole
	}
	token, i, err := s.Registry.InviteUser(ctx, c.caller, c.in.Email, cmp.Or(c.in.Role, vault.RoleMember), roles, life(c.in.TTLSeconds))
	if err != nil {
		return UserInviteResponse{}, err
	}
	return UserInviteResponse{i.ID, i.Name, i.Role, i.ExpiresAt, s.link("/join/" + token), token}, nil
}

func (s *server) listUserInvites(ctx context.Context, c call[none]) (InviteList, error) {
	return s.invites(ctx, c.caller, vault.InviteUser)
}

func (s *server) listAgentInvites(ctx context.Context, c call[none]) (InviteList, error) {
	return s.invites(ctx, c.caller, vault.InviteAgent)
}

func (s *server) invites(ctx context.Context, c vault.Caller, kind string) (InviteList, error) {
	list, err := s.Registry.Invites(ctx, c, kind)
	if err != nil {
		return InviteList{}, err
	}
	names, err := s.vaultNames(ctx, c)
	out := InviteList{Invites: []InviteInfo{}}
	for _, i := range list {
		out.Invites = append(out.Invites, InviteInfo{i.ID, i.Name, i.Role, s.Registry.InviteStatus(i), agentVaults(i.Vaults, names), i.CreatedAt, i.ExpiresAt})
	}
	return out, err
}

func (s *server) revokeUserInvite(ctx context.Context, c call[byID]) (Done, error) {
	return Done{true}, s.Registry.RevokeInvite(ctx, c.caller, vault.InviteUser, c.in.ID)
}

func (s *server) revokeAgentInvite(ctx context.Context, c call[byID]) (Done, error) {
	return Done{true}, s.Registry.RevokeInvite(ctx, c.caller, vault.InviteAgent, c.in.ID)
}

// joinLink is what a person sees who opens the link of a user's invite.
func (s *server) joinLink(w http.ResponseWriter, r *http.Request) {
	link := s.link("/join/" + url.PathEscape(r.PathValue("token")))
	if prefix, ok := vault.CheckToken(r.PathValue("token")); !ok || prefix != vault.PrefixJoin {
		s.writeError(w, r, &vault.Error{Code: vault.CodeInviteNotFound, Message: "there is no such invite; ask for a new one"})
		return
	}
	writeText(w, fmt.Sprintf("You are invited to an Agent Vault. To choose a password and sign in, run:\n\n  agent-vault auth join %s\n", link))
}

func (s *server) inviteAgent(ctx context.Context, c call[AgentInviteRequest]) (AgentInviteResponse, error) {
	n, err := newAgent(c.in.Name, c.in.Vaults, c.in.SessionTTLSeconds)
	if err != nil {
		return AgentInviteResponse{}, err
	}
	token, i, err := s.Registry.InviteAgent(ctx, c.caller, n, life(c.in.TTLSeconds))
	if err != nil {
		return AgentInviteResponse{}, err
	}
	names, err := s.vaultNames(ctx, c.caller)
	return AgentInviteResponse{i.ID, i.Name, i.ExpiresAt, s.link("/invite/" + token), token, agentVaults(i.Vaults, names)}, err
}

func (s *server) redeemAgent(ctx context.Context, c call[inviteToken]) (RedeemResponse, error) {
	token, a, grants, err := s.Registry.RedeemAgent(ctx, c.in.Token)
	if err != nil {
		return RedeemResponse{}, err
	}
	vaults := []AgentVault{}
	for name, g := range grants {
		vaults = append(vaults, AgentVault{VaultName: name, VaultRole: g.Role, Services: g.Services})
	}
	slices.SortFunc(vaults, func(x, y AgentVault) int { return cmp.Compare(x.VaultName, y.VaultName) })
	return RedeemResponse{
		AgentName: a.Name, Addr: s.BaseURL(), Token: token, ProxyURL: s.PathProxyURL(), MITMURL: s.ProxyURL(),
		Instructions: s.instructions(vaults), Vaults: vaults,
	}, nil
}

// instructions tell an agent how to use its token.
func (s *server) instructions(vaults []AgentVault) string {
	name := vault.DefaultVault
	if len(vaults) > 0 {
		name = vaults[0].VaultName
	}
	base := s.BaseURL()
	return strings.Join([]string{
		"You use credentials through this vault; you never see them. Keep av_agent_token: it is shown this once.",
		"Send with every request: Authorization: Bearer <av_agent_token> and X-Vault: " + name + ".",
		"What you may use: GET " + base + "/discover.",
		fmt.Sprintf("To call https://HOST/PATH, send the same request to %s/HOST/PATH; the credential is put on it for you.", s.PathProxyURL()),
		"An answer with the header X-Agent-Vault-Proxy-Error is the vault's own: its error and message say what to do.",
		"Where a host is refused (403 forbidden), ask for it: POST " + base + "/v1/proposals, give approval_url to a person, then GET " + base + "/v1/proposals/ID?wait=30 until it is applied, and send your request again.",
	}, "\n")
}
