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

// A rule that limits what it lets through is not passed by a method in other words.
func TestOtherMethodsAreLimited(t *testing.T) {
	k, db := budgetKit(t, nil, []policy.Rule{
		{Methods: []string{"GET"}},
		{Methods: []string{"PATCH"}},
		{Methods: []string{"POST"}, Limits: []policy.Limit{tenADay, {Requests: 1, Window: "1h"}}},
	})
	send := func(method, target, other string) string {
		r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(`{"amount":1000}`))
		r.Header = http.Header{"Content-Type": {"application/json"}}
		if other != "" {
			r.Header.Set("X-Http-Method-Override", other)
		}
		w := httptest.NewRecorder()
		x := k.request(t, "example.com", target)
		k.Serve(w, r, x)
		return code(t, w)
	}
	for _, tt := range []struct{ method, target, other, want string }{
		{"GET", "/pay", "POST", broker.CodeMethodNotAllowed},
		{"GET", "/pay?_method=post", "", broker.CodeMethodNotAllowed},
		{"GET", "/pay", "PATCH", ""}, // nor is that limited
		{"POST", "/pay", "POST", broker.CodeBudgetExceeded},
	} {
		if got := send(tt.method, tt.target, tt.other); got != tt.want {
			t.Errorf("%s %s as %q: %q, want %q", tt.method, tt.target, tt.other, got, tt.want)
		}
	}
	if n := spent(t, db, "api", "amount"); n != 0 {
		t.Errorf("%d were spent", n)
	}
}

// However often a request names another method, conditions look at its body a few
// times only.
func TestManyOtherMethods(t *testing.T) {
	k := newKit(t, echo, nil)
	k.changeVault(t, func(v *vault.Vault) {
		v.Services[0].Rules = []policy.Rule{{When: "json.amount < 500.0 && method != 'X'"}}
	})
	body := `{"amount": 1, "list": [` + strings.TrimSuffix(strings.Repeat(`{"a":1},`, 40_000), ",") + `]}`
	send := func(other string) string {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(body))
		r.Header = http.Header{"Content-Type": {"application/json"}}
		if other != "" {
			r.Header.Set("X-Http-Method-Override", other)
		}
		w := httptest.NewRecorder()
		k.Serve(w, r, k.request(t, "example.com", "/"))
		return code(t, w)
	}
	for other, want := range map[string]string{"": "", strings.Repeat("put,", 4_000): "", "PUT,PATCH": "", "PUT,PATCH,A,B": broker.CodeBadRequest} {
		if got := send(other); got != want {
			t.Errorf("%.20s: %q, want %q", other, got, want)
		}
	}
}
