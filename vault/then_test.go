package vault_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/when"
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
	text := func(s string) []byte { return []byte(s) }
	placeheld := "account_placeholder_1 in its body, query is replaced by STRIPE_KEY"
	for _, tt := range []struct {
		name, method string
		body         []byte
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
		{"no body", "POST", nil, "it depends on the body, at which rule 1 looks (service pay): give the body to know (--body); where it does not match, rule 2 decides: ask",
			nil, "service matches, rule 0 other_method, rule 1 body_needed, rule 2 matches"},
		{"broken", "POST", text(`{"amount": `), "a person is asked, says the service pay, by its rule 2; it goes out with STRIPE_KEY (bearer)",
			[]string{"limit of the service: 100 requests in 1m", "it waits until a person has allowed it", placeheld},
			"service matches, rule 0 other_method, rule 1 condition_unsure (body_not_json), rule 2 matches"},
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
				if what += s.Finding; s.Doubt != when.NoDoubt {
					what += " (" + s.Doubt.String() + ")"
				}
				steps = append(steps, what)
			}
			if got := strings.Join(steps, ", "); got != tt.steps {
				t.Errorf("steps %s, want %s", got, tt.steps)
			}
		})
	}
}

// Why a condition cannot be told is said, and a body that is not given is asked for.
func TestCheckPolicySaysWhy(t *testing.T) {
	f := newFixture(t)
	_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, `[{"name": "pay", "host": "pay.example.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"},
		"rules": [{"when": "json.amount < 500.0"}, {"when": "json.to == 'me'"}]}]`))
	must(t, err)
	json := map[string][]string{"Content-Type": {"application/json"}}
	for _, tt := range []struct {
		name        string
		header      map[string][]string
		body        []byte
		fault       string
		doubt       when.Doubt
		explanation string
	}{
		{"met", json, []byte(`{"amount": 1}`), "", when.NoDoubt, "allowed by"},
		{"not met", json, []byte(`{"amount": 1000, "to": "you"}`), "condition_not_met", when.NoDoubt, "rule 0 of the service pay decides against it"},
		{"no type", nil, []byte(`{"amount": 1}`), "condition_not_met", when.TypeMissing, "rule 0 of the service pay cannot be told of the request: it has no Content-Type"},
		{"no text", json, []byte("\xff\xfe"), "condition_not_met", when.BodyNoJSON, "its body cannot be read as JSON"},
		{"coded", map[string][]string{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, []byte("\x1f"), "condition_not_met", when.BodyUndecoded, "its body is coded"},
		{"as long as is read", json, []byte(`{"amount": 1, "s": "` + strings.Repeat("a", vault.MaxJudged-22) + `"}`), "", when.NoDoubt, "allowed by"},
		{"longer", json, []byte(`{"amount": 1, "s": "` + strings.Repeat("a", vault.MaxJudged-21) + `"}`), "condition_not_met", when.BodyLong, "longer than 1 MiB"},
		{"unknown", json, nil, "", when.NoDoubt, "it depends on the body, at which rules 0 and 1 look (service pay): give the body to know (--body); where none of them matches, it is refused"},
	} {
		v, err := f.CheckPolicy(t.Context(), f.owner, vault.PolicyQuestion{Vault: mainVault, Method: "POST", URL: "pay.example.com/", Header: tt.header, Body: tt.body})
		must(t, err)
		if v.Fault != tt.fault || v.Doubt != tt.doubt || !strings.Contains(v.Explanation, tt.explanation) || v.Allowed != strings.HasPrefix(v.Explanation, "allowed") {
			t.Errorf("%s: %q, %v, %q; want %q, %v, %q", tt.name, v.Fault, v.Doubt, v.Explanation, tt.fault, tt.doubt, tt.explanation)
		}
	}
}
