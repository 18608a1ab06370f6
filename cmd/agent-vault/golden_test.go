package main_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// noCredential fails when anything that an agent was given holds a credential.
func noCredential(t *testing.T, a answer) {
	t.Helper()
	seen := a.body
	for name, values := range a.header {
		seen += name + strings.Join(values, "\n")
	}
	for key, value := range worldCredentials {
		if strings.Contains(seen, value) {
			t.Errorf("the answer holds the value of %s:\n%s", key, seen)
		}
	}
}

// TestGoldenRefusals replays the contract's table of the vault's own errors on
// both entrances. After each refusal the next request is served.
func TestGoldenRefusals(t *testing.T) {
	w := newWorld(t)
	agent := w.agentToken("robot", "default")
	revoked := w.mint("revoked")
	w.revoke(revoked)

	type row struct {
		name  string
		token string
		vault string // X-Vault, or the proxy's password part
		call  call
		want  int
		code  string
		only  entrance // "" is both
		check func(t *testing.T, f map[string]any, h http.Header)
	}
	hint := func(t *testing.T, f map[string]any, _ http.Header) {
		h, _ := f["proposal_hint"].(map[string]any)
		if h["host"] != "unknown.test" || h["endpoint"] != "POST /v1/proposals" {
			t.Errorf("proposal_hint %v", h)
		}
		types, _ := h["supported_auth_types"].([]any)
		if !slices.Contains(types, any("bearer")) {
			t.Errorf("supported_auth_types %v", types)
		}
	}
	credential := func(t *testing.T, f map[string]any, _ http.Header) {
		if !strings.Contains(f["message"].(string), "NOT_SET") {
			t.Errorf("the message does not name the key: %v", f["message"])
		}
	}
	methods := func(want ...any) func(*testing.T, map[string]any, http.Header) {
		return func(t *testing.T, f map[string]any, _ http.Header) {
			if diff := cmp.Diff([]any(want), f["allowed_methods"]); diff != "" {
				t.Errorf("allowed_methods: %s", diff)
			}
		}
	}
	ok := w.token
	unauthorized := map[entrance]int{byPath: 401, byProxy: 407, byAbsolute: 407}
	rows := []row{
		{name: "no token", token: "", call: call{host: "api.test", target: "/"}, code: "unauthorized"},
		{name: "not a token", token: "hello", call: call{host: "api.test", target: "/"}, code: "unauthorized"},
		{name: "wrong token", token: ok[:len(ok)-1] + flip(ok[len(ok)-1]), call: call{host: "api.test", target: "/"}, code: "unauthorized"},
		{name: "revoked token", token: revoked, call: call{host: "api.test", target: "/"}, code: "unauthorized"},
		{name: "agent token without vault", token: agent, vault: "-", call: call{host: "api.test", target: "/"}, want: 400, code: "vault_required"},
		{name: "agent token, unknown vault", token: agent, vault: "nowhere", call: call{host: "api.test", target: "/"}, want: 404, code: "vault_not_found"},
		{name: "agent token, vault of others", token: agent, vault: "second", call: call{host: "other.test", target: "/"}, want: 403, code: "vault_forbidden"},
		{name: "host not allowed", token: ok, call: call{host: "unknown.test", target: "/v1"}, want: 403, code: "forbidden", check: hint},
		{name: "host of another vault", token: ok, call: call{host: "other.test", target: "/"}, want: 403, code: "forbidden"},
		{name: "two labels under a wildcard", token: ok, call: call{host: "a.b.wild.test", target: "/"}, want: 403, code: "forbidden"},
		{name: "wildcard's own parent", token: ok, call: call{host: "wild.test", target: "/"}, want: 403, code: "forbidden"},
		{name: "other port", token: ok, call: call{host: "api.test:8443", target: "/"}, want: 403, code: "forbidden"},
		{name: "default port of a service with a port", token: ok, call: call{host: "port.test", target: "/"}, want: 403, code: "forbidden"},
		{name: "literal address", token: ok, call: call{host: "127.0.0.1", target: "/"}, want: 403, code: "forbidden", only: byPath},
		{name: "unspecified address", token: ok, call: call{host: "[::]", target: "/"}, want: 403, code: "forbidden", only: byPath},
		{name: "disabled", token: ok, call: call{host: "off.test", target: "/"}, want: 403, code: "service_disabled"},
		{name: "method", token: ok, call: call{method: "PUT", host: "rules.test", target: "/v1/charges"}, want: 403, code: "method_not_allowed", check: methods("DELETE", "GET", "HEAD", "POST")},
		{name: "method, deny rule", token: ok, call: call{method: "DELETE", host: "rules.test", target: "/v1/keep/1"}, want: 403, code: "method_not_allowed", check: methods("GET", "HEAD")},
		{name: "path", token: ok, call: call{host: "rules.test", target: "/v2/charges"}, want: 403, code: "path_not_allowed"},
		{name: "path, two readings", token: ok, call: call{host: "rules.test", target: "/v1/%2e%2e/v2"}, want: 403, code: "path_not_allowed"},
		{name: "path, encoded slash", token: ok, call: call{host: "rules.test", target: "/v1/a%2Fb"}, want: 403, code: "path_not_allowed"},
		{name: "private after DNS", token: ok, call: call{host: "private.test", target: "/"}, want: 403, code: "network_blocked"},
		{name: "metadata though allowed", token: ok, call: call{host: "metadata.test", target: "/"}, want: 403, code: "network_blocked"},
		{name: "credential without value", token: ok, call: call{host: "novalue.test", target: "/"}, want: 502, code: "credential_not_found", check: credential},
		{name: "upstream down", token: ok, call: call{host: "down.test", target: "/"}, want: 502, code: "upstream_error"},
		{name: "upstream's certificate of a stranger", token: ok, call: call{host: "badcert.test", target: "/"}, want: 502, code: "upstream_tls"},
		{name: "upstream's certificate for another name", token: ok, call: call{host: "wrongname.test", target: "/"}, want: 502, code: "upstream_tls"},
		{name: "bad percent-encoding", token: ok, call: call{host: "api.test", target: "/a%zz"}, want: 400, code: "bad_request"},
		{name: "TRACE", token: ok, call: call{method: "TRACE", host: "api.test", target: "/"}, want: 400, code: "bad_request"},
		{name: "token in the URL", token: ok, call: call{host: "api.test", target: "/?t=" + ok}, want: 400, code: "bad_request"},
		{name: "no host", token: ok, call: call{host: "", target: "/"}, want: 400, code: "bad_request", only: byPath},
		{name: "bad host", token: ok, call: call{host: "under_score.test", target: "/"}, want: 400, code: "bad_request"},
		{name: "percent in host", token: ok, call: call{host: "api%2etest", target: "/"}, want: 400, code: "bad_request", only: byPath},
		{name: "trailing dot", token: ok, call: call{host: "api.test.", target: "/"}, want: 400, code: "bad_request", only: byPath},
		{name: "bad port", token: ok, call: call{host: "api.test:99999", target: "/"}, want: 400, code: "bad_request"},
		{name: "userinfo", token: ok, call: call{host: "user@api.test", target: "/"}, want: 400, code: "bad_request", only: byPath},
		{name: "too long a URL", token: ok, call: call{host: "api.test", target: "/" + strings.Repeat("a", 17<<10)}, want: 400, code: "bad_request"},
		{name: "too long a header", token: ok, call: call{host: "api.test", target: "/", header: []string{"X-Long: " + strings.Repeat("a", 17<<10)}}, want: 400, code: "bad_request"},
	}
	for _, r := range rows {
		for _, e := range []entrance{byPath, byProxy, byAbsolute} { // SOCKS has no words for them
			if r.only != "" && r.only != e {
				continue
			}
			t.Run(r.name+"/"+string(e), func(t *testing.T) {
				vaultName := r.vault
				switch vaultName {
				case "":
					vaultName = "default"
				case "-":
					vaultName = ""
				}
				a := w.doIn(e, r.token, vaultName, r.call)
				want := r.want
				if want == 0 {
					want = unauthorized[e]
				}
				if a.status != want {
					t.Fatalf("status %d, want %d: %s", a.status, want, a.body)
				}
				f := a.fault(t)
				if f["error"] != r.code || f["message"] == "" {
					t.Errorf("body %v, want error %q and a message", f, r.code)
				}
				if a.header.Get("X-Agent-Vault-Proxy-Error") != "true" {
					t.Error("X-Agent-Vault-Proxy-Error is missing")
				}
				if got := a.header.Get("Content-Type"); got != "application/json" {
					t.Errorf("Content-Type %q", got)
				}
				if want == 407 && a.header.Get("Proxy-Authenticate") != `Basic realm="agent-vault"` {
					t.Errorf("Proxy-Authenticate %q", a.header.Get("Proxy-Authenticate"))
				}
				if r.check != nil {
					r.check(t, f, a.header)
				}
				noCredential(t, a)
				if next := w.do(e, ok, call{host: "api.test", target: "/next"}); next.status != 200 {
					t.Errorf("the next request got %d: %s", next.status, next.body)
				}
			})
		}
	}
}

func flip(c byte) string {
	if c == 'a' {
		return "b"
	}
	return "a"
}

// TestGoldenAuth: each kind of auth puts the credential where it belongs, and
// what the agent put there itself is gone.
func TestGoldenAuth(t *testing.T) {
	w := newWorld(t)
	key := worldCredentials["API_KEY"]
	rows := []struct {
		host   string
		target string
		header []string
		want   map[string]string // header at the origin; "" = absent
		uri    string
	}{
		{host: "api.test", want: map[string]string{"Authorization": "Bearer " + key}},
		{host: "basic.test", want: map[string]string{"Authorization": "Basic cm9ib3QtYWNjb3VudDpwNHNzOncwcmQvd2l0aCtvZGQ9Ynl0ZXM="}},
		{host: "key.test", header: []string{"X-Api-Key: mine", "X_Api_Key: mine too"}, want: map[string]string{"X-Api-Key": key, "X_api_key": "", "Authorization": ""}},
		{host: "prefix.test", want: map[string]string{"Authorization": "Token " + key}},
		{host: "query.test", target: "/q?a=%2F&api_key=mine&b", uri: "/q?a=%2F&b&api_key=" + key, want: map[string]string{"Authorization": ""}},
		{host: "custom.test", want: map[string]string{"X-Api-Key": key, "X-User": "u=robot-account"}},
		{host: "open.test", want: map[string]string{"Authorization": ""}},
		{host: "a.wild.test", want: map[string]string{"Authorization": "Bearer " + key}},
		{host: "port.test:8443", want: map[string]string{"Authorization": "Bearer " + key}},
	}
	for _, r := range rows {
		for _, e := range entrances {
			t.Run(r.host+"/"+string(e), func(t *testing.T) {
				target := r.target
				if target == "" {
					target = "/v1/things"
				}
				a := w.do(e, w.token, call{host: r.host, target: target, header: r.header})
				if a.status != 200 {
					t.Fatalf("%d: %s", a.status, a.body)
				}
				noCredential(t, a)
				head, _, _ := strings.Cut(w.origin.received(), "\r\n\r\n")
				lines := strings.Split(head, "\r\n")
				got := map[string]string{}
				for _, l := range lines[1:] {
					name, value, _ := strings.Cut(l, ": ")
					got[name] = value
				}
				for name, want := range r.want {
					if got[name] != want {
						t.Errorf("origin got %s: %q, want %q", name, got[name], want)
					}
				}
				if r.uri != "" && lines[0] != "GET "+r.uri+" HTTP/1.1" {
					t.Errorf("origin got %q, want target %q", lines[0], r.uri)
				}
				if got["Host"] != r.host {
					t.Errorf("Host %q, want %q", got["Host"], r.host)
				}
				if strings.Contains(head, "av_sess_") || got["X-Vault"] != "" {
					t.Errorf("the vault's own went upstream:\n%s", head)
				}
			})
		}
	}
}

// TestPassthroughKeepsAuthorization: on the proxy entrance Authorization is the
// agent's own, and a service with passthrough leaves it alone.
func TestPassthroughKeepsAuthorization(t *testing.T) {
	w := newWorld(t)
	w.do(byProxy, w.token, call{host: "open.test", target: "/", header: []string{"Authorization: Bearer of-the-agent"}})
	if got := w.origin.received(); !strings.Contains(got, "Authorization: Bearer of-the-agent\r\n") {
		t.Errorf("origin got\n%s", got)
	}
	w.do(byProxy, w.token, call{host: "api.test", target: "/", header: []string{"Authorization: Bearer of-the-agent"}})
	if got := w.origin.received(); strings.Contains(got, "of-the-agent") {
		t.Errorf("an agent's Authorization reached an injecting service:\n%s", got)
	}
}

// TestGoldenControlPlane replays the rows of the contract that are not proxied.
func TestGoldenControlPlane(t *testing.T) {
	w := newWorld(t)
	get := func(path, token string, header ...string) (answer, map[string]any) {
		req, err := http.NewRequest("GET", w.API+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "bearer "+token) // the scheme's case does not matter
		}
		for _, h := range header {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		a := roundTrip(t, req)
		var body map[string]any
		if strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
			body = a.fault(t)
		}
		return a, body
	}
	t.Run("health", func(t *testing.T) {
		if a, body := get("/health", ""); a.status != 200 || body["status"] != "ok" {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("ready", func(t *testing.T) {
		if a, _ := get("/ready", ""); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("status", func(t *testing.T) {
		_, body := get("/v1/status", "")
		if body["initialized"] != true || body["needs_first_user"] != false {
			t.Errorf("%v", body)
		}
	})
	t.Run("discover", func(t *testing.T) {
		_, body := get("/discover", w.token, "X-Vault: another") // ignored for a session
		if body["vault"] != "default" || body["proxy_url"] != w.API+"/proxy" {
			t.Errorf("%v", body)
		}
		services, _ := body["services"].([]any)
		first, _ := services[0].(map[string]any)
		if len(services) != 18 || first["host"] == "" || first["name"] == "" {
			t.Errorf("%d services, first %v; a disabled one is not listed", len(services), first)
		}
		if diff := cmp.Diff([]any{"API_KEY", "PASSWORD", "USERNAME"}, body["available_credentials"]); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("discover without token", func(t *testing.T) {
		if a, body := get("/discover", ""); a.status != 401 || body["error"] != "unauthorized" {
			t.Errorf("%d %v", a.status, body)
		}
	})
	t.Run("discover of an empty vault has arrays", func(t *testing.T) {
		w.must("vaults: [{name: empty}]", "apply", "-f", "-")
		a, _ := get("/discover", w.instance.token("--vault", "empty"))
		if !strings.Contains(a.body, `"services":[]`) || !strings.Contains(a.body, `"available_credentials":[]`) {
			t.Errorf("%s", a.body)
		}
	})
	t.Run("ca.pem", func(t *testing.T) {
		a, _ := get("/v1/mitm/ca.pem", "")
		if a.status != 200 || a.header.Get("Content-Type") != "application/x-pem-file" || !strings.HasPrefix(a.body, "-----BEGIN CERTIFICATE-----") {
			t.Errorf("%d %s %s", a.status, a.header.Get("Content-Type"), a.body)
		}
	})
	t.Run("metrics", func(t *testing.T) {
		w.do(byPath, w.token, call{host: "api.test", target: "/"})
		if a, _ := get("/metrics", ""); !strings.Contains(a.body, `agent_vault_exchanges_total{entrance="path",status="2xx"}`) {
			t.Errorf("%s", a.body)
		}
	})
	t.Run("sessions", func(t *testing.T) {
		for ttl, want := range map[string]int{"300": 200, "604800": 200, "299": 400, "604801": 400} {
			a := w.post("/v1/sessions", w.login(), `{"vault":"default","ttl_seconds":`+ttl+`,"label":"golden"}`)
			if a.status != want {
				t.Errorf("ttl %s: %d %s", ttl, a.status, a.body)
			}
			if want != 200 {
				continue
			}
			body := a.fault(t)
			token, _ := body["token"].(string)
			if !strings.HasPrefix(token, "av_sess_") || body["expires_at"] == nil || body["av_addr"] != w.API || body["proxy_url"] != w.API+"/proxy" {
				t.Errorf("%v", body)
			}
		}
	})
	t.Run("credentials", func(t *testing.T) {
		a := w.post("/v1/credentials", w.login(), `{"vault":"default","credentials":{"EXTRA_KEY":"some value","ANOTHER":"another value"}}`)
		var body struct{ Set []string }
		if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if diff := cmp.Diff([]string{"ANOTHER", "EXTRA_KEY"}, body.Set); diff != "" {
			t.Error(diff)
		}
		if a := w.post("/v1/credentials", w.token, `{"vault":"default","credentials":{"STOLEN":"value"}}`); a.status != 403 && a.status != 401 {
			t.Errorf("an agent's token set a credential: %d %s", a.status, a.body)
		}
	})
}

// TestNotInitialized: before the first owner exists, agents are told so.
func TestNotInitialized(t *testing.T) {
	i := newInstance(t, "")
	for _, path := range []string{"/discover", "/proxy/api.test/"} {
		req, err := http.NewRequest("GET", i.API+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer whatever")
		a := roundTrip(t, req)
		if a.status != 503 || a.fault(t)["error"] != "not_initialized" || !strings.Contains(a.body, "agent-vault auth register") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
