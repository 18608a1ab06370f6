package store_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"agentvault/policy/inject"
	"agentvault/store"
	"agentvault/vault"
)

// openFirst is a database as the first migration made it, with rows in it.
func openFirst(t *testing.T, path string, rows func(exec func(query string, args ...any))) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Dir(path), 0o700))
	must(os.WriteFile(path, nil, 0o600))
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=foreign_keys(ON)&_pragma=journal_mode(WAL)")
	must(err)
	defer func() { must(db.Close()) }()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"))
	must(err)
	_, err = p.UpTo(t.Context(), 1)
	must(err)
	rows(func(query string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), query, args...)
		must(err)
	})
}

// A database of the first version keeps all that is in it: who was signed in
// stays so, and a credential's versions count on.
func TestADatabaseOfTheFirstVersionIsTakenOver(t *testing.T) {
	path := dbPath(t)
	made, ends := epoch.UnixMilli(), far.UnixMilli()
	login, session, agent := vault.DigestToken("login"), vault.DigestToken("session"), vault.DigestToken("agent")
	second := vault.DigestToken("second login")
	openFirst(t, path, func(exec func(string, ...any)) {
		exec(`UPDATE revision SET value = 41`)
		exec(`INSERT INTO users VALUES ('u-1', 'a@example.com', 'hash', 'owner', ?)`, made)
		exec(`INSERT INTO logins VALUES (?, 'u-1', ?, ?)`, login[:], made, ends)
		exec(`INSERT INTO logins VALUES (?, 'u-1', ?, ?)`, second[:], made+1, ends)
		exec(`INSERT INTO vaults VALUES ('id-1', 'one-vault', 'deny', ?)`, made)
		exec(`INSERT INTO services VALUES ('id-1', 0, 'stripe', '{"name":"stripe","host":"api.stripe.com","enabled":true,"auth":{"type":"passthrough"}}')`)
		exec(`INSERT INTO credentials VALUES ('id-1', 'KEY', 7, x'0102', ?, ?)`, made, made)
		exec(`INSERT INTO sessions VALUES ('s-1', ?, 'id-1', 'a label', 'u-1', ?, ?)`, session[:], made, ends)
		exec(`INSERT INTO agents VALUES ('a-1', 'robot', ?, ?)`, agent[:], made)
		exec(`INSERT INTO grants VALUES ('a-1', 'id-1', 'proxy')`)
	})
	db := openAt(t, path)
	v := emptyVault("id-1", "one-vault")
	v.Credentials = map[string]vault.Credential{"KEY": {Key: "KEY", Version: 7, Box: []byte{1, 2}, CreatedAt: epoch, UpdatedAt: epoch}}
	var auth inject.Auth
	if err := auth.UnmarshalJSON([]byte(`{"type":"passthrough"}`)); err != nil {
		t.Fatal(err)
	}
	v.Services = []vault.Service{{Name: "stripe", Host: "api.stripe.com", Enabled: true, Auth: auth}}
	got := snapshotOf(t, db)
	diff(t, "what decisions depend on", vault.Snapshot{
		Revision: 41, Initialized: true, Vaults: []vault.Vault{v},
		Sessions: []vault.Session{{ID: "s-1", Digest: session, VaultID: "id-1", Label: "a label", CreatedBy: "u-1", CreatedAt: epoch, ExpiresAt: far}},
		Agents:   []vault.Agent{{ID: "a-1", Name: "robot", Digest: agent, CreatedAt: epoch, Vaults: map[string]vault.Grant{"id-1": {Role: vault.VaultProxy}}}},
	}, got)
	if got.Agents[0].Vaults["id-1"].Services != nil {
		t.Error("the agent is narrowed")
	}
	read(t, db, func(tx vault.Tx) error {
		list, err := tx.ListLogins("u-1")
		want := []vault.Login{
			{Digest: second, UserID: "u-1", CreatedAt: epoch.Add(time.Millisecond), AuthenticatedAt: epoch.Add(time.Millisecond), SeenAt: epoch.Add(time.Millisecond), ExpiresAt: far},
			{Digest: login, UserID: "u-1", CreatedAt: epoch, AuthenticatedAt: epoch, SeenAt: epoch, ExpiresAt: far},
		}
		for i := range list {
			if len(list[i].ID) != 26 || list[i].ID == list[(i+1)%len(list)].ID {
				t.Errorf("the id of a login is %q", list[i].ID)
			}
			want[i].ID = list[i].ID
		}
		diff(t, "logins", want, list)
		_, err1 := tx.LoginByDigest(login)
		user, err2 := tx.UserByID("u-1")
		diff(t, "the user", vault.User{ID: "u-1", Email: "a@example.com", PasswordHash: "hash", Role: vault.RoleOwner, CreatedAt: epoch}, user)
		leased, err3 := tx.ListLeased()
		if len(leased) != 0 {
			t.Errorf("leased sessions: %v", leased)
		}
		return errors.Join(err, err1, err2, err3)
	})
	next(t, db, "id-1", "KEY", 8)
	next(t, db, "id-1", "NEW_KEY", 1)
	put(t, db, func(tx vault.Tx) error {
		n, err := tx.NextProposal("id-1")
		if n != 1 {
			t.Errorf("the first proposal has the number %d", n)
		}
		return err
	})
	put(t, db, func(tx vault.Tx) error { return tx.DeleteUser("u-1") }) // the foreign keys hold
	read(t, db, func(tx vault.Tx) error {
		if _, err := tx.LoginByDigest(login); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("a deleted user's login: %v, want ErrNotFound", err)
		}
		return nil
	})
}

// Data of a newer version is not touched.
func TestNewerDataIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "agent-vault.db")
	db, err := store.Open(t.Context(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if version, err := db.Schema(t.Context()); version != 14 || err != nil {
		t.Errorf("schema %d %v", version, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = raw.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), store.Options{Path: path}); err == nil || !strings.Contains(err.Error(), "newer version of Agent Vault (schema 9999") {
		t.Errorf("%v", err)
	}
}
