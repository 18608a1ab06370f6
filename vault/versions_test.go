package vault_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

// kept are the versions of STRIPE_KEY that were replaced, newest first.
func (f *fixture) kept(t *testing.T) []vault.CredentialVersion {
	t.Helper()
	list, err := f.CredentialVersions(t.Context(), f.owner, mainVault, "STRIPE_KEY")
	must(t, err)
	return list
}

func TestReplacedValuesAreKept(t *testing.T) {
	f := newFixture(t)
	first := f.get(t, mainVault).Credentials["STRIPE_KEY"]
	diff(t, "of a new one", []vault.CredentialVersion{}, f.kept(t))
	f.pass(time.Hour)
	f.set(t, "STRIPE_KEY", "sk_live_second")
	diff(t, "after one rotation", []vault.CredentialVersion{
		{Key: "STRIPE_KEY", Version: 1, Box: first.Box, CreatedAt: epoch, RetiredAt: f.now()},
	}, f.kept(t))
	for i := range 12 {
		f.set(t, "STRIPE_KEY", fmt.Sprintf("sk_live_%d", i))
	}
	var versions []int64
	for _, k := range f.kept(t) {
		versions = append(versions, k.Version)
	}
	diff(t, "the ten newest are kept", []int64{13, 12, 11, 10, 9, 8, 7, 6, 5, 4}, versions)
	if strings.Contains(f.files(t), string(first.Box)) {
		t.Error("a box that is not kept any more stands in the files of the store")
	}
}

// Versions never begin again: not after a credential was deleted, nor after a
// change that was undone.
func TestVersionsNeverBeginAgain(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.set(t, "STRIPE_KEY", "sk_live_second")
	old := f.get(t, mainVault).Credentials["STRIPE_KEY"]
	replaced := f.kept(t)[0]
	must(t, f.DeleteCredential(ctx, f.owner, mainVault, "STRIPE_KEY"))
	for what, box := range map[string][]byte{"deleted": old.Box, "replaced": replaced.Box} {
		if strings.Contains(f.files(t), string(box)) {
			t.Errorf("the %s box stands in the files of the store", what)
		}
	}
	_, err := f.CredentialVersions(ctx, f.owner, mainVault, "STRIPE_KEY")
	refused(t, "versions of a deleted one", vault.CodeCredentialNotFound, `there is no credential "STRIPE_KEY" in the vault main-vault`, err)
	f.pass(time.Hour)
	f.set(t, "STRIPE_KEY", "sk_live_third")
	v := f.get(t, mainVault)
	c := v.Credentials["STRIPE_KEY"]
	if c.Version != 3 || c.CreatedAt != f.now() {
		t.Errorf("version %d made at %v, want 3 at %v", c.Version, c.CreatedAt, f.now())
	}
	diff(t, "what is kept of before", []vault.CredentialVersion{}, f.kept(t))
	c.Version, c.Box = 2, old.Box
	if _, err := f.key.ForVault(v.ID).Open(contextOf(v, vault.Credential{Key: c.Key, Version: 3}), old.Box); err == nil {
		t.Error("the deleted box opens as the new one")
	}
}

func TestRollBackCredential(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	value := func(want string, version int64) {
		t.Helper()
		v := f.get(t, mainVault)
		if got := f.open(t, v, "STRIPE_KEY"); got != want || v.Credentials["STRIPE_KEY"].Version != version {
			t.Errorf("it is %q at version %d, want %q at %d", got, v.Credentials["STRIPE_KEY"].Version, want, version)
		}
	}
	_, err := f.RollBackCredential(ctx, f.owner, mainVault, "STRIPE_KEY", 0)
	refused(t, "with nothing before it", vault.CodeNotFound, "credential STRIPE_KEY: there is no earlier version to go back to", err)
	f.set(t, "STRIPE_KEY", "sk_live_second")
	f.set(t, "STRIPE_KEY", "sk_live_third")
	f.pass(time.Hour)
	c, err := f.RollBackCredential(ctx, f.owner, mainVault, "STRIPE_KEY", 0)
	must(t, err)
	value("sk_live_second", 4)
	diff(t, "what came back", f.get(t, mainVault).Credentials["STRIPE_KEY"], c)
	if c.CreatedAt != epoch || c.UpdatedAt != f.now() {
		t.Errorf("made %v, changed %v; want %v, %v", c.CreatedAt, c.UpdatedAt, epoch, f.now())
	}
	_, err = f.RollBackCredential(ctx, f.owner, mainVault, "STRIPE_KEY", 0) // undoes it
	must(t, err)
	value("sk_live_third", 5)
	_, err = f.RollBackCredential(ctx, f.owner, mainVault, "STRIPE_KEY", 1)
	must(t, err)
	value("sk_live_first", 6)
	for _, version := range []int64{6, 7, -1, 1 << 62} { // the one that it is, and ones that never were
		_, err := f.RollBackCredential(ctx, f.owner, mainVault, "STRIPE_KEY", version)
		wantCode(t, fmt.Sprint(version), vault.CodeNotFound, err)
	}
	_, err = f.RollBackCredential(ctx, f.owner, mainVault, "NO_KEY", 0)
	wantCode(t, "none", vault.CodeCredentialNotFound, err)
	value("sk_live_first", 6)
	if last := f.lastEvent(t); last.Action != "credential.change" || last.Object != "roll back STRIPE_KEY to version 1" || last.ActorName != "owner@example.com" {
		t.Errorf("the record says %v", last)
	}
}

// A vault that is deleted takes its kept versions along.
func TestADeletedVaultsVersionsAreGone(t *testing.T) {
	f := newFixture(t)
	f.set(t, "STRIPE_KEY", "sk_live_second")
	box := f.kept(t)[0].Box
	must(t, f.DeleteVault(t.Context(), f.owner, mainVault))
	if strings.Contains(f.files(t), string(box)) {
		t.Error("the box stands in the files of the store")
	}
}
