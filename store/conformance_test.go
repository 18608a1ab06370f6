package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/store"
	"agentvault/vault"
)

// epoch is when everything in these tests was made. Whole milliseconds, UTC, as
// stored.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, int(7*time.Millisecond), time.UTC)

// far is after every run of these tests, and gone before every one.
var (
	far  = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	gone = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
)

// alike compares nouns; whether an empty list is nil is no part of them.
var alike = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b inject.Auth) bool {
		x, errA := json.Marshal(a)
		y, errB := json.Marshal(b)
		return errA == nil && errB == nil && string(x) == string(y)
	}),
}

func TestSQLiteConforms(t *testing.T) {
	conformance(t, func(tb testing.TB) *store.DB { return openAt(tb, dbPath(tb)) })
}

// A part is one thing that every store must hold.
type part struct {
	name string
	test func(*testing.T, *store.DB)
}

// conformance is what every store must hold. open returns an empty one.
func conformance(t *testing.T, open func(testing.TB) *store.DB) {
	for _, part := range append([]part{
		{"a vault comes back whole", vaultWhole},
		{"a vault put again is replaced", vaultReplaced},
		{"a vault can be renamed and keeps what it has", vaultRenamed},
		{"vaults are listed by name", vaultsListed},
		{"two vaults cannot have one name", vaultNameUnique},
		{"users come back", users},
		{"logins come back, and ended ones go", logins},
		{"sessions come back newest first, and ended ones go", sessions},
		{"agents come back with their grants", agents},
		{"what is not there is ErrNotFound", notFound},
		{"deleting a vault takes its sessions and grants along", cascade},
		{"the revision grows once per deciding transaction", revision},
		{"a failed transaction leaves nothing", rollback},
		{"a panic in a transaction leaves nothing", panics},
		{"a snapshot holds all of one revision", snapshot},
		{"a snapshot leaves ended sessions out", snapshotExpiry},
		{"a snapshot never mixes revisions", snapshotConsistent},
	}, control...) {
		t.Run(part.name, func(t *testing.T) { part.test(t, open(t)) })
	}
	for _, part := range requestParts {
		t.Run(part.name, func(t *testing.T) { part.test(t, open(t)) })
	}
}

func vaultWhole(t *testing.T, db *store.DB) {
	want := sampleVault(t, "id-1", "main-vault")
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(want) })
	read(t, db, func(tx vault.Tx) error {
		byName, err := tx.VaultByName("main-vault")
		if err != nil {
			return err
		}
		diff(t, "VaultByName", want, byName)
		byID, err := tx.VaultByID("id-1")
		if err != nil {
			return err
		}
		diff(t, "VaultByID", want, byID)
		all, err := tx.ListVaults()
		diff(t, "ListVaults", []vault.Vault{want}, all)
		return err
	})
}

func vaultReplaced(t *testing.T, db *store.DB) {
	v := sampleVault(t, "id-1", "main-vault")
	other := sampleVault(t, "id-2", "other-vault")
	put(t, db, func(tx vault.Tx) error { return errors.Join(tx.PutVault(v), tx.PutVault(other)) })
	a, b, c := v.Services[0], v.Services[1], v.Services[2]
	changed := b
	changed.Description = "another text"

	for _, step := range []struct {
		name   string
		change func(*vault.Vault)
	}{
		{"another order", func(v *vault.Vault) { v.Services = []vault.Service{c, a, b} }},
		{"one removed from the middle", func(v *vault.Vault) { v.Services = []vault.Service{c, b} }},
		{"one changed in place", func(v *vault.Vault) { v.Services = []vault.Service{c, changed} }},
		{"one added in front", func(v *vault.Vault) { v.Services = []vault.Service{a, c, changed} }},
		{"a credential's next version", func(v *vault.Vault) {
			v.Credentials["ALPHA"] = vault.Credential{Key: "ALPHA", Version: 2, Box: []byte("new box"), CreatedAt: epoch, UpdatedAt: epoch.Add(time.Hour)}
		}},
		{"a credential removed", func(v *vault.Vault) { delete(v.Credentials, "BETA") }},
		{"the setting changed", func(v *vault.Vault) { v.UnmatchedHosts = vault.UnmatchedTunnel }},
		{"all removed", func(v *vault.Vault) { v.Services, v.Credentials = nil, nil }},
	} {
		step.change(&v)
		put(t, db, func(tx vault.Tx) error { return tx.PutVault(v) })
		read(t, db, func(tx vault.Tx) error {
			got, err := tx.VaultByID("id-1")
			diff(t, step.name, v, got)
			return err
		})
	}
	read(t, db, func(tx vault.Tx) error {
		got, err := tx.VaultByID("id-2")
		diff(t, "the other vault", other, got)
		return err
	})
}

func vaultRenamed(t *testing.T, db *store.DB) {
	v := sampleVault(t, "id-1", "old-name")
	session := sampleSession("s-1", v.ID, epoch, far)
	put(t, db, func(tx vault.Tx) error { return errors.Join(tx.PutVault(v), tx.PutSession(session)) })
	v.Name = "new-name"
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(v) })
	read(t, db, func(tx vault.Tx) error {
		got, err := tx.VaultByName("new-name")
		diff(t, "VaultByName(new)", v, got)
		if _, err := tx.VaultByName("old-name"); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("VaultByName(old): %v, want ErrNotFound", err)
		}
		ref, errRef := tx.VaultRefByName("new-name")
		diff(t, "VaultRefByName(new)", vault.VaultRef{ID: v.ID, Name: "new-name"}, ref)
		ref, errID := tx.VaultRefByID(v.ID)
		diff(t, "VaultRefByID", vault.VaultRef{ID: v.ID, Name: "new-name"}, ref)
		if _, err := tx.VaultRefByName("old-name"); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("VaultRefByName(old): %v, want ErrNotFound", err)
		}
		list, errList := tx.ListSessions(v.ID)
		diff(t, "its sessions", []vault.Session{session}, list)
		return errors.Join(err, errRef, errID, errList)
	})
}

func vaultsListed(t *testing.T, db *store.DB) {
	read(t, db, func(tx vault.Tx) error {
		none, err := tx.ListVaults()
		if none == nil || len(none) != 0 {
			t.Errorf("ListVaults of an empty store = %#v, want an empty list", none)
		}
		return err
	})
	for i, name := range []string{"ccc", "aaa", "bbb"} {
		put(t, db, func(tx vault.Tx) error {
			return tx.PutVault(vault.Vault{ID: fmt.Sprint(i), Name: name, UnmatchedHosts: vault.UnmatchedDeny, CreatedAt: epoch})
		})
	}
	read(t, db, func(tx vault.Tx) error {
		list, err := tx.ListVaults()
		var names []string
		for _, v := range list {
			names = append(names, v.Name)
		}
		diff(t, "names", []string{"aaa", "bbb", "ccc"}, names)
		refs, errRefs := tx.ListVaultRefs()
		diff(t, "ListVaultRefs", []vault.VaultRef{{ID: "1", Name: "aaa"}, {ID: "2", Name: "bbb"}, {ID: "0", Name: "ccc"}}, refs)
		return errors.Join(err, errRefs)
	})
}

func vaultNameUnique(t *testing.T, db *store.DB) {
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(sampleVault(t, "id-1", "main-vault")) })
	_, err := db.Write(t.Context(), func(tx vault.Tx) error { return tx.PutVault(sampleVault(t, "id-2", "main-vault")) })
	if err == nil {
		t.Error("a second vault of the same name was stored")
	}
}

func users(t *testing.T, db *store.DB) {
	b := vault.User{ID: "u-b", Email: "b@example.com", PasswordHash: "hash b", Role: vault.RoleOwner, CreatedAt: epoch}
	a := vault.User{ID: "u-a", Email: "a@example.com", PasswordHash: "hash a", Role: vault.RoleMember, CreatedAt: epoch}
	put(t, db, func(tx vault.Tx) error { return errors.Join(tx.PutUser(b), tx.PutUser(a)) })
	b.Role, b.PasswordHash = vault.RoleNoAccess, "another hash"
	put(t, db, func(tx vault.Tx) error { return tx.PutUser(b) })
	read(t, db, func(tx vault.Tx) error {
		list, err1 := tx.ListUsers()
		diff(t, "ListUsers, by email", []vault.User{a, b}, list)
		byEmail, err2 := tx.UserByEmail("a@example.com")
		diff(t, "UserByEmail", a, byEmail)
		byID, err3 := tx.UserByID("u-b")
		diff(t, "UserByID", b, byID)
		return errors.Join(err1, err2, err3)
	})
	_, err := db.Write(t.Context(), func(tx vault.Tx) error { return tx.PutUser(vault.User{ID: "u-c", Email: a.Email, CreatedAt: epoch}) })
	if err == nil {
		t.Error("a second user of the same email was stored")
	}
}

func logins(t *testing.T, db *store.DB) {
	user := vault.User{ID: "u-1", Email: "a@example.com", Role: vault.RoleOwner, CreatedAt: epoch}
	first := sampleLogin("first", epoch, epoch.Add(time.Hour))
	atTheEnd := sampleLogin("second", first.ExpiresAt, far)
	put(t, db, func(tx vault.Tx) error { return errors.Join(tx.PutUser(user), tx.PutLogin(first)) })
	read(t, db, func(tx vault.Tx) error {
		got, err := tx.LoginByDigest(first.Digest)
		diff(t, "LoginByDigest", first, got)
		return err
	})
	put(t, db, func(tx vault.Tx) error { return tx.PutLogin(atTheEnd) })
	read(t, db, func(tx vault.Tx) error {
		if _, err := tx.LoginByDigest(first.Digest); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("an ended login: %v, want ErrNotFound", err)
		}
		_, err := tx.LoginByDigest(atTheEnd.Digest)
		return err
	})
	put(t, db, func(tx vault.Tx) error { return tx.DeleteLogin(atTheEnd.Digest) })
	read(t, db, func(tx vault.Tx) error {
		if _, err := tx.LoginByDigest(atTheEnd.Digest); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("a deleted login: %v, want ErrNotFound", err)
		}
		return nil
	})
	_, err := db.Write(t.Context(), func(tx vault.Tx) error {
		l := sampleLogin("x", epoch, far)
		l.UserID = "nobody"
		return tx.PutLogin(l)
	})
	if err == nil {
		t.Error("a login of no user was stored")
	}
}

func sessions(t *testing.T, db *store.DB) {
	old := sampleSession("s-old", "id-1", epoch, epoch.Add(time.Hour))
	a := sampleSession("s-a", "id-1", epoch.Add(time.Minute), far)
	b := sampleSession("s-b", "id-1", epoch.Add(time.Minute), far)
	elsewhere := sampleSession("s-x", "id-2", epoch.Add(2*time.Minute), far)
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")),
			tx.PutSession(old), tx.PutSession(b), tx.PutSession(a), tx.PutSession(elsewhere))
	})
	listed := func(what string, want ...vault.Session) {
		t.Helper()
		read(t, db, func(tx vault.Tx) error {
			list, err := tx.ListSessions("id-1")
			diff(t, what, want, list)
			return err
		})
	}
	listed("newest first, then by id", a, b, old)
	read(t, db, func(tx vault.Tx) error {
		byDigest, err1 := tx.SessionByDigest(a.Digest)
		diff(t, "SessionByDigest", a, byDigest)
		byID, err2 := tx.SessionByID("s-x")
		diff(t, "SessionByID", elsewhere, byID)
		return errors.Join(err1, err2)
	})
	newest := sampleSession("s-new", "id-1", old.ExpiresAt, far)
	put(t, db, func(tx vault.Tx) error { return tx.PutSession(newest) })
	listed("the one that had ended is gone", newest, a, b)
	put(t, db, func(tx vault.Tx) error { return tx.DeleteSession("s-a") })
	listed("the deleted one is gone", newest, b)
}

func agents(t *testing.T, db *store.DB) {
	a := vault.Agent{ID: "a-1", Name: "zed", Digest: vault.DigestToken("zed"), CreatedAt: epoch,
		Vaults: map[string]vault.Grant{"id-1": {Role: vault.VaultProxy, Services: []string{"one", "two"}}, "id-2": {Role: vault.VaultAdmin}}}
	b := vault.Agent{ID: "a-2", Name: "abe", Digest: vault.DigestToken("abe"), CreatedAt: epoch,
		Vaults: map[string]vault.Grant{"id-1": {Role: vault.VaultProxy, Services: []string{}}, "id-2": {Role: vault.VaultMember}}, TokenTTL: time.Hour, ExpiresAt: epoch.Add(time.Hour)}
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")),
			tx.PutAgent(a), tx.PutAgent(b))
	})
	read(t, db, func(tx vault.Tx) error {
		list, err := tx.ListAgents()
		diff(t, "ListAgents, by name", []vault.Agent{b, a}, list)
		if all, none := list[1].Vaults["id-2"].Services, list[0].Vaults["id-1"].Services; all != nil || none == nil {
			t.Errorf("all services are %#v, none are %#v; want nil, and an empty list", all, none)
		}
		return err
	})
	was := a.Digest
	a.Digest, a.Vaults = vault.DigestToken("zed again"), map[string]vault.Grant{"id-2": {Role: vault.VaultProxy}}
	put(t, db, func(tx vault.Tx) error { return tx.PutAgent(a) })
	read(t, db, func(tx vault.Tx) error {
		byName, err1 := tx.AgentByName("zed")
		diff(t, "AgentByName", a, byName)
		byDigest, err2 := tx.AgentByDigest(a.Digest)
		diff(t, "AgentByDigest", a, byDigest)
		if _, err := tx.AgentByDigest(was); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("the replaced digest: %v, want ErrNotFound", err)
		}
		return errors.Join(err1, err2)
	})
	put(t, db, func(tx vault.Tx) error { return tx.DeleteAgent("a-1") })
	read(t, db, func(tx vault.Tx) error {
		list, err := tx.ListAgents()
		diff(t, "after DeleteAgent", []vault.Agent{b}, list)
		return err
	})
}

func notFound(t *testing.T, db *store.DB) {
	var none [32]byte
	for name, ask := range map[string]func(vault.Tx) error{
		"VaultByName":     func(tx vault.Tx) error { _, err := tx.VaultByName("x"); return err },
		"VaultByID":       func(tx vault.Tx) error { _, err := tx.VaultByID("x"); return err },
		"VaultRefByName":  func(tx vault.Tx) error { _, err := tx.VaultRefByName("x"); return err },
		"VaultRefByID":    func(tx vault.Tx) error { _, err := tx.VaultRefByID("x"); return err },
		"DeleteVault":     func(tx vault.Tx) error { return tx.DeleteVault("x") },
		"UserByEmail":     func(tx vault.Tx) error { _, err := tx.UserByEmail("x"); return err },
		"UserByID":        func(tx vault.Tx) error { _, err := tx.UserByID("x"); return err },
		"LoginByDigest":   func(tx vault.Tx) error { _, err := tx.LoginByDigest(none); return err },
		"DeleteLogin":     func(tx vault.Tx) error { return tx.DeleteLogin(none) },
		"SessionByDigest": func(tx vault.Tx) error { _, err := tx.SessionByDigest(none); return err },
		"SessionByID":     func(tx vault.Tx) error { _, err := tx.SessionByID("x"); return err },
		"DeleteSession":   func(tx vault.Tx) error { return tx.DeleteSession("x") },
		"AgentByDigest":   func(tx vault.Tx) error { _, err := tx.AgentByDigest(none); return err },
		"AgentByName":     func(tx vault.Tx) error { _, err := tx.AgentByName("x"); return err },
		"DeleteAgent":     func(tx vault.Tx) error { return tx.DeleteAgent("x") },
		"DeleteUser":      func(tx vault.Tx) error { return tx.DeleteUser("x") },
		"SessionByLease":  func(tx vault.Tx) error { _, err := tx.SessionByLease(none); return err },
		"InviteByDigest":  func(tx vault.Tx) error { _, err := tx.InviteByDigest(none); return err },
		"NextProposal":    func(tx vault.Tx) error { _, err := tx.NextProposal("x"); return err },
		"ProposalByLink":  func(tx vault.Tx) error { _, err := tx.ProposalByLink(none); return err },
		"ProposalByNumber": func(tx vault.Tx) error {
			_, err := tx.ProposalByNumber("x", 1)
			return err
		},
	} {
		if _, err := db.Write(t.Context(), ask); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("%s of what is not there: %v, want ErrNotFound", name, err)
		}
	}
	read(t, db, func(tx vault.Tx) error {
		list, err := tx.ListSessions("x")
		if list == nil || len(list) != 0 {
			t.Errorf("ListSessions of no vault = %#v, want an empty list", list)
		}
		return err
	})
}

func cascade(t *testing.T, db *store.DB) {
	kept := sampleVault(t, "id-2", "kept-vault")
	agent := vault.Agent{ID: "a-1", Name: "abe", Digest: vault.DigestToken("abe"), CreatedAt: epoch,
		Vaults: map[string]vault.Grant{"id-1": {Role: vault.VaultProxy}, "id-2": {Role: vault.VaultProxy, Services: []string{"zeta"}}}}
	stays := sampleSession("s-2", "id-2", epoch, far)
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(sampleVault(t, "id-1", "gone-vault")), tx.PutVault(kept), tx.PutAgent(agent),
			tx.PutSession(sampleSession("s-1", "id-1", epoch, far)), tx.PutSession(stays))
	})
	put(t, db, func(tx vault.Tx) error { return tx.DeleteVault("id-1") })
	delete(agent.Vaults, "id-1")
	got, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "what is left", vault.Snapshot{
		Revision: got.Revision, Vaults: []vault.Vault{kept}, Sessions: []vault.Session{stays}, Agents: []vault.Agent{agent},
	}, got)
	// A vault of the same name is another vault.
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-3", "gone-vault")) })
	read(t, db, func(tx vault.Tx) error {
		v, err := tx.VaultByName("gone-vault")
		diff(t, "a new vault of the old name", emptyVault("id-3", "gone-vault"), v)
		return err
	})
}

func revision(t *testing.T, db *store.DB) {
	user := vault.User{ID: "u-1", Email: "a@example.com", Role: vault.RoleOwner, CreatedAt: epoch}
	login := sampleLogin("l", epoch, far)
	agent := vault.Agent{ID: "a-1", Name: "abe", Digest: vault.DigestToken("abe"), CreatedAt: epoch}
	boom := errors.New("boom")
	for _, step := range []struct {
		name  string
		write func(vault.Tx) error
		grows int64
		err   error
	}{
		{"nothing", func(vault.Tx) error { return nil }, 0, nil},
		{"only reads", func(tx vault.Tx) error { _, err := tx.ListVaults(); return err }, 0, nil},
		{"PutUser", func(tx vault.Tx) error { return tx.PutUser(user) }, 1, nil},
		{"PutLogin", func(tx vault.Tx) error { return tx.PutLogin(login) }, 0, nil},
		{"DeleteLogin", func(tx vault.Tx) error { return tx.DeleteLogin(login.Digest) }, 0, nil},
		{"PutVault", func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) }, 1, nil},
		{"PutVault thrice and a session", func(tx vault.Tx) error {
			return errors.Join(tx.PutVault(emptyVault("id-2", "two-vault")), tx.PutVault(emptyVault("id-3", "three-vault")),
				tx.PutVault(emptyVault("id-3", "three-vault")), tx.PutSession(sampleSession("s-0", "id-2", epoch, far)))
		}, 1, nil},
		{"PutSession", func(tx vault.Tx) error { return tx.PutSession(sampleSession("s-1", "id-1", epoch, far)) }, 1, nil},
		{"DeleteSession", func(tx vault.Tx) error { return tx.DeleteSession("s-1") }, 1, nil},
		{"PutAgent", func(tx vault.Tx) error { return tx.PutAgent(agent) }, 1, nil},
		{"DeleteAgent", func(tx vault.Tx) error { return tx.DeleteAgent("a-1") }, 1, nil},
		{"DeleteVault", func(tx vault.Tx) error { return tx.DeleteVault("id-1") }, 1, nil},
		{"DeleteVault of none", func(tx vault.Tx) error { return tx.DeleteVault("id-1") }, 0, vault.ErrNotFound},
		{"a rollback", func(tx vault.Tx) error { return errors.Join(tx.DeleteVault("id-2"), boom) }, 0, boom},
	} {
		before := revisionOf(t, db)
		returned, err := db.Write(t.Context(), step.write)
		after := revisionOf(t, db)
		if !errors.Is(err, step.err) {
			t.Errorf("%s: error %v, want %v", step.name, err, step.err)
		}
		if after != before+step.grows {
			t.Errorf("%s: the revision went from %d to %d, want %d more", step.name, before, after, step.grows)
		}
		if err == nil && returned != after {
			t.Errorf("%s: Write returned revision %d, the store says %d", step.name, returned, after)
		}
	}
}

func rollback(t *testing.T, db *store.DB) {
	v := sampleVault(t, "id-1", "main-vault")
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(v) })
	before := snapshotOf(t, db)
	boom := errors.New("boom")
	_, err := db.Write(t.Context(), func(tx vault.Tx) error {
		changed := v
		changed.Name, changed.Services = "changed-vault", nil
		return errors.Join(tx.PutVault(changed), tx.PutVault(emptyVault("id-2", "new-vault")),
			tx.PutUser(vault.User{ID: "u-1", Email: "a@example.com", CreatedAt: epoch}),
			tx.PutSession(sampleSession("s-1", "id-1", epoch, far)), boom)
	})
	if err == nil || !errors.Is(err, boom) {
		t.Fatalf("Write returned %v, want the function's own error", err)
	}
	diff(t, "after the failure", before, snapshotOf(t, db))
}

func panics(t *testing.T, db *store.DB) {
	before := snapshotOf(t, db)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = db.Write(t.Context(), func(tx vault.Tx) error {
			if err := tx.PutVault(emptyVault("id-1", "one-vault")); err != nil {
				t.Error(err)
			}
			panic("boom")
		})
	}()
	diff(t, "after the panic", before, snapshotOf(t, db))
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) }) // the writer is free
}

func snapshot(t *testing.T, db *store.DB) {
	empty := snapshotOf(t, db)
	diff(t, "an empty store", vault.Snapshot{Revision: 1}, empty)
	a, b := sampleVault(t, "id-1", "aaa-vault"), sampleVault(t, "id-2", "bbb-vault")
	session := sampleSession("s-1", "id-1", epoch, far)
	agent := vault.Agent{ID: "a-1", Name: "abe", Digest: vault.DigestToken("abe"), CreatedAt: epoch, Vaults: map[string]vault.Grant{"id-2": {Role: vault.VaultProxy}}}
	earlier := vault.CredentialVersion{Key: "KEY", Version: 1, Box: []byte("box"), CreatedAt: epoch, RetiredAt: epoch}
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(b), tx.PutVault(a), tx.PutSession(session), tx.PutAgent(agent), tx.PutVersion("id-2", earlier),
			tx.PutUser(vault.User{ID: "u-1", Email: "a@example.com", CreatedAt: epoch}))
	})
	diff(t, "a full store", vault.Snapshot{
		Revision: 2, Initialized: true, Vaults: []vault.Vault{a, b}, Sessions: []vault.Session{session}, Agents: []vault.Agent{agent},
		Earlier: map[string][]vault.CredentialVersion{"id-2": {earlier}},
	}, snapshotOf(t, db))
}

func snapshotExpiry(t *testing.T, db *store.DB) {
	live := sampleSession("s-live", "id-1", gone.Add(-time.Hour), far)
	ended := sampleSession("s-ended", "id-1", gone.Add(-time.Hour), gone)
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutSession(live), tx.PutSession(ended))
	})
	read(t, db, func(tx vault.Tx) error {
		_, err := tx.SessionByID("s-ended") // or the test would show nothing
		return err
	})
	diff(t, "sessions", []vault.Session{live}, snapshotOf(t, db).Sessions)
}

// Each write keeps: every vault has as many services as the revision says. A
// snapshot of two states would not.
func snapshotConsistent(t *testing.T, db *store.DB) {
	const writes = 25
	one := sampleVault(t, "id-1", "one-vault").Services[0]
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 1; i <= writes && err == nil; i++ {
			services := make([]vault.Service, i)
			for j := range services {
				services[j] = one
				services[j].Name = fmt.Sprintf("service-%d", j)
			}
			_, err = db.Write(t.Context(), func(tx vault.Tx) error {
				a, b := emptyVault("id-1", "one-vault"), emptyVault("id-2", "two-vault")
				a.Services, b.Services = services, services
				return errors.Join(tx.PutVault(a), tx.PutVault(b))
			})
		}
		done <- err
	}()
	for {
		s := snapshotOf(t, db)
		for _, v := range s.Vaults {
			if int64(len(v.Services)) != s.Revision-1 {
				t.Errorf("at revision %d the vault %s has %d services, want %d", s.Revision, v.Name, len(v.Services), s.Revision-1)
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Write: %v", err)
			}
			if got := revisionOf(t, db); got != writes+1 {
				t.Errorf("the revision is %d after %d writes, want %d", got, writes, writes+1)
			}
			return
		default:
		}
	}
}

func sampleVault(t testing.TB, id, name string) vault.Vault {
	t.Helper()
	var services []vault.Service
	const text = `[
		{"name": "zeta", "host": "api.example.com", "auth": {"type": "bearer", "token": "ALPHA"}},
		{"name": "alpha", "host": "*.example.org/v1/*", "scheme": "https", "description": "ünïcode <&>", "enabled": false,
		 "auth": {"type": "passthrough"}, "rules": [{"methods": ["GET"], "paths": ["/v1/*"]}, {"action": "deny"}]},
		{"name": "mid", "host": "api.example.net:8443", "auth": {"type": "bearer", "token": "BETA"}}]`
	if err := json.Unmarshal([]byte(text), &services); err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Compile([]policy.Service{services[0].Policy(), services[1].Policy(), services[2].Policy()}); err != nil {
		t.Fatal(err)
	}
	v := emptyVault(id, name)
	v.Services = services
	v.Credentials = map[string]vault.Credential{
		"ALPHA": {Key: "ALPHA", Version: 1, Box: []byte{0, 1, 2, 255}, CreatedAt: epoch, UpdatedAt: epoch},
		"BETA":  {Key: "BETA", Version: 7, Box: []byte("box of " + id), CreatedAt: epoch, UpdatedAt: epoch.Add(time.Minute)},
	}
	return v
}

func emptyVault(id, name string) vault.Vault {
	return vault.Vault{ID: id, Name: name, UnmatchedHosts: vault.UnmatchedDeny, CreatedAt: epoch}
}

func sampleSession(id, vaultID string, made, ends time.Time) vault.Session {
	return vault.Session{ID: id, Digest: vault.DigestToken(id), VaultID: vaultID, Label: "label of " + id, CreatedBy: "u-1", CreatedAt: made, ExpiresAt: ends}
}

// sampleLogin is one of the user u-1, whose token is the id.
func sampleLogin(id string, made, ends time.Time) vault.Login {
	return vault.Login{ID: id, Digest: vault.DigestToken(id), UserID: "u-1", Client: "client of " + id, CreatedAt: made, AuthenticatedAt: made, SeenAt: made, ExpiresAt: ends}
}

func put(t testing.TB, db *store.DB, f func(vault.Tx) error) {
	t.Helper()
	if _, err := db.Write(t.Context(), f); err != nil {
		t.Fatalf("Write: %v", err)
	}
}

func read(t testing.TB, db *store.DB, f func(vault.Tx) error) {
	t.Helper()
	if err := db.Read(t.Context(), f); err != nil {
		t.Fatalf("Read: %v", err)
	}
}

func revisionOf(t testing.TB, db *store.DB) int64 {
	t.Helper()
	n, err := db.Revision(t.Context())
	if err != nil {
		t.Fatalf("Revision: %v", err)
	}
	return n
}

func snapshotOf(t testing.TB, db *store.DB) vault.Snapshot {
	t.Helper()
	s, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	return s
}

func diff(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, alike); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
