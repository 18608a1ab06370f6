package broker_test

import (
	"context"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// A node is a broker with a registry on a handle of its own of one database, as
// another process would be.
type node struct {
	*kit
	registry *vault.Registry
	db       *store.DB
}

// newNodes are so many, in front of one endpoint, with a refresh token that it
// rotates each time.
func newNodes(t *testing.T, e *endpoint, n int) []*node {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data", "vault.db")
	var nodes []*node
	for i := range n {
		one := &node{}
		var err error
		if one.db, err = store.Open(t.Context(), store.Options{Path: path}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { one.db.Close() })
		one.kit = newMintKit(t, e, oauthRefresh, func(o *broker.Options) {
			if i > 0 {
				o.Key, o.Now = nodes[0].key, nodes[0].clock.Now
			}
			o.Source = one.db
			one.registry, err = vault.New(vault.Options{Store: one.db, Key: o.Key, Now: o.Now, Published: func(ctx context.Context, revision int64) error { return one.Await(ctx, revision) }})
			if err != nil {
				t.Fatal(err)
			}
			o.Tokens = one.registry
		})
		if i > 0 {
			one.key, one.clock, one.token = nodes[0].key, nodes[0].clock, nodes[0].token
		}
		nodes = append(nodes, one)
	}
	first := nodes[0]
	v := first.snapshot.Vaults[0]
	v.CreatedAt, v.UnmatchedHosts = first.clock.Now(), vault.UnmatchedDeny
	s := first.snapshot.Sessions[0]
	s.CreatedAt, s.ExpiresAt, s.CreatedBy = first.clock.Now(), first.clock.Now().Add(24*time.Hour), "u1"
	if _, err := first.db.Write(t.Context(), func(tx vault.Tx) error {
		if err := tx.PutUser(vault.User{ID: "u1", Email: "a@example.com", Role: vault.RoleOwner, CreatedAt: first.clock.Now()}); err != nil {
			return err
		}
		for key, c := range v.Credentials { // versions come from the counter
			box, err := first.key.ForVault("v1").Open(seal.Context{Vault: "v1", Credential: key, Field: vault.FieldValue, Version: c.Version}, c.Box)
			if err != nil {
				return err
			}
			c.CreatedAt, c.UpdatedAt, c.Version = v.CreatedAt, v.CreatedAt, 1
			if c.Box, err = first.key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: key, Field: vault.FieldValue, Version: 1}, box); err != nil {
				return err
			}
			v.Credentials[key] = c
		}
		if err := tx.PutVault(v); err != nil {
			return err
		}
		for key := range v.Credentials {
			if _, err := tx.NextVersion("v1", key); err != nil {
				return err
			}
		}
		return tx.PutSession(s)
	}); err != nil {
		t.Fatal(err)
	}
	refreshAll(t, nodes)
	return nodes
}

func refreshAll(t *testing.T, nodes []*node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Of all nodes one refreshes, the others use what it got, and no rotation is lost,
// time after time, also where nodes are behind.
func TestNodesShareOneRefresh(t *testing.T) {
	e := &endpoint{life: 600, refresh: map[string]string{"refresh-token-one": "refresh-token-one+"}}
	nodes := newNodes(t, e, 2)
	for round := 1; round <= 5; round++ {
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { nodes[i%2].want(t, "one of many", http.StatusOK, "you sent") })
		}
		all.Wait()
		if n := e.tokens(); n != round {
			t.Fatalf("round %d: the endpoint was asked %d times", round, n)
		}
		nodes[0].clock.advance(601 * time.Second)
		if err := nodes[0].Refresh(t.Context()); err != nil { // the other one would refuse, not guess
			t.Fatal(err)
		}
		refreshAll(t, nodes)
	}
	var v vault.Vault
	if err := nodes[1].db.Read(t.Context(), func(tx vault.Tx) (err error) {
		v, err = tx.VaultByID("v1")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c := v.Credentials["REFRESH_TOKEN"]
	p, err := nodes[0].key.ForVault("v1").Open(seal.Context{Vault: "v1", Credential: "REFRESH_TOKEN", Field: vault.FieldValue, Version: c.Version}, c.Box)
	if err != nil {
		t.Fatal(err)
	}
	if _, good := e.refresh[string(p.Bytes())]; !good {
		t.Errorf("the stored refresh token %q is not the newest: %v", p.Bytes(), e.refresh)
	}
}

// A server that begins anew uses the token that is stored.
func TestStoredTokensOutliveTheProcess(t *testing.T) {
	e := &endpoint{life: 600, refresh: map[string]string{"refresh-token-one": "refresh-token-one+"}}
	nodes := newNodes(t, e, 2)
	nodes[0].want(t, "the first", http.StatusOK, "you sent ****")
	nodes[0].Close()
	refreshAll(t, nodes[1:])
	nodes[1].want(t, "another process", http.StatusOK, "you sent ****")
	if n := e.tokens(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A node that was killed in its turn holds up the others until the turn ends.
func TestKilledInItsTurn(t *testing.T) {
	e := &endpoint{life: 600, refresh: map[string]string{"refresh-token-one": "refresh-token-one+"}}
	nodes := newNodes(t, e, 2)
	nodes[0].want(t, "the first", http.StatusOK, "you sent")
	nodes[0].pass(t, 601*time.Second)
	refreshAll(t, nodes)
	id := nodes[1].MintIDs()[0]
	turn, err := nodes[0].registry.TakeMint(t.Context(), vault.MintQuestion{MintID: id, Keys: []string{"CLIENT_SECRET", "REFRESH_TOKEN"}})
	if err != nil || turn.Claim == "" {
		t.Fatalf("%+v %v", turn, err)
	}
	done := make(chan struct{})
	go func() {
		nodes[1].want(t, "behind it", http.StatusOK, "you sent")
		close(done)
	}()
	nodes[0].clock.advance(vault.ClaimTTL)
	<-done
	if n := e.tokens(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}
