package vault_test

import (
	"strings"
	"testing"

	"agentvault/vault"
)

// An agent that may use some services only gets those that it asked for, and
// who approves is told so.
func TestApprovingGrantsANarrowAgentWhatItAsked(t *testing.T) {
	ctx := t.Context()
	f := newFixture(t)
	_, err := f.GrantVault(ctx, f.owner, "robot", mainVault, vault.Grant{Role: vault.VaultProxy, Services: []string{"stripe"}})
	must(t, err)
	ask := func(name string) vault.NewProposal {
		return newProposal(t, `[{"action": "set", "name": "`+name+`", "host": "`+name+`.example.com", "auth": {"type": "passthrough"}}]`, `[]`)
	}
	f.propose(t, f.agent, ask("first"))
	f.propose(t, f.session, ask("second")) // not the agent's
	rv := f.review(t, 1)
	const told = "the agent robot may use some services only, and would be granted first too"
	if len(rv.Warnings) != 1 || rv.Warnings[0] != told {
		t.Errorf("warnings %q, want %q", rv.Warnings, told)
	}
	if w := strings.Join(f.review(t, 2).Warnings, ""); strings.Contains(w, "robot") {
		t.Errorf("another asker's: %q", w)
	}

	// What the person saw is bound to the grant as it was.
	_, err = f.GrantVault(ctx, f.owner, "robot", mainVault, vault.Grant{Role: vault.VaultProxy, Services: []string{}})
	must(t, err)
	_, err = f.Approve(ctx, f.owner, mainVault, 1, vault.Approval{Digest: rv.Digest})
	wantCode(t, "a grant that was changed meanwhile", vault.CodeProposalChanged, err)

	for n := range int64(2) {
		_, err = f.approve(t, n+1, nil)
		must(t, err)
	}
	d, err := f.Discover(ctx, f.agent, mainVault)
	must(t, err)
	if len(d.Services) != 1 || d.Services[0].Name != "first" {
		t.Errorf("the agent may use %v, want what it asked for", d.Services)
	}
	if rv := f.review(t, 1); len(rv.Changes) != 0 || len(rv.Values) != 0 || rv.Digest != "" {
		t.Errorf("what is decided changes nothing any more: %+v", rv)
	}
}

func TestProposeRefusesWhatContradictsItself(t *testing.T) {
	f := newFixture(t)
	for services, message := range map[string]string{
		`[{"action": "delete", "name": "stripe", "host": "api.other.com"}]`:                                  "services[0]: host: the service stripe has another one, api.stripe.com",
		`[{"action": "set", "name": "inside", "host": "db.corp.internal", "auth": {"type": "passthrough"}}]`: "services[0]: host: an agent cannot propose a host of a private network; a person can add it",
	} {
		_, err := f.Propose(t.Context(), f.agent, mainVault, newProposal(t, services, `[]`))
		refused(t, services, vault.CodeBadRequest, message, err)
	}
}
