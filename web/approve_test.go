package web_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/vault"
	"agentvault/vault/catalog"
)

const stripeProposal = `{"services": [{"action": "set", "name": "stripe", "host": "api.stripe.com", "description": "Stripe API", "auth": {"type": "bearer", "token": "STRIPE_KEY"}, "rules": [{"methods": ["POST"], "paths": ["/v1/refunds"]}]}],
	"credentials": [{"action": "set", "key": "STRIPE_KEY", "description": "A key", "obtain": "https://dashboard.stripe.com/apikeys", "obtain_instructions": "Developers > API keys"}],
	"message": "for developers <b>", "user_message": "To refund order 17"}`

// propose asks as an agent, and returns the link's path.
func (f *fixture) propose(body string) string {
	f.t.Helper()
	s, err := f.owner.MintSession(f.t.Context(), api.SessionRequest{Vault: "default", Label: "refunds <i>"})
	if err != nil {
		f.t.Fatal(err)
	}
	r := f.browser().request(http.MethodPost, "/v1/proposals", body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.Token)
	_, link, found := strings.Cut(f.browser().send(r).status(201).body, `"approval_url":"`+f.base)
	path, _, _ := strings.Cut(link, `"`)
	if !found {
		f.t.Fatal("no link")
	}
	return path
}

// The link has three forms: the page is for browsers, the others stay as they
// were.
func TestLinkForms(t *testing.T) {
	f := newOwned(t)
	path := f.propose(stripeProposal)
	b := f.browser()
	b.get(path).status(200).says("this agent have it", "refunds <i>", "default", "api.stripe.com", "allow POST on /v1/refunds", "bearer", "token: STRIPE_KEY",
		"To refund order 17", "Sign in to decide", "dashboard.stripe.com").saysNot("<i>", "digest", "Allow</button>")
	for accept, begins := range map[string]string{"*/*": "Proposal 1 in the vault default, pending.\n", "application/json": `{"id":1,`, "application/json, text/html": `{"id":1,`} {
		r := b.request("GET", path, "")
		r.Header.Set("Accept", accept)
		if p := b.send(r).status(200); !strings.HasPrefix(p.body, begins) {
			t.Errorf("%s: %s", accept, p.body)
		}
	}
	b.get("/approve/1?token=av_appr_x").status(401).says("Sign in")
	b.get("/approve/1").status(401)
	r := b.request("POST", path, "{}")
	r.Header.Set("Content-Type", "application/json")
	b.send(r).status(405)
}

// with puts values into fields of a form.
func with(typed []string, pairs ...string) []string {
	typed = slices.Clone(typed)
	for i := 0; i+1 < len(pairs); i += 2 {
		at := -1
		for j := 0; j+1 < len(typed); j += 2 {
			if typed[j] == pairs[i] {
				at = j
			}
		}
		if at < 0 {
			typed = append(typed, pairs[i], pairs[i+1])
		} else {
			typed[at+1] = pairs[i+1]
		}
	}
	return typed
}

const form = "/approve/1?vault=default"

func TestApprove(t *testing.T) {
	f := newOwned(t)
	path := f.propose(stripeProposal)
	b := f.browser()
	typed := b.get(path).typed("/sign-in")
	to := b.post("/sign-in", with(typed, "login.email", ownerEmail, "login.password", ownerPassword)...).status(303).Get("Location")
	if to != path {
		t.Fatalf("it goes on to %s", to)
	}
	p := b.get(to).status(200).says("Adds the service stripe", "POST on /v1/refunds of https://api.stripe.com, with STRIPE_KEY", "you give its value", "for developers <b>",
		"That page is at dashboard.stripe.com", "Value of STRIPE_KEY", "Allow", "Deny").saysNot("<b>\n")
	if !strings.Contains(p.body, `api.<b>stripe.com</b>`) {
		t.Error("the domain is not set off")
	}
	b.post(form, with(p.typed(form), "decision", "allow")...).status(400).says("value of STRIPE_KEY is needed")
	short := b.post(form, with(p.typed(form), "decision", "allow", "value.STRIPE_KEY", "sk-1", "note", "a <note>")...).status(400).
		says("shorter than 8 bytes", "Take a value of less").saysNot("sk-1")
	if !strings.Contains(short.body, `aria-describedby="problem-STRIPE_KEY"`) || !strings.Contains(short.text(), "a <note>") {
		t.Errorf("the problem is not at its field, or the note is lost\n%s", short.body)
	}
	done := b.post(form, with(short.typed(form), "decision", "allow", "value.STRIPE_KEY", "sk-1", "allow_short", "yes")...).status(303).Get("Location")
	b.get(done).status(200).says("Proposal 1 is applied", ownerEmail).saysNot("Allow</button>")
	s, err := f.owner.Service(t.Context(), "default", "stripe")
	if err != nil || s.Host != "api.stripe.com" {
		t.Errorf("%+v %v", s, err)
	}
	b.post(form, "decision", "deny").status(409).says("Your decision was not taken", "is applied", "What is in the vault default now")
}

// What is allowed for a time ends; what has ended is not allowed again unless
// the person says for how long.
func TestAllowForATime(t *testing.T) {
	f := newOwned(t)
	f.propose(stripeProposal)
	b := f.signedIn()
	typed := with(b.get(form).says("For good", "For 1 hour", "For 24 hours").saysNot("the end that is shown").typed(form), "decision", "allow", "value.STRIPE_KEY", "sk-live-1234")
	b.post(form, with(typed, "lasts", "soon")...).status(400).says("for how long")
	b.post(form, with(typed, "lasts", "-1")...).status(400)
	b.post(form, with(typed, "lasts", "3600")...).status(303)
	s, err := f.owner.Service(t.Context(), "default", "stripe")
	if left := time.Until(s.ExpiresAt); err != nil || left > time.Hour || left < 50*time.Minute {
		t.Errorf("%+v %v", s, err)
	}
	f.propose(strings.Replace(stripeProposal, "Stripe API", "Another", 1))
	const second = "/approve/2?vault=default"
	typed = b.get(second).says("Until the end that is shown above", "Ends", s.ExpiresAt.Format(time.RFC3339)).typed(second)
	b.post(second, with(typed, "decision", "allow")...).status(303)
	if kept, err := f.owner.Service(t.Context(), "default", "stripe"); err != nil || kept.Description != "Another" || !kept.ExpiresAt.Equal(s.ExpiresAt) {
		t.Errorf("%+v %v", kept, err)
	}
	f.propose(strings.Replace(stripeProposal, "Stripe API", "A third", 1))
	f.clock.move(2 * time.Hour)
	f.signedIn().get("/approve/3?vault=default").says("lets requests through again", "Newly let through", "For 1 hour").saysNot("the end that is shown")
}

func TestDeny(t *testing.T) {
	f := newOwned(t)
	f.propose(stripeProposal)
	b := f.signedIn()
	b.get("/vaults").says("Proposal 1 in default", "set stripe api.stripe.com", "set STRIPE_KEY")
	typed := b.get("/approve/1").status(200).typed(form) // its link may be too old
	b.post(form, with(typed, "decision", "perhaps")...).status(400)
	b.post(form, with(typed, "decision", "deny", "note", "use the <sandbox>")...).status(303)
	b.get(form).status(200).says("Proposal 1 is rejected", "use the <sandbox>")
	b.get("/approve/2").status(404)
	b.get("/approve/x").status(404)
	b.get("/approve/1?vault=nothing").status(404)
}

// What is allowed is what was shown (R16). What was typed outlives the change.
func TestChangedMeanwhile(t *testing.T) {
	f := newOwned(t)
	f.propose(stripeProposal)
	b := f.signedIn()
	typed := with(b.get(form).typed(form), "decision", "allow", "value.STRIPE_KEY", "sk-live-1234", "note", "fine")
	if _, err := f.owner.CreateVault(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	unmatched := vault.UnmatchedTunnel
	if _, err := f.owner.ChangeVault(t.Context(), "default", api.VaultChange{UnmatchedHosts: &unmatched}); err != nil {
		t.Fatal(err)
	}
	p := b.post(form, typed...).status(409).says("It has changed since it was shown")
	again := p.typed(form)
	if !slices.Contains(again, "sk-live-1234") || !strings.Contains(p.body, ">fine</textarea>") {
		t.Errorf("what was typed is lost: %q", again)
	}
	b.post(form, with(typed, "digest", "")...).status(409)
	b.post(form, with(again, "decision", "allow")...).status(303)
	b.get(form).says("is applied")
}

// A sign-in that is too old, or has ended, is mended in place, and the decision
// goes on.
func TestDecisionOutlivesASignIn(t *testing.T) {
	for name, tt := range map[string]struct {
		pass   time.Duration
		status int
		fields []string
	}{
		"the password again": {time.Hour, 403, []string{"login.password", ownerPassword}},
		"signed in again":    {13 * time.Hour, 401, []string{"login.email", ownerEmail, "login.password", ownerPassword}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newOwned(t)
			f.propose(stripeProposal)
			b := f.signedIn()
			typed := with(b.get(form).typed(form), "decision", "allow", "value.STRIPE_KEY", "sk-live-1234")
			f.clock.move(tt.pass)
			p := b.post(form, typed...).status(tt.status).says("What you typed is kept")
			wrong := b.post(form, with(p.typed(form), append(slices.Clone(tt.fields[:len(tt.fields)-1]), "not this one")...)...)
			wrong.status(tt.status).says("wrong").saysNot("not this one")
			b.post(form, with(wrong.typed(form), tt.fields...)...).status(303)
			b.get(form).says("is applied")
		})
	}
}

// A form that a page cannot hold as it is goes nowhere by half.
func TestUnkeepable(t *testing.T) {
	f := newOwned(t)
	f.propose(stripeProposal)
	b := f.signedIn()
	typed := with(b.get(form).typed(form), "decision", "allow", "value.STRIPE_KEY", "sk-live-\u200d1234")
	f.clock.move(time.Hour)
	p := b.post(form, typed...).status(403).says("type it anew").saysNot("sk-live")
	if to := b.post("/sign-in", with(p.typed("/sign-in"), "login.password", ownerPassword)...).status(303).Get("Location"); to != form {
		t.Errorf("it goes on to %s", to)
	}
	b.get(form).status(200).says("It waits for a decision")
}

// Who may not decide sees what the link shows.
func TestNoRole(t *testing.T) {
	f := newOwned(t)
	path := f.propose(stripeProposal)
	invite, err := f.owner.InviteUser(t.Context(), api.UserInviteRequest{Email: "ann@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	ann := f.browser()
	ann.post(strings.TrimPrefix(invite.InviteLink, f.base), "password", ownerPassword).status(303)
	ann.get(path).status(200).says("no role in this vault", "To refund order 17").saysNot("Allow</button>", "digest")
	ann.post(form, "decision", "allow", "digest", "x").status(403)
}

// What a service has before and after stands side by side, and nothing of it is
// left out.
func TestBeforeAndAfter(t *testing.T) {
	f := newOwned(t)
	ctx := t.Context()
	e, ok := catalog.Find("stripe")
	if !ok {
		t.Fatal("no stripe in the catalog")
	}
	if _, err := f.owner.AddFromCatalog(ctx, "default", api.CatalogRequest{Entry: e.Name, Credentials: map[string]string{e.Credentials[0].Key: "sk-live-1234"}}); err != nil {
		t.Fatal(err)
	}
	off := "off"
	if _, err := f.owner.ChangeService(ctx, "default", "stripe", api.ServicePatch{Scrub: &off}); err != nil {
		t.Fatal(err)
	}
	f.propose(`{"services": [{"action": "set", "name": "stripe", "host": "api.str1pe.com", "auth": {"type": "custom", "headers": {"X-Key": "{{ ` + e.Credentials[0].Key + ` }}"}}, "enabled": false, "rules": [{"methods": ["GET"]}, {"action": "deny"}]}]}`)
	f.signedIn().get(form).status(200).says("Look twice", "looks like api.stripe.com", "moves from", "go to a host it never went to",
		"Changes the service stripe", "before: api.stripe.com", "then: api.str1pe.com", "headers: X-Key: {{ "+e.Credentials[0].Key+" }}", "allow GET on every path", "deny every method on every path",
		"before: yes", "then: no", "Answers are searched before: off")
}

// Of an auth every field is shown, under its name and on its own line, whatever an
// agent puts into it.
func TestNoFieldOfAnAuthIsHidden(t *testing.T) {
	f := newOwned(t)
	jwt := `{"type": "jwt", "algorithm": "EdDSA", "private_key": "A_KEY", "claims": {"type": "read-only", "sub": "x\nlifetime: 10s", "roles": [], "extra": {}, "tenant": ""}}`
	oauth2 := `{"type": "oauth2", "grant": "client_credentials", "token_url": "https://login.example.com/token", "client_id_literal": "app", "client_secret": "A_KEY", "prefix": ""}`
	f.propose(`{"services": [{"action": "set", "name": "one", "host": "api.example.com", "auth": ` + jwt + `}, {"action": "set", "name": "two", "host": "two.example.com", "auth": ` + oauth2 + `}],
		"credentials": [{"action": "set", "key": "A_KEY"}]}`)
	f.signedIn().get(form).status(200).says("claims: type: read-only", `claims: sub: x\nlifetime: 10s`, "claims: roles: nothing", "claims: extra: nothing", `claims: tenant: ""`, `prefix: ""`)
}
