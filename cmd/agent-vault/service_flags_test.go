package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy"
)

func TestRuleFlags(t *testing.T) {
	for s, want := range map[string]policy.Rule{
		"*":                                 {},
		"GET":                               {Methods: []string{"GET"}},
		"get,head":                          {Methods: []string{"GET", "HEAD"}},
		"/v1/*":                             {Paths: []string{"/v1/*"}},
		"* /v1/*":                           {Paths: []string{"/v1/*"}},
		"if read-only":                      {Preset: "read-only"},
		"POST /pay if json.amount < 500.0":  {Methods: []string{"POST"}, Paths: []string{"/pay"}, When: "json.amount < 500.0"},
		"* if business-hours Europe/Berlin": {Preset: "business-hours Europe/Berlin"},
		"/a if method == 'GET' || path == '/a if b'": {Paths: []string{"/a"}, When: "method == 'GET' || path == '/a if b'"},
		" GET  /v1/*  /v2/a,b":                       {Methods: []string{"GET"}, Paths: []string{"/v1/*", "/v2/a,b"}},
	} {
		var rules []policy.Rule
		for _, action := range []policy.Action{policy.ActionDeny, policy.ActionAllow} {
			if err := (&ruleFlag{&rules, action}).Set(s); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
		denied := want
		denied.Action = policy.ActionDeny
		if diff := cmp.Diff([]policy.Rule{denied, want}, rules); diff != "" {
			t.Errorf("%q (-want +got):\n%s", s, diff)
		}
	}
	for _, s := range []string{"", " ", "GET POST", "GET v1", "/v1 GET", "GET if", "GET if  "} {
		var rules []policy.Rule
		if err := (&ruleFlag{&rules, policy.ActionAllow}).Set(s); err == nil || len(rules) != 0 {
			t.Errorf("%q: %v, want an error", s, rules)
		}
	}
}

func TestParseServices(t *testing.T) {
	const one = `{"name": "a-b", "host": "A.example.com", "auth": {"type": "passthrough"}}`
	for _, file := range []string{one, "[" + one + "]", `{"services": [` + one + `]}`, "services:\n- " + one} {
		got, err := parseServices([]byte(file))
		if err != nil || len(got) != 1 || got[0].Name != "a-b" || got[0].Host != "a.example.com" || !got[0].Enabled || got[0].Auth.Type() != "passthrough" {
			t.Errorf("%s: %+v, %v", file, got, err)
		}
	}
	if got, err := parseServices([]byte("- {host: API.example.com, auth: {type: passthrough}}")); err != nil || len(got) != 1 || got[0].Name != "api-example-com" {
		t.Errorf("without a name: %+v, %v", got, err)
	}
	if got, err := parseServices([]byte("services: []")); err != nil || len(got) != 0 {
		t.Errorf("no services: %v, %v", got, err)
	}
	for file, want := range map[string]string{
		"":                                "it is empty",
		"vaults: []":                      "it declares whole vaults",
		"services:":                       `it must be a list of services, or a map with one under "services:"`,
		"services: {}":                    `it must be a list of services, or a map with one under "services:"`,
		"service: []":                     "there is no field service",
		"text":                            `it must be a list of services, or a map with one under "services:"`,
		"[text]":                          `it must be a list of services, or a map with one under "services:"`,
		"- {name: a-b, hosts: x}":         `service "a-b": it has no field "hosts"`,
		"- {name: a-b, host: x, auth: 1}": `service "a-b": auth: it must be an object`,
	} {
		if got, err := parseServices([]byte(file)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", file, got, err, want)
		}
	}
}

func TestValuesFrom(t *testing.T) {
	t.Setenv("TEST_VALUE", "value")
	keys := []string{"A_KEY", "B_KEY"}
	f := valueFlags{[]string{"A_KEY=env:TEST_VALUE", "B_KEY=-"}}
	got, err := f.read(piped(t, "piped\n"), keys)
	if diff := cmp.Diff(map[string]string{"A_KEY": "value", "B_KEY": "piped"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, specs := range [][]string{
		{"sk-live-3f9a"}, {"sk-live-3f9a=env:TEST_VALUE"}, {"A_KEY=sk-live-3f9a"}, {"A_KEY="}, {"C_KEY=env:TEST_VALUE"},
		{"A_KEY=env:TEST_VALUE", "A_KEY=env:TEST_VALUE"}, {"A_KEY=-", "B_KEY=-"}, {"A_KEY=env:TEST_NOT_SET"},
	} {
		std := piped(t, "piped\n")
		_, err := (&valueFlags{specs}).read(std, keys)
		var said bytes.Buffer
		if report(&said, err) == 0 || strings.Contains(said.String(), "sk-live") {
			t.Errorf("%q: %s", specs, &said)
		}
	}
}
