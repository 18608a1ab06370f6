package vault_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

func lasts(d time.Duration) *time.Duration { return &d }

// verdict is what would happen to a GET of the main vault.
func (f *fixture) verdict(t *testing.T, url string) vault.Verdict {
	t.Helper()
	v, err := f.CheckPolicy(t.Context(), f.owner, vault.PolicyQuestion{Vault: mainVault, Method: "GET", URL: url})
	must(t, err)
	return v
}

func TestServiceLasts(t *testing.T) {
	f := newFixture(t)
	end := f.now().UTC().Add(time.Hour).Truncate(time.Second)
	s, err := f.SetSwitches(t.Context(), f.owner, mainVault, "stripe", vault.SwitchChange{Lasts: lasts(time.Hour)})
	must(t, err)
	diff(t, "its end", end, s.ExpiresAt)
	check := func() vault.Verdict { return f.verdict(t, "https://api.stripe.com/v1/charges") }
	if v := check(); !v.Allowed {
		t.Errorf("refused before its end: %+v", v)
	}
	f.pass(time.Hour)
	f.refresh(t)
	if v := check(); v.Allowed || v.Fault != "forbidden" || !strings.Contains(v.Explanation, "; the service stripe did, and ended at "+end.Format(time.RFC3339)) {
		t.Errorf("%+v", v)
	}
	_, err = f.EnableService(t.Context(), f.owner, mainVault, "stripe", true)
	refused(t, "enabling what has ended", vault.CodeConflict, `the service "stripe" has ended; say how long it lasts now, or that it does for good`, err)
	s, err = f.SetSwitches(t.Context(), f.owner, mainVault, "stripe", vault.SwitchChange{Lasts: lasts(0)})
	must(t, err)
	diff(t, "for good", time.Time{}, s.ExpiresAt)
	if v := check(); !v.Allowed {
		t.Errorf("refused though it lasts for good: %+v", v)
	}
	for _, d := range []time.Duration{-1, vault.MaxLasts + 1} {
		_, err = f.SetSwitches(t.Context(), f.owner, mainVault, "stripe", vault.SwitchChange{Lasts: lasts(d)})
		refused(t, d.String(), vault.CodeBadRequest, "lasts: between 0, for good, and 366 days", err)
	}
}

// A person who approves says how long it is for. What has ended does not begin
// again because they did not.
func TestApprovalLasts(t *testing.T) {
	f := newFixture(t)
	n := githubProposal(t, "ghp_proposed")
	f.propose(t, f.agent, n)
	_, err := f.Approve(t.Context(), f.owner, mainVault, 1, vault.Approval{Digest: f.review(t, 1).Digest, Lasts: lasts(-1)})
	refused(t, "no time", vault.CodeBadRequest, "lasts: between 0, for good, and 366 days", err)
	_, err = f.Approve(t.Context(), f.owner, mainVault, 1, vault.Approval{Digest: f.review(t, 1).Digest, Lasts: lasts(time.Hour)})
	must(t, err)
	ends := func() map[string]time.Time {
		ends := make(map[string]time.Time)
		for _, s := range f.get(t, mainVault).Services {
			if !s.ExpiresAt.IsZero() {
				ends[s.Name] = s.ExpiresAt
			}
		}
		return ends
	}
	end := f.now().UTC().Add(time.Hour).Truncate(time.Second)
	diff(t, "ends", map[string]time.Time{n.Services[0].Name: end}, ends())

	f.pass(time.Hour)
	f.refresh(t)
	n.Services[0].Description = "again"
	f.propose(t, f.agent, n)
	shown := f.review(t, 2)
	diff(t, "the end that the person is shown", end, shown.Changes[0].After.ExpiresAt)
	if len(shown.Opened) == 0 || !slices.ContainsFunc(shown.Warnings, func(w string) bool { return strings.Contains(w, "allowing it lets requests through again") }) {
		t.Errorf("opened %q, warnings %q", shown.Opened, shown.Warnings)
	}
	_, err = f.Approve(t.Context(), f.owner, mainVault, 2, vault.Approval{Digest: shown.Digest})
	refused(t, "without a time", vault.CodeBadRequest, "lasts: the service "+n.Services[0].Name+" has ended; say how long it lasts now", err)
	_, err = f.Approve(t.Context(), f.owner, mainVault, 2, vault.Approval{Digest: shown.Digest, Lasts: lasts(0)})
	must(t, err)
	diff(t, "ends", map[string]time.Time{}, ends())
}

// When a rule ends is spelled in one way; a rule that denies does not end.
func TestRuleLasts(t *testing.T) {
	f := newFixture(t)
	set := func(rule string) ([]vault.Service, error) {
		return f.SetServices(t.Context(), f.owner, mainVault, services(t, `[{"name": "api", "host": "api.example.com", "auth": {"type": "passthrough"}, "rules": [`+rule+`]}]`))
	}
	for rule, want := range map[string]string{
		`{"expires_at": "tomorrow"}`:                                     `service "api": rules[0].expires_at: it is a time like 2026-01-02T15:04:05Z`,
		`{"action": "deny", "expires_at": "2026-01-02T15:04:05Z"}`:       `service "api": rules[0].expires_at: a rule that denies does not end`,
		`{}, {"limits": [{"budget": "5", "window": "1h"}]}`:              `service "api": rules[1].limits[0]: field: it names a field of JSON, as in amount or order.total, of letters, digits, - and _`,
		`{"action": "deny", "limits": [{"requests": 5, "window":"1h"}]}`: `service "api": rules[0].limits: a rule that denies lets nothing through that could be limited`,
	} {
		_, err := set(rule)
		refused(t, rule, vault.CodeBadRequest, want, err)
	}
	end := f.now().Add(time.Hour).UTC().Truncate(time.Second)
	stored, err := set(`{"expires_at": "` + end.In(time.FixedZone("", 3600)).Format(time.RFC3339) + `"}`)
	must(t, err)
	diff(t, "its end", end.Format(time.RFC3339), stored[0].Rules[0].ExpiresAt)
	check := func() vault.Verdict { return f.verdict(t, "https://api.example.com/") }
	if v := check(); !v.Allowed {
		t.Errorf("refused before its end: %+v", v)
	}
	f.pass(time.Hour)
	f.refresh(t)
	if v := check(); v.Allowed || v.Fault != "path_not_allowed" || v.Steps[len(v.Steps)-1].Finding != "ended" {
		t.Errorf("after its end: %+v", v)
	}
}
