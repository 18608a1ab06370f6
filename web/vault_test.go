package web_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/api"
)

const token = "ghp_0123456789abcdefghij"

// client is the API as the browser's person.
func (b *browser) client() *api.Client {
	_, token, _ := strings.Cut(b.cookie, "=")
	return b.f.clientOf(token)
}

// stocked is an instance whose vault has a service that works, one that lacks
// its credential, an agent and a session.
func stocked(t *testing.T) *fixture {
	t.Helper()
	f := newOwned(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.owner.AddFromCatalog(ctx, "default", api.CatalogRequest{Entry: "github", Credentials: map[string]string{"GITHUB_TOKEN": token}})
	must(err)
	_, err = f.owner.SetCredentials(ctx, api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{"GITHUB_TOKEN": token}})
	must(err)
	_, err = f.owner.AddFromCatalog(ctx, "default", api.CatalogRequest{Entry: "stripe"})
	must(err)
	_, err = f.owner.CreateAgent(ctx, api.AgentRequest{Name: "build-bot", Vaults: []api.AgentVault{{VaultName: "default", VaultRole: "proxy", Services: []string{"github"}}}})
	must(err)
	_, err = f.owner.MintSession(ctx, api.SessionRequest{Vault: "default", Label: "night run"})
	must(err)
	return f
}

func TestVault(t *testing.T) {
	f := stocked(t)
	f.propose(`{"credentials": [{"action": "set", "key": "OTHER_KEY"}]}`)
	b := f.signedIn()
	b.get("/vaults").status(200).says("default")
	p := b.get("/vaults/default").status(200).says("github usable", "api.github.com", "stripe credential missing", "Give STRIPE_KEY a value", "not used yet",
		"GITHUB_TOKEN", "build-bot active", "only github", "night run", "Proposal 1 in default", "Hosts that no service names are refused", "Remove the vault").saysNot(token)
	if !strings.Contains(p.body, `api.<b>github.com</b>`) || !strings.Contains(p.body, `href="/vaults/default/traffic"`) {
		t.Error("no domain is set off, or no link to the traffic")
	}
	b.get("/vaults/none").status(404).says("no vault")
}

// What the form says is done, or the page says why not, with what was typed.
func TestVaultForms(t *testing.T) {
	f := stocked(t)
	f.join("ann@example.test", "member", "").get("/vaults/default").status(403)
	b := f.signedIn()
	const at = "/vaults/default"
	b.post(at, "do", "nothing").status(400)
	b.post(at, "do", "unmatched", "unmatched_hosts", "tunnel").status(303)
	b.post(at, "do", "unmatched", "unmatched_hosts", "all").status(400).says("neither deny nor tunnel")
	b.post(at, "do", "member", "email", "nobody@example.test", "role", "admin").status(404).says("nobody@example.test").saysNot(`value="member" selected`)
	b.post(at, "do", "member", "email", "ann@example.test", "role", "member").status(303)
	b.get(at).says("ann@example.test: member", "let through")
	b.post(at, "do", "member-remove", "email", "ann@example.test").status(303)
	b.post(at, "do", "agent-revoke", "agent", "build-bot").status(303)
	b.get(at).says("build-bot revoked").saysNot("ann@example.test")
	b.post(at, "do", "agent-withdraw", "agent", "build-bot").status(303)
	sessions, err := f.owner.Sessions(t.Context(), "default")
	if err != nil || len(sessions.Sessions) != 1 {
		t.Fatal(sessions, err)
	}
	b.post(at, "do", "session-revoke", "id", sessions.Sessions[0].ID).status(303)
	b.post(at, "do", "session-revoke", "id", "none").status(404)
	b.get(at).saysNot("night run", "build-bot")

	short := b.post(at, "do", "credential", "key", "A_KEY", "value.", "sk-1").status(400).says("shorter than 8 bytes", "Take a value of less").saysNot("sk-1")
	if !strings.Contains(short.body, `value="A_KEY"`) {
		t.Error("the key is lost")
	}
	b.post(at, "do", "credential", "key", "sk-live-typed-here", "value.", "some value").status(400).says("a key has A-Z").saysNot("sk-live", "some value")
	b.post(at, "do", "credential", "key", "A_KEY", "value.", "sk-1", "allow_short", "yes").status(303)
	b.get(at).says("A_KEY short", "for no service")

	b.post(at, "do", "rename", "name", "No!").status(400).says("Rename")
	if to := b.post(at, "do", "rename", "name", "team-a").status(303).Get("Location"); to != "/vaults/team-a" {
		t.Error(to)
	}
	b.post("/vaults/team-a", "do", "delete", "sure", "team").status(400).says("Type the name team-a")
	b.post("/vaults/team-a", "do", "delete", "sure", "team-a").status(303)
	b.get("/vaults/team-a").status(404)
	b.get("/vaults").says("a role in no vault", "Make a vault")
	b.post("/vaults", "name", "X").status(400).says("Make a vault")
	if to := b.post("/vaults", "name", "team-b").status(303).Get("Location"); to != "/vaults/team-b/start" {
		t.Error(to)
	}
}

// Nobody is offered what their role does not allow, and the API refuses it all
// the same.
func TestRoles(t *testing.T) {
	f := stocked(t)
	pages := []string{"/vaults/default", "/vaults/default/services/github", "/vaults/default/credentials/GITHUB_TOKEN", "/vaults/default/catalog", "/vaults/default/catalog/gitlab", "/vaults/default/services", "/vaults/default/start"}
	for role, want := range map[string]string{
		"proxy":  "session-revoke",
		"member": "add credential delete disable lasts-3600 lasts-86400 remove rollback session-revoke set",
		"admin":  "add agent-revoke agent-withdraw credential delete disable lasts-3600 lasts-86400 member member-remove remove rename rollback session-revoke set unmatched",
	} {
		b := f.join(role+"@example.test", "member", role)
		if _, err := b.client().MintSession(t.Context(), api.SessionRequest{Vault: "default"}); err != nil {
			t.Fatal(err)
		}
		offered := make(map[string]bool)
		for _, path := range pages {
			for _, n := range b.get(path).status(200).nodes() {
				if n.Data == "button" && attr(n, "name") == "do" {
					offered[attr(n, "value")] = true
				}
				if n.Data == "form" && attr(n, "method") == "post" && (strings.Contains(attr(n, "action"), "/catalog/") || strings.HasSuffix(attr(n, "action"), "/services")) {
					offered["add"] = true
				}
			}
		}
		if got := strings.Join(slices.Sorted(maps.Keys(offered)), " "); got != want {
			t.Errorf("%s is offered\n%s, want\n%s", role, got, want)
		}
	}
	b := f.join("other@example.test", "member", "proxy")
	for path, form := range map[string][]string{
		"/vaults/default":                          {"do", "unmatched", "unmatched_hosts", "tunnel"},
		"/vaults/default/services/github":          {"do", "disable"},
		"/vaults/default/credentials/GITHUB_TOKEN": {"do", "delete"},
		"/vaults/default/catalog/gitlab":           {},
	} {
		b.post(path, form...).status(403).says("does not allow this")
	}
}

func TestService(t *testing.T) {
	f := stocked(t)
	b := f.signedIn()
	const at = "/vaults/default/services/github"
	b.get(at).status(200).says("Service github usable", "bearer", "token: GITHUB_TOKEN", "allow every method on every path", "Remove it")
	b.post(at, "do", "disable").status(303)
	b.get(at).says("Service github disabled", "Enable")
	b.get("/vaults/default").says("github disabled")
	b.post(at, "do", "lasts-3600").status(303)
	b.get(at).says("For good")
	f.clock.move(time.Hour)
	b = f.signedIn()
	b.get(at).says("Service github ended").saysNot(">Disable<", ">Enable<")
	b.get("/vaults/default").says("github ended", ", until 20")
	b.post(at, "do", "lasts-0").status(303)
	b.get(at).says("Service github disabled").saysNot("For good")
	b.post(at, "do", "enable").status(303)
	b.post(at, "do", "").status(400)
	if to := b.post(at, "do", "remove").status(303).Get("Location"); to != "/vaults/default" {
		t.Error(to)
	}
	b.post(at, "do", "remove").status(404)
	b.get(at).status(404)
	b.get("/vaults/default/services/stripe").says("STRIPE_KEY has no value")
}

// The page of a service says what it lets through, how much of that, and until when.
func TestLimitsAreShown(t *testing.T) {
	f := stocked(t)
	b := f.signedIn()
	var r api.AddServicesRequest
	if err := json.Unmarshal([]byte(`{"services": [{"name": "shop", "host": "shop.example.com", "auth": {"type": "passthrough"},
		"limits": [{"requests": 100000, "window": "1m", "per": "agent"}, {"budget": "600.50", "field": "amount", "window": "24h"}],
		"rules": [{"methods": ["POST"], "paths": ["/pay"], "when": "json.amount < 5.0", "limits": [{"uses": 3}], "expires_at": "2099-01-02T15:04:05Z"}, {}]}]}`), &r); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client().AddServices(t.Context(), "default", r); err != nil {
		t.Fatal(err)
	}
	b.get("/vaults/default/services/shop").status(200).says(
		"per=agent,requests=100000,window=1m", "budget=600.50,field=amount,window=24h",
		"allow POST on /pay if json.amount < 5.0", "of these at most uses=3", "this rule ends 2099-01-02T15:04:05Z", "What is used up", "of rule 0", "0 used, 3 left")
}

func TestCredential(t *testing.T) {
	f := stocked(t)
	b := f.signedIn()
	const at = "/vaults/default/credentials/GITHUB_TOKEN"
	b.get(at).status(200).says("Version 2", "Services that send it: github", "Replace the value", "Version 1, until").saysNot(token)
	b.post(at, "do", "set", "value.", "short").status(400).says("shorter than 8", "Take a value").saysNot(`value="short"`)
	b.post(at, "do", "set", "value.", "another long one").status(303)
	p := b.get(at).says("Version 3", "Earlier values", "Version 1, until").saysNot("another long one")
	if !strings.Contains(p.body, `name="version" value="1"`) {
		t.Error("no way back")
	}
	b.post(at, "do", "rollback", "version", "x").status(400)
	b.post(at, "do", "rollback", "version", "9").status(404)
	b.post(at, "do", "rollback", "version", "1").status(303)
	b.get(at).says("Version 4")
	b.post(at, "do", "delete").status(303)
	b.get(at).status(200).says("It has no value yet", "github")
	b.get("/vaults/default/credentials/NO_KEY").status(404)
	stripe := "/vaults/default/credentials/STRIPE_KEY"
	b.get(stripe).says("It has no value yet", "stripe")
	b.post(stripe, "do", "set", "value.", "sk_live_0123456789").status(303)
	b.get("/vaults/default").says("stripe usable").saysNot("sk_live")
}

// Each form asks for the password when it takes one, and goes on.
func TestStaleSignIn(t *testing.T) {
	f := stocked(t)
	b := f.signedIn()
	f.clock.move(6 * time.Minute)
	const at = "/vaults/default/services/github"
	p := b.post(at, "do", "remove").status(403).says("give your password again")
	b.post(at, with(p.typed(at), "login.password", ownerPassword)...).status(303)
	b.get(at).status(404)
}
