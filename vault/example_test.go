package vault_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// A person becomes the owner and declares a vault; an agent's session sees what
// it may use, and may do nothing else.
func ExampleRegistry() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := example(context.Background(), filepath.Join(dir, "data", "vault.db")); err != nil {
		log.Print(err)
	}
	// Output:
	// unchanged vault default
	// created credential STRIPE_KEY
	// the session may use the vault default with [STRIPE_KEY]
	// an agent's token may not do this; a person can
}

func example(ctx context.Context, path string) error {
	db, err := store.Open(ctx, store.Options{Path: path})
	if err != nil {
		return err
	}
	defer db.Close()
	registry, err := vault.New(vault.Options{Store: db, Key: seal.NewKey()})
	if err != nil {
		return err
	}

	signedIn, err := registry.Register(ctx, "you@example.com", []byte("correct horse battery"), "an example")
	if err != nil {
		return err
	}
	owner, err := registry.Authenticate(ctx, signedIn.Token)
	if err != nil {
		return err
	}
	changes, err := registry.Apply(ctx, owner, vault.Declaration{Vaults: []vault.VaultDeclaration{{
		Name:        vault.DefaultVault,
		Credentials: map[string]seal.Plaintext{"STRIPE_KEY": seal.NewPlaintext([]byte("sk_live_3f9a77c1"))},
	}}})
	if err != nil {
		return err
	}
	for _, c := range changes {
		fmt.Println(c.Action, c.Kind, c.Name)
	}

	minted, err := registry.MintSession(ctx, owner, vault.NewSession{Vault: vault.DefaultVault, TTL: time.Hour, Label: "my agent"})
	if err != nil {
		return err
	}
	session, err := registry.Authenticate(ctx, minted.Token)
	if err != nil {
		return err
	}
	found, err := registry.Discover(ctx, session, "")
	if err != nil {
		return err
	}
	fmt.Println("the session may use the vault", found.Vault, "with", found.AvailableCredentials)
	_, err = registry.SetCredentials(ctx, session, vault.DefaultVault, nil, false)
	fmt.Println(err)
	return nil
}
