package vault_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/vault"
)

const payingServices = `[{"name": "pay", "host": "pay.example.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"},
	"limits": [{"requests": 100, "window": "1m"}],
	"substitutions": [{"placeholder": "account_placeholder_1", "credential": "STRIPE_KEY", "in": ["body", "query"]}],
	"rules": [
		{"methods": ["GET"], "preset": "read-only"},
		{"methods": ["POST"], "when": "json.amount < 500.0", "limits": [{"uses": 3}]},
		{"methods": ["POST"], "action": "ask"}]}]`

// What a check says of a request that is judged by more than its method and path.
func TestCheckPolicyKnowsConditions(t *testing.T) {
	f := newFixture(t)
	_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, payingServices))
	must(t, err)
	text := func(s string) *string { return &s }
	placeheld := "account_placeholder_1 in its body, query is replaced by STRIPE_KEY"
	for _, tt := range []struct {
		name, method string
		body         *string
		explanation  string
		then         []string
		steps        string
	}{
		{"read", "GET", nil, "allowed by the service pay, by its rule 0; it goes out with STRIPE_KEY (bearer)",
			[]string{"limit of the service: 100 requests in 1m", placeheld}, "service matches, rule 0 matches"},
		{"small", "POST", text(`{"amount": 1}`), "allowed by the service pay, by its rule 1; it goes out with STRIPE_KEY (bearer)",
			[]string{"limit of the service: 100 requests in 1m", "limit of its rule: 3 uses", placeheld}, "service matches, rule 0 other_method, rule 1 matches"},
		{"large", "POST", text(`{"amount": 1000}`), "a person is asked, says the service pay, by its rule 2; it goes out with STRIPE_KEY (bearer)",
			[]string{"limit of the service: 100 requests in 1m", "it waits until a person has allowed it", placeheld}, "service matches, rule 0 other_method, rule 1 condition_false, rule 2 matches"},
		{"no body", "POST", nil, "it depends: rule 1 of the service pay looks at the body", nil, "service matches, rule 0 other_method, rule 1 condition_unsure"},
		{"another method", "PUT", nil, "refused: no rule of the service pay allows it; on this path the service pay allows GET, POST", nil, "service matches, rule 0 other_method, rule 1 other_method, rule 2 other_method"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := f.CheckPolicy(t.Context(), f.owner, vault.PolicyQuestion{
				Vault: mainVault, Method: tt.method, URL: "pay.example.com/v1", Body: tt.body, Header: map[string][]string{"Content-Type": {"application/json"}},
			})
			must(t, err)
			if v.Explanation != tt.explanation {
				t.Errorf("explained as %q, want %q", v.Explanation, tt.explanation)
			}
			if diff := cmp.Diff(tt.then, v.Then); diff != "" {
				t.Errorf("then (-want +got):\n%s", diff)
			}
			var steps []string
			for _, s := range v.Steps {
				what := "service "
				if s.Rule >= 0 {
					what = "rule " + string(rune('0'+s.Rule)) + " "
				}
				steps = append(steps, what+s.Finding)
			}
			if got := strings.Join(steps, ", "); got != tt.steps {
				t.Errorf("steps %s, want %s", got, tt.steps)
			}
		})
	}
}
