package web_test

import (
	"strings"
	"testing"
)

// From an empty instance to the first command, with nothing but what pages link
// to.
func TestFirstVisit(t *testing.T) {
	f := newEmpty(t)
	b := f.browser()
	to := b.get("/").status(303).Get("Location")
	to = b.get(to).status(303).Get("Location")
	b.get(to).status(200).says("Nobody owns this instance yet")
	start := b.post("/register", "email", ownerEmail, "password", ownerPassword).status(303).Get("Location")
	p := b.get(start).status(200).says("First steps", "done An owner", "done A vault", "to do A service", "to do Its credentials", "to do An agent's first request",
		"agent-vault vault run --vault default -- my-agent", "AGENT_VAULT_ADDR="+f.base, ownerEmail)
	if !strings.Contains(p.body, `href="/vaults/default/catalog"`) {
		t.Error("no link to the catalog")
	}
	b.get("/vaults").status(200).says("Nothing is in it yet") // skipped, and resumed
	const entry = "/vaults/default/catalog/github"
	to = b.post(entry, with(b.get(entry).typed(entry))...).status(303).Get("Location")
	if to != start {
		t.Fatalf("it goes on to %s", to)
	}
	p = b.get(start).says("done A service", "to do Its credentials", "Without a value: GITHUB_TOKEN", "https://api.github.com/")
	const key = "/vaults/default/credentials/GITHUB_TOKEN"
	if !strings.Contains(p.body, `href="`+key+`"`) {
		t.Error("no link to the missing value")
	}
	b.post(key, "do", "set", "value.", token).status(303)
	b.get(start).says("done Its credentials", "to do An agent's first request").saysNot(token)

	made := b.post(start, "label", "mine", "ttl", "3600").status(200).says("Its token is shown this once", f.base+"/discover", f.base+"/api.github.com/", ":default@"+host)
	_, session, _ := strings.Cut(made.text(), "Authorization: Bearer ")
	session, _, _ = strings.Cut(session, "'")
	if d, err := f.clientOf(session).Discover(t.Context()); err != nil || d.Vault != "default" || len(d.Services) == 0 {
		t.Errorf("%+v %v", d, err)
	}
	b.get(start).saysNot(session)
	b.get("/vaults/default").says("mine").saysNot(session)
	b.post(start, "label", "mine", "ttl", "1").status(400).says("First steps")
	b.post(start, "label", "mine", "ttl", "x").status(400)
}

// Who may only use the vault gets a session, and no dead end.
func TestFirstStepsOfAProxy(t *testing.T) {
	f := newOwned(t)
	b := f.join("ann@example.test", "member", "proxy")
	b.get("/vaults/default/start").status(200).says("A member of the vault adds them", "agent-vault auth login").saysNot(`href="/vaults/default/services"`)
	b.post("/vaults/default/start", "label", "", "ttl", "86400").status(200).says("shown this once")
	if l, err := f.owner.Sessions(t.Context(), "default"); err != nil || len(l.Sessions) != 1 {
		t.Errorf("%+v %v", l, err)
	}
	f.join("ben@example.test", "member", "").get("/vaults").status(200).says("a role in no vault", "Make a vault")
}
