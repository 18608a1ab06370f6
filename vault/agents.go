package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// A NewAgent says what an agent will be.
type NewAgent struct {
	Name   string
	Vaults map[string]Grant // by vault name
	TTL    time.Duration    // of its token, from when it is made; 0: it does not end
}

// Bounds of an agent token's life.
const (
	MinAgentTTL = 5 * time.Minute
	MaxAgentTTL = 366 * 24 * time.Hour
)

// CreateAgent makes an agent and returns its token, which is shown this once.
func (r *Registry) CreateAgent(ctx context.Context, c Caller, n NewAgent) (token string, a Agent, err error) {
	err = r.writeAsNow(ctx, c, actWidenAgent, func(tx Tx, c Caller) error {
		grants, err := r.checkNewAgent(tx, c, n)
		if err != nil {
			return err
		}
		token, a = r.newAgent(n.Name, grants, n.TTL)
		return errors.Join(tx.PutAgent(a), r.note(tx, c, actWidenAgent, nil, "agent "+a.Name))
	})
	if err != nil {
		return "", Agent{}, err
	}
	return token, a, nil
}

func (r *Registry) newAgent(name string, grants map[string]Grant, ttl time.Duration) (token string, a Agent) {
	token = NewToken(PrefixAgent)
	a = Agent{ID: newID(), Name: name, Vaults: grants, CreatedAt: r.now(), TokenTTL: ttl}
	a.give(token, a.CreatedAt)
	return token, a
}

// give makes a token the agent's only one.
func (a *Agent) give(token string, now time.Time) {
	a.Digest, a.ExpiresAt, a.RevokedAt, a.Old = DigestToken(token), time.Time{}, time.Time{}, OldToken{}
	if a.TokenTTL > 0 {
		a.ExpiresAt = now.Add(a.TokenTTL)
	}
}

// checkNewAgent returns the grants by vault ID. The caller must be an admin of
// each vault, and an owner where there is none.
func (r *Registry) checkNewAgent(tx Tx, c Caller, n NewAgent) (map[string]Grant, error) {
	if err := checkName("agent", n.Name); err != nil {
		return nil, err
	}
	if n.TTL != 0 && (n.TTL < MinAgentTTL || n.TTL > MaxAgentTTL) {
		return nil, badRequest("session_ttl_seconds: an agent's token lasts from %d to %d seconds, or, with 0, until it is revoked", int(MinAgentTTL.Seconds()), int(MaxAgentTTL.Seconds()))
	}
	grants := make(map[string]Grant, len(n.Vaults))
	for _, name := range slices.Sorted(maps.Keys(n.Vaults)) {
		v, err := r.wholeVault(tx, c, actWidenAgent, name)
		if err != nil {
			return nil, err
		}
		if grants[v.ID], err = checkGrant(v, n.Vaults[name]); err != nil {
			return nil, err
		}
	}
	if len(grants) == 0 && c.user.Role != RoleOwner {
		return nil, badRequest("vaults: name at least one of which you are an admin")
	}
	return grants, agentNameIsFree(tx, n.Name, r.now())
}

// agentNameIsFree asks the agents and the pending invites.
func agentNameIsFree(tx Tx, name string, now time.Time) error {
	switch _, err := tx.AgentByName(name); {
	case err == nil:
		return refuse(CodeConflict, "there is an agent %q already", name)
	case !errors.Is(err, ErrNotFound):
		return err
	}
	invites, err := tx.ListInvites(InviteAgent)
	if slices.ContainsFunc(invites, func(i Invite) bool { return i.Name == name && i.pending(now) }) {
		return refuse(CodeConflict, "there is an invite for the agent %q already", name)
	}
	return err
}

// checkGrant returns the grant with its services sorted, each once.
func checkGrant(v Vault, g Grant) (Grant, error) {
	if err := checkVaultRole(g.Role); err != nil {
		return Grant{}, err
	}
	if g.Services == nil {
		return g, nil
	}
	services := slices.Compact(slices.Sorted(slices.Values(g.Services)))
	for _, name := range services {
		if _, err := v.mustHave(name); err != nil {
			return Grant{}, err
		}
	}
	if services == nil {
		services = []string{} // none of them, which is not all
	}
	return Grant{Role: g.Role, Services: services}, nil
}

// sees reports whether the person is at least a member of one of the vaults, or
// an owner.
func (u *User) sees(vaults map[string]Grant) bool {
	if u.Role == RoleOwner {
		return true
	}
	for id := range vaults {
		if vaultRank[u.roleIn(id)] >= vaultRank[VaultMember] {
			return true
		}
	}
	return false
}

// overAll asks whether the caller may do this in every vault of an agent; only
// owners may where there is none.
func (r *Registry) overAll(tx Tx, c Caller, a *action, grants map[string]Grant) error {
	if c.user.Role == RoleOwner {
		return r.allow(c, a, nil)
	}
	for id := range grants {
		v, err := tx.VaultRefByID(id)
		if errors.Is(err, ErrNotFound) { // an invite's, deleted meanwhile
			continue
		}
		if err != nil {
			return err
		}
		if err := r.allow(c, a, &v); err != nil {
			return err
		}
	}
	if len(grants) == 0 {
		return refuse(CodeForbidden, "only an owner may do this to an agent without vaults")
	}
	return nil
}

// overOne asks whether the caller may do this in one vault at least: to end a
// token, which whoever shares the agent can.
func (r *Registry) overOne(tx Tx, c Caller, a *action, grants map[string]Grant) error {
	refused := r.overAll(tx, c, a, grants)
	for id := range grants {
		v, err := tx.VaultRefByID(id)
		if err != nil {
			return err
		}
		if r.allow(c, a, &v) == nil {
			return nil
		}
	}
	return refused
}

// Agents lists the agents that the caller may see, by name.
func (r *Registry) Agents(ctx context.Context, c Caller) ([]Agent, error) {
	if err := r.allow(c, actSeeAgents, nil); err != nil {
		return nil, err
	}
	visible := []Agent{}
	err := r.store.Read(ctx, func(tx Tx) error {
		all, err := tx.ListAgents()
		for _, a := range all {
			if a.current(r.now()); c.user.sees(a.Vaults) {
				err = errors.Join(err, a.countLeft(tx, r.now()))
				visible = append(visible, a)
			}
		}
		return err
	})
	return visible, err
}

// changeAgent loads an agent, changes it and puts it back. The caller must be
// allowed to in every vault of the agent.
func (r *Registry) changeAgent(ctx context.Context, c Caller, act *action, name, what string, f func(Tx, *Agent) error) (Agent, error) {
	return r.changeAgentOver(ctx, c, act, r.overAll, name, what, f)
}

// An over asks whether the caller may do something to what has these grants.
type over func(tx Tx, c Caller, a *action, grants map[string]Grant) error

func (r *Registry) changeAgentOver(ctx context.Context, c Caller, act *action, may over, name, what string, f func(Tx, *Agent) error) (Agent, error) {
	var a Agent
	err := r.writeAsNow(ctx, c, act, func(tx Tx, c Caller) (err error) {
		if a, err = agentByName(tx, c, name); err != nil {
			return err
		}
		if err := may(tx, c, act, a.Vaults); err != nil {
			return err
		}
		if err := f(tx, &a); err != nil {
			return err
		}
		return errors.Join(tx.PutAgent(a), r.note(tx, c, act, nil, what+" agent "+name))
	})
	if err != nil {
		return Agent{}, err
	}
	return a, nil
}

// MaxTokenOverlap is how long the old token of an agent may be good beside the new
// one.
const MaxTokenOverlap = 24 * time.Hour

// RotateAgent gives an agent a new token. The old one stops working before
// this returns, or is good for the time of an overlap, if it still was: two are
// good at once, never three.
func (r *Registry) RotateAgent(ctx context.Context, c Caller, name string, overlap time.Duration) (token string, err error) {
	if overlap < 0 || overlap > MaxTokenOverlap {
		return "", badRequest("overlap: from 0 to %d seconds", int(MaxTokenOverlap.Seconds()))
	}
	what := "rotate"
	if overlap > 0 {
		what = "rotate, with an overlap of " + overlap.String() + ","
	}
	token = NewToken(PrefixAgent)
	_, err = r.changeAgent(ctx, c, actWidenAgent, name, what, func(_ Tx, a *Agent) error {
		now := r.now()
		if overlap > 0 && a.RevokedAt.IsZero() && now.Before(a.Old.EndsAt) {
			return refuse(CodeConflict, "the token before is good until %s, and a third one is not kept; wait, or rotate without an overlap, which ends both", a.Old.EndsAt.UTC().Format(time.RFC3339))
		}
		old := OldToken{}
		if overlap > 0 && a.RevokedAt.IsZero() && !a.ended(now) {
			old = OldToken{Digest: a.Digest, ExpiresAt: a.ExpiresAt, EndsAt: now.Add(overlap)}
		}
		a.give(token, now)
		a.Old = old
		return nil
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// RevokeAgent ends an agent's token. The agent stays, and a new token can be
// made by rotating. An admin of one of its vaults is enough.
func (r *Registry) RevokeAgent(ctx context.Context, c Caller, name string) error {
	_, err := r.changeAgentOver(ctx, c, actNarrowAgent, r.overOne, name, "revoke", func(_ Tx, a *Agent) error {
		a.give(NewToken(PrefixAgent), r.now()) // nobody's
		a.RevokedAt = r.now()
		return nil
	})
	return err
}

// RenameAgent gives an agent another name.
func (r *Registry) RenameAgent(ctx context.Context, c Caller, name, next string) (Agent, error) {
	return r.changeAgent(ctx, c, actNarrowAgent, name, "rename to "+next+":", func(tx Tx, a *Agent) error {
		if err := checkName("agent", next); err != nil {
			return err
		}
		if next != a.Name {
			if err := agentNameIsFree(tx, next, r.now()); err != nil {
				return err
			}
		}
		if err := renameIn(tx, a, next); err != nil {
			return err
		}
		a.Name = next
		return nil
	})
}

// DeleteAgent removes an agent. What it has open is cut before this returns.
func (r *Registry) DeleteAgent(ctx context.Context, c Caller, name string) error {
	return r.writeAsNow(ctx, c, actNarrowAgent, func(tx Tx, c Caller) error {
		a, err := agentByName(tx, c, name)
		if err != nil {
			return err
		}
		if err := r.overAll(tx, c, actNarrowAgent, a.Vaults); err != nil {
			return err
		}
		return errors.Join(tx.DeleteAgent(a.ID), r.note(tx, c, actNarrowAgent, nil, "delete agent "+name))
	})
}

// GrantVault lets an agent use a vault, or changes how.
func (r *Registry) GrantVault(ctx context.Context, c Caller, name, vaultName string, g Grant) (Agent, error) {
	return r.changeGrant(ctx, c, actWidenAgent, name, vaultName, func(v Vault, a *Agent) (err error) {
		if a.Vaults == nil {
			a.Vaults = make(map[string]Grant)
		}
		a.Vaults[v.ID], err = checkGrant(v, g)
		return err
	})
}

// RevokeVault takes a vault away from an agent.
func (r *Registry) RevokeVault(ctx context.Context, c Caller, name, vaultName string) (Agent, error) {
	return r.changeGrant(ctx, c, actNarrowAgent, name, vaultName, func(v Vault, a *Agent) error {
		if _, ok := a.Vaults[v.ID]; !ok {
			return refuse(CodeNotFound, "the agent %s has no access to the vault %s", a.Name, v.Name)
		}
		delete(a.Vaults, v.ID)
		return nil
	})
}

// changeGrant changes an agent's grant in one vault, of which alone the caller
// must be an admin.
func (r *Registry) changeGrant(ctx context.Context, c Caller, act *action, name, vaultName string, f func(Vault, *Agent) error) (Agent, error) {
	return r.changeGrantIn(ctx, c, act, name, vaultName, "", func(_ Tx, v Vault, a *Agent) error { return f(v, a) })
}

// changeGrantIn is changeGrant with a word of what is changed.
func (r *Registry) changeGrantIn(ctx context.Context, c Caller, act *action, name, vaultName, what string, f func(Tx, Vault, *Agent) error) (Agent, error) {
	var a Agent
	err := r.writeAsNow(ctx, c, act, func(tx Tx, c Caller) error {
		v, err := r.wholeVault(tx, c, act, vaultName)
		if err != nil {
			return err
		}
		if a, err = agentByName(tx, c, name); err != nil {
			return err
		}
		if err := f(tx, v, &a); err != nil {
			return err
		}
		return errors.Join(tx.PutAgent(a), r.note(tx, c, act, v.ref(), what+"agent "+name))
	})
	if err != nil {
		return Agent{}, err
	}
	return a, nil
}

// agentByName finds an agent that the caller may see.
func agentByName(tx Tx, c Caller, name string) (Agent, error) {
	a, err := tx.AgentByName(name)
	if errors.Is(err, ErrNotFound) || err == nil && !c.user.sees(a.Vaults) {
		return Agent{}, noAgent(name)
	}
	return a, err
}

func noAgent(name string) error {
	return refuse(CodeNotFound, "there is no agent %q", shorten(name))
}

// InviteAgent makes a link that makes one agent. ttl is the invite's; 0 means
// DefaultInviteTTL.
func (r *Registry) InviteAgent(ctx context.Context, c Caller, n NewAgent, ttl time.Duration) (token string, i Invite, err error) {
	err = r.writeAsNow(ctx, c, actWidenAgent, func(tx Tx, c Caller) error {
		grants, err := r.checkNewAgent(tx, c, n)
		if err != nil {
			return err
		}
		i = Invite{Kind: InviteAgent, Name: n.Name, Vaults: grants, TokenTTL: n.TTL}
		token, err = r.invite(tx, c, actWidenAgent, PrefixInvite, ttl, &i)
		return err
	})
	if err != nil {
		return "", Invite{}, err
	}
	return token, i, nil
}

// RedeemAgent makes the agent of an invite and returns its token, which is
// shown this once, and the names of its vaults.
func (r *Registry) RedeemAgent(ctx context.Context, inviteToken string) (token string, a Agent, vaults map[string]Grant, err error) {
	if err := r.redeemable(ctx, InviteAgent, inviteToken); err != nil {
		return "", Agent{}, nil, err
	}
	err = r.write(ctx, func(tx Tx) error {
		i, err := r.redeem(tx, InviteAgent, inviteToken)
		if err != nil {
			return err
		}
		grants, byName := make(map[string]Grant), make(map[string]Grant)
		for id, g := range i.Vaults {
			v, err := tx.VaultRefByID(id)
			switch {
			case err == nil:
				grants[id], byName[v.Name] = g, g
			case !errors.Is(err, ErrNotFound): // a vault that was deleted meanwhile is left out
				return err
			}
		}
		if err := agentNameIsFree(tx, i.Name, r.now()); err != nil {
			return err
		}
		token, a = r.newAgent(i.Name, grants, i.TokenTTL)
		vaults = byName
		return errors.Join(tx.PutAgent(a), r.note(tx, Caller{agent: &a}, actWidenAgent, nil, "redeem invite of agent "+a.Name))
	})
	if err != nil {
		return "", Agent{}, nil, err
	}
	return token, a, vaults, nil
}

// AgentStatus is active, revoked or expired.
func (r *Registry) AgentStatus(a Agent) string {
	switch {
	case !a.RevokedAt.IsZero():
		return "revoked"
	case a.ended(r.now()):
		return "expired"
	}
	return "active"
}
