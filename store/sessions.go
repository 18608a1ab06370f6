package store

import (
	"database/sql"
	"time"

	"agentvault/vault"
)

const selectSessions = `SELECT id, digest, vault_id, label, created_by, created_at, expires_at, lease_digest FROM sessions `

func scanSession(r *sql.Rows, s *vault.Session) error {
	return r.Scan(&s.ID, digest{&s.Digest}, &s.VaultID, &s.Label, &s.CreatedBy, millis{&s.CreatedAt}, millis{&s.ExpiresAt}, digestOrNone{&s.LeaseDigest})
}

func (t *tx) SessionByDigest(d [32]byte) (vault.Session, error) {
	return first(t, scanSession, selectSessions+`WHERE digest = ?`, d[:])
}

func (t *tx) SessionByID(id string) (vault.Session, error) {
	return first(t, scanSession, selectSessions+`WHERE id = ?`, id)
}

func (t *tx) ListSessions(vaultID string) ([]vault.Session, error) {
	return list(t, scanSession, selectSessions+`WHERE vault_id = ? ORDER BY created_at DESC, id`, vaultID)
}

func (t *tx) SessionByLease(d [32]byte) (vault.Session, error) {
	return first(t, scanSession, selectSessions+`WHERE lease_digest = ?`, d[:])
}

func (t *tx) ListLeased() ([]vault.Session, error) {
	return list(t, scanSession, selectSessions+`WHERE lease_digest IS NOT NULL`)
}

func (t *tx) CountSessions(vaultID, createdBy string, now time.Time) (n int, err error) {
	err = t.one(`SELECT count(*) FROM sessions WHERE vault_id = ? AND created_by = ? AND expires_at > ?`, []any{vaultID, createdBy, ms(now)}, &n)
	return n, err
}

// PutSession also removes sessions that had ended when this one was made.
func (t *tx) PutSession(s vault.Session) error {
	t.decides = true
	if err := t.exec(`DELETE FROM sessions WHERE expires_at <= ?`, ms(s.CreatedAt)); err != nil {
		return err
	}
	var lease []byte
	if s.Leased() {
		lease = s.LeaseDigest[:]
	}
	return t.exec(`INSERT INTO sessions (id, digest, vault_id, label, created_by, created_at, expires_at, lease_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET label = excluded.label, expires_at = excluded.expires_at`,
		s.ID, s.Digest[:], s.VaultID, s.Label, s.CreatedBy, ms(s.CreatedAt), ms(s.ExpiresAt), lease)
}

func (t *tx) DeleteSession(id string) error {
	t.decides = true
	return t.execOne(`DELETE FROM sessions WHERE id = ?`, id)
}
