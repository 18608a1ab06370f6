package vault

import (
	"context"
	"time"

	"agentvault/policy/limit"
)

// A LimitUse is a limit of a service with what is used up of it.
type LimitUse struct {
	limit.Limit
	Rule int // that has it; -1: the service
	Used []LimitUsed
}

// A LimitUsed is what an agent has used up, or all together.
type LimitUsed struct {
	Agent string // an agent's name or a session's label; "": all together
	Total int64  // of a budget in millionths
}

// ServiceLimits returns the limits of a service. What is used up is known of
// budgets and of uses; the others are counted by each server for itself.
func (r *Registry) ServiceLimits(ctx context.Context, c Caller, vaultName, name string) ([]LimitUse, error) {
	var uses []LimitUse
	err := r.readAs(ctx, c, actReadVault, func(tx Tx) error {
		v, err := r.wholeVault(tx, c, actReadVault, vaultName)
		if err != nil {
			return err
		}
		at, err := v.mustHave(name)
		if err != nil {
			return err
		}
		own, byRule, err := limit.All(v.Services[at].Limits, v.Services[at].Rules)
		if err != nil {
			return err
		}
		uses = nil
		for _, l := range own {
			uses = append(uses, LimitUse{Limit: l, Rule: -1})
		}
		for i, list := range byRule {
			for _, l := range list {
				uses = append(uses, LimitUse{Limit: l, Rule: i})
			}
		}
		return r.fillUsed(tx, v.ID, name, uses)
	})
	return uses, err
}

func (r *Registry) fillUsed(tx Tx, vaultID, service string, uses []LimitUse) error {
	windows, byName := make(map[string]time.Duration), make(map[string]*LimitUse)
	for i := range uses {
		if u := &uses[i]; u.Kind.Durable() {
			windows[u.Name], byName[u.Name] = u.Window, u
		}
	}
	if len(byName) == 0 {
		return nil
	}
	spent, err := tx.Spent(vaultID, service, r.now(), windows)
	if err != nil {
		return err
	}
	names, err := subjects(tx, vaultID)
	for _, s := range spent {
		u := byName[s.Name]
		if u == nil || u.PerAgent != (s.Subject != "") || u.PerAgent && names[s.Subject] == "" { // of a limit that was another, or of who is gone
			continue
		}
		u.Used = append(u.Used, LimitUsed{names[s.Subject], s.Total})
	}
	return err
}

// subjects are the names of agents, and the labels of a vault's sessions, by ID.
func subjects(tx Tx, vaultID string) (map[string]string, error) {
	names := make(map[string]string)
	agents, err := tx.ListAgents()
	if err != nil {
		return nil, err
	}
	for _, a := range agents {
		names[a.ID] = a.Name
	}
	sessions, err := tx.ListSessions(vaultID)
	for _, s := range sessions {
		if names[s.ID] = s.Label; s.Label == "" {
			names[s.ID] = s.ID
		}
	}
	return names, err
}
