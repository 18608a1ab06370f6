package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"agentvault/api"
)

// CallbackPath is where authorization servers send people back. Each has a page of
// its own: its host stands behind it.
const CallbackPath = "/connect/callback/"

// A connectView is the page that leads to an authorization server.
type connectView struct {
	Vault, Service string
	URL, Host      string // where the person signs in
	Redirect       string // where they come back
	ExpiresAt      time.Time
}

// beginConnection leads to an authorization server by a link: a form that answers
// with a redirect to another site is stopped by form-action.
func beginConnection(v *visit) error {
	vaultName, name := v.r.PathValue("vault"), v.r.PathValue("service")
	n, err := v.client.BeginConnection(v.ctx(), vaultName, name, api.ConnectRequest{})
	if err != nil {
		return v.carriedOut(err, "", v.showService)
	}
	return v.show(http.StatusOK, "connect.html", "Connect "+name, connectView{vaultName, name, n.URL, hostOf(n.URL), n.RedirectURI, n.ExpiresAt})
}

// A callback is what an authorization server answered (RFC 6749 §4.1.2), as far as
// the address that a browser came by can tell: anybody may have written it.
type callback struct {
	Server      string // host
	Action      string
	State, Code string
	Refused     string // why, in their words; "": there is a code
}

// callbackPage is where a person comes back. The browser came from another site and
// sends no cookie, and what changes something comes from a page of this origin: so
// nothing is done with the code until the person says so.
func callbackPage(v *visit) error {
	q, err := url.ParseQuery(v.r.URL.RawQuery)
	for _, name := range []string{"state", "code", "error", "error_description"} {
		if err != nil || len(q[name]) > 1 { // RFC 6749 §3.1
			return errNoAnswer
		}
	}
	c := callback{Server: v.r.PathValue("server"), Action: v.r.URL.EscapedPath(), State: q.Get("state"), Code: q.Get("code")}
	if q.Has("error") {
		c.Refused = strings.ToValidUTF8(cmp.Or(strings.TrimSpace(q.Get("error")+"\n"+q.Get("error_description")), "no reason"), "\ufffd")
		return v.show(http.StatusOK, "callback.html", "Not connected", c)
	}
	visible := func(s string) bool { // RFC 6749 appendix A.5 and A.11
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
	}
	if !visible(c.State) || !visible(c.Code) {
		return errNoAnswer
	}
	return v.show(http.StatusOK, "callback.html", "Connect the account", c)
}

var errNoAnswer = refusal{http.StatusBadRequest, "This is not the answer of an authorization server."}

// finishConnection has the code traded, and says what was stored.
func finishConnection(v *visit) error {
	at := v.BaseURL() + CallbackPath + url.PathEscape(v.r.PathValue("server"))
	done, err := v.client.FinishConnection(v.ctx(), api.ConnectionCode{State: v.form.Get("state"), Code: v.form.Get("code"), RedirectURI: at})
	var refused *api.ClientError
	switch {
	case err == nil:
		return v.show(http.StatusOK, "connected.html", "Connected", done)
	case isCode(err, api.CodeUnauthorized, api.CodeLoginTooOld), !errors.As(err, &refused):
		return err
	}
	v.explain(refused.Status, "Not connected", sentence(refused.Message))
	return nil
}
