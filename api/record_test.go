package api_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/api"
	"agentvault/vault"
)

// logged puts requests into the log, a second apart.
func (f *fixture) logged(requests ...vault.Request) {
	f.t.Helper()
	for i := range requests {
		r := &requests[i]
		r.Time = f.clock.now().Add(time.Duration(i) * time.Second)
		r.VaultID, r.Vault, r.Entrance = f.vaultID("default"), "default", "path"
		_, r.Host, _ = strings.Cut(r.Target, "://")
		r.Host, _, _ = strings.Cut(r.Host, ":")
	}
	if err := f.db.AppendRequests(f.t.Context(), vault.RequestBatch{Requests: requests}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) vaultID(name string) (id string) {
	f.t.Helper()
	if err := f.db.Read(f.t.Context(), func(tx vault.Tx) error {
		v, err := tx.VaultByName(name)
		id = v.ID
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return id
}

func code(n int) *int { return &n }

func refusedRequest(id, target string) vault.Request {
	return vault.Request{ID: id, Target: target, Method: "GET", Path: "/", Status: code(403), Fault: "forbidden"}
}

func TestLogs(t *testing.T) {
	f, _, _ := filled(t)
	var empty api.RequestList
	a := f.send("GET", "/v1/logs", f.owner, "")
	a.into(t, 200, &empty)
	if a.body != `{"requests":[],"follow_cursor":"0"}`+"\n" {
		t.Errorf("an empty log: %s", a.body)
	}
	f.logged(
		vault.Request{ID: "a", Target: "https://api.test:443", Method: "POST", Path: "/x", SessionID: "s-1", Service: "api", Credentials: []string{"API_KEY"}, Status: code(201), BytesIn: 1, BytesOut: 2, Micros: 3, Scrubbed: 4},
		vault.Request{ID: "b", Target: "https://api.test:443", Method: "GET", Path: "/y", SessionID: "s-1"},
		refusedRequest("c", "https://other.test:443"),
	)
	a = f.send("GET", "/v1/logs?limit=2&vault=default&host=api.test&since="+f.clock.now().Format(time.RFC3339), f.owner, "")
	if want := `{"requests":[` +
		`{"id":"b","time":"2026-01-02T03:04:06Z","entrance":"path","session":"s-1","agent":"","agent_kind":"","vault":"default","service":"","target":"https://api.test:443","host":"api.test","method":"GET","path":"/y","credentials":[],"status":null,"fault":"","bytes_in":0,"bytes_out":0,"duration_micros":0,"scrubbed":0},` +
		`{"id":"a","time":"2026-01-02T03:04:05Z","entrance":"path","session":"s-1","agent":"","agent_kind":"","vault":"default","service":"api","target":"https://api.test:443","host":"api.test","method":"POST","path":"/x","credentials":["API_KEY"],"status":201,"fault":"","bytes_in":1,"bytes_out":2,"duration_micros":3,"scrubbed":4}` +
		`],"follow_cursor":"3"}` + "\n"; a.body != want {
		t.Error(cmp.Diff(want, a.body))
	}

	var first, second api.RequestList
	f.send("GET", "/v1/logs?limit=2", f.owner, "").into(t, 200, &first)
	f.send("GET", "/v1/logs?limit=2&cursor="+first.NextCursor, f.owner, "").into(t, 200, &second)
	if len(first.Requests) != 2 || len(second.Requests) != 1 || second.Requests[0].ID != "a" || second.NextCursor != "" {
		t.Errorf("%+v\n%+v", first, second)
	}
	for path, want := range map[string]string{
		"/v1/logs?limit=0":                          "the query parameter limit is a whole number from 1 to 1000",
		"/v1/logs?limit=x":                          "the query parameter limit is a whole number from 1 to 1000",
		"/v1/logs?since=yesterday":                  "the query parameter since is not a time like 2026-01-02T15:04:05Z",
		"/v1/logs?until=1":                          "the query parameter until is not a time like 2026-01-02T15:04:05Z",
		"/v1/logs?cursor=x":                         "cursor: it is none of those that were given out",
		"/v1/logs?after=x":                          "after: it is none of the cursors that were given out",
		"/v1/logs?after=0&wait=61":                  "the query parameter wait is a whole number from 0 to 60",
		"/v1/logs?wait=5":                           "wait: it needs after, the follow_cursor of an earlier answer",
		"/v1/logs?after=0&cursor=1-1":               "cursor: it goes back in time and after goes on; send one of them",
		"/v1/hosts?since=1":                         "the query parameter since is not a time like 2026-01-02T15:04:05Z",
		"/v1/policy/check?vault=default&method=GET": "the query parameter url is missing",
	} {
		if m := f.send("GET", path, f.owner, "").refused(t, 400, "bad_request"); m != want {
			t.Errorf("%s: %s, want %s", path, m, want)
		}
	}
	f.send("GET", "/v1/logs?vault=none", f.owner, "").refused(t, 404, "vault_not_found")
}

func TestLogsFollowed(t *testing.T) {
	f, _, _ := filled(t)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	c := &api.Client{Address: srv.URL, Token: f.owner}
	l, err := c.Requests(t.Context(), api.RequestFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan api.RequestList)
	go func() {
		l, err := c.FollowRequests(t.Context(), api.RequestFilter{Host: "api.test"}, l.FollowCursor)
		if err != nil {
			t.Error(err)
		}
		came <- l
	}()
	f.logged(refusedRequest("a", "https://other.test:443"))
	f.logged(refusedRequest("b", "https://api.test:443"))
	if l := <-came; len(l.Requests) != 1 || l.Requests[0].ID != "b" || l.FollowCursor != "2" {
		t.Errorf("%+v", l)
	}

	// A server that stops lets nobody wait.
	go func() {
		l, err := c.FollowRequests(t.Context(), api.RequestFilter{}, "2")
		if err != nil {
			t.Error(err)
		}
		came <- l
	}()
	close(f.stopping)
	if l := <-came; len(l.Requests) != 0 || l.FollowCursor != "2" {
		t.Errorf("%+v", l)
	}
}

// Each host comes with a command that adds it.
func TestHosts(t *testing.T) {
	f, _, _ := filled(t)
	if a := f.send("GET", "/v1/hosts", f.owner, ""); a.status != 200 || a.body != `{"hosts":[]}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	var requests []vault.Request
	rows := []struct{ target, host, catalog, add string }{
		{"https://api.x.com:443", "api.x.com", "", "agent-vault service add --vault default --host api.x.com --auth bearer --key API_X_COM_KEY"},
		{"https://a.my-site.co.uk:8443", "a.my-site.co.uk:8443", "", "agent-vault service add --vault default --host a.my-site.co.uk:8443 --auth bearer --key A_MY__SITE_CO_UK_8443_KEY"},
		{"https://api.9to5.com:443", "api.9to5.com", "", "agent-vault service add --vault default --host api.9to5.com --auth bearer --key API_9TO5_COM_KEY"},
		{"http://plain.example.com:80", "plain.example.com", "", "agent-vault service add --vault default --host plain.example.com:80 --scheme http --auth bearer --key PLAIN_EXAMPLE_COM_KEY"},
		{"http://plain.example.com:8080", "plain.example.com:8080", "", "agent-vault service add --vault default --host plain.example.com:8080 --scheme http --auth bearer --key PLAIN_EXAMPLE_COM_8080_KEY"},
		{"https://192.0.2.1:443", "192.0.2.1", "", "agent-vault service add --vault default --host 192.0.2.1 --auth bearer --key API_192_0_2_1_KEY"},
		{"https://stripe.github.io:443", "stripe.github.io", "", "agent-vault service add --vault default --host stripe.github.io --auth bearer --key STRIPE_GITHUB_IO_KEY"},
		{"https://stripe-github.io:443", "stripe-github.io", "", "agent-vault service add --vault default --host stripe-github.io --auth bearer --key STRIPE__GITHUB_IO_KEY"},
		{"https://[2001:db8::1]:8443", "[2001:db8::1]:8443", "", "agent-vault service add --vault default --host [2001:db8::1]:8443 --auth bearer --key API_2001_DB8__1____8443_KEY"},
		{"https://api.github.com:443", "api.github.com", "github", "agent-vault catalog add github --vault default"},
		{"https://slack.com:443", "slack.com", "slack", "agent-vault catalog add slack --vault default"},
		{"https://acme.atlassian.net:443", "acme.atlassian.net", "atlassian", "agent-vault catalog add atlassian --vault default --tenant acme"},
		{"https://a.b.atlassian.net:443", "a.b.atlassian.net", "", "agent-vault service add --vault default --host a.b.atlassian.net --auth bearer --key A_B_ATLASSIAN_NET_KEY"},
		{"https://api.github.com:8443", "api.github.com:8443", "", "agent-vault service add --vault default --host api.github.com:8443 --auth bearer --key API_GITHUB_COM_8443_KEY"},
	}
	for i, r := range rows { // the first most often
		for n := range len(rows) - i {
			requests = append(requests, refusedRequest(r.target+" "+string(rune('a'+n)), r.target))
		}
	}
	f.logged(requests...)
	var l api.RefusedHostList
	f.send("GET", "/v1/hosts?vault=default", f.owner, "").into(t, 200, &l)
	if len(l.Hosts) != len(rows) {
		t.Fatalf("%+v", l)
	}
	for i, want := range rows {
		h := l.Hosts[i]
		if h.Target != want.target || h.Host != want.host || h.Catalog != want.catalog || h.Add != want.add || h.Count != int64(len(rows)-i) {
			t.Errorf("%+v, want %+v", h, want)
		}
	}
}

func TestPolicyAtHand(t *testing.T) {
	f, _, _ := filled(t)
	f.send("PUT", "/v1/vaults/default/services", f.owner, `{"services":[{"name":"api","host":"api.test","auth":{"type":"bearer","token":"API_KEY"},"rules":[{"methods":["GET"],"paths":["/v1/*"]}]}]}`).want(t, 200)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	c := &api.Client{Address: srv.URL, Token: f.owner}
	v, err := c.CheckPolicy(t.Context(), api.PolicyQuestion{Vault: "default", Method: "GET", URL: "https://api.test/v1/a?b=c&d"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"vault":"default","method":"GET","target":"https://api.test:443","path":"/v1/a","allowed":true,"reason":"allowed","service":"api","auth_type":"bearer",` +
		`"rule_index":0,"rule":{"methods":["GET"],"paths":["/v1/*"]},"credentials":[{"key":"API_KEY","present":true}],"allowed_methods":[],"tunnel":false,"fault":"",` +
		`"explanation":"allowed by the service api, by its rule 0; it goes out with API_KEY (bearer)","steps":[{"service":"api","rule_index":null,"finding":"matches"},{"service":"api","rule_index":0,"rule":{"methods":["GET"],"paths":["/v1/*"]},"finding":"matches"}],"ask":false,"then":[]}`; string(raw) != want {
		t.Error(cmp.Diff(want, string(raw)))
	}
	if v, err = c.CheckPolicy(t.Context(), api.PolicyQuestion{Vault: "default", Method: "GET", URL: "other.test"}); err != nil || v.Allowed || v.RuleIndex != nil || v.Rule != nil || v.Credentials == nil || v.AllowedMethods == nil {
		t.Errorf("%+v, %v", v, err)
	}

	f.send("PUT", "/v1/vaults/default/services", f.owner, `{"services":[{"name":"api","host":"api.test","auth":{"type":"bearer","token":"API_KEY"},"rules":[{"when":"json.a == 1.0"}]}]}`).want(t, 200)
	headers := map[string]string{"content-type": "application/json"}
	none, text := "", `{"a": 1}`
	long := append([]byte(`{"a": 1, "b": "`), bytes.Repeat([]byte("a"), 1<<20)...)
	for i, q := range []struct {
		api.PolicyQuestion
		fault, doubt string
	}{
		{api.PolicyQuestion{Headers: headers}, "", ""},
		{api.PolicyQuestion{Headers: headers, Content: &none}, "condition_not_met", "body_not_json"},
		{api.PolicyQuestion{Headers: headers, Content: &text}, "", ""},
		{api.PolicyQuestion{Headers: headers, Bytes: []byte(text)}, "", ""},
		{api.PolicyQuestion{Bytes: []byte(text)}, "condition_not_met", "content_type_missing"},
		{api.PolicyQuestion{Headers: headers, Bytes: []byte("\x00\xff")}, "condition_not_met", "body_not_json"},
		{api.PolicyQuestion{Headers: headers, Bytes: append(long[:1<<20-2:1<<20-2], `"}`...)}, "", ""},
		{api.PolicyQuestion{Headers: headers, Bytes: long[: 1<<20+1 : 1<<20+1]}, "condition_not_met", "body_too_long"},
	} {
		q.Vault, q.Method, q.URL = "default", "POST", "api.test"
		v, err := c.CheckPolicy(t.Context(), q.PolicyQuestion)
		if err != nil || v.Fault != q.fault || v.Doubt != q.doubt || (v.Reason == "body_needed") != (i == 0) {
			t.Errorf("%d: %q %q %s, %v; want %q %q", i, v.Fault, v.Doubt, v.Reason, err, q.fault, q.doubt)
		}
	}
	both := f.send("POST", "/v1/policy/check", f.owner, `{"vault":"default","method":"GET","url":"api.test","body":"","body_base64":"YQ=="}`)
	if m := both.refused(t, 400, "bad_request"); m != "body and body_base64 exclude each other" {
		t.Errorf("%q", m)
	}
	f.send("PUT", "/v1/vaults/default/services", f.owner, `{"services":[{"name":"api","host":"api.test","auth":{"type":"bearer","token":"API_KEY"},"rules":[{"methods":["GET"],"paths":["/v1/*"]}]}]}`).want(t, 200)

	f.logged(vault.Request{ID: "a", Target: "https://api.test:443", Method: "GET", Path: "/v1/a", Status: code(200)})
	since := f.clock.now()
	r, err := c.ReplayPolicy(t.Context(), api.ReplayRequest{Vault: "default", Since: &since, Services: []vault.Service{}})
	if err != nil {
		t.Fatal(err)
	}
	want := api.ReplayResponse{Vault: "default", Requests: 1, Distinct: 1, Flips: []api.FlipInfo{{
		Method: "GET", Target: "https://api.test:443", Path: "/v1/a", Count: 1, LastAt: since, Agents: []string{},
		Before: api.DecidedInfo{Decision: "allow", Reason: "allowed", Service: "api"}, After: api.DecidedInfo{Decision: "deny", Reason: "no_service"},
	}}}
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
	f.send("POST", "/v1/policy/replay", f.owner, `{"vault":"default"}`).refused(t, 400, "bad_request")
	f.send("POST", "/v1/policy/replay", f.owner, `{"vault":"none","services":[]}`).refused(t, 404, "vault_not_found")
}
