package main_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/api"
)

// A decidingPerson decides what waits.
type decidingPerson struct {
	*api.Client
	t *testing.T
}

// decides waits until something waits, and decides it.
func (p decidingPerson) decides(allow bool) {
	ctx := p.t.Context()
	l, err := p.WatchApprovals(ctx, "default", true, "", 0, 10)
	for err == nil && len(l.Approvals) == 0 {
		l, err = p.WatchApprovals(ctx, "default", true, l.Tag, 30*time.Second, 10)
	}
	var rv api.ApprovalReview
	if err == nil {
		rv, err = p.Approval(ctx, "default", l.Approvals[0].ID)
	}
	if d := (api.ApprovalDecision{Digest: rv.Digest, Note: "not today"}); err == nil && allow {
		_, err = p.AllowRequest(ctx, "default", rv.ID, d)
	} else if err == nil {
		_, err = p.DenyRequest(ctx, "default", rv.ID, d)
	}
	if err != nil {
		p.t.Error(err)
	}
}

var approvalNumber = regexp.MustCompile(`"approval":\d+`)

// TestApprovalTwins sends requests that wait for a person through every entrance:
// what the upstream gets, once, and what the agent gets back are the same.
func TestApprovalTwins(t *testing.T) {
	w := newWorld(t)
	person := decidingPerson{&api.Client{Address: w.API, Token: w.login()}, t}
	w.post("/v1/vaults/default/services", w.login(), `{"services":[{"name":"ask","host":"other.test","auth":{"type":"bearer","token":"API_KEY"},"rules":[{"methods":["POST","PUT"],"action":"ask"}]}]}`).object(t, 201)
	pay := call{host: "other.test", target: "/pay%2F?a=b&", method: "POST", body: `{"amount": 500}`, header: []string{"Content-Type: application/json", "X-Account: 1"}}
	chunked := call{host: "other.test", target: "/chunked", method: "PUT", body: "in chunks", header: []string{"Transfer-Encoding: chunked"}}
	long := call{host: "other.test", target: "/long", method: "POST", body: strings.Repeat("a", 1<<20+1)}
	other := call{host: "other.test", target: "/other", method: "POST", body: "other"}
	steps := []struct {
		name    string
		call    call
		decides string // "", allow or deny
		sent    bool
		holds   string // what the answer has
	}{
		{"allowed", pay, "allow", true, ""},
		{"asked again", pay, "", false, ""},
		{"allowed, in chunks", chunked, "allow", true, ""},
		{"asked again, in chunks", chunked, "", false, ""},
		{"denied", other, "deny", false, `"error":"approval_denied"`},
		{"denied before", other, "", false, "they say: not today"},
		{"too long", long, "", false, `"error":"request_too_large"`},
	}
	var first []twin
	for n, e := range ways {
		token := w.mint(fmt.Sprint("way ", n)) // whose requests are other questions
		for i, s := range steps {
			decided := make(chan struct{})
			go func() {
				defer close(decided)
				if s.decides != "" {
					person.decides(s.decides == "allow")
				}
			}()
			before := w.origin.received()
			a := w.do(e, token, s.call)
			<-decided
			noCredential(t, a)
			received := w.origin.received()
			if received == before {
				received = ""
			}
			if (received != "") != s.sent || !strings.Contains(a.body, s.holds) || (a.header.Get("X-Agent-Vault-Replayed") != "") != strings.HasPrefix(s.name, "asked again") {
				t.Errorf("%s, %s: %d %v %s; the upstream got %q", e, s.name, a.status, a.header, a.body, received)
			}
			got := newTwin(received, a)
			if approvalNumber.MatchString(got.Body) {
				got.Body = approvalNumber.ReplaceAllString(got.Body, `"approval":0`)
				delete(got.Header, "Content-Length")
			}
			if n == 0 {
				first = append(first, got)
			} else if diff := cmp.Diff(first[i], got); diff != "" {
				t.Errorf("%s: the ways differ (-path +%s): %s", s.name, e, diff)
			}
		}
	}
}
