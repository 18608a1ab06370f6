package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/api"
	"agentvault/vault"
)

// propose asks for a service of a name, with a key of its own and, when it is
// not "", its value.
func (f *fixture) propose(token, name, key, value string) api.ProposalCreated {
	f.t.Helper()
	var p api.ProposalCreated
	f.asking("POST", "/v1/proposals", token, proposal(name, key, value)).into(f.t, 201, &p)
	return p
}

func proposal(name, key, value string) string {
	body := fmt.Sprintf(proposalBody, name, key, value)
	return strings.ReplaceAll(body, `,"value":""`, "")
}

// asking sends an agent's request about the vault "default".
func (f *fixture) asking(method, path, token, body string) reply {
	r := request(method, path, token, body)
	r.Header.Set("X-Vault", "default")
	return f.do(r)
}

func (f *fixture) review(number int64) (rv api.ProposalReview) {
	f.t.Helper()
	f.send("GET", fmt.Sprintf("/v1/proposals/%d/review%s", number, q), f.owner, "").into(f.t, 200, &rv)
	return rv
}

func (f *fixture) approve(number int64, r api.ApproveRequest) reply {
	f.t.Helper()
	return f.post(fmt.Sprintf("/v1/proposals/%d/approve%s", number, q), f.owner, r)
}

// TestProposalShapes holds the answers to the contract, key by key.
func TestProposalShapes(t *testing.T) {
	f, session, agent := filled(t)
	const asked = `"services":[{"action":"set","name":"new","host":"new.test","auth":{"token":"NEW_KEY","type":"bearer"}}],` +
		`"credentials":[{"action":"set","key":"NEW_KEY","has_value":true}],"asked_by":"test","asker_kind":"session",`
	p := f.propose(session, "new", "NEW_KEY", secretValue)
	number, link, _ := strings.Cut(strings.TrimPrefix(p.ApprovalURL, baseURL+"/approve/"), "?token=")
	if prefix, ok := vault.CheckToken(link); !ok || prefix != vault.PrefixApprove || number != "1" {
		t.Errorf("approval_url: %s", p.ApprovalURL)
	}
	p.ApprovalURL = ""
	const words = "a person must decide: give them approval_url, then wait with GET /v1/proposals/1?wait=30"
	if diff := cmp.Diff(api.ProposalCreated{ID: 1, Status: "pending", Vault: "default", Message: words}, p); diff != "" {
		t.Error(diff)
	}
	pending := `{"id":1,"status":"pending","message":"m","user_message":"u",` + asked +
		`"review_note":"","reviewed_at":null,"created_at":"2026-01-02T03:04:05Z","expires_at":"2026-01-09T03:04:05Z"}`
	f.same(t, "GET", "/v1/proposals/1", session, pending)
	listed := strings.Replace(pending, `{"id":1,`, `{"id":1,"vault":"default",`, 1)
	f.same(t, "GET", "/v1/proposals", session, `{"proposals":[`+listed+`]}`)
	f.same(t, "GET", "/v1/proposals?status=pending", session, `{"proposals":[`+listed+`]}`)
	f.same(t, "GET", "/v1/proposals?status=applied", session, `{"proposals":[]}`)
	f.same(t, "GET", "/v1/proposals", agent, `{"proposals":[]}`)

	f.clock.move(time.Minute)
	f.approve(1, api.ApproveRequest{Digest: f.review(1).Digest, Note: "fine"}).want(t, 200)
	applied := `{"id":1,"status":"applied","message":"m","user_message":"u",` + asked + `"review_note":"fine",%s` +
		`"reviewed_at":"2026-01-02T03:05:05Z","created_at":"2026-01-02T03:04:05Z","expires_at":"2026-01-09T03:04:05Z"}`
	f.same(t, "GET", "/v1/proposals/1", session, fmt.Sprintf(applied, "")) // agents are not told who decided
	f.same(t, "GET", "/v1/proposals/1"+q, f.owner, fmt.Sprintf(applied, `"reviewed_by":"`+ownerEmail+`",`))

	var v api.VaultInfo
	f.send("GET", inDefault, f.owner, "").into(t, 200, &v)
	if !slices.Contains(v.Credentials, "NEW_KEY") || len(v.Services) != 2 || v.Services[1].Host != "new.test" || !v.Services[1].Enabled {
		t.Errorf("%+v", v)
	}
}

// same holds a whole answer.
func (f *fixture) same(t *testing.T, method, path, token, want string) {
	t.Helper()
	a := f.asking(method, path, token, "")
	a.want(t, 200)
	if diff := cmp.Diff(want+"\n", a.body); diff != "" {
		t.Errorf("%s %s: %s", method, path, diff)
	}
}

func TestProposalPages(t *testing.T) {
	f, session, _ := filled(t)
	for i := range 5 {
		f.propose(session, "new-"+strconv.Itoa(i), "KEY_"+strconv.Itoa(i), "")
	}
	f.post("/v1/proposals/2/reject"+q, f.owner, api.RejectRequest{Note: "no"}).want(t, 200)
	for path, want := range map[string][]int64{
		"":                         {5, 4, 3, 2, 1},
		"?limit=2":                 {5, 4},
		"?limit=2&cursor=4":        {3, 2},
		"?limit=2&cursor=2":        {1},
		"?status=pending&limit=3":  {5, 4, 3},
		"?status=pending&cursor=3": {1},
		"?status=rejected":         {2},
	} {
		var l api.ProposalList
		f.send("GET", "/v1/proposals"+path, session, "").into(t, 200, &l)
		var got []int64
		for _, p := range l.Proposals {
			got = append(got, p.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", path, diff)
		}
		if next := l.NextCursor; next != "" && next != strconv.FormatInt(got[len(got)-1], 10) {
			t.Errorf("%q: next_cursor %s", path, next)
		}
	}
	for path, place := range map[string]string{
		"?cursor=x": "cursor", "?cursor=-1": "cursor", "?cursor=0": "cursor", "?limit=0": "limit", "?status=open": "status",
	} {
		if m := f.send("GET", "/v1/proposals"+path, session, "").refused(t, 400, "bad_request"); !strings.Contains(m, place) {
			t.Errorf("%s: %s", path, m)
		}
	}
}

// TestSameProposals: who asks for what is pending gets the same proposal.
func TestSameProposals(t *testing.T) {
	f, session, agent := filled(t)
	first := f.propose(session, "new", "NEW_KEY", "")
	for _, token := range []string{session, agent} {
		again := f.propose(token, "new", "NEW_KEY", "")
		if again.ID != first.ID || again.ApprovalURL != first.ApprovalURL || again.Message != "the same is pending already; "+first.Message {
			t.Errorf("%+v", again)
		}
		f.asking("GET", "/v1/proposals/1", token, "").want(t, 200)
	}
	for i, value := range []string{secretValue, "another value"} {
		if other := f.propose(session, "new", "NEW_KEY", value); other.ID != int64(2+i) {
			t.Errorf("%q: %+v", value, other)
		}
	}
	f.post("/v1/proposals/1/reject"+q, f.owner, api.RejectRequest{}).want(t, 200)
	if again := f.propose(agent, "new", "NEW_KEY", ""); again.ID != 4 {
		t.Errorf("%+v", again)
	}
}

func TestAgentsSeeTheirOwnProposals(t *testing.T) {
	f, session, agent := filled(t)
	f.propose(session, "new", "NEW_KEY", "")
	f.asking("GET", "/v1/proposals/1", agent, "").refused(t, 404, "proposal_not_found")
	f.asking("GET", "/v1/proposals/1?wait=60", agent, "").refused(t, 404, "proposal_not_found") // at once
	f.asking("GET", "/v1/proposals/2", session, "").refused(t, 404, "proposal_not_found")
	f.asking("GET", "/v1/proposals/9007199254740991", session, "").refused(t, 404, "proposal_not_found")
	f.send("GET", "/v1/proposals/1", agent, "").refused(t, 400, "vault_required")
	f.send("GET", "/v1/proposals/1?vault=none", agent, "").refused(t, 404, "vault_not_found")
	f.send("GET", "/v1/proposals/1", f.owner, "").refused(t, 400, "vault_required")
	// A session's vault is part of it, whatever it says.
	r := request("GET", "/v1/proposals/1", session, "")
	r.Header.Set("X-Vault", "none")
	f.do(r).want(t, 200)
}

// TestPendingProposals: the 21st of a vault waits for a decision. What has
// expired does not count from that moment on, put away or not.
func TestPendingProposals(t *testing.T) {
	f, session, agent := filled(t)
	for i := range 20 {
		f.propose(agent, "new-"+strconv.Itoa(i), "NEW_KEY", "")
		f.clock.move(time.Second)
	}
	one := proposal("new-20", "NEW_KEY", "")
	for _, token := range []string{session, agent, f.owner} {
		a := f.asking("POST", "/v1/proposals", token, one)
		a.refused(t, 429, "too_many_pending_proposals")
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
			t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
		}
	}
	f.propose(agent, "new-3", "NEW_KEY", "") // the same as one of them

	f.post("/v1/vaults", f.owner, api.NameRequest{Name: "team-a"}).want(t, 201)
	f.send("POST", "/v1/proposals?vault=team-a", f.owner, one).want(t, 201) // another vault's do not count
	f.post("/v1/proposals/1/reject"+q, f.owner, api.RejectRequest{}).want(t, 200)
	f.asking("POST", "/v1/proposals", agent, one).want(t, 201)
	f.asking("POST", "/v1/proposals", agent, proposal("new-21", "NEW_KEY", "")).refused(t, 429, "too_many_pending_proposals")

	f.clock.move(7*24*time.Hour - 19*time.Second) // the second is over, the third is not
	f.owner = f.signIn(ownerEmail, 0, 0)
	f.asking("POST", "/v1/proposals", agent, proposal("new-21", "NEW_KEY", "")).want(t, 201)
	f.asking("POST", "/v1/proposals", agent, proposal("new-22", "NEW_KEY", "")).refused(t, 429, "too_many_pending_proposals")
	var p api.ProposalInfo
	f.asking("GET", "/v1/proposals/2?wait=60", agent, "").into(t, 200, &p)
	var l api.ProposalList
	f.asking("GET", "/v1/proposals?status=expired", agent, "").into(t, 200, &l)
	if p.Status != "expired" || len(l.Proposals) != 1 || l.Proposals[0].Status != "expired" {
		t.Errorf("%+v\n%+v", p, l)
	}
	rv := f.review(2)
	f.approve(2, api.ApproveRequest{Digest: rv.Digest, Credentials: map[string]string{"NEW_KEY": "some value"}}).refused(t, 409, "proposal_closed")
	f.post("/v1/proposals/2/reject"+q, f.owner, api.RejectRequest{}).refused(t, 409, "proposal_closed")
}

func TestWaitingForADecision(t *testing.T) {
	f, session, _ := filled(t)
	f.propose(session, "new", "NEW_KEY", "some value")
	f.propose(session, "other", "OTHER_KEY", "some value")
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // shorter than the wait
	t.Cleanup(cancel)
	c := &api.Client{Address: srv.URL, Token: session}
	wait := func(number int64) <-chan string {
		got := make(chan string, 1)
		go func() {
			p, err := c.Proposal(ctx, "", number, time.Minute)
			if err != nil {
				t.Error(err)
			}
			got <- p.Status
		}()
		return got
	}
	first, second, third := wait(1), wait(2), wait(2)
	f.approve(1, api.ApproveRequest{Digest: f.review(1).Digest}).want(t, 200)
	if got := <-first; got != "applied" {
		t.Errorf("after the approval: %s", got)
	}
	f.post("/v1/proposals/2/reject"+q, f.owner, api.RejectRequest{}).want(t, 200)
	for _, ch := range []<-chan string{second, third} {
		if got := <-ch; got != "rejected" {
			t.Errorf("after the rejection: %s", got)
		}
	}
	f.propose(session, "third", "THIRD_KEY", "some value")
	stopped := wait(3)
	close(f.stopping)
	if got := <-stopped; got != "pending" {
		t.Errorf("after the server began to stop: %s", got)
	}
}

func TestApprovals(t *testing.T) {
	f, session, _ := filled(t)
	f.propose(session, "new", "NEW_KEY", "")
	shown := f.review(1)
	if len(shown.Values) != 1 || !shown.Values[0].Needed || shown.Values[0].Exists || len(shown.Changes) != 1 || shown.Changes[0].Before != nil || shown.Warnings == nil {
		t.Errorf("%+v", shown)
	}
	before := f.dump()
	values := map[string]string{"NEW_KEY": secretValue}
	refused := func(status int, code, place string, r api.ApproveRequest) {
		t.Helper()
		if m := f.approve(1, r).refused(t, status, code); !strings.Contains(m, place) || strings.Contains(m, secretValue) {
			t.Errorf("%+v: %s", r, m)
		}
	}
	refused(409, "proposal_changed", "look at the proposal again", api.ApproveRequest{Digest: strings.Repeat("0", 64), Credentials: values})
	refused(409, "proposal_changed", "look at the proposal again", api.ApproveRequest{Credentials: values})
	refused(400, "bad_request", "NEW_KEY", api.ApproveRequest{Digest: shown.Digest})
	refused(400, "bad_request", "OTHER_KEY", api.ApproveRequest{Digest: shown.Digest, Credentials: map[string]string{"NEW_KEY": "some value", "OTHER_KEY": secretValue}})
	refused(400, "bad_request", "NEW_KEY", api.ApproveRequest{Digest: shown.Digest, Credentials: map[string]string{"NEW_KEY": secretValue + "\n"}})
	refused(400, "bad_request", "note", api.ApproveRequest{Digest: shown.Digest, Credentials: values, Note: strings.Repeat("ä", 2001)})
	if after := f.dump(); after != before {
		t.Fatalf("a refused approval changed something: %s", after)
	}

	// What was shown is not what is there any more.
	f.send("PATCH", theAPI, f.owner, `{"enabled":false}`).want(t, 200)
	refused(409, "proposal_changed", "look at the proposal again", api.ApproveRequest{Digest: shown.Digest, Credentials: values})
	shown = f.review(1)

	// Of many who approve at once one does.
	var statuses []int
	var mu sync.Mutex
	var racers sync.WaitGroup
	for range 16 {
		racers.Go(func() {
			a := f.approve(1, api.ApproveRequest{Digest: shown.Digest, Credentials: values})
			mu.Lock()
			defer mu.Unlock()
			statuses = append(statuses, a.status)
		})
	}
	racers.Wait()
	slices.Sort(statuses)
	if statuses[0] != 200 || statuses[1] != 409 || statuses[15] != 409 {
		t.Errorf("%v", statuses)
	}
	refused(409, "proposal_closed", "it is applied", api.ApproveRequest{Digest: shown.Digest, Credentials: values})
	f.post("/v1/proposals/1/reject"+q, f.owner, api.RejectRequest{}).refused(t, 409, "proposal_closed")
	f.approve(2, api.ApproveRequest{Digest: shown.Digest}).refused(t, 404, "proposal_not_found")
}

// TestApprovalLink: what the agent wrote is quoted, control and direction
// characters are escapes.
func TestApprovalLink(t *testing.T) {
	f, session, _ := filled(t)
	const hidden = "hidden.test"
	f.send("POST", servicesPath, f.owner, `{"services":[{"name":"old","host":"`+hidden+`","auth":{"type":"bearer","token":"OLD_KEY"}}]}`).want(t, 201)
	f.post("/v1/credentials", f.owner, api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{"OLD_KEY": "some value"}}).want(t, 200)
	var p api.ProposalCreated
	f.send("POST", "/v1/proposals", session, `{"services":[
		{"action":"set","name":"api","host":"api.test","auth":{"type":"passthrough"},"description":"<b>bold</b>"},
		{"action":"delete","name":"old"},
		{"action":"set","name":"new","host":"*.new.test","auth":{"type":"basic","username":"NEW_KEY","password":"API_KEY"}}],
		"credentials":[{"action":"set","key":"NEW_KEY"},{"action":"set","key":"OTHER_KEY","value":"`+secretValue+`"},{"action":"delete","key":"OLD_KEY"}],"user_message":"safe\n\u202e <script>alert(1)</script> \"now\""}`).into(t, 201, &p)
	path := strings.TrimPrefix(p.ApprovalURL, baseURL)
	link := func(path, accept string) reply {
		r := request("GET", path, "", "")
		r.Header.Set("Accept", accept)
		return f.do(r)
	}
	a := link(path, "text/html,*/*")
	a.want(t, 200)
	a.secure(t)
	want := `Proposal 1 in the vault default, pending.
Asked by the session "test" at 2026-01-02T03:04:05Z.

Set the service api: host api.test, auth passthrough.

Remove the service old.

Set the service new: host *.new.test, auth basic with NEW_KEY and API_KEY.

Set the credential NEW_KEY.

Set the credential OTHER_KEY.
  The agent gave a value for it.

Delete the credential OLD_KEY.

The agent's words: "safe\n\u202e <script>alert(1)</script> \"now\""

To see what would change, and to decide, run:

  agent-vault proposal review 1 --vault default
`
	if a.header.Get("Content-Type") != "text/plain; charset=utf-8" || a.body != want {
		t.Errorf("%s: %s", a.header.Get("Content-Type"), cmp.Diff(want, a.body))
	}
	var shown api.LinkedProposal
	a = link(path, "application/json")
	a.into(t, 200, &shown)
	if shown.ID != 1 || shown.Status != "pending" || len(shown.Services) != 3 || shown.Vault != "default" {
		t.Errorf("%+v", shown)
	}
	if strings.Contains(a.body, hidden) || strings.Contains(a.body, "digest") { // the agent has the link, too
		t.Errorf("the link shows more than what is asked: %s", a.body)
	}

	for _, wrong := range []string{
		strings.Replace(path, "/approve/1", "/approve/2", 1), strings.Replace(path, "/approve/1", "/approve/x", 1),
		"/approve/1", "/approve/1?token=", "/approve/1?token=" + session, "/approve/1?token=" + vault.NewToken(vault.PrefixApprove),
	} {
		link(wrong, "application/json").refused(t, 404, "proposal_not_found")
	}
	f.post("/v1/proposals/1/reject"+q, f.owner, api.RejectRequest{}).want(t, 200)
	shown = api.LinkedProposal{}
	link(path, "application/json").into(t, 200, &shown)
	if shown.Status != "rejected" || shown.ReviewedBy != "" {
		t.Errorf("%+v", shown)
	}
	if a := link(path, ""); strings.Contains(a.body, "to decide") || !strings.Contains(a.body, "rejected") {
		t.Errorf("%s", a.body)
	}
	f.clock.move(24*time.Hour - time.Second)
	link(path, "").want(t, http.StatusOK)
	f.clock.move(time.Second)
	link(path, "").refused(t, 404, "proposal_not_found")
}
