package mitm_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"agentvault/vault"
)

// What must not reach an upstream, tried on every way: what the agent sends of
// its own in the credential's place is replaced and noted, and the fields that
// are the vault's, or end at this hop, go nowhere (R8, R18).
func TestForeignCredentials(t *testing.T) {
	const foreign = "sk-live-somebody-elses"
	for _, r := range []struct {
		name   string
		ask    ask
		noted  int
		noPath bool // the vault's own token stands there on the path entrance
		noH2   bool // HTTP/2 has no such field
		target string
	}{
		{name: "none", ask: ask{}},
		{name: "Authorization", ask: ask{header: []string{"Authorization: Bearer " + foreign}}, noted: 1, noPath: true},
		{name: "in capitals", ask: ask{header: []string{"AUTHORIZATION: " + foreign}}, noted: 1, noPath: true},
		{name: "twice", ask: ask{header: []string{"Authorization: Bearer " + foreign, "authorization: Basic " + foreign}}, noted: 2, noPath: true},
		{name: "a token of the vault in its place", ask: ask{header: []string{"Authorization: Bearer " + vault.NewToken(vault.PrefixSession)}}, noPath: true},
		{name: "named by Connection", ask: ask{header: []string{"Connection: Authorization", "Authorization: " + foreign}}, noted: 1, noPath: true, noH2: true},
		{name: "key", ask: ask{host: "key.example.com", header: []string{"X-Api-Key: " + foreign}}, noted: 1},
		{name: "key, underscores", ask: ask{host: "key.example.com", header: []string{"X_API_KEY: " + foreign, "x-api_key: " + foreign}}, noted: 2},
		{name: "key, other marks", ask: ask{host: "key.example.com", header: []string{"X.Api.Key: " + foreign, "x!api~key: " + foreign}}, noted: 2},
		{name: "key, named by Connection", ask: ask{host: "key.example.com", header: []string{"Connection: x-api-key, close", "X-Api-Key: " + foreign}}, noted: 1, noH2: true},
		{name: "Authorization beside the key", ask: ask{host: "key.example.com", header: []string{"Authorization: " + foreign}}, noted: 1, noPath: true},
		{name: "key in a trailer", ask: ask{host: "key.example.com", method: "POST", header: []string{"Trailer: X-Api-Key, X-Sum"}, body: "b", trailer: []string{"X-Api-Key: " + foreign, "X-Sum: 1"}}, noted: 1},
		{name: "query", ask: ask{host: "query.example.com", target: "/?api_key=" + foreign}, noted: 1, target: "/?api_key=" + credential},
		{name: "query, more than once", ask: ask{host: "query.example.com", target: "/?api_key=" + foreign + "&a=%2F&api_key=x"}, noted: 2, target: "/?a=%2F&api_key=" + credential},
		{name: "query, percent-encoded", ask: ask{host: "query.example.com", target: "/?%61pi%5fkey=" + foreign + "&b"}, noted: 1, target: "/?b&api_key=" + credential},
		{name: "query, letter case", ask: ask{host: "query.example.com", target: "/?API_Key=" + foreign}, noted: 1, target: "/?api_key=" + credential},
		{name: "query, PHP", ask: ask{host: "query.example.com", target: "/?api.key=" + foreign + "&api+key=" + foreign + "&api_key%5B%5D=" + foreign}, noted: 3, target: "/?api_key=" + credential},
		{name: "query, semicolons", ask: ask{host: "query.example.com", target: "/?a=1;api_key=" + foreign}, noted: 1, target: "/?a=1&api_key=" + credential},
		{name: "query, a token of the vault in its place", ask: ask{host: "query.example.com", target: "/?api_key=" + vault.NewToken(vault.PrefixAgent)}, noted: 1, target: "/?api_key=" + credential},
	} {
		w := &witness{}
		k := newKit(t, kitOptions{upstream: w})
		outcomes := 0
		for _, way := range ways {
			if r.noPath && strings.HasPrefix(way.name, "path") || r.noH2 && way.h2 {
				continue
			}
			a, mark := r.ask.marked()
			g := way.send(t, k, a)
			s, n := w.of(mark)
			outcomes++
			if g.status != 200 || n != 1 {
				t.Errorf("%s, %s: %d %s", r.name, way.name, g.status, g.body)
				continue
			}
			all := s.all()
			if strings.Contains(all, foreign) || strings.Count(all, credential) != 1 || strings.Contains(all, "av_") {
				t.Errorf("%s, %s: the upstream got %s", r.name, way.name, all)
			}
			if r.target != "" && s.target != r.target {
				t.Errorf("%s, %s: the upstream got %s, want %s", r.name, way.name, s.target, r.target)
			}
			if record := k.outcome(t, outcomes); record.Foreign != r.noted {
				t.Errorf("%s, %s: %d noted, want %d", r.name, way.name, record.Foreign, r.noted)
			}
		}
	}
}

// What Connection names, hop-by-hop fields and the vault's own go nowhere;
// nothing that Connection names can take away what the vault says itself.
func TestFieldsOfThisHop(t *testing.T) {
	w := &witness{}
	k := newKit(t, kitOptions{upstream: w})
	dropped := []string{"X-Vault: default", "x_vault: default", "Proxy-Authenticate: x", "Proxy-Foo: x", "proxy_bar: x", "Content_Length: 3", "Transfer_Encoding: chunked", "Keep_Alive: x", "Http2-Settings: AAMAAABk"}
	hop1 := []string{"Connection: Host, Content-Length, Authorization, User-Agent, X-Gone, Proxy-Authorization, keep-alive", "X-Gone: x", "X_Gone: x", "Keep-Alive: timeout=5", "Upgrade: h2c, tls/1.0", "Te: trailers, gzip", "User-Agent: mine"}
	for _, way := range ways {
		a := ask{method: "POST", header: append([]string{"X-Kept: x", "Trailer: X-Sum, X-Vault, Proxy-T, Authorization, Host, X_Vault, Cookie, X-Http-Method-Override"}, dropped...), body: "body",
			trailer: []string{"X-Sum: 1", "X-Vault: t", "Proxy-T: t", "Authorization: t", "Host: t", "X_Vault: t", "Cookie: t", "X-Http-Method-Override: t", "X-Unannounced: t"}}
		if !way.h2 {
			a.header = append(a.header, hop1...)
		} else { // net/http refuses such trailers itself
			a.trailer = []string{"X-Sum: 1", "X-Vault: t", "X_Vault: t", "Cookie: t", "X-Http-Method-Override: t", "X-Unannounced: t"}
		}
		a, mark := a.marked()
		g := way.send(t, k, a)
		s, n := w.of(mark)
		if g.status != 200 || n != 1 {
			t.Errorf("%s: %d %s", way.name, g.status, g.body)
			continue
		}
		for _, line := range append(dropped, hop1...) {
			name, value, _ := strings.Cut(line, ": ")
			for field, values := range s.header {
				if strings.EqualFold(field, name) && strings.Contains(strings.Join(values, ","), value) {
					t.Errorf("%s: the upstream got %s", way.name, line)
				}
			}
		}
		if s.host != "api.example.com" || s.header.Get("Authorization") != "Bearer "+credential || s.header.Get("X-Kept") != "x" || s.body != "body" {
			t.Errorf("%s: the upstream got %s", way.name, s.all())
		}
		if len(s.trailer) != 1 || s.trailer.Get("X-Sum") != "1" {
			t.Errorf("%s: the upstream got the trailers %v", way.name, s.trailer)
		}
	}
}

// A token of the vault goes nowhere upstream, wherever it stands (R8): the agent
// is told where. What merely mentions one passes in a body.
func TestTokensAreRefusedUpstream(t *testing.T) {
	w := &witness{}
	k := newKit(t, kitOptions{upstream: w})
	agent, session := vault.NewToken(vault.PrefixAgent), vault.NewToken(vault.PrefixSession) // anybody's
	long := strings.Repeat("0123456789abcdef", 20_000)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+session))
	refused := make(map[string]bool) // marks
	mistyped := session[:len(session)-1] + "-"
	for _, r := range []struct {
		name  string
		ask   ask
		where string // in the message; "" when it must pass
	}{
		{"header value", ask{header: []string{"X-Copy: token " + k.token}}, "the header field X-Copy"},
		{"header value, percent-encoded", ask{header: []string{"X-Copy: " + strings.ReplaceAll(agent, "_", "%5f")}}, "the header field X-Copy"},
		{"header name", ask{header: []string{"X-" + session + ": x"}}, "the name of a header field"},
		{"header name, percent-encoded", ask{header: []string{"X-" + strings.ReplaceAll(session, "_", "%5f") + ": x"}}, "the name of a header field"},
		{"cookie", ask{header: []string{"Cookie: a=b; session=" + session}}, "the header field Cookie"},
		{"referer", ask{header: []string{"Referer: https://x.test/?t=" + session}}, "the header field Referer"},
		{"user agent", ask{header: []string{"User-Agent: me/" + agent}}, "the header field User-Agent"},
		{"basic on a service without a credential", ask{host: "open.example.com", header: []string{"X-Upstream-Auth: " + basic}}, "the header field X-Upstream-Auth"},
		{"basic without padding, another alphabet", ask{host: "open.example.com", header: []string{"X-Auth: bAsIc  " + strings.TrimRight(base64.URLEncoding.EncodeToString([]byte("\xff\xfe:"+agent)), "=")}}, "the header field X-Auth"},
		{"path", ask{target: "/x/" + session}, "the path"},
		{"path, percent-encoded", ask{target: "/x/" + strings.Replace(session, "av", "%61%76", 1)}, "the path"},
		{"query", ask{target: "/?q=" + session}, "the query"},
		{"query, percent-encoded", ask{target: "/?q=" + url.QueryEscape("x "+strings.ReplaceAll(agent, "_", "%5F"))}, ""}, // twice
		{"query, percent-encoded once", ask{target: "/?q=x+" + strings.ReplaceAll(agent, "_", "%5F")}, "the query"},
		{"announced trailer's value", ask{method: "POST", header: []string{"Trailer: X-Sum"}, body: "b", trailer: []string{"X-Sum: " + session}}, "a trailer"},
		{"name of a trailer", ask{method: "POST", header: []string{"Trailer: X-" + session}, body: "b", trailer: []string{"X-" + session + ": x"}}, "the name of a trailer"},
		{"body", ask{method: "POST", body: session}, "the body"},
		{"body, JSON", ask{method: "POST", body: `{"token":"` + k.token + `"}`}, "the body"},
		{"body, far in", ask{method: "POST", body: long + agent + long}, "the body"},
		{"body, over the border of a chunk", ask{method: "PUT", body: long[:990] + agent}, "the body"},
		{"body, login of a person", ask{method: "POST", body: vault.NewToken(vault.PrefixLogin)}, "the body"},
		{"body of a service without a credential", ask{host: "open.example.com", method: "POST", body: "x" + session + "y"}, "the body"},
		{"body that mentions the prefix", ask{method: "POST", body: "tokens begin with av_sess_ or av_agt_" + long[:200]}, ""},
		{"body with a mistyped token", ask{method: "POST", body: mistyped}, ""},
		{"body that ends like one", ask{method: "POST", body: session[:50]}, ""},
		{"long body", ask{method: "POST", body: long}, ""},
		{"header that ends at this hop", ask{header: []string{"Proxy-Copy: " + session, "X-Vault: " + session}}, ""},
	} {
		for _, way := range ways {
			a, mark := r.ask.marked()
			g := way.send(t, k, a)
			s, n := w.of(mark)
			if r.where == "" {
				if g.status != 200 || n != 1 || s.body != r.ask.body || !s.whole {
					t.Errorf("%s, %s: %d %s; the upstream got %.200s", r.name, way.name, g.status, g.body, s.all())
				}
				continue
			}
			if g.status != 400 || g.code != "bad_request" || !strings.Contains(g.body, r.where+" holds a token") || strings.Contains(g.body, session[8:20]) {
				t.Errorf("%s, %s: %d %.300s, want 400 that names %s", r.name, way.name, g.status, g.body, r.where)
			}
			refused[mark] = true
		}
	}
	for _, s := range w.all(t, k) {
		for _, token := range []string{agent, session, k.token} {
			if refused[s.header.Get("X-Mark")] && (s.whole || strings.Contains(strings.ToLower(s.all()), strings.ToLower(token[10:30]))) {
				t.Errorf("the upstream got of what was refused (whole: %t): %.300s", s.whole, s.all())
			}
		}
	}
}
