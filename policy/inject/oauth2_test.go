package inject_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/inject"
)

func TestOAuth2Messages(t *testing.T) {
	const at = `"token_url":"https://auth.example.com/token"`
	const client = `"grant":"client_credentials","client_id":"ID","client_secret":"SECRET"`
	for fields, want := range map[string]string{
		at:                         "field grant: it is one of client_credentials, refresh_token, jwt_bearer",
		at + `,"grant":"password"`: "field grant: it is one of client_credentials, refresh_token, jwt_bearer",
		client:                     "field token_url: it is missing; it is an https:// URL",
		client + `,"token_url":"http://auth.example.com/token"`:                                                           "field token_url: it is an https:// URL: credentials go nowhere without TLS",
		client + `,"token_url":"https://user@auth.example.com/token"`:                                                     "field token_url: it has no user and no fragment",
		client + `,"token_url":"https://auth.example.com/token#a"`:                                                        "field token_url: it has no user and no fragment",
		client + `,"token_url":"https://auth_example/token"`:                                                              `field token_url: host "auth_example": '_' does not belong`,
		client + `,"token_url":":"`:                                                                                       "field token_url: it is not a URL",
		at + `,"grant":"client_credentials","client_secret":"SECRET"`:                                                     "field client_id: it is missing; it names a credential key, or client_id_literal is the id itself",
		at + `,"grant":"client_credentials","client_id":"an-id","client_secret":"SECRET"`:                                 "field client_id must be the name of a credential in upper case",
		at + `,"grant":"client_credentials","client_id":"ID","client_id_literal":"id","client_secret":"SECRET"`:           "field client_id_literal: it stands beside client_id; one of them is enough",
		at + `,"grant":"client_credentials","client_id":"ID"`:                                                             "field client_secret: it is missing; it names a credential key, as in CLIENT_SECRET",
		at + `,"grant":"client_credentials","client_id":"ID","client_secret":"sk-live"`:                                   "field client_secret must be the name of a credential in upper case",
		at + `,"grant":"refresh_token","client_id":"ID"`:                                                                  "field refresh_token is missing; it names a credential key",
		at + `,"grant":"refresh_token","client_id":"ID","refresh_token":"R","auth_style":"header"`:                        "field auth_style: header needs a client_secret",
		at + `,` + client + `,"auth_style":"query"`:                                                                       "field auth_style: it is header or body",
		at + `,` + client + `,"refresh_token":"R"`:                                                                        "field refresh_token: it belongs to the grant refresh_token",
		at + `,` + client + `,"private_key":"K"`:                                                                          "field private_key: it belongs to the grant jwt_bearer",
		at + `,` + client + `,"authorization_url":"https://auth.example.com/authorize"`:                                   "field authorization_url: it belongs to the grant refresh_token",
		at + `,"grant":"refresh_token","client_id_literal":"id","refresh_token":"R","authorization_url":"http://a.test/"`: "field authorization_url: it is an https:// URL",
		at + `,"grant":"refresh_token","client_id":"ID","refresh_token":"R","authorization_url":"https://a.test/"`:        "field authorization_url: it needs a client_id_literal",
		at + `,"grant":"jwt_bearer","issuer":"me"`:                                                                        "field private_key is missing",
		at + `,"grant":"jwt_bearer","private_key":"K"`:                                                                    "field issuer: it is missing; it is who signs, as the token endpoint knows them",
		at + `,"grant":"jwt_bearer","private_key":"K","issuer":"me","client_secret":"S"`:                                  "field client_secret: it is of no use without a client_id",
		at + `,` + client + `,"scopes":["a b"]`:                                                                           "field scopes: a scope is a word without spaces",
		at + `,` + client + `,"scopes":[""]`:                                                                              "field scopes: a scope is a word without spaces",
		at + `,` + client + `,"audience":"a\nb"`:                                                                          "field audience: it is text of at most 512 bytes without line breaks",
		at + `,` + client + `,"header":"Host"`:                                                                            "field header: Host cannot carry a credential",
		at + `,` + client + `,"prefix":"{{ K }}"`:                                                                         "field prefix: it is short literal text",
		at + `,` + client + `,"token":"K"`:                                                                                `it has no field "token"; its fields are grant, token_url`,
	} {
		if _, err := parse(t, `{"type":"oauth2",`+fields+`}`); err == nil || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "auth oauth2: "), want) {
			t.Errorf("%s: %v, want %q", fields, err, want)
		}
	}
	for fields, want := range map[string]string{
		`"scopes":["a"]`:             "field key is missing",
		`"key":"K"`:                  "field scopes: it is missing",
		`"key":"K","scopes":["a b"]`: "field scopes: a scope is a word without spaces",
		`"key":"K","scopes":["a"],"token_url":"http://oauth2.googleapis.com/token"`: "field token_url: it is an https:// URL",
		`"key":"K","scopes":["a"],"subject":" a"`:                                   "field subject: it is text of at most 512 bytes",
	} {
		if _, err := parse(t, `{"type":"google-service-account",`+fields+`}`); err == nil || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "auth google-service-account: "), want) {
			t.Errorf("%s: %v, want %q", fields, err, want)
		}
	}
}

// A tokenServer keeps what it was asked, and answers with a token.
type tokenServer struct {
	*httptest.Server
	header http.Header
	form   url.Values
	answer string
}

func newTokenServer(t *testing.T) *tokenServer {
	s := &tokenServer{answer: `{"access_token":"the-access-token","token_type":"Bearer","expires_in":3600}`}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		s.header, s.form = r.Header, r.PostForm
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, s.answer)
	}))
	t.Cleanup(s.Close)
	return s
}

// mint has an auth, whose every TOKEN_URL is the server's, get a token.
func (s *tokenServer) mint(t *testing.T, auth string, credentials map[string]string, now time.Time) (inject.Minter, inject.Token, error) {
	t.Helper()
	in, err := parse(t, strings.ReplaceAll(auth, "TOKEN_URL", s.URL+"/token"))
	if err != nil {
		t.Fatal(err)
	}
	m := in.(inject.Minter)
	if got := m.Endpoints(); len(got) != 1 || got[0] != s.URL+"/token" {
		t.Errorf("%s asks %v", auth, got)
	}
	token, err := m.Mint(context.Background(), inject.Minting{Open: values(credentials), Do: s.Client().Transport.RoundTrip, Now: now})
	return m, token, err
}

func TestOAuth2Requests(t *testing.T) {
	s := newTokenServer(t)
	now := time.Unix(1_800_000_000, 0)
	credentials := map[string]string{"ID": "the id:+", "SECRET": "s3cr%t", "REFRESH": "refresh-1"}
	for _, row := range []struct {
		auth, form, login string
	}{
		{`{"type":"oauth2","grant":"client_credentials","token_url":"TOKEN_URL","client_id":"ID","client_secret":"SECRET","scopes":["a","b:c"],"audience":"https://api.test","resource":"urn:r"}`,
			"audience=https%3A%2F%2Fapi.test&grant_type=client_credentials&resource=urn%3Ar&scope=a+b%3Ac", "the+id%3A%2B:s3cr%25t"},
		{`{"type":"oauth2","grant":"client_credentials","token_url":"TOKEN_URL","client_id":"ID","client_secret":"SECRET","auth_style":"body"}`,
			"client_id=the+id%3A%2B&client_secret=s3cr%25t&grant_type=client_credentials", ""},
		{`{"type":"oauth2","grant":"refresh_token","token_url":"TOKEN_URL","client_id_literal":"app","refresh_token":"REFRESH"}`,
			"client_id=app&grant_type=refresh_token&refresh_token=refresh-1", ""},
		{`{"type":"oauth2","grant":"refresh_token","token_url":"TOKEN_URL","client_id_literal":"app","client_secret":"SECRET","refresh_token":"REFRESH","scopes":["a"]}`,
			"grant_type=refresh_token&refresh_token=refresh-1&scope=a", "app:s3cr%25t"},
	} {
		m, token, err := s.mint(t, row.auth, credentials, now)
		if err != nil {
			t.Errorf("%s: %v", row.auth, err)
			continue
		}
		if got := s.form.Encode(); got != row.form {
			t.Errorf("%s sent %s, want %s", row.auth, got, row.form)
		}
		id, secret, _ := (&http.Request{Header: s.header}).BasicAuth()
		if got := id + ":" + secret; row.login != "" && got != row.login || row.login == "" && s.header["Authorization"] != nil {
			t.Errorf("%s signed in as %s, want %s", row.auth, got, row.login)
		}
		if left := token.Expires.Sub(now); left < 3590*time.Second || left > 3600*time.Second || token.Rotated != nil {
			t.Errorf("%s: good for %v, rotated %v", row.auth, left, token.Rotated)
		}
		r := inject.Request{Token: token.Value}
		if err := m.Inject(&r, values(nil)); err != nil || r.Header["Authorization"][0] != "Bearer the-access-token" {
			t.Errorf("%s: %v, %v", row.auth, r.Header, err)
		}
		if err := m.Inject(&inject.Request{}, values(credentials)); err == nil {
			t.Errorf("%s: a request without a token went out", row.auth)
		}
	}
}

func TestOAuth2Rotation(t *testing.T) {
	s := newTokenServer(t)
	const auth = `{"type":"oauth2","grant":"refresh_token","token_url":"TOKEN_URL","client_id_literal":"app","refresh_token":"REFRESH","header":"X-Token"}`
	for answer, want := range map[string]string{
		`{"access_token":"t","refresh_token":"refresh-2"}`: "refresh-2",
		`{"access_token":"t","refresh_token":"refresh-1"}`: "",
		`{"access_token":"t","refresh_token":""}`:          "",
		`{"access_token":"t"}`:                             "",
	} {
		s.answer = answer
		m, token, err := s.mint(t, auth, map[string]string{"REFRESH": "refresh-1"}, time.Now())
		if err != nil || !token.Expires.IsZero() || string(token.Rotated["REFRESH"].Bytes()) != want {
			t.Errorf("%s: rotated to %q, want %q (%v)", answer, token.Rotated["REFRESH"].Bytes(), want, err)
		}
		r := inject.Request{Token: token.Value}
		if err := m.Inject(&r, nil); err != nil || r.Header["X-Token"][0] != "t" {
			t.Errorf("%v %v", r.Header, err)
		}
	}
}

func TestOAuth2Assertions(t *testing.T) {
	s := newTokenServer(t)
	now := time.Unix(1_800_000_000, 0)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rs := must(rsa.GenerateKey(rand.Reader, 2048))
	const auth = `{"type":"oauth2","grant":"jwt_bearer","token_url":"TOKEN_URL","private_key":"KEY","key_id":"k1","issuer":"me","subject":"them","scopes":["a"]}`
	for pem, row := range map[string]struct {
		alg    string
		public any
	}{pkcs8(ed): {"EdDSA", ed.Public()}, pkcs8(ec): {"ES256", ec.Public()}, pkcs8(rs): {"RS256", rs.Public()}} {
		if _, _, err := s.mint(t, auth, map[string]string{"KEY": pem}, now); err != nil {
			t.Fatalf("%s: %v", row.alg, err)
		}
		header, claims := checkJWS(t, s.form.Get("assertion"), row.public)
		if diff := cmp.Diff(map[string]any{"alg": row.alg, "typ": "JWT", "kid": "k1"}, header); diff != "" {
			t.Error(diff)
		}
		delete(claims, "jti")
		want := map[string]any{"iss": "me", "sub": "them", "aud": s.URL + "/token", "iat": float64(now.Unix() - 10), "exp": float64(now.Unix() + 300)}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Error(diff)
		}
		if got := s.form.Get("grant_type") + " " + s.form.Get("scope"); got != "urn:ietf:params:oauth:grant-type:jwt-bearer a" || len(s.form) != 3 {
			t.Errorf("sent %v", s.form)
		}
	}
	var unfit *inject.UnfitError
	for _, bad := range []string{"nonsense", pkcs8(must(rsa.GenerateKey(rand.Reader, 1024))), pkcs8(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)))} {
		s.form = nil
		if _, _, err := s.mint(t, auth, map[string]string{"KEY": bad}, now); !errors.As(err, &unfit) || unfit.Key != "KEY" || s.form != nil {
			t.Errorf("%.30q: %v, sent %v", bad, err, s.form)
		}
	}
}

func TestGoogleServiceAccount(t *testing.T) {
	s := newTokenServer(t)
	now := time.Unix(1_800_000_000, 0)
	rs := must(rsa.GenerateKey(rand.Reader, 2048))
	file := func(change map[string]string) string {
		all := map[string]string{"type": "service_account", "client_email": "robot@p.iam.gserviceaccount.com", "private_key_id": "k1", "private_key": pkcs8(rs), "token_uri": s.URL + "/token"}
		for name, value := range change {
			all[name] = value
		}
		return string(must(json.Marshal(all)))
	}
	const auth = `{"type":"google-service-account","key":"KEY","scopes":["https://a.test/one","two"],"subject":"user@example.com","token_url":"TOKEN_URL"}`
	if _, _, err := s.mint(t, auth, map[string]string{"KEY": file(nil)}, now); err != nil {
		t.Fatal(err)
	}
	_, claims := checkJWS(t, s.form.Get("assertion"), rs.Public())
	delete(claims, "jti")
	want := map[string]any{"iss": "robot@p.iam.gserviceaccount.com", "sub": "user@example.com", "aud": s.URL + "/token", "scope": "https://a.test/one two", "iat": float64(now.Unix() - 10), "exp": float64(now.Unix() + 300)}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
	if len(s.form) != 2 || s.header["Authorization"] != nil {
		t.Errorf("sent %v", s.form)
	}
	for value, words := range map[string]string{
		"{}":    "is not a service account's key file",
		"a-key": "is not a service account's key file",
		file(map[string]string{"type": "authorized_user"}):                          "is not a service account's key file",
		file(map[string]string{"token_uri": "https://evil.example.com/token"}):      "names a token endpoint that is not the service's",
		file(map[string]string{"token_uri": s.URL + "/token?"}):                     "names a token endpoint that is not the service's",
		file(map[string]string{"private_key": "x"}):                                 "is a key file whose private_key is not a private key in PEM",
		file(map[string]string{"token_uri": "https://oauth2.googleapis.com/token"}): "names a token endpoint that is not the service's",
	} {
		s.form = nil
		if _, _, err := s.mint(t, auth, map[string]string{"KEY": value}, now); err == nil || !strings.Contains(err.Error(), words) || s.form != nil {
			t.Errorf("%.40s: %v, want %q; sent %v", value, err, words, s.form)
		}
	}
	in, err := parse(t, `{"type":"google-service-account","key":"KEY","scopes":["a"]}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := in.(inject.Minter).Endpoints(); got[0] != "https://oauth2.googleapis.com/token" {
		t.Errorf("%v", got)
	}
}
