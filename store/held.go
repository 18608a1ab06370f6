package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"agentvault/vault"
)

const selectHeld = `SELECT id, vault_id, number, status, digest, asker_kind, asker_id, asker_name, service, method, target, path, upgrade,
	created_at, until, decided_at, decided_by, note, request, sent_at, beat_at, answered_at, kept FROM held_requests `

func scanHeld(r *sql.Rows, h *vault.Held) error {
	return r.Scan(&h.ID, &h.VaultID, &h.Number, &h.Status, digest{&h.Digest}, &h.AskerKind, &h.AskerID, &h.AskerName, &h.Service,
		&h.Method, &h.Target, &h.Path, &h.Upgrade, millis{&h.CreatedAt}, millis{&h.Until}, millisOrNone{&h.DecidedAt}, &h.DecidedBy, &h.Note,
		&h.Request, millisOrNone{&h.SentAt}, millisOrNone{&h.BeatAt}, millisOrNone{&h.AnsweredAt}, &h.Kept)
}

func (t *tx) NextHeld(vaultID string) (n int64, err error) {
	err = t.one(`UPDATE vaults SET last_held = last_held + 1 WHERE id = ? RETURNING last_held`, []any{vaultID}, &n)
	return n, err
}

func (t *tx) HeldByID(id string) (vault.Held, error) {
	return first(t, scanHeld, selectHeld+`WHERE id = ?`, id)
}

func (t *tx) HeldByNumber(vaultID string, number int64) (vault.Held, error) {
	return first(t, scanHeld, selectHeld+`WHERE vault_id = ? AND number = ?`, vaultID, number)
}

// HeldByDigest returns the newest.
func (t *tx) HeldByDigest(vaultID string, d [32]byte) (vault.Held, error) {
	return first(t, scanHeld, selectHeld+`WHERE vault_id = ? AND digest = ? ORDER BY number DESC LIMIT 1`, vaultID, d[:])
}

// ListHeld returns them newest first.
func (t *tx) ListHeld(f vault.HeldFilter) ([]vault.Held, error) {
	w := new(where)
	if f.VaultID != "" {
		w.and(`vault_id = ?`, f.VaultID)
	}
	if !f.Pending.IsZero() {
		w.and(`status = 'pending' AND until > ?`, ms(f.Pending))
	}
	if f.Before > 0 {
		w.and(`number < ?`, f.Before)
	}
	query := selectHeld + w.String() + ` ORDER BY number DESC, created_at DESC`
	if f.Limit > 0 {
		query += ` LIMIT ?`
		w.args = append(w.args, f.Limit)
	}
	return list(t, scanHeld, query, w.args...)
}

// PutHeld stores a held request. What it says never changes.
func (t *tx) PutHeld(h vault.Held) error {
	return t.exec(`INSERT INTO held_requests (id, vault_id, number, status, digest, asker_kind, asker_id, asker_name, service, method, target, path, upgrade,
			created_at, until, decided_at, decided_by, note, request, sent_at, beat_at, answered_at, kept)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, until = excluded.until, decided_at = excluded.decided_at,
			decided_by = excluded.decided_by, note = excluded.note, request = excluded.request, sent_at = excluded.sent_at,
			beat_at = excluded.beat_at, answered_at = excluded.answered_at, kept = excluded.kept`,
		h.ID, h.VaultID, h.Number, h.Status, h.Digest[:], h.AskerKind, h.AskerID, h.AskerName, h.Service, h.Method, h.Target, h.Path, h.Upgrade,
		ms(h.CreatedAt), ms(h.Until), msOrNone(h.DecidedAt), h.DecidedBy, h.Note, h.Request, msOrNone(h.SentAt), msOrNone(h.BeatAt), msOrNone(h.AnsweredAt), h.Kept)
}

func (t *tx) HeldBox(id, what string) (box []byte, err error) {
	err = t.one(`SELECT box FROM held_boxes WHERE held_id = ? AND what = ?`, []any{id, what}, &box)
	return box, err
}

func (t *tx) PutHeldBox(id, what string, box []byte) error {
	return t.exec(`INSERT INTO held_boxes (held_id, what, box) VALUES (?, ?, ?)`, id, what, box)
}

// ForgetHeld deletes the boxes of what ended before a time, and the rows of what
// ended before another.
func (t *tx) ForgetHeld(boxes, rows time.Time) error {
	for _, e := range []struct {
		query string
		until time.Time
	}{
		{`DELETE FROM held_boxes WHERE held_id IN (SELECT id FROM held_requests WHERE until <= ?)`, boxes},
		{`DELETE FROM held_requests WHERE until <= ?`, rows},
	} {
		err := t.execOne(e.query, ms(e.until))
		if err == nil {
			t.removed = true
		} else if !errors.Is(err, vault.ErrNotFound) {
			return err
		}
	}
	return nil
}

// HeldToForget reports whether ForgetHeld would delete anything.
func (t *tx) HeldToForget(boxes, rows time.Time) (yes bool, err error) {
	if err := t.one(`SELECT EXISTS (SELECT 1 FROM held_boxes b JOIN held_requests h ON h.id = b.held_id WHERE h.until <= ?)
		OR EXISTS (SELECT 1 FROM held_requests WHERE until <= ?)`, []any{ms(boxes), ms(rows)}, &yes); err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	return yes, nil
}
