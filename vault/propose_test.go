package vault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

// newProposal is a proposal as agents spell it.
func newProposal(t *testing.T, services, credentials string) vault.NewProposal {
	t.Helper()
	var n vault.NewProposal
	if services != "" {
		must(t, json.Unmarshal([]byte(services), &n.Services))
	}
	if credentials != "" {
		must(t, json.Unmarshal([]byte(credentials), &n.Credentials))
	}
	return n
}

const githubService = `[{"action": "set", "name": "github", "host": "api.github.com", "auth": {"type": "bearer", "token": "GITHUB_TOKEN"}}]`

// githubProposal asks for GitHub, with a value unless it is "".
func githubProposal(t *testing.T, value string) vault.NewProposal {
	t.Helper()
	n := newProposal(t, githubService, `[{"action": "set", "key": "GITHUB_TOKEN", "obtain": "https://github.com/settings/tokens"}]`)
	if value != "" {
		n.Values = values("GITHUB_TOKEN", value)
	}
	return n
}

// slot asks for one key.
func slot(key string) vault.NewProposal {
	return vault.NewProposal{Credentials: []vault.CredentialSlot{{Action: vault.ActionSet, Key: key}}}
}

func (f *fixture) propose(t *testing.T, c vault.Caller, n vault.NewProposal) vault.Proposed {
	t.Helper()
	p, err := f.Propose(t.Context(), c, mainVault, n)
	must(t, err)
	return p
}

func (f *fixture) review(t *testing.T, number int64) vault.Review {
	t.Helper()
	rv, err := f.Review(t.Context(), f.owner, mainVault, number)
	must(t, err)
	return rv
}

func TestPropose(t *testing.T) {
	f := newFixture(t)
	n := newProposal(t, `[{"action": "set", "host": "API.GitHub.com", "description": "GitHub", "auth": {"type": "custom", "headers": {"X-B": "{{ GITHUB_TOKEN }}", "X-A": "<&>{{ GITHUB_TOKEN }}"}},
		"rules": [{"methods": ["GET"], "paths": ["/v1/*"]}, {"action": "deny"}]}, {"action": "delete", "host": "api.stripe.com"}]`,
		`[{"action": "set", "key": "GITHUB_TOKEN", "description": "A token", "obtain": "https://github.com/settings/tokens", "obtain_instructions": "Developers\n> Tokens"}]`)
	n.Message, n.UserMessage = "for developers <&>", "für Menschen\n\tin lines"
	f.pass(time.Minute)
	p := f.propose(t, f.agent, n)
	want := vault.Proposal{
		ID: p.ID, VaultID: f.get(t, mainVault).ID, Number: 1, Status: vault.ProposalPending,
		Services: slices.Clone(n.Services), Credentials: n.Credentials, Message: n.Message, UserMessage: n.UserMessage,
		AskerKind: "agent", AskerName: "robot", Askers: []string{f.snapshot(t).Agents[0].ID},
		LinkDigest: vault.DigestToken(p.LinkToken), CreatedAt: f.now(), ExpiresAt: f.now().Add(7 * 24 * time.Hour),
	}
	want.Services[0].Host, want.Services[0].Name, want.Services[1].Name = "api.github.com", "api-github-com", "stripe"
	diff(t, "the proposal", want, p.Proposal)
	diff(t, "what is stored", want, f.review(t, 1).Proposal)
	if prefix, ok := vault.CheckToken(p.LinkToken); !ok || prefix != vault.PrefixApprove || p.Folded || p.Vault != mainVault {
		t.Errorf("link %q, folded %t, vault %q", p.LinkToken, p.Folded, p.Vault)
	}
	diff(t, "the record", vault.Event{
		Time: f.now(), ActorKind: "agent", ActorID: want.Askers[0], ActorName: "robot", Action: "proposal.create",
		VaultID: want.VaultID, Vault: mainVault, Object: "proposal 1: set api-github-com delete stripe set GITHUB_TOKEN",
	}, f.lastEvent(t))
	own, err := f.Proposal(t.Context(), f.agent, mainVault, 1)
	must(t, err)
	diff(t, "what the agent gets: what it asked, and nothing of the vault", want, own)
	for c, kind := range map[*vault.Caller]string{&f.session: "session", &f.owner: "user"} {
		if p := f.propose(t, *c, slot("KEY_OF_A_"+strings.ToUpper(kind))); p.AskerKind != kind {
			t.Errorf("a %s's proposal is a %s's", kind, p.AskerKind)
		}
	}
	// Numbers count per vault.
	_, err = f.CreateVault(t.Context(), f.owner, "other-vault")
	must(t, err)
	q, err := f.Propose(t.Context(), f.owner, "other-vault", slot("A_KEY"))
	must(t, err)
	if q.Number != 1 {
		t.Errorf("another vault's first proposal has the number %d", q.Number)
	}
	_, err = f.Propose(t.Context(), f.owner, "", slot("A_KEY"))
	refused(t, "a person without a vault", vault.CodeVaultRequired, "name the vault", err)
}

// Each limit: what is just within is taken, and one more is refused with the
// name of the field.
func TestLimitsOfProposals(t *testing.T) {
	f := newFixture(t)
	many := func(of string, n int) vault.NewProposal {
		var services, credentials []string
		for i := range n {
			services = append(services, fmt.Sprintf(`{"action": "set", "name": "service-%d", "host": "h%d.example.com", "auth": {"type": "passthrough"}}`, i, i))
			credentials = append(credentials, fmt.Sprintf(`{"action": "set", "key": "KEY_%d"}`, i))
		}
		if of == "services" {
			return newProposal(t, "["+strings.Join(services, ",")+"]", "")
		}
		return newProposal(t, "", "["+strings.Join(credentials, ",")+"]")
	}
	with := func(change func(n *vault.NewProposal, text string)) func(int) vault.NewProposal {
		return func(size int) vault.NewProposal {
			n := githubProposal(t, "")
			change(&n, strings.Repeat("ü", size))
			return n
		}
	}
	const text = " characters of UTF-8 without control characters"
	for _, row := range []struct {
		name string
		most int
		give func(size int) vault.NewProposal
		want string
	}{
		{"services", 10, func(n int) vault.NewProposal { return many("services", n) }, "services: at most 10 in one proposal"},
		{"credentials", 10, func(n int) vault.NewProposal { return many("credentials", n) }, "credentials: at most 10 in one proposal"},
		{"message", 2000, with(func(n *vault.NewProposal, s string) { n.Message = s }), "message: at most 2000" + text},
		{"user_message", 5000, with(func(n *vault.NewProposal, s string) { n.UserMessage = s }), "user_message: at most 5000" + text},
		{"a service's description", 500, with(func(n *vault.NewProposal, s string) { n.Services[0].Description = s }), `services[0]: service "github": description: at most 500` + text},
		{"a credential's description", 500, with(func(n *vault.NewProposal, s string) { n.Credentials[0].Description = s }), "credentials[0]: description: at most 500" + text},
		{"obtain_instructions", 1000, with(func(n *vault.NewProposal, s string) { n.Credentials[0].ObtainInstructions = s }), "credentials[0]: obtain_instructions: at most 1000" + text},
		{"obtain", 500, with(func(n *vault.NewProposal, s string) {
			n.Credentials[0].Obtain = "https://example.com/" + s[len("https://example.com/")*len("ü"):]
		}), "credentials[0]: obtain: an http or https URL of at most 500 characters"},
	} {
		p, err := f.Propose(t.Context(), f.agent, mainVault, row.give(row.most+1))
		refused(t, row.name, vault.CodeBadRequest, row.want, err)
		if p.ID != "" || p.LinkToken != "" {
			t.Errorf("%s: %v came back beside the refusal", row.name, p)
		}
		f.propose(t, f.agent, row.give(row.most))
	}
	if len(f.events(t)) == 0 || f.review(t, 8).Number != 8 {
		t.Error("refusals take numbers")
	}
}

func TestProposeRefuses(t *testing.T) {
	f := newFixture(t)
	_, err := f.AddServices(t.Context(), f.owner, mainVault, services(t, `[{"name": "stripe-v2", "host": "api.stripe.com/v2/*", "auth": {"type": "bearer", "token": "STRIPE_KEY"}}]`), nil, false)
	must(t, err)
	const oneKey = `[{"action": "set", "key": "A_KEY"}]`
	service := func(fields string) string { return `[{"action": "set", ` + fields + `}]` }
	host := func(h string) string {
		return service(`"name": "new", "host": "` + h + `", "auth": {"type": "passthrough"}`)
	}
	for _, row := range []struct{ name, services, credentials, code, want string }{
		{"nothing", "", "", vault.CodeBadRequest, "services: name at least one service or credential"},
		{"no action", `[{"name": "new", "host": "example.com"}]`, "", vault.CodeBadRequest, `services[0]: action: "" is neither set nor delete`},
		{"another action", "", oneKey[:13] + `add", "key": "A_KEY"}]`, vault.CodeBadRequest, `credentials[0]: action: "add" is neither set nor delete`},
		{"neither name nor host", service(`"auth": {"type": "passthrough"}`), "", vault.CodeBadRequest, "services[0]: name: give a name or a host"},
		{"no host", service(`"name": "new", "auth": {"type": "passthrough"}`), "", vault.CodeBadRequest, "services[0]: host: it is missing"},
		{"no auth", service(`"name": "new", "host": "example.com"`), "", vault.CodeBadRequest, `services[0]: service "new": auth: it is missing`},
		{"a bad name", service(`"name": "No", "host": "example.com", "auth": {"type": "passthrough"}`), "", vault.CodeBadRequest, `services[0]: service "No": a name has 3 to 64 characters`},
		{"a service twice", `[{"action": "delete", "name": "stripe"}, {"action": "delete", "name": "stripe"}]`, "", vault.CodeBadRequest, "services[1]: name: stripe stands there twice"},
		{"deleting with more than a name", `[{"action": "delete", "name": "stripe", "description": "x"}]`, "", vault.CodeBadRequest, "services[0]: a service that is deleted has a name or host, and nothing else"},
		{"deleting none by name", `[{"action": "delete", "name": "none"}]`, "", vault.CodeNotFound, `services[0]: there is no service "none" in the vault main-vault`},
		{"deleting none by host", `[{"action": "delete", "host": "none.example.com"}]`, "", vault.CodeNotFound, "services[0]: there is no service with the host none.example.com in the vault main-vault"},
		{"bare wildcard", host("*"), "", vault.CodeBadRequest, "services[0]: host: "},
		{"wildcard over a public suffix", host("*.co.uk"), "", vault.CodeBadRequest, "services[0]: host: "},
		{"wildcard over a top-level domain", host("*.com"), "", vault.CodeBadRequest, "services[0]: host: "},
		{"wildcard over a shared domain", host("*.github.io"), "", vault.CodeBadRequest, "services[0]: host: "},
		{"wildcard over tenants", host("*.atlassian.net"), "", vault.CodeBadRequest, "services[0]: host: "},
		{"an address", host("192.0.2.1"), "", vault.CodeBadRequest, "services[0]: host: an agent cannot propose an address; name a host"},
		{"an address with a port", host("192.0.2.1:8443"), "", vault.CodeBadRequest, "services[0]: host: an agent cannot propose an address; name a host"},
		{"an IPv6 address", host("[2001:db8::1]"), "", vault.CodeBadRequest, "services[0]: host: an agent cannot propose an address; name a host"},
		{"the metadata service", host("169.254.169.254"), "", vault.CodeBadRequest, "services[0]: host: an agent cannot propose an address; name a host"},
		{"an address as one number", host("2130706433"), "", vault.CodeBadRequest, "services[0]: "},
		{"a local name", host("db"), "", vault.CodeBadRequest, `services[0]: service "new": host "db" is a local name`},
		{"localhost", host("localhost:8080"), "", vault.CodeBadRequest, `services[0]: service "new": host "localhost" is a local name`},
		{"a name inside", host("db.local"), "", vault.CodeBadRequest, `services[0]: service "new": host "db.local" is a local name`},
		{"a key that is nowhere", githubService, "", vault.CodeBadRequest, "services: github refers to the credential GITHUB_TOKEN, which the vault does not have; add it to credentials, so that a person can give its value"},
		{"a key in lower case", "", `[{"action": "set", "key": "a_key"}]`, vault.CodeBadRequest, "credentials[0]: key: it has A-Z, 0-9 and _, and begins with a letter"},
		{"a key twice", "", `[{"action": "set", "key": "A_KEY"}, {"action": "set", "key": "A_KEY"}]`, vault.CodeBadRequest, "credentials[1]: key: A_KEY stands there twice"},
		{"deleting a key that is used", "", `[{"action": "delete", "key": "STRIPE_KEY"}]`, vault.CodeBadRequest, "credentials: STRIPE_KEY cannot be deleted, the service stripe uses it"},
		{"deleting a key that there is not", "", `[{"action": "delete", "key": "NO_KEY"}]`, vault.CodeCredentialNotFound, `credentials[0]: there is no credential "NO_KEY" in the vault main-vault`},
		{"where to get it, by another scheme", "", `[{"action": "set", "key": "A_KEY", "obtain": "javascript:alert(1)"}]`, vault.CodeBadRequest, "credentials[0]: obtain: an http or https URL"},
		{"where to get it, with a user", "", `[{"action": "set", "key": "A_KEY", "obtain": "https://github.com@evil.example/"}]`, vault.CodeBadRequest, "credentials[0]: obtain: an http or https URL"},
		{"where to get it, on two lines", "", `[{"action": "set", "key": "A_KEY", "obtain": "https://example.com/\nx"}]`, vault.CodeBadRequest, "credentials[0]: obtain: an http or https URL"},
		{"an escape sequence", "", `[{"action": "set", "key": "A_KEY", "description": "\u001b[31m"}]`, vault.CodeBadRequest, "credentials[0]: description: "},
		{"a pattern of another service", service(`"name": "new", "host": "api.stripe.com", "auth": {"type": "passthrough"}`), "", vault.CodeBadRequest, ""},
	} {
		_, err := f.Propose(t.Context(), f.agent, mainVault, newProposal(t, row.services, row.credentials))
		if codeOf(err) != row.code || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s:\n got %s: %v\nwant %s: %s…", row.name, codeOf(err), err, row.code, row.want)
		}
	}
	for name, value := range map[string]string{"empty": "", "with a line break": "sk_live_x\n", "too long": strings.Repeat("a", 64<<10+1)} {
		n := slot("A_KEY")
		n.Values = values("A_KEY", value)
		_, err := f.Propose(t.Context(), f.agent, mainVault, n)
		if codeOf(err) != vault.CodeBadRequest || !strings.HasPrefix(err.Error(), "credentials[0]: credential A_KEY: ") || strings.Contains(err.Error(), "sk_live") {
			t.Errorf("a value %s: %v", name, err)
		}
	}
	n := newProposal(t, `[{"action": "delete", "name": "stripe"}, {"action": "delete", "name": "stripe-v2"}]`, `[{"action": "delete", "key": "STRIPE_KEY"}]`)
	n.Values = values("STRIPE_KEY", "sk_live_x")
	_, err = f.Propose(t.Context(), f.agent, mainVault, n)
	refused(t, "a value for what is deleted", vault.CodeBadRequest, "credentials[0]: value: a credential that is deleted has none", err)
	n.Values = nil
	if p := f.propose(t, f.agent, n); p.Number != 1 {
		t.Errorf("refusals took %d numbers", p.Number-1)
	}
	dev, err := vault.New(vault.Options{Store: f.db, Key: f.key, Now: f.now, Development: true})
	must(t, err)
	_, err = dev.Propose(t.Context(), f.agent, mainVault, newProposal(t, host("localhost:8080"), ""))
	must(t, err)
}

// The same again, by whomever, is the same proposal while it is pending.
func TestTheSameAgainIsFolded(t *testing.T) {
	f := newFixture(t)
	token, other, err := f.CreateAgent(t.Context(), f.owner, newAgent("other-robot", mainVault, vault.VaultProxy))
	must(t, err)
	second := f.caller(t, token)
	robot := f.snapshot(t).Agents[1].ID
	first := f.propose(t, f.agent, githubProposal(t, ""))
	events := len(f.events(t))
	for _, step := range []struct {
		name   string
		by     vault.Caller
		askers []string
	}{
		{"itself", f.agent, []string{robot}},
		{"another", second, []string{robot, other.ID}},
		{"itself again", f.agent, []string{robot, other.ID}},
	} {
		p := f.propose(t, step.by, githubProposal(t, ""))
		if p.ID != first.ID || p.Number != 1 || p.LinkToken != first.LinkToken || !p.Folded || p.AskerName != "robot" {
			t.Errorf("%s: %v, want the first one", step.name, p)
		}
		diff(t, step.name+": who asked", step.askers, f.review(t, 1).Askers)
	}
	if len(f.events(t)) != events {
		t.Error("what is folded is recorded as a proposal of its own")
	}
	if rv, err := f.Proposal(t.Context(), second, mainVault, 1); err != nil || rv.Number != 1 {
		t.Errorf("the other agent sees %v, %v", rv.Number, err)
	}

	different := map[string]func(*vault.NewProposal){
		"some value":          func(n *vault.NewProposal) { n.Values = values("GITHUB_TOKEN", "ghp_first") },
		"b another value":     func(n *vault.NewProposal) { n.Values = values("GITHUB_TOKEN", "ghp_other") },
		"another message":     func(n *vault.NewProposal) { n.Message = "x" },
		"another description": func(n *vault.NewProposal) { n.Services[0].Description = "x" },
		"an explicit default": func(n *vault.NewProposal) { yes := true; n.Services[0].Enabled = &yes },
	}
	number := int64(1)
	for _, name := range slices.Sorted(maps.Keys(different)) {
		n := githubProposal(t, "")
		different[name](&n)
		number++
		if p := f.propose(t, f.agent, n); p.Folded || p.Number != number {
			t.Errorf("%s: folded %t, number %d, want %d", name, p.Folded, p.Number, number)
		}
	}
	// With a value it is the same for who asked it, and for nobody who guesses.
	valued := githubProposal(t, "ghp_first")
	if p := f.propose(t, f.agent, valued); !p.Folded {
		t.Errorf("the same with its value is another one: %d", p.Number)
	}
	number++
	if p := f.propose(t, second, valued); p.Folded || p.Number != number {
		t.Errorf("another agent with the same value: folded %t, number %d, want %d", p.Folded, p.Number, number)
	}
	// Once it is decided it is another one.
	_, err = f.Reject(t.Context(), f.owner, mainVault, 1, "")
	must(t, err)
	if p := f.propose(t, f.agent, githubProposal(t, "")); p.Folded || p.Number != number+1 {
		t.Errorf("after a rejection: folded %t, number %d, want %d", p.Folded, p.Number, number+1)
	}
}

// Twenty may be pending in a vault. Those that expire stop counting at once,
// whether they are stored so or not.
func TestTwentyProposalsMayBePending(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	for i := range 20 {
		f.propose(t, f.agent, slot(fmt.Sprintf("KEY_%d", i)))
	}
	refusedFor := func(when string, wait time.Duration) {
		t.Helper()
		_, err := f.Propose(ctx, f.agent, mainVault, slot("ONE_MORE"))
		refused(t, when, vault.CodeTooManyProposals, "20 proposals are pending in this vault; wait until a person has decided some", err)
		var e *vault.Error
		if !errors.As(err, &e) || e.RetryAfter() != wait {
			t.Errorf("%s: try again after %v, want %v", when, e.RetryAfter(), wait)
		}
	}
	refusedFor("the 21st", time.Minute)
	if p := f.propose(t, f.agent, slot("KEY_7")); !p.Folded {
		t.Error("the same as a pending one is not folded")
	}
	_, err := f.CreateVault(ctx, f.owner, "other-vault")
	must(t, err)
	_, err = f.Propose(ctx, f.owner, "other-vault", slot("ONE_MORE"))
	must(t, err)
	_, err = f.Reject(ctx, f.owner, mainVault, 3, "")
	must(t, err)
	f.propose(t, f.agent, slot("KEY_20"))
	refusedFor("after one was rejected and one added", time.Minute)
	f.pass(7*24*time.Hour - 10*time.Second)
	refusedFor("ten seconds before they expire", 10*time.Second)
	f.pass(10*time.Second - time.Millisecond)
	refusedFor("just before they expire", time.Second)
	f.pass(time.Millisecond)
	if p := f.propose(t, f.agent, slot("KEY_7")); p.Folded || p.Number != 22 {
		t.Errorf("the same as an expired one: folded %t, number %d", p.Folded, p.Number)
	}
}
