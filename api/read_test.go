package api

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"agentvault/vault"
)

// FuzzDecode: what is taken means the same to encoding/json, which forgives
// more; what is refused is refused in one short line of text.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"vaults":[{"name":"default","unmatched_hosts":"deny","services":[{"name":"api","host":"api.test","auth":{"type":"bearer","token":"API_KEY"}}],"credentials":{"API_KEY":"value"}}]}`,
		`{"vaults":[{"name":"a","services":[{"enabled":false,"rules":[{"methods":["GET"],"paths":["/v1/*"],"action":"deny"}],"auth":{"type":"custom","headers":{"X-Key":"{{ KEY }}"}}}]}]}`,
		`{"vaults":[{"name":"a","name":"b"}]}`, `{"Vaults":[]}`, `{"vaults":[null]}`, `{"vaults":[{"services":[null],"credentials":null}]}`,
		`{"vaults":[{"credentials":{"a-key":7}}]}`, `{"vaults":[{"name":"\u0000"}]}`, `{"vaults":[{"name":"\ud800"}]}`, "{\"vaults\":[{\"name\":\"\xff\"}]}",
		`{"vaults":{}}`, `[]`, `null`, ``, `{}{}`, `{"a":1e999}`, strings.Repeat(`{"a":[`, 50),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(holdDecode[ApplyRequest])
}

// FuzzDecodeProposal does the same for what agents send.
func FuzzDecodeProposal(f *testing.F) {
	for _, seed := range []string{
		`{"services":[{"action":"set","name":"stripe","host":"api.stripe.com","auth":{"type":"bearer","token":"STRIPE_KEY"}}],"credentials":[{"action":"set","key":"STRIPE_KEY","obtain":"https://x.test"}],"message":"m","user_message":"u"}`,
		`{"services":[{"action":"set","host":"a.test","enabled":false,"rules":[{"methods":["GET"],"paths":["/v1/*"]}],"auth":{"type":"passthrough"}}]}`,
		`{"credentials":[{"action":"set","key":"K","value":"v"},{"action":"delete","key":"L"}]}`,
		`{"credentials":[{"key":"K","KEY":"L"}]}`, `{"message":"a","message":"b"}`, `{"services":{"0":{}}}`, `{"message":"\u0000"}`, `{"unknown":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(holdDecode[ProposalRequest])
}

func holdDecode[T any](t *testing.T, body []byte) {
	var ours, theirs T
	err := decode(body, &ours)
	if err == nil {
		if err := json.Unmarshal(body, &theirs); err != nil || !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%q: %v\nours   %+v\ntheirs %+v", body, err, ours, theirs)
		}
		return
	}
	var e *vault.Error
	if !errors.As(err, &e) || e.Code != vault.CodeBadRequest || len(e.Message) > 500 || strings.IndexFunc(e.Message, unicode.IsControl) >= 0 {
		t.Fatalf("%q: %v", body, err)
	}
}
