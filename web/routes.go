package web

import "net/http"

// access says for whom a page is.
type access uint8

const (
	signedIn access = iota // others are asked to sign in, in its place
	either                 // for both; visit.me tells them apart
	anyone                 // who asks is not looked up
)

// A route is one line of the table.
type route struct {
	method, path string // as in net/http's patterns
	access       access
	shared       bool     // the API answers under this path too, to those who want no HTML
	fields       []string // that its form has; "value.*" is all that begin so
	serve        func(*visit) error
}

// table is every page. A new one is a line here, a handler, and a file in
// templates.
func (p *Pages) table() []route {
	return []route{
		{method: "GET", path: "/{$}", access: anyone, serve: func(v *visit) error { return v.goTo(home) }},
		{method: "GET", path: "/static/{hash}/{name}", access: anyone, serve: serveAsset},
		{method: "GET", path: "/sign-in", access: either, serve: signInPage},
		{method: "POST", path: "/sign-in", access: signedIn, fields: []string{"next"}, serve: signInDone},
		{method: "POST", path: "/sign-out", access: either, serve: signOut},
		{method: "POST", path: "/register", access: either, fields: []string{"email", "password"}, serve: register},
		{method: "GET", path: "/join/{token}", access: either, shared: true, serve: joinPage},
		{method: "POST", path: "/join/{token}", access: either, shared: true, fields: []string{"password"}, serve: join},
		{method: "GET", path: "/approve/{id}", access: either, shared: true, serve: approvePage},
		{method: "POST", path: "/approve/{id}", access: signedIn, shared: true, fields: []string{"digest", "decision", "lasts", "note", "allow_short", "value.*"}, serve: decide},
		{method: "GET", path: home, access: signedIn, serve: homePage},
		{method: "POST", path: home, access: signedIn, fields: []string{"name"}, serve: newVault},
		{method: "GET", path: "/vaults/{vault}", access: signedIn, serve: vaultPage},
		{method: "POST", path: "/vaults/{vault}", access: signedIn, fields: []string{"do", "name", "unmatched_hosts", "sure", "email", "role", "id", "agent", "key", "value.", "allow_short"}, serve: changeVault},
		{method: "GET", path: "/vaults/{vault}/start", access: signedIn, serve: startPage},
		{method: "POST", path: "/vaults/{vault}/start", access: signedIn, fields: []string{"label", "ttl"}, serve: newSession},
		{method: "GET", path: "/vaults/{vault}/catalog", access: signedIn, serve: catalogPage},
		{method: "GET", path: "/vaults/{vault}/catalog/{entry}", access: signedIn, serve: entryPage},
		{method: "POST", path: "/vaults/{vault}/catalog/{entry}", access: signedIn, fields: []string{"tenant", "sure", "allow_short", "value.*"}, serve: addEntry},
		{method: "GET", path: "/vaults/{vault}/services", access: signedIn, serve: ownPage},
		{method: "POST", path: "/vaults/{vault}/services", access: signedIn, fields: ownFields(), serve: addOwn},
		{method: "GET", path: "/vaults/{vault}/services/{service}", access: signedIn, serve: servicePage},
		{method: "POST", path: "/vaults/{vault}/services/{service}", access: signedIn, fields: []string{"do"}, serve: changeService},
		{method: "POST", path: "/vaults/{vault}/services/{service}/connect", access: signedIn, serve: beginConnection},
		{method: "GET", path: CallbackPath + "{server}", access: anyone, serve: callbackPage},
		{method: "POST", path: CallbackPath + "{server}", access: signedIn, fields: []string{"state", "code"}, serve: finishConnection},
		{method: "GET", path: "/vaults/{vault}/credentials/{key}", access: signedIn, serve: credentialPage},
		{method: "POST", path: "/vaults/{vault}/credentials/{key}", access: signedIn, fields: []string{"do", "version", "allow_short", "value."}, serve: changeCredential},
		{method: "GET", path: "/vaults/{vault}/approvals", access: signedIn, serve: approvalsPage},
		{method: "GET", path: "/vaults/{vault}/approvals/{id}", access: signedIn, serve: approvalPage},
		{method: "POST", path: "/vaults/{vault}/approvals/{id}", access: signedIn, fields: []string{"digest", "decision", "note"}, serve: decideApproval},
		{method: "GET", path: home + "/{vault}/traffic", access: signedIn, serve: logPage},
		{method: "GET", path: home + "/{vault}/traffic/live", access: signedIn, serve: live},
		{method: "GET", path: home + "/{vault}/traffic/charts", access: signedIn, serve: chartsPage},
		{method: "GET", path: home + "/{vault}/traffic/hosts", access: signedIn, serve: hostsPage},
		{method: "GET", path: instancePath, serve: instancePage},
		{method: "GET", path: "/instance/ca/{file}", serve: downloadRoot},
		{method: "POST", path: invitePath, fields: []string{"email", "role", "vault.*"}, serve: inviteUser},
		{method: "POST", path: "/instance/users/invites/revoke", fields: []string{"id"}, serve: revokeUserInvite},
		{method: "POST", path: "/instance/users/role", fields: []string{"email", "role"}, serve: setUserRole},
		{method: "POST", path: "/instance/users/remove", fields: []string{"email"}, serve: removeUser},
		{method: "POST", path: "/instance/agents/rotate", fields: []string{"name"}, serve: rotateAgent},
		{method: "POST", path: "/instance/agents/revoke", fields: []string{"name"}, serve: revokeAgent},
		{method: "POST", path: "/instance/agents/invites/revoke", fields: []string{"id"}, serve: revokeAgentInvite},
		{method: "POST", path: "/instance/logins/end", fields: []string{"id"}, serve: endLogin},
		{method: "POST", path: "/instance/logins/end-others", serve: endOtherLogins},
		{method: "POST", path: "/instance/password", fields: []string{"old", "new"}, serve: changePassword},
	}
}

// home is the page that people begin with.
const home = "/vaults"

// serve makes a handler of a route: it reads the form, signs in who gave their
// password with it, and looks up who asks.
func (p *Pages) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Pages: p, w: w, r: r}
		defer v.contain()
		if err := v.begin(rt); err != nil {
			v.fail(err)
		} else if err := rt.serve(v); err != nil {
			v.fail(err)
		}
	})
}
