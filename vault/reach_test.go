package vault_test

import (
	"slices"
	"strings"
	"testing"

	"agentvault/vault"
)

// TestOpened says what a proposal newly lets through, given what there was.
func TestOpened(t *testing.T) {
	const stripe = `{"name": "pay", "host": "api.pay.example", "auth": {"type": "bearer", "token": "STRIPE_KEY"}, "rules": `
	const budget = `[{"methods": ["POST"], "paths": ["/pay"], "limits": [{"budget": "500", "field": "amount", "window": "24h"`
	for _, tt := range []struct {
		name, before, after string
		want                []string
	}{
		{"a new service", "", stripe + `[{"methods": ["GET", "HEAD"], "paths": ["/v1/*"]}, {"action": "deny"}]}`, []string{"GET, HEAD on /v1/* of https://api.pay.example, with STRIPE_KEY"}},
		{"one without rules", "", stripe + `[]}`, []string{"every method on every path of https://api.pay.example, with STRIPE_KEY"}},
		{"one that is disabled", "", stripe + `[], "enabled": false}`, nil},
		{"one that is enabled", stripe + `[{"methods": ["GET"]}], "enabled": false}`, stripe + `[{"methods": ["GET"]}]}`, []string{"GET on every path of https://api.pay.example, with STRIPE_KEY"}},
		{"another description", stripe + `[{"methods": ["GET"]}]}`, stripe + `[{"methods": ["GET"]}], "description": "Pay"}`, nil},
		{"another rule", stripe + `[{"methods": ["GET"]}]}`, stripe + `[{"methods": ["GET"]}, {"methods": ["POST"], "paths": ["/pay"]}]}`, []string{"POST on /pay of https://api.pay.example, with STRIPE_KEY"}},
		{"a rule less", stripe + `[{"methods": ["GET"]}, {"methods": ["POST"]}]}`, stripe + `[{"methods": ["GET"]}]}`, []string{"perhaps more on https://api.pay.example: its rules are others, or in another order"}},
		{"no rules", stripe + `[{"methods": ["GET"]}]}`, stripe + `[]}`, []string{"every method on every path of https://api.pay.example, with STRIPE_KEY"}},
		{"first rules", stripe + `[]}`, stripe + `[{"methods": ["GET"]}]}`, nil},
		{"a refusal less", stripe + `[{"action": "deny", "paths": ["/admin"]}, {}]}`, stripe + `[{}]}`, []string{"no longer refused: every method on /admin of https://api.pay.example, with STRIPE_KEY"}},
		{"another order", stripe + `[{"action": "deny", "paths": ["/admin"]}, {}]}`, stripe + `[{}, {"action": "deny", "paths": ["/admin"]}]}`, []string{"perhaps more on https://api.pay.example: its rules are others, or in another order"}},
		{"another name of a budget, which begins anew", stripe + budget + `}]}]}`, stripe + budget + `, "name": "again"}]}]}`, []string{"POST on /pay of https://api.pay.example, with STRIPE_KEY, at most 500.00 of amount in 24h (counted as again)"}},
		{"another field that a budget is settled by", stripe + budget + `}]}]}`, stripe + budget + `, "settle": "count"}]}]}`, []string{"POST on /pay of https://api.pay.example, with STRIPE_KEY, at most 500.00 of amount in 24h (settled by count of the answer)"}},
		{"a comment that reads like a limit", stripe + `[{"when": "true //", "limits": [{"requests": 5, "window": "1m"}]}]}`, stripe + `[{"when": "true //, at most 5 requests in 1m"}]}`, []string{"every method on every path of https://api.pay.example, with STRIPE_KEY, if true //, at most 5 requests in 1m"}},
		{"no credential", stripe + `[]}`, `{"name": "pay", "host": "api.pay.example", "auth": {"type": "passthrough"}}`, []string{"every method on every path of https://api.pay.example, with no credential"}},
		{"another host", stripe + `[]}`, strings.Replace(stripe, "api.pay", "*.pay", 1) + `[]}`, []string{"every method on every path of https://*.pay.example, with STRIPE_KEY"}},
	} {
		f := newFixture(t)
		_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, "["+tt.before+"]"))
		must(t, err)
		f.propose(t, f.agent, newProposal(t, strings.Replace("["+tt.after+"]", "{", `{"action": "set", `, 1), ""))
		if got := f.review(t, 1).Opened; !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A person is told of hosts that look like others: the vault's, or known ones.
func TestResemblances(t *testing.T) {
	for host, want := range map[string]string{
		"api.example.com":      "",
		"known.herokuapp.com":  "",
		"api.stripe.example":   "",
		"files.stripe.com":     "",
		"api.str1pe.com":       "service new is for api.str1pe.com, which looks like api.stripe.com, and is another's",
		"api.githnb.com":       "service new is for api.githnb.com, which looks like api.github.com, and is another's",
		"app.herokuapp.com":    "service new is for a name below a domain where anyone can have one; see that app.herokuapp.com is whose you think",
		"api.bücher-laden.com": "service new is for a host that is spelled with letters beyond a to z: api.xn--bcher-laden-thb.com",
	} {
		f := newFixture(t, func(o *vault.Options) {
			o.KnownHosts = []string{"api.github.com", "known.herokuapp.com", "api.stripe.example"}
		})
		f.propose(t, f.agent, newProposal(t, `[{"action": "set", "name": "new", "host": "`+host+`", "auth": {"type": "passthrough"}}]`, ""))
		if got := strings.Join(f.review(t, 1).Warnings, "|"); got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	f := newFixture(t)
	f.propose(t, f.agent, newProposal(t, "", `[{"action": "set", "key": "A_KEY", "obtain": "https://dashboard.stripe.com/apikeys"}, {"action": "set", "key": "B_KEY", "obtain": "https://dashboard.xn--strpe-p2e.com:8443/apikeys"}]`))
	want := []string{
		"the value of B_KEY is to come from a host that is spelled with letters beyond a to z: dashboard.xn--strpe-p2e.com",
		"the value of B_KEY is to come from dashboard.xn--strpe-p2e.com, which looks like api.stripe.com, and is another's",
	}
	diff(t, "warnings", want, f.review(t, 1).Warnings)
}
