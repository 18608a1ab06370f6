package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"agentvault/store"
	"agentvault/vault"
)

// control is the part of conformance that is about who may do what, and what
// they ask for.
var control = []part{
	{"users come back with their roles in vaults", userRoles},
	{"deleting a user takes their logins and roles along", userDeleted},
	{"logins are listed newest first, and can be seen again", loginsListed},
	{"leased sessions are found by their lease", leases},
	{"invites come back, and those that were over long ago go", invites},
	{"minted tokens come back, and go with their vault", mintedTokens},
	{"versions count on, whatever was deleted", versionCounter},
	{"versions come back newest first, and only as many are kept", versions},
	{"a proposal comes back whole", proposalWhole},
	{"what a proposal asks for never changes", proposalFrozen},
	{"a proposal's values go, and its askers come", proposalChanges},
	{"proposals are listed as asked for", proposalsListed},
	{"proposals count per vault", proposalNumbers},
	{"a held request comes back whole, and what it asks for never changes", heldWhole},
	{"held requests are listed as asked for", heldListed},
	{"what held requests said is forgotten, and then they are", heldForgotten},
	{"the record of changes comes back newest first", events},
	{"events are read in their order, and forgotten", eventsInOrder},
	{"deleting a vault takes all along but the record", controlCascade},
	{"only what decisions depend on grows the revision", controlRevision},
}

func userRoles(t *testing.T, db *store.DB) {
	a := vault.User{ID: "u-a", Email: "a@example.com", PasswordHash: "hash a", Role: vault.RoleMember, CreatedAt: epoch,
		Vaults: map[string]string{"id-1": vault.VaultAdmin, "id-2": vault.VaultProxy}}
	b := vault.User{ID: "u-b", Email: "b@example.com", PasswordHash: "hash b", Role: vault.RoleMember, CreatedAt: epoch,
		Vaults: map[string]string{"id-2": vault.VaultMember}}
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")), tx.PutUser(b), tx.PutUser(a))
	})
	same := func(what string) {
		t.Helper()
		read(t, db, func(tx vault.Tx) error {
			list, err1 := tx.ListUsers()
			diff(t, what+": ListUsers", []vault.User{a, b}, list)
			byID, err2 := tx.UserByID("u-a")
			diff(t, what+": UserByID", a, byID)
			byEmail, err3 := tx.UserByEmail("b@example.com")
			diff(t, what+": UserByEmail", b, byEmail)
			return errors.Join(err1, err2, err3)
		})
	}
	same("as put")
	a.Vaults = map[string]string{"id-2": vault.VaultAdmin}
	put(t, db, func(tx vault.Tx) error { return tx.PutUser(a) })
	same("put again")
	// In a loop over all of them, as a command may, nobody's roles are lost.
	put(t, db, func(tx vault.Tx) error {
		list, err := tx.ListUsers()
		for _, u := range list {
			err = errors.Join(err, tx.PutUser(u))
		}
		return err
	})
	same("put back in a loop")
	if _, err := db.Write(t.Context(), func(tx vault.Tx) error {
		u := a
		u.Vaults = map[string]string{"no-vault": vault.VaultAdmin}
		return tx.PutUser(u)
	}); err == nil {
		t.Error("a role in no vault was stored")
	}
	same("after a failure")
}

func userDeleted(t *testing.T, db *store.DB) {
	gone := vault.User{ID: "u-1", Email: "a@example.com", Role: vault.RoleMember, CreatedAt: epoch, Vaults: map[string]string{"id-1": vault.VaultAdmin}}
	stays := vault.User{ID: "u-2", Email: "b@example.com", Role: vault.RoleMember, CreatedAt: epoch, Vaults: map[string]string{"id-1": vault.VaultProxy}}
	login := sampleLogin("l-1", epoch, far)
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutUser(gone), tx.PutUser(stays), tx.PutLogin(login))
	})
	put(t, db, func(tx vault.Tx) error { return tx.DeleteUser("u-1") })
	read(t, db, func(tx vault.Tx) error {
		list, err := tx.ListUsers()
		diff(t, "users", []vault.User{stays}, list)
		if _, err := tx.LoginByDigest(login.Digest); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("their login: %v, want ErrNotFound", err)
		}
		logins, err2 := tx.ListLogins("u-1")
		if logins == nil || len(logins) != 0 {
			t.Errorf("ListLogins = %#v, want an empty list", logins)
		}
		return errors.Join(err, err2)
	})
	gone.Vaults = nil // who comes again is given nothing of before
	put(t, db, func(tx vault.Tx) error { return tx.PutUser(gone) })
	read(t, db, func(tx vault.Tx) error {
		u, err := tx.UserByID("u-1")
		diff(t, "the user again", gone, u)
		return err
	})
}

func loginsListed(t *testing.T, db *store.DB) {
	old, a, b := sampleLogin("l-old", epoch, far), sampleLogin("l-a", epoch.Add(time.Minute), far), sampleLogin("l-b", epoch.Add(time.Minute), far)
	other := sampleLogin("l-x", epoch, far)
	other.UserID = "u-2"
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutUser(vault.User{ID: "u-1", Email: "a@example.com", CreatedAt: epoch}), tx.PutUser(vault.User{ID: "u-2", Email: "b@example.com", CreatedAt: epoch}),
			tx.PutLogin(b), tx.PutLogin(old), tx.PutLogin(a), tx.PutLogin(other))
	})
	old.SeenAt, old.AuthenticatedAt = epoch.Add(time.Hour), epoch.Add(2*time.Hour)
	asked := old
	asked.CreatedAt, asked.ExpiresAt, asked.Client = gone, gone, "another" // which never change
	put(t, db, func(tx vault.Tx) error { return tx.PutLogin(asked) })
	read(t, db, func(tx vault.Tx) error {
		list, err := tx.ListLogins("u-1")
		diff(t, "newest first, then by id", []vault.Login{a, b, old}, list)
		return err
	})
	if _, err := db.Write(t.Context(), func(tx vault.Tx) error {
		l := sampleLogin("l-y", epoch, far)
		l.ID = "l-a"
		return tx.PutLogin(l)
	}); err == nil {
		t.Error("two logins of one id were stored")
	}
}

func leases(t *testing.T, db *store.DB) {
	leased, other := sampleSession("s-1", "id-1", epoch, far), sampleSession("s-2", "id-1", epoch, far)
	plain, plainToo := sampleSession("s-3", "id-1", epoch, far), sampleSession("s-4", "id-1", epoch, far)
	leased.LeaseDigest, other.LeaseDigest = vault.DigestToken("lease 1"), vault.DigestToken("lease 2")
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutSession(leased), tx.PutSession(other), tx.PutSession(plain), tx.PutSession(plainToo))
	})
	read(t, db, func(tx vault.Tx) error {
		byLease, err1 := tx.SessionByLease(leased.LeaseDigest)
		diff(t, "SessionByLease", leased, byLease)
		byID, err2 := tx.SessionByID("s-3")
		diff(t, "one without a lease", plain, byID)
		for name, d := range map[string][32]byte{"no lease": {}, "its own token": leased.Digest, "unknown": vault.DigestToken("x")} {
			if _, err := tx.SessionByLease(d); !errors.Is(err, vault.ErrNotFound) {
				t.Errorf("SessionByLease of %s: %v, want ErrNotFound", name, err)
			}
		}
		list, err3 := tx.ListLeased()
		if len(list) != 2 || list[0].ID+list[1].ID != "s-1s-2" && list[0].ID+list[1].ID != "s-2s-1" {
			t.Errorf("ListLeased = %v, want the two", list)
		}
		return errors.Join(err1, err2, err3)
	})
	diff(t, "a snapshot's", 4, len(snapshotOf(t, db).Sessions))
}

func invites(t *testing.T, db *store.DB) {
	agent := vault.Invite{ID: "i-1", Kind: vault.InviteAgent, Digest: vault.DigestToken("i-1"), Name: "robot", TokenTTL: time.Hour,
		Vaults:    map[string]vault.Grant{"id-1": {Role: vault.VaultProxy, Services: []string{"one"}}, "id-2": {Role: vault.VaultAdmin, Services: []string{}}, "id-3": {Role: vault.VaultMember}},
		CreatedBy: "u-1", CreatedAt: epoch, ExpiresAt: epoch.Add(time.Hour)}
	user := vault.Invite{ID: "i-2", Kind: vault.InviteUser, Digest: vault.DigestToken("i-2"), Name: "a@example.com", Role: vault.RoleMember,
		CreatedBy: "u-1", CreatedAt: epoch, ExpiresAt: far}
	later := agent
	later.ID, later.Digest, later.CreatedAt = "i-3", vault.DigestToken("i-3"), epoch.Add(time.Minute)
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutInvite(agent), tx.PutInvite(user), tx.PutInvite(later))
	})
	listed := func(what, kind string, want ...vault.Invite) {
		t.Helper()
		read(t, db, func(tx vault.Tx) error {
			list, err := tx.ListInvites(kind)
			diff(t, what, want, list)
			if list == nil {
				t.Errorf("%s: the list is nil", what)
			}
			return err
		})
	}
	listed("newest first", vault.InviteAgent, later, agent)
	listed("of the other kind", vault.InviteUser, user)
	listed("of no kind", "x")
	read(t, db, func(tx vault.Tx) error {
		got, err := tx.InviteByDigest(agent.Digest)
		diff(t, "InviteByDigest", agent, got)
		if all, none := got.Vaults["id-3"].Services, got.Vaults["id-2"].Services; all != nil || none == nil {
			t.Errorf("all services are %#v, none are %#v; want nil, and an empty list", all, none)
		}
		return err
	})
	asked := agent
	agent.RedeemedAt, later.RevokedAt = epoch.Add(time.Minute), epoch.Add(2*time.Minute)
	agent.Vaults = map[string]vault.Grant{"id-1": {Role: vault.VaultProxy, Services: []string{}}}                // as far as it is left
	asked.RedeemedAt, asked.Vaults, asked.ExpiresAt, asked.Name = agent.RedeemedAt, agent.Vaults, far, "another" // the last two never change
	put(t, db, func(tx vault.Tx) error { return errors.Join(tx.PutInvite(asked), tx.PutInvite(later)) })
	listed("redeemed and revoked", vault.InviteAgent, later, agent)

	for _, step := range []struct {
		made time.Time
		left bool // the two that ended after an hour
	}{{agent.ExpiresAt.Add(30*24*time.Hour - time.Millisecond), true}, {agent.ExpiresAt.Add(30 * 24 * time.Hour), false}} {
		made := user
		made.ID, made.CreatedAt = fmt.Sprint("i-", step.left), step.made
		made.Digest = vault.DigestToken(made.ID)
		put(t, db, func(tx vault.Tx) error { return tx.PutInvite(made) })
		read(t, db, func(tx vault.Tx) error {
			list, err := tx.ListInvites(vault.InviteAgent)
			if (len(list) == 2) != step.left {
				t.Errorf("at %v there are %d, are they kept: %t", step.made, len(list), step.left)
			}
			return err
		})
	}
}

func next(t *testing.T, db *store.DB, vaultID, key string, want int64) {
	t.Helper()
	put(t, db, func(tx vault.Tx) error {
		n, err := tx.NextVersion(vaultID, key)
		if err == nil && n != want {
			t.Errorf("NextVersion(%s, %s) = %d, want %d", vaultID, key, n, want)
		}
		return err
	})
}

func versionCounter(t *testing.T, db *store.DB) {
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")))
	})
	next(t, db, "id-1", "KEY", 1)
	next(t, db, "id-1", "KEY", 2)
	next(t, db, "id-1", "OTHER", 1)
	next(t, db, "id-2", "KEY", 1)
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.DeleteVersions("id-1", "KEY", 0), tx.PutVault(emptyVault("id-1", "one-vault")))
	})
	next(t, db, "id-1", "KEY", 3)
	boom := errors.New("boom")
	_, err := db.Write(t.Context(), func(tx vault.Tx) error { _, err := tx.NextVersion("id-1", "KEY"); return errors.Join(err, boom) })
	if !errors.Is(err, boom) {
		t.Error(err)
	}
	next(t, db, "id-1", "KEY", 4) // what was undone was nobody's
	if _, err := db.Write(t.Context(), func(tx vault.Tx) error { _, err := tx.NextVersion("no-vault", "KEY"); return err }); err == nil {
		t.Error("a version in no vault")
	}
}

func versions(t *testing.T, db *store.DB) {
	version := func(key string, n int64) vault.CredentialVersion {
		return vault.CredentialVersion{Key: key, Version: n, Box: []byte{0, byte(n), 255}, CreatedAt: epoch.Add(time.Duration(n) * time.Minute), RetiredAt: epoch.Add(time.Duration(n) * time.Hour)}
	}
	put(t, db, func(tx vault.Tx) error {
		err := errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")))
		for _, n := range []int64{2, 10, 1, 3} { // 10 is after 3, and not before 2
			err = errors.Join(err, tx.PutVersion("id-1", version("KEY", n)), tx.PutVersion("id-1", version("OTHER", n)), tx.PutVersion("id-2", version("KEY", n)))
		}
		return err
	})
	listed := func(vaultID, key string, want ...int64) {
		t.Helper()
		all := []vault.CredentialVersion{}
		for _, n := range want {
			all = append(all, version(key, n))
		}
		read(t, db, func(tx vault.Tx) error {
			list, err := tx.ListVersions(vaultID, key)
			diff(t, vaultID+" "+key, all, list)
			if list == nil {
				t.Errorf("%s %s: the list is nil", vaultID, key)
			}
			return err
		})
	}
	listed("id-1", "KEY", 10, 3, 2, 1)
	listed("id-1", "NO_KEY")
	for _, step := range []struct {
		keep int
		left []int64
	}{{5, []int64{10, 3, 2, 1}}, {4, []int64{10, 3, 2, 1}}, {2, []int64{10, 3}}, {0, nil}, {0, nil}} {
		put(t, db, func(tx vault.Tx) error { return tx.DeleteVersions("id-1", "KEY", step.keep) })
		listed("id-1", "KEY", step.left...)
	}
	listed("id-1", "OTHER", 10, 3, 2, 1)
	listed("id-2", "KEY", 10, 3, 2, 1)
	if _, err := db.Write(t.Context(), func(tx vault.Tx) error { return tx.PutVersion("id-2", version("KEY", 3)) }); err == nil {
		t.Error("a version was stored twice")
	}
}

func events(t *testing.T, db *store.DB) {
	var want []vault.Event
	for i, id := range []string{"id-1", "id-2", "", "id-1"} {
		e := vault.Event{Time: epoch.Add(time.Duration(i) * time.Minute), ActorKind: "user", ActorID: "u-1", ActorName: "a@example.com",
			Action: "service.change", VaultID: id, Vault: "name of " + id, Object: fmt.Sprint("object <&> ", i)}
		put(t, db, func(tx vault.Tx) error { return tx.PutEvent(e) })
		e.ID = int64(i + 1)
		want = append([]vault.Event{e}, want...)
	}
	for _, row := range []struct {
		name   string
		vault  string
		before int64
		limit  int
		want   []vault.Event
	}{
		{"all", "", 0, 10, want},
		{"of one vault", "id-1", 0, 10, []vault.Event{want[0], want[3]}},
		{"of none", "id-9", 0, 10, []vault.Event{}},
		{"a page", "", 0, 2, want[:2]},
		{"the next", "", 3, 2, want[2:]},
		{"of one vault, below an id", "id-1", 4, 10, want[3:]},
	} {
		read(t, db, func(tx vault.Tx) error {
			list, err := tx.ListEvents(row.vault, row.before, row.limit)
			diff(t, row.name, row.want, list)
			return err
		})
	}
}

func eventsInOrder(t *testing.T, db *store.DB) {
	after := func(id int64, limit int) (ids []int64) {
		t.Helper()
		list, err := db.EventsAfter(t.Context(), id, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			ids = append(ids, e.ID)
		}
		return ids
	}
	last := func(want int64) {
		t.Helper()
		if id, err := db.LastEvent(t.Context()); err != nil || id != want {
			t.Errorf("LastEvent: %d, %v; want %d", id, err, want)
		}
	}
	last(0)
	for i := range 5 {
		put(t, db, func(tx vault.Tx) error {
			return tx.PutEvent(vault.Event{Time: epoch.Add(time.Duration(i) * time.Minute), Action: "vault.create"})
		})
	}
	last(5)
	diff(t, "all", []int64{1, 2, 3, 4, 5}, after(0, 10))
	diff(t, "a page", []int64{3, 4}, after(2, 2))
	diff(t, "none", []int64(nil), after(5, 2))
	for _, step := range []struct {
		before time.Time
		upTo   int64
		limit  int
		left   []int64
	}{
		{epoch, 5, 10, []int64{1, 2, 3, 4, 5}},
		{far, 0, 10, []int64{1, 2, 3, 4, 5}},
		{far, 3, 1, []int64{2, 3, 4, 5}},
		{epoch.Add(2 * time.Minute), 5, 10, []int64{3, 4, 5}},
		{far, 5, 10, nil},
	} {
		if _, err := db.ForgetEvents(t.Context(), step.before, step.upTo, step.limit); err != nil {
			t.Fatal(err)
		}
		diff(t, "left", step.left, after(0, 10))
	}
	last(5)
}

func controlCascade(t *testing.T, db *store.DB) {
	gone, kept := sampleProposal(t, "id-1", 1), sampleProposal(t, "id-2", 1)
	version := vault.CredentialVersion{Key: "KEY", Version: 1, Box: []byte("box"), CreatedAt: epoch, RetiredAt: epoch}
	user := vault.User{ID: "u-1", Email: "a@example.com", CreatedAt: epoch, Vaults: map[string]string{"id-1": vault.VaultAdmin, "id-2": vault.VaultProxy}}
	event := vault.Event{Time: epoch, Action: "vault.create", VaultID: "id-1", Vault: "one-vault"}
	put(t, db, func(tx vault.Tx) error {
		err := errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")), tx.PutUser(user),
			tx.PutProposal(gone), tx.PutProposal(kept), tx.PutEvent(event), tx.PutVersion("id-1", version), tx.PutVersion("id-2", version))
		_, err1 := tx.NextVersion("id-1", "KEY")
		return errors.Join(err, err1)
	})
	put(t, db, func(tx vault.Tx) error { return tx.DeleteVault("id-1") })
	wantProposal(t, db, "the other vault's", kept)
	read(t, db, func(tx vault.Tx) error {
		if _, err := tx.ProposalByLink(gone.LinkDigest); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("its proposal: %v, want ErrNotFound", err)
		}
		mine, err1 := tx.ListVersions("id-1", "KEY")
		others, err2 := tx.ListVersions("id-2", "KEY")
		if len(mine) != 0 || len(others) != 1 {
			t.Errorf("%d versions of it, %d of the other; want 0 and 1", len(mine), len(others))
		}
		u, err3 := tx.UserByID("u-1")
		diff(t, "roles", map[string]string{"id-2": vault.VaultProxy}, u.Vaults)
		list, err4 := tx.ListEvents("id-1", 0, 10)
		event.ID = 1
		diff(t, "the record", []vault.Event{event}, list)
		return errors.Join(err1, err2, err3, err4)
	})
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) })
	next(t, db, "id-1", "KEY", 1) // of another vault, though by the same id
}

func controlRevision(t *testing.T, db *store.DB) {
	user := vault.User{ID: "u-1", Email: "a@example.com", CreatedAt: epoch}
	p := sampleProposal(t, "id-1", 1)
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) })
	for _, step := range []struct {
		name  string
		grows int64
		write func(vault.Tx) error
	}{
		{"PutUser", 1, func(tx vault.Tx) error { return tx.PutUser(user) }},
		{"PutInvite", 0, func(tx vault.Tx) error {
			return tx.PutInvite(vault.Invite{ID: "i-1", Kind: vault.InviteUser, CreatedAt: epoch, ExpiresAt: far})
		}},
		{"PutProposal", 0, func(tx vault.Tx) error { return tx.PutProposal(p) }},
		{"PutHeld", 0, func(tx vault.Tx) error { return tx.PutHeld(sampleHeld("id-1", 1)) }},
		{"NextHeld", 0, func(tx vault.Tx) error { _, err := tx.NextHeld("id-1"); return err }},
		{"NextProposal", 0, func(tx vault.Tx) error { _, err := tx.NextProposal("id-1"); return err }},
		{"NextVersion", 0, func(tx vault.Tx) error { _, err := tx.NextVersion("id-1", "KEY"); return err }},
		{"PutVersion", 0, func(tx vault.Tx) error {
			return tx.PutVersion("id-1", vault.CredentialVersion{Key: "KEY", Version: 1, Box: []byte("box"), CreatedAt: epoch, RetiredAt: epoch})
		}},
		{"DeleteVersions", 0, func(tx vault.Tx) error { return tx.DeleteVersions("id-1", "KEY", 0) }},
		{"PutEvent", 0, func(tx vault.Tx) error { return tx.PutEvent(vault.Event{Time: epoch}) }},
		{"DeleteUser", 1, func(tx vault.Tx) error { return tx.DeleteUser("u-1") }},
	} {
		before := revisionOf(t, db)
		put(t, db, step.write)
		if after := revisionOf(t, db); after != before+step.grows {
			t.Errorf("%s: the revision went from %d to %d, want %d more", step.name, before, after, step.grows)
		}
	}
}
