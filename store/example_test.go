package store_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"agentvault/store"
	"agentvault/vault"
)

// What a transaction writes is there as a whole, or not at all; each that is
// there is a revision.
func ExampleDB_Write() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{Path: filepath.Join(dir, "data", "agent-vault.db")})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	if _, err := db.Write(ctx, func(tx vault.Tx) error {
		return tx.PutVault(vault.Vault{ID: "v1", Name: "team-a", UnmatchedHosts: vault.UnmatchedDeny})
	}); err != nil {
		log.Fatal(err)
	}
	_, err = db.Write(ctx, func(tx vault.Tx) error {
		if err := tx.PutVault(vault.Vault{ID: "v2", Name: "team-b", UnmatchedHosts: vault.UnmatchedDeny}); err != nil {
			return err
		}
		return errors.New("something else went wrong")
	})
	fmt.Println(err)

	if err := db.Read(ctx, func(tx vault.Tx) error {
		vaults, err := tx.ListVaults()
		for _, v := range vaults {
			fmt.Println(v.Name)
		}
		return err
	}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// something else went wrong
	// team-a
}
