package api_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"agentvault/api"
)

// A row says what one route answers to each caller: a letter for each, in the
// order of callers.
//
//	.  the status of success
//	1  401 unauthorized
//	f  403 forbidden
//	v  403 vault_forbidden
//	o  403 login_too_old
//	n  404, of whatever kind
//	b  400, of whatever kind
//	c  409, of whatever kind
//
// The path is the route's unless there is another; <words> are the world's. The
// action is what vault/permissions.go asks: TestMatrixAgreesWithPermissions
// holds the letters against it. "~" before it: what the caller may not see is
// left out rather than refused. "" is asked of nobody.
type row struct{ route, path, body, action, want string }

var matrix = []row{
	//                                                                            nobody
	//                                                                            garbage
	//                                                                            ended  owner     proxy   session
	//                                                                              │    outsider  member  other-session
	//                                                                              │    no-access admin   agents
	//                                                                              │    old-owner old     other-agent
	//                                                                              │      │       other   lease
	{"GET /health", "", "", "", "                                                  ... .... ..... ......."},
	{"GET /ready", "", "", "", "                                                   ... .... ..... ......."},
	{"GET /metrics", "", "", "", "                                                 ... .... ..... ......."},
	{"GET /v1/status", "", "", "", "                                               ... .... ..... ......."},
	{"GET /v1/server", "", "", "instance.read", "                                  111 .ff. fffff ffffff1"},
	{"GET /v1/mitm/ca.pem", "", "", "", "                                          ... .... ..... ......."},
	{"GET /v1/ca", "", "", "", "                                                   ... .... ..... ......."},
	{"POST /v1/ca/rotate", "", `{"overlap_seconds":60}`, "ca.rotate", "            111 .ffo fffff ffffff1"},
	{"POST /v1/ca/finish", "", "", "ca.rotate", "                                  111 cffo fffff ffffff1"},
	{"GET /v1/openapi.json", "", "", "", "                                         ... .... ..... ......."},

	{"POST /v1/auth/register", "", loginBody, "", "                                ccc cccc ccccc ccccccc"},
	{"POST /v1/auth/login", "", loginBody, "", "                                   ... .... ..... ......."},
	{"POST /v1/auth/logout", "", "", "self", "                                     111 .... ..... ffffff1"},
	{"GET /v1/auth/me", "", "", "self", "                                          111 .... ..... ffffff1"},
	{"POST /v1/auth/join", "", joinBody, "", "                                     ... .... ..... ......."},
	{"POST /v1/auth/reauthenticate", "", `{"password":"<password>"}`, "self", "    111 .... ..... ffffff1"},
	{"PUT /v1/auth/password", "", passwordsBody, "self", "                         111 .... ..... ffffff1"},
	{"GET /v1/auth/logins", "", "", "self", "                                      111 .... ..... ffffff1"},
	{"DELETE /v1/auth/logins/{id}", "/v1/auth/logins/<admin-login>", "", "self", " 111 nnnn nn..n ffffff1"},
	{"GET /join/{token}", "/join/<user-invite-token>", "", "", "                   ... .... ..... ......."},

	{"GET /v1/users", "", "", "user.list", "                                       111 .ff. fffff ffffff1"},
	{"PATCH /v1/users/{email}", idle, `{"role":"owner"}`, "user.invite", "         111 .ffo fffff ffffff1"},
	{"DELETE /v1/users/{email}", idle, "", "user.remove", "                        111 .ff. fffff ffffff1"},
	{"GET /v1/users/invites", "", "", "user.list", "                               111 .ff. fffff ffffff1"},
	{"POST /v1/users/invites", "", `{"email":"a@b.test"}`, "user.invite", "        111 .ffo fffff ffffff1"},
	{"DELETE /v1/users/invites/{id}", "/v1/users/invites/<user-invite>", "", "user.remove", "111 .ff. fffff ffffff1"},

	{"GET /discover", "", "", "discover", "                                        111 ffff fffff .....v1"},
	{"GET /v1/skills/agent-vault", "", "", "", "                                   ... .... ..... ......."},

	{"GET /v1/vaults", "", "", "~vault.list", "                                    111 ..f. ..... ffffff1"},
	{"POST /v1/vaults", "", `{"name":"team-b"}`, "vault.create", "                 111 ..f. ..... ffffff1"},
	{"GET /v1/vaults/{name}", inDefault, "", "vault.read", "                       111 .vf. ....v ffffff1"},
	{"PATCH /v1/vaults/{name}", inDefault, `{"name":"renamed"}`, "vault.rename", " 111 .vf. ff..v ffffff1"},
	{"PATCH /v1/vaults/{name}", inDefault, unmatched, "vault.settings", "          111 .vfo ff.ov ffffff1"},
	{"DELETE /v1/vaults/{name}", inDefault, "", "vault.delete", "                  111 .vf. ff..v ffffff1"},
	{"GET /v1/vaults/{name}/services", servicesPath, "", "vault.read", "           111 .vf. ....v ffffff1"},
	{"PUT /v1/vaults/{name}/services", servicesPath, servicesBody, "service.change", "111 .vfo f..ov ffffff1"},
	{"POST /v1/vaults/{name}/services", servicesPath, servicesBody, "service.change", "111 .vfo f..ov ffffff1"},
	{"GET /v1/vaults/{name}/services/{service}", theAPI, "", "vault.read", "       111 .vf. ....v ffffff1"},
	{"PATCH /v1/vaults/{name}/services/{service}", theAPI, `{"enabled":true}`, "service.change", "111 .vfo f..ov ffffff1"},
	{"PATCH /v1/vaults/{name}/services/{service}", theAPI, `{"scrub":"off"}`, "service.change", "111 .vfo f..ov ffffff1"},
	{"PATCH /v1/vaults/{name}/services/{service}", theAPI, `{"enabled":false}`, "service.disable", "111 .vf. f...v ffffff1"},
	{"DELETE /v1/vaults/{name}/services/{service}", theAPI, "", "service.change", "111 .vfo f..ov ffffff1"},
	{"POST /v1/vaults/{name}/services/review", servicesPath + "/review", servicesBody, "vault.read", "111 .vf. ....v ffffff1"},
	{"GET /v1/vaults/{name}/services/{service}/limits", theAPI + "/limits", "", "vault.read", "       111 .vf. ....v ffffff1"},
	{"GET /v1/vaults/{name}/state", inDefault + "/state", "", "vault.read", "      111 .vf. ....v ffffff1"},
	{"POST /v1/vaults/{name}/services/{service}/connect", theAPI + "/connect", `{"redirect_uri":""}`, "credential.change", "111 bvfb fbbbv ffffff1"},
	{"POST /v1/connections", "", `{"state":"unknown","code":"a"}`, "credential.change", "111 nnfn nnnnn ffffff1"},
	{"GET /v1/vaults/{name}/members", inDefault + "/members", "", "member.list", " 111 .vf. f...v ffffff1"},
	{"PUT /v1/vaults/{name}/members/{email}", idleMember, `{"role":"admin"}`, "member.change", "111 .vfo ff.ov ffffff1"},
	{"DELETE /v1/vaults/{name}/members/{email}", idleMember, "", "member.remove", "111 .vf. ff..v ffffff1"},
	{"POST /v1/vaults/{name}/catalog", inDefault + "/catalog", `{"entry":"github"}`, "service.change", "111 .vfo f..ov ffffff1"},

	{"GET /v1/credentials", "/v1/credentials" + q, "", "vault.read", "             111 .vf. ....v ffffff1"},
	{"POST /v1/credentials", "", credentialsBody, "credential.change", "           111 .vf. f...v ffffff1"},
	{"DELETE /v1/credentials/{key}", theKey + q, "", "credential.change", "        111 .vf. f...v ffffff1"},
	{"GET /v1/credentials/{key}/dummy", theKey + "/dummy" + q, "", "vault.read", "111 .vf. ....v ffffff1"},
	{"GET /v1/credentials/{key}/versions", theKey + "/versions" + q, "", "vault.read", "111 .vf. ....v ffffff1"},
	{"POST /v1/credentials/{key}/rollback", theKey + "/rollback", `{"vault":"default"}`, "credential.change", "111 .vf. f...v ffffff1"},
	{"POST /v1/apply", "", `{"vaults":[{"name":"default"}]}`, "vault.read", "      111 .vf. ....v ffffff1"},
	{"POST /v1/apply", "", applied(`"unmatched_hosts":"tunnel"`), "vault.settings", "111 .vfo ff.ov ffffff1"},
	{"POST /v1/apply", "", applied(`"services":[]`), "service.change", "           111 .vfo f..ov ffffff1"},
	{"POST /v1/apply", "", applied(`"credentials":{"NEW_KEY":"some value"}`), "credential.change", "111 .vf. f...v ffffff1"},
	{"POST /v1/apply", "", `{"vaults":[{"name":"team-b"}]}`, "vault.create", "     111 ..f. ..... ffffff1"},

	{"GET /v1/catalog", "", "", "", "                                              ... .... ..... ......."},
	{"GET /v1/catalog/{name}", "/v1/catalog/github", "", "", "                     ... .... ..... ......."},

	{"GET /v1/sessions", "/v1/sessions" + q, "", "session.mint", "                 111 .vf. ....v ffffff1"},
	{"POST /v1/sessions", "", `{"vault":"default"}`, "session.mint", "             111 .vf. ....v ffffff1"},
	{"POST /v1/sessions/renew", "", "", "-", "                                     111 1111 11111 111111."},
	{"DELETE /v1/sessions/self", "", "", "session.end", "                          111 ffff fffff ..bbbb1"},
	{"DELETE /v1/sessions/{id}", "/v1/sessions/<idle-session>", "", "session.list", "111 .nf. n...n ffffff1"},

	{"GET /v1/agents", "", "", "~agent.list", "                                    111 ..f. ..... ffffff1"},
	{"POST /v1/agents", "", newAgent, "agent.grant", "                             111 .vfo ff.ov ffffff1"},
	{"POST /v1/agents", "", `{"name":"robot-new"}`, "-", "                         111 .bfo bbbob ffffff1"},
	{"POST /v1/agents/{name}/rotate", idleAgent + "/rotate", "", "agent.grant", "  111 .nfo nf.on ffffff1"},
	{"POST /v1/agents/{name}/revoke", idleAgent + "/revoke", "", "agent.revoke", " 111 .nf. nf..n ffffff1"},
	{"PATCH /v1/agents/{name}", idleAgent, `{"name":"robot-new"}`, "agent.revoke", "111 .nf. nf..n ffffff1"},
	{"DELETE /v1/agents/{name}", idleAgent, "", "agent.revoke", "                  111 .nf. nf..n ffffff1"},
	{"PUT /v1/agents/{name}/vaults/{vault}", idleAgent + "/vaults/default", `{}`, "agent.grant", "111 .vfo ff.ov ffffff1"},
	{"DELETE /v1/agents/{name}/vaults/{vault}", idleAgent + "/vaults/default", "", "agent.revoke", "111 .vf. ff..v ffffff1"},
	{"PUT /v1/agents/{name}/vaults/{vault}/services/{service}", partOfAPI, `{"lasts_seconds":60}`, "agent.grant", "111 .vfo ff.ov ffffff1"},
	{"DELETE /v1/agents/{name}/vaults/{vault}/services/{service}", partOfAPI, "", "agent.revoke", "111 .vf. ff..v ffffff1"},
	{"GET /v1/agents/invites", "", "", "~agent.list", "                            111 ..f. ..... ffffff1"},
	{"POST /v1/agents/invites", "", newAgent, "agent.grant", "                     111 .vfo ff.ov ffffff1"},
	{"DELETE /v1/agents/invites/{id}", "/v1/agents/invites/<agent-invite>", "", "agent.revoke", "111 .nf. nf..n ffffff1"},
	{"POST /invite/{token}", "/invite/<agent-invite-token>", `{}`, "", "           ... .... ..... ......."},

	{"POST /v1/proposals", "", proposed, "proposal.create", "                      111 .vf. ....v .....v1"},
	{"GET /v1/proposals", "", "", "~proposal.create", "                            111 .vf. ....v .....v1"},
	{"GET /v1/proposals/{id}", "/v1/proposals/1", "", "-", "                       111 .vf. n...v .nnnnv1"},
	{"GET /v1/proposals/{id}/review", "/v1/proposals/1/review" + q, "", "proposal.reject", "111 .vf. f...v ffffff1"},
	{"POST /v1/proposals/{id}/approve", "/v1/proposals/1/approve" + q, `{"digest":"<digest>"}`, "proposal.decide", "111 .vfo f..ov ffffff1"},
	{"POST /v1/proposals/{id}/reject", "/v1/proposals/1/reject" + q, `{}`, "proposal.reject", "111 .vf. f...v ffffff1"},
	{"GET /approve/{id}", "/approve/1?token=<approve-token>", "", "", "            ... .... ..... ......."},

	{"GET /v1/approvals", "/v1/approvals" + q, "", "approval.decide", "            111 .vf. f...v ffffff1"},
	{"GET /v1/approvals/{id}", "/v1/approvals/1" + q, "", "approval.decide", "     111 .vf. f...v ffffff1"},
	{"POST /v1/approvals/{id}/allow", "/v1/approvals/1/allow" + q, `{"digest":"<held-digest>"}`, "approval.decide", "111 .vf. f...v ffffff1"},
	{"POST /v1/approvals/{id}/deny", "/v1/approvals/1/deny" + q, `{"digest":"<held-digest>"}`, "approval.decide", "111 .vf. f...v ffffff1"},

	{"GET /v1/logs", "/v1/logs" + q, "", "record.read", "                          111 .vf. f...v ffffff1"},
	{"GET /v1/logs", "/v1/logs", "", "-", "                                        111 .bf. bbbbb ffffff1"},
	{"GET /v1/logs/series", "/v1/logs/series" + q, "", "record.read", "            111 .vf. f...v ffffff1"},
	{"GET /v1/logs/series", "/v1/logs/series", "", "-", "                          111 .bf. bbbbb ffffff1"},
	{"GET /v1/hosts", "/v1/hosts" + q, "", "record.read", "                        111 .vf. f...v ffffff1"},
	{"GET /v1/hosts", "/v1/hosts", "", "-", "                                      111 .bf. bbbbb ffffff1"},
	{"GET /v1/events", "/v1/events" + q, "", "record.read", "                      111 .vf. f...v ffffff1"},
	{"GET /v1/events", "/v1/events", "", "instance.record", "                      111 .ff. fffff ffffff1"},
	{"POST /v1/policy/check", "/v1/policy/check", `{"vault":"default","method":"GET","url":"https://api.test/v1/"}`, "vault.read", "111 .vf. ....v ffffff1"},
	{"GET /v1/policy/check", "/v1/policy/check" + q + "&method=GET&url=https://api.test/v1/", "", "vault.read", "111 .vf. ....v ffffff1"},
	{"POST /v1/policy/replay", "", `{"vault":"default","services":[]}`, "record.read", "111 .vf. f...v ffffff1"},
}

const (
	idle          = "/v1/users/idle@example.test"
	inDefault     = "/v1/vaults/default"
	theAPI        = servicesPath + "/api"
	theKey        = "/v1/credentials/API_KEY"
	idleMember    = inDefault + "/members/idle@example.test"
	idleAgent     = "/v1/agents/agent-idle"
	partOfAPI     = "/v1/agents/agent-part/vaults/default/services/api"
	unmatched     = `{"unmatched_hosts":"tunnel"}`
	newAgent      = `{"name":"robot-new","vaults":[{"vault_name":"default","vault_role":"proxy"}]}`
	joinBody      = `{"token":"<user-invite-token>","password":"another long password"}`
	passwordsBody = `{"old_password":"<password>","new_password":"another long password"}`
)

var proposed = fmt.Sprintf(proposalBody, "asked", "ASKED_KEY", "some value")

func applied(what string) string { return `{"vaults":[{"name":"default",` + what + `}]}` }

func (r row) method() string { method, _, _ := strings.Cut(r.route, " "); return method }

// address is the path, with words.
func (r row) address() string {
	if r.path != "" {
		return r.path
	}
	_, path, _ := strings.Cut(r.route, " ")
	return path
}

// letters are the row's, by caller.
func (r row) letters(t testing.TB) map[string]byte {
	t.Helper()
	who, want := strings.Fields(callers), strings.ReplaceAll(r.want, " ", "")
	if len(who) != len(want) {
		t.Fatalf("%s: %d letters for %d callers", r.route, len(want), len(who))
	}
	all := make(map[string]byte)
	for i, caller := range who {
		all[caller] = want[i]
	}
	return all
}

// letter is how the matrix writes an answer, given the status of success.
func (a reply) letter(t testing.TB, success int) byte {
	t.Helper()
	var e refusal
	if a.status != success {
		a.into(t, a.status, &e)
	}
	switch {
	case a.status == success:
		return '.'
	case a.status == http.StatusUnauthorized:
		return '1'
	case e.Error == "forbidden":
		return 'f'
	case e.Error == "vault_forbidden":
		return 'v'
	case e.Error == "login_too_old":
		return 'o'
	case a.status == http.StatusNotFound:
		return 'n'
	case a.status == http.StatusBadRequest:
		return 'b'
	case a.status == http.StatusConflict:
		return 'c'
	}
	return '?'
}

// as makes the row's request as one of the callers.
func (w *world) as(caller string, r row) *http.Request {
	w.t.Helper()
	token, ok := w.tokens[caller]
	if !ok {
		w.t.Fatalf("the world has no %s", caller)
	}
	req := request(r.method(), w.fill(r.address()), token, w.fill(r.body))
	req.Header.Set("X-Vault", "default")
	return req
}

// TestMatrix tries every route as every kind of caller, and holds each answer
// to the document.
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	documented := make(map[string]operation)
	for _, o := range operations(document(t)) {
		documented[o.String()] = o
	}
	for _, r := range matrix {
		t.Run(r.route, func(t *testing.T) {
			o, ok := documented[r.route]
			if !ok {
				t.Fatal("the document lacks it")
			}
			want := r.letters(t)
			f := w.copy()
			for _, caller := range strings.Fields(callers) {
				req := w.as(caller, r)
				a := f.do(req)
				if got := a.letter(t, o.success()); got != want[caller] {
					t.Errorf("%s: %c, want %c: %d %s", caller, got, want[caller], a.status, a.body)
				}
				o.holds(t, a)
				switch {
				case a.status/100 != 2 && a.header.Get(api.ErrorHeader) != "true":
					t.Errorf("%s: a refusal without %s: %s", caller, api.ErrorHeader, a.body)
				case a.status/100 == 2 && req.Method != http.MethodGet:
					f = w.copy() // the next one finds the world as it was
				}
			}
		})
	}
}

// success is the status that the document says the operation succeeds with.
func (o operation) success() int {
	for status := range o.Responses.Map() {
		if n, err := strconv.Atoi(status); err == nil && n/100 == 2 {
			return n
		}
	}
	return 0
}

// TestMatrixIsComplete: the matrix has every route that the document lists, and
// no other; and the document says of each whose token is needed.
func TestMatrixIsComplete(t *testing.T) {
	rows := make(map[string][]row)
	for _, r := range matrix {
		rows[r.route] = append(rows[r.route], r)
	}
	for _, o := range operations(document(t)) {
		if len(rows[o.String()]) == 0 {
			t.Errorf("the matrix lacks %s", o)
		}
		asks, says := false, strings.Contains(o.Description, "login_too_old")
		for _, r := range rows[o.String()] {
			checkAudience(t, o, r.letters(t))
			asks = asks || strings.Contains(r.want, "o")
		}
		if asks != says {
			t.Errorf("%s: the document says that it asks for the password again: %t; it does: %t", o, says, asks)
		}
		delete(rows, o.String())
	}
	for route := range rows {
		t.Errorf("the document lacks %s", route)
	}
}

// checkAudience holds what the document says of a route's callers against what
// they get.
func checkAudience(t *testing.T, o operation, want map[string]byte) {
	t.Helper()
	if needsToken, refused := len(*o.Security) > 0, want["nobody"] == '1'; needsToken != refused {
		t.Errorf("%s: the document says that a token is needed: %t; nobody gets %c", o, needsToken, want["nobody"])
	}
	about, _, _ := strings.Cut(o.Description, "\n")
	for caller, got := range want {
		agent, lease := strings.Contains(caller, "agent") || strings.Contains(caller, "session"), caller == "lease"
		nobody := want[caller] == '1'
		switch about {
		case "For people.":
			if agent && got != 'f' || lease && !nobody {
				t.Errorf("%s: %s But %s gets %c", o, about, caller, got)
			}
		case "For agents.":
			if !agent && got != 'f' && !nobody {
				t.Errorf("%s: %s But %s gets %c", o, about, caller, got)
			}
		case "For who minted a session with a lease.":
			if lease == nobody {
				t.Errorf("%s: %s But %s gets %c", o, about, caller, got)
			}
		case "Needs no token.", "For anyone with a token.":
		default:
			t.Errorf("%s: for whom? %q", o, about)
		}
	}
}
