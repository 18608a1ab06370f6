package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

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
	return list(t, scanEvent, selectEvents+` WHERE id < ? AND (? = '' OR vault_id = ?) ORDER BY id DESC LIMIT ?`, before, vaultID, vaultID, limit)
}

const selectEvents = `SELECT id, time, actor_kind, actor_id, actor_name, action, vault_id, vault, object FROM events`

func scanEvent(r *sql.Rows, e *vault.Event) error {
	return r.Scan(&e.ID, millis{&e.Time}, &e.ActorKind, &e.ActorID, &e.ActorName, &e.Action, &e.VaultID, &e.Vault, &e.Object)
}

// EventsAfter returns events above an ID in their order, limit of them at most.
func (db *DB) EventsAfter(ctx context.Context, id int64, limit int) (events []vault.Event, err error) {
	err = read(ctx, db.readers, func(t *tx) error {
		events, err = list(t, scanEvent, selectEvents+` WHERE id > ? ORDER BY id LIMIT ?`, id, limit)
		return err
	})
	return events, err
}

// LastEvent returns the highest ID that an event ever got here, 0 for none.
func (db *DB) LastEvent(ctx context.Context) (id int64, err error) {
	err = read(ctx, db.readers, func(t *tx) error {
		return t.one(`SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'`, nil, &id)
	})
	return id, err
}

// ForgetEvents deletes events from before a time, of those up to an ID, limit of
// them at most, and returns how many.
func (db *DB) ForgetEvents(ctx context.Context, before time.Time, upTo int64, limit int) (n int64, err error) {
	_, err = db.write(ctx, func(t *tx) error {
		res, err := t.sql.ExecContext(t.ctx, `DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= ? AND time < ? ORDER BY id LIMIT ?)`, upTo, ms(before), limit)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}
