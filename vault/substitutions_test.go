package vault_test

import (
	"slices"
	"strings"
	"testing"

	"agentvault/policy/inject"
	"agentvault/vault"
)

// substituting are the services of a JSON list of substitutions each, behind
// s00, s01 ….
func substituting(t *testing.T, lists ...string) []vault.Service {
	t.Helper()
	var all []string
	for i, list := range lists {
		name := "s0" + string(rune('0'+i))
		all = append(all, `{"name": "`+name+`", "host": "`+name+`.example.com", "auth": {"type": "passthrough"}, "substitutions": [`+list+`]}`)
	}
	return services(t, "["+strings.Join(all, ",")+"]")
}

func TestSubstitutionsAreStoredInOneSpelling(t *testing.T) {
	f := newFixture(t)
	given := substituting(t, `{"placeholder": "__the_stripe_key__", "credential": "STRIPE_KEY", "in": ["query", "header:x-token", "body", "query"]}`)
	out, err := f.SetServices(t.Context(), f.owner, mainVault, given)
	must(t, err)
	want := []inject.Substitution{{Placeholder: "__the_stripe_key__", Credential: "STRIPE_KEY", In: []string{"body", "header:X-Token", "query"}}}
	diff(t, "what came back", want, out[0].Substitutions)
	diff(t, "what is stored", want, f.get(t, mainVault).Services[0].Substitutions)
	diff(t, "its keys", []string{"STRIPE_KEY"}, out[0].Keys())
}

// A placeholder stands for one credential in the whole vault, and none lies within
// another.
func TestPlaceholdersAreDistinct(t *testing.T) {
	f := newFixture(t)
	const one = `{"placeholder": "__the_stripe_key__", "credential": "STRIPE_KEY", "in": ["body"]}`
	dummy := vault.DummyOf(f.key.ForVault(f.get(t, mainVault).ID), "STRIPE_KEY")
	for _, row := range []struct {
		name, other, want string
	}{
		{"the same of two services", one, ""},
		{"another credential", `{"placeholder": "__the_stripe_key__", "credential": "OTHER", "in": ["body"]}`, `service "s01": its placeholder __the_stripe_key__ stands for STRIPE_KEY in the service "s00"`},
		{"within another", `{"placeholder": "x__the_stripe_key__", "credential": "OTHER", "in": ["body"]}`, `service "s00": its placeholder __the_stripe_key__ lies within x__the_stripe_key__, of the service "s01"`},
		{"the credential's dummy", `{"placeholder": "` + dummy + `", "credential": "STRIPE_KEY", "in": ["body"]}`, ""},
		{"another's dummy", `{"placeholder": "` + dummy + `", "credential": "OTHER", "in": ["body"]}`, `service "s01": the placeholder ` + dummy + ` is not the dummy of OTHER in this vault; leave it out to have that`},
	} {
		_, err := f.SetServices(t.Context(), f.owner, mainVault, substituting(t, one, row.other))
		if got := words(err); got != row.want {
			t.Errorf("%s:\n got %q\nwant %q", row.name, got, row.want)
		}
	}
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// An agent is told its placeholders and dummies, which are the same each time.
func TestDiscoverPlaceholders(t *testing.T) {
	f := newFixture(t)
	_, err := f.SetServices(t.Context(), f.owner, mainVault, substituting(t,
		`{"placeholder": "__the_stripe_key__", "credential": "STRIPE_KEY", "in": ["body"]}, {"credential": "STRIPE_KEY", "in": ["path"]}`))
	must(t, err)
	d, err := f.Discover(t.Context(), f.session, "")
	must(t, err)
	dummy, err := f.Dummy(t.Context(), f.owner, mainVault, "STRIPE_KEY")
	must(t, err)
	diff(t, "dummies", map[string]string{"STRIPE_KEY": dummy}, d.Dummies)
	diff(t, "substitutions", []inject.Substitution{
		{Placeholder: "__the_stripe_key__", Credential: "STRIPE_KEY", In: []string{"body"}},
		{Placeholder: dummy, Credential: "STRIPE_KEY", In: []string{"path"}},
	}, d.Services[0].Substitutions)
	_, err = f.CreateVault(t.Context(), f.owner, "other-vault")
	must(t, err)
	other, err := f.Dummy(t.Context(), f.owner, "other-vault", "STRIPE_KEY")
	must(t, err)
	if other == dummy {
		t.Errorf("two vaults have the dummy %s", dummy)
	}
	_, err = f.Dummy(t.Context(), f.owner, mainVault, "sk_live_value")
	refused(t, "what may be a value", vault.CodeBadRequest, "key: it has A-Z, 0-9 and _, and begins with a letter", err)
}

// An agent may propose substitutions: who decides sees where each credential would
// go, and that it is new there.
func TestProposedSubstitutions(t *testing.T) {
	f := newFixture(t)
	s := passthrough(t, "chat", "chat.example.com")
	change := vault.ServiceChange{
		Action: vault.ActionSet, Name: s.Name, Host: s.Host, Auth: &s.Auth,
		Substitutions: []inject.Substitution{{Placeholder: "__the_stripe_key__", Credential: "STRIPE_KEY", In: []string{"path", "body"}}},
	}
	p, err := f.Propose(t.Context(), f.agent, mainVault, vault.NewProposal{Services: []vault.ServiceChange{change}})
	must(t, err)
	rv, err := f.Review(t.Context(), f.owner, mainVault, p.Number)
	must(t, err)
	if want := "every method on every path of https://chat.example.com, with STRIPE_KEY for a placeholder in body, path"; !slices.Contains(rv.Opened, want) {
		t.Errorf("opened: %q, want %q", rv.Opened, want)
	}
	if want := "credential STRIPE_KEY exists, and would go to a host it never went to: chat.example.com"; !slices.Contains(rv.Warnings, want) {
		t.Errorf("warnings: %q, want %q", rv.Warnings, want)
	}
	diff(t, "what it would be", []string{"body", "path"}, rv.Changes[0].After.Substitutions[0].In)

	change.Substitutions[0].Credential = "NOBODYS"
	_, err = f.Propose(t.Context(), f.agent, mainVault, vault.NewProposal{Services: []vault.ServiceChange{change}})
	if want := "services: chat refers to the credential NOBODYS, which the vault does not have; add it to credentials, so that a person can give its value"; words(err) != want {
		t.Errorf("a key that nobody has: %q, want %q", words(err), want)
	}
}
