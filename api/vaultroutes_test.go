package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/api"
	"agentvault/vault"
)

func TestChangingAVault(t *testing.T) {
	f, session, _ := filled(t)
	f.post("/v1/vaults", f.owner, api.NameRequest{Name: "team-a"}).want(t, 201)
	change := func(name, body string) reply { return f.send("PATCH", "/v1/vaults/"+name, f.owner, body) }
	before := f.dump()
	for body, place := range map[string]string{
		`{}`: "name or unmatched_hosts",
		`{"name":"a-b-c","unmatched_hosts":"deny"}`: "name and unmatched_hosts",
		`{"name":"No"}`:               "vault",
		`{"name":""}`:                 "vault",
		`{"unmatched_hosts":"allow"}`: "unmatched_hosts",
		`{"unmatched_hosts":""}`:      "unmatched_hosts",
	} {
		if m := change("default", body).refused(t, 400, "bad_request"); !strings.Contains(m, place) {
			t.Errorf("%s: %q does not name %s", body, m, place)
		}
	}
	change("default", `{"name":"team-a"}`).refused(t, 409, "conflict")
	change("none", `{"name":"team-c"}`).refused(t, 404, "vault_not_found")
	if after := f.dump(); after != before {
		t.Error("something changed")
	}
	var v api.VaultInfo
	change("default", `{"unmatched_hosts":"tunnel"}`).into(t, 200, &v)
	if v.UnmatchedHosts != "tunnel" || v.Name != "default" {
		t.Errorf("%+v", v)
	}
	change("default", `{"name":"renamed"}`).into(t, 200, &v)
	if v.Name != "renamed" || len(v.Services) != 1 || len(v.Credentials) != 1 {
		t.Errorf("%+v", v)
	}
	var d vault.Discovery
	f.send("GET", "/discover", session, "").into(t, 200, &d)
	if d.Vault != "renamed" {
		t.Errorf("%+v", d)
	}
	f.send("GET", inDefault, f.owner, "").refused(t, 404, "vault_not_found")
}

func TestServiceRoutes(t *testing.T) {
	f, _, _ := filled(t)
	const body = `{"services":[{"name":"new","host":"new.test","auth":{"type":"passthrough"}},{"name":"newer","host":"newer.test","auth":{"type":"basic","username":"API_KEY"}}]}`
	var l api.ServiceList
	f.send("POST", servicesPath, f.owner, body).into(t, 201, &l)
	if len(l.Services) != 2 || l.Services[0].Name != "new" || !l.Services[0].Enabled {
		t.Errorf("%+v", l)
	}
	before := f.dump()
	f.send("POST", servicesPath, f.owner, body).refused(t, 409, "conflict")
	f.send("POST", servicesPath, f.owner, `{"services":[]}`).refused(t, 400, "bad_request")
	f.send("POST", servicesPath, f.owner, `{"services":[{"name":"again","host":"api.test","auth":{"type":"passthrough"}},{"name":"bad","host":"*","auth":{"type":"passthrough"}}]}`).refused(t, 400, "bad_request")
	if after := f.dump(); after != before {
		t.Error("something changed")
	}
	var s vault.Service
	f.send("GET", servicesPath+"/newer", f.owner, "").into(t, 200, &s)
	if s.Host != "newer.test" || s.Auth.Type() != "basic" {
		t.Errorf("%+v", s)
	}
	for _, enabled := range []string{"false", "true"} {
		f.send("PATCH", servicesPath+"/newer", f.owner, `{"enabled":`+enabled+`}`).into(t, 200, &s)
		if s.Enabled != (enabled == "true") {
			t.Errorf("%+v", s)
		}
	}
	for _, row := range []struct {
		body string
		want vault.Switches
	}{
		{`{"scrub":"off","undecodable":"pass"}`, vault.Switches{Scrub: "off", Undecodable: "pass"}},
		{`{"pins":["` + somePin + `"]}`, vault.Switches{Scrub: "off", Undecodable: "pass", Pins: []string{somePin}}},
		{`{"upgrades":["SPDY/3.1"]}`, vault.Switches{Scrub: "off", Undecodable: "pass", Pins: []string{somePin}, Upgrades: []string{"spdy/3.1"}}},
		{`{"scrub":"on","undecodable":"refuse","pins":[],"upgrades":[]}`, vault.Switches{}},
	} {
		s = vault.Service{}
		f.send("PATCH", servicesPath+"/newer", f.owner, row.body).into(t, 200, &s)
		if diff := cmp.Diff(row.want, s.Switches); diff != "" {
			t.Errorf("%s: %s", row.body, diff)
		}
	}
	for body, place := range map[string]string{
		`{}`: "enabled, scrub, undecodable, pins, upgrades, limits or lasts_seconds", `{"enabled":true,"scrub":"off"}`: "enabled", `{"pins":null}`: "give one", `{"scrub":true}`: "scrub",
		`{"scrub":"no"}`: "scrub", `{"undecodable":"drop"}`: "undecodable", `{"pins":["x"]}`: "pins[0]", `{"upgrades":["h2c"]}`: "upgrades[0]", `{"pins":"` + somePin + `"}`: "pins",
		`{"lasts_seconds":-1}`: "lasts", `{"lasts_seconds":31622401}`: "lasts", `{"lasts_seconds":9223372036854775807}`: "lasts", `{"lasts_seconds":1.5}`: "lasts_seconds",
	} {
		if m := f.send("PATCH", servicesPath+"/newer", f.owner, body).refused(t, 400, "bad_request"); !strings.Contains(m, place) {
			t.Errorf("%s: %q does not name %s", body, m, place)
		}
	}
	f.send("DELETE", servicesPath+"/newer", f.owner, "").want(t, 200)
	for _, method := range []string{"GET", "DELETE"} {
		f.send(method, servicesPath+"/newer", f.owner, "").refused(t, 404, "not_found")
		f.send(method, "/v1/vaults/none/services/newer", f.owner, "").refused(t, 404, "vault_not_found")
	}
	f.send("PATCH", servicesPath+"/newer", f.owner, `{"enabled":true}`).refused(t, 404, "not_found")
}

// somePin is the pin of no key.
const somePin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// A value that answers are not searched for is taken where a person says so, and
// stands out in lists.
func TestShortValues(t *testing.T) {
	f := newFixture(t)
	const body = `{"vault":"default","credentials":{"A_KEY":"1234567","B_KEY":"12345678"}`
	if m := f.send("POST", "/v1/credentials", f.owner, body+`}`).refused(t, 400, "bad_request"); !strings.Contains(m, "A_KEY") || !strings.Contains(m, "allow_short") || strings.Contains(m, "1234567") {
		t.Errorf("%q", m)
	}
	f.send("POST", "/v1/credentials", f.owner, body+`,"allow_short":true}`).want(t, 200)
	list := f.send("GET", "/v1/credentials"+q, f.owner, "")
	list.want(t, 200)
	if got := strings.Count(list.body, `"short":true`); got != 1 || !strings.Contains(list.body, `{"key":"A_KEY","version":1,"short":true,`) {
		t.Errorf("%s", list.body)
	}
	f.send("POST", "/v1/credentials", f.owner, `{"vault":"default","credentials":{"A_KEY":"a longer one"}}`).want(t, 200)
	var kept api.VersionList
	f.send("GET", "/v1/credentials/A_KEY/versions"+q, f.owner, "").into(t, 200, &kept)
	if len(kept.Versions) != 1 || !kept.Versions[0].Short {
		t.Errorf("%+v", kept)
	}
	f.send("POST", "/v1/apply", f.owner, applied(`"credentials":{"C_KEY":"short"}`)).refused(t, 400, "bad_request")
	allowed := strings.TrimSuffix(applied(`"credentials":{"C_KEY":"short"}`), "}") + `,"allow_short":true}`
	f.send("POST", "/v1/apply", f.owner, allowed).want(t, 200)
	const entry = `{"entry":"github","credentials":{"GITHUB_TOKEN":"short"}`
	f.send("POST", "/v1/vaults/default/catalog", f.owner, entry+`}`).refused(t, 400, "bad_request")
	f.send("POST", "/v1/vaults/default/catalog", f.owner, entry+`,"allow_short":true}`).want(t, 201)
}

func TestShortValuesAtApproval(t *testing.T) {
	f, session, _ := filled(t)
	f.propose(session, "new", "NEW_KEY", "")
	r := api.ApproveRequest{Digest: f.review(1).Digest, Credentials: map[string]string{"NEW_KEY": "1234567"}}
	if m := f.approve(1, r).refused(t, 400, "bad_request"); !strings.Contains(m, "NEW_KEY") || !strings.Contains(m, "allow_short") || strings.Contains(m, "1234567") {
		t.Errorf("%q", m)
	}
	r.AllowShort = true
	f.approve(1, r).want(t, 200)
}

func TestVersions(t *testing.T) {
	f := newFixture(t)
	set := func(value string) {
		t.Helper()
		f.post("/v1/credentials", f.owner, api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{"API_KEY": value}}).want(t, 200)
	}
	start := f.clock.now()
	for _, value := range []string{"the first", "the second", "the third"} {
		set(value)
		f.clock.move(time.Minute)
	}
	var l api.VersionList
	f.send("GET", theKey+"/versions"+q, f.owner, "").into(t, 200, &l)
	want := []api.VersionInfo{
		{Version: 2, CreatedAt: start.Add(time.Minute), RetiredAt: start.Add(2 * time.Minute)},
		{Version: 1, CreatedAt: start, RetiredAt: start.Add(time.Minute)},
	}
	if diff := cmp.Diff(want, l.Versions); diff != "" {
		t.Error(diff)
	}
	rollBack := func(body string) reply { return f.send("POST", theKey+"/rollback", f.owner, body) }
	var c api.CredentialInfo
	rollBack(`{"vault":"default","version":1}`).into(t, 200, &c)
	if diff := cmp.Diff(api.CredentialInfo{Key: "API_KEY", Version: 4, CreatedAt: start, UpdatedAt: f.clock.now()}, c); diff != "" {
		t.Error(diff)
	}
	// It is the first value now: to set that again changes nothing.
	var changes api.ApplyResponse
	f.send("POST", "/v1/apply", f.owner, applied(`"credentials":{"API_KEY":"the first"}`)).into(t, 200, &changes)
	if changes.Changes[1].Action != vault.Unchanged {
		t.Errorf("%+v", changes)
	}
	rollBack(`{"vault":"default"}`).want(t, 200)
	f.send("POST", "/v1/apply", f.owner, applied(`"credentials":{"API_KEY":"the third"}`)).into(t, 200, &changes)
	if changes.Changes[1].Action != vault.Unchanged {
		t.Errorf("%+v", changes)
	}
	before := f.dump()
	for body, code := range map[string]string{
		`{"vault":"default","version":99}`: "not_found", `{"vault":"default","version":-1}`: "not_found", `{"vault":"none"}`: "vault_not_found",
	} {
		rollBack(body).refused(t, 404, code)
	}
	f.send("POST", "/v1/credentials/NO_KEY/rollback", f.owner, `{"vault":"default"}`).refused(t, 404, "credential_not_found")
	f.send("GET", "/v1/credentials/NO_KEY/versions"+q, f.owner, "").refused(t, 404, "credential_not_found")
	if after := f.dump(); after != before {
		t.Error("something changed")
	}
}

func TestCatalog(t *testing.T) {
	f := newFixture(t)
	var all, found api.CatalogList
	f.send("GET", "/v1/catalog", "", "").into(t, 200, &all)
	f.send("GET", "/v1/catalog?search=ATLASSIAN", "", "").into(t, 200, &found)
	if len(all.Entries) < 40 || len(found.Entries) == 0 || found.Entries[0].Tenant == "" || len(found.Entries[0].Hosts) == 0 {
		t.Errorf("%d entries, %+v", len(all.Entries), found)
	}
	if a := f.send("GET", "/v1/catalog?search=no-such-thing", "", ""); a.body != `{"entries":[]}`+"\n" {
		t.Errorf("%s", a.body)
	}
	if m := f.send("GET", "/v1/catalog/githib", "", "").refused(t, 404, "not_found"); !strings.Contains(m, "did you mean github?") {
		t.Errorf("%q", m)
	}
	add := func(body string) reply { return f.send("POST", inDefault+"/catalog", f.owner, body) }
	before := f.dump()
	for body, place := range map[string]string{
		`{"entry":"atlassian"}`:                                        "tenant",
		`{"entry":"atlassian","tenant":"a.b"}`:                         "tenant",
		`{"entry":"atlassian","tenant":"*"}`:                           "tenant",
		`{"entry":"github","tenant":"acme"}`:                           "tenant",
		`{"entry":"github","credentials":{"OTHER":"x"}}`:               "credentials",
		`{"entry":"github","credentials":{"` + secretValue + `":"x"}}`: "credentials",
	} {
		if m := add(body).refused(t, 400, "bad_request"); !strings.Contains(m, place) || strings.Contains(m, secretValue) {
			t.Errorf("%s: %q does not name %s", body, m, place)
		}
	}
	add(`{"entry":"none"}`).refused(t, 404, "not_found")
	f.send("POST", "/v1/vaults/none/catalog", f.owner, `{"entry":"github"}`).refused(t, 404, "vault_not_found")
	if after := f.dump(); after != before {
		t.Error("something changed")
	}

	entry := found.Entries[0]
	for _, e := range found.Entries {
		if e.Name == "atlassian" {
			entry = e
		}
	}
	var l api.ServiceList
	add(`{"entry":"`+entry.Name+`","tenant":"ACME"}`).into(t, 201, &l)
	if l.Services[0].Host != "acme.atlassian.net" {
		t.Errorf("%+v", l)
	}
	add(`{"entry":"`+entry.Name+`","tenant":"other"}`).refused(t, 409, "conflict") // the name is taken
	var one struct {
		Credentials []struct{ Key string }
	}
	f.send("GET", "/v1/catalog/github", "", "").into(t, 200, &one)
	add(`{"entry":"github","credentials":{"`+one.Credentials[0].Key+`":"`+secretValue+`"}}`).want(t, 201)
	var v api.VaultInfo
	f.send("GET", inDefault, f.owner, "").into(t, 200, &v)
	if diff := cmp.Diff([]string{one.Credentials[0].Key}, v.Credentials); diff != "" {
		t.Error(diff)
	}
}

// TestLeases: a session with a lease ends when nobody renews it.
func TestLeases(t *testing.T) {
	f := newFixture(t)
	var s api.SessionResponse
	f.send("POST", "/v1/sessions", f.owner, `{"vault":"default","label":"run","lease":true}`).into(t, 200, &s)
	if prefix, ok := vault.CheckToken(s.LeaseToken); !ok || prefix != vault.PrefixLease || s.LeaseSeconds != 45 {
		t.Errorf("%+v", s)
	}
	var l api.SessionList
	f.send("GET", "/v1/sessions"+q, f.owner, "").into(t, 200, &l)
	if len(l.Sessions) != 1 || !l.Sessions[0].Leased || l.Sessions[0].ID != s.ID {
		t.Errorf("%+v", l)
	}
	renew := func(token string) reply { return f.send("POST", "/v1/sessions/renew", token, "") }
	sweep := func() {
		t.Helper()
		if err := f.registry.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, token := range []string{"", s.Token, f.owner, vault.NewToken(vault.PrefixLease), s.LeaseToken + "x"} {
		renew(token).refused(t, 401, "unauthorized")
	}
	f.send("GET", "/discover", s.LeaseToken, "").refused(t, 401, "unauthorized") // it does nothing but renew
	for range 3 {
		f.clock.move(44 * time.Second)
		sweep()
		var i api.LeaseInfo
		renew(s.LeaseToken).into(t, 200, &i)
		if !i.EndsAt.Equal(f.clock.now().Add(45 * time.Second)) {
			t.Errorf("%+v", i)
		}
	}
	f.send("GET", "/discover", s.Token, "").want(t, 200)
	f.clock.move(45 * time.Second)
	sweep()
	f.send("GET", "/discover", s.Token, "").refused(t, 401, "unauthorized")
	renew(s.LeaseToken).refused(t, 401, "unauthorized")

	f.send("POST", "/v1/sessions", f.owner, `{"vault":"default","lease":true}`).into(t, 200, &s)
	f.send("DELETE", "/v1/sessions/self", s.Token, "").want(t, 200)
	renew(s.LeaseToken).refused(t, 401, "unauthorized")
}

// TestNarrowedAgent: an agent that may use some services is told of no other,
// nor of credentials that only others use.
func TestNarrowedAgent(t *testing.T) {
	f := newFixture(t)
	f.send("PUT", servicesPath, f.owner, `{"services":[
		{"name":"one","host":"one.test","auth":{"type":"bearer","token":"ONE_KEY"}},
		{"name":"two","host":"two.test","auth":{"type":"bearer","token":"TWO_KEY"}}]}`).want(t, 200)
	f.post("/v1/credentials", f.owner, api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{"ONE_KEY": secretValue, "TWO_KEY": secretValue, "UNUSED": secretValue}}).want(t, 200)
	var a api.AgentResponse
	f.send("POST", "/v1/agents", f.owner, `{"name":"robot","vaults":[{"vault_name":"default","vault_role":"admin","services":["two","two"]}]}`).into(t, 201, &a)
	told := func(services, keys []string) {
		t.Helper()
		var d vault.Discovery
		f.asking("GET", "/discover", a.Token, "").into(t, 200, &d)
		got := []string{}
		for _, s := range d.Services {
			got = append(got, s.Name)
		}
		if diff := cmp.Diff(services, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(keys, d.AvailableCredentials); diff != "" {
			t.Error(diff)
		}
	}
	grant := func(body string) (i api.AgentInfo) {
		t.Helper()
		f.send("PUT", "/v1/agents/robot/vaults/default", f.owner, body).into(t, 200, &i)
		return i
	}
	told([]string{"two"}, []string{"TWO_KEY"})
	if i := grant(`{"services":[]}`); len(i.Vaults) != 1 || i.Vaults[0].VaultRole != "proxy" || i.Vaults[0].Services == nil { // none, which is not all
		t.Errorf("%+v", i)
	}
	told([]string{}, []string{})
	grant(`{"vault_role":"proxy"}`)
	told([]string{"one", "two"}, []string{"ONE_KEY", "TWO_KEY", "UNUSED"})

	before := f.dump()
	for body, place := range map[string]string{`{"vault_role":"owner"}`: "vault_role", `{"vault_role":"Admin"}`: "vault_role"} {
		if m := f.send("PUT", "/v1/agents/robot/vaults/default", f.owner, body).refused(t, 400, "bad_request"); !strings.Contains(m, place) {
			t.Errorf("%q", m)
		}
	}
	f.send("PUT", "/v1/agents/robot/vaults/default", f.owner, `{"services":["none"]}`).refused(t, 404, "not_found")
	f.send("PUT", "/v1/agents/robot/vaults/none", f.owner, `{}`).refused(t, 404, "vault_not_found")
	f.send("PUT", "/v1/agents/none/vaults/default", f.owner, `{}`).refused(t, 404, "not_found")
	if after := f.dump(); after != before {
		t.Error("something changed")
	}

	// Narrowed by its listing, too.
	grant(`{"services":["one"]}`)
	var l api.AgentList
	f.send("GET", "/v1/agents", f.owner, "").into(t, 200, &l)
	want := []api.AgentVault{{VaultName: "default", VaultRole: "proxy", Services: []string{"one"}}}
	if diff := cmp.Diff(want, l.Agents[0].Vaults); diff != "" {
		t.Error(diff)
	}
	f.send("DELETE", "/v1/agents/robot/vaults/default", f.owner, "").want(t, 200)
	f.send("DELETE", "/v1/agents/robot/vaults/default", f.owner, "").refused(t, 404, "not_found")
	f.asking("GET", "/discover", a.Token, "").refused(t, 403, "vault_forbidden")
}

func TestAgentTokens(t *testing.T) {
	f := newFixture(t)
	var a, b api.AgentResponse
	f.send("POST", "/v1/agents", f.owner, `{"name":"robot","vaults":[{"vault_name":"default","vault_role":"proxy"}],"session_ttl_seconds":300}`).into(t, 201, &a)
	f.clock.move(299 * time.Second)
	f.asking("GET", "/discover", a.Token, "").want(t, 200)
	f.clock.move(time.Second)
	f.asking("GET", "/discover", a.Token, "").refused(t, 401, "unauthorized")
	f.send("POST", "/v1/agents/robot/rotate", f.owner, "").into(t, 200, &b) // lasts as long again
	f.asking("GET", "/discover", b.Token, "").want(t, 200)
	f.send("POST", "/v1/agents/robot/revoke", f.owner, "").want(t, 200)
	f.asking("GET", "/discover", b.Token, "").refused(t, 401, "unauthorized")
	f.send("POST", "/v1/agents", f.owner, `{"name":"other"}`).want(t, 201)
	f.send("PATCH", "/v1/agents/robot", f.owner, `{"name":"other"}`).refused(t, 409, "conflict")
	f.send("PATCH", "/v1/agents/robot", f.owner, `{"name":"No"}`).refused(t, 400, "bad_request")
	var i api.AgentInfo
	f.send("PATCH", "/v1/agents/robot", f.owner, `{"name":"renamed"}`).into(t, 200, &i)
	if i.Name != "renamed" || i.ExpiresAt == nil || len(i.Vaults) != 1 {
		t.Errorf("%+v", i)
	}
	f.send("PATCH", "/v1/agents/robot", f.owner, `{"name":"again"}`).refused(t, 404, "not_found")
}
