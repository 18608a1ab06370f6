package store

import (
	"database/sql"

	"agentvault/vault"
)

func (t *tx) MintedToken(id vault.MintID) (vault.MintedToken, error) {
	return first(t, func(r *sql.Rows, m *vault.MintedToken) error {
		m.MintID = id
		return r.Scan(&m.Serial, asJSON{&m.Versions}, &m.Box, millis{&m.MintedAt}, millisOrNone{&m.ExpiresAt}, &m.Holder, millisOrNone{&m.HeldUntil})
	}, `SELECT serial, versions, box, minted_at, expires_at, holder, held_until FROM minted_tokens WHERE vault_id = ? AND auth = ?`, id.VaultID, id.Auth[:])
}

func (t *tx) PutMintedToken(m vault.MintedToken) error {
	box := m.Box
	if box == nil {
		box = []byte{}
	}
	return t.exec(`INSERT INTO minted_tokens (vault_id, auth, serial, versions, box, minted_at, expires_at, holder, held_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (vault_id, auth) DO UPDATE SET serial = excluded.serial, versions = excluded.versions, box = excluded.box,
			minted_at = excluded.minted_at, expires_at = excluded.expires_at, holder = excluded.holder, held_until = excluded.held_until`,
		m.VaultID, m.Auth[:], m.Serial, asJSON{m.Versions}, box, ms(m.MintedAt), msOrNone(m.ExpiresAt), m.Holder, msOrNone(m.HeldUntil))
}
