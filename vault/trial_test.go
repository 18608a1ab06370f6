package vault_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

const triedServices = `[
	{"name": "account", "host": "account.example.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"},
		"substitutions": [{"placeholder": "account_placeholder_1", "credential": "STRIPE_KEY", "in": ["body", "header:X-Account"]},
			{"placeholder": "another_placeholder_2", "credential": "NOT_SET", "in": ["query"]}]},
	{"name": "plain", "host": "plain.example.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}},
	{"name": "store", "host": "store.example.com", "auth": {"type": "aws-sigv4", "access_key_id": "STRIPE_KEY", "secret_access_key": "NOT_SET"}},
	{"name": "bucket", "host": "a.s3.eu-west-1.amazonaws.com", "auth": {"type": "aws-sigv4", "access_key_id": "STRIPE_KEY", "secret_access_key": "NOT_SET"}},
	{"name": "account-b", "host": "choose.example.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}, "placeholder": "__the_key_of_b____"},
	{"name": "account-c", "host": "choose.example.com", "auth": {"type": "bearer", "token": "NOT_SET"}, "placeholder": "__the_key_of_c____"}]`

// What policy lets out and the broker refuses is said to be refused.
func TestCheckPolicyTriesToSend(t *testing.T) {
	const p, q, json = "account_placeholder_1", "another_placeholder_2", "application/json"
	f := newFixture(t)
	_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, triedServices))
	must(t, err)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+p))
	for _, tt := range []struct {
		name, url string
		header    []string // name, value
		body      string
		fault     string
		want      string // in the explanation
	}{
		{"as declared", "account.example.com", []string{"X-Account", p}, "", "", "allowed by the service account"},
		{"in Basic, as declared", "account.example.com", []string{"X-Account", basic}, "", "", "allowed"},
		{"in JSON", "account.example.com", []string{"Content-Type", json}, `{"a": "` + p + `"}`, "", "allowed"},
		{"in broken JSON", "account.example.com", []string{"Content-Type", json}, `{"a": "` + p, "body_unreadable", "is not the JSON"},
		{"in text", "account.example.com", []string{"Content-Type", "text/plain"}, p, "placeholder_misplaced", "the body holds a placeholder"},
		{"in what is coded", "account.example.com", []string{"Content-Encoding", "gzip"}, "x", "body_unreadable", "coded"},
		{"in another field", "account.example.com", []string{"X-Other", p}, "", "placeholder_misplaced", "refused: the service account lets it out (which has no rules), and it cannot be sent: the header field X-Other holds a placeholder"},
		{"in another field, in Basic", "account.example.com", []string{"X-Other", basic}, "", "placeholder_misplaced", "X-Other"},
		{"in the query", "account.example.com?a=" + p, nil, "", "placeholder_misplaced", "the query"},
		{"in the query, encoded", "account.example.com?a=%61" + p[1:], nil, "", "placeholder_misplaced", "the query"},
		{"in the path", "account.example.com/" + p, nil, "", "placeholder_misplaced", "the path"},
		{"where its own stands", "account.example.com", []string{"Authorization", "Bearer " + p}, "", "", "allowed"},
		{"for another service", "plain.example.com", []string{"X-Account", p}, "", "placeholder_misplaced", "X-Account"},
		{"without a value", "account.example.com?a=" + q, nil, "", "credential_not_found", "but NOT_SET has no value yet"},
		{"without a value, not used", "account.example.com?a=1", nil, "", "", "allowed"},
		{"no service to sign for", "store.example.com", nil, "", "bad_request", "the vault does not know which service to sign for"},
		{"signed by name", "a.s3.eu-west-1.amazonaws.com", nil, "", "credential_not_found", "NOT_SET"},
		{"presigned", "a.s3.eu-west-1.amazonaws.com/?X-Amz-Signature=a", nil, "", "bad_request", "presigned"},
		{"chosen", "choose.example.com", []string{"Authorization", "Bearer __the_key_of_b____"}, "", "", "allowed by the service account-b"},
		{"both", "choose.example.com?a=__the_key_of_c____", []string{"Authorization", "Bearer __the_key_of_b____"}, "", "placeholder_misplaced", "placeholders of several services"},
	} {
		asked := vault.PolicyQuestion{Vault: mainVault, Method: "POST", URL: tt.url, Body: []byte(tt.body), Header: map[string][]string{}}
		for i := 0; i+1 < len(tt.header); i += 2 {
			asked.Header[tt.header[i]] = []string{tt.header[i+1]}
		}
		v, err := f.CheckPolicy(t.Context(), f.owner, asked)
		must(t, err)
		if refused := tt.fault != "" && tt.fault != "credential_not_found"; v.Fault != tt.fault || !strings.Contains(v.Explanation, tt.want) || v.Allowed == refused || refused != (v.Reason == vault.ReasonUnsendable) {
			t.Errorf("%s: %q, allowed %t (%s), %q; want %q, %q", tt.name, v.Fault, v.Allowed, v.Reason, v.Explanation, tt.fault, tt.want)
		}
	}
}

// A check names what the agent's grant allows, and how much of it is left.
func TestCheckPolicyNamesAGrantsUses(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, _, err := f.CreateAgent(ctx, f.owner, vault.NewAgent{Name: "guest-bot"})
	must(t, err)
	_, err = f.GrantService(ctx, f.owner, "guest-bot", mainVault, "stripe", time.Hour, 3)
	must(t, err)
	g, _ := f.grantOf(t, "guest-bot")
	ends := g.Ends.Grants[0].ExpiresAt.Format(time.RFC3339)
	for used := range int64(4) {
		v, err := f.CheckPolicy(ctx, f.owner, vault.PolicyQuestion{Vault: mainVault, Method: "GET", URL: "api.stripe.com", Agent: "guest-bot"})
		must(t, err)
		want := "limit of the agent's grant: 3 requests until " + ends + ", of which " + fmt.Sprint(3-used) + " are left"
		if len(v.Then) != 1 || v.Then[0] != want || (v.Fault == "budget_exceeded") != (used == 3) {
			t.Errorf("%d used: %v, %q; want %q", used, v.Then, v.Fault, want)
		}
		if listed, _ := f.grantOf(t, "guest-bot"); listed.Ends.Grants[0].Left == nil || *listed.Ends.Grants[0].Left != 3-used {
			t.Errorf("%d used: listed with %+v", used, listed.Ends.Grants[0])
		}
		if used < 3 {
			charge := vault.Charge{Account: g.Ends.Grants[0].UsesAccount(f.get(t, mainVault).ID), Amount: 1, Most: 3}
			if refused, _, err := f.db.Reserve(ctx, fmt.Sprint("request ", used), f.now(), []vault.Charge{charge}); err != nil || refused >= 0 {
				t.Fatal(refused, err)
			}
		}
	}
}
