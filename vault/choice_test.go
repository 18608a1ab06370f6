package vault_test

import (
	"fmt"
	"strings"
	"testing"

	"agentvault/vault"
)

// bearer spells services of one host, with other fields behind each.
func bearers(t *testing.T, fields ...string) []vault.Service {
	t.Helper()
	var all []string
	for i, more := range fields {
		all = append(all, fmt.Sprintf(`{"name": "s0%d", "host": "api.example.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}%s}`, i, more))
	}
	return services(t, "["+strings.Join(all, ",")+"]")
}

func TestServicesOfOneHostAreChecked(t *testing.T) {
	f := newFixture(t)
	for _, row := range []struct {
		fields []string
		want   string
	}{
		{[]string{``, `, "agents": ["robot"]`, `, "placeholder": "dummy"`, `, "placeholder": "__the_other_key__"`}, ""},
		{[]string{`, "agents": ["robot", "other", "robot"]`, `, "agents": ["third"]`}, ""},
		{[]string{`, "agents": ["robot"]`, `, "agents": ["other", "robot"]`}, `services "s00" and "s01" cover the same requests (api.example.com and api.example.com); make one of them narrower, or join them`},
		{[]string{`, "agents": []`}, `service "s00": agents: an empty list would be for nobody; leave it out for everybody`},
		{[]string{`, "agents": ["No One"]`}, `service "s00": agents[0]: agent "No One": a name has 3 to 64 characters of a-z, 0-9 and -`},
		{[]string{`, "placeholder": "short_one"`}, `service "s00": placeholder: a placeholder has 16 to 200 characters`},
		{[]string{`, "placeholder": "__the_other_key__"`, `, "substitutions": [{"placeholder": "__the_other_key__", "credential": "OTHER", "in": ["body"]}]`}, `service "s01": its placeholder __the_other_key__ stands for STRIPE_KEY in the service "s00"`},
	} {
		_, err := f.SetServices(t.Context(), f.owner, mainVault, bearers(t, row.fields...))
		if got := words(err); got != row.want {
			t.Errorf("%q:\n got %q\nwant %q", row.fields, got, row.want)
		}
	}
	none := services(t, `[{"name": "open", "host": "a.example.com", "auth": {"type": "passthrough"}, "placeholder": "__the_other_key__"}]`)
	_, err := f.SetServices(t.Context(), f.owner, mainVault, none)
	refused(t, "without a credential", vault.CodeBadRequest, `service "open": placeholder: the service's auth has no credential, so that there is nothing to choose`, err)
}

// policy check knows who asks, and what stands where clients put a key.
func TestCheckPolicyChooses(t *testing.T) {
	f := newFixture(t)
	_, err := f.SetServices(t.Context(), f.owner, mainVault, bearers(t, ``, `, "agents": ["robot"]`, `, "placeholder": "dummy"`))
	must(t, err)
	dummy, err := f.Dummy(t.Context(), f.owner, mainVault, "STRIPE_KEY")
	must(t, err)
	for _, row := range []struct {
		agent, sent, want string
	}{
		{"", "", "s00"}, {"robot", "", "s01"}, {"robot", dummy, "s02"}, {"", "Bearer " + dummy, "s02"}, {"", "Bearer else", "s00"},
	} {
		v, err := f.CheckPolicy(t.Context(), f.owner, vault.PolicyQuestion{
			Vault: mainVault, Method: "GET", URL: "api.example.com/", Agent: row.agent, Header: map[string][]string{"Authorization": {row.sent}},
		})
		must(t, err)
		if v.Service != row.want || !v.Allowed {
			t.Errorf("agent %q with %q: %s, %s; want %s", row.agent, row.sent, v.Service, v.Explanation, row.want)
		}
	}
	d, err := f.Discover(t.Context(), f.session, "")
	must(t, err)
	if len(d.Services) != 2 || d.Services[1].Placeholder != dummy {
		t.Errorf("a session discovers %+v", d.Services)
	}
}

// A service stays an agent's when that is renamed, and when an agent proposes it on
// another host.
func TestServicesOfAnAgent(t *testing.T) {
	f := newFixture(t)
	_, err := f.SetServices(t.Context(), f.owner, mainVault, bearers(t, ``, `, "agents": ["robot", "zorro"]`))
	must(t, err)
	change := vault.ServiceChange{Action: vault.ActionSet, Name: "s01", Host: "other.example.com", Auth: &bearers(t, ``)[0].Auth}
	p, err := f.Propose(t.Context(), f.agent, mainVault, vault.NewProposal{Services: []vault.ServiceChange{change}})
	must(t, err)
	rv, err := f.Review(t.Context(), f.owner, mainVault, p.Number)
	must(t, err)
	diff(t, "agents of what is proposed", []string{"robot", "zorro"}, rv.Changes[0].After.Agents)

	_, err = f.RenameAgent(t.Context(), f.owner, "robot", "zzz-top")
	must(t, err)
	diff(t, "agents", []string{"zorro", "zzz-top"}, f.get(t, mainVault).Services[1].Agents)
	if !vault.PersonOnly("agents") {
		t.Error("agents can propose whose a service is")
	}
	text := vault.SwitchWarnings(&f.get(t, mainVault).Services[1], bearers(t, ``)[0])
	diff(t, "warnings", []string{"service s00 would be for every agent, and was for zorro, zzz-top only"}, text)
}
