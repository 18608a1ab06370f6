package store

import (
	"database/sql"
	"math"

	"agentvault/vault"
)

func (t *tx) PutEvent(e vault.Event) error {
	return t.exec(`INSERT INTO events (time, actor_kind, actor_id, actor_name, action, vault_id, vault, object) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		ms(e.Time), e.ActorKind, e.ActorID, e.ActorName, e.Action, e.VaultID, e.Vault, e.Object)
}

func (t *tx) ListEvents(vaultID string, before int64, limit int) ([]vault.Event, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	return list(t, func(r *sql.Rows, e *vault.Event) error {
		return r.Scan(&e.ID, millis{&e.Time}, &e.ActorKind, &e.ActorID, &e.ActorName, &e.Action, &e.VaultID, &e.Vault, &e.Object)
	}, `SELECT id, time, actor_kind, actor_id, actor_name, action, vault_id, vault, object FROM events
		WHERE id < ? AND (? = '' OR vault_id = ?) ORDER BY id DESC LIMIT ?`, before, vaultID, vaultID, limit)
}
