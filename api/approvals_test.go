package api_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/vault"
)

// holds holds a request of a session that is minted for it.
func (f *fixture) holds(t *testing.T, path, body string) {
	t.Helper()
	var s api.SessionResponse
	f.post("/v1/sessions", f.owner, api.SessionRequest{Vault: "default", Label: "asks"}).into(t, 200, &s)
	_, err := vault.NewHolder(f.db, f.key, f.clock.now).Hold(t.Context(), vault.Held{
		VaultID: f.vaultID("default"), AskerKind: vault.KindSession, AskerID: s.ID, AskerName: "asks",
		Service: "api", Method: "POST", Target: "https://api.test", Path: path,
	}, vault.HeldContent{Query: "a=b", HasQuery: true, Body: []byte(body), Header: []vault.HeldField{{Name: "Cookie", Value: "own"}, {Name: "X-Account", Value: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
}

func clientOfApprovals(t *testing.T, f *fixture, c *api.Client) {
	ctx := t.Context()
	f.holds(t, "/first", "words")
	f.holds(t, "/second", "words")
	l := ok[api.ApprovalList](t)(c.Approvals(ctx, "default", true, "", 1))
	expect(t, l.Approvals[0].ID, int64(2))
	expect(t, ok[api.ApprovalList](t)(c.Approvals(ctx, "default", true, l.NextCursor, 0)).Approvals[0].ID, int64(1))
	l = ok[api.ApprovalList](t)(c.Approvals(ctx, "", true, "", 0))
	expect(t, len(l.Approvals), 2)
	expect(t, ok[api.ApprovalList](t)(c.WatchApprovals(ctx, "", true, l.Tag, time.Second, 0)).Tag, l.Tag)
	rv := ok[api.ApprovalReview](t)(c.Approval(ctx, "default", 1))
	expect(t, ok[api.ApprovalInfo](t)(c.AllowRequest(ctx, "default", 1, api.ApprovalDecision{Digest: rv.Digest})).Status, "approved")
	rv = ok[api.ApprovalReview](t)(c.Approval(ctx, "default", 2))
	denied := ok[api.ApprovalInfo](t)(c.DenyRequest(ctx, "default", 2, api.ApprovalDecision{Digest: rv.Digest, Note: "no"}))
	expect(t, denied.Status+denied.Note+denied.DecidedBy, "deniedno"+ownerEmail)
	expect(t, ok[api.ApprovalList](t)(c.WatchApprovals(ctx, "", true, l.Tag, time.Minute, 0)).Approvals, []api.ApprovalInfo{})
}

// A body is text where it can be, and the same bytes in base64 otherwise. What the
// agent signs in with is not shown.
func TestAHeldRequestIsShown(t *testing.T) {
	f := newFixture(t)
	bodies := []string{"", "words \x1b\u202e\n", "\xff\x00"}
	for i, body := range bodies {
		f.holds(t, "/"+strings.Repeat("a", i), body)
		var rv api.ApprovalReview
		a := f.send("GET", "/v1/approvals/"+string(rune('1'+i))+q, f.owner, "")
		a.into(t, 200, &rv)
		shown := rv.Body
		if rv.BodyBase64 != nil {
			var raw struct{ BodyBase64 string }
			_ = json.Unmarshal([]byte(strings.ReplaceAll(string(a.body), "body_base64", "BodyBase64")), &raw) // it was read above
			b, _ := base64.StdEncoding.DecodeString(raw.BodyBase64)
			shown = string(b)
		}
		if shown != body || rv.BodyBytes != len(body) || rv.URL != "https://api.test/"+strings.Repeat("a", i)+"?a=b" || strings.Contains(string(a.body), "own\"") {
			t.Errorf("%q is shown as %s", body, a.body)
		}
		expect(t, rv.Header, []api.ApprovalField{{Name: "Cookie", Hidden: 3}, {Name: "X-Account", Value: "1"}})
	}
	f.send("GET", "/v1/approvals"+q+"&wait=1&cursor=3", f.owner, "").refused(t, 400, "bad_request")
	f.send("POST", "/v1/approvals/1/allow"+q, f.owner, `{"digest":"00"}`).refused(t, 409, "approval_changed")
	f.send("GET", "/v1/approvals/9"+q, f.owner, "").refused(t, 404, "approval_not_found")
}
