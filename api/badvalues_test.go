package api_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestBadValues: what has the right form and cannot be meant is refused with
// the field's name, repeats no value, and changes nothing. Proposals, invites
// and roles have tests of their own.
func TestBadValues(t *testing.T) {
	f, _, _ := filled(t)
	long := func(n int) string { return strings.Repeat("ä", n) }
	service := func(rest string) string { return `{"services":[{"name":"new",` + rest + `}]}` }
	const bearer = `"auth":{"type":"bearer","token":"A_KEY"}`
	const host = `"host":"new.test",`
	before := f.dump()
	for i, tt := range []struct{ route, place, body string }{
		{"POST /v1/auth/login", "unauthorized", `{"email":"nobody","password":"x"}`},
		{"POST /v1/auth/login", "unauthorized", `{"email":"` + ownerEmail + `","password":"` + strings.Repeat("a", 5000) + `"}`},
		{"POST /v1/auth/join", "password", `{"token":"x","password":"short"}`},
		{"POST /v1/auth/join", "password", `{"token":"x","password":"` + strings.Repeat("a", 1025) + `"}`},
		{"PUT /v1/auth/password", "password", `{"old_password":"` + ownerPassword + `","new_password":""}`},
		{"PUT /v1/auth/password", "password", `{"old_password":"` + ownerPassword + `","new_password":"` + strings.Repeat("a", 1025) + `"}`},

		{"POST /v1/vaults", "vault", `{}`}, {"POST /v1/vaults", "vault", `{"name":"ab"}`}, {"POST /v1/vaults", "vault", `{"name":"` + strings.Repeat("a", 65) + `"}`},
		{"POST /v1/vaults", "vault", `{"name":"../x"}`}, {"POST /v1/vaults", "vault", `{"name":"tab\there"}`}, {"POST /v1/vaults", "vault", `{"name":"é-vault"}`},
		{"POST /v1/agents", "agent", `{"name":"a\u202eb"}`}, {"PATCH /v1/agents/robot-one", "agent", `{"name":"A"}`},

		{"PUT " + servicesPath, "services", `{}`}, {"PUT " + servicesPath, "services", `{"services":null}`},
		{"PUT " + servicesPath, "host", service(bearer)}, {"PUT " + servicesPath, "host", service(`"host":"*",` + bearer)},
		{"PUT " + servicesPath, "host", service(`"host":"new.test:0",` + bearer)}, {"PUT " + servicesPath, "host", service(`"host":"new.test:65536",` + bearer)},
		{"PUT " + servicesPath, "host", service(`"host":"user@new.test",` + bearer)}, {"PUT " + servicesPath, "host", service(`"host":"new.test\n",` + bearer)},
		{"PUT " + servicesPath, "scheme", service(`"scheme":"ftp",` + host + bearer)}, {"PUT " + servicesPath, "description", service(`"description":"` + long(501) + `",` + host + bearer)},
		{"PUT " + servicesPath, "scrub", service(`"scrub":"no",` + host + bearer)}, {"PUT " + servicesPath, "undecodable", service(`"undecodable":"` + secretValue + `",` + host + bearer)},
		{"PUT " + servicesPath, "pins[0]", service(`"pins":["` + secretValue + `"],` + host + bearer)},
		{"PUT " + servicesPath, "upgrades[0]", service(`"upgrades":["` + secretValue + ` x"],` + host + bearer)},
		{"PUT " + servicesPath, "token", service(host + `"auth":{"type":"bearer","token":"a-value"}`)}, {"PUT " + servicesPath, "token", service(host + `"auth":{"type":"bearer"}`)},
		{"PUT " + servicesPath, "key", service(host + `"auth":{"type":"bearer","token":"A_KEY","key":"B_KEY"}`)}, {"PUT " + servicesPath, "type", service(host + `"auth":{"type":"nonsense"}`)},
		{"PUT " + servicesPath, "header", service(host + `"auth":{"type":"api-key","key":"A_KEY","header":"Host"}`)},
		{"PUT " + servicesPath, "method", service(host + bearer + `,"rules":[{"methods":["get"]}]`)}, {"PUT " + servicesPath, "path", service(host + bearer + `,"rules":[{"paths":["v1"]}]`)},
		{"PUT " + servicesPath, "action", service(host + bearer + `,"rules":[{"action":"perhaps"}]`)},
		{"PUT " + servicesPath, "rules", service(host + bearer + `,"rules":[` + strings.TrimSuffix(strings.Repeat(`{},`, 201), ",") + `]`)},
		{"PUT " + servicesPath, "services[0].rules[1]: it is null", service(host + bearer + `,"rules":[{},null]`)},
		{"PUT " + servicesPath, "services[0].rules[0]: when: it is empty", service(host + bearer + `,"rules":[{"when":""}]`)},
		{"PUT " + servicesPath, "services[0].rules[0]: preset: it is empty", service(host + bearer + `,"rules":[{"preset":""}]`)},
		{"POST /v1/policy/replay", "services", `{"vault":"default"}`}, {"POST /v1/policy/replay", "host", `{"vault":"default","services":[{"name":"new",` + bearer + `}]}`},
		{"POST /v1/policy/replay", "since", `{"vault":"default","services":[],"since":"yesterday"}`},

		{"POST /v1/credentials", "credentials", `{"vault":"default"}`}, {"POST /v1/credentials", "credentials", `{"vault":"default","credentials":{"` + secretValue + `":"x"}}`},
		{"POST /v1/credentials", "A_KEY", `{"vault":"default","credentials":{"A_KEY":" ` + secretValue + `"}}`}, {"POST /v1/credentials", "A_KEY", `{"vault":"default","credentials":{"A_KEY":"` + secretValue + `\t"}}`},
		{"POST /v1/credentials", "A_KEY", `{"vault":"default","credentials":{"A_KEY":"` + strings.Repeat("a", 64<<10+1) + `"}}`},
		{"POST /v1/apply", "vault", `{"vaults":[{}]}`}, {"POST /v1/apply", "unmatched_hosts", applied(`"unmatched_hosts":"Deny"`)},
		{"POST /v1/apply", "A_KEY", applied(`"credentials":{"A_KEY":"` + secretValue + `\n"}`)}, {"POST /v1/apply", "twice", `{"vaults":[{"name":"abc"},{"name":"abc"}]}`},

		{"POST /v1/sessions", "ttl_seconds", `{"vault":"default","ttl_seconds":299}`}, {"POST /v1/sessions", "ttl_seconds", `{"vault":"default","ttl_seconds":604801}`},
		{"POST /v1/sessions", "ttl_seconds", `{"vault":"default","ttl_seconds":-9223372036854775808}`},
		{"POST /v1/sessions", "label", `{"vault":"default","label":"` + long(101) + `"}`}, {"POST /v1/sessions", "label", `{"vault":"default","label":"two\nlines"}`},
		{"POST /v1/sessions", "label", `{"vault":"default","label":"a\u202eb"}`},

		{"GET /v1/logs?status=9xxx", "status", ""}, {"GET /v1/logs?status=99", "status", ""}, {"GET /v1/logs?host=a%20b", "host", ""}, {"GET /v1/hosts?host=*", "host", ""},
		{"GET /v1/logs?cursor=1", "cursor", ""}, {"GET /v1/logs?after=-1", "after", ""},
		{"GET /v1/policy/check" + q + "&method=GET&url=", "url", ""}, {"GET /v1/policy/check" + q + "&method=&url=https://api.test/", "method", ""},
		{"GET /v1/policy/check" + q + "&method=GET&url=ftp://api.test/", "url", ""}, {"GET /v1/policy/check" + q + "&method=GET&url=https://a%20b/", "url", ""},
	} {
		method, path, _ := strings.Cut(tt.route, " ")
		r := request(method, path, f.owner, tt.body)
		r.RemoteAddr = fmt.Sprintf("198.51.100.%d:1000", i%250) // sign-ins are limited
		a := f.do(r)
		status, code := 400, "bad_request"
		if tt.place == "unauthorized" {
			status, code, tt.place = 401, "unauthorized", "password"
		}
		if m := a.refused(t, status, code); !strings.Contains(m, tt.place) || strings.Contains(m, secretValue) || len(m) > 500 {
			t.Errorf("%s %.200s: %q does not name %s", tt.route, tt.body, m, tt.place)
		}
	}
	if after := f.dump(); after != before {
		t.Errorf("something changed:\n%s\nwas\n%s", after, before)
	}
}
