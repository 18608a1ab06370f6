package store

import (
	"context"
	"errors"
	"time"

	"agentvault/vault"
	"agentvault/vault/seal"
)

// Snapshot returns all that decisions depend on, as of one revision: one
// transaction, one query per noun.
func (db *DB) Snapshot(ctx context.Context) (vault.Snapshot, error) {
	var s vault.Snapshot
	err := read(ctx, db.views, func(t *tx) (err error) {
		if err = t.one(`SELECT value, EXISTS (SELECT 1 FROM users) FROM revision`, nil, &s.Revision, &s.Initialized); err != nil {
			return err
		}
		if s.Vaults, err = t.ListVaults(); err != nil {
			return err
		}
		if s.Earlier, err = t.listEarlier(); err != nil {
			return err
		}
		if s.Sessions, err = list(t, scanSession, selectSessions+`WHERE expires_at > ?`, ms(time.Now())); err != nil {
			return err
		}
		s.Agents, err = t.ListAgents()
		return err
	})
	return s, err
}

// Keyring returns the row that keeps the data key; ok is false when there is
// none yet.
func (db *DB) Keyring(ctx context.Context) (r seal.Keyring, ok bool, err error) {
	err = read(ctx, db.readers, func(t *tx) (err error) {
		r, err = t.keyring()
		return err
	})
	if errors.Is(err, vault.ErrNotFound) {
		return seal.Keyring{}, false, nil
	}
	return r, err == nil, err
}

func (t *tx) keyring() (r seal.Keyring, err error) {
	err = t.one(`SELECT kdf, salt, time, memory_kib, threads, wrapped_key FROM keyring`, nil,
		&r.KDF, &r.Salt, &r.Time, &r.MemoryKiB, &r.Threads, &r.WrappedKey)
	return r, err
}

// PutKeyring stores the keyring. It fails when there is one already.
func (db *DB) PutKeyring(ctx context.Context, r seal.Keyring) error {
	_, err := db.write(ctx, func(t *tx) error {
		return t.exec(`INSERT INTO keyring (id, kdf, salt, time, memory_kib, threads, wrapped_key) VALUES (1, ?, ?, ?, ?, ?, ?)`,
			r.KDF, r.Salt, r.Time, r.MemoryKiB, r.Threads, r.WrappedKey)
	})
	return err
}
