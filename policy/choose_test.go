package policy_test

import (
	"strings"
	"testing"

	"agentvault/policy"
)

// Several services of one host, chosen by path, by placeholder and by agent, in
// this order.
func TestServicesOfOneHost(t *testing.T) {
	services := []policy.Service{
		{Name: "everybody", Host: "api.example.com"},
		{Name: "for-bob", Host: "api.example.com", Agents: []string{"bob"}},
		{Name: "for-carol", Host: "api.example.com", Agents: []string{"carol", "carla"}},
		{Name: "by-b", Host: "api.example.com", Placeholder: "b"},
		{Name: "by-b-for-bob", Host: "api.example.com", Placeholder: "b", Agents: []string{"bob"}},
		{Name: "by-c", Host: "api.example.com", Placeholder: "c"},
		{Name: "v1", Host: "api.example.com/v1/*"},
		{Name: "v1-for-bob", Host: "api.example.com/v1/*", Agents: []string{"bob"}},
		{Name: "only-bob", Host: "bob.example.com", Agents: []string{"bob"}},
		{Name: "wild", Host: "*.wild.example.com"},
		{Name: "only-bob-below", Host: "a.wild.example.com", Agents: []string{"bob"}},
	}
	for i := range services {
		services[i].Enabled = true
	}
	set, err := policy.Compile(services)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ host, path, agent, placeholder, want string }{
		{"api.example.com", "/", "", "", "everybody"},
		{"api.example.com", "/", "alice", "", "everybody"},
		{"api.example.com", "/", "bob", "", "for-bob"},
		{"api.example.com", "/", "carla", "", "for-carol"},
		{"api.example.com", "/", "alice", "b", "by-b"},
		{"api.example.com", "/", "bob", "b", "by-b-for-bob"},
		{"api.example.com", "/", "bob", "c", "by-c"},
		{"api.example.com", "/", "bob", "unknown", "for-bob"},
		{"api.example.com", "/v1/a", "alice", "b", "v1"},
		{"api.example.com", "/v1/a", "bob", "b", "v1-for-bob"},
		{"bob.example.com", "/", "bob", "", "only-bob"},
		{"bob.example.com", "/", "alice", "", ""},
		{"bob.example.com", "/", "", "", ""},
		{"a.wild.example.com", "/", "bob", "", "only-bob-below"},
		{"a.wild.example.com", "/", "alice", "", "wild"},
	} {
		q := policy.Query{Scheme: "https", Host: tt.host, Port: 443, Method: "GET", Path: tt.path, Agent: tt.agent, Placeholder: tt.placeholder}
		d, got := set.Decide(q), ""
		if d.Service >= 0 {
			got = services[d.Service].Name
		}
		if got != tt.want {
			t.Errorf("%s%s, agent %q, placeholder %q: %q, want %q", tt.host, tt.path, tt.agent, tt.placeholder, got, tt.want)
		}
		if d.Service < 0 && d.Reason != policy.NoService {
			t.Errorf("%+v: %s", tt, d.Reason)
		}
		if n := testing.AllocsPerRun(100, func() { set.Decide(q) }); n != 0 {
			t.Errorf("%+v: %v allocations", tt, n)
		}
		steps := set.Trace(q)
		if last := steps[len(steps)-1]; d.Service >= 0 && (last.Service != d.Service || last.Finding != policy.Matches) {
			t.Errorf("%+v: the trace ends with %+v", tt, last)
		}
	}
	if !set.Covers("https", "bob.example.com", 443) {
		t.Error("a host that has a service for some is open to a blind tunnel of others")
	}
}

func TestServicesThatShareRequests(t *testing.T) {
	service := func(name, placeholder string, agents ...string) policy.Service {
		return policy.Service{Name: name, Host: "api.example.com", Placeholder: placeholder, Agents: agents}
	}
	for _, tt := range []struct {
		a, b  policy.Service
		share bool
	}{
		{service("a", ""), service("b", ""), true},
		{service("a", ""), service("b", "", "bob"), false},
		{service("a", "", "bob"), service("b", "", "carol"), false},
		{service("a", "", "bob", "carol"), service("b", "", "dave", "carol"), true},
		{service("a", "p"), service("b", ""), false},
		{service("a", "p"), service("b", "q"), false},
		{service("a", "p"), service("b", "p"), true},
		{service("a", "p"), service("b", "p", "bob"), false},
		{service("a", "p", "bob"), service("b", "p", "bob"), true},
		{service("a", "p", "bob"), service("b", "q", "bob"), false},
	} {
		_, err := policy.Compile([]policy.Service{tt.a, tt.b})
		if shared := err != nil; shared != tt.share || shared && !strings.Contains(err.Error(), "cover the same requests") {
			t.Errorf("%+v and %+v: %v, want them to share requests: %v", tt.a, tt.b, err, tt.share)
		}
	}
}
