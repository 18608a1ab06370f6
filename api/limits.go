package api

import (
	"context"
	"time"

	"agentvault/vault"
)

// GrantServiceRequest is the body of PUT on a service of an agent's vault.
type GrantServiceRequest struct {
	LastsSeconds int64 `json:"lasts_seconds" minimum:"1" maximum:"31622400" doc:"How long the agent may use the service, from now."`
	Uses         int64 `json:"uses,omitempty" minimum:"0" maximum:"1000000" doc:"For how many requests; 0: as many as it likes."`
}

// EndingGrant lets an agent use one service for a while.
type EndingGrant struct {
	Service   string    `json:"service"`
	ExpiresAt time.Time `json:"expires_at"`
	Uses      int64     `json:"uses,omitempty" doc:"For how many requests; left out: as many as it likes."`
	Left      *int64    `json:"left,omitempty" doc:"How many of them are left, where agents are listed."`
}

func endingGrants(list []vault.TimedGrant) (out []EndingGrant) {
	for _, t := range list {
		out = append(out, EndingGrant{t.Service, t.ExpiresAt, t.Uses, t.Left})
	}
	return out
}

// LimitInfo is a limit of a service.
type LimitInfo struct {
	Limit string      `json:"limit" doc:"In words."`
	Kind  string      `json:"kind" enum:"requests,concurrent,request_bytes,response_bytes,uses,budget"`
	Name  string      `json:"name,omitempty" doc:"Of a budget or of uses."`
	Rule  *int        `json:"rule" doc:"Index of the service's rule that has it. Null: the service has it."`
	Most  string      `json:"most"`
	Used  []LimitUsed `json:"used" doc:"Of budgets and uses. The others are counted in the memory of each server."`
}

// LimitUsed is what is used up of a limit.
type LimitUsed struct {
	Agent string `json:"agent,omitempty" doc:"An agent's name or a session's label. Left out: all together."`
	Used  string `json:"used"`
	Left  string `json:"left"`
}

// LimitList is the body of GET on a service's limits.
type LimitList struct {
	Limits []LimitInfo `json:"limits"`
}

type (
	grantedService struct {
		grantPath
		Service string `path:"service"`
	}
	grantServiceIn struct {
		grantedService
		Body GrantServiceRequest
	}
)

func (s *server) grantService(ctx context.Context, c call[grantServiceIn]) (AgentInfo, error) {
	a, err := s.Registry.GrantService(ctx, c.caller, c.in.Name, c.in.Vault, c.in.Service, time.Duration(c.in.Body.LastsSeconds)*time.Second, c.in.Body.Uses)
	return s.changedAgent(ctx, c.caller, a, err)
}

func (s *server) revokeService(ctx context.Context, c call[grantedService]) (AgentInfo, error) {
	a, err := s.Registry.RevokeService(ctx, c.caller, c.in.Name, c.in.Vault, c.in.Service)
	return s.changedAgent(ctx, c.caller, a, err)
}

func (s *server) serviceLimits(ctx context.Context, c call[servicePath]) (LimitList, error) {
	uses, err := s.Registry.ServiceLimits(ctx, c.caller, c.in.Name, c.in.Service)
	out := LimitList{Limits: []LimitInfo{}}
	for _, u := range uses {
		info := LimitInfo{Limit: u.String(), Kind: u.Kind.String(), Name: u.Name, Most: u.Spell(u.Most), Used: []LimitUsed{}}
		if u.Rule >= 0 {
			info.Rule = &u.Rule
		}
		for _, x := range u.Used {
			info.Used = append(info.Used, LimitUsed{x.Agent, u.Spell(x.Total), u.Spell(max(0, u.Most-x.Total))})
		}
		if u.Kind.Durable() && !u.PerAgent && len(u.Used) == 0 {
			info.Used = append(info.Used, LimitUsed{Used: u.Spell(0), Left: u.Spell(u.Most)})
		}
		out.Limits = append(out.Limits, info)
	}
	return out, err
}

// GrantService lets an agent use one service of a vault for a while.
func (c *Client) GrantService(ctx context.Context, agent, vaultName, service string, r GrantServiceRequest) (AgentInfo, error) {
	return send[AgentInfo](ctx, c, "PUT", at("agents", agent, "vaults", vaultName, "services", service), r)
}

// RevokeService ends what GrantService gave.
func (c *Client) RevokeService(ctx context.Context, agent, vaultName, service string) (AgentInfo, error) {
	return send[AgentInfo](ctx, c, "DELETE", at("agents", agent, "vaults", vaultName, "services", service), nil)
}

// ServiceLimits lists the limits of a service, with what is used up.
func (c *Client) ServiceLimits(ctx context.Context, vaultName, service string) (LimitList, error) {
	return send[LimitList](ctx, c, "GET", at("vaults", vaultName, "services", service, "limits"), nil)
}
