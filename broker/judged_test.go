package broker_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/vault"
)

// What is taken out of a request on its way does not speak for it: conditions and
// budgets hold for what the upstream sees.
func TestConditionsOnWhatIsTakenOut(t *testing.T) {
	const placeholder = "__key_of_this_team__"
	seen := 0
	k := newKit(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen++ }), nil)
	for _, tt := range []struct {
		name, when, target string
		header             http.Header
		want               string
	}{
		{"met", `"x-dry-run" in headers`, "/", http.Header{"X-Dry-Run": {"1"}}, ""},
		{"a connection's fields that say nothing", `"x-dry-run" in headers`, "/", http.Header{"X-Dry-Run": {"1"}, "Connection": {"keep-alive, x-none"}, "Keep-Alive": {"5"}}, ""},
		{"a field of the connection", `"x-dry-run" in headers`, "/", http.Header{"X-Dry-Run": {"1"}, "Connection": {"close, x-dry-run"}}, broker.CodeConditionNotMet},
		{"the body's type", `json.amount < 500.0`, "/", http.Header{"Connection": {"Content-Type"}}, broker.CodeConditionNotMet},
		{"a field with the placeholder", `"x-dry-run" in headers`, "/", http.Header{"X-Dry-Run": {placeholder}}, broker.CodeConditionNotMet},
		{"a parameter with the placeholder", `"dry_run" in query`, "/?dry_run=" + placeholder, http.Header{}, broker.CodeConditionNotMet},
		{"the placeholder in its place", `"dry_run" in query`, "/?dry_run=1", http.Header{"Authorization": {"Bearer " + placeholder}}, ""},
		{"another rule then", `json.amount < 500.0`, "/?deny=" + placeholder, http.Header{}, broker.CodeConditionNotMet},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k.changeVault(t, func(v *vault.Vault) {
				more := v.Services[0]
				more.Name, more.Placeholder = "by-placeholder", placeholder
				v.Services = append(v.Services[:len(v.Services):len(v.Services)], more)
				for i := range v.Services {
					v.Services[i].Rules = []policy.Rule{{When: tt.when}}
				}
				if strings.Contains(tt.name, "another rule") {
					v.Services[len(v.Services)-1].Rules = []policy.Rule{{When: `"deny" in query`}, {When: tt.when}}
				}
			})
			seen = 0
			r := httptest.NewRequestWithContext(t.Context(), "POST", tt.target, strings.NewReader(`{"amount": 1}`))
			r.Header = tt.header
			r.Header.Set("Content-Type", "application/json")
			x := k.request(t, "example.com", tt.target)
			w := httptest.NewRecorder()
			k.Serve(w, r, x)
			if got := code(t, w); got != tt.want || (seen == 1) != (got == "") {
				t.Errorf("%d %s, and the upstream saw %d; want %q", w.Code, w.Body, seen, tt.want)
			}
		})
	}
}

// Nor do they count for budgets.
func TestBudgetsOfWhatIsTakenOut(t *testing.T) {
	k, _ := budgetKit(t, []policy.Limit{tenADay}, nil)
	if _, got, _ := k.spendAt(t, "example.com", "/pay", `{"amount":1}`, http.Header{"Content-Type": {"application/json"}, "Connection": {"content-type"}}); got != broker.CodeBadRequest {
		t.Errorf("%q, want %s", got, broker.CodeBadRequest)
	}
}
