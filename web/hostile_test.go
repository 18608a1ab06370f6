package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/api/shown"
	"agentvault/web"
)

// hostile is what agents would write to be more than text.
var hostile = []string{
	`<script>alert(1)</script>`, `"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `</blockquote><h1>Approved</h1>`, `</textarea><script>alert(1)</script>`,
	`</title><script>alert(1)</script>`, `--><script>alert(1)</script><!--`, `<svg/onload=alert(1)>`, `<iframe srcdoc="<script>alert(1)</script>">`, `<form action=//evil.example><input name=x>`,
	`" onfocus="alert(1)" autofocus="`, `' onmouseover='alert(1)`, "` onclick=alert(1) `", `javascript:alert(1)`, `JaVaScRiPt:alert(1)`, `data:text/html,<script>alert(1)</script>`, `vbscript:x`,
	`https://evil.example/"onmouseover="alert(1)`, `https://user:pass@evil.example/`, `//evil.example`, `{{.}}`, `{{template "main" .}}`, `${alert(1)}`, `<%= 1 %>`, `&lt;script&gt;`, `&#60;script&#62;`,
	`<a href="javascript:alert(1)">x</a>`, `<meta http-equiv=refresh content=0;url=//evil.example>`, `<base href=//evil.example>`, `<link rel=stylesheet href=//evil.example>`, `<style>*{display:none}</style>`,
	`<div hx-get="//evil.example" hx-trigger="load">`, `<div hx-on:load="alert(1)" data-hx-get="/">`, `<template><script>alert(1)</script></template>`, `<math><mtext></table><mglyph><style><img src onerror=alert(1)>`,
	"\u202egnp.exe", "\u2066\u2067x\u2069", "a\u200bb\u200dc\ufeff", "\x1b[2J\x1b]0;x\x07", "\x00<script>", "a\u2028b\u2029c", "\U000e0041\U000e0042", "a\r\nSet-Cookie: x=y", "\u0301\u0301\u0301" + strings.Repeat("\u0316", 200),
	"аррӏе.com", "pаypal", strings.Repeat("W", 10<<10), strings.Repeat("\n", 5000), strings.Repeat("שלום ", 200), "\xff\xfe", "+ADw-script+AD4-", "<\u0000script>", "＜script＞",
}

// parts of the JSON that say what a page is made of, and no agent writes.
var fixed = []string{
	"action", "status", "asker_kind", "created_at", "expires_at", "reviewed_at",
	"decided_at", "sent_at", "answered_at", "role", "state", "updated_at", "retired_at", "last_used_at", "token_failed_at",
	"time", "last_at", "complete_from", "vault_role", "last_time", "seen_at", "ends_at", "authenticated_at",
}

// everywhere puts words in the place of every string in a JSON value.
func everywhere(v any, words string) any {
	switch v := v.(type) {
	case string:
		return words
	case []any:
		for i := range v {
			v[i] = everywhere(v[i], words)
		}
	case map[string]any:
		for name := range v {
			if !slices.Contains(fixed, name) {
				v[name] = everywhere(v[name], words)
			}
		}
	}
	return v
}

// A liar is an API whose every word is hostile.
type liar struct {
	fixture api.ProposalReview
	root    []byte
	words   string
}

func (l liar) RoundTrip(r *http.Request) (*http.Response, error) {
	var answer any = api.UserInfo{ID: "1", Email: "x", Role: "owner"}
	switch {
	case strings.HasSuffix(r.URL.Path, "/review") && strings.HasPrefix(r.URL.Path, "/v1/proposals/"):
		answer = l.fixture
	case strings.HasPrefix(r.URL.Path, "/approve/"):
		answer = api.LinkedProposal{ProposalInfo: l.fixture.ProposalInfo, Vault: "x"}
	case r.URL.Path == "/v1/approvals":
		decided := heldReview().ApprovalInfo
		decided.Status = "denied"
		answer = api.ApprovalList{Approvals: []api.ApprovalInfo{heldReview().ApprovalInfo, decided}, Tag: "x", NextPage: api.NextPage{NextCursor: "x"}}
	case strings.HasSuffix(r.URL.Path, "/allow"):
		return refusing("approval_changed", l.words), nil
	case strings.HasSuffix(r.URL.Path, "/connect"):
		return leading("https://login.test/authorize?scope="+url.QueryEscape(l.words), l.words), nil
	case r.URL.Path == "/v1/connections":
		answer = api.Connected{Vault: "x", Service: "x", Credential: "x"}
	case r.URL.Path == "/v1/approvals/2":
		rv := heldReview()
		rv.Status = "denied"
		answer = rv
	case strings.HasPrefix(r.URL.Path, "/v1/approvals/"):
		answer = heldReview()
	case r.URL.Path == "/v1/proposals":
		answer = api.ProposalList{Proposals: []api.ProposalInfo{l.fixture.ProposalInfo}}
	case strings.HasPrefix(r.URL.Path, "/v1/vaults/"), strings.HasPrefix(r.URL.Path, "/v1/c"), r.URL.Path == "/v1/sessions", r.URL.Path == "/v1/agents":
		answer = vaultAnswer(r.URL.Path)
	case r.URL.Path == "/v1/vaults":
		answer = api.VaultList{Vaults: []api.VaultInfo{{Name: "x", UnmatchedHosts: "deny"}}}
	case r.URL.Path == "/v1/logs":
		status := 200
		answer = api.RequestList{Requests: []api.RequestInfo{{Status: &status}, {}}, NextCursor: "x", FollowCursor: "x"}
	case r.URL.Path == "/v1/logs/series":
		answer = api.RequestSeries{Points: []api.RequestPoint{{Requests: 2, Refused: 1, Timed: 1}}}
	case r.URL.Path == "/v1/hosts":
		answer = api.RefusedHostList{Hosts: []api.RefusedHostInfo{{Agents: []string{"x"}, Methods: []string{"x"}, Catalog: "x"}}}
	case r.URL.Path == "/v1/mitm/ca.pem":
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(l.root)), Request: r}, nil
	default:
		if of := ofInstance(r.URL.Path); of != nil {
			answer = of
		}
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	if b, err = json.Marshal(everywhere(v, l.words)); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(b)), Request: r}, nil
}

// heldReview is a request that waits, with all that one can have.
func heldReview() api.ApprovalReview {
	return api.ApprovalReview{
		ApprovalInfo: api.ApprovalInfo{ID: 1, Vault: "x", Status: "pending", AskerKind: "session", Method: "x", Target: "x", Path: "x", Upgrade: "x", Note: "x", DecidedBy: "x", DecidedAt: new(time.Unix(1795946400, 0))},
		URL:          "x", Header: []api.ApprovalField{{Name: "x", Value: "x"}, {Name: "x", Hidden: 3}}, Body: "x", BodyBytes: 1,
	}
}

// ofInstance are answers that the page of the instance is made of. Nil is none.
func ofInstance(path string) any {
	vaults := []api.AgentVault{{VaultName: "x", VaultRole: "proxy", Services: []string{"x"}}}
	switch path {
	case "/v1/server":
		s, _ := about(context.Background()) // never fails
		s.Audit.Problem, s.Audit.LostTo = "x", 3
		return s
	case "/v1/users":
		return api.UserList{Users: []api.UserDetail{{UserInfo: api.UserInfo{Email: "x", Role: "member"}, Vaults: []api.VaultRole{{VaultName: "x", VaultRole: "proxy"}}}}}
	case "/v1/users/invites", "/v1/agents/invites":
		return api.InviteList{Invites: []api.InviteInfo{{ID: "x", Name: "x", Role: "member", Status: "pending", Vaults: vaults}}}
	case "/v1/agents":
		return api.AgentList{Agents: []api.AgentInfo{{Name: "x", Status: "active", Vaults: vaults}}}
	case "/v1/auth/logins":
		return api.LoginList{Logins: []api.LoginInfo{{ID: "x", Client: "x", Current: true}, {ID: "x", Client: "x"}}}
	}
	return nil
}

// Nothing that is written into any field of an answer becomes more than text on
// any page, though the vault would have refused most of it.
func TestHostileWords(t *testing.T) {
	f := newOwned(t)
	f.propose(stripeProposal)
	rv, err := f.owner.ReviewProposal(t.Context(), "default", 1)
	if err != nil {
		t.Fatal(err)
	}
	before := *rv.Changes[0].After
	before.Description = "before"
	rv.Changes[0].Before = &before
	rv.Warnings, rv.ReviewNote, rv.ReviewedBy = []string{"x"}, "x", "x"
	rv.Values = append(rv.Values, rv.Values[0])
	rv.Values[1].Needed = false
	root := newRoot(t)()
	tags := func(words, path, form string, in bool) (list []string, p page) {
		pages, err := web.New(web.Options{API: func(string) http.RoundTripper { return liar{rv, root, words} }, BaseURL: func() string { return "http://" + host }, Now: f.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		at, query, _ := strings.Cut(path, "?")
		valid := strings.ToValidUTF8(words, "\ufffd\ufffd")
		r := httptest.NewRequest("GET", strings.ReplaceAll(at, "{words}", url.PathEscape(valid))+"?"+strings.ReplaceAll(query, "{words}", url.QueryEscape(valid)), nil)
		if form != "" {
			r = f.browser().request("POST", path, form)
		}
		r.Host = host
		r.Header.Set("Accept", "text/html")
		if in {
			r.Header.Set("Cookie", "agent_vault_login=x")
		}
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		p = page{t, w.Code, w.Header(), w.Body.String()}
		if p.code != 200 && (form == "" || p.code != 409) { // a form that was refused
			t.Fatalf("%s with %.60q: %d\n%s", path, words, p.code, p.body)
		}
		for _, n := range p.nodes() {
			list = append(list, n.Data)
		}
		return list, p
	}
	for _, at := range []struct {
		path, form string
		in         bool
	}{
		{"/approve/1?vault=default", "", true}, {"/approve/1?token=x", "", false}, {"/vaults", "", true},
		{"/vaults/x", "", true}, {"/vaults/x/start", "", true}, {"/vaults/x/services/x", "", true}, {"/vaults/x/credentials/{words}", "", true},
		{"/vaults/x/catalog?search={words}", "", true}, {"/vaults/x/catalog/x", "", true}, {"/vaults/x/services?host={words}", "", true},
		{"/vaults/x/services", "host=a.test&auth=passthrough", true},
		{"/vaults/default/traffic?agent={words}&host={words}&service={words}&status={words}&cursor={words}", "", true},
		{"/vaults/x/approvals", "", true}, {"/vaults/x/approvals/1", "", true}, {"/vaults/x/approvals/2", "", true},
		{"/vaults/x/approvals/1", "decision=allow&digest=x", true},
		{"/connect/callback/{words}?state=x&code=x", "", false}, {"/connect/callback/x?state=x&error={words}&error_description={words}", "", false},
		{"/vaults/x/services/x/connect", "login.email=x", true}, {"/connect/callback/x", "state=x&code=x", true},
		{"/vaults/default/traffic/charts", "", true}, {"/vaults/default/traffic/hosts", "", true}, {"/instance", "", true},
	} {
		wanted, _ := tags("x", at.path, at.form, at.in)
		for _, words := range hostile {
			got, p := tags(words, at.path, at.form, at.in)
			if a, b := without(wanted), without(got); !slices.Equal(a, b) {
				t.Errorf("%s with %.60q has other elements:\n%q\nnot\n%q", at.path, words, b, a)
			}
			checkAttributes(t, p, words)
			if strings.ContainsFunc(p.body, func(r rune) bool { return r != '\n' && r != '\t' && shown.Deceptive(r) }) {
				t.Errorf("%s with %.60q shows a character that deceives", at.path, words)
			}
		}
	}
}

// without leaves out the elements of which there are as many as the words have
// parts: a host's domain and what it stands for.
func without(tags []string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(t string) bool {
		return t == "b" || t == "span" || t == "bdi"
	})
}

// checkAttributes holds every attribute of a page to what pages have.
func checkAttributes(t *testing.T, p page, words string) {
	t.Helper()
	for _, n := range p.nodes() {
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc", strings.HasPrefix(a.Key, "hx-on"), strings.HasPrefix(a.Key, "data-"):
				t.Errorf("%.60q: <%s %s=%q>", words, n.Data, a.Key, a.Val)
			case a.Key == "href" && n.Data == "a" && strings.Contains(attr(n, "rel"), "noreferrer"): // it leads elsewhere
				if u, err := url.Parse(a.Val); err != nil || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
					t.Errorf("%.60q: a link to %q", words, a.Val)
				}
			case slices.Contains([]string{"href", "src", "action", "formaction", "hx-get", "hx-post"}, a.Key):
				if a.Val != "" && a.Val != "#main" && (!strings.HasPrefix(a.Val, "/") || strings.HasPrefix(a.Val, "//")) {
					t.Errorf("%.60q: <%s %s=%q>", words, n.Data, a.Key, a.Val)
				}
			}
		}
	}
}
