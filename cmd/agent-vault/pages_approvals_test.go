package main_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"agentvault/api"
)

// holds has requests wait for a person: one that does still, and one that is denied.
func (s *showroom) holds(t *testing.T) {
	t.Helper()
	s.post("/v1/vaults/default/services", s.owner.Token, `{"services":[{"name":"ask","host":"ask.test","auth":{"type":"bearer","token":"API_KEY"},"rules":[{"action":"ask"}]}]}`).object(t, 201)
	for i, body := range []string{"order=17&what=" + strings.Repeat("w", 300) + "\x1b[2J\u202e\n\xd7\x90", "\xff\x00binary"} {
		ctx, giveUp := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			r, err := http.NewRequestWithContext(ctx, "POST", s.API+"/proxy/ask.test/v1/refunds/"+strings.Repeat("x", 200)+"?amount=5", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+s.token)
			_, _ = http.DefaultTransport.RoundTrip(r) // it gives up
		}()
		l, err := s.owner.Approvals(ctx, "default", true, "", 10)
		for err == nil && len(l.Approvals) <= i {
			l, err = s.owner.WatchApprovals(ctx, "default", true, l.Tag, 30*time.Second, 10)
		}
		must(t, err)
		giveUp()
		<-gone
	}
	rv, err := s.owner.Approval(t.Context(), "default", 2)
	must(t, err)
	_, err = s.owner.DenyRequest(t.Context(), "default", 2, api.ApprovalDecision{Digest: rv.Digest, Note: "not now"})
	must(t, err)
}
