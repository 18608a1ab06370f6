package main_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

const connectedAuth = `{"type": "oauth2", "grant": "refresh_token", "token_url": "https://login.test/token", "authorization_url": "https://login.test/authorize?access_type=offline",
	"client_id_literal": "app", "client_secret": "SECRET", "refresh_token": "REFRESH", "scopes": ["read", "send"]}`

// TestConnectStory: a person connects an account in a browser, which another site
// sends back without their cookie; first they say no there.
func TestConnectStory(t *testing.T) {
	ca := newAuthority(t, "Origin CA")
	endpoint := &strictEndpoint{codes: map[string]string{}, deny: true}
	login := startOrigin(t, ca.leaf(t, "login.test"), false, endpoint)
	w := &world{origin: startOrigin(t, ca.leaf(t, "mail.test"), false, originHandler())}
	w.startKinds(t, ca, map[string]string{"login.test": login.Addr, "mail.test": w.origin.Addr},
		"      - {name: mail, host: mail.test, auth: "+strings.ReplaceAll(connectedAuth, "\n", " ")+"}\n", map[string]string{"SECRET": "secret-of-the-app"})
	// The browser does not trust the CA of the tests.
	b := newBrowser(t, chromedp.Flag("host-resolver-rules", "MAP login.test "+login.Addr), chromedp.Flag("ignore-certificate-errors", true))
	b.keyboard = true

	b.open(w.API + "/vaults/default/services/mail")
	b.types("input[name='login.email']", ownerEmail)
	b.types("input[name='login.password']", ownerPassword)
	b.clicks("main button")
	leave := func() {
		b.clicks("form[action$='/connect'] button")
		b.says("You sign in at login.test", w.API+"/connect/callback/login.test")
		b.clicks("a[rel*=noreferrer]")
	}
	leave()
	b.says("Not connected", "access_denied")
	b.saysNot("Sign out")

	endpoint.mu.Lock()
	endpoint.deny = false
	endpoint.mu.Unlock()
	b.open(w.API + "/vaults/default/services/mail")
	leave()
	b.says("You come back from login.test")
	b.clicks("main form button")
	b.says("Connected", "mail", "REFRESH")
	b.saysNot("code-", "refresh-", "access-")
	b.clicks("main a")
	b.says("Service mail usable")

	a := w.do(byPath, w.token, call{host: "mail.test", target: "/"})
	if a.status != http.StatusOK || !strings.Contains(w.origin.received(), "\r\nAuthorization: Bearer access-") || strings.Contains(a.body, "access-") {
		t.Errorf("%d %s, the upstream got %s", a.status, a.body, w.origin.received())
	}
	endpoint.mu.Lock()
	redirect := endpoint.asked.Get("redirect_uri")
	state, used := endpoint.asked.Get("state"), len(endpoint.codes) == 0
	endpoint.mu.Unlock()
	if redirect != w.API+"/connect/callback/login.test" || !used {
		t.Errorf("it was asked to come back to %s; the code was used: %t", redirect, used)
	}
	w.keepsNot(t, state, "code-")
}

// saysNot holds that words do not stand on the page.
func (b *browser) saysNot(words ...string) {
	b.t.Helper()
	text := b.text()
	for _, w := range words {
		if strings.Contains(text, w) {
			b.t.Errorf("%q is in\n%s", w, text)
		}
	}
}

// keepsNot holds that words stand in no file of the server's, nor in what it said.
func (i *instance) keepsNot(t *testing.T, words ...string) {
	t.Helper()
	check := func(where, text string) {
		for _, word := range words {
			if strings.Contains(text, word) {
				t.Errorf("%q is in %s", word, where)
			}
		}
	}
	check("what it said", i.stderr.String())
	must(t, filepath.WalkDir(i.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		check(path, string(content))
		return err
	}))
}
