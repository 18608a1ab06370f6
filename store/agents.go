package store

import (
	"database/sql"
	"time"

	"agentvault/vault"
)

const selectAgents = `SELECT id, name, digest, created_at, token_ttl, expires_at, revoked_at, old_digest, old_expires_at, old_ends_at FROM agents `

func scanAgent(r *sql.Rows, a *vault.Agent) error {
	return r.Scan(&a.ID, &a.Name, digest{&a.Digest}, millis{&a.CreatedAt}, seconds{&a.TokenTTL}, millisOrNone{&a.ExpiresAt}, millisOrNone{&a.RevokedAt},
		digestOrNone{&a.Old.Digest}, millisOrNone{&a.Old.ExpiresAt}, millisOrNone{&a.Old.EndsAt})
}

func (t *tx) AgentByDigest(d [32]byte) (vault.Agent, error) {
	return t.wholeAgent(first(t, scanAgent, selectAgents+`WHERE digest = ? OR old_digest = ?`, d[:], d[:]))
}

func (t *tx) AgentByName(name string) (vault.Agent, error) {
	return t.wholeAgent(first(t, scanAgent, selectAgents+`WHERE name = ?`, name))
}

func (t *tx) wholeAgent(a vault.Agent, err error) (vault.Agent, error) {
	if err != nil {
		return a, err
	}
	all := []vault.Agent{a}
	err = t.fillGrants(all, `WHERE agent_id = ?`, a.ID)
	return all[0], err
}

func (t *tx) ListAgents() ([]vault.Agent, error) {
	all, err := list(t, scanAgent, selectAgents+`ORDER BY name`)
	if err != nil {
		return nil, err
	}
	return all, t.fillGrants(all, ``)
}

type grantRow struct {
	agentID, vaultID string
	vault.Grant
}

func (t *tx) fillGrants(agents []vault.Agent, where string, args ...any) error {
	byID := make(map[string]*vault.Agent, len(agents))
	for i := range agents {
		agents[i].Vaults = make(map[string]vault.Grant)
		byID[agents[i].ID] = &agents[i]
	}
	grants, err := list(t, func(r *sql.Rows, g *grantRow) error {
		return r.Scan(&g.agentID, &g.vaultID, &g.Role, asJSON{&g.Services}, asJSON{&g.Ends})
	},
		`SELECT agent_id, vault_id, role, services, ends FROM grants `+where, args...)
	for _, g := range grants {
		if a := byID[g.agentID]; a != nil {
			a.Vaults[g.vaultID] = g.Grant
		}
	}
	return err
}

func (t *tx) PutAgent(a vault.Agent) error {
	t.decides = true
	var old any // NULL: none
	if a.Old != (vault.OldToken{}) {
		old = a.Old.Digest[:]
	}
	if err := t.exec(`INSERT INTO agents (id, name, digest, created_at, token_ttl, expires_at, revoked_at, old_digest, old_expires_at, old_ends_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, digest = excluded.digest, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at,
			old_digest = excluded.old_digest, old_expires_at = excluded.old_expires_at, old_ends_at = excluded.old_ends_at`,
		a.ID, a.Name, a.Digest[:], ms(a.CreatedAt), int64(a.TokenTTL/time.Second), msOrNone(a.ExpiresAt), msOrNone(a.RevokedAt),
		old, msOrNone(a.Old.ExpiresAt), msOrNone(a.Old.EndsAt)); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM grants WHERE agent_id = ?`, a.ID); err != nil {
		return err
	}
	for vaultID, g := range a.Vaults {
		var services, ends any // NULL: all, and none
		if g.Ends.Guest || g.Ends.Grants != nil {
			ends = asJSON{g.Ends}
		}
		if g.Services != nil {
			services = asJSON{g.Services}
		}
		if err := t.exec(`INSERT INTO grants (agent_id, vault_id, role, services, ends) VALUES (?, ?, ?, ?, ?)`, a.ID, vaultID, g.Role, services, ends); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) DeleteAgent(id string) error {
	t.decides = true
	return t.execOne(`DELETE FROM agents WHERE id = ?`, id)
}
