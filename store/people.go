package store

import (
	"database/sql"

	"agentvault/vault"
)

const selectUsers = `SELECT id, email, password_hash, role, created_at FROM users `

func scanUser(r *sql.Rows, u *vault.User) error {
	return r.Scan(&u.ID, &u.Email, &u.PasswordHash, &u.Role, millis{&u.CreatedAt})
}

func (t *tx) UserByEmail(email string) (vault.User, error) {
	return t.wholeUser(first(t, scanUser, selectUsers+`WHERE email = ?`, email))
}

func (t *tx) UserByID(id string) (vault.User, error) {
	return t.wholeUser(first(t, scanUser, selectUsers+`WHERE id = ?`, id))
}

func (t *tx) wholeUser(u vault.User, err error) (vault.User, error) {
	if err != nil {
		return u, err
	}
	all := []vault.User{u}
	err = t.fillRoles(all, `WHERE user_id = ?`, u.ID)
	return all[0], err
}

func (t *tx) ListUsers() ([]vault.User, error) {
	all, err := list(t, scanUser, selectUsers+`ORDER BY email`)
	if err != nil {
		return nil, err
	}
	return all, t.fillRoles(all, ``)
}

type memberRow struct{ userID, vaultID, role string }

func (t *tx) fillRoles(users []vault.User, where string, args ...any) error {
	byID := make(map[string]*vault.User, len(users))
	for i := range users {
		users[i].Vaults = make(map[string]string)
		byID[users[i].ID] = &users[i]
	}
	roles, err := list(t, func(r *sql.Rows, m *memberRow) error { return r.Scan(&m.userID, &m.vaultID, &m.role) },
		`SELECT user_id, vault_id, role FROM members `+where, args...)
	for _, m := range roles {
		if u := byID[m.userID]; u != nil {
			u.Vaults[m.vaultID] = m.role
		}
	}
	return err
}

func (t *tx) PutUser(u vault.User) error {
	t.decides = true // the first user ends "not initialized"
	if err := t.exec(`INSERT INTO users (id, email, password_hash, role, created_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET email = excluded.email, password_hash = excluded.password_hash, role = excluded.role`,
		u.ID, u.Email, u.PasswordHash, u.Role, ms(u.CreatedAt)); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM members WHERE user_id = ?`, u.ID); err != nil {
		return err
	}
	for vaultID, role := range u.Vaults {
		if err := t.exec(`INSERT INTO members (user_id, vault_id, role) VALUES (?, ?, ?)`, u.ID, vaultID, role); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) DeleteUser(id string) error {
	t.decides = true
	return t.execOne(`DELETE FROM users WHERE id = ?`, id)
}

const selectLogins = `SELECT digest, id, user_id, client, created_at, authenticated_at, seen_at, expires_at FROM logins `

func scanLogin(r *sql.Rows, l *vault.Login) error {
	return r.Scan(digest{&l.Digest}, &l.ID, &l.UserID, &l.Client, millis{&l.CreatedAt}, millis{&l.AuthenticatedAt}, millis{&l.SeenAt}, millis{&l.ExpiresAt})
}

func (t *tx) LoginByDigest(d [32]byte) (vault.Login, error) {
	return first(t, scanLogin, selectLogins+`WHERE digest = ?`, d[:])
}

func (t *tx) ListLogins(userID string) ([]vault.Login, error) {
	return list(t, scanLogin, selectLogins+`WHERE user_id = ? ORDER BY created_at DESC, id`, userID)
}

// PutLogin also removes logins that had ended when this one was last seen.
func (t *tx) PutLogin(l vault.Login) error {
	if err := t.exec(`DELETE FROM logins WHERE expires_at <= ?`, ms(l.SeenAt)); err != nil {
		return err
	}
	return t.exec(`INSERT INTO logins (digest, id, user_id, client, created_at, authenticated_at, seen_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (digest) DO UPDATE SET authenticated_at = excluded.authenticated_at, seen_at = excluded.seen_at`,
		l.Digest[:], l.ID, l.UserID, l.Client, ms(l.CreatedAt), ms(l.AuthenticatedAt), ms(l.SeenAt), ms(l.ExpiresAt))
}

func (t *tx) DeleteLogin(d [32]byte) error {
	return t.execOne(`DELETE FROM logins WHERE digest = ?`, d[:])
}
