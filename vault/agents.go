package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// CreateAgent makes an agent with a role in some vaults, by name, and returns
// its token, which is shown this once.
func (r *Registry) CreateAgent(ctx context.Context, c Caller, name string, roles map[string]string) (token string, a Agent, err error) {
	if err := allow(c, runInstance); err != nil {
		return "", Agent{}, err
	}
	if err := checkName("agent", name); err != nil {
		return "", Agent{}, err
	}
	token = NewToken(PrefixAgent)
	a = Agent{ID: newID(), Name: name, Digest: DigestToken(token), Vaults: make(map[string]string, len(roles)), CreatedAt: r.now()}
	err = r.write(ctx, func(tx Tx) error {
		switch _, err := tx.AgentByName(name); {
		case err == nil:
			return refuse(CodeConflict, "there is an agent %q already", name)
		case !errors.Is(err, ErrNotFound):
			return err
		}
		for _, vaultName := range slices.Sorted(maps.Keys(roles)) {
			role := roles[vaultName]
			if role != VaultProxy && role != VaultMember && role != VaultAdmin {
				return badRequest("vault_role %q is none of proxy, member, admin", shorten(role))
			}
			v, err := byName(tx, vaultName)
			if err != nil {
				return err
			}
			a.Vaults[v.ID] = role
		}
		return tx.PutAgent(a)
	})
	if err != nil {
		return "", Agent{}, err
	}
	return token, a, nil
}

// Agents lists the instance's agents, by name.
func (r *Registry) Agents(ctx context.Context, c Caller) ([]Agent, error) {
	if err := allow(c, readVault); err != nil {
		return nil, err
	}
	var list []Agent
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		list, err = tx.ListAgents()
		return err
	})
	return list, err
}

// RotateAgent gives an agent a new token. The old one stops working before
// this returns.
func (r *Registry) RotateAgent(ctx context.Context, c Caller, name string) (token string, err error) {
	if err := allow(c, runInstance); err != nil {
		return "", err
	}
	token = NewToken(PrefixAgent)
	err = r.write(ctx, func(tx Tx) error {
		a, err := agentByName(tx, name)
		if err != nil {
			return err
		}
		a.Digest = DigestToken(token)
		return tx.PutAgent(a)
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// DeleteAgent removes an agent. What it has open is cut before this returns.
func (r *Registry) DeleteAgent(ctx context.Context, c Caller, name string) error {
	if err := allow(c, runInstance); err != nil {
		return err
	}
	return r.write(ctx, func(tx Tx) error {
		a, err := agentByName(tx, name)
		if err != nil {
			return err
		}
		return tx.DeleteAgent(a.ID)
	})
}

func agentByName(tx Tx, name string) (Agent, error) {
	a, err := tx.AgentByName(name)
	if errors.Is(err, ErrNotFound) {
		return Agent{}, refuse(CodeNotFound, "there is no agent %q", shorten(name))
	}
	return a, err
}
