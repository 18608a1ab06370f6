package api_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"agentvault/api"
	"agentvault/policy/inject"
	"agentvault/vault"
)

func TestMissingOptions(t *testing.T) {
	text := func() string { return "" }
	complete := api.Options{Registry: new(vault.Registry), CAPEM: func() []byte { return nil }, BaseURL: text, PathProxyURL: text, ProxyURL: text}
	if _, err := api.New(complete); err != nil {
		t.Fatal(err)
	}
	for name, drop := range map[string]func(*api.Options){
		"Registry":     func(o *api.Options) { o.Registry = nil },
		"CAPEM":        func(o *api.Options) { o.CAPEM = nil },
		"BaseURL":      func(o *api.Options) { o.BaseURL = nil },
		"PathProxyURL": func(o *api.Options) { o.PathProxyURL = nil },
		"ProxyURL":     func(o *api.Options) { o.ProxyURL = nil },
	} {
		o := complete
		drop(&o)
		if h, err := api.New(o); err == nil || !strings.Contains(err.Error(), name) || h != nil {
			t.Errorf("without %s: %v, %v", name, h, err)
		}
	}
}

// TestStrictJSON: a body is taken as a whole and as it is meant, or not at all.
func TestStrictJSON(t *testing.T) {
	f := newFixture(t)
	const taken = `{"name":"team-a"}`
	for _, tt := range []struct{ name, kind, body, want string }{
		{"nothing", "application/json", "", "the body is not JSON"},
		{"blanks", "application/json", " \n", "the body is not JSON"},
		{"cut off", "application/json", `{"name":"team-a"`, "the body is not JSON"},
		{"no JSON", "application/json", `name=team-a`, "the body is not JSON"},
		{"unknown field", "application/json", `{"name":"team-a","extra":1}`, "unknown field extra"},
		{"wrong type", "application/json", `{"name":7}`, "the field name does not take a number"},
		{"another letter case", "application/json", `{"Name":"team-a"}`, "unknown field Name"},
		{"twice", "application/json", `{"name":"team-a","name":"team-b"}`, "the field name stands there twice"},
		{"twice, spelled otherwise", "application/json", `{"name":"team-a","n\u0061me":"team-b"}`, "the field name stands there twice"},
		{"a control character", "application/json", `{"name":"team\u0000"}`, "the field name holds a control character"},
		{"a bare control character", "application/json", "{\"name\":\"team\x01\"}", "the body is not JSON: it goes wrong in the field name"},
		{"half a character", "application/json", `{"name":"\ud800"}`, "the body is not JSON: it goes wrong in the field name"},
		{"too long", "application/json", `{"name":"` + strings.Repeat("a", 128<<10+1) + `"}`, "the field name is longer than 131072 bytes"},
		{"an object for text", "application/json", `{"name":{}}`, "the field name does not take an object"},
		{"a list", "application/json", `[]`, "the body must be an object, not an array"},
		{"text for the object", "application/json", `"team-a"`, "the body must be an object, not a string"},
		{"a second value", "application/json", taken + taken, "the body holds more than one JSON value"},
		{"a stray brace", "application/json", taken + "}", "the body holds more than one JSON value"},
		{"a stray bracket", "application/json", taken + "]", "the body holds more than one JSON value"},
		{"garbage behind", "application/json", taken + "x", "the body holds more than one JSON value"},
		{"NUL behind", "application/json", taken + "\x00", "the body holds more than one JSON value"},
		{"no UTF-8", "application/json", "{\"name\":\"team-\xff\"}", "the body is not UTF-8: it goes wrong in the field name"},
		{"no UTF-8 in a name", "application/json", "{\"na\xc3me\":\"team-a\"}", "the body is not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request("POST", "/v1/vaults", f.owner, tt.body)
			r.Header.Set("Content-Type", tt.kind)
			if m := f.do(r).refused(t, 400, "bad_request"); m != tt.want {
				t.Errorf("got %q, want %q", m, tt.want)
			}
		})
	}
	f.send("GET", "/v1/vaults/team-a", f.owner, "").refused(t, 404, "vault_not_found") // none of them did anything

	// With a token the type does not matter: curl -d sends a form's.
	for i, kind := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON", "", "application/x-www-form-urlencoded"} {
		r := request("POST", "/v1/vaults", f.owner, " {\"name\":\"team-"+strconv.Itoa(i)+"\"} \n")
		r.Header.Set("Content-Type", kind)
		f.do(r).want(t, 201)
	}
}

// TestPlaces: a fault deep in a body is named by its place.
func TestPlaces(t *testing.T) {
	f := newFixture(t)
	service := func(rest string) string {
		return `{"vaults":[{"name":"default","services":[{"name":"one","host":"one.test","auth":{"type":"passthrough"}},{` + rest + `}]}]}`
	}
	const place = "vaults[0].services[1]"
	for _, tt := range []struct{ body, want string }{
		{service(`"hosts":"two.test"`), "unknown field " + place + ".hosts"},
		{service(`"Host":"two.test"`), "unknown field " + place + ".Host"},
		{service(`"auth":{"type":"passthrough"},"host":7,"name":"two"`), "the field " + place + ".host does not take a number"},
		{service(`"host":"two.test","host":"three.test"`), "the field " + place + ".host stands there twice"},
		{service(`"auth":{"type":"bearer","token":"A","token":"B"}`), "the field " + place + ".auth.token stands there twice"},
		{service(`"auth":{"type":"bearer","token":"A\u0007"}`), "the field " + place + ".auth.token holds a control character"},
		{service(`"auth":{}`), "the field " + place + ".auth: the field type is missing; it is one of " + strings.Join(inject.Types(), ", ")},
		{service(`"auth":"bearer"`), "the field " + place + `.auth: it must be an object like {"type": "bearer", "token": "API_KEY"}`},
		{service(`"rules":[{"method":"GET"}]`), "unknown field " + place + ".rules[0].method"},
		{`{"vaults":[{"name":"default","services":[null]}]}`, "the field vaults[0].services[0] does not take this value"},
		{`{"vaults":` + strings.Repeat("[", 9000) + `x`, "the body is not JSON: it goes wrong in the field vaults" + strings.Repeat("[0]", 65) + "…"},
		{service(`"enabled":"yes"`), "the field " + place + ".enabled does not take a string"},
		{`{"vaults":[{"name":"default","credentials":{"API_KEY":"a","API_KEY":"b"}}]}`, "the field vaults[0].credentials.API_KEY stands there twice"},
		{`{"vaults":[{"name":"default","credentials":{"API_KEY":7}}]}`, "the field vaults[0].credentials.API_KEY does not take a number"},
		{`{"vaults":[{"name":"default","credentials":{"` + secretValue + `":7}}]}`, "the field vaults[0].credentials.… does not take a number"},
		{`{"vaults":[{"name":"default","` + secretValue + `":""}]}`, "unknown field vaults[0].…"},
	} {
		if m := f.send("POST", "/v1/apply", f.owner, tt.body).refused(t, 400, "bad_request"); m != tt.want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.body, m, tt.want)
		}
	}
	for body, want := range map[string]string{
		`{"vault":"default","ttl_seconds":300.5}`:                "the field ttl_seconds does not take this value",
		`{"vault":"default","ttl_seconds":"300"}`:                "the field ttl_seconds does not take a string",
		`{"vault":"default","ttl_seconds":99999999999999999999}`: "the field ttl_seconds does not take this value",
	} {
		if m := f.send("POST", "/v1/sessions", f.owner, body).refused(t, 400, "bad_request"); m != want {
			t.Errorf("%s\ngot  %s\nwant %s", body, m, want)
		}
	}
}

// TestQueryStrings: what a route does not know it does not pass over.
func TestQueryStrings(t *testing.T) {
	f := newFixture(t)
	for path, want := range map[string]string{
		"/v1/credentials": "the query parameter vault is missing",
		"/v1/credentials?vault=default&vault=default": "the query parameter vault stands there more than once",
		"/v1/credentials?vault=default&x=1":           "unknown query parameter x",
		"/v1/credentials?Vault=default":               "unknown query parameter Vault",
		"/v1/credentials?vault=%00":                   "the query parameter vault holds a control character",
		"/v1/credentials?vault=%ff":                   "the query parameter vault is not UTF-8",
		"/v1/credentials?vault=%zz":                   "the query string is malformed",
		"/v1/credentials?vault=default;x=1":           "the query string is malformed",
		"/v1/vaults?" + secretValue + "=1":            "unknown query parameter …",
		"/v1/vaults/%00":                              "the path parameter name holds a control character",
	} {
		if m := f.send("GET", path, f.owner, "").refused(t, 400, "bad_request"); m != want {
			t.Errorf("%s\ngot  %s\nwant %s", path, m, want)
		}
	}
	r := request("GET", "/discover", f.session(), "")
	r.Header["X-Vault"] = []string{"default", "team-a"}
	if m := f.do(r).refused(t, 400, "bad_request"); m != "the header X-Vault stands there more than once" {
		t.Errorf("%s", m)
	}
}

// TestContentTypeOfTheSignedOut: a page can make a browser send a form or text
// across origins without asking. So without a token the type must be JSON's.
func TestContentTypeOfTheSignedOut(t *testing.T) {
	f := newFixture(t)
	for _, kind := range []string{"", "application/x-www-form-urlencoded", "text/plain", "application/jsonp", "application/json; ="} {
		r := request("POST", "/v1/auth/login", "", `{"email":"owner@example.test","password":"wrong password"}`)
		r.Header.Set("Content-Type", kind)
		if m := f.do(r).refused(t, 400, "bad_request"); m != "the body must be JSON, with Content-Type: application/json" {
			t.Errorf("%q: %s", kind, m)
		}
	}
}

// TestValuesAreNotRepeated: what cannot be read may hold a credential.
func TestValuesAreNotRepeated(t *testing.T) {
	f := newFixture(t)
	for name, body := range map[string]string{
		"in a list":     `{"vault":"default","credentials":["` + secretValue + `"]}`,
		"as all":        `{"vault":"default","credentials":"` + secretValue + `"}`,
		"cut off":       `{"vault":"default","credentials":{"API_KEY":"` + secretValue,
		"without quote": `{"vault":"default","credentials":{"API_KEY":` + secretValue + `}}`,
		"no vault":      `{"vault":"missing","credentials":{"API_KEY":"` + secretValue + `"}}`,
		"behind":        `{"vault":"default","credentials":{}}"` + secretValue + `"`,
	} {
		a := f.send("POST", "/v1/credentials", f.owner, body)
		if a.status/100 != 4 || strings.Contains(a.body, secretValue) || strings.Contains(f.log.String(), secretValue) {
			t.Errorf("%s: %d %s; log %s", name, a.status, a.body, f.log)
		}
	}
}

func TestTooLong(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		method, path, open, end string
		limit                   int
	}{
		{"POST", "/v1/vaults", `{"name":"team-a"`, "}", 1 << 20},
		{"PUT", "/v1/vaults/default/services", `{"services":[]`, "}", 1 << 20},
		{"POST", "/v1/apply", `{"vaults":[{"name":"default"}]`, "}", 16 << 20},
	} {
		t.Run(tt.path, func(t *testing.T) {
			longest := tt.open + strings.Repeat(" ", tt.limit-len(tt.open)-len(tt.end)) + tt.end
			if a := f.send(tt.method, tt.path, f.owner, longest); a.status/100 != 2 {
				t.Errorf("%d %s", a.status, a.body)
			}
			f.send(tt.method, tt.path, f.owner, longest+" ").refused(t, 413, "request_too_large")
			f.send(tt.method, tt.path, "", longest+" ").refused(t, 401, "unauthorized") // strangers are told no more
		})
	}
}

func TestNoSuchRoute(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/", "/v1", "/v1/", "/v1/nothing", "/health/", "/v1/vaults/", "/v1/vaults/default/secrets", "/v1/credentials/API_KEY/value", "/admin", "/favicon.ico", "/metrics/x"} {
		for _, token := range []string{"", f.owner} {
			t.Run(path, func(t *testing.T) {
				if m := f.send("GET", path, token, "").refused(t, 404, "not_found"); m != "there is no such route" {
					t.Errorf("%q", m)
				}
			})
		}
	}
}

func TestWrongMethod(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct{ method, path, allow string }{
		{"POST", "/health", "GET, HEAD"},
		{"POST", "/v1/mitm/ca.pem", "GET, HEAD"},
		{"POST", "/metrics", "GET, HEAD"},
		{"GET", "/v1/auth/login", "POST"},
		{"GET", "/v1/apply", "POST"},
		{"PUT", "/v1/vaults", "GET, HEAD, POST"},
		{"POST", "/v1/vaults/default", "DELETE, GET, HEAD, PATCH"},
		{"DELETE", "/v1/vaults/default/services", "GET, HEAD, POST, PUT"},
		{"GET", "/v1/credentials/API_KEY", "DELETE"},
		{"GET", "/v1/sessions/self", "DELETE"},
		{"GET", "/invite/" + "av_inv_x", "POST"},
		{"POST", "/join/av_join_x", "GET, HEAD"},
		{"POST", "/approve/1", "GET, HEAD"},
		{"DELETE", "/v1/proposals/1", "GET, HEAD"},
		{"GET", "/v1/proposals/1/approve", "POST"},
		{"OPTIONS", "/v1/agents", "GET, HEAD, POST"},
		{"TRACE", "/discover", "GET, HEAD"},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			a := f.send(tt.method, tt.path, f.owner, "")
			if m := a.refused(t, 405, "method_not_allowed"); m != "this route does not take the method "+tt.method || a.header.Get("Allow") != tt.allow {
				t.Errorf("%q, Allow: %s, want %s", m, a.header.Get("Allow"), tt.allow)
			}
		})
	}
	if a := f.send("HEAD", "/health", "", ""); a.status != 200 {
		t.Errorf("HEAD: %d", a.status)
	}
}

// TestGuessLimit: 20 wrong guesses a minute from one address; other addresses
// and other routes go on, and what is right, or not understood, counts for
// nothing.
func TestGuessLimit(t *testing.T) {
	f := newFixture(t)
	try := func(path, address, body string) reply {
		r := request("POST", path, "", body)
		r.RemoteAddr = address
		return f.do(r)
	}
	const guess = `{"token":"av_join_x","password":"` + ownerPassword + `"}` // costs no hash
	for range 50 {
		try("/v1/auth/login", "192.0.2.1:1000", "not JSON").refused(t, 400, "bad_request")
	}
	for i := range 20 {
		try("/v1/auth/join", "192.0.2.1:"+strconv.Itoa(1000+i), guess).refused(t, 404, "invite_not_found")
	}
	for _, path := range []string{"/v1/auth/join", "/v1/auth/login", "/v1/auth/register"} {
		body := `{"email":"` + ownerEmail + `","password":"` + ownerPassword + `"}`
		if path == "/v1/auth/join" {
			body = guess
		}
		a := try(path, "192.0.2.1:2000", body)
		if m := a.refused(t, 429, "rate_limited"); m != "too many wrong attempts; wait a minute" {
			t.Errorf("%q", m)
		}
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 {
			t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
		}
	}
	for _, other := range []string{"192.0.2.2:1000", "[2001:db8::1]:1000", "127.0.0.1:1000"} {
		try("/v1/auth/join", other, guess).refused(t, 404, "invite_not_found")
	}
	r := request("GET", "/v1/status", "", "")
	r.RemoteAddr = "192.0.2.1:1000"
	f.do(r).want(t, 200)

	// What a client says of its address does not count.
	for i := range 20 {
		try("/v1/auth/join", "192.0.2.3:"+strconv.Itoa(1000+i), guess).refused(t, 404, "invite_not_found")
	}
	r = request("POST", "/v1/auth/join", "", guess)
	r.RemoteAddr = "192.0.2.3:1000"
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	f.do(r).refused(t, 429, "rate_limited")

	// Who is signed in is not kept out by others at the same address.
	r = request("POST", "/v1/auth/reauthenticate", f.owner, `{"password":"`+ownerPassword+`"}`)
	r.RemoteAddr = "192.0.2.1:1000"
	f.do(r).want(t, 200)
}

// TestAgentLimit: an agent's token is bounded in what it asks of the server
// itself, and nobody else is by it.
func TestAgentLimit(t *testing.T) {
	f, session, agent := filled(t)
	f.agentRate = 2
	f.open()
	limited := 0
	for range 20 {
		if a := f.send("GET", "/discover", session, ""); a.status == 429 {
			a.refused(t, 429, "rate_limited")
			limited++
		}
	}
	if limited < 5 {
		t.Errorf("of 20 requests at once %d were limited", limited)
	}
	f.asking("GET", "/discover", agent, "").want(t, 200)
	f.send("GET", "/v1/vaults", f.owner, "").want(t, 200)
}

// TestHost: a page whose name was rebound to this address sends its own name.
func TestHost(t *testing.T) {
	f := newFixture(t)
	for host, want := range map[string]int{
		"127.0.0.1:14321": 200, "127.0.0.1": 200, "[::1]:14321": 200, "[::1]": 200, "192.0.2.7:14321": 200,
		"localhost:14321": 200, "LOCALHOST": 200, "vault.example.test": 200, "Vault.Example.Test:443": 200,
		"evil.test": 403, "evil.test:14321": 403, "127.0.0.1.evil.test": 403, "localhost.evil.test": 403, "": 403,
		"vault.example.test.evil.test": 403, "sub.vault.example.test": 403, "evil.test:127.0.0.1": 403, "127.0.0.1@evil.test": 403,
	} {
		for _, path := range []string{"/v1/auth/me", "/health", "/nothing"} {
			r := request("GET", path, f.owner, "")
			r.Host = host
			switch a := f.do(r); {
			case want == 403:
				if m := a.refused(t, 403, "forbidden"); !strings.Contains(m, "base_url") {
					t.Errorf("%q: %q", host, m)
				}
			case a.status == 403:
				t.Errorf("%q %s: refused: %s", host, path, a.body)
			}
		}
	}
}

// TestCrossOrigin: a page of another site may not send commands, whatever it
// got hold of.
func TestCrossOrigin(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		name, method string
		header       http.Header
		refused      bool
	}{
		{"a program", "POST", nil, false},
		{"our own page", "POST", http.Header{"Sec-Fetch-Site": {"same-origin"}}, false},
		{"typed by a person", "POST", http.Header{"Sec-Fetch-Site": {"none"}}, false},
		{"another site", "POST", http.Header{"Sec-Fetch-Site": {"cross-site"}}, true},
		{"a sibling", "POST", http.Header{"Sec-Fetch-Site": {"same-site"}}, true},
		{"an old browser, our own", "POST", http.Header{"Origin": {"http://127.0.0.1:14321"}}, false},
		{"an old browser, another site", "POST", http.Header{"Origin": {"https://evil.test"}}, true},
		{"an opaque origin", "POST", http.Header{"Origin": {"null"}}, true},
		{"another port", "POST", http.Header{"Origin": {"http://127.0.0.1:9999"}}, true},
		{"reading changes nothing", "GET", http.Header{"Sec-Fetch-Site": {"cross-site"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(tt.method, "/v1/vaults", f.owner, `{"name":"default"}`)
			for name, values := range tt.header {
				r.Header[name] = values
			}
			a := f.do(r)
			switch {
			case tt.refused:
				if m := a.refused(t, 403, "forbidden"); m != "cross-origin requests are refused" {
					t.Errorf("%q", m)
				}
			case a.status == 403:
				t.Errorf("refused: %s", a.body)
			}
			if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("Access-Control-Allow-Origin: %s", got)
			}
		})
	}
}
