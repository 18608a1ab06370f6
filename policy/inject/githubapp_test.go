package inject_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// A fakeGitHub gives tokens as api.github.com documents it: over TLS, and for
// assertions that hold only.
type fakeGitHub struct {
	*httptest.Server
	key    *rsa.PrivateKey
	issuer string
	now    time.Time

	answer func(w http.ResponseWriter) // in place of a token
	asked  []string                    // bodies
}

func newFakeGitHub(t *testing.T) *fakeGitHub {
	t.Helper()
	g := &fakeGitHub{key: must(rsa.GenerateKey(rand.Reader, 2048)), issuer: "Iv23liTest", now: time.Unix(1_800_000_000, 0)}
	g.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(t, w, r) }))
	t.Cleanup(g.Close)
	return g
}

func (g *fakeGitHub) serve(t *testing.T, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	g.asked = append(g.asked, string(body))
	if r.Method != "POST" || r.URL.Path != "/api/v3/app/installations/42/access_tokens" || r.URL.RawQuery != "" || r.Host != "example.com" ||
		r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") != "2022-11-28" || r.Header.Get("User-Agent") == "" {
		t.Errorf("asked %s %s%s, %v", r.Method, r.Host, r.URL, r.Header)
	}
	if len(body) > 0 && r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a body of type %q", r.Header.Get("Content-Type"))
	}
	if g.answer != nil {
		g.answer(w)
		return
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	header, claims := checkJWS(t, token, g.key.Public())
	iat, _ := claims["iat"].(float64)
	exp, _ := claims["exp"].(float64)
	now := float64(g.now.Unix())
	if !bearer || header["alg"] != "RS256" || claims["iss"] != g.issuer || iat > now || exp <= now || exp > now+600 {
		t.Errorf("assertion %v %v", header, claims)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"token":"ghs_16C7e42F292c6912E7710c838347Ae178B4a","expires_at":%q,"permissions":{"contents":"read"}}`, g.now.Add(time.Hour).UTC().Format(time.RFC3339))
}

// mint is what the broker does for a service of the kind.
func (g *fakeGitHub) mint(t *testing.T, auth string, open func(string) (seal.Plaintext, error)) (inject.Token, error) {
	t.Helper()
	in, err := parse(t, auth)
	if err != nil {
		t.Fatal(err)
	}
	transport := g.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, g.Listener.Addr().String())
	}
	defer transport.CloseIdleConnections()
	return in.(inject.Minter).Mint(t.Context(), inject.Minting{Open: open, Do: transport.RoundTrip, Now: g.now})
}

func (g *fakeGitHub) values() func(string) (seal.Plaintext, error) {
	return values(map[string]string{"PEM": pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(g.key))})
}

const githubAuth = `{"type":"github-app","client_id":"Iv23liTest","private_key":"PEM","installation_id":42,"api_url":"https://example.com/api/v3/"`

func TestGitHubAppMints(t *testing.T) {
	g := newFakeGitHub(t)
	for _, row := range []struct{ more, asked string }{
		{`}`, ""},
		{`,"repositories":["one","two.x"]}`, `{"repositories":["one","two.x"]}`},
		{`,"repositories":["one"],"permissions":{"contents":"write","issues":"read"}}`, `{"repositories":["one"],"permissions":{"contents":"write","issues":"read"}}`},
	} {
		g.asked = nil
		token, err := g.mint(t, githubAuth+row.more, g.values())
		if err != nil {
			t.Fatal(err)
		}
		if string(token.Value.Bytes()) != "ghs_16C7e42F292c6912E7710c838347Ae178B4a" || !token.Expires.Equal(g.now.Add(time.Hour)) || token.Rotated != nil {
			t.Errorf("%s until %s", token.Value.Bytes(), token.Expires)
		}
		if diff := cmp.Diff([]string{row.asked}, g.asked); diff != "" {
			t.Error(diff)
		}
	}
	g.issuer = "7"
	if _, err := g.mint(t, strings.Replace(githubAuth, `"client_id":"Iv23liTest"`, `"app_id":7`, 1)+`}`, g.values()); err != nil {
		t.Error(err)
	}
}

// Each answer that GitHub documents says what a person must do, and nothing of
// what GitHub wrote.
func TestGitHubAppRefused(t *testing.T) {
	g := newFakeGitHub(t)
	for _, row := range []struct {
		status      int
		header, say string
		key         string
		final       bool
		want        string
	}{
		{401, "", "A JSON web token could not be decoded", "PEM", true, "GitHub does not take the private key of the app: it was deleted, or is another app's; ask a person to generate one in the app's settings, and to set the credential PEM"},
		{401, "", "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires", "", false, "GitHub does not take the time of the app's assertion; ask a person to set the clock of the vault's machine"},
		{403, "", "This installation has been suspended", "", true, "the installation 42 of the app is suspended; ask a person to unsuspend it in the settings of its account on GitHub"},
		{403, "", "Resource not accessible by integration", "", true, "GitHub refuses the app a token for the installation 42; ask a person to look at the app's and the installation's settings on GitHub"},
		{403, "X-RateLimit-Remaining", "API rate limit exceeded", "", false, "GitHub takes no more requests for tokens of this app for now; try again later"},
		{429, "Retry-After", "", "", false, "GitHub takes no more requests for tokens of this app for now; try again later"},
		{404, "", "Not Found", "", true, "GitHub knows no installation 42 of this app: it was uninstalled, or the ids are not the app's; ask a person to install the app, and to check app_id or client_id, installation_id and api_url of the service"},
		{422, "", "The permissions requested are not granted to this installation.", "", true, "the installation 42 of the app lacks repositories or permissions that the service asks for; ask a person to grant them to the installation on GitHub, or to take them out of the service"},
		{500, "", "", "", false, "GitHub gives no token; try again later"},
		{301, "", "", "", false, "GitHub gives no token; try again later"},
		{201, "", "no token", "", false, "GitHub's answer is no token; ask a person to check the service's api_url"},
	} {
		g.answer = func(w http.ResponseWriter) {
			if row.header != "" {
				w.Header().Set(row.header, "0")
			}
			w.WriteHeader(row.status)
			json.NewEncoder(w).Encode(map[string]string{"message": row.say})
		}
		_, err := g.mint(t, githubAuth+`}`, g.values())
		var me *inject.MintError
		if !errors.As(err, &me) || me.Reason != row.want || me.Key != row.key || me.Final != row.final || row.say != "" && strings.Contains(me.Err.Error(), row.say) {
			t.Errorf("%d %q:\n got %+v\nwant %s", row.status, row.say, me, row.want)
		}
	}
	g.answer = func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	var me *inject.MintError
	if _, err := g.mint(t, githubAuth+`}`, g.values()); !errors.As(err, &me) || me.Reason != "GitHub could not be asked for a token; try again later" || me.Final {
		t.Errorf("%v", err)
	}
	g.answer = nil
	var ve *inject.ValueError
	if _, err := g.mint(t, githubAuth+`}`, values(map[string]string{"PEM": "sk-live"})); !errors.As(err, &ve) || ve.Key != "PEM" {
		t.Errorf("%v", err)
	}
	if _, err := g.mint(t, githubAuth+`}`, values(nil)); err == nil || err.Error() != "no value for PEM" {
		t.Errorf("%v", err)
	}
}

// The API wants Bearer, git wants Basic; on GitHub Enterprise one host has both.
func TestGitHubAppPlaces(t *testing.T) {
	const bearer, basic = "Bearer ghs_abcdefgh", "Basic eC1hY2Nlc3MtdG9rZW46Z2hzX2FiY2RlZmdo"
	const public, enterprise = `{"type":"github-app","app_id":"7","private_key":"PEM","installation_id":"42"}`, `{"type":"github-app","app_id":"7","private_key":"PEM","installation_id":"42","api_url":"https://GHE.example.com:443/api/v3"}`
	for _, row := range []struct{ auth, host, path, want string }{
		{public, "api.github.com", "/repos/a/b", bearer},
		{public, "api.github.com", "/repos/a/b/contents/info/refs", bearer},
		{public, "uploads.github.com", "/repos/a/b/releases/1/assets", bearer},
		{public, "github.com", "/a/b.git/info/refs", basic},
		{public, "github.com", "/a/b/git-upload-pack", basic},
		{public, "github.com", "/a/b.git/git-receive-pack", basic},
		{public, "github.com", "/a/b.git/info/lfs/objects/batch", basic},
		{public, "github.com", "/a/b/archive/main.zip", bearer},
		{enterprise, "ghe.example.com", "/api/v3/repos/a/b/contents/info/refs", bearer},
		{enterprise, "ghe.example.com", "/api/graphql", bearer},
		{enterprise, "ghe.example.com", "/a/b.git/info/refs", basic},
	} {
		in, err := parse(t, row.auth)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"PEM"}, in.Keys()); diff != "" {
			t.Error(diff)
		}
		req := inject.Request{Method: "GET", Host: row.host, Path: row.path, Header: map[string][]string{"Authorization": {"Basic bWluZTptaW5l"}}, Token: seal.NewPlaintext([]byte("ghs_abcdefgh"))}
		in.Slots().Strip(&req)
		if err := in.Inject(&req, values(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string][]string{"Authorization": {row.want}}, req.Header); diff != "" {
			t.Errorf("%s%s: %s", row.host, row.path, diff)
		}
	}
	in, err := parse(t, enterprise)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"https://ghe.example.com/api/v3/app/installations/42/access_tokens"}, in.(inject.Minter).Endpoints()); diff != "" {
		t.Error(diff)
	}
	if err := in.Inject(&inject.Request{}, values(nil)); err == nil {
		t.Error("it goes out without a token")
	}
}

func TestGitHubAppRefuses(t *testing.T) {
	with := func(field string) string {
		return `{"type":"github-app","app_id":7,"private_key":"K","installation_id":42,` + field + `}`
	}
	for auth, want := range map[string]string{
		`{"type":"github-app"}`:                                                       `auth github-app: field app_id: it is missing; it is the App ID on the app's page, or client_id is its Client ID`,
		`{"type":"github-app","app_id":"seven"}`:                                      `auth github-app: field app_id: it is a number, the App ID on the app's page`,
		`{"type":"github-app","app_id":[7]}`:                                          `auth github-app: an id is text or a number`,
		`{"type":"github-app","client_id":"Iv23 li"}`:                                 `auth github-app: field client_id: it is the Client ID on the app's page, as in Iv23liABCdefGHIjklMN`,
		`{"type":"github-app","app_id":7,"client_id":"Iv23li"}`:                       `auth github-app: field client_id: it stands beside app_id; one of them is enough`,
		`{"type":"github-app","app_id":7}`:                                            `auth github-app: field private_key is missing; it names a credential key, as in API_KEY`,
		`{"type":"github-app","app_id":7,"private_key":"K"}`:                          `auth github-app: field installation_id: it is a number, the last part of the URL of the installation's settings`,
		`{"type":"github-app","app_id":7,"private_key":"K","installation_id":"../1"}`: `auth github-app: field installation_id: it is a number, the last part of the URL of the installation's settings`,
		with(`"repositories":[]`):                                                     "auth github-app: field repositories: it is empty, and would mean all that the installation has; leave it out where that is meant",
		with(`"permissions":{}`):                                                      "auth github-app: field permissions: it is empty, and would mean all that the installation has; leave it out where that is meant",
		with(`"repositories":["octo/one"]`):                                           `auth github-app: field repositories: "octo/one" is not the name of a repository; it stands without its owner`,
		with(`"permissions":{"Contents":"read"}`):                                     `auth github-app: field permissions: "Contents" is not the name of a permission, as in contents`,
		with(`"permissions":{"contents":"all"}`):                                      `auth github-app: field permissions: contents is read, write or admin`,
		with(`"api_url":"http://ghe.example.com/api/v3"`):                             `auth github-app: field api_url: it is an https:// URL, as in https://github.example.com/api/v3`,
		with(`"api_url":"https://u:p@ghe.example.com"`):                               `auth github-app: field api_url: it is an https:// URL, as in https://github.example.com/api/v3`,
		with(`"api_url":"https://ghe.example.com/?a=b"`):                              `auth github-app: field api_url: it is an https:// URL, as in https://github.example.com/api/v3`,
		with(`"api_url":"https://ghe.example.com/\n"`):                                `auth github-app: field api_url: it is an https:// URL, as in https://github.example.com/api/v3`,
		with(`"token":"K"`):                                                           `auth github-app: it has no field "token"; its fields are app_id, client_id, private_key, installation_id, repositories, permissions, api_url`,
	} {
		if _, err := parse(t, auth); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", auth, err, want)
		}
	}
	if _, err := parse(t, with(`"api_url":"https://bad_host/"`)); err == nil || !strings.HasPrefix(err.Error(), "auth github-app: field api_url: ") {
		t.Errorf("%v", err)
	}
}
