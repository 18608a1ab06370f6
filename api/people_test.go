package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/api"
	"agentvault/vault"
)

// user makes one and signs them in; role is on the instance, in the vault
// "default" they have the other.
func (f *fixture) user(email, role, inDefault string) (token string) {
	f.t.Helper()
	u := vault.User{ID: "user-" + email, Email: email, Role: role, Vaults: make(map[string]string), CreatedAt: f.clock.now()}
	if inDefault != "" {
		u.Vaults[f.vaultID("default")] = inDefault
	}
	f.write(func(tx vault.Tx) error {
		owner, err := tx.UserByEmail(ownerEmail)
		if err != nil {
			return err
		}
		u.PasswordHash = owner.PasswordHash
		return tx.PutUser(u)
	})
	return f.signIn(email, 0, 0)
}

// TestFreshness: what widens needs a password that was given in the last five
// minutes; giving it again is enough.
func TestFreshness(t *testing.T) {
	f := newFixture(t)
	f.clock.move(5 * time.Minute)
	f.send("PUT", servicesPath, f.owner, servicesBody).want(t, 200)
	f.clock.move(time.Millisecond)
	m := f.send("PUT", servicesPath, f.owner, servicesBody).refused(t, 403, "login_too_old")
	if !strings.Contains(m, "password") {
		t.Errorf("%q", m)
	}
	f.send("GET", servicesPath, f.owner, "").want(t, 200)
	f.post("/v1/auth/reauthenticate", f.owner, api.PasswordRequest{Password: "a wrong password"}).refused(t, 403, "wrong_password")
	f.post("/v1/auth/reauthenticate", f.owner, api.PasswordRequest{Password: strings.Repeat("a", 2000)}).refused(t, 403, "wrong_password")
	f.send("PUT", servicesPath, f.owner, servicesBody).refused(t, 403, "login_too_old")
	var l api.LoginInfo
	f.post("/v1/auth/reauthenticate", f.owner, api.PasswordRequest{Password: ownerPassword}).into(t, 200, &l)
	if !l.AuthenticatedAt.Equal(f.clock.now()) || !l.Current {
		t.Errorf("%+v", l)
	}
	f.send("PUT", servicesPath, f.owner, servicesBody).want(t, 200)
}

func TestChangingThePassword(t *testing.T) {
	f := newFixture(t)
	other := f.signIn(ownerEmail, 0, 0)
	const next = "another long password"
	change := func(old, next string) reply {
		r := request("PUT", "/v1/auth/password", f.owner, `{"old_password":"`+old+`","new_password":"`+next+`"}`)
		return f.do(r)
	}
	change("a wrong password", next).refused(t, 403, "wrong_password")
	if m := change(ownerPassword, "short").refused(t, 400, "bad_request"); !strings.Contains(m, "password") {
		t.Errorf("%q", m)
	}
	f.send("GET", "/v1/auth/me", other, "").want(t, 200)
	change(ownerPassword, next).want(t, 200)
	f.send("GET", "/v1/auth/me", other, "").refused(t, 401, "unauthorized")
	f.send("GET", "/v1/auth/me", f.owner, "").want(t, 200)
	f.post("/v1/auth/login", "", api.LoginRequest{Email: ownerEmail, Password: ownerPassword}).refused(t, 401, "unauthorized")
	f.post("/v1/auth/login", "", api.LoginRequest{Email: ownerEmail, Password: next}).want(t, 200)
}

func TestLogins(t *testing.T) {
	f := newFixture(t)
	f.clock.move(time.Minute)
	r := request("POST", "/v1/auth/login", "", `{"email":"`+ownerEmail+`","password":"`+ownerPassword+`"}`)
	r.Header.Set("User-Agent", "browser/1.0 \x1b[2J"+strings.Repeat("a", 200))
	var in api.LoginResponse
	f.do(r).into(t, 200, &in)
	var l api.LoginList
	f.send("GET", "/v1/auth/logins", in.Token, "").into(t, 200, &l)
	if len(l.Logins) != 2 || !l.Logins[0].Current || l.Logins[1].Current {
		t.Fatalf("%+v", l)
	}
	now := f.clock.now()
	want := api.LoginInfo{
		ID: l.Logins[0].ID, Client: ("browser/1.0 [2J" + strings.Repeat("a", 200))[:100],
		CreatedAt: now, AuthenticatedAt: now, SeenAt: now, EndsAt: now.Add(12 * time.Hour), Current: true,
	}
	if diff := cmp.Diff(want, l.Logins[0]); diff != "" {
		t.Error(diff)
	}
	f.send("DELETE", "/v1/auth/logins/none", in.Token, "").refused(t, 404, "not_found")
	stranger := f.user("other@example.test", "member", "")
	f.send("DELETE", "/v1/auth/logins/"+l.Logins[0].ID, stranger, "").refused(t, 404, "not_found")
	f.send("DELETE", "/v1/auth/logins/"+l.Logins[1].ID, in.Token, "").want(t, 200)
	f.send("GET", "/v1/auth/me", f.owner, "").refused(t, 401, "unauthorized")
	f.send("DELETE", "/v1/auth/logins/"+l.Logins[0].ID, in.Token, "").want(t, 200) // the one that asks
	f.send("GET", "/v1/auth/me", in.Token, "").refused(t, 401, "unauthorized")

	// An idle sign-in ends after 12 hours, any after 7 days.
	token := f.signIn(ownerEmail, 0, 0)
	f.clock.move(12*time.Hour - time.Minute)
	f.send("GET", "/v1/auth/me", token, "").want(t, 200)
	f.clock.move(12*time.Hour - time.Minute)
	f.send("GET", "/v1/auth/me", token, "").want(t, 200)
	f.clock.move(2 * time.Minute) // signIn's own end
	f.send("GET", "/v1/auth/me", token, "").refused(t, 401, "unauthorized")
}

func TestUsers(t *testing.T) {
	f := newFixture(t)
	token := f.user("other@example.test", "member", "proxy")
	now := f.clock.now()
	var l api.UserList
	f.send("GET", "/v1/users", f.owner, "").into(t, 200, &l)
	want := []api.UserDetail{
		{UserInfo: api.UserInfo{ID: "user-other@example.test", Email: "other@example.test", Role: "member"}, Vaults: []api.VaultRole{{VaultName: "default", VaultRole: "proxy"}}, CreatedAt: now},
		{UserInfo: api.UserInfo{ID: l.Users[1].ID, Email: ownerEmail, Role: "owner"}, Vaults: []api.VaultRole{}, CreatedAt: now},
	}
	if diff := cmp.Diff(want, l.Users); diff != "" {
		t.Error(diff)
	}
	set := func(email, role string) reply {
		return f.send("PATCH", "/v1/users/"+email, f.owner, `{"role":"`+role+`"}`)
	}
	set(ownerEmail, "member").refused(t, 409, "conflict") // the last owner
	f.send("DELETE", "/v1/users/"+ownerEmail, f.owner, "").refused(t, 409, "conflict")
	set("none@example.test", "member").refused(t, 404, "not_found")
	f.send("DELETE", "/v1/users/none@example.test", f.owner, "").refused(t, 404, "not_found")
	for _, role := range []string{"", "admin", "Owner", "root"} {
		if m := set("other@example.test", role).refused(t, 400, "bad_request"); !strings.Contains(m, "role") {
			t.Errorf("%q", m)
		}
	}

	// Who loses access loses the sessions that they minted.
	mint := func() string {
		t.Helper()
		var s api.SessionResponse
		f.send("POST", "/v1/sessions", token, `{"vault":"default"}`).into(t, 200, &s)
		return s.Token
	}
	session := mint()
	set("other@example.test", "no-access").want(t, 200)
	f.send("GET", "/discover", session, "").refused(t, 401, "unauthorized")
	f.send("GET", inDefault, token, "").refused(t, 403, "forbidden")
	f.send("GET", "/v1/auth/me", token, "").want(t, 200)
	set("OTHER@example.test", "member").want(t, 200) // letter case does not matter
	session = mint()
	f.send("DELETE", "/v1/users/other@example.test", f.owner, "").want(t, 200)
	f.send("GET", "/discover", session, "").refused(t, 401, "unauthorized")
	f.send("GET", "/v1/auth/me", token, "").refused(t, 401, "unauthorized")
}

func TestMembers(t *testing.T) {
	f := newFixture(t)
	token := f.user("other@example.test", "member", "")
	const members = inDefault + "/members"
	if a := f.send("GET", members, f.owner, ""); a.body != `{"members":[]}`+"\n" {
		t.Errorf("%s", a.body)
	}
	set := func(email, role string) reply {
		return f.send("PUT", members+"/"+email, f.owner, `{"role":"`+role+`"}`)
	}
	f.send("GET", inDefault, token, "").refused(t, 403, "vault_forbidden")
	set("other@example.test", "proxy").want(t, 200)
	f.send("GET", inDefault, token, "").want(t, 200)
	f.send("GET", members, token, "").refused(t, 403, "forbidden")
	var m api.MemberInfo
	set("Other@example.test", "member").into(t, 200, &m)
	if diff := cmp.Diff(api.MemberInfo{Email: "other@example.test", Role: "member"}, m); diff != "" {
		t.Error(diff)
	}
	var l api.MemberList
	f.send("GET", members, token, "").into(t, 200, &l)
	if diff := cmp.Diff([]api.MemberInfo{m}, l.Members); diff != "" {
		t.Error(diff)
	}
	for _, role := range []string{"", "owner", "Proxy"} {
		if m := set("other@example.test", role).refused(t, 400, "bad_request"); !strings.Contains(m, "role") {
			t.Errorf("%q", m)
		}
	}
	set("none@example.test", "proxy").refused(t, 404, "not_found")
	f.send("PUT", "/v1/vaults/none/members/other@example.test", f.owner, `{"role":"proxy"}`).refused(t, 404, "vault_not_found")

	var s api.SessionResponse
	f.send("POST", "/v1/sessions", token, `{"vault":"default"}`).into(t, 200, &s)
	f.send("DELETE", members+"/other@example.test", f.owner, "").want(t, 200)
	f.send("DELETE", members+"/other@example.test", f.owner, "").refused(t, 404, "not_found")
	f.send("GET", "/discover", s.Token, "").refused(t, 401, "unauthorized")
	f.send("GET", inDefault, token, "").refused(t, 403, "vault_forbidden")
}

func TestEvents(t *testing.T) {
	f, session, _ := filled(t)
	f.propose(session, "new", "NEW_KEY", "")
	var all api.EventList
	f.send("GET", "/v1/events", f.owner, "").into(t, 200, &all)
	var lines []string
	for _, e := range all.Events {
		lines = append(lines, strings.Join([]string{e.ActorKind, e.ActorName, e.Action, e.Vault, e.Object}, "|"))
	}
	if want := "session|test|proposal.create|default|proposal 1: set new set NEW_KEY"; lines[0] != want {
		t.Errorf("%s, want %s", lines[0], want)
	}
	if want := "user|" + ownerEmail + "|credential.change|default|set API_KEY"; !strings.Contains(strings.Join(lines, "\n"), want) {
		t.Errorf("%q lack %s", lines, want)
	}
	// The pages are the whole.
	var pages []api.EventInfo
	cursor := ""
	for range len(all.Events) {
		var p api.EventList
		f.send("GET", "/v1/events?limit=2"+cursor, f.owner, "").into(t, 200, &p)
		pages = append(pages, p.Events...)
		if p.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + p.NextCursor
	}
	if diff := cmp.Diff(all.Events, pages); diff != "" {
		t.Error(diff)
	}
	var ofVault api.EventList
	f.send("GET", "/v1/events"+q, f.owner, "").into(t, 200, &ofVault)
	for _, e := range ofVault.Events {
		if e.Vault != "default" {
			t.Errorf("%+v", e)
		}
	}
	if n := len(ofVault.Events); n == 0 || n == len(all.Events) {
		t.Errorf("%d of %d events", n, len(all.Events))
	}
	for _, bad := range []string{"x", "-1", "0", "99999999999999999999"} {
		if m := f.send("GET", "/v1/events?cursor="+bad, f.owner, "").refused(t, 400, "bad_request"); !strings.Contains(m, "cursor") {
			t.Errorf("%s: %s", bad, m)
		}
	}
	f.send("GET", "/v1/events?vault=none", f.owner, "").refused(t, 404, "vault_not_found")
}
