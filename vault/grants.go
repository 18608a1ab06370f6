package vault

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// A TimedGrant lets an agent use one service for a while.
type TimedGrant struct {
	ID        string    `json:"id"`
	Service   string    `json:"service"`
	ExpiresAt time.Time `json:"expires_at"` // to the second
	Uses      int64     `json:"uses"`       // requests; 0: as many as it likes
	Left      *int64    `json:"-"`          // of Uses, where agents are listed; nil: it was not counted
}

func (t TimedGrant) ended(now time.Time) bool { return !now.Before(t.ExpiresAt) }

// Ending are the grants of services that end.
type Ending struct {
	// Guest says that the agent has nothing else in the vault: its grant ends with
	// the last of these.
	Guest  bool         `json:"guest,omitempty"`
	Grants []TimedGrant `json:"grants"`
}

// Bounds of a grant that ends.
const (
	MaxGrantUses = 1_000_000
	maxTimed     = 100 // of one agent in one vault
)

// At is the grant without what has ended. ok is false where that was all of it.
func (g Grant) At(now time.Time) (_ Grant, ok bool) {
	g.Ends.Grants = slices.DeleteFunc(slices.Clone(g.Ends.Grants), func(t TimedGrant) bool { return t.ended(now) })
	return g, !g.Ends.Guest || len(g.Ends.Grants) > 0
}

// Usable are the names of the services that the grant is for, with those that end;
// nil means all.
func (g Grant) Usable() []string {
	if g.Services == nil {
		return nil
	}
	names := slices.Clone(g.Services)
	for _, t := range g.Ends.Grants {
		names = append(names, t.Service)
	}
	return names
}

// Metered returns the grants whose uses are counted, and that nothing else
// stands in for.
func (g Grant) Metered() []TimedGrant {
	return slices.DeleteFunc(slices.Clone(g.Ends.Grants), func(t TimedGrant) bool {
		return t.Uses == 0 || g.Services == nil || slices.Contains(g.Services, t.Service)
	})
}

// left returns how many requests are left of each grant whose uses are counted, by its
// ID.
func (g Grant) left(tx Tx, vaultID string, now time.Time) (map[string]int64, error) {
	left := make(map[string]int64)
	for _, t := range g.Ends.Grants {
		if t.Uses == 0 {
			continue
		}
		account := t.UsesAccount(vaultID)
		spent, err := tx.Spent(vaultID, account.Service, now, map[string]time.Duration{account.Name: 0})
		if err != nil {
			return nil, err
		}
		left[t.ID] = t.Uses
		for _, s := range spent {
			left[t.ID] = max(0, left[t.ID]-s.Total)
		}
	}
	return left, nil
}

// countLeft fills in what is left of the agent's grants.
func (a *Agent) countLeft(tx Tx, now time.Time) error {
	for id, g := range a.Vaults {
		left, err := g.left(tx, id, now)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			continue
		}
		g.Ends.Grants = slices.Clone(g.Ends.Grants)
		for i := range g.Ends.Grants {
			if n, counted := left[g.Ends.Grants[i].ID]; counted {
				g.Ends.Grants[i].Left = &n
			}
		}
		a.Vaults[id] = g
	}
	return nil
}

// UsesAccount is where uses of a grant are counted.
func (t TimedGrant) UsesAccount(vaultID string) Account {
	return Account{VaultID: vaultID, Service: "grant " + t.ID, Name: "uses"}
}

// without are the services that the grant has not, for a while or otherwise.
func (e Ending) without(services []string) Ending {
	e.Grants = slices.DeleteFunc(slices.Clone(e.Grants), func(t TimedGrant) bool { return slices.Contains(services, t.Service) })
	return e
}

// current takes what has ended out of the agent's grants, and reports whether there
// was anything.
func (a *Agent) current(now time.Time) (changed bool) {
	vaults := make(map[string]Grant, len(a.Vaults))
	for id, g := range a.Vaults {
		at, ok := g.At(now)
		changed = changed || !ok || len(at.Ends.Grants) < len(g.Ends.Grants)
		if ok {
			vaults[id] = at
		}
	}
	if changed {
		a.Vaults = vaults
	}
	return changed
}

// GrantService lets an agent use one service of a vault for some time, and if uses
// is not 0 for as many requests. A grant of this service that ends is replaced.
func (r *Registry) GrantService(ctx context.Context, c Caller, name, vaultName, service string, lasts time.Duration, uses int64) (Agent, error) {
	var replaced *TimedGrant
	var vaultID string
	return r.changeGrantIn(ctx, c, actWidenAgent, name, vaultName, "service "+shorten(service)+" for a while: ", func(tx Tx, v Vault, a *Agent) error {
		vaultID = v.ID
		at, err := v.mustHave(service)
		if err != nil {
			return err
		}
		switch {
		case !v.Services[at].isFor(a):
			return refuse(CodeConflict, "the service %s is for the agents %s only, whatever %s is granted; add it to them first", service, strings.Join(v.Services[at].Agents, ", "), a.Name)
		case lasts < time.Second || lasts > MaxLasts:
			return badRequest("lasts: from 1 second to %d days", MaxLasts/(24*time.Hour))
		case uses < 0 || uses > MaxGrantUses:
			return badRequest("uses: from 1 to %d, or 0 for as many as it likes", MaxGrantUses)
		}
		g, ok := a.Vaults[v.ID]
		switch {
		case !ok:
			g = Grant{Role: VaultProxy, Services: []string{}, Ends: Ending{Guest: true}}
		case g.Services == nil || slices.Contains(g.Services, service):
			return refuse(CodeConflict, "the agent %s may use the service %s for good; take that away first", a.Name, service)
		}
		replaced = g.Ends.of(service)
		g.Ends = g.Ends.without([]string{service})
		if len(g.Ends.Grants) >= maxTimed {
			return badRequest("an agent has at most %d grants that end in one vault", maxTimed)
		}
		g.Ends.Grants = append(g.Ends.Grants, TimedGrant{ID: newID(), Service: service, ExpiresAt: r.endOf(lasts), Uses: uses})
		if a.Vaults == nil {
			a.Vaults = make(map[string]Grant)
		}
		a.Vaults[v.ID] = g
		return forget(tx, vaultID, replaced)
	})
}

// of returns the grant of a service, or nil.
func (e Ending) of(service string) *TimedGrant {
	if at := slices.IndexFunc(e.Grants, func(t TimedGrant) bool { return t.Service == service }); at >= 0 {
		return &e.Grants[at]
	}
	return nil
}

// forget closes the account of a grant that is over.
func forget(tx Tx, vaultID string, t *TimedGrant) error {
	if t == nil || t.Uses == 0 {
		return nil
	}
	return tx.ForgetSpent(vaultID, t.UsesAccount(vaultID).Service)
}

// RevokeService ends a grant of GrantService.
func (r *Registry) RevokeService(ctx context.Context, c Caller, name, vaultName, service string) (Agent, error) {
	return r.changeGrantIn(ctx, c, actNarrowAgent, name, vaultName, "service "+shorten(service)+": ", func(tx Tx, v Vault, a *Agent) error {
		g := a.Vaults[v.ID]
		t := g.Ends.of(service)
		if t == nil {
			return refuse(CodeNotFound, "the agent %s has no grant of the service %s that ends", a.Name, shorten(service))
		}
		g.Ends = g.Ends.without([]string{service})
		if a.Vaults[v.ID] = g; g.Ends.Guest && len(g.Ends.Grants) == 0 {
			delete(a.Vaults, v.ID)
		}
		return forget(tx, v.ID, t)
	})
}

// endGrants puts away grants that have ended.
func (r *Registry) endGrants(ctx context.Context) error {
	var some bool
	now := r.now()
	if err := r.store.Read(ctx, func(tx Tx) error {
		all, err := tx.ListAgents()
		some = slices.ContainsFunc(all, func(a Agent) bool { return a.current(now) })
		return err
	}); err != nil || !some {
		return err
	}
	return r.write(ctx, func(tx Tx) error {
		all, err := tx.ListAgents()
		if err != nil {
			return err
		}
		for _, a := range all {
			if err := r.endGrantsOf(tx, a, now); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *Registry) endGrantsOf(tx Tx, a Agent, now time.Time) error {
	var errs []error
	for vaultID, g := range a.Vaults {
		for _, t := range g.Ends.Grants {
			if t.ended(now) {
				errs = append(errs, forget(tx, vaultID, &t), r.noteIn(tx, Caller{}, actNarrowAgent, vaultID, "the grant of service "+t.Service+" to agent "+a.Name+" has ended"))
			}
		}
	}
	if a.current(now) {
		errs = append(errs, tx.PutAgent(a))
	}
	return errors.Join(errs...)
}
