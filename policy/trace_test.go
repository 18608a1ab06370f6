package policy_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"agentvault/policy"
	"agentvault/policy/when"
)

// What a decision looked at ends with what decided.
func TestTraceAgreesWithDecide(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	conditions := []string{"", "method == 'GET'", "json.a == 1.0", "path == '/a'", "agent == 'x' || json.a == 1.0"}
	actions := []policy.Action{policy.ActionAllow, policy.ActionDeny, policy.ActionAsk}
	some := func(list ...string) []string { return list[:r.IntN(len(list)+1)] }
	for range 3000 {
		var services []policy.Service
		for i, host := range []string{"a.example.com", "*.example.com", "a.example.com/a*", "a.example.com:8443"} {
			s := policy.Service{Name: string(rune('a' + i)), Host: host, Enabled: r.IntN(8) > 0}
			for range r.IntN(4) {
				s.Rules = append(s.Rules, policy.Rule{Methods: some("GET", "POST"), Paths: some("/a*", "/b"), When: conditions[r.IntN(len(conditions))], Action: actions[r.IntN(len(actions))]})
			}
			if r.IntN(4) > 0 {
				services = append(services, s)
			}
		}
		set := compile(t, services...)
		q := policy.Query{Scheme: "https", Host: "a.example.com", Port: []uint16{443, 8443}[r.IntN(2)], Method: []string{"GET", "POST", "PUT"}[r.IntN(3)], Path: []string{"/a", "/b", "/a/../b"}[r.IntN(3)]}
		in := when.Input{Method: q.Method, Path: q.Path}
		if r.IntN(2) == 0 {
			in.Body, in.BodyState = []byte([]string{`{"a": 1}`, `{"a": 2}`, `x`}[r.IntN(3)]), when.BodyWhole
			in.Header = map[string][]string{"Content-Type": {"application/json"}}
		}
		q.Input = &in
		d, steps := set.Decide(q), set.Trace(q)
		for _, s := range steps {
			if (s.Finding == policy.Untold) != (s.Doubt != when.NoDoubt) {
				t.Fatalf("%+v: doubt %v", s, s.Doubt)
			}
		}
		if !agrees(d, steps) {
			t.Fatalf("%+v of %+v: decided %+v (%v), looked at %+v", q, services, d, d.Reason, steps)
		}
	}
}

// agrees reports whether steps lead to a decision.
func agrees(d policy.Decision, steps []policy.Step) bool {
	if len(steps) == 0 {
		return d.Reason == policy.NoService
	}
	last := steps[len(steps)-1]
	switch d.Reason {
	case policy.NoService:
		return last.Rule < 0 && (last.Finding == policy.OtherPort || last.Finding == policy.OtherPath)
	case policy.PathAmbiguous:
		return last.Finding == policy.TwoReadings
	case policy.ServiceDisabled:
		return last.Finding == policy.DisabledAnyway && last.Service == d.Service
	case policy.Allowed:
		return last.Service == d.Service && last.Rule == d.Rule && last.Finding == policy.Matches
	case policy.BodyNeeded: // the first that wants it; what comes behind is what could decide
		i := slices.IndexFunc(steps, func(s policy.Step) bool { return s.Finding == policy.WantsBody })
		return i >= 0 && steps[i].Rule == d.Rule && steps[i].Service == d.Service
	}
	for _, s := range steps { // a refusal: by a rule that was looked at, or by none
		if s.Service == d.Service && s.Rule == d.Rule {
			return true
		}
	}
	return d.Rule < 0 && last.Service == d.Service
}

// Without the body a trace goes on behind the rule that wants it, to whatever decides
// if that does not match.
func TestTraceWithoutTheBody(t *testing.T) {
	set := compile(t, policy.Service{Host: "a.example.com", Enabled: true, Rules: []policy.Rule{
		{When: "json.a == 1.0"},
		{When: "json.b == 1.0", Action: policy.ActionDeny},
		{When: "query.c == ['1']", Action: policy.ActionAsk},
		{},
	}})
	for query, want := range map[string][]policy.Finding{
		"c=1": {policy.Matches, policy.WantsBody, policy.WantsBody, policy.Matches},
		"c=2": {policy.Matches, policy.WantsBody, policy.WantsBody, policy.Unmet, policy.Matches},
		"":    {policy.Matches, policy.WantsBody, policy.WantsBody, policy.Untold},
	} {
		q := policy.Query{Scheme: "https", Host: "a.example.com", Port: 443, Method: "POST", Path: "/", Input: &when.Input{Method: "POST", RawQuery: query}}
		var got []policy.Finding
		for _, s := range set.Trace(q) {
			got = append(got, s.Finding)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
		if d := set.Decide(q); d.Reason != policy.BodyNeeded || d.Rule != 0 {
			t.Errorf("%q: %+v", query, d)
		}
	}
}

// Why a condition could not be told is known where that decided, and there only.
func TestDoubtOfDecision(t *testing.T) {
	set := compile(t, policy.Service{Host: "a.example.com", Enabled: true, Rules: []policy.Rule{
		{Methods: []string{"PUT"}, When: "method == 'PUT'", Action: policy.ActionDeny},
		{When: "json.a == 1.0", Preset: "no-delete"},
	}})
	for _, tt := range []struct {
		method, body string
		reason       policy.Reason
		want         when.Doubt
	}{
		{"POST", `{"a": 1}`, policy.Allowed, when.NoDoubt},
		{"POST", `{"a": 2}`, policy.ConditionNotMet, when.NoDoubt},
		{"POST", `{`, policy.ConditionNotMet, when.BodyNoJSON},
		{"POST", `{"a": 1, "a": 1}`, policy.ConditionNotMet, when.BodyTwins},
		{"DELETE", `{`, policy.ConditionNotMet, when.NoDoubt},
		{"PUT", `{`, policy.ConditionNotMet, when.NoDoubt},
	} {
		q := policy.Query{Scheme: "https", Host: "a.example.com", Port: 443, Method: tt.method, Path: "/", Input: &when.Input{
			Method: tt.method, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(tt.body), BodyState: when.BodyWhole,
		}}
		d := set.Decide(q)
		if got := set.Doubt(q, d); got != tt.want || d.Reason != tt.reason {
			t.Errorf("%s %s: %v, %v; want %v, %v", tt.method, tt.body, d.Reason, got, tt.reason, tt.want)
		}
	}
}
