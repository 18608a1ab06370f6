package vault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

// declare is a declaration of vaults.
func declare(vaults ...vault.VaultDeclaration) vault.Declaration {
	return vault.Declaration{Vaults: vaults}
}

func change(of, kind, name, action string) vault.Change {
	return vault.Change{Vault: of, Kind: kind, Name: name, Action: action}
}

// Each step is applied to what the steps before have left, and reports what it
// did or found done, in a fixed order.
func TestApplyReportsWhatItDid(t *testing.T) {
	f := newFixture(t)
	const v, w = "app-vault", "bare-vault"
	one, two := passthrough(t, "one", "one.example.com"), passthrough(t, "two", "two.example.com")
	changed := one
	changed.Description = "another text"
	off := two
	off.Enabled = false
	found := change(v, "vault", v, vault.Unchanged)
	for _, step := range []struct {
		name string
		give vault.Declaration
		want []vault.Change
	}{
		{"nothing", declare(), []vault.Change{}},
		{"two new vaults, in the order given", declare(
			vault.VaultDeclaration{Name: w},
			vault.VaultDeclaration{Name: v, UnmatchedHosts: vault.UnmatchedTunnel, Services: []vault.Service{two, one}, Credentials: values("B_KEY", "value of b", "A_KEY", "value of a")},
		), []vault.Change{
			change(w, "vault", w, vault.Created),
			change(v, "vault", v, vault.Created), change(v, "setting", "unmatched_hosts", vault.Updated),
			change(v, "service", "two", vault.Created), change(v, "service", "one", vault.Created),
			change(v, "credential", "A_KEY", vault.Created), change(v, "credential", "B_KEY", vault.Created),
		}},
		{"the same again", declare(
			vault.VaultDeclaration{Name: v, UnmatchedHosts: vault.UnmatchedTunnel, Services: []vault.Service{two, one}, Credentials: values("B_KEY", "value of b", "A_KEY", "value of a")},
		), []vault.Change{
			found, change(v, "setting", "unmatched_hosts", vault.Unchanged),
			change(v, "service", "two", vault.Unchanged), change(v, "service", "one", vault.Unchanged),
			change(v, "credential", "A_KEY", vault.Unchanged), change(v, "credential", "B_KEY", vault.Unchanged),
		}},
		{"the name alone", declare(vault.VaultDeclaration{Name: v}), []vault.Change{found}},
		{"nil services, empty credentials", declare(vault.VaultDeclaration{Name: v, Credentials: values()}), []vault.Change{found}},
		{"a setting", declare(vault.VaultDeclaration{Name: v, UnmatchedHosts: vault.UnmatchedDeny}),
			[]vault.Change{found, change(v, "setting", "unmatched_hosts", vault.Updated)}},
		{"services changed", declare(vault.VaultDeclaration{Name: v, Services: []vault.Service{changed, off}}),
			[]vault.Change{found, change(v, "service", "one", vault.Updated), change(v, "service", "two", vault.Updated)}},
		{"a service for another", declare(vault.VaultDeclaration{Name: v, Services: []vault.Service{passthrough(t, "three", "one.example.com"), off}}),
			[]vault.Change{found, change(v, "service", "three", vault.Created), change(v, "service", "two", vault.Unchanged), change(v, "service", "one", vault.Deleted)}},
		{"no services", declare(vault.VaultDeclaration{Name: v, Services: []vault.Service{}}),
			[]vault.Change{found, change(v, "service", "three", vault.Deleted), change(v, "service", "two", vault.Deleted)}},
		{"no services again", declare(vault.VaultDeclaration{Name: v, Services: []vault.Service{}}), []vault.Change{found}},
		{"one value changed, one added", declare(vault.VaultDeclaration{Name: v, Credentials: values("A_KEY", "another value", "C_KEY", "value of c")}),
			[]vault.Change{found, change(v, "credential", "A_KEY", vault.Updated), change(v, "credential", "C_KEY", vault.Created)}},
	} {
		before := f.revision(t)
		got, err := f.Apply(t.Context(), f.owner, step.give)
		must(t, err)
		if got == nil {
			t.Errorf("%s: nil, want a list", step.name)
		}
		diff(t, step.name, step.want, got)
		changes := int64(0)
		for _, c := range step.want {
			if c.Action != vault.Unchanged {
				changes = 1
			}
		}
		diff(t, step.name+": revision", before+changes, f.revision(t))
	}
	last := f.get(t, v)
	if last.UnmatchedHosts != vault.UnmatchedDeny || len(last.Services) != 0 || len(last.Credentials) != 3 {
		t.Errorf("in the end: %s, %d services, %d credentials; want deny, 0, 3", last.UnmatchedHosts, len(last.Services), len(last.Credentials))
	}
	for key, want := range map[string]string{"A_KEY": "another value", "B_KEY": "value of b", "C_KEY": "value of c"} {
		if got := f.open(t, last, key); got != want {
			t.Errorf("in the end %s is %q, want %q", key, got, want)
		}
	}
}

// What a declaration does not mention stays as it is.
func TestApplyLeavesTheRest(t *testing.T) {
	f := newFixture(t)
	_, err := f.Apply(t.Context(), f.owner, declare(vault.VaultDeclaration{Name: mainVault, UnmatchedHosts: vault.UnmatchedTunnel}))
	must(t, err)
	was := f.get(t, mainVault)
	f.pass(time.Minute)
	_, err = f.Apply(t.Context(), f.owner, declare(vault.VaultDeclaration{Name: mainVault, Credentials: values("A_KEY", "value of a")}, vault.VaultDeclaration{Name: "new-vault"}))
	must(t, err)
	got := f.get(t, mainVault)
	want := was
	want.Credentials = map[string]vault.Credential{"STRIPE_KEY": was.Credentials["STRIPE_KEY"], "A_KEY": got.Credentials["A_KEY"]}
	diff(t, "the vault", want, got)
	made := f.get(t, "new-vault")
	diff(t, "a new one", vault.Vault{ID: made.ID, Name: "new-vault", UnmatchedHosts: vault.UnmatchedDeny, CreatedAt: f.now()}, made)
	f.caller(t, f.sessionToken) // the session lives on
}

// A value that is there already keeps its box and version; the declaration's
// own stays readable.
func TestApplyTellsValuesApart(t *testing.T) {
	f := newFixture(t)
	was := f.get(t, mainVault).Credentials["STRIPE_KEY"]
	for _, row := range []struct {
		value, action string
		version       int64
	}{
		{"sk_live_first", vault.Unchanged, 1},
		{"sk_live_First", vault.Updated, 2},
		{"sk_live_First_", vault.Updated, 3},
		{"sk_live_First_", vault.Unchanged, 3},
		{"sk_live_first", vault.Updated, 4},
	} {
		f.pass(time.Minute)
		given := values("STRIPE_KEY", row.value)
		got, err := f.Apply(t.Context(), f.owner, declare(vault.VaultDeclaration{Name: mainVault, Credentials: given}))
		must(t, err)
		diff(t, row.value, []vault.Change{change(mainVault, "vault", mainVault, vault.Unchanged), change(mainVault, "credential", "STRIPE_KEY", row.action)}, got)
		v := f.get(t, mainVault)
		c := v.Credentials["STRIPE_KEY"]
		if c.Version != row.version || c.CreatedAt != was.CreatedAt || f.open(t, v, "STRIPE_KEY") != row.value || string(given["STRIPE_KEY"].Bytes()) != row.value {
			t.Errorf("%q: version %d, made %v, opens as %q; want %d, %v", row.value, c.Version, c.CreatedAt, f.open(t, v, "STRIPE_KEY"), row.version, was.CreatedAt)
		}
		if row.action == vault.Updated {
			if c.UpdatedAt != f.now() {
				t.Errorf("%q: updated at %v, want %v", row.value, c.UpdatedAt, f.now())
			}
			was.Box = c.Box
		}
		diff(t, "the box", was.Box, c.Box)
	}
}

// A box that does not open is replaced by the value that should be in it.
func TestApplyMendsABoxThatDoesNotOpen(t *testing.T) {
	f := newFixture(t)
	_, err := f.db.Write(t.Context(), func(tx vault.Tx) error {
		v, err := tx.VaultByName(mainVault)
		must(t, err)
		c := v.Credentials["STRIPE_KEY"]
		for c.Version != 7 {
			c.Version, err = tx.NextVersion(v.ID, "STRIPE_KEY")
			must(t, err)
		}
		c.Box = []byte("not a box")
		v.Credentials["STRIPE_KEY"] = c
		return tx.PutVault(v)
	})
	must(t, err)
	got, err := f.Apply(t.Context(), f.owner, declare(vault.VaultDeclaration{Name: mainVault, Credentials: values("STRIPE_KEY", "sk_live_first")}))
	must(t, err)
	diff(t, "changes", change(mainVault, "credential", "STRIPE_KEY", vault.Updated), got[len(got)-1])
	v := f.get(t, mainVault)
	if c := v.Credentials["STRIPE_KEY"]; c.Version != 8 || f.open(t, v, "STRIPE_KEY") != "sk_live_first" {
		t.Errorf("version %d, want 8, and the value", c.Version)
	}
}

// All is one transaction: whichever call of the store goes wrong, with the
// first vault or with the last, all of them stay as they were.
func TestApplyIsAllOrNothing(t *testing.T) {
	var s brokenStore
	f := newFixture(t, breaking(&s))
	before := f.snapshot(t)
	d := declare(
		vault.VaultDeclaration{Name: "new-vault", Credentials: values("A_KEY", "some value")},
		vault.VaultDeclaration{Name: mainVault, UnmatchedHosts: vault.UnmatchedTunnel, Services: []vault.Service{}, Credentials: values("STRIPE_KEY", "sk_live_second")},
		vault.VaultDeclaration{Name: "third-vault"})
	for at := 1; at <= 7; at++ { // the transaction, and two calls for each vault
		s.at, s.count = at, 0
		got, err := f.Apply(t.Context(), f.owner, d)
		if !errors.Is(err, errBroken) || got != nil {
			t.Errorf("call %d: %v, %v; want no changes and the store's error", at, got, err)
		}
		diff(t, fmt.Sprintf("the instance after call %d", at), before, f.snapshot(t))
	}
	s.at = 0
	got, err := f.Apply(t.Context(), f.owner, d)
	must(t, err)
	diff(t, "changes, when nothing goes wrong", []vault.Change{
		change("new-vault", "vault", "new-vault", vault.Created), change("new-vault", "credential", "A_KEY", vault.Created),
		change(mainVault, "vault", mainVault, vault.Unchanged), change(mainVault, "setting", "unmatched_hosts", vault.Updated),
		change(mainVault, "service", "stripe", vault.Deleted), change(mainVault, "credential", "STRIPE_KEY", vault.Updated),
		change("third-vault", "vault", "third-vault", vault.Created),
	}, got)
}

// What can be told from the declaration alone is refused before anything is
// changed; the message names the vault and says nothing of values.
func TestApplyRefuses(t *testing.T) {
	f := newFixture(t)
	before := f.snapshot(t)
	fine := vault.VaultDeclaration{Name: "fine-vault", Services: []vault.Service{passthrough(t, "one", "one.example.com")}, Credentials: values("A_KEY", "value of a")}
	long := make([]vault.VaultDeclaration, 1_001)
	for i := range long {
		long[i].Name = fmt.Sprintf("vault-%d", i)
	}
	noAuth := passthrough(t, "one", "one.example.com")
	noAuth.Auth = vault.Service{}.Auth
	for _, row := range []struct {
		name string
		give vault.Declaration
		want string
	}{
		{"a bad name", declare(fine, vault.VaultDeclaration{Name: "My Vault"}), `vault "My Vault": a name has 3 to 64 characters of a-z, 0-9 and -`},
		{"no name", declare(fine, vault.VaultDeclaration{}), `vault "": a name has 3 to 64 characters of a-z, 0-9 and -`},
		{"a vault twice", declare(fine, fine), `vault "fine-vault" stands there twice`},
		{"a setting that is none", declare(fine, vault.VaultDeclaration{Name: "abc", UnmatchedHosts: "allow"}), `vault "abc": unmatched_hosts: "allow" is neither deny nor tunnel`},
		{"a bad service", declare(fine, vault.VaultDeclaration{Name: "abc", Services: []vault.Service{passthrough(t, "one", "*")}}), `vault abc: service "one": host "*": a wildcard stands for one whole label at the beginning, as in *.example.com`},
		{"a local host", declare(fine, vault.VaultDeclaration{Name: "abc", Services: []vault.Service{passthrough(t, "one", "db")}}), `vault abc: service "one": host "db" is a local name; only a server in development mode takes those`},
		{"a service without auth", declare(fine, vault.VaultDeclaration{Name: "abc", Services: []vault.Service{noAuth}}), `vault abc: service "one": auth: it is missing; write {"type": "passthrough"} for a host that needs no credential`},
		{"a service twice", declare(fine, vault.VaultDeclaration{Name: "abc", Services: []vault.Service{passthrough(t, "one", "a.example.com"), passthrough(t, "one", "b.example.com")}}), `vault abc: service "one" stands there twice`},
		{"a bad key", declare(fine, vault.VaultDeclaration{Name: "abc", Credentials: values("key", "sk_live_1")}), `vault abc: credentials: a key has A-Z, 0-9 and _, and begins with a letter`},
		{"a bad value", declare(fine, vault.VaultDeclaration{Name: "abc", Credentials: values("KEY", "sk_live_1\n")}), `vault abc: credential KEY: the value ends with a line break; leave it out`},
		{"no value", declare(fine, vault.VaultDeclaration{Name: "abc", Credentials: values("KEY", "")}), `vault abc: credential KEY: the value is empty`},
		{"1,001 vaults", declare(long...), "vaults: at most 1000 in one declaration"},
	} {
		got, err := f.Apply(t.Context(), f.owner, row.give)
		refused(t, row.name, vault.CodeBadRequest, row.want, err)
		if got != nil || strings.Contains(fmt.Sprint(err), "sk_live") {
			t.Errorf("%s: %v came back beside %v", row.name, got, err)
		}
	}
	diff(t, "the instance", before, f.snapshot(t))
	changes, err := f.Apply(t.Context(), f.owner, declare(long[:1_000]...))
	if err != nil || len(changes) != 1_000 {
		t.Errorf("1,000 vaults: %d changes, %v", len(changes), err)
	}
}

// A declaration in another spelling is the same declaration, and stays in that
// spelling.
func TestApplyComparesTheCanonicalForm(t *testing.T) {
	f := newFixture(t)
	spelled := []vault.Service{passthrough(t, "one", "ONE.Example.com"), passthrough(t, "two", "bücher.example")}
	d := declare(vault.VaultDeclaration{Name: "new-vault", Services: spelled})
	for _, action := range []string{vault.Created, vault.Unchanged} {
		got, err := f.Apply(t.Context(), f.owner, d)
		must(t, err)
		diff(t, "changes", []vault.Change{
			change("new-vault", "vault", "new-vault", action),
			change("new-vault", "service", "one", action), change("new-vault", "service", "two", action),
		}, got)
		diff(t, "the declaration", []vault.Service{passthrough(t, "one", "ONE.Example.com"), passthrough(t, "two", "bücher.example")}, d.Vaults[0].Services)
		diff(t, "what is stored", []vault.Service{passthrough(t, "one", "one.example.com"), passthrough(t, "two", "xn--bcher-kva.example")}, f.get(t, "new-vault").Services)
	}
}

// A dry run says what the real one will do, and does nothing.
func TestApplyDryRun(t *testing.T) {
	f := newFixture(t)
	d := vault.Declaration{DryRun: true, Vaults: []vault.VaultDeclaration{
		{Name: mainVault, Services: []vault.Service{}, Credentials: values("NEW_KEY", "some value")}, {Name: "declared-vault"},
	}}
	before := f.snapshot(t)
	would, err := f.Apply(t.Context(), f.owner, d)
	must(t, err)
	diff(t, "the instance", before, f.snapshot(t))
	d.DryRun = false
	did, err := f.Apply(t.Context(), f.owner, d)
	must(t, err)
	diff(t, "what it said and what was done", would, did)
	if len(did) != 4 {
		t.Errorf("changes %v", did)
	}
}
