package policy_test

import (
	"math/rand/v2"
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
	case policy.Allowed, policy.BodyNeeded:
		return last.Service == d.Service && last.Rule == d.Rule && (last.Finding == policy.Matches) == (d.Reason == policy.Allowed)
	}
	for _, s := range steps { // a refusal: by a rule that was looked at, or by none
		if s.Service == d.Service && s.Rule == d.Rule {
			return true
		}
	}
	return d.Rule < 0 && last.Service == d.Service
}
