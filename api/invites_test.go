package api_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"agentvault/api"
	"agentvault/vault"
)

func (f *fixture) inviteAgent(name string) (i api.AgentInviteResponse) {
	f.t.Helper()
	f.send("POST", "/v1/agents/invites", f.owner, `{"name":"`+name+`","vaults":[{"vault_name":"default","vault_role":"proxy"}]}`).into(f.t, 201, &i)
	return i
}

// TestAgentInvites holds the answers to the contract, key by key.
func TestAgentInvites(t *testing.T) {
	f, _, _ := filled(t)
	i := f.inviteAgent("robot-two")
	if prefix, ok := vault.CheckToken(i.Token); !ok || prefix != vault.PrefixInvite {
		t.Errorf("token %q", i.Token)
	}
	want := api.AgentInviteResponse{
		AgentName: "robot-two", ExpiresAt: f.clock.now().Add(24 * time.Hour), InviteLink: baseURL + "/invite/" + i.Token, Token: i.Token,
		Vaults: []api.AgentVault{{VaultName: "default", VaultRole: "proxy"}},
	}
	if diff := cmp.Diff(want, i, cmpopts.IgnoreFields(want, "ID")); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"robot-one", "robot-two"} { // an agent's, and an invite's
		f.send("POST", "/v1/agents/invites", f.owner, `{"name":"`+name+`"}`).refused(t, 409, "conflict")
		f.send("POST", "/v1/agents", f.owner, `{"name":"`+name+`"}`).refused(t, 409, "conflict")
	}
	link := "/invite/" + i.Token
	if a := f.send("GET", link, "", ""); a.refused(t, 405, "method_not_allowed") == "" || a.header.Get("Allow") != "POST" {
		t.Errorf("%v", a.header)
	}
	a := f.send("POST", link, "", `{}`)
	var r api.RedeemResponse
	a.into(t, 200, &r)
	if prefix, ok := vault.CheckToken(r.Token); !ok || prefix != vault.PrefixAgent {
		t.Errorf("token %q", r.Token)
	}
	token, instructions := r.Token, r.Instructions
	r.Token, r.Instructions = "", ""
	if diff := cmp.Diff(api.RedeemResponse{AgentName: "robot-two", Addr: baseURL, ProxyURL: baseURL + "/proxy", MITMURL: "http://vault.example.test:14322", Vaults: want.Vaults}, r); diff != "" {
		t.Error(diff)
	}
	for _, words := range []string{"X-Vault: default", baseURL + "/discover", baseURL + "/proxy/HOST/PATH", baseURL + "/v1/proposals", api.ErrorHeader} {
		if !strings.Contains(instructions, words) {
			t.Errorf("the instructions lack %s: %s", words, instructions)
		}
	}
	f.asking("GET", "/discover", token, "").want(t, 200)
	f.send("POST", link, "", `{}`).refused(t, 410, "invite_redeemed")
	f.send("POST", link, "", "").refused(t, 410, "invite_redeemed") // the body does not matter

	i = f.inviteAgent("robot-three")
	f.send("DELETE", "/v1/agents/invites/"+i.ID, f.owner, "").want(t, 200)
	f.send("DELETE", "/v1/agents/invites/"+i.ID, f.owner, "").refused(t, 409, "conflict")
	f.send("POST", "/invite/"+i.Token, "", `{}`).refused(t, 410, "invite_revoked")
	i = f.inviteAgent("robot-three") // the name is free again
	f.clock.move(24*time.Hour - time.Second)
	f.owner = f.signIn(ownerEmail, 0, 0)
	f.clock.move(time.Second)
	f.send("POST", "/invite/"+i.Token, "", `{}`).refused(t, 410, "invite_expired")
	for _, token := range []string{"x", vault.NewToken(vault.PrefixInvite), vault.NewToken(vault.PrefixJoin), token} {
		f.send("POST", "/invite/"+token, "", `{}`).refused(t, 404, "invite_not_found")
	}
	f.send("DELETE", "/v1/agents/invites/none", f.owner, "").refused(t, 404, "invite_not_found")

	var l api.InviteList
	f.send("GET", "/v1/agents/invites", f.owner, "").into(t, 200, &l)
	var statuses []string
	for _, i := range l.Invites {
		statuses = append(statuses, i.Name+" "+i.Status)
	}
	if len(statuses) != 3 || !strings.Contains(fmt.Sprint(statuses), "robot-two redeemed") || !strings.Contains(fmt.Sprint(statuses), "robot-three expired") || !strings.Contains(fmt.Sprint(statuses), "robot-three revoked") {
		t.Errorf("%v", statuses)
	}
}

// TestPendingInvites: 50 of a kind may be pending. What has expired does not
// count from that moment on.
func TestPendingInvites(t *testing.T) {
	f := newFixture(t)
	for _, kind := range []struct{ path, format string }{
		{"/v1/agents/invites", `{"name":"robot-%d","ttl_seconds":60}`},
		{"/v1/users/invites", `{"email":"user-%d@example.test","ttl_seconds":60}`},
	} {
		var first struct{ ID string }
		invite := func(n int) reply { return f.send("POST", kind.path, f.owner, fmt.Sprintf(kind.format, n)) }
		invite(0).into(t, 201, &first)
		for n := range 49 {
			invite(n+1).want(t, 201)
		}
		a := invite(50)
		a.refused(t, 429, "too_many_pending_invites")
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 {
			t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
		}
		f.send("DELETE", kind.path+"/"+first.ID, f.owner, "").want(t, 200)
		invite(50).want(t, 201)
		invite(51).refused(t, 429, "too_many_pending_invites")
		f.clock.move(time.Minute)
		invite(51).want(t, 201)
	}
}

func TestUserInvites(t *testing.T) {
	f := newFixture(t)
	invite := func(body string) (i api.UserInviteResponse) {
		t.Helper()
		f.send("POST", "/v1/users/invites", f.owner, body).into(t, 201, &i)
		return i
	}
	join := func(token, password string) reply {
		return f.post("/v1/auth/join", "", api.JoinRequest{Token: token, Password: password})
	}
	i := invite(`{"email":"New@Example.test","vaults":[{"vault_name":"default","vault_role":"member"}],"ttl_seconds":3600}`)
	want := api.UserInviteResponse{Email: "new@example.test", Role: "member", ExpiresAt: f.clock.now().Add(time.Hour), InviteLink: baseURL + "/join/" + i.Token}
	if diff := cmp.Diff(want, i, cmpopts.IgnoreFields(want, "ID", "Token")); diff != "" {
		t.Error(diff)
	}
	a := f.send("GET", "/join/"+i.Token, "", "")
	a.want(t, 200)
	a.secure(t)
	if a.header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(a.body, "agent-vault auth join "+i.InviteLink) {
		t.Errorf("%s: %s", a.header.Get("Content-Type"), a.body)
	}
	for _, token := range []string{"x", "%3Cscript%3E", vault.NewToken(vault.PrefixInvite)} {
		f.send("GET", "/join/"+token, "", "").refused(t, 404, "invite_not_found")
	}
	f.send("POST", "/v1/users/invites", f.owner, `{"email":"new@example.test"}`).refused(t, 409, "conflict")
	f.send("POST", "/v1/users/invites", f.owner, `{"email":"`+ownerEmail+`"}`).refused(t, 409, "conflict")

	join(i.Token, "short").refused(t, 400, "bad_request")
	join(vault.NewToken(vault.PrefixJoin), ownerPassword).refused(t, 404, "invite_not_found")
	join(f.inviteAgent("robot-one").Token, ownerPassword).refused(t, 404, "invite_not_found") // another kind's
	var in api.LoginResponse
	join(i.Token, ownerPassword).into(t, 201, &in)
	if in.User.Email != "new@example.test" || in.User.Role != "member" {
		t.Errorf("%+v", in)
	}
	f.send("GET", inDefault, in.Token, "").want(t, 200)
	f.send("PUT", servicesPath, in.Token, servicesBody).want(t, 200) // the login is fresh
	join(i.Token, ownerPassword).refused(t, 410, "invite_redeemed")

	i = invite(`{"email":"other@example.test","role":"no-access"}`)
	f.send("DELETE", "/v1/users/invites/"+i.ID, f.owner, "").want(t, 200)
	join(i.Token, ownerPassword).refused(t, 410, "invite_revoked")
	f.clock.move(time.Minute)
	i = invite(`{"email":"other@example.test","role":"owner"}`)
	f.clock.move(24 * time.Hour)
	join(i.Token, ownerPassword).refused(t, 410, "invite_expired")
	f.owner = f.signIn(ownerEmail, 0, 0)
	var l api.InviteList
	f.send("GET", "/v1/users/invites", f.owner, "").into(t, 200, &l)
	if len(l.Invites) != 3 || l.Invites[0].Status != "expired" || l.Invites[0].Role != "owner" {
		t.Errorf("%+v", l)
	}
}

// TestBadInvites: each is refused with the field's name, and changes nothing.
func TestBadInvites(t *testing.T) {
	f := newFixture(t)
	before := f.dump()
	const agents, users = "/v1/agents/invites", "/v1/users/invites"
	for _, tt := range []struct{ path, place, body string }{
		{agents, "agent", `{"name":"No"}`}, {agents, "agent", `{"name":""}`}, {agents, "agent", `{}`},
		{agents, "ttl_seconds", `{"name":"robot","ttl_seconds":59}`}, {agents, "ttl_seconds", `{"name":"robot","ttl_seconds":604801}`},
		{agents, "ttl_seconds", `{"name":"robot","ttl_seconds":0}`}, {agents, "ttl_seconds", `{"name":"robot","ttl_seconds":-60}`},
		{agents, "ttl_seconds", `{"name":"robot","ttl_seconds":9223372036854775807}`},
		{agents, "session_ttl_seconds", `{"name":"robot","session_ttl_seconds":299}`}, {agents, "session_ttl_seconds", `{"name":"robot","session_ttl_seconds":31622401}`},
		{agents, "session_ttl_seconds", `{"name":"robot","session_ttl_seconds":-1}`}, {agents, "session_ttl_seconds", `{"name":"robot","session_ttl_seconds":18446744074}`},
		{agents, "vault_role", `{"name":"robot","vaults":[{"vault_name":"default","vault_role":"owner"}]}`},
		{agents, "vault_role", `{"name":"robot","vaults":[{"vault_name":"default"}]}`},
		{agents, "vaults", `{"name":"robot","vaults":[{"vault_name":"default","vault_role":"proxy"},{"vault_name":"default","vault_role":"admin"}]}`},
		{"/v1/agents", "session_ttl_seconds", `{"name":"robot","session_ttl_seconds":299}`},
		{"/v1/agents", "vaults", `{"name":"robot","vaults":[{"vault_name":"default","vault_role":"proxy"},{"vault_name":"default","vault_role":"admin"}]}`},
		{users, "email", `{"email":"nobody"}`}, {users, "email", `{"email":"A <a@b.test>"}`}, {users, "email", `{"email":"` + strings.Repeat("a", 250) + `@b.test"}`}, {users, "email", `{}`},
		{users, "role", `{"email":"a@b.test","role":"admin"}`},
		{users, "vault_role", `{"email":"a@b.test","vaults":[{"vault_name":"default","vault_role":"owner"}]}`},
		{users, "vaults", `{"email":"a@b.test","vaults":[{"vault_name":"default","vault_role":"proxy"},{"vault_name":"default","vault_role":"admin"}]}`},
		{users, "ttl_seconds", `{"email":"a@b.test","ttl_seconds":59}`}, {users, "ttl_seconds", `{"email":"a@b.test","ttl_seconds":604801}`},
	} {
		if m := f.send("POST", tt.path, f.owner, tt.body).refused(t, 400, "bad_request"); !strings.Contains(m, tt.place) {
			t.Errorf("%s: %q does not name %s", tt.body, m, tt.place)
		}
	}
	for _, path := range []string{agents, users} {
		f.send("POST", path, f.owner, `{"name":"robot","email":"a@b.test","vaults":[{"vault_name":"none","vault_role":"proxy"}]}`).refused(t, 400, "bad_request") // a field of the other
	}
	f.send("POST", agents, f.owner, `{"name":"robot","vaults":[{"vault_name":"none","vault_role":"proxy"}]}`).refused(t, 404, "vault_not_found")
	f.send("POST", users, f.owner, `{"email":"a@b.test","vaults":[{"vault_name":"none","vault_role":"proxy"}]}`).refused(t, 404, "vault_not_found")
	f.send("POST", agents, f.owner, `{"name":"robot","vaults":[{"vault_name":"default","vault_role":"proxy","services":["none"]}]}`).refused(t, 404, "not_found")
	if after := f.dump(); after != before {
		t.Errorf("something changed:\n%s\nwas\n%s", after, before)
	}
	f.send("POST", agents, f.owner, `{"name":"robot","session_ttl_seconds":0}`).want(t, 201)
}
