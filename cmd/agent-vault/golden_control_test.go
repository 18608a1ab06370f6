package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// object is the answer's body, with a status that is wanted.
func (a answer) object(t testing.TB, status int) map[string]any {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	var o map[string]any
	if err := json.Unmarshal([]byte(a.body), &o); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return o
}

// has holds keys that clients read, and returns the object.
func has(t testing.TB, o map[string]any, keys ...string) map[string]any {
	t.Helper()
	for _, k := range keys {
		if _, ok := o[k]; !ok {
			t.Errorf("the key %q is missing: %v", k, o)
		}
	}
	return o
}

func rfc3339(t testing.TB, o map[string]any, key string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, fmt.Sprint(o[key]))
	if err != nil {
		t.Errorf("%s: %v is not RFC 3339", key, o[key])
	}
	return at
}

// refusedWith holds the form of every refusal of the vault's own.
func (a answer) refusedWith(t testing.TB, status int, code string) map[string]any {
	t.Helper()
	f := a.fault(t)
	if a.status != status || f["error"] != code || f["message"] == "" {
		t.Fatalf("%d %s, want %d %s", a.status, a.body, status, code)
	}
	if a.header.Get("X-Agent-Vault-Proxy-Error") != "true" {
		t.Error("X-Agent-Vault-Proxy-Error is missing")
	}
	if status == 429 || status == 503 {
		if after := a.header.Get("Retry-After"); !regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(after) {
			t.Errorf("Retry-After %q", after)
		}
	}
	return f
}

// stripeProposal is CONTRACT.md's own example, for a host of the test's world.
const stripeProposal = `{
	"services": [{"action": "set", "name": "stripe", "host": "api.stripe.com", "description": "Stripe API",
	              "auth": {"type": "bearer", "token": "STRIPE_KEY"}}],
	"credentials": [{"action": "set", "key": "STRIPE_KEY", "description": "Stripe API key",
	                 "obtain": "https://dashboard.stripe.com/apikeys", "obtain_instructions": "Developers > API keys"}],
	"message": "for developers", "user_message": "for the person who approves"
}`

func TestGoldenProposals(t *testing.T) {
	w := newWorld(t)
	agent, other, owner := w.agentToken("robot", "default"), w.agentToken("stranger", "default"), w.login()

	made := has(t, w.ask("POST", "/v1/proposals", agent, "default", stripeProposal).object(t, 201), "id", "status", "vault", "approval_url", "message")
	if made["id"] != 1.0 || made["status"] != "pending" || made["vault"] != "default" || made["message"] == "" {
		t.Errorf("created %v", made)
	}
	link := fmt.Sprint(made["approval_url"])
	if !regexp.MustCompile(`^` + regexp.QuoteMeta(w.API) + `/approve/1\?token=av_appr_[0-9A-Za-z]+$`).MatchString(link) {
		t.Errorf("approval_url %s", link)
	}
	t.Run("the same again is the same", func(t *testing.T) {
		again := w.ask("POST", "/v1/proposals", agent, "default", stripeProposal).object(t, 201)
		if again["id"] != 1.0 || again["approval_url"] != link {
			t.Errorf("again %v", again)
		}
	})
	t.Run("get", func(t *testing.T) {
		p := has(t, w.ask("GET", "/v1/proposals/1", agent, "default", "").object(t, 200),
			"id", "status", "message", "services", "credentials", "review_note", "reviewed_at", "created_at")
		rfc3339(t, p, "created_at")
		if p["reviewed_at"] != nil || p["message"] != "for developers" {
			t.Errorf("got %v", p)
		}
	})
	t.Run("list, newest first", func(t *testing.T) {
		w.ask("POST", "/v1/proposals", agent, "default", `{"services":[{"action":"set","name":"second","host":"second.example.com","auth":{"type":"passthrough"}}]}`).object(t, 201)
		l, _ := w.ask("GET", "/v1/proposals?status=pending", agent, "default", "").object(t, 200)["proposals"].([]any)
		if len(l) != 2 || l[0].(map[string]any)["id"] != 2.0 || l[1].(map[string]any)["id"] != 1.0 {
			t.Errorf("listed %v", l)
		}
		none, ok := w.ask("GET", "/v1/proposals?status=applied", agent, "default", "").object(t, 200)["proposals"].([]any)
		if !ok || len(none) != 0 {
			t.Errorf("applied: %v", none)
		}
	})
	t.Run("an agent sees its own only", func(t *testing.T) {
		w.ask("GET", "/v1/proposals/1", other, "default", "").refusedWith(t, 404, "proposal_not_found")
		if l, _ := w.ask("GET", "/v1/proposals", other, "default", "").object(t, 200)["proposals"].([]any); len(l) != 0 {
			t.Errorf("listed %v", l)
		}
	})
	t.Run("the link shows and decides nothing", func(t *testing.T) {
		a := roundTripURL(t, link)
		if a.status != 200 || !strings.Contains(a.body, "api.stripe.com") || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%d %s", a.status, a.body)
		}
		roundTripURL(t, strings.Replace(link, "/approve/1", "/approve/2", 1)).refusedWith(t, 404, "proposal_not_found")
		roundTripURL(t, link[:len(link)-1]+flip(link[len(link)-1])).refusedWith(t, 404, "proposal_not_found")
	})
	t.Run("no agent decides", func(t *testing.T) {
		digest := w.ask("GET", "/v1/proposals/1/review", owner, "default", "").object(t, 200)["digest"]
		body := fmt.Sprintf(`{"digest":%q,"credentials":{"STRIPE_KEY":"sk_live_abcdefgh"}}`, digest)
		for _, token := range []string{agent, other, w.token, w.agentTokenAs("boss", "default", "admin")} {
			w.ask("POST", "/v1/proposals/1/approve", token, "default", body).refusedWith(t, 403, "forbidden")
			w.ask("POST", "/v1/proposals/1/reject", token, "default", `{}`).refusedWith(t, 403, "forbidden")
			w.ask("GET", "/v1/proposals/1/review", token, "default", "").refusedWith(t, 403, "forbidden")
		}
	})
	t.Run("wait, approve", func(t *testing.T) {
		decided := make(chan answer, 1)
		go func() { decided <- w.ask("GET", "/v1/proposals/1?wait=30", agent, "default", "") }()
		rv := w.ask("GET", "/v1/proposals/1/review", owner, "default", "").object(t, 200)
		w.ask("POST", "/v1/proposals/1/approve", owner, "default", fmt.Sprintf(`{"digest":%q}`, rv["digest"])).refusedWith(t, 400, "bad_request")
		w.ask("POST", "/v1/proposals/1/approve", owner, "default", `{"digest":"","credentials":{"STRIPE_KEY":"sk_live_abcdefgh"}}`).refusedWith(t, 409, "proposal_changed")
		done := w.ask("POST", "/v1/proposals/1/approve", owner, "default",
			fmt.Sprintf(`{"digest":%q,"credentials":{"STRIPE_KEY":"sk_live_abcdefgh"},"note":"go on"}`, rv["digest"])).object(t, 200)
		if done["status"] != "applied" {
			t.Errorf("approved %v", done)
		}
		p := (<-decided).object(t, 200)
		if p["status"] != "applied" || p["review_note"] != "go on" {
			t.Errorf("waited for %v", p)
		}
		rfc3339(t, p, "reviewed_at")
		w.ask("POST", "/v1/proposals/1/approve", owner, "default", fmt.Sprintf(`{"digest":%q}`, rv["digest"])).refusedWith(t, 409, "proposal_closed")
	})
	t.Run("reject", func(t *testing.T) {
		if p := w.ask("POST", "/v1/proposals/2/reject", owner, "default", `{"note":"no"}`).object(t, 200); p["status"] != "rejected" {
			t.Errorf("rejected %v", p)
		}
		p := w.ask("GET", "/v1/proposals/2?wait=30", agent, "default", "").object(t, 200)
		if p["status"] != "rejected" || p["review_note"] != "no" {
			t.Errorf("got %v", p)
		}
	})
	t.Run("limits", func(t *testing.T) {
		for _, body := range []string{
			`{}`,
			`{"services":[{"action":"set","name":"abc","host":"*","auth":{"type":"passthrough"}}]}`,
			`{"services":[{"action":"set","name":"abc","host":"*.co.uk","auth":{"type":"passthrough"}}]}`,
			`{"services":[{"action":"set","name":"abc","host":"*.atlassian.net","auth":{"type":"passthrough"}}]}`,
			`{"services":[{"action":"set","name":"abc","host":"8.8.8.8","auth":{"type":"passthrough"}}]}`,
			`{"services":[{"action":"set","name":"abc","host":"printer.local","auth":{"type":"passthrough"}}]}`,
			`{"services":[{"action":"grant","name":"abc","host":"a.example.com","auth":{"type":"passthrough"}}]}`,
			`{"services":[{"action":"set","name":"abc","host":"a.example.com","auth":{"type":"bearer","token":"UNKNOWN_KEY"}}]}`,
			`{"services":[{"action":"set","name":"abc","host":"a.example.com","auth":{"type":"bearer","token":"lower"}}]}`,
			`{"credentials":[{"action":"set","key":"lower"}]}`,
			`{"credentials":[{"action":"set","key":"A_KEY","obtain":"ftp://example.com"}]}`,
			`{"message":"` + strings.Repeat("m", 2001) + `","credentials":[{"action":"set","key":"A_KEY"}]}`,
			`{"user_message":"` + strings.Repeat("m", 5001) + `","credentials":[{"action":"set","key":"A_KEY"}]}`,
			`{"credentials":[{"action":"set","key":"A_KEY","description":"` + strings.Repeat("m", 501) + `"}]}`,
			`{"credentials":[{"action":"set","key":"A_KEY","obtain_instructions":"` + strings.Repeat("m", 1001) + `"}]}`,
			`{"credentials":[` + strings.TrimSuffix(strings.Repeat(`{"action":"set","key":"A_KEY"},`, 11), ",") + `]}`,
		} {
			w.ask("POST", "/v1/proposals", agent, "default", body).refusedWith(t, 400, "bad_request")
		}
	})
	t.Run("the 21st that is pending", func(t *testing.T) {
		for n := range 20 {
			w.ask("POST", "/v1/proposals", agent, "default", fmt.Sprintf(`{"services":[{"action":"set","name":"svc-%d","host":"n%d.example.com","auth":{"type":"passthrough"}}]}`, n, n)).object(t, 201)
		}
		w.ask("POST", "/v1/proposals", other, "default", `{"services":[{"action":"set","name":"one-more","host":"more.example.com","auth":{"type":"passthrough"}}]}`).
			refusedWith(t, 429, "too_many_pending_proposals")
	})
}

func roundTripURL(t testing.TB, url string) answer {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, req)
}

func TestGoldenDiscover(t *testing.T) {
	w := newWorld(t)
	agent := w.agentToken("robot", "second")
	d := has(t, w.ask("GET", "/discover", w.token, "", "").object(t, 200), "vault", "proxy_url", "services", "available_credentials")
	if d["vault"] != "default" || d["proxy_url"] != w.API+"/proxy" {
		t.Errorf("discovered %v", d)
	}
	services, _ := d["services"].([]any)
	if len(services) == 0 {
		t.Fatalf("services %v", d["services"])
	}
	has(t, services[0].(map[string]any), "name", "host", "description")
	if keys, _ := d["available_credentials"].([]any); !slices.Contains(keys, any("API_KEY")) {
		t.Errorf("available_credentials %v", keys)
	}
	// A session's vault is part of it; an agent says which.
	if d := w.ask("GET", "/discover", w.token, "second", "").object(t, 200); d["vault"] != "default" {
		t.Errorf("X-Vault with a session: %v", d["vault"])
	}
	d = w.ask("GET", "/discover", agent, "second", "").object(t, 200)
	if keys, ok := d["available_credentials"].([]any); !ok || len(keys) != 0 {
		t.Errorf("no credentials are written %v", d["available_credentials"])
	}
	w.ask("GET", "/discover", agent, "", "").refusedWith(t, 400, "vault_required")
	w.ask("GET", "/discover", agent, "default", "").refusedWith(t, 403, "vault_forbidden")
	w.ask("GET", "/discover", agent, "nowhere", "").refusedWith(t, 404, "vault_not_found")
	w.ask("GET", "/discover", "", "", "").refusedWith(t, 401, "unauthorized")
}

func TestGoldenSessions(t *testing.T) {
	w := newWorld(t)
	owner := w.login()
	s := has(t, w.ask("POST", "/v1/sessions", owner, "", `{"vault":"default","label":"ci"}`).object(t, 200), "token", "expires_at", "av_addr", "proxy_url")
	if !strings.HasPrefix(fmt.Sprint(s["token"]), "av_sess_") || s["av_addr"] != w.API || s["proxy_url"] != w.API+"/proxy" {
		t.Errorf("session %v", s)
	}
	if left := time.Until(rfc3339(t, s, "expires_at")); left < 86000*time.Second || left > 86400*time.Second {
		t.Errorf("the default life is %v", left)
	}
	for _, seconds := range []int{300, 604800} {
		w.ask("POST", "/v1/sessions", owner, "", fmt.Sprintf(`{"vault":"default","ttl_seconds":%d}`, seconds)).object(t, 200)
	}
	for _, seconds := range []string{"299", "604801", "0", "-1", "9223372036854775807"} {
		w.ask("POST", "/v1/sessions", owner, "", `{"vault":"default","ttl_seconds":`+seconds+`}`).refusedWith(t, 400, "bad_request")
	}
	w.ask("POST", "/v1/sessions", owner, "", `{"vault":"nowhere"}`).refusedWith(t, 404, "vault_not_found")
	w.ask("POST", "/v1/sessions", w.token, "", `{"vault":"default"}`).refusedWith(t, 403, "forbidden")
	set := w.ask("POST", "/v1/credentials", owner, "", `{"vault":"default","credentials":{"NEW_KEY":"a-value-that-is-long"}}`).object(t, 200)
	if fmt.Sprint(set["set"]) != "[NEW_KEY]" {
		t.Errorf("set %v", set)
	}
}

func TestGoldenInvites(t *testing.T) {
	w := newWorld(t)
	owner := w.login()
	invite := func(name string) answer {
		return w.ask("POST", "/v1/agents/invites", owner, "", fmt.Sprintf(`{"name":%q,"vaults":[{"vault_name":"default","vault_role":"proxy"}]}`, name))
	}
	i := has(t, invite("robot").object(t, 201), "agent_name", "expires_at", "invite_link", "token", "vaults")
	link, token := fmt.Sprint(i["invite_link"]), fmt.Sprint(i["token"])
	if i["agent_name"] != "robot" || link != w.API+"/invite/"+token || !strings.HasPrefix(token, "av_inv_") {
		t.Errorf("invite %v", i)
	}
	rfc3339(t, i, "expires_at")
	invite("robot").refusedWith(t, 409, "conflict")
	path := "/invite/" + token
	if a := w.ask("GET", path, "", "", ""); a.status != 405 {
		t.Errorf("GET is answered with %d", a.status)
	}
	r := has(t, w.ask("POST", path, "", "", `{}`).object(t, 200), "agent_name", "av_addr", "av_agent_token", "instructions", "proxy_url", "vaults")
	agent := fmt.Sprint(r["av_agent_token"])
	if r["agent_name"] != "robot" || r["av_addr"] != w.API || r["proxy_url"] != w.API+"/proxy" || !strings.HasPrefix(agent, "av_agt_") {
		t.Errorf("redeemed %v", r)
	}
	if a := w.doIn(byPath, agent, "default", call{host: "api.test", target: "/"}); a.status != 200 {
		t.Errorf("the new agent's first request: %d %s", a.status, a.body)
	}
	w.ask("POST", path, "", "", `{}`).refusedWith(t, 410, "invite_redeemed")
	invite("robot").refusedWith(t, 409, "conflict")
	w.ask("POST", "/invite/"+token[:len(token)-1]+flip(token[len(token)-1]), "", "", `{}`).refusedWith(t, 404, "invite_not_found")

	gone := invite("gone").object(t, 201)
	w.ask("DELETE", "/v1/agents/invites/"+fmt.Sprint(gone["id"]), owner, "", "").object(t, 200)
	w.ask("POST", "/invite/"+fmt.Sprint(gone["token"]), "", "", `{}`).refusedWith(t, 410, "invite_revoked")

	for n := range 50 {
		invite(fmt.Sprintf("agent-%d", n)).object(t, 201)
	}
	invite("one-more").refusedWith(t, 429, "too_many_pending_invites")
}

// TestGoldenInstance: what is asked before anybody is there, and by nobody.
func TestGoldenInstance(t *testing.T) {
	i := newInstance(t, "")
	if a := i.send("GET", "/metrics", "", ""); !strings.Contains(a.body, "\ngo_gc_gogc_percent ") || strings.Contains(a.body, "\ngo_gc_gogc_percent 100\n") {
		t.Errorf("the heap has no room before garbage is collected: %s", a.body)
	}
	if o := i.ask("GET", "/health", "", "", "").object(t, 200); o["status"] != "ok" {
		t.Errorf("health %v", o)
	}
	if o := has(t, i.ask("GET", "/v1/status", "", "", "").object(t, 200), "initialized", "needs_first_user"); o["initialized"] != false || o["needs_first_user"] != true {
		t.Errorf("status %v", o)
	}
	for _, route := range []string{"GET /discover", "POST /v1/proposals", "GET /v1/proposals", "GET /v1/proposals/1", "POST /v1/sessions"} {
		method, path, _ := strings.Cut(route, " ")
		f := i.ask(method, path, "av_sess_x", "", `{}`).refusedWith(t, 503, "not_initialized")
		if !strings.Contains(fmt.Sprint(f["message"]), "agent-vault auth register") {
			t.Errorf("%s does not say what mends it: %v", route, f["message"])
		}
	}
	i.register()
	if o := i.ask("GET", "/v1/status", "", "", "").object(t, 200); o["initialized"] != true || o["needs_first_user"] != false {
		t.Errorf("status %v", o)
	}
	pem := i.ask("GET", "/v1/mitm/ca.pem", "", "", "")
	if pem.status != 200 || pem.header.Get("Content-Type") != "application/x-pem-file" || !strings.HasPrefix(pem.body, "-----BEGIN CERTIFICATE-----") {
		t.Errorf("ca.pem %d %v", pem.status, pem.header)
	}
	owner := i.login()
	put := `{"services":[{"name":"stripe","host":"api.stripe.com","auth":{"type":"bearer","token":"STRIPE_KEY"}}]}`
	has(t, i.ask("PUT", "/v1/vaults/default/services", owner, "", put).object(t, 200), "services")
	i.ask("PUT", "/v1/vaults/default/services", owner, "", `{"services":[],"padding":"`+strings.Repeat("x", 2<<20)+`"}`).refusedWith(t, 413, "request_too_large")
}
