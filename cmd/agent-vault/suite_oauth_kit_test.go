package main_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// An oauthWorld is an authorization server that somebody else wrote, an API that
// asks it about each token that it gets, and a vault between that and agents.
type oauthWorld struct {
	*world
	browser, elsewhere *http.Client // of persons, here and at another machine
	issued             string       // a file: the refresh tokens that there ever were, each behind its client

	mu   sync.Mutex
	seen []sighting
}

// A sighting is a request that the API got.
type sighting struct {
	Host, Token, Body string
	Active            bool
	Sub, Scope        string // of the token, as its server says
}

const oauthServices = `
      - {name: robot, host: robot.test, auth: {type: oauth2, grant: client_credentials, token_url: "https://login.test/oauth/token", client_id_literal: sid1, client_secret: ROBOT_SECRET, scopes: [read, write]}}
      - {name: body, host: body.test, auth: {type: oauth2, grant: client_credentials, token_url: "https://login.test/oauth/token", client_id_literal: sid1, client_secret: ROBOT_SECRET, auth_style: body}}
      - {name: jwt, host: jwt.test, auth: {type: oauth2, grant: jwt_bearer, token_url: "https://login.test/oauth/token", private_key: SERVICE_KEY, key_id: key1, issuer: service, subject: service, assertion_for: "https://login.test", scopes: [openid]}}
      - {name: phone, host: phone.test, auth: {type: oauth2, grant: refresh_token, token_url: "https://login.test/oauth/token", authorization_url: "https://login.test/auth", client_id_literal: phone, refresh_token: PHONE_REFRESH, scopes: [openid, offline_access]}}
      - {name: desktop, host: desktop.test, auth: {type: oauth2, grant: refresh_token, token_url: "https://login.test/oauth/token", authorization_url: "https://login.test/auth", client_id_literal: desktop, client_secret: DESKTOP_SECRET, refresh_token: DESKTOP_REFRESH, scopes: [openid, offline_access]}}
      - {name: wrong, host: wrong.test, auth: {type: oauth2, grant: client_credentials, token_url: "https://login.test/oauth/token", client_id_literal: sid1, client_secret: DESKTOP_SECRET}}
      - {name: forged, host: forged.test, auth: {type: oauth2, grant: jwt_bearer, token_url: "https://login.test/oauth/token", private_key: FORGED_KEY, key_id: key1, issuer: service, subject: service, assertion_for: "https://login.test"}}
      - {name: garbage, host: garbage.test, auth: {type: oauth2, grant: refresh_token, token_url: "https://login.test/oauth/token", client_id_literal: phone, refresh_token: ROBOT_SECRET}}
`

// newOAuthWorld makes a world in which access tokens live that long.
func newOAuthWorld(t *testing.T, life time.Duration) *oauthWorld {
	t.Helper()
	program := suiteProgram(t, "oauth")
	w := &oauthWorld{world: &world{}, issued: filepath.Join(t.TempDir(), "issued")}
	ca := newAuthority(t, "Origin CA")
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	private, public := newServiceKey(t)
	forged, _ := newServiceKey(t)
	cert, key := pemOf(t, ca.leaf(t, "login.test"))
	login := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	startUpstream(t, login, program, "-listen", login, "-issuer", "https://login.test", "-cert", write("cert", cert), "-key", write("key", key),
		"-service-key", write("service-key", public), "-issued", w.issued, "-life", life.String())
	names := []string{"robot.test", "body.test", "jwt.test", "phone.test", "desktop.test", "wrong.test", "forged.test", "garbage.test"}
	w.origin = startOrigin(t, ca.leaf(t, names...), false, http.HandlerFunc(w.api))
	hosts := map[string]string{"login.test": login}
	for _, n := range names {
		hosts[n] = w.origin.Addr
	}
	w.browser, w.elsewhere = newVisitor(t, ca.pem, hosts, false), newVisitor(t, ca.pem, hosts, true)
	w.startKinds(t, ca, hosts, oauthServices, map[string]string{
		"ROBOT_SECRET": "verysecret", "DESKTOP_SECRET": "desktop-secret", "SERVICE_KEY": string(private), "FORGED_KEY": string(forged),
	})
	return w
}

func newServiceKey(t *testing.T) (private, public []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// api says whose token it was sent, and the token: it is careless.
func (w *oauthWorld) api(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever sent it has gone
	}
	s := sighting{Host: r.Host, Body: string(body)}
	s.Token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	answer := w.askLogin("/oauth/introspect", "api", "api-secret", url.Values{"token": {s.Token}})
	if err := json.Unmarshal([]byte(answer), &s); err != nil {
		http.Error(rw, err.Error()+" in "+answer, http.StatusInternalServerError)
		return
	}
	w.mu.Lock()
	w.seen = append(w.seen, s)
	w.mu.Unlock()
	if !s.Active {
		rw.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`) // RFC 6750 §3.1
		rw.WriteHeader(http.StatusUnauthorized)
	}
	json.NewEncoder(rw).Encode(map[string]string{"sub": s.Sub, "token": s.Token})
}

// askLogin sends a form to the authorization server, without the vault. A client without
// a secret says its id.
func (w *oauthWorld) askLogin(path, id, secret string, form url.Values) string {
	if secret == "" {
		form.Set("client_id", id)
	}
	r, err := http.NewRequest(http.MethodPost, "https://login.test"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		r.SetBasicAuth(id, secret)
	}
	resp, err := w.browser.Do(r)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%s %s %v", resp.Status, text, err)
	}
	return string(text)
}

// connects signs alice in for a service, by the form of the authorization server.
func (w *oauthWorld) connects(t *testing.T, service string, paste bool) {
	t.Helper()
	browser, args := w.browser, []string{service}
	if paste {
		browser, args = w.elsewhere, append(args, "--paste")
	}
	c := w.signIn(t, args...)
	form, err := browser.Get(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	id := form.Request.URL.Query().Get("authRequestID")
	if page := bodyOf(t, form); id == "" || !strings.Contains(page, `name="password"`) {
		t.Fatalf("no form to sign in: %s %s", form.Status, page)
	}
	resp, err := browser.PostForm("https://login.test/login/username", url.Values{"id": {id}, "username": {"alice"}, "password": {"verysecure"}})
	if err != nil {
		t.Fatal(err)
	}
	page, pasted := bodyOf(t, resp), ""
	if paste {
		pasted = ended(resp)
	}
	if said := c.end(pasted); !strings.Contains(said, "connected "+service+" in the vault default") {
		t.Fatalf("%s\nthe page is %s %s\nserver: %s", said, resp.Status, page, w.stderr)
	}
}

// sightings of a host, so far.
func (w *oauthWorld) sightings(host string) []sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.seen), func(s sighting) bool { return s.Host != host })
}

// tokensOf are the different ones that a host got, in the order of their first use.
func (w *oauthWorld) tokensOf(host string) (all []string) {
	for _, s := range w.sightings(host) {
		if !slices.Contains(all, s.Token) {
			all = append(all, s.Token)
		}
	}
	return all
}

// refreshTokens are those that a client ever got.
func (w *oauthWorld) refreshTokens(t *testing.T, client string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(w.issued)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if id, token, _ := strings.Cut(strings.TrimSpace(line), " "); id == client {
			all = append(all, token)
		}
	}
	return all
}

// use sends a request of an agent, which must see no token.
func (w *oauthWorld) use(t *testing.T, e entrance, c call) answer {
	t.Helper()
	a := w.do(e, w.token, c)
	for _, token := range w.tokensOf(c.host) {
		if strings.Contains(fmt.Sprint(a.header, a.body), token) {
			t.Errorf("%s, %s: the agent got a token: %v %s", e, c.host, a.header, a.body)
		}
	}
	return a
}

// nothingLeft looks for all tokens and secrets in what the vault leaves behind.
func (w *oauthWorld) nothingLeft(t *testing.T) {
	t.Helper()
	secrets := slices.Concat([]string{"verysecret", "desktop-secret"}, w.refreshTokens(t, "phone"), w.refreshTokens(t, "desktop"))
	for _, host := range []string{"robot.test", "body.test", "jwt.test", "phone.test", "desktop.test"} {
		secrets = append(secrets, w.tokensOf(host)...)
	}
	look := func(name string, text []byte) {
		for _, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				t.Errorf("%s holds %s", name, s)
			}
		}
	}
	look("the log", []byte(w.stderr.String()))
	if err := filepath.WalkDir(w.path("data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		look(path, text)
		return err
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%d tokens and secrets, none of them seen", len(secrets))
}
