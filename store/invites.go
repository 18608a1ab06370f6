package store

import (
	"database/sql"
	"time"

	"agentvault/vault"
)

// invitesKept is how long an invite that is over can be told from one that
// never was.
const invitesKept = 30 * 24 * time.Hour

const selectInvites = `SELECT id, kind, digest, name, role, vaults, token_ttl, created_by, created_at, expires_at, redeemed_at, revoked_at FROM invites `

func scanInvite(r *sql.Rows, i *vault.Invite) error {
	return r.Scan(&i.ID, &i.Kind, digest{&i.Digest}, &i.Name, &i.Role, asJSON{&i.Vaults}, seconds{&i.TokenTTL}, &i.CreatedBy,
		millis{&i.CreatedAt}, millis{&i.ExpiresAt}, millisOrNone{&i.RedeemedAt}, millisOrNone{&i.RevokedAt})
}

func (t *tx) InviteByDigest(d [32]byte) (vault.Invite, error) {
	return first(t, scanInvite, selectInvites+`WHERE digest = ?`, d[:])
}

func (t *tx) ListInvites(kind string) ([]vault.Invite, error) {
	return list(t, scanInvite, selectInvites+`WHERE kind = ? ORDER BY created_at DESC, rowid DESC`, kind)
}

// PutInvite also removes invites that were over long before this one was made.
func (t *tx) PutInvite(i vault.Invite) error {
	if err := t.exec(`DELETE FROM invites WHERE expires_at <= ?`, ms(i.CreatedAt.Add(-invitesKept))); err != nil {
		return err
	}
	return t.exec(`INSERT INTO invites (id, kind, digest, name, role, vaults, token_ttl, created_by, created_at, expires_at, redeemed_at, revoked_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET vaults = excluded.vaults, redeemed_at = excluded.redeemed_at, revoked_at = excluded.revoked_at`,
		i.ID, i.Kind, i.Digest[:], i.Name, i.Role, asJSON{i.Vaults}, int64(i.TokenTTL/time.Second), i.CreatedBy,
		ms(i.CreatedAt), ms(i.ExpiresAt), msOrNone(i.RedeemedAt), msOrNone(i.RevokedAt))
}
