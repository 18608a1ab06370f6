package vault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault"
)

// passthrough is a service without credentials.
func passthrough(t *testing.T, name, host string) vault.Service {
	t.Helper()
	return services(t, fmt.Sprintf(`[{"name": %q, "host": %q, "auth": {"type": "passthrough"}}]`, name, host))[0]
}

// What is stored is canonical, and what comes back is what is stored. What the
// caller gave stays as it was.
func TestSetServicesStoresTheCanonicalForm(t *testing.T) {
	f := newFixture(t)
	for given, want := range map[string]string{
		"api.example.com":       "api.example.com",
		"API.Example.COM":       "api.example.com",
		"Api.Example.com:8443":  "api.example.com:8443",
		"*.Example.com":         "*.example.com",
		"Example.com/V1/*":      "example.com/V1/*", // paths keep their case
		"bücher.example":        "xn--bcher-kva.example",
		"192.0.2.1":             "192.0.2.1",
		"[2001:db8::1]:8443":    "[2001:db8::1]:8443",
		"api.example.com:443/*": "api.example.com:443/*",
	} {
		in := []vault.Service{passthrough(t, "service", given)}
		out, err := f.SetServices(t.Context(), f.owner, mainVault, in)
		if err != nil || len(out) != 1 || out[0].Host != want {
			t.Errorf("%s: %v, %v; want the host %s", given, out, err, want)
			continue
		}
		diff(t, given+": what is stored", out, f.get(t, mainVault).Services)
		diff(t, given+": what was given", []vault.Service{passthrough(t, "service", given)}, in)
	}
}

func TestSetServicesKeepsEveryField(t *testing.T) {
	f := newFixture(t)
	in := services(t, `[
		{"name": "one", "host": "one.example.com:8080", "scheme": "http", "description": "Line one\n\tline two: ü", "enabled": false,
		 "auth": {"type": "custom", "headers": {"X-Api-Key": "{{ API_KEY }}"}},
		 "rules": [{"methods": ["GET", "HEAD"], "paths": ["/v1/*"]}, {"paths": ["/**"], "action": "deny"}]},
		{"name": "two", "host": "two.example.com", "auth": {"type": "basic", "username": "USER", "password": "PASS"}}]`)
	out, err := f.SetServices(t.Context(), f.owner, mainVault, in)
	must(t, err)
	diff(t, "what came back", in, out)
	diff(t, "what is stored", in, f.get(t, mainVault).Services)
	diff(t, "what decisions look at", policy.Service{Name: "one", Scheme: "http", Host: "one.example.com:8080", Rules: in[0].Rules}, out[0].Policy())
}

func TestSetServicesReplacesAll(t *testing.T) {
	f := newFixture(t)
	for _, row := range []struct {
		name string
		give []vault.Service
	}{
		{"another", []vault.Service{passthrough(t, "aaa", "a.example.com")}},
		{"two, in this order", []vault.Service{passthrough(t, "bbb", "b.example.com"), passthrough(t, "aaa", "a.example.com")}},
		{"the other order", []vault.Service{passthrough(t, "aaa", "a.example.com"), passthrough(t, "bbb", "b.example.com")}},
		{"an empty list", []vault.Service{}},
		{"nil", nil},
	} {
		out, err := f.SetServices(t.Context(), f.owner, mainVault, row.give)
		if err != nil || out == nil {
			t.Errorf("%s: %#v, %v; want a list", row.name, out, err)
		}
		v := f.get(t, mainVault)
		diff(t, row.name, row.give, v.Services)
		if v.Credentials["STRIPE_KEY"].Version != 1 {
			t.Errorf("%s: credentials are %v, want them as they were", row.name, v.Credentials)
		}
	}
}

// The message names the service and the field, in one line; nothing is stored.
func TestSetServicesRefuses(t *testing.T) {
	const grammar = "a name has 3 to 64 characters of a-z, 0-9 and -"
	fine := `{"name": "fine", "host": "fine.example.com", "auth": {"type": "passthrough"}}`
	one := func(fields string) string {
		return `[` + fine + `, {"name": "stripe", ` + fields + `}]`
	}
	const plain = `"auth": {"type": "passthrough"}`
	f := newFixture(t)
	before := f.snapshot(t)
	for _, row := range []struct{ name, services, want string }{
		{"no name", `[{"host": "a.example.com", ` + plain + `}]`, `service "": ` + grammar},
		{"a bad name", `[{"name": "Stripe API", "host": "a.example.com", ` + plain + `}]`, `service "Stripe API": ` + grammar},
		{"a name twice", one(`"host": "a.example.com", ` + plain + `}, {"name": "stripe", "host": "b.example.com", ` + plain), `service "stripe" stands there twice`},
		{"no host", one(plain), `service "stripe": host "": it is empty`},
		{"a URL for a host", one(`"host": "https://api.stripe.com", ` + plain), `service "stripe": host "https://api.stripe.com": write the host without a scheme, as in api.example.com`},
		{"every host", one(`"host": "*", ` + plain), `service "stripe": host "*": a wildcard stands for one whole label at the beginning, as in *.example.com`},
		{"a public suffix", one(`"host": "*.co.uk", ` + plain), `service "stripe": host "*.co.uk": anyone can register a name below co.uk; name the host, or a domain of your own`},
		{"a port that is none", one(`"host": "a.example.com:0", ` + plain), `service "stripe": host "a.example.com:0": the port is not a number from 1 to 65535`},
		{"a local name", one(`"host": "db", ` + plain), `service "stripe": host "db" is a local name; only a server in development mode takes those`},
		{"no auth", one(`"host": "a.example.com"`), `service "stripe": auth: it is missing; write {"type": "passthrough"} for a host that needs no credential`},
		{"an unknown kind of auth", one(`"host": "a.example.com", "auth": {"type": "kerberos"}`), `service "stripe": auth: unknown type "kerberos"; it is one of ` + strings.Join(inject.Types(), ", ")},
		{"a value for a key", one(`"host": "a.example.com", "auth": {"type": "bearer", "token": "sk_live_1"}`), `service "stripe": auth bearer: field token must be the name of a credential in upper case, as in API_KEY; values never stand here`},
		{"another kind's field", one(`"host": "a.example.com", "auth": {"type": "passthrough", "token": "K"}`), `service "stripe": auth passthrough: it has no field "token"; it has none but type`},
		{"a control character in the description", one(`"host": "a.example.com", "description": "a\u0007b", ` + plain), `service "stripe": description: at most 500 characters of UTF-8 without control characters`},
		{"a scheme that is none", one(`"host": "a.example.com", "scheme": "ftp", ` + plain), `service "stripe": scheme: "ftp" is neither https nor http; leave it out for https`},
		{"a client certificate in clear text", one(`"host": "a.example.com:8080", "scheme": "http", "auth": {"type": "mtls", "certificate": "CERT", "private_key": "KEY"}`), `service "stripe": auth mtls: over http there is no connection to show a certificate on`},
		{"clear text without a port", one(`"host": "a.example.com", "scheme": "http", ` + plain), `service "stripe": scheme: clear-text http needs a port named in host, as in a.example.com:8080`},
		{"a method in lower case", one(`"host": "a.example.com", "rules": [{"methods": ["get"]}], ` + plain), `service "stripe": rules[0].methods: "get" is not a method in upper case; write GET`},
		{"a path that is none", one(`"host": "a.example.com", "rules": [{}, {"paths": ["v1"]}], ` + plain), `service "stripe": rules[1].paths: "v1": a path begins with /`},
		{"an action that is none", one(`"host": "a.example.com", "rules": [{"action": "maybe"}], ` + plain), `service "stripe": rules[0].action: "maybe" is neither allow, deny nor ask; leave it out to allow`},
		{"conditions of nothing", one(`"host": "a.example.com", "rules": [{"when": "  "}], ` + plain), `service "stripe": rules[0].when: a condition may not be empty`},
		{"two for one host", one(`"host": "FINE.example.com", ` + plain), `services "fine" and "stripe" cover the same requests (fine.example.com and fine.example.com); make one of them narrower, or join them`},
		{"two for one path", one(`"host": "a.example.com/v1/*", ` + plain + `}, {"name": "again", "host": "a.example.com/v1/*", ` + plain), `services "stripe" and "again" cover the same requests (a.example.com/v1/* and a.example.com/v1/*); make one of them narrower, or join them`},
	} {
		out, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, row.services))
		refused(t, row.name, vault.CodeBadRequest, row.want, err)
		if out != nil || strings.ContainsAny(row.want, "\n\r") {
			t.Errorf("%s: %v came back beside the refusal %q", row.name, out, row.want)
		}
	}
	diff(t, "the instance", before, f.snapshot(t))
}

func TestLocalNamesAreForDevelopment(t *testing.T) {
	development := newFixture(t, func(o *vault.Options) { o.Development = true })
	production := newFixture(t)
	for _, row := range []struct{ host, local string }{
		{"localhost", "localhost"},
		{"LOCALHOST:8080", "localhost"},
		{"db:5432/x/*", "db"},
		{"printer.local", "printer.local"},
		{"*.dev.localhost", "dev.localhost"},
		{"nas.home.arpa", "nas.home.arpa"},
		{"api.example.com", ""},
		{"local.example.com", ""},
		{"127.0.0.1:8080", ""}, // an address; the dial guard's affair
		{"[::1]:8080", ""},
	} {
		list := []vault.Service{passthrough(t, "service", row.host)}
		if _, err := development.SetServices(t.Context(), development.owner, mainVault, list); err != nil {
			t.Errorf("in development, %s: %v", row.host, err)
		}
		_, err := production.SetServices(t.Context(), production.owner, mainVault, list)
		if row.local == "" {
			must(t, err)
			continue
		}
		refused(t, row.host, vault.CodeBadRequest,
			fmt.Sprintf("service %q: host %q is a local name; only a server in development mode takes those", "service", row.local), err)
	}
}

// What is within bounds goes on to the store, which breaks here: 10,000 rows
// would take their time.
func TestBoundsOfServices(t *testing.T) {
	var s brokenStore
	f := newFixture(t, breaking(&s))
	many := make([]vault.Service, 10_001)
	sample := passthrough(t, "name", "host")
	for i := range many {
		many[i] = sample
		many[i].Name, many[i].Host = fmt.Sprintf("service-%d", i), fmt.Sprintf("h%d.example.com", i)
	}
	described := func(text string) []vault.Service {
		s := passthrough(t, "service", "a.example.com")
		s.Description = text
		return []vault.Service{s}
	}
	ruled := func(n int) []vault.Service {
		s := passthrough(t, "service", "a.example.com")
		s.Rules = slices.Repeat([]policy.Rule{{Methods: []string{"GET"}}}, n)
		return []vault.Service{s}
	}
	const description = `service "service": description: at most 500 characters of UTF-8 without control characters`
	for _, row := range []struct {
		name string
		give []vault.Service
		want string
	}{
		{"10,000 services", many[:10_000], ""},
		{"10,001 services", many, "a vault has at most 10000 services"},
		{"500 characters", described(strings.Repeat("ü", 500)), ""},
		{"501 characters", described(strings.Repeat("ü", 501)), description},
		{"not UTF-8", described("a\xff"), description},
		{"an escape sequence", described("\x1b[31m"), description},
		{"a C1 control character", described("a\u009bb"), description},
		{"lines and tabs", described("a\n\tb"), ""},
		{"200 rules", ruled(200), ""},
		{"201 rules", ruled(201), `service "service": rules: at most 200`},
	} {
		s.at, s.count = 1, 0
		_, err := f.SetServices(t.Context(), f.owner, mainVault, row.give)
		if row.want != "" {
			refused(t, row.name, vault.CodeBadRequest, row.want, err)
		} else if !errors.Is(err, errBroken) {
			t.Errorf("%s: %v, want it to reach the store", row.name, err)
		}
	}
}

func TestServiceAsJSON(t *testing.T) {
	for text, want := range map[string]vault.Service{
		`{}`:                            {Enabled: true},
		`{"enabled": false}`:            {},
		`{"enabled": true}`:             {Enabled: true},
		`{"name": "a", "rules": [{}]}`:  {Name: "a", Enabled: true, Rules: []policy.Rule{{}}},
		`{"host": "H", "scheme": "Ht"}`: {Host: "H", Scheme: "Ht", Enabled: true}, // nothing is mended yet
	} {
		var s vault.Service
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		diff(t, text, want, s)
	}
	for text, want := range map[string]string{
		`{"name": "stripe", "hosts": "a.b"}`:                             `service "stripe": it has no field "hosts"`,
		`{"token": "K", "name": "stripe"}`:                               `service "stripe": it has no field "token"`,
		`{"name": "stripe", "rules": [{"method": "GET"}]}`:               `service "stripe": it has no field "method"`,
		`{"name": "stripe", "enabled": "yes"}`:                           `service "stripe": enabled: it must be true or false, not a string`,
		`{"enabled": "yes", "name": "stripe"}`:                           `service "stripe": enabled: it must be true or false, not a string`,
		`{"name": "stripe", "rules": [{}, {"paths": "/v1"}]}`:            `service "stripe": rules[1].paths: it must be a list of strings, not a string`,
		`{"name": "stripe", "rules": [{"paths": ["/v1", 7]}]}`:           `service "stripe": rules[0].paths[1]: it must be a string, not a number`,
		`{"name": "stripe", "rules": {"paths": ["/v1"]}}`:                `service "stripe": rules: it must be a list, not an object`,
		`{"name": "stripe", "rules": ["GET"]}`:                           `service "stripe": rules[0]: it must be an object, not a string`,
		`{"name": "stripe", "limits": [{"budget": 500.0}]}`:              `service "stripe": limits[0].budget: it must be a string, not a number; an amount stands in quotes, as in "500.00"`,
		`{"name": "stripe", "rules": [{"limits": [{"requests": "1"}]}]}`: `service "stripe": rules[0].limits[0].requests: it must be a whole number, not a string`,
		`{"name": "stripe", "scrub": false}`:                             `service "stripe": scrub: it is "on" or "off", not a bool`,
		`{"name": "stripe", "expires_at": "2040-01-02"}`:                 `service "stripe": expires_at: it is a time like 2026-01-02T15:04:05Z; a date alone is none`,
		`{"name": "stripe", "expires_at": 7}`:                            `service "stripe": expires_at: it is a time like 2026-01-02T15:04:05Z; a date alone is none`,
		`{"auth": {"token": "K"}, "name": "stripe"}`:                     `service "stripe": auth: the field type is missing; it is one of ` + strings.Join(inject.Types(), ", "),
		`{"name": "stripe", "rules": [{"methods": "GET"}]}`:              `service "stripe": rules[0].methods: it must be a list of strings, not a string`,
		`{"name": "stripe", "auth": "bearer"}`:                           `service "stripe": auth: it must be an object like {"type": "bearer", "token": "API_KEY"}`,
		`{"name": "stripe", "auth": {"token": "K"}}`:                     `service "stripe": auth: the field type is missing; it is one of ` + strings.Join(inject.Types(), ", "),
	} {
		was := vault.Service{Name: "was there"}
		s := was
		if err := json.Unmarshal([]byte(text), &s); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
		diff(t, text+": the service after the refusal", was, s)
	}
}

// A service that was read, written and read again is the same, and canonical
// hosts stay as they are: what is stored can be given back.
func TestServicesCanBeGivenBack(t *testing.T) {
	f := newFixture(t)
	stored := f.get(t, mainVault).Services
	text, err := json.Marshal(stored)
	must(t, err)
	out, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, string(text)))
	must(t, err)
	diff(t, "services", stored, out)
}

// A rule that is there by mistake would allow everything.
func TestRulesThatAreNotMeant(t *testing.T) {
	for rules, want := range map[string]string{
		`null`:                         "", // clients send it
		`[{"methods": ["GET"]}, null]`: `service "abc": rules[1]: it is null, and would allow everything; write {} where that is meant`,
		`[{"when": ""}]`:               `service "abc": rules[0].when: it is empty; leave it out where there is no condition`,
		`[{"preset": ""}]`:             `service "abc": rules[0].preset: it is empty; leave it out where there is no condition`,
		`[{}]`:                         "",
		`[]`:                           "",
	} {
		var s vault.Service
		err := json.Unmarshal([]byte(`{"name": "abc", "host": "abc.example.com", "auth": {"type": "passthrough"}, "rules": `+rules+`}`), &s)
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && got != want {
			t.Errorf("%s: %v, want %s", rules, err, want)
		}
	}
}
