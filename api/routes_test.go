package api_test

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"agentvault/api"
	"agentvault/vault"
)

func TestPublicRoutes(t *testing.T) {
	f := newEmpty(t)
	for _, tt := range []struct{ path, kind, body string }{
		{"/health", "application/json", `{"status":"ok"}` + "\n"},
		{"/ready", "application/json", `{"status":"ok"}` + "\n"},
		{"/v1/status", "application/json", `{"initialized":false,"needs_first_user":true}` + "\n"},
		{"/v1/mitm/ca.pem", "application/x-pem-file", caPEM},
		{"/v1/skills/agent-vault", "text/markdown; charset=utf-8", api.Skill()},
		{"/metrics", "", "metrics\n"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			a := f.send("GET", tt.path, "", "")
			a.want(t, 200)
			a.secure(t)
			if a.header.Get("Content-Type") != tt.kind && tt.kind != "" || a.body != tt.body {
				t.Errorf("%v %q", a.header, a.body)
			}
		})
	}
	f.ready = errors.New("secret reason")
	a := f.send("GET", "/ready", "", "")
	if m := a.refused(t, 503, "unavailable"); m != "not ready to decide" || a.header.Get("Retry-After") == "" {
		t.Errorf("%q %v", m, a.header)
	}
	if !strings.Contains(f.log.String(), "secret reason") {
		t.Errorf("the log does not say why: %s", f.log)
	}
}

func TestPeople(t *testing.T) {
	f := newEmpty(t)
	credentials := api.LoginRequest{Email: ownerEmail, Password: ownerPassword}
	f.post("/v1/auth/register", "", api.LoginRequest{Email: "nobody", Password: ownerPassword}).refused(t, 400, "bad_request")
	f.post("/v1/auth/register", "", api.LoginRequest{Email: ownerEmail, Password: "short"}).refused(t, 400, "bad_request")
	var r api.LoginResponse
	f.post("/v1/auth/register", "", credentials).into(t, 201, &r)
	want := api.LoginResponse{User: api.UserInfo{Email: ownerEmail, Role: "owner"}, ExpiresAt: f.clock.now().Add(7 * 24 * time.Hour)}
	if diff := cmp.Diff(want, r, cmpopts.IgnoreFields(api.LoginResponse{}, "Token", "User.ID")); diff != "" {
		t.Error(diff)
	}
	if prefix, ok := vault.CheckToken(r.Token); !ok || prefix != vault.PrefixLogin {
		t.Errorf("token %q", r.Token)
	}
	f.post("/v1/auth/register", "", credentials).refused(t, 409, "conflict")

	// A wrong password and an unknown person read the same.
	wrong := f.post("/v1/auth/login", "", api.LoginRequest{Email: ownerEmail, Password: "wrong password"}).refused(t, 401, "unauthorized")
	unknown := f.post("/v1/auth/login", "", api.LoginRequest{Email: "other@example.test", Password: ownerPassword}).refused(t, 401, "unauthorized")
	if wrong != unknown {
		t.Errorf("%q, %q", wrong, unknown)
	}
	var second api.LoginResponse
	f.post("/v1/auth/login", "", credentials).into(t, 200, &second)
	var me api.UserInfo
	f.send("GET", "/v1/auth/me", second.Token, "").into(t, 200, &me)
	if diff := cmp.Diff(r.User, me); diff != "" {
		t.Error(diff)
	}
	f.send("POST", "/v1/auth/logout", second.Token, "").want(t, 200)
	f.send("GET", "/v1/auth/me", second.Token, "").refused(t, 401, "unauthorized")
	f.send("GET", "/v1/auth/me", r.Token, "").want(t, 200) // the other sign-in stays
	f.send("GET", "/v1/status", "", "").into(t, 200, &struct{}{})
}

func TestVaultRoutes(t *testing.T) {
	f := newFixture(t)
	created := f.clock.now()
	empty := func(name string) api.VaultInfo {
		return api.VaultInfo{Name: name, UnmatchedHosts: "deny", Services: []vault.Service{}, Credentials: []string{}, CreatedAt: created}
	}
	var v api.VaultInfo
	f.post("/v1/vaults", f.owner, api.NameRequest{Name: "team-a"}).into(t, 201, &v)
	if diff := cmp.Diff(empty("team-a"), v); diff != "" {
		t.Error(diff)
	}
	f.post("/v1/vaults", f.owner, api.NameRequest{Name: "team-a"}).refused(t, 409, "conflict")
	f.post("/v1/vaults", f.owner, api.NameRequest{Name: "No"}).refused(t, 400, "bad_request")
	var list api.VaultList
	f.send("GET", "/v1/vaults", f.owner, "").into(t, 200, &list)
	if diff := cmp.Diff([]api.VaultInfo{empty("default"), empty("team-a")}, list.Vaults); diff != "" {
		t.Error(diff)
	}

	const path = "/v1/vaults/team-a/services"
	a := f.send("PUT", path, f.owner, `{"services":[{"name":"api","host":"API.test","auth":{"type":"bearer","token":"API_KEY"}}]}`)
	a.want(t, 200)
	want := `{"services":[{"name":"api","host":"api.test","enabled":true,"auth":{"token":"API_KEY","type":"bearer"}}]}` + "\n"
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, f.send("GET", path, f.owner, "").body); diff != "" {
		t.Error(diff)
	}
	f.send("PUT", path, f.owner, `{}`).refused(t, 400, "bad_request")
	f.send("PUT", path, f.owner, `{"services":[{"name":"api","host":"localhost","auth":{"type":"passthrough"}}]}`).refused(t, 400, "bad_request")
	f.send("PUT", path, f.owner, `{"services":[]}`).want(t, 200)
	if a := f.send("GET", path, f.owner, ""); a.body != `{"services":[]}`+"\n" {
		t.Errorf("%s", a.body)
	}
	f.send("GET", "/v1/vaults/team-a", f.owner, "").into(t, 200, &v)
	if diff := cmp.Diff(empty("team-a"), v); diff != "" {
		t.Error(diff)
	}
	f.send("DELETE", "/v1/vaults/team-a", f.owner, "").want(t, 200)
	for _, r := range [][2]string{{"GET", "/v1/vaults/team-a"}, {"DELETE", "/v1/vaults/team-a"}, {"GET", path}} {
		f.send(r[0], r[1], f.owner, "").refused(t, 404, "vault_not_found")
	}
	f.send("PUT", path, f.owner, `{"services":[]}`).refused(t, 404, "vault_not_found")
}

func TestCredentialRoutes(t *testing.T) {
	f := newFixture(t)
	set := func(vaultName string, values map[string]string) reply {
		return f.post("/v1/credentials", f.owner, api.SetCredentialsRequest{Vault: vaultName, Credentials: values})
	}
	var keys api.SetCredentialsResponse
	set("default", map[string]string{"B_KEY": secretValue, "A_KEY": "the first"}).into(t, 200, &keys)
	if diff := cmp.Diff([]string{"A_KEY", "B_KEY"}, keys.Set); diff != "" {
		t.Error(diff)
	}
	first := f.clock.now()
	f.clock.move(time.Minute)
	set("default", map[string]string{"A_KEY": "the second"}).want(t, 200)
	var list api.CredentialList
	f.send("GET", "/v1/credentials?vault=default", f.owner, "").into(t, 200, &list)
	want := []api.CredentialInfo{
		{Key: "A_KEY", Version: 2, CreatedAt: first, UpdatedAt: first.Add(time.Minute)},
		{Key: "B_KEY", Version: 1, CreatedAt: first, UpdatedAt: first},
	}
	if diff := cmp.Diff(want, list.Credentials); diff != "" {
		t.Error(diff)
	}
	for name, a := range map[string]reply{
		"none":              set("default", nil),
		"bad key":           set("default", map[string]string{"a-key": secretValue}),
		"empty value":       set("default", map[string]string{"A_KEY": ""}),
		"control character": set("default", map[string]string{"A_KEY": secretValue + "\x00"}),
		"line break":        set("default", map[string]string{"A_KEY": secretValue + "\n"}),
		"too long":          set("default", map[string]string{"A_KEY": strings.Repeat(secretValue, 3000)}),
	} {
		if m := a.refused(t, 400, "bad_request"); strings.Contains(m, secretValue) {
			t.Errorf("%s: the refusal repeats the value: %s", name, m)
		}
	}
	set("missing", map[string]string{"A_KEY": "value"}).refused(t, 404, "vault_not_found")
	f.send("GET", "/v1/credentials?vault=missing", f.owner, "").refused(t, 404, "vault_not_found")
	f.send("GET", "/v1/credentials", f.owner, "").refused(t, 400, "bad_request")
	f.send("DELETE", "/v1/credentials/A_KEY?vault=default", f.owner, "").want(t, 200)
	f.send("DELETE", "/v1/credentials/A_KEY?vault=default", f.owner, "").refused(t, 404, "credential_not_found")
	f.send("DELETE", "/v1/credentials/B_KEY?vault=missing", f.owner, "").refused(t, 404, "vault_not_found")
}

func TestApply(t *testing.T) {
	f := newFixture(t)
	const body = `{"vaults":[{"name":"team-a","unmatched_hosts":"tunnel","services":[{"name":"api","host":"api.test","auth":{"type":"bearer","token":"API_KEY"}}],"credentials":{"API_KEY":"` + secretValue + `"}}]}`
	changes := func(vaultAction, settingAction, rest string) []vault.Change {
		return []vault.Change{
			{Vault: "team-a", Kind: "vault", Name: "team-a", Action: vaultAction},
			{Vault: "team-a", Kind: "setting", Name: "unmatched_hosts", Action: settingAction},
			{Vault: "team-a", Kind: "service", Name: "api", Action: rest},
			{Vault: "team-a", Kind: "credential", Name: "API_KEY", Action: rest},
		}
	}
	for _, want := range [][]vault.Change{
		changes(vault.Created, vault.Updated, vault.Created),
		changes(vault.Unchanged, vault.Unchanged, vault.Unchanged),
	} {
		var got api.ApplyResponse
		f.send("POST", "/v1/apply", f.owner, body).into(t, 200, &got)
		if diff := cmp.Diff(want, got.Changes); diff != "" {
			t.Error(diff)
		}
	}
	for _, bad := range []string{
		`{"vaults":[{"name":"team-a","unmatched_hosts":"perhaps"}]}`,
		`{"vaults":[{"name":"!"}]}`,
		`{"vaults":[{"name":"team-a"},{"name":"team-a"}]}`,
	} {
		f.send("POST", "/v1/apply", f.owner, bad).refused(t, 400, "bad_request")
	}
}

func TestSessionRoutes(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		body, code string
		life       time.Duration
	}{
		{`{"vault":"default"}`, "", 24 * time.Hour},
		{`{"vault":"default","ttl_seconds":300}`, "", 5 * time.Minute},
		{`{"vault":"default","ttl_seconds":604800}`, "", 7 * 24 * time.Hour},
		{`{"vault":"default","ttl_seconds":299}`, "bad_request", 0},
		{`{"vault":"default","ttl_seconds":604801}`, "bad_request", 0},
		{`{"vault":"default","ttl_seconds":0}`, "bad_request", 0},
		{`{"vault":"default","ttl_seconds":-300}`, "bad_request", 0},
		{`{"vault":"default","ttl_seconds":18446744074}`, "bad_request", 0}, // overflows to about 300 s
		{`{"vault":"default","ttl_seconds":300.5}`, "bad_request", 0},
		{`{"vault":"default","label":"a\u0007"}`, "bad_request", 0},
	} {
		a := f.send("POST", "/v1/sessions", f.owner, tt.body)
		if tt.code != "" {
			a.refused(t, 400, tt.code)
			continue
		}
		var s api.SessionResponse
		a.into(t, 200, &s)
		want := api.SessionResponse{
			ExpiresAt: f.clock.now().Add(tt.life), Addr: baseURL, ProxyURL: baseURL + "/proxy", MITMURL: "http://vault.example.test:14322",
		}
		if diff := cmp.Diff(want, s, cmpopts.IgnoreFields(api.SessionResponse{}, "Token", "ID")); diff != "" {
			t.Errorf("%s: %s", tt.body, diff)
		}
	}
	f.send("POST", "/v1/sessions", f.owner, `{"vault":"missing"}`).refused(t, 404, "vault_not_found")
	f.send("GET", "/v1/sessions?vault=missing", f.owner, "").refused(t, 404, "vault_not_found")

	token := f.session()
	var list api.SessionList
	f.send("GET", "/v1/sessions?vault=default", f.owner, "").into(t, 200, &list)
	i := slices.IndexFunc(list.Sessions, func(s api.SessionInfo) bool { return s.Label == "test" })
	if len(list.Sessions) != 4 || i < 0 {
		t.Fatalf("%+v", list)
	}
	f.send("GET", "/discover", token, "").want(t, 200)
	f.send("DELETE", "/v1/sessions/"+list.Sessions[i].ID, f.owner, "").want(t, 200)
	f.send("GET", "/discover", token, "").refused(t, 401, "unauthorized")
	f.send("DELETE", "/v1/sessions/"+list.Sessions[i].ID, f.owner, "").refused(t, 404, "not_found")

	token = f.session()
	f.send("DELETE", "/v1/sessions/self", token, "").want(t, 200)
	f.send("DELETE", "/v1/sessions/self", token, "").refused(t, 401, "unauthorized")
	f.send("DELETE", "/v1/sessions/self", f.owner, "").refused(t, 403, "forbidden")
}

func TestAgentRoutes(t *testing.T) {
	f := newFixture(t)
	create := func(name, vaultName, role string) reply {
		return f.post("/v1/agents", f.owner, api.AgentRequest{Name: name, Vaults: []api.AgentVault{{VaultName: vaultName, VaultRole: role}}})
	}
	if a := f.send("GET", "/v1/agents", f.owner, ""); a.body != `{"agents":[]}`+"\n" {
		t.Errorf("%s", a.body)
	}
	var first, second api.AgentResponse
	create("robot-one", "default", "proxy").into(t, 201, &first)
	create("robot-one", "default", "proxy").refused(t, 409, "conflict")
	create("!", "default", "proxy").refused(t, 400, "bad_request")
	create("robot-two", "default", "king").refused(t, 400, "bad_request")
	create("robot-two", "missing", "proxy").refused(t, 404, "vault_not_found")
	var list api.AgentList
	f.send("GET", "/v1/agents", f.owner, "").into(t, 200, &list)
	want := []api.AgentInfo{{Name: "robot-one", Status: "active", Vaults: []api.AgentVault{{VaultName: "default", VaultRole: "proxy"}}, CreatedAt: f.clock.now()}}
	if diff := cmp.Diff(want, list.Agents); diff != "" {
		t.Error(diff)
	}

	discover := func(token, vaultName string) reply {
		r := request("GET", "/discover", token, "")
		if vaultName != "" {
			r.Header.Set("X-Vault", vaultName)
		}
		return f.do(r)
	}
	var d vault.Discovery
	discover(first.Token, "default").into(t, 200, &d)
	if diff := cmp.Diff(vault.Discovery{Vault: "default", ProxyURL: baseURL + "/proxy", Services: []vault.DiscoveredService{}, AvailableCredentials: []string{}, Dummies: map[string]string{}}, d); diff != "" {
		t.Error(diff)
	}
	f.post("/v1/vaults", f.owner, api.NameRequest{Name: "team-a"}).want(t, 201)
	discover(first.Token, "").refused(t, 400, "vault_required")
	discover(first.Token, "missing").refused(t, 404, "vault_not_found")
	discover(first.Token, "team-a").refused(t, 403, "vault_forbidden")

	f.send("POST", "/v1/agents/robot-one/rotate", f.owner, "").into(t, 200, &second)
	if second.AgentName != "robot-one" || second.Token == first.Token {
		t.Errorf("%+v", second)
	}
	discover(first.Token, "default").refused(t, 401, "unauthorized")
	discover(second.Token, "default").want(t, 200)
	f.send("DELETE", "/v1/agents/robot-one", f.owner, "").want(t, 200)
	discover(second.Token, "default").refused(t, 401, "unauthorized")
	f.send("DELETE", "/v1/agents/robot-one", f.owner, "").refused(t, 404, "not_found")
	f.send("POST", "/v1/agents/robot-one/rotate", f.owner, "").refused(t, 404, "not_found")
}

// TestTokens: what is no token of anybody's is refused in the same words.
func TestTokens(t *testing.T) {
	f, ended, _ := filled(t)
	endedLogin := f.owner
	f.clock.move(25 * time.Hour)
	f.owner = f.signIn(ownerEmail, 0, 0)
	session := f.session()
	for name, token := range map[string]string{
		"none": "", "noise": "noise", "ended session": ended, "ended login": endedLogin,
		"nobody's": vault.NewToken(vault.PrefixLogin), "damaged": session[:len(session)-1],
		"an invite's": vault.NewToken(vault.PrefixInvite), "a link's": vault.NewToken(vault.PrefixApprove),
	} {
		for _, path := range []string{"/discover", "/v1/auth/me", "/v1/proposals"} {
			if m := f.send("GET", path, token, "").refused(t, 401, "unauthorized"); m != "the token is missing, unknown, expired or revoked" {
				t.Errorf("%s: %q", name, m)
			}
		}
	}

	// The scheme's letter case does not matter; another scheme is no token.
	for header, status := range map[string]int{"bearer " + f.owner: 200, "BEARER  " + f.owner: 200, "Basic " + f.owner: 401, f.owner: 401} {
		r := request("GET", "/v1/auth/me", "", "")
		r.Header.Set("Authorization", header)
		f.do(r).want(t, status)
	}
}

// TestNotInitialized: before there is an owner, whatever needs a token and all
// that agents ask is refused with the command that mends it.
func TestNotInitialized(t *testing.T) {
	f := newEmpty(t)
	for _, r := range matrix {
		if r.letters(t)["nobody"] != '1' && r.route != "POST /invite/{token}" {
			continue
		}
		for _, token := range []string{"", vault.NewToken(vault.PrefixSession)} {
			a := f.send(r.method(), r.address(), token, r.body)
			if m := a.refused(t, 503, "not_initialized"); !strings.Contains(m, "agent-vault auth register") || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: %s %v", r.route, m, a.header)
			}
		}
	}
	f.post("/v1/auth/login", "", api.LoginRequest{Email: ownerEmail, Password: ownerPassword}).refused(t, 401, "unauthorized")
}

// TestStoreFails: what went wrong is for the log, not for the caller.
func TestStoreFails(t *testing.T) {
	f, _, _ := filled(t)
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	w := &world{fixture: f, tokens: map[string]string{"owner": f.owner, "lease": vault.NewToken(vault.PrefixLease)}, words: map[string]string{
		"password": ownerPassword, "user-invite-token": vault.NewToken(vault.PrefixJoin),
		"agent-invite-token": vault.NewToken(vault.PrefixInvite), "approve-token": vault.NewToken(vault.PrefixApprove),
	}}
	for _, r := range matrix {
		if slices.Contains([]string{
			"GET /health", "GET /ready", "GET /metrics", "GET /v1/mitm/ca.pem", "GET /v1/ca", "GET /v1/openapi.json", "GET /v1/skills/agent-vault", "GET /v1/catalog", "GET /v1/catalog/{name}", "GET /join/{token}",
		}, r.route) {
			continue // without the store
		}
		caller := "owner"
		if r.route == "POST /v1/sessions/renew" {
			caller = "lease"
		}
		f.log.Reset()
		req := w.as(caller, r)
		req.RemoteAddr = "198.51.100.7:" + strconv.Itoa(1000+len(r.route))
		a := f.do(req)
		if m := a.refused(t, 500, "internal_error"); m != "the server failed on this request; its log has the request id" {
			t.Errorf("%s: %s", r.route, m)
		}
		if strings.Contains(a.body, "sql") || !strings.Contains(f.log.String(), "closed") {
			t.Errorf("%s: answer %s, log %s", r.route, a.body, f.log)
		}
		if strings.Contains(f.log.String(), f.owner) || strings.Contains(f.log.String(), ownerPassword) {
			t.Errorf("%s: the log has a secret: %s", r.route, f.log)
		}
	}
	f.send("GET", "/health", "", "").want(t, http.StatusOK)
}
