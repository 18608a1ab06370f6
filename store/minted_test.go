package store_test

import (
	"errors"
	"testing"
	"time"

	"agentvault/store"
	"agentvault/vault"
)

func mintedTokens(t *testing.T, db *store.DB) {
	v := sampleVault(t, "id-1", "main-vault")
	want := vault.MintedToken{
		MintID: vault.MintID{VaultID: "id-1", Auth: vault.DigestToken("an auth")}, Serial: 3, Versions: map[string]int64{"ALPHA": 1, "BETA": 2},
		Box: []byte{1, 2, 3}, MintedAt: epoch, ExpiresAt: epoch.Add(time.Hour), Holder: "h", HeldUntil: epoch.Add(time.Minute),
	}
	fresh := vault.MintedToken{MintID: vault.MintID{VaultID: "id-1", Auth: vault.DigestToken("another")}, MintedAt: epoch, Holder: "h", HeldUntil: epoch}
	before := int64(0)
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(v) })
	read(t, db, func(vault.Tx) (err error) {
		before, err = db.Revision(t.Context())
		return err
	})
	put(t, db, func(tx vault.Tx) error { return errors.Join(tx.PutMintedToken(fresh), tx.PutMintedToken(fresh)) })
	put(t, db, func(tx vault.Tx) error {
		first := want
		first.Serial, first.ExpiresAt, first.Box = 2, time.Time{}, []byte("another box")
		return errors.Join(tx.PutMintedToken(first), tx.PutMintedToken(want))
	})
	read(t, db, func(tx vault.Tx) error {
		got, err := tx.MintedToken(want.MintID)
		diff(t, "a token", want, got)
		none, err2 := tx.MintedToken(fresh.MintID)
		diff(t, "one that is being minted", fresh, none)
		return errors.Join(err, err2)
	})
	if after, err := db.Revision(t.Context()); err != nil || after != before {
		t.Errorf("the revision went from %d to %d (%v): nothing is decided on these", before, after, err)
	}
	put(t, db, func(tx vault.Tx) error { return tx.DeleteVault("id-1") })
	read(t, db, func(tx vault.Tx) error {
		if _, err := tx.MintedToken(want.MintID); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("after its vault: %v", err)
		}
		return nil
	})
}
