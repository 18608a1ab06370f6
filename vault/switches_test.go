package vault_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/policy"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// Two pins, in the order in which they are stored.
const (
	pinA = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	pinB = "sha256/d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM="
)

// the fields of a service that is a passthrough to a host.
func withSwitches(name, host, fields string) string {
	return fmt.Sprintf(`{"name": %q, "host": %q, "auth": {"type": "passthrough"}%s}`, name, host, fields)
}

func TestSwitchesAreStoredInOneSpelling(t *testing.T) {
	f := newFixture(t)
	for _, row := range []struct{ fields, want string }{
		{``, ``},
		{`, "scrub": "on", "undecodable": "refuse", "pins": []`, ``},
		{`, "scrub": "off", "undecodable": "pass"`, `,"scrub":"off","undecodable":"pass"`},
		{`, "upgrades": ["TCP", "SPDY/3.1", "tcp"]`, `,"upgrades":["spdy/3.1","tcp"]`},
		{`, "pins": ["` + pinB + `", "` + pinA + `", "` + pinB + `"]`, `,"pins":["` + pinA + `","` + pinB + `"]`},
	} {
		given := services(t, `[`+withSwitches("pinned", "a.example.com", row.fields)+`]`)
		asGiven := slices.Clone(given[0].Pins)
		out, err := f.SetServices(t.Context(), f.owner, mainVault, given)
		must(t, err)
		text, err := json.Marshal(f.get(t, mainVault).Services[0])
		must(t, err)
		if want := `{"name":"pinned","host":"a.example.com","enabled":true,"auth":{"type":"passthrough"}` + row.want + `}`; string(text) != want {
			t.Errorf("%s is stored as %s, want %s", row.fields, text, want)
		}
		diff(t, "the answer to "+row.fields, f.get(t, mainVault).Services, out)
		diff(t, "what the caller holds", asGiven, given[0].Pins)
	}
}

func TestSwitchesThatAreNone(t *testing.T) {
	f := newFixture(t)
	before := f.snapshot(t)
	const pin = ": a pin is sha256/ and the base64 of the SHA-256 of a public key's SubjectPublicKeyInfo, 44 characters that end with ="
	const upgrade = ": an upgrade is the name of a protocol, perhaps with a version, as in spdy/3.1"
	many := make([]string, 21)
	for i := range many {
		many[i] = vault.PinOf([]byte{byte(i)})
	}
	manyJSON, err := json.Marshal(many)
	must(t, err)
	for _, row := range []struct{ fields, want string }{
		{`, "scrub": "Off"`, "scrub: it is neither on nor off"},
		{`, "scrub": "pass"`, "scrub: it is neither on nor off"},
		{`, "undecodable": "ignore"`, "undecodable: it is neither refuse nor pass"},
		{`, "pins": [""]`, "pins[0]" + pin},
		{`, "pins": ["` + pinA + `", "sha1/AAAAAAAAAAAAAAAAAAAAAAAAAAA="]`, "pins[1]" + pin},
		{`, "pins": ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAA="]`, "pins[0]" + pin},
		{`, "pins": ["` + strings.TrimSuffix(pinA, "=") + `"]`, "pins[0]" + pin},
		{`, "pins": ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="]`, "pins[0]" + pin}, // bits behind the end
		{`, "pins": ["sha256/AAAAAAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAAAAAA="]`, "pins[0]" + pin},
		{`, "pins": ["` + strings.ReplaceAll(vault.PinOf([]byte{5}), "+", "-") + `x"]`, "pins[0]" + pin},
		{`, "pins": ` + string(manyJSON), "pins: at most 20"},
		{`, "upgrades": [""]`, "upgrades[0]" + upgrade},
		{`, "upgrades": ["tcp", "spdy/"]`, "upgrades[1]" + upgrade},
		{`, "upgrades": ["spdy/3/1"]`, "upgrades[0]" + upgrade},
		{`, "upgrades": ["tcp, spdy"]`, "upgrades[0]" + upgrade},
		{`, "upgrades": ["` + strings.Repeat("x", 65) + `"]`, "upgrades[0]" + upgrade},
		{`, "upgrades": ["WebSocket"]`, "upgrades[0]: websocket always passes, and is searched"},
		{`, "upgrades": ["h2c"]`, "upgrades[0]: h2c would carry requests that nobody decides on"},
		{`, "upgrades": ["HTTP/2.0"]`, "upgrades[0]: http would carry requests that nobody decides on"},
		{`, "upgrades": ["TLS/1.3"]`, "upgrades[0]: tls would carry requests that nobody decides on"},
		{`, "upgrades": ["none", "tcp"]`, "upgrades[0]: none is no protocol; a service without upgrades has an empty list"},
		{`, "upgrades": ["a","b","c","d","e","f","g","h","i","j","k"]`, "upgrades: at most 10"},
	} {
		_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, `[`+withSwitches("pinned", "a.example.com", row.fields)+`]`))
		refused(t, row.fields, vault.CodeBadRequest, `service "pinned": `+row.want, err)
	}
	_, err = f.SetServices(t.Context(), f.owner, mainVault, services(t, `[`+withSwitches("pinned", "a.example.com:8080", `, "scheme": "http", "pins": ["`+pinA+`"]`)+`]`))
	refused(t, "pins over http", vault.CodeBadRequest, `service "pinned": pins: over http there is no certificate to hold against them`, err)
	diff(t, "the instance", before, f.snapshot(t))
}

func TestSetSwitches(t *testing.T) {
	f := newFixture(t)
	text := func(s string) *string { return &s }
	for _, row := range []struct {
		change vault.SwitchChange
		want   vault.Switches
	}{
		{vault.SwitchChange{Scrub: text("off")}, vault.Switches{Scrub: "off"}},
		{vault.SwitchChange{Pins: []string{pinB, pinA}}, vault.Switches{Scrub: "off", Pins: []string{pinA, pinB}}},
		{vault.SwitchChange{Scrub: text("on"), Undecodable: text("pass")}, vault.Switches{Undecodable: "pass", Pins: []string{pinA, pinB}}},
		{vault.SwitchChange{Upgrades: []string{"TCP"}}, vault.Switches{Undecodable: "pass", Pins: []string{pinA, pinB}, Upgrades: []string{"tcp"}}},
		{vault.SwitchChange{Undecodable: text("refuse"), Pins: []string{}, Upgrades: []string{}}, vault.Switches{}},
	} {
		s, err := f.SetSwitches(t.Context(), f.owner, mainVault, "stripe", row.change)
		must(t, err)
		diff(t, "the answer", row.want, s.Switches)
		diff(t, "what is stored", row.want, f.get(t, mainVault).Services[0].Switches)
	}
	before := f.snapshot(t)
	_, err := f.SetSwitches(t.Context(), f.owner, mainVault, "stripe", vault.SwitchChange{})
	refused(t, "nothing", vault.CodeBadRequest, "scrub, undecodable, pins, upgrades, limits or lasts: give at least one", err)
	_, err = f.SetSwitches(t.Context(), f.owner, mainVault, "stripe", vault.SwitchChange{Scrub: text("")})
	must(t, err)
	_, err = f.SetSwitches(t.Context(), f.owner, mainVault, "stripe", vault.SwitchChange{Scrub: text("no")})
	refused(t, "nonsense", vault.CodeBadRequest, `service "stripe": scrub: it is neither on nor off`, err)
	_, err = f.SetSwitches(t.Context(), f.owner, mainVault, "other", vault.SwitchChange{Scrub: text("off")})
	wantCode(t, "no such service", vault.CodeNotFound, err)
	diff(t, "the services", before.Vaults, f.snapshot(t).Vaults)
}

// What a proposal makes of the switches that a person has set.
func TestSwitchesUnderAProposal(t *testing.T) {
	const there = `, "scrub": "off", "undecodable": "pass", "upgrades": ["tcp"], "pins": ["` + pinA + `"]`
	set := func(name, host string) string {
		return fmt.Sprintf(`{"action": "set", "name": %q, "host": %q, "description": "new", "auth": {"type": "passthrough"}}`, name, host)
	}
	for _, row := range []struct {
		name, proposed string
		service        string         // looked at afterwards
		want           vault.Switches // that it has then
		warnings       []string       // about the switches
	}{
		{"the same host", set("pinned", "a.example.com"), "pinned", vault.Switches{Scrub: "off", Undecodable: "pass", Upgrades: []string{"tcp"}, Pins: []string{pinA}}, []string{
			"service pinned stays without scrubbing, as a person has set it: what it carries then, a.example.com can send back to the agent",
			"service pinned goes on passing answers that cannot be searched, as a person has set it",
			"service pinned goes on letting tcp through unsearched, as a person has set it",
		}},
		{"another host", set("pinned", "b.example.com"), "pinned", vault.Switches{}, []string{
			"service pinned moves, and would be scrubbed like any other: what a person turned off for a.example.com does not go along",
			"service pinned moves, and the pins of a.example.com do not go along",
		}},
		{"the same host, a path of it", set("pinned", "a.example.com/v1/*"), "pinned", vault.Switches{Pins: []string{pinA}}, []string{
			"service pinned moves, and would be scrubbed like any other: what a person turned off for a.example.com does not go along",
			"service pinned is for a host with pins, and would have them too",
		}},
		{"the port spelled out", set("pinned", "a.example.com:443"), "pinned", vault.Switches{Pins: []string{pinA}}, []string{
			"service pinned moves, and would be scrubbed like any other: what a person turned off for a.example.com does not go along",
			"service pinned is for a host with pins, and would have them too",
			"service pinned moves: pinned, by a.example.com:443, would decide about a.example.com",
		}},
		{"another port", set("pinned", "a.example.com:8443"), "pinned", vault.Switches{}, []string{
			"service pinned moves, and would be scrubbed like any other: what a person turned off for a.example.com does not go along",
			"service pinned moves, and the pins of a.example.com do not go along",
		}},
		{"another service for a path of the host", set("another", "a.example.com/v1/*"), "another", vault.Switches{Pins: []string{pinA}}, []string{
			"service another is for a host with pins, and would have them too",
		}},
		{"another service in the place of it", `{"action": "delete", "name": "pinned"}, ` + set("another", "a.example.com"), "another", vault.Switches{Pins: []string{pinA}}, []string{
			"service pinned goes, and the pins of a.example.com with it: what is put there later has none",
			"service another is for a host with pins, and would have them too",
			"service pinned goes: another, by a.example.com, would decide about a.example.com",
		}},
		{"the host goes to another service", set("pinned", "b.example.com") + `, ` + set("another", "a.example.com"), "another", vault.Switches{Pins: []string{pinA}}, []string{
			"service pinned moves, and would be scrubbed like any other: what a person turned off for a.example.com does not go along",
			"service pinned moves, and the pins of a.example.com do not go along",
			"service another is for a host with pins, and would have them too",
			"service pinned moves: another, by a.example.com, would decide about a.example.com",
		}},
		{"a host below a wildcard with pins", set("another", "x.wild.example.com"), "another", vault.Switches{Pins: []string{pinB}}, []string{
			"service another is for a host with pins, and would have them too",
		}},
		{"a host two labels below it", set("another", "y.x.wild.example.com"), "another", vault.Switches{}, nil},
		{"a pinned host goes to a wildcard", `{"action": "delete", "name": "pinned"}, ` + set("another", "*.example.com"), "another", vault.Switches{}, []string{
			"service pinned goes, and the pins of a.example.com with it: what is put there later has none",
			"service pinned goes: another, by *.example.com, would decide about a.example.com, without its pins",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, `[`+withSwitches("pinned", "a.example.com", there)+`, `+
				withSwitches("wild", "*.wild.example.com", `, "scrub": "off", "pins": ["`+pinB+`"]`)+`]`))
			must(t, err)
			f.propose(t, f.agent, newProposal(t, `[`+row.proposed+`]`, `[]`))
			rv := f.review(t, 1)
			about := slices.DeleteFunc(slices.Clone(rv.Warnings), func(w string) bool {
				return strings.HasPrefix(w, "service another is for every host") || w == "service pinned moves from a.example.com to b.example.com" ||
					strings.HasPrefix(w, "service pinned moves from")
			})
			diff(t, "warnings", row.warnings, about)
			for _, d := range rv.Changes {
				if d.Name == row.service {
					diff(t, "what the person is shown", row.want, d.After.Switches)
				}
			}
			_, err = f.approve(t, 1, nil)
			must(t, err)
			for _, s := range f.get(t, mainVault).Services {
				if s.Name == row.service {
					diff(t, "what is stored", row.want, s.Switches)
				}
			}
		})
	}
}

// A person who looks at a review, and switches something meanwhile, has not
// approved what comes of it (R16).
func TestAnApprovalIsBoundToTheSwitches(t *testing.T) {
	f := newFixture(t)
	f.propose(t, f.agent, githubProposal(t, "ghp_proposed"))
	rv := f.review(t, 1)
	off := vault.ScrubOff
	_, err := f.SetSwitches(t.Context(), f.owner, mainVault, "stripe", vault.SwitchChange{Scrub: &off})
	must(t, err)
	_, err = f.Approve(t.Context(), f.owner, mainVault, 1, vault.Approval{Digest: rv.Digest})
	wantCode(t, "the old digest", vault.CodeProposalChanged, err)
}

func TestSwitchWarnings(t *testing.T) {
	one := func(host string, s vault.Switches) *vault.Service {
		return &vault.Service{Name: "api", Host: host, Switches: s}
	}
	loose := vault.Switches{Scrub: vault.ScrubOff, Undecodable: vault.UndecodablePass}
	const unscrubbed = "service api is not scrubbed: if a.example.com sends a credential back, the agent reads it"
	const passes = "service api passes answers that cannot be searched: a credential in one of a.example.com reaches the agent"
	for _, row := range []struct {
		name          string
		before, after *vault.Service
		want          []string
	}{
		{"a new one", nil, one("a.example.com", loose), []string{unscrubbed, passes}},
		{"a new one, strict", nil, one("a.example.com", vault.Switches{Pins: []string{pinA}}), nil},
		{"turned off", one("a.example.com", vault.Switches{}), one("a.example.com", loose), []string{unscrubbed, passes}},
		{"off already", one("a.example.com", loose), one("a.example.com", loose), nil},
		{"off elsewhere", one("b.example.com", loose), one("a.example.com", loose), []string{unscrubbed, passes}},
		{"turned on", one("a.example.com", loose), one("a.example.com", vault.Switches{}), nil},
		{"an upgrade more", one("a.example.com", vault.Switches{Upgrades: []string{"tcp"}}), one("a.example.com", vault.Switches{Upgrades: []string{"spdy/3.1", "tcp"}}), []string{
			"service api lets spdy/3.1 through: what comes back in it is not searched, so a credential in it reaches the agent"}},
		{"a pin less", one("a.example.com", vault.Switches{Pins: []string{pinA, pinB}}), one("a.example.com", vault.Switches{Pins: []string{pinB}}), []string{"service api loses pins: " + pinA}},
	} {
		diff(t, row.name, row.want, vault.SwitchWarnings(row.before, *row.after))
	}
}

const tooShort = ": the value is shorter than 8 bytes, so it cannot be found in answers and kept from agents; give a longer one, or allow it with allow_short (--allow-short)"

// A value that cannot be found in answers is taken where a person says so, and
// is seen to be one.
func TestShortValues(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(f *fixture, value string, allow bool) error
	}{
		{"SetCredentials", func(f *fixture, value string, allow bool) error {
			_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values("A_KEY", value), allow)
			return err
		}},
		{"AddServices", func(f *fixture, value string, allow bool) error {
			_, err := f.AddServices(t.Context(), f.owner, mainVault, []vault.Service{passthrough(t, "new", "new.example.com")}, values("A_KEY", value), allow)
			return err
		}},
		{"Apply", func(f *fixture, value string, allow bool) error {
			d := declare(vault.VaultDeclaration{Name: mainVault, Credentials: values("A_KEY", value)})
			d.AllowShort = allow
			_, err := f.Apply(t.Context(), f.owner, d)
			return err
		}},
		{"Approve", func(f *fixture, value string, allow bool) error {
			p := f.propose(t, f.agent, slot("A_KEY"))
			_, err := f.Approve(t.Context(), f.owner, mainVault, p.Number, vault.Approval{Digest: f.review(t, p.Number).Digest, Values: values("A_KEY", value), AllowShort: allow})
			return err
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			refused(t, "7 bytes", vault.CodeBadRequest, "credential A_KEY"+tooShort, row.set(f, "1234567", false))
			if _, there := f.get(t, mainVault).Credentials["A_KEY"]; there {
				t.Error("it is stored all the same")
			}
			must(t, row.set(f, "1234567", true))
			if !f.get(t, mainVault).Credentials["A_KEY"].Short() {
				t.Error("a value of 7 bytes is not short")
			}
		})
		t.Run(row.name+", 8 bytes", func(t *testing.T) {
			f := newFixture(t)
			must(t, row.set(f, "12345678", false))
			if f.get(t, mainVault).Credentials["A_KEY"].Short() {
				t.Error("a value of 8 bytes is short")
			}
		})
	}
}

// What is there already stays: applying the same again changes nothing, and an
// earlier value can come back.
func TestShortValuesThatAreThere(t *testing.T) {
	f := newFixture(t)
	_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values("A_KEY", "short"), true)
	must(t, err)
	d := declare(vault.VaultDeclaration{Name: mainVault, Credentials: values("A_KEY", "short")})
	changes, err := f.Apply(t.Context(), f.owner, d)
	must(t, err)
	diff(t, "changes", []vault.Change{{Vault: mainVault, Kind: "vault", Name: mainVault, Action: vault.Unchanged}, {Vault: mainVault, Kind: "credential", Name: "A_KEY", Action: vault.Unchanged}}, changes)
	f.set(t, "A_KEY", "a longer value")
	kept, err := f.CredentialVersions(t.Context(), f.owner, mainVault, "A_KEY")
	must(t, err)
	if len(kept) != 1 || !kept[0].Short() {
		t.Errorf("earlier values are %v, want one that is short", kept)
	}
	back, err := f.RollBackCredential(t.Context(), f.owner, mainVault, "A_KEY", 0)
	must(t, err)
	if !back.Short() {
		t.Error("the value that came back is not short")
	}
}

// An agent cannot give a short value, whoever would approve it. Nor could one
// that came before this was so be approved without a word.
func TestShortValuesOfProposals(t *testing.T) {
	f := newFixture(t)
	n := slot("A_KEY")
	n.Values = values("A_KEY", "1234567")
	for _, c := range []vault.Caller{f.agent, f.session, f.owner} {
		_, err := f.Propose(t.Context(), c, mainVault, n)
		refused(t, "a short value", vault.CodeBadRequest, "credentials[0]: value: the value of A_KEY is shorter than 8 bytes, so an answer that gives it back could not be scrubbed; leave it out, so that a person can give one", err)
	}
	n.Values = values("A_KEY", "12345678")
	p := f.propose(t, f.agent, n)
	v := f.get(t, mainVault)
	_, err := f.db.Write(t.Context(), func(tx vault.Tx) error {
		old, err := tx.ProposalByNumber(v.ID, p.Number)
		must(t, err)
		old.Credentials[0].Box = nil
		must(t, tx.PutProposal(old))
		old.Credentials[0].Box, err = f.key.ForVault(v.ID).Seal(seal.Context{Vault: v.ID, Credential: "A_KEY", Field: "proposed value " + p.ID, Version: 1}, seal.NewPlaintext([]byte("1234567")))
		must(t, err)
		return tx.PutProposal(old)
	})
	must(t, err)
	approval := vault.Approval{Digest: f.review(t, p.Number).Digest}
	_, err = f.Approve(t.Context(), f.owner, mainVault, p.Number, approval)
	refused(t, "one from before", vault.CodeBadRequest, "credential A_KEY"+tooShort, err)
	approval.AllowShort = true
	_, err = f.Approve(t.Context(), f.owner, mainVault, p.Number, approval)
	must(t, err)
}

// A person is told where a service that an agent asks for would go around limits.
func TestWarningsOfLimits(t *testing.T) {
	f := newFixture(t)
	_, err := f.SetSwitches(t.Context(), f.owner, mainVault, "stripe", vault.SwitchChange{Limits: []policy.Limit{{Requests: 1, Window: "1m"}}})
	must(t, err)
	host := f.get(t, mainVault).Services[0].Host
	for change, want := range map[string]string{
		`{"action": "set", "name": "aside", "host": "` + host + `/v2/*", "auth": {"type": "passthrough"}}`: "service aside has no limits, and is for the host of the service stripe, which has some",
		`{"action": "set", "name": "stripe", "host": "api.example.com", "auth": {"type": "passthrough"}}`:  "service stripe moves, and its limits do not go along",
	} {
		var c vault.ServiceChange
		if err := json.Unmarshal([]byte(change), &c); err != nil {
			t.Fatal(err)
		}
		p, err := f.Propose(t.Context(), f.agent, mainVault, vault.NewProposal{Services: []vault.ServiceChange{c}})
		must(t, err)
		rv, err := f.Review(t.Context(), f.owner, mainVault, p.Number)
		must(t, err)
		if !slices.Contains(rv.Warnings, want) {
			t.Errorf("%s: %q, want %q among them", change, rv.Warnings, want)
		}
	}
}

// What has ended before it is saved is warned of, once.
func TestEndWarnings(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	spelled := func(t time.Time) string { return t.Format(time.RFC3339) }
	ended := vault.Service{Name: "api", Switches: vault.Switches{ExpiresAt: past}, Rules: []policy.Rule{
		{ExpiresAt: spelled(future)}, {}, {ExpiresAt: spelled(past)},
	}}
	diff(t, "new", []string{
		"service api has ended already, at 2026-01-02T02:04:05Z: it decides nothing",
		"service api: rules[2] has ended already, at 2026-01-02T02:04:05Z: it matches nothing",
	}, vault.EndWarnings(nil, ended, now))
	diff(t, "as it was", []string(nil), vault.EndWarnings(&ended, ended, now))
	diff(t, "when it still lasted", []string(nil), vault.EndWarnings(nil, ended, past.Add(-time.Minute)))
}
