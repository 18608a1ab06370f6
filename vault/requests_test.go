package vault_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

// hour is how far apart the requests of recorded begin.
const hour = time.Hour

// recorded is a fixture whose log has one request of each kind, an hour apart,
// the first at its beginning. Their ids are a, b, c …
func recorded(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	agents, err := f.Agents(t.Context(), f.owner)
	must(t, err)
	_, err = f.CreateVault(t.Context(), f.owner, "other-vault")
	must(t, err)
	f.log(t, vault.RequestBatch{Requests: []vault.Request{
		f.request("a", f.sessionID, "GET", "https://api.stripe.com:443", "/v1/charges", 200, ""),
		f.request("b", agents[0].ID, "POST", "https://api.stripe.com:443", "/v1/charges", 404, ""),
		f.request("c", f.sessionID, "GET", "https://api.other.com:443", "/", 403, "forbidden"),
		f.request("d", f.sessionID, "GET", "https://api.other.com:8443", "/", 403, "forbidden"),
		f.request("e", agents[0].ID, "PUT", "https://api.other.com:443", "/x", 403, "forbidden"),
		f.request("f", f.sessionID, "GET", "https://api.stripe.com:443", "/v1/slow", 502, "upstream_error"),
		f.request("g", f.sessionID, "GET", "https://api.stripe.com:443", "/v1/stream", -1, ""),
		f.request("h", "gone", "CONNECT", "tunnel://blind.example.com:443", "", 200, ""),
		f.request("i", f.sessionID, "GET", "https://api.cut.com:443", "/", 200, "forbidden"), // a stream whose service went
	}})
	other := f.request("j", f.sessionID, "GET", "https://api.other.com:443", "/", 403, "forbidden")
	other.Vault = "other-vault"
	f.log(t, vault.RequestBatch{Requests: []vault.Request{other}})
	return f
}

func (f *fixture) request(id, session, method, target, path string, status int, fault string) vault.Request {
	_, host, _ := strings.Cut(target, "://")
	host, _, _ = strings.Cut(host, ":")
	r := vault.Request{
		ID: id, Time: epoch.Add(time.Duration(id[0]-'a') * hour), Entrance: "path", SessionID: session, Vault: mainVault,
		Target: target, Host: host, Method: method, Path: path, Fault: fault,
	}
	switch session {
	case f.sessionID:
		r.Agent, r.AgentKind = "a label", vault.KindSession
	case "gone":
	default:
		r.Agent, r.AgentKind = "robot", vault.KindAgent
	}
	if status >= 0 {
		r.Status = &status
	}
	return r
}

// log takes a batch in, of vaults that are named as they are now.
func (f *fixture) log(t *testing.T, b vault.RequestBatch) {
	t.Helper()
	for i := range b.Requests {
		if r := &b.Requests[i]; r.Vault != "" {
			r.VaultID = f.get(t, r.Vault).ID
		}
	}
	must(t, f.db.AppendRequests(t.Context(), b))
}

func ids(p vault.RequestPage) string {
	var all strings.Builder
	for _, r := range p.Requests {
		all.WriteString(r.ID)
	}
	return all.String()
}

func TestRequestsByFilter(t *testing.T) {
	f := recorded(t)
	for _, row := range []struct {
		filter vault.RequestFilter
		want   string // ids, newest first
	}{
		{vault.RequestFilter{}, "jihgfedcba"},
		{vault.RequestFilter{Vault: mainVault}, "ihgfedcba"},
		{vault.RequestFilter{Vault: "other-vault"}, "j"},
		{vault.RequestFilter{Agent: "robot"}, "eb"},
		{vault.RequestFilter{Agent: "a label"}, "jigfdca"},
		{vault.RequestFilter{Agent: f.sessionID}, "jigfdca"},
		{vault.RequestFilter{Agent: "gone"}, "h"},
		{vault.RequestFilter{Agent: "nobody"}, ""},
		{vault.RequestFilter{Host: "API.other.com"}, "jedc"},
		{vault.RequestFilter{Host: "api.other.com:8443"}, "d"},
		{vault.RequestFilter{Host: "blind.example.com:443"}, "h"},
		{vault.RequestFilter{Host: "other.com"}, ""},
		{vault.RequestFilter{Status: "200"}, "iha"},
		{vault.RequestFilter{Status: "4xx"}, "jedcb"},
		{vault.RequestFilter{Status: "refused"}, "jiedc"},
		{vault.RequestFilter{Status: "forbidden"}, "jiedc"},
		{vault.RequestFilter{Status: "unknown"}, "g"},
		{vault.RequestFilter{Service: "none"}, ""},
		{vault.RequestFilter{Since: epoch.Add(7 * hour)}, "jih"},
		{vault.RequestFilter{Until: epoch.Add(2 * hour)}, "ba"},
		{vault.RequestFilter{Since: epoch.Add(hour), Until: epoch.Add(3 * hour)}, "cb"},
		{vault.RequestFilter{Vault: mainVault, Agent: "a label", Host: "api.other.com", Status: "403", Since: epoch.Add(3 * hour)}, "d"},
	} {
		p, err := f.Requests(t.Context(), f.owner, row.filter)
		must(t, err)
		if ids(p) != row.want || p.Next != "" {
			t.Errorf("%+v: %s, next %q; want %s", row.filter, ids(p), p.Next, row.want)
		}
	}
}

func TestRequestsPageByPage(t *testing.T) {
	f := newFixture(t)
	var all []vault.Request
	for i := range 25 { // several at one time
		r := f.request("a", f.sessionID, "GET", "https://api.stripe.com:443", "/", 200, "")
		r.ID, r.Time = fmt.Sprintf("%02d.", i), epoch.Add(time.Duration(i/10)*hour)
		all = append(all, r)
	}
	f.log(t, vault.RequestBatch{Requests: all})
	var got strings.Builder
	filter := vault.RequestFilter{Vault: mainVault, Limit: 7}
	pages := 0
	for more := true; more; pages++ {
		p, err := f.Requests(t.Context(), f.owner, filter)
		must(t, err)
		got.WriteString(ids(p))
		filter.Before, more = p.Next, p.Next != ""
		// What comes in meanwhile shifts nothing.
		f.log(t, vault.RequestBatch{Requests: []vault.Request{{ID: fmt.Sprint("new", pages), Time: epoch.Add(10 * hour), Vault: mainVault}}})
	}
	var want strings.Builder
	for i := 24; i >= 0; i-- {
		fmt.Fprintf(&want, "%02d.", i)
	}
	diff(t, "ids", want.String(), got.String())
	if pages != 4 {
		t.Errorf("%d pages, want 4", pages)
	}
}

func TestRequestsThatCannotBeMeant(t *testing.T) {
	f := newFixture(t)
	for _, row := range []struct {
		filter  vault.RequestFilter
		message string
	}{
		{vault.RequestFilter{Limit: -1}, "limit: it is from 1 to 1000"},
		{vault.RequestFilter{Limit: 1001}, "limit: it is from 1 to 1000"},
		{vault.RequestFilter{Host: "a b"}, `host: host "a b": ' ' does not belong into a host name`},
		{vault.RequestFilter{Status: "40"}, `status: "40" is none of a code such as 404, a class such as 4xx, refused, why it was, such as forbidden, and unknown`},
		{vault.RequestFilter{Status: "0xx"}, `status: "0xx" is none of a code such as 404, a class such as 4xx, refused, why it was, such as forbidden, and unknown`},
		{vault.RequestFilter{Status: "-1xx"}, `status: "-1xx" is none of a code such as 404, a class such as 4xx, refused, why it was, such as forbidden, and unknown`},
		{vault.RequestFilter{Before: "x"}, "cursor: it is none of those that were given out"},
		{vault.RequestFilter{Before: "1--2"}, "cursor: it is none of those that were given out"},
	} {
		_, err := f.Requests(t.Context(), f.owner, row.filter)
		refused(t, fmt.Sprintf("%+v", row.filter), vault.CodeBadRequest, row.message, err)
	}
	_, err := f.Requests(t.Context(), f.owner, vault.RequestFilter{Vault: "no-vault"})
	wantCode(t, "another vault", vault.CodeVaultNotFound, err)
	for _, after := range []string{"", "x", "-1", "1-2"} {
		_, err := f.FollowRequests(t.Context(), f.owner, vault.RequestFilter{After: after}, 0, nil)
		refused(t, after, vault.CodeBadRequest, "after: it is none of the cursors that were given out", err)
	}
}

// A vault that took the name of another shows nothing of that other's.
func TestRequestsOfAVaultOfTheSameName(t *testing.T) {
	f := recorded(t)
	f.log(t, vault.RequestBatch{Uses: map[vault.CredentialUse]time.Time{{VaultID: f.get(t, mainVault).ID, Key: "STRIPE_KEY"}: epoch.Add(hour)}})
	uses, err := f.CredentialUses(t.Context(), f.owner, mainVault)
	must(t, err)
	diff(t, "uses", map[string]time.Time{"STRIPE_KEY": epoch.Add(hour)}, uses)
	must(t, f.DeleteVault(t.Context(), f.owner, mainVault))
	f.pass(24 * hour)
	_, err = f.CreateVault(t.Context(), f.owner, mainVault)
	must(t, err)
	f.set(t, "STRIPE_KEY", "another value")
	filter := vault.RequestFilter{Vault: mainVault}
	p, err := f.Requests(t.Context(), f.owner, filter)
	must(t, err)
	hosts, err := f.RefusedHosts(t.Context(), f.owner, filter)
	must(t, err)
	replay, err := f.ReplayPolicy(t.Context(), f.owner, mainVault, time.Time{}, nil)
	must(t, err)
	uses, err = f.CredentialUses(t.Context(), f.owner, mainVault)
	must(t, err)
	if len(p.Requests) != 0 || len(hosts) != 0 || replay.Requests != 0 || len(uses) != 0 {
		t.Errorf("%s, %v, %+v, %v", ids(p), hosts, replay, uses)
	}
	if p, err = f.Requests(t.Context(), f.owner, vault.RequestFilter{}); err != nil || len(p.Requests) != 10 {
		t.Errorf("without a vault: %s, %v; want all", ids(p), err)
	}
}

func TestFollowRequests(t *testing.T) {
	f := recorded(t)
	p, err := f.Requests(t.Context(), f.owner, vault.RequestFilter{Limit: 1})
	must(t, err)
	filter := vault.RequestFilter{Agent: "a label", After: p.Follow}
	follow := func(wait time.Duration, stop <-chan struct{}) string {
		t.Helper()
		p, err := f.FollowRequests(t.Context(), f.owner, filter, wait, stop)
		must(t, err)
		filter.After = p.Follow
		return ids(p)
	}
	if got := follow(0, nil); got != "" {
		t.Errorf("nothing has happened, and %s came", got)
	}
	f.log(t, vault.RequestBatch{Requests: []vault.Request{
		f.request("k", f.sessionID, "GET", "https://api.stripe.com:443", "/", -1, ""),
		f.request("l", "gone", "GET", "https://api.stripe.com:443", "/", 200, ""),
		f.request("m", f.sessionID, "GET", "https://api.stripe.com:443", "/", 200, ""),
	}})
	if got := follow(0, nil); got != "km" {
		t.Errorf("begun: %s, want km", got)
	}
	f.log(t, vault.RequestBatch{Again: true, Requests: []vault.Request{
		f.request("k", f.sessionID, "GET", "https://api.stripe.com:443", "/", 200, ""),
		f.request("m", f.sessionID, "GET", "https://api.stripe.com:443", "/", 200, ""), // seen twice
		f.request("g", f.sessionID, "GET", "https://api.stripe.com:443", "/v1/stream", 200, ""),
	}})
	filter.Limit = 1
	if got := follow(0, nil) + follow(0, nil) + follow(0, nil); got != "kg" {
		t.Errorf("ended: %s, want kg, one by one", got)
	}

	// Who waits gets it as soon as it is there.
	came := make(chan string)
	go func() { came <- follow(time.Minute, nil) }()
	f.log(t, vault.RequestBatch{Requests: []vault.Request{f.request("n", "gone", "GET", "https://api.stripe.com:443", "/", 200, "")}}) // not for it
	f.log(t, vault.RequestBatch{Requests: []vault.Request{f.request("o", f.sessionID, "GET", "https://api.stripe.com:443", "/", 200, "")}})
	if got := <-came; got != "o" {
		t.Errorf("waited for %s, want o", got)
	}
	stop := make(chan struct{})
	close(stop)
	if got := follow(time.Minute, stop); got != "" {
		t.Errorf("stopped, and %s came", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.FollowRequests(ctx, f.owner, filter, time.Minute, nil); err == nil {
		t.Error("nobody is there to read, and there is no error")
	}
}

func TestRefusedHosts(t *testing.T) {
	f := recorded(t)
	hosts, err := f.RefusedHosts(t.Context(), f.owner, vault.RequestFilter{Status: "unknown"}) // is not looked at
	must(t, err)
	for i := range hosts {
		if id := f.get(t, hosts[i].Vault).ID; hosts[i].VaultID != id {
			t.Errorf("%s of the vault %s, want %s", hosts[i].Host, hosts[i].VaultID, id)
		}
		hosts[i].VaultID = ""
	}
	diff(t, "hosts", []vault.RefusedHost{
		{Vault: mainVault, Target: "https://api.other.com:443", Host: "api.other.com", Count: 2, LastAt: epoch.Add(4 * hour), Agents: []string{"a label", "robot"}, Methods: []string{"GET", "PUT"}},
		{Vault: "other-vault", Target: "https://api.other.com:443", Host: "api.other.com", Count: 1, LastAt: epoch.Add(9 * hour), Agents: []string{"a label"}, Methods: []string{"GET"}},
		{Vault: mainVault, Target: "https://api.other.com:8443", Host: "api.other.com:8443", Count: 1, LastAt: epoch.Add(3 * hour), Agents: []string{"a label"}, Methods: []string{"GET"}},
	}, hosts)
	hosts, err = f.RefusedHosts(t.Context(), f.owner, vault.RequestFilter{Vault: mainVault, Since: epoch.Add(4 * hour), Limit: 5})
	must(t, err)
	if len(hosts) != 1 || hosts[0].Count != 1 {
		t.Errorf("since the fourth hour: %+v", hosts)
	}
	_, err = f.SetServices(t.Context(), f.owner, mainVault, services(t, `[{"name": "other", "host": "*.other.com", "auth": {"type": "passthrough"}}]`))
	must(t, err)
	must(t, f.DeleteVault(t.Context(), f.owner, "other-vault"))
	hosts, err = f.RefusedHosts(t.Context(), f.owner, vault.RequestFilter{})
	must(t, err)
	for i, covered := range []bool{true, false, false} {
		if hosts[i].Covered != covered {
			t.Errorf("%s of %s: covered %t, want %t", hosts[i].Target, hosts[i].Vault, hosts[i].Covered, covered)
		}
	}
}

const ruledServices = `[
	{"name": "stripe", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}, "rules": [
		{"methods": ["DELETE"], "paths": ["/v1/keep/*"], "action": "deny"},
		{"methods": ["GET", "DELETE"], "paths": ["/v1/*"]}]},
	{"name": "open", "host": "open.example.com", "auth": {"type": "passthrough"}},
	{"name": "novalue", "host": "*.example.org", "auth": {"type": "bearer", "token": "NOT_SET"}},
	{"name": "off", "host": "off.example.com", "enabled": false, "auth": {"type": "passthrough"}},
	{"name": "part", "host": "part.example.com/v1/*", "auth": {"type": "passthrough"}}]`

func TestCheckPolicy(t *testing.T) {
	f := newFixture(t)
	_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, ruledServices))
	must(t, err)
	for _, row := range []struct {
		method, url                           string
		allowed                               bool
		reason, service, fault, explanation   string
		rule                                  int
		credentials, allowedMethods, rulePath string
	}{
		{method: "GET", url: "https://api.stripe.com/v1/charges?limit=1", allowed: true, reason: "allowed", service: "stripe", rule: 1, credentials: "[{STRIPE_KEY true}]", rulePath: "/v1/*",
			explanation: "allowed by the service stripe, by its rule 1; it goes out with STRIPE_KEY (bearer)"},
		{method: "DELETE", url: "API.stripe.com:443/v1/keep/a", reason: "method_not_allowed", service: "stripe", rule: 0, fault: "method_not_allowed", credentials: "[{STRIPE_KEY true}]", allowedMethods: "[GET]", rulePath: "/v1/keep/*",
			explanation: "refused: rule 0 of the service stripe denies it; on this path the service stripe allows GET"},
		{method: "POST", url: "api.stripe.com/v1/charges", reason: "method_not_allowed", service: "stripe", rule: -1, fault: "method_not_allowed", credentials: "[{STRIPE_KEY true}]", allowedMethods: "[DELETE GET]",
			explanation: "refused: no rule of the service stripe allows it; on this path the service stripe allows DELETE, GET"},
		{method: "GET", url: "api.stripe.com", reason: "path_not_allowed", service: "stripe", rule: -1, fault: "path_not_allowed", credentials: "[{STRIPE_KEY true}]",
			explanation: "refused: no rule of the service stripe allows it, nor does the service allow another method on this path"},
		{method: "GET", url: "api.stripe.com/v1/../x", reason: "path_ambiguous", service: "stripe", rule: -1, fault: "path_not_allowed", credentials: "[{STRIPE_KEY true}]",
			explanation: "refused: path rules apply, and this path could be read in two ways"},
		{method: "GET", url: "part.example.com/v1//x", reason: "path_ambiguous", rule: -1, fault: "path_not_allowed",
			explanation: "refused: path rules apply, and this path could be read in two ways"},
		{method: "GET", url: "part.example.com/v2", reason: "no_service", rule: -1, fault: "forbidden",
			explanation: "refused: no service of the vault covers https://part.example.com:443"},
		{method: "PUT", url: "open.example.com/a//b", allowed: true, reason: "allowed", service: "open", rule: -1,
			explanation: "allowed by the service open, which has no rules; it goes out as the agent sent it"},
		{method: "GET", url: "a.example.org", allowed: true, reason: "allowed", service: "novalue", rule: -1, fault: "credential_not_found", credentials: "[{NOT_SET false}]",
			explanation: "allowed by the service novalue, which has no rules, but NOT_SET has no value yet, so the agent gets credential_not_found"},
		{method: "GET", url: "off.example.com", reason: "service_disabled", service: "off", rule: -1, fault: "service_disabled",
			explanation: "refused: the service off covers it and is disabled"},
		{method: "GET", url: "http://open.example.com/", reason: "no_service", rule: -1, fault: "forbidden",
			explanation: "refused: no service of the vault covers http://open.example.com:80"},
		{method: "get", url: "open.example.com", reason: "malformed", rule: -1, fault: "bad_request",
			explanation: "refused, whatever the services: methods are upper case"},
		{method: "G T", url: "open.example.com", reason: "malformed", rule: -1, fault: "bad_request",
			explanation: "refused, whatever the services: the method is not one: it is a word without spaces, as in GET"},
		{method: "GET", url: "open.example.com/a b", reason: "malformed", rule: -1, fault: "bad_request",
			explanation: "refused, whatever the services: a request target must not hold spaces or control characters"},
	} {
		v, err := f.CheckPolicy(t.Context(), f.owner, vault.PolicyQuestion{Vault: mainVault, Method: row.method, URL: row.url})
		must(t, err)
		what := row.method + " " + row.url
		if v.Allowed != row.allowed || v.Reason != row.reason || v.Service != row.service || v.Fault != row.fault || v.Rule != row.rule || v.Explanation != row.explanation {
			t.Errorf("%s: %+v", what, v)
		}
		if got := list0(v.Credentials); got != row.credentials {
			t.Errorf("%s: credentials %s, want %s", what, got, row.credentials)
		}
		if got := list0(v.AllowedMethods); got != row.allowedMethods {
			t.Errorf("%s: allowed methods %s, want %s", what, got, row.allowedMethods)
		}
		if path := ""; v.RuleText != nil || row.rulePath != "" {
			if v.RuleText != nil {
				path = v.RuleText.Paths[0]
			}
			if path != row.rulePath {
				t.Errorf("%s: rule of %s, want %s", what, path, row.rulePath)
			}
		}
	}
	for url, message := range map[string]string{
		"":                         `url: host "": it is empty`,
		"https://10.1/":            `url: host "10.1": it ends in a number but is not an IPv4 address in its usual form, as in 192.0.2.1`,
		"gopher://api.example.com": `url: host "api.example.com": the scheme is neither https nor http`,
	} {
		_, err := f.CheckPolicy(t.Context(), f.owner, vault.PolicyQuestion{Vault: mainVault, Method: "GET", URL: url})
		refused(t, url, vault.CodeBadRequest, message, err)
	}
	_, err = f.CheckPolicy(t.Context(), f.owner, vault.PolicyQuestion{Vault: mainVault, Method: "", URL: "api.stripe.com"})
	refused(t, "no method", vault.CodeBadRequest, "method: it is missing, as in GET", err)
	_, err = f.CheckPolicy(t.Context(), f.owner, vault.PolicyQuestion{Vault: "no-vault", Method: "GET", URL: "api.stripe.com"})
	wantCode(t, "another vault", vault.CodeVaultNotFound, err)
}

// list0 spells a list, an empty one as "".
func list0[T any](l []T) string {
	if len(l) == 0 {
		return ""
	}
	return fmt.Sprint(l)
}

func TestCheckPolicyOfABlindTunnel(t *testing.T) {
	f := newFixture(t)
	_, err := f.Apply(t.Context(), f.owner, declare(vault.VaultDeclaration{Name: mainVault, UnmatchedHosts: vault.UnmatchedTunnel}))
	must(t, err)
	for url, want := range map[string]bool{
		"https://other.example.com": true, "https://other.example.com:8443": true,
		"http://other.example.com": false, "https://192.0.2.1": false, "https://api.stripe.com:8443": true, "https://api.stripe.com": false,
	} {
		v, err := f.CheckPolicy(t.Context(), f.owner, vault.PolicyQuestion{Vault: mainVault, Method: "GET", URL: url})
		must(t, err)
		if v.Tunnel != want || v.Tunnel && (v.Allowed || !strings.Contains(v.Explanation, "blind tunnel")) {
			t.Errorf("%s: %+v, want a tunnel: %t", url, v, want)
		}
	}
}

func TestReplayPolicy(t *testing.T) {
	f := recorded(t)
	held := f.request("k", f.sessionID, "GET", "https://api.stripe.com:443", "[held a token]", 400, "bad_request")
	ambiguous := f.request("l", f.sessionID, "GET", "https://api.stripe.com:443", "/v1//x", 200, "")
	again := f.request("m", f.sessionID, "POST", "https://api.stripe.com:443", "/v1/charges", 200, "")
	f.log(t, vault.RequestBatch{Requests: []vault.Request{held, ambiguous, again}})
	proposed := `[
		{"name": "stripe-read", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}, "rules": [{"methods": ["GET"], "paths": ["/v1/*"]}]},
		{"name": "other", "host": "api.other.com", "auth": {"type": "passthrough"}, "rules": [{"methods": ["GET"]}]}]`
	before := f.revision(t)
	got, err := f.ReplayPolicy(t.Context(), f.owner, mainVault, time.Time{}, services(t, proposed))
	must(t, err)
	if after := f.revision(t); after != before {
		t.Errorf("revision %d, was %d", after, before)
	}
	allowed := vault.Decided{Allowed: true, Reason: "allowed", Service: "stripe"}
	diff(t, "replay", vault.Replay{
		Vault: mainVault, Requests: 12, Distinct: 11, Skipped: 2,
		Flips: []vault.Flip{
			{Method: "POST", Target: "https://api.stripe.com:443", Path: "/v1/charges", Count: 2, LastAt: epoch.Add(12 * hour), Agents: []string{"a label", "robot"},
				Before: allowed, After: vault.Decided{Reason: "method_not_allowed", Service: "stripe-read"}},
			{Method: "GET", Target: "https://api.stripe.com:443", Path: "/v1//x", Count: 1, LastAt: epoch.Add(11 * hour), Agents: []string{"a label"},
				Before: allowed, After: vault.Decided{Reason: "path_ambiguous", Service: "stripe-read"}},
			{Method: "GET", Target: "https://api.other.com:443", Path: "/", Count: 1, LastAt: epoch.Add(2 * hour), Agents: []string{"a label"},
				Before: vault.Decided{Reason: "no_service"}, After: vault.Decided{Allowed: true, Reason: "allowed", Service: "other"}},
		},
	}, got)

	got, err = f.ReplayPolicy(t.Context(), f.owner, mainVault, epoch.Add(12*hour), services(t, proposed))
	must(t, err)
	if got.Requests != 1 || len(got.Flips) != 1 || got.Flips[0].Count != 1 {
		t.Errorf("since the twelfth hour: %+v", got)
	}
	got, err = f.ReplayPolicy(t.Context(), f.owner, mainVault, time.Time{}, f.get(t, mainVault).Services)
	must(t, err)
	if len(got.Flips) != 0 {
		t.Errorf("the same services flip %+v", got.Flips)
	}
	_, err = f.ReplayPolicy(t.Context(), f.owner, mainVault, time.Time{}, services(t, `[{"name": "bad", "host": "*", "auth": {"type": "passthrough"}}]`))
	wantCode(t, "services that cannot be", vault.CodeBadRequest, err)
}

// A condition is replayed where method and path tell its outcome; of others it is said
// how many requests they decide.
func TestReplayConditions(t *testing.T) {
	f := recorded(t)
	for rules, want := range map[string]struct {
		unsure int64
		flips  int
	}{
		`{"when": "method == 'GET'"}`:                                            {0, 1},
		`{"when": "path.startsWith('/v1/') || method == 'GET'"}`:                 {0, 0},
		`{"when": "json.amount < 500.0"}`:                                        {4, 0},
		`{"methods": ["GET"]}, {"when": "json.amount < 500.0"}`:                  {1, 0},
		`{"when": "json.amount < 500.0"}, {}`:                                    {4, 0},
		`{"when": "\"x\" in headers"}, {}`:                                       {0, 0}, // allowed either way
		`{"when": "\"x\" in headers"}, {"action": "deny"}`:                       {4, 0},
		`{"when": "\"x\" in headers && method == 'NONE'"}, {"action": "deny"}`:   {0, 4},
		`{"when": "\"x\" in headers", "action": "deny"}, {}`:                     {4, 0},
		`{"when": "agent == 'robot' && method == 'NONE'", "action": "deny"}, {}`: {0, 0},
	} {
		got, err := f.ReplayPolicy(t.Context(), f.owner, mainVault, time.Time{}, services(t, `[{"name": "stripe", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}, "rules": [`+rules+`]}]`))
		must(t, err)
		if got.Unsure != want.unsure || len(got.Flips) != want.flips || got.Skipped < got.Unsure {
			t.Errorf("%s: %d unsure of %d skipped, %d flips; want %d and %d", rules, got.Unsure, got.Skipped, len(got.Flips), want.unsure, want.flips)
		}
	}
}

func TestRequestSeries(t *testing.T) {
	f := recorded(t)
	s, err := f.RequestSeries(t.Context(), f.owner, vault.RequestFilter{Vault: mainVault, Since: epoch, Until: epoch.Add(10 * hour)}, 2)
	must(t, err)
	want := vault.RequestSeries{CompleteFrom: epoch, Points: []vault.RequestPoint{
		{Time: epoch, Requests: 5, Refused: 3, Timed: 2},
		{Time: epoch.Add(5 * hour), Requests: 4, Refused: 1},
	}}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v, want %+v", s, want)
	}
	for name, ask := range map[string]struct {
		f      vault.RequestFilter
		points int
	}{
		"no point":           {vault.RequestFilter{}, 0},
		"too many points":    {vault.RequestFilter{}, 401},
		"until before since": {vault.RequestFilter{Since: epoch.Add(hour), Until: epoch}, 1},
		"no time":            {vault.RequestFilter{Since: epoch, Until: epoch.Add(9 * time.Millisecond)}, 10},
		"all time":           {vault.RequestFilter{Since: time.UnixMilli(1)}, 10},
		"a status":           {vault.RequestFilter{Status: "x"}, 10},
	} {
		_, err := f.RequestSeries(t.Context(), f.owner, ask.f, ask.points)
		wantCode(t, name, vault.CodeBadRequest, err)
	}
}
