package store

import (
	"database/sql"
	"errors"

	"agentvault/vault"
)

// Authority returns the roots of the proxy entrance.
func (t *tx) Authority() (a vault.Authority, err error) {
	if err := t.one(`SELECT certificate, key_box, version FROM authority`, nil, &a.Certificate, &a.KeyBox, &a.Version); err != nil {
		return a, err
	}
	next, err := first(t, func(r *sql.Rows, n *vault.NextRoot) error {
		return r.Scan(&n.Certificate, &n.KeyBox, &n.Version, &n.Cross, millis{&n.StartedAt}, millis{&n.EndsAt})
	}, `SELECT certificate, key_box, version, cross_cert, started_at, ends_at FROM next_root`)
	switch {
	case errors.Is(err, vault.ErrNotFound):
		return a, nil
	case err != nil:
		return a, err
	}
	a.Next = &next
	return a, nil
}

// PutAuthority stores the roots in the place of those that were there.
func (t *tx) PutAuthority(a vault.Authority) error {
	t.removed = a.Version > 1
	if err := t.exec(`INSERT INTO authority (id, certificate, key_box, version) VALUES (1, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET certificate = excluded.certificate, key_box = excluded.key_box, version = excluded.version`,
		a.Certificate, a.KeyBox, a.Version); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM next_root`); err != nil || a.Next == nil {
		return err
	}
	n := a.Next
	return t.exec(`INSERT INTO next_root (id, certificate, key_box, version, cross_cert, started_at, ends_at) VALUES (1, ?, ?, ?, ?, ?, ?)`,
		n.Certificate, n.KeyBox, n.Version, n.Cross, ms(n.StartedAt), ms(n.EndsAt))
}
