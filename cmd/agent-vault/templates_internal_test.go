package main

import (
	"strings"
	"testing"
)

func TestTemplates(t *testing.T) {
	const top = `
services:
  - {name: github, host: api.github.com, auth: {type: bearer, token: GITHUB_TOKEN}, rules: [{methods: [GET]}]}
  - {name: stripe, host: api.stripe.com, auth: {type: bearer, token: STRIPE_KEY}}
`
	d, err := parseDeclaration([]byte(top + `
vaults:
  - {name: one, services: [{use: github}, {use: stripe, name: stripe-test, auth: {type: bearer, token: STRIPE_TEST}}]}
  - {name: two, services: [{use: github, rules: [], enabled: false}, {name: own, host: own.example.com, auth: {type: passthrough}}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range d.Vaults {
		for _, s := range v.Services {
			auth, _ := s.Auth.MarshalJSON() // of one that was read
			got = append(got, v.Name+" "+s.Name+" "+s.Host+" "+string(auth)+" "+counted(len(s.Rules), "rule")+map[bool]string{false: " disabled"}[s.Enabled])
		}
	}
	want := []string{
		`one github api.github.com {"token":"GITHUB_TOKEN","type":"bearer"} 1 rule`,
		`one stripe-test api.stripe.com {"token":"STRIPE_TEST","type":"bearer"} 0 rules`,
		`two github api.github.com {"token":"GITHUB_TOKEN","type":"bearer"} 0 rules disabled`,
		`two own own.example.com {"type":"passthrough"} 0 rules`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	if _, err := parseDeclaration([]byte(`{services: [{name: one, rules: [{}]}, {name: two, auth: {type: passthrough}}], vaults: [{name: one}]}`)); err != nil {
		t.Errorf("what a vault would add to services that none uses yet: %v", err)
	}
	for declared, want := range map[string]string{
		top + `vaults: [{name: one, services: [{name: own, host: own.example.com, auth: {type: passthrough}}, {use: gitlab}]}]`: `vaults[0].services[1].use: there is no service "gitlab" at the top of the declaration`,
		top + `vaults: [{name: one, services: [{use: [github]}]}]`:                                                              `vaults[0].services[0].use: there is no service "" at the top of the declaration`,
		`{services: {github: {}}, vaults: [{name: one}]}`:                                                                       `services: it is a list of services, for vaults to use`,
		`{services: [{host: a.test}], vaults: [{name: one}]}`:                                                                   `services[0].name: it is missing; vaults use the service by it`,
		`{services: [{name: one}, {name: one}], vaults: [{name: one}]}`:                                                         `services[1].name: "one" stands there twice`,
		`{services: [{name: one, use: two}], vaults: [{name: one}]}`:                                                            `services[0].use: only the services of a vault use others`,
		`{services: [{name: one, hosts: a.test}], vaults: [{name: one}]}`:                                                       `services: service "one": it has no field "hosts"`,
		`{services: [{name: one, rules: [{methods: [get]}]}], vaults: [{name: one}]}`:                                           `services: service "one": rules[0].methods: "get" is not a method in upper case; write GET`,
		`{services: [{name: one, rules: [null]}], vaults: [{name: one}]}`:                                                       `services: service "one": rules[0]: it is null, and would allow everything; write {} where that is meant`,
		`{services: [{name: one, auth: {type: bearer}}], vaults: [{name: one}]}`:                                                `services: service "one": auth bearer: field token is missing; it names a credential key, as in API_KEY`,
		`{services: [{name: one, limits: [{requests: 1}]}], vaults: [{name: one}]}`:                                             `services: service "one": limits[0]: window: requests needs one from 1s to 744h in whole seconds, as in 1h30m`,
		`{services: [{name: one, scrub: "no"}], vaults: [{name: one}]}`:                                                         `services: service "one": scrub: it is neither on nor off`,
		top: `it declares no vaults; the first line of one is "vaults:", and a list follows`,
	} {
		if _, err := parseDeclaration([]byte(declared)); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", declared, err, want)
		}
	}
}
