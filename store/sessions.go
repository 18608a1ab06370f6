package store

import (
	"database/sql"

	"agentvault/vault"
)

const selectSessions = `SELECT id, digest, vault_id, label, created_by, created_at, expires_at FROM sessions `

func scanSession(r *sql.Rows, s *vault.Session) error {
	return r.Scan(&s.ID, digest{&s.Digest}, &s.VaultID, &s.Label, &s.CreatedBy, millis{&s.CreatedAt}, millis{&s.ExpiresAt})
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

// PutSession also removes sessions that had ended when this one was made.
func (t *tx) PutSession(s vault.Session) error {
	t.decides = true
	if err := t.exec(`DELETE FROM sessions WHERE expires_at <= ?`, ms(s.CreatedAt)); err != nil {
		return err
	}
	return t.exec(`INSERT INTO sessions (id, digest, vault_id, label, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET label = excluded.label, expires_at = excluded.expires_at`,
		s.ID, s.Digest[:], s.VaultID, s.Label, s.CreatedBy, ms(s.CreatedAt), ms(s.ExpiresAt))
}

func (t *tx) DeleteSession(id string) error {
	t.decides = true
	return t.execOne(`DELETE FROM sessions WHERE id = ?`, id)
}
