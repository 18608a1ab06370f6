package web_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"agentvault/api"
)

// join makes a user with a role in the vault "default", and signs them in.
func (f *fixture) join(email, role, vaultRole string) *browser {
	f.t.Helper()
	invite := api.UserInviteRequest{Email: email, Role: role}
	if vaultRole != "" {
		invite.Vaults = []api.VaultRole{{VaultName: "default", VaultRole: vaultRole}}
	}
	i, err := f.owner.InviteUser(f.t.Context(), invite)
	if err != nil {
		f.t.Fatal(err)
	}
	b := f.browser()
	b.post(strings.TrimPrefix(i.InviteLink, f.base), "password", ownerPassword).status(303)
	return b
}

// robot makes an agent.
func (f *fixture) robot(name string) (token string) {
	f.t.Helper()
	a, err := f.owner.CreateAgent(f.t.Context(), api.AgentRequest{Name: name, Vaults: []api.AgentVault{{VaultName: "default", VaultRole: "proxy"}}})
	if err != nil {
		f.t.Fatal(err)
	}
	return a.Token
}

// actions are those of the page's forms.
func (p page) actions() string {
	p.t.Helper()
	var all []string
	for _, n := range p.nodes() {
		if n.Data == "form" {
			all = append(all, attr(n, "action"))
		}
	}
	return strings.Join(all, " ")
}

// shownOnce is what stands in the field to be copied.
func (p page) shownOnce() string {
	p.t.Helper()
	for _, n := range p.nodes() {
		if n.Data == "input" && strings.Contains(p.body, "readonly") && attr(n, "value") != "" {
			return attr(n, "value")
		}
	}
	p.t.Fatalf("nothing to copy in\n%s", p.body)
	return ""
}

// What a person's role does not allow is not on the page.
func TestInstanceByRole(t *testing.T) {
	f := newOwned(t)
	f.robot("robot")
	if _, err := f.owner.InviteAgent(t.Context(), api.AgentInviteRequest{Name: "robot-2", Vaults: []api.AgentVault{{VaultName: "default", VaultRole: "proxy"}}}); err != nil {
		t.Fatal(err)
	}
	const own, users, agents, server = "/instance/logins/end", "/instance/users/", "/instance/agents/", "Schema"
	for name, of := range map[string]struct {
		b             *browser
		forms, others string // parts of actions that are there, and that are not
		says, silent  []string
	}{
		"owner":     {f.signedIn(), "users/invite users/role users/remove agents/rotate agents/revoke agents/invites/revoke password", "", []string{"robot", "robot-2", "Audit log", server, ownerEmail, "listen.api"}, nil},
		"admin":     {f.join("admin@example.test", "member", "admin"), "agents/rotate agents/revoke agents/invites/revoke password", "users/", []string{"robot", "robot-2"}, []string{server, ownerEmail}},
		"member":    {f.join("member@example.test", "member", "member"), "password", "users/ agents/", []string{"robot", "robot-2"}, []string{server, ownerEmail}},
		"proxy":     {f.join("proxy@example.test", "member", "proxy"), "password", "users/ agents/", []string{"There are none in your vaults"}, []string{"robot", server}},
		"no-access": {f.join("none@example.test", "no-access", ""), "password", "users/ agents/", nil, []string{"robot", server, ">Agents<"}},
	} {
		p := of.b.get("/instance").status(200).says(append(of.says, "Root certificate", "Your sign-ins", "this one")...).saysNot(of.silent...)
		got := p.actions()
		for _, part := range strings.Fields(of.forms) {
			if !strings.Contains(got, "/instance/"+part) {
				t.Errorf("%s: no form %s in %s", name, part, got)
			}
		}
		for _, part := range strings.Fields(of.others) {
			if strings.Contains(got, "/instance/"+part) {
				t.Errorf("%s: a form %s in %s", name, part, got)
			}
		}
	}
	f.browser().get("/instance").status(401).says("Sign in")
}

func TestInstanceUsers(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	p := b.post("/instance/users/invite", "email", "ann@example.test", "role", "member", "vault.default", "proxy", "vault.second", "").status(200)
	link := p.shownOnce()
	if !strings.HasPrefix(link, f.base+"/join/av_join_") {
		t.Errorf("the link is %q", link)
	}
	b.get("/instance").says("ann@example.test, as member", "in default (proxy)", "Invites that wait").saysNot("av_join_")
	refused := b.post("/instance/users/invite", "email", "no email <b>", "role", "owner", "vault.default", "admin").status(400).says("Nothing was changed").saysNot("<b>")
	if !strings.Contains(refused.body, `value="no email &lt;b&gt;"`) || !strings.Contains(refused.body, "<option selected>admin") {
		t.Errorf("what was typed is lost:\n%s", refused.body)
	}
	f.browser().post(strings.TrimPrefix(link, f.base), "password", ownerPassword).status(303)
	b.get("/instance").status(200).saysNot("Invites that wait")

	b.post("/instance/users/invite", "email", "bob@example.test", "role", "member").status(200)
	invites, err := f.owner.UserInvites(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range invites.Invites {
		if i.Status == "pending" {
			b.post("/instance/users/invites/revoke", "id", i.ID).status(303)
		}
	}
	b.get("/instance").status(200).saysNot("bob@example.test")

	b.post("/instance/users/role", "email", "ann@example.test", "role", "owner").status(303)
	b.post("/instance/users/role", "email", "ann@example.test", "role", "emperor").status(400).says("Nothing was changed")
	b.post("/instance/users/role", "email", "ann@example.test", "role", "no-access").status(303)
	b.post("/instance/users/role", "email", ownerEmail, "role", "member").status(409).says("Nothing was changed")
	b.post("/instance/users/remove", "email", "ann@example.test").status(303)
	b.get("/instance").status(200).saysNot("ann@example.test")

	f.clock.move(10 * time.Minute) // the password is asked for in place, and what was typed goes along
	again := b.post("/instance/users/invite", "email", "eve@example.test", "role", "member").status(403).says("give your password again")
	b.post("/instance/users/invite", with(again.typed("/instance/users/invite"), "login.password", ownerPassword)...).status(200).says("Invite of eve@example.test")
}

func TestInstanceAgents(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	old := f.robot("robot")
	next := b.post("/instance/agents/rotate", "name", "robot").status(200).says("not shown again").shownOnce()
	works := func(token string) bool {
		r := b.request("GET", "/discover", "")
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("X-Vault", "default")
		return f.browser().send(r).code == http.StatusOK
	}
	if works(old) || !works(next) {
		t.Errorf("the old token works: %t, the new one: %t", works(old), works(next))
	}
	b.get("/instance").status(200).saysNot("av_agt_")
	b.post("/instance/agents/revoke", "name", "robot").status(303)
	if works(next) {
		t.Error("a revoked token works")
	}
	if got := b.get("/instance").says("robot, revoked").actions(); strings.Contains(got, "agents/revoke") || !strings.Contains(got, "agents/rotate") {
		t.Errorf("forms of a revoked agent: %s", got)
	}
	b.post("/instance/agents/revoke", "name", "nobody").status(404).says("Nothing was changed")
	member := f.join("member@example.test", "member", "member")
	member.post("/instance/agents/rotate", "name", "robot").status(403).says("Nothing was changed")
}

func TestInstanceLogins(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	others := []*browser{f.signedIn(), f.signedIn(), f.signedIn()}
	logins, err := f.owner.Logins(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, l := range logins.Logins {
		if !l.Current {
			ids = append(ids, l.ID)
		}
	}
	if len(ids) != 4 {
		t.Fatalf("%d sign-ins", len(ids))
	}
	ended := func() (n int) {
		for _, o := range others {
			if o.get("/instance").code == 401 {
				n++
			}
		}
		return n
	}
	b.post("/instance/logins/end", "id", "x").status(404)
	b.post("/instance/logins/end-others").status(303)
	if n := ended(); n != 3 {
		t.Errorf("%d ended", n)
	}
	b.get("/instance").status(200).saysNot("End all others")

	one := f.signedIn()
	id := ""
	for _, n := range b.get("/instance").nodes() {
		if n.Data == "input" && attr(n, "name") == "id" {
			id = attr(n, "value")
		}
	}
	b.post("/instance/logins/end", "id", id).status(303)
	one.get("/instance").status(401)

	const next = "another horse battery staple"
	b.post("/instance/password", "old", "not this", "new", next).status(403).says("Nothing was changed").saysNot("not this", next)
	b.post("/instance/password", "old", ownerPassword, "new", "short").status(400).says("Nothing was changed")
	other := f.signedIn()
	b.post("/instance/password", "old", ownerPassword, "new", next).status(200).says("Your password is changed")
	other.get("/instance").status(401)
	b.get("/instance").status(200)
}

func TestRoot(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	asPEM := b.get("/instance/ca/agent-vault-ca.pem").status(200)
	block, _ := pem.Decode([]byte(asPEM.body))
	asDER := b.get("/instance/ca/agent-vault-ca.der").status(200)
	if block == nil || string(block.Bytes) != asDER.body {
		t.Fatal("PEM and DER differ")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		t.Error(err)
	}
	if got := asDER.Get("Content-Disposition") + " " + asDER.Get("Content-Type"); got != "attachment; filename=agent-vault-ca.der application/pkix-cert" {
		t.Error(got)
	}
	b.get("/instance").says(strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(block.Bytes)), " ", ":"))
	b.get("/instance/ca/agent-vault-ca.key").status(404)
}
