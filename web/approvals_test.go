package web_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"agentvault/api"
	"agentvault/vault"
)

// refusing is an API's refusal of a decision, with a message.
func refusing(code, message string) *http.Response {
	b, _ := json.Marshal(map[string]string{"error": code, "message": message}) // of strings
	return &http.Response{StatusCode: http.StatusConflict, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(b))}
}

// holds holds a request of a session that is minted for it.
func (f *fixture) holds(path, body string) {
	f.t.Helper()
	s, err := f.owner.MintSession(f.t.Context(), api.SessionRequest{Vault: "default", Label: "refunds <i>"})
	if err != nil {
		f.t.Fatal(err)
	}
	v, err := f.db.Snapshot(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := vault.NewHolder(f.db, f.key, f.clock.now).Hold(f.t.Context(), vault.Held{
		VaultID: v.Vaults[0].ID, AskerKind: vault.KindSession, AskerID: s.ID, AskerName: "refunds <i>",
		Service: "stripe", Method: "POST", Target: "https://api.stripe.com", Path: path,
	}, vault.HeldContent{
		Query: "amount=5", HasQuery: true, Body: []byte(body),
		Header: []vault.HeldField{{Name: "Authorization", Value: "Bearer the-agents-own"}, {Name: "Stripe-Account", Value: "acct_<b>"}},
	}); err != nil {
		f.t.Fatal(err)
	}
}

// A person sees a request as it would be sent, and decides; who was quicker is told
// of.
func TestApprovals(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	const list = "/vaults/default/approvals"
	b.get(list).status(200).says("None waits")
	f.holds("/v1/refunds", "order=17\x1b[2J\u202e")
	f.holds("/v1/charges", "\xff\x00")
	for _, path := range []string{"/vaults", "/vaults/default", list} {
		b.get(path).status(200).says("Request 1 in default", "refunds <i>", "/v1/refunds", "api.stripe.com")
	}
	p := b.get(list+"/1").status(200).says("May this request go?", "by the service stripe", "POST https://api.stripe.com/v1/refunds?amount=5", "Stripe-Account: acct_<b>",
		"Authorization: (21 bytes of the agent's own, not shown)", "Its body, 15 bytes", `order=17\x1b[2J\u202e`).saysNot("the-agents-own")
	if !strings.Contains(p.body, `api.<b>stripe.com</b>`) {
		t.Error("no domain is set off")
	}
	b.get(list + "/2").status(200).says("0000 ff 00")
	b.post(list+"/1", with(p.typed(list+"/1"), "decision", "allow", "digest", "00")...).status(409).says("This is not the request that you were shown", "May this request go?")
	b.post(list+"/1", with(p.typed(list+"/1"), "decision", "perhaps")...).status(400)
	b.post(list+"/1", with(p.typed(list+"/1"), "decision", "allow")...).status(303)
	b.get(list+"/1").status(200).says("Request 1 is approved", "by owner@example.test").saysNot("Allow once")
	b.post(list+"/1", with(p.typed(list+"/1"), "decision", "deny")...).status(409).says("does not wait for a decision any more", "Request 1 is approved")
	p = b.get(list + "/2")
	b.post(list+"/2", with(p.typed(list+"/2"), "decision", "deny", "note", "ask me <later>")...).status(303)
	b.get(list+"/2").status(200).says("Request 2 is denied", "ask me <later>")
	b.get(list).status(200).says("None waits", "Earlier", "approved", "denied")
	b.get(list + "/3").status(404)
}

// A list that is shown already is not sent again.
func TestApprovalsAreLive(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	f.holds("/v1/refunds", "")
	_, rest, _ := strings.Cut(b.get("/vaults/default/approvals").body, `hx-get="`)
	again, _, _ := strings.Cut(rest, `"`)
	if p := b.get(again); p.code != http.StatusNoContent || p.body != "" {
		t.Errorf("%s: %d %q", again, p.code, p.body)
	}
	f.holds("/v1/charges", "")
	b.get(again).status(200).says("Request 2 in default")
}

// Who may not decide is not shown what waits.
func TestApprovalsAreForMembers(t *testing.T) {
	f := newOwned(t)
	f.holds("/v1/refunds", "")
	proxy := f.join("proxy@example.test", "member", "proxy")
	proxy.get("/vaults/default").status(200).saysNot("Request 1")
	proxy.get("/vaults").status(200).saysNot("Request 1")
	for _, path := range []string{"/vaults/default/approvals", "/vaults/default/approvals/1"} {
		proxy.get(path).status(403)
	}
}
