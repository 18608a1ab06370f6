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
	return first(t, scanUser, selectUsers+`WHERE email = ?`, email)
}

func (t *tx) UserByID(id string) (vault.User, error) {
	return first(t, scanUser, selectUsers+`WHERE id = ?`, id)
}

func (t *tx) ListUsers() ([]vault.User, error) {
	return list(t, scanUser, selectUsers+`ORDER BY email`)
}

func (t *tx) PutUser(u vault.User) error {
	t.decides = true // the first user ends "not initialized"
	return t.exec(`INSERT INTO users (id, email, password_hash, role, created_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET email = excluded.email, password_hash = excluded.password_hash, role = excluded.role`,
		u.ID, u.Email, u.PasswordHash, u.Role, ms(u.CreatedAt))
}

func (t *tx) LoginByDigest(d [32]byte) (vault.Login, error) {
	return first(t, func(r *sql.Rows, l *vault.Login) error {
		return r.Scan(digest{&l.Digest}, &l.UserID, millis{&l.CreatedAt}, millis{&l.ExpiresAt})
	}, `SELECT digest, user_id, created_at, expires_at FROM logins WHERE digest = ?`, d[:])
}

// PutLogin also removes logins that had ended when this one was made.
func (t *tx) PutLogin(l vault.Login) error {
	if err := t.exec(`DELETE FROM logins WHERE expires_at <= ?`, ms(l.CreatedAt)); err != nil {
		return err
	}
	return t.exec(`INSERT INTO logins (digest, user_id, created_at, expires_at) VALUES (?, ?, ?, ?)`,
		l.Digest[:], l.UserID, ms(l.CreatedAt), ms(l.ExpiresAt))
}

func (t *tx) DeleteLogin(d [32]byte) error {
	return t.execOne(`DELETE FROM logins WHERE digest = ?`, d[:])
}
