package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func roundTrip(t testing.TB, req *http.Request) answer {
	t.Helper()
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	client := &http.Client{Transport: tr, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// ask sends a request to the control plane, with a vault named in X-Vault
// unless it is "".
func (i *instance) ask(method, path, token, vaultName, body string) answer {
	i.t.Helper()
	req, err := http.NewRequest(method, i.API+path, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if vaultName != "" {
		req.Header.Set("X-Vault", vaultName)
	}
	return roundTrip(i.t, req)
}

func (i *instance) send(method, path, token, body string) answer {
	i.t.Helper()
	return i.ask(method, path, token, "", body)
}

func (i *instance) post(path, token, body string) answer {
	i.t.Helper()
	return i.send("POST", path, token, body)
}

// login returns a token of the owner.
func (i *instance) login() string {
	i.t.Helper()
	a := i.post("/v1/auth/login", "", `{"email":"`+ownerEmail+`","password":"`+ownerPassword+`"}`)
	var body struct{ Token string }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Token == "" {
		i.t.Fatalf("login: %d %s", a.status, a.body)
	}
	return body.Token
}

// agentToken creates an agent with access to one vault.
func (i *instance) agentToken(name, vaultName string) string {
	i.t.Helper()
	return i.agentTokenAs(name, vaultName, "proxy")
}

// agentTokenAs creates an agent with a role.
func (i *instance) agentTokenAs(name, vaultName, role string) string {
	i.t.Helper()
	a := i.post("/v1/agents", i.login(), fmt.Sprintf(`{"name":%q,"vaults":[{"vault_name":%q,"vault_role":%q}]}`, name, vaultName, role))
	return fmt.Sprint(a.object(i.t, 201)["av_agent_token"])
}

// mint makes a further session.
func (i *instance) mint(label string) string {
	i.t.Helper()
	a := i.post("/v1/sessions", i.login(), `{"vault":"default","label":"`+label+`"}`)
	var body struct{ Token string }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Token == "" {
		i.t.Fatalf("session: %d %s", a.status, a.body)
	}
	return body.Token
}

// revoke ends a session with its own token.
func (i *instance) revoke(token string) {
	i.t.Helper()
	if a := i.send("DELETE", "/v1/sessions/self", token, ""); a.status/100 != 2 {
		i.t.Fatalf("revoke: %d %s", a.status, a.body)
	}
}
