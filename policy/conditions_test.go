package policy_test

import (
	"strings"
	"testing"

	"agentvault/policy"
	"agentvault/policy/when"
)

// Rules with conditions are decided in order, as others are. One that cannot be
// evaluated matters only where the outcome depends on it.
func TestConditions(t *testing.T) {
	const small, big, broken = `{"amount": 10}`, `{"amount": 1000}`, `{"amount": `
	below := policy.Rule{Methods: []string{"POST"}, When: "json.amount < 500.0"}
	deny := policy.Rule{When: "json.amount >= 500.0", Action: policy.ActionDeny}
	ask := policy.Rule{When: "json.amount >= 500.0", Action: policy.ActionAsk}
	all := policy.Rule{}
	const unread = "unread"

	for _, tt := range []struct {
		name         string
		rules        []policy.Rule
		method, body string
		verdict      policy.Verdict
		why          policy.Reason
		at           int
	}{
		{"met", []policy.Rule{below}, "POST", small, policy.Allow, policy.Allowed, 0},
		{"not met", []policy.Rule{below}, "POST", big, policy.Deny, policy.ConditionNotMet, 0},
		{"cannot be told", []policy.Rule{below}, "POST", broken, policy.Deny, policy.ConditionNotMet, 0},
		{"the body is needed", []policy.Rule{below}, "POST", unread, policy.Deny, policy.BodyNeeded, 0},
		{"another method", []policy.Rule{below}, "GET", unread, policy.Deny, policy.MethodNotAllowed, -1},
		{"not met, and allowed otherwise", []policy.Rule{below, all}, "POST", big, policy.Allow, policy.Allowed, 1},
		{"cannot be told, and allowed either way", []policy.Rule{below, all}, "POST", broken, policy.Allow, policy.Allowed, 1},
		{"denied", []policy.Rule{deny, all}, "POST", big, policy.Deny, policy.ConditionNotMet, 0},
		{"not denied", []policy.Rule{deny, all}, "POST", small, policy.Allow, policy.Allowed, 1},
		{"perhaps denied", []policy.Rule{deny, all}, "POST", broken, policy.Deny, policy.ConditionNotMet, 0},
		{"denied at the end", []policy.Rule{deny}, "POST", small, policy.Deny, policy.PathNotAllowed, -1},
		{"asked", []policy.Rule{ask, all}, "POST", big, policy.Ask, policy.Allowed, 0},
		{"not asked", []policy.Rule{ask, all}, "POST", small, policy.Allow, policy.Allowed, 1},
		{"perhaps asked", []policy.Rule{ask, all}, "POST", broken, policy.Deny, policy.ConditionNotMet, 0},
		{"asked without a condition", []policy.Rule{{Action: policy.ActionAsk}}, "POST", unread, policy.Ask, policy.Allowed, 0},
		{"a preset", []policy.Rule{{Preset: "read-only"}}, "GET", unread, policy.Allow, policy.Allowed, 0},
		{"a preset and a condition", []policy.Rule{{Preset: "read-only", When: "path == '/v2'"}}, "GET", unread, policy.Deny, policy.ConditionNotMet, 0},
		{"what is known decides", []policy.Rule{{When: "method == 'GET' || json.amount < 500.0"}}, "GET", unread, policy.Allow, policy.Allowed, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := compile(t, policy.Service{Name: "pay", Host: "pay.example.com", Enabled: true, Rules: tt.rules})
			in := &when.Input{Method: tt.method, Path: "/v1", Header: map[string][]string{"Content-Type": {"application/json"}}}
			if tt.body != unread {
				in.Body, in.BodyState = []byte(tt.body), when.BodyWhole
			}
			q := policy.Query{Scheme: "https", Host: "pay.example.com", Port: 443, Method: tt.method, Path: "/v1", Input: in}
			want := policy.Decision{Verdict: tt.verdict, Reason: tt.why, Service: 0, Rule: tt.at}
			if got := set.Decide(q); got != want {
				t.Errorf("got %+v (%v), want %+v (%v)", got, got.Reason, want, want.Reason)
			}
			q.Input = nil
			if got := set.Decide(q); got.Verdict != policy.Deny && got != want {
				t.Errorf("without anything to look at it is %+v (%v)", got, got.Reason)
			}
		})
	}
}

// A service whose conditions look at paths takes no path that could be read in two
// ways (R13); others do.
func TestConditionsOnPaths(t *testing.T) {
	for expr, want := range map[string]policy.Reason{
		"path.startsWith('/a')": policy.PathAmbiguous,
		"method == 'GET'":       policy.Allowed,
	} {
		set := compile(t, policy.Service{Name: "abc", Host: "abc.example.com", Enabled: true, Rules: []policy.Rule{{When: expr}}})
		q := policy.Query{Scheme: "https", Host: "abc.example.com", Port: 443, Method: "GET", Path: "/a/../b", Input: &when.Input{Method: "GET", Path: "/a/../b"}}
		if got := set.Decide(q).Reason; got != want {
			t.Errorf("%s: %v, want %v", expr, got, want)
		}
	}
}

func TestCompileRefusesConditions(t *testing.T) {
	for _, tt := range []struct {
		rule policy.Rule
		want string
	}{
		{policy.Rule{When: "method =="}, `service "abc": rules[0].when: `},
		{policy.Rule{When: "1 + 1"}, `service "abc": rules[0].when: `},
		{policy.Rule{Preset: "read-only!"}, `service "abc": rules[0].preset: `},
	} {
		_, err := policy.Compile([]policy.Service{{Name: "abc", Host: "abc.example.com", Rules: []policy.Rule{tt.rule}}})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s…", tt.rule, err, tt.want)
		}
	}
}
