package inject_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/inject"
)

// must returns what a maker of keys made.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(key any) string { return pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))) }

// checkJWS verifies a token by itself, without the library that made it, and
// returns what it says.
func checkJWS(t testing.TB, token string, public crypto.PublicKey) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWS", token)
	}
	raw := make([][]byte, 3)
	for i, part := range parts {
		raw[i] = must(base64.RawURLEncoding.DecodeString(part))
	}
	signed := []byte(parts[0] + "." + parts[1])
	digest := sha256.Sum256(signed)
	ok := false
	switch key := public.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, signed, raw[2])
	case *ecdsa.PublicKey:
		ok = len(raw[2]) == 64 && ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:]))
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], raw[2]) == nil
	}
	if !ok {
		t.Fatalf("the signature of %q does not hold", token)
	}
	if err := errors.Join(json.Unmarshal(raw[0], &header), json.Unmarshal(raw[1], &claims)); err != nil {
		t.Fatal(err)
	}
	return header, claims
}

func TestJWT(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rs := must(rsa.GenerateKey(rand.Reader, 2048))
	sec1 := pemOf("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ec)))
	now := time.Unix(1_800_000_000, 0)
	for _, row := range []struct {
		algorithm, pem string
		public         crypto.PublicKey
	}{
		{"EdDSA", pkcs8(ed), ed.Public()},
		{"ES256", pkcs8(ec), ec.Public()},
		{"ES256", sec1, ec.Public()},
		{"ES256", pemOf("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}) + sec1, ec.Public()},
		{"RS256", pkcs8(rs), rs.Public()},
		{"RS256", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs)), rs.Public()},
		{"RS256", strings.ReplaceAll(pkcs8(rs), "\n", "\r\n"), rs.Public()},
	} {
		in, err := parse(t, `{"type":"jwt","algorithm":"`+row.algorithm+`","private_key":"K","key_id":"key-1","lifetime":"10m",
			"claims":{"iss":"robot","sub":"service","aud":["a","b"],"limits":{"most":500},"admin":false}}`)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"K"}, in.Keys()); diff != "" {
			t.Error(diff)
		}
		var jti [2]any
		for i := range jti {
			req := inject.Request{Header: map[string][]string{"authorization": {"Bearer mine"}}, Now: now}
			in.Slots().Strip(&req)
			if err := mintInto(t, in, &req, map[string]string{"K": row.pem}); err != nil {
				t.Fatalf("%s: %v", row.algorithm, err)
			}
			token, bearer := strings.CutPrefix(req.Header["Authorization"][0], "Bearer ")
			if !bearer || len(req.Header) != 1 {
				t.Errorf("%v", req.Header)
			}
			header, claims := checkJWS(t, token, row.public)
			jti[i] = claims["jti"]
			delete(claims, "jti")
			if diff := cmp.Diff(map[string]any{"alg": row.algorithm, "typ": "JWT", "kid": "key-1"}, header); diff != "" {
				t.Error(diff)
			}
			want := map[string]any{
				"iss": "robot", "sub": "service", "aud": []any{"a", "b"}, "limits": map[string]any{"most": 500.0}, "admin": false,
				"iat": 1_799_999_990.0, "exp": 1_800_000_590.0,
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Error(diff)
			}
		}
		if id, ok := jti[0].(string); !ok || len(id) < 26 || jti[0] == jti[1] {
			t.Errorf("jti %v", jti)
		}
	}
}

// A token that was minted before stands in the field that was named, by itself.
func TestJWTInAHeader(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	in, err := parse(t, `{"type":"jwt","algorithm":"EdDSA","private_key":"K","header":"x-goog-iap"}`)
	if err != nil {
		t.Fatal(err)
	}
	minter := in.(inject.Minter)
	if got := minter.Endpoints(); len(got) != 0 {
		t.Errorf("it asks %v", got)
	}
	now := time.Unix(1_800_000_000, 0)
	token, err := minter.Mint(t.Context(), inject.Minting{Open: values(map[string]string{"K": pkcs8(key)}), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if want := now.Add(5*time.Minute - 10*time.Second); !token.Expires.Equal(want) {
		t.Errorf("it ends %s, want %s", token.Expires, want)
	}
	req := inject.Request{Header: map[string][]string{"X_goog_iap": {"mine"}, "Authorization": {"Bearer mine"}}, Token: token.Value, Now: now}
	in.Slots().Strip(&req)
	if err := in.Inject(&req, values(nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"X-Goog-Iap": {string(token.Value.Bytes())}}, req.Header); diff != "" {
		t.Error(diff)
	}
}

func TestJWTRefuses(t *testing.T) {
	for auth, want := range map[string]string{
		`{"type":"jwt"}`: `auth jwt: field algorithm: it is EdDSA, ES256 or RS256`,
		`{"type":"jwt","algorithm":"none","private_key":"K"}`:                                                     `auth jwt: field algorithm: it is EdDSA, ES256 or RS256`,
		`{"type":"jwt","algorithm":"HS256","private_key":"K"}`:                                                    `auth jwt: field algorithm: it is EdDSA, ES256 or RS256`,
		`{"type":"jwt","algorithm":"ES256"}`:                                                                      `auth jwt: field private_key is missing; it names a credential key, as in API_KEY`,
		`{"type":"jwt","algorithm":"ES256","private_key":"-----BEGIN"}`:                                           `auth jwt: field private_key must be the name of a credential in upper case, as in API_KEY; values never stand here`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","key_id":"a\nb"}`:                                    `auth jwt: field key_id: it is short literal text`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","claims":{"exp":1}}`:                                 `auth jwt: field claims: exp is set by the vault for each token`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","claims":{"jti":"a"}}`:                               `auth jwt: field claims: jti is set by the vault for each token`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","claims":{"sub":"{{ K }}"}}`:                         `auth jwt: field claims: sub is literal: placeholders do not stand in claims`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","claims":["iss"]}`:                                   `auth jwt: field claims: it must be an object, not a list`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","lifetime":"2h"}`:                                    `auth jwt: field lifetime: it is from 10s to 1h, as in 10m`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","lifetime":"600"}`:                                   `auth jwt: field lifetime: it is from 10s to 1h, as in 10m`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","lifetime":"1s"}`:                                    `auth jwt: field lifetime: it is from 10s to 1h, as in 10m`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","header":"Host"}`:                                    `auth jwt: field header: Host cannot carry a credential`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","token":"K"}`:                                        `auth jwt: it has no field "token"; its fields are algorithm, private_key, key_id, claims, lifetime, header`,
		`{"type":"jwt","algorithm":"ES256","private_key":"K","claims":{"a":"` + strings.Repeat("a", 4096) + `"}}`: `auth jwt: field claims: they are longer than 4096 bytes`,
	} {
		if _, err := parse(t, auth); err == nil || err.Error() != want {
			t.Errorf("%.200s:\n got %v\nwant %s", auth, err, want)
		}
	}
}

// The error says what is wrong with the key, and nothing of it.
func TestKeysThatDoNotSign(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	p256, p384 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	t.Setenv("GODEBUG", "rsa1024min=0")
	short := must(rsa.GenerateKey(rand.Reader, 1024))
	for _, row := range []struct{ algorithm, value, want string }{
		{"RS256", pkcs8(ed), "is an Ed25519 key; RS256 wants one of RSA"},
		{"RS256", pkcs8(short), "is an RSA key of 1024 bits; RS256 wants 2048 at least"},
		{"EdDSA", pkcs8(short), "is an RSA key; EdDSA wants one of Ed25519"},
		{"ES256", pkcs8(p384), "is an EC key on P-384; ES256 wants one of EC on P-256"},
		{"EdDSA", pkcs8(p256), "is an EC key on P-256; EdDSA wants one of Ed25519"},
		{"ES256", "sk-live-3f9a77c1e2d4b6a8", "is not a private key in PEM, which begins with -----BEGIN PRIVATE KEY----- or the like"},
		{"ES256", pemOf("CERTIFICATE", []byte("a")), "is not a private key in PEM, which begins with -----BEGIN PRIVATE KEY----- or the like"},
		{"ES256", pemOf("PRIVATE KEY", []byte("a")), "is a private key that cannot be read"},
		{"ES256", pemOf("ENCRYPTED PRIVATE KEY", []byte("a")), "is a private key behind a passphrase; store it without"},
		{"ES256", pemOf("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(p256.Public()))), "is not a private key in PEM, which begins with -----BEGIN PRIVATE KEY----- or the like"},
	} {
		in, err := parse(t, `{"type":"jwt","algorithm":"`+row.algorithm+`","private_key":"K"}`)
		if err != nil {
			t.Fatal(err)
		}
		req := inject.Request{}
		err = mintInto(t, in, &req, map[string]string{"K": row.value})
		var ve *inject.ValueError
		if want := "the value of credential K " + row.want; err == nil || err.Error() != want || !errors.As(err, &ve) || ve.Key != "K" || len(req.Header) != 0 {
			t.Errorf("%s: got %v\nwant %s", row.algorithm, err, want)
		}
	}
	in, err := parse(t, `{"type":"jwt","algorithm":"ES256","private_key":"K"}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := mintInto(t, in, &inject.Request{}, nil); err == nil || err.Error() != "no value for K" {
		t.Errorf("%v", err)
	}
	if err := in.Inject(&inject.Request{}, values(nil)); err == nil {
		t.Error("it goes out without a token")
	}
}

// mintInto is what the broker does for a request of a Minter without a network.
func mintInto(t testing.TB, in inject.Injector, r *inject.Request, stored map[string]string) error {
	t.Helper()
	token, err := in.(inject.Minter).Mint(t.Context(), inject.Minting{Open: values(stored), Now: r.Now})
	if err != nil {
		return err
	}
	r.Token = token.Value
	return in.Inject(r, values(nil))
}

func BenchmarkJWT(b *testing.B) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	in, err := parse(b, `{"type":"jwt","algorithm":"EdDSA","private_key":"K","claims":{"iss":"robot"}}`)
	if err != nil {
		b.Fatal(err)
	}
	stored := map[string]string{"K": pkcs8(key)}
	for b.Loop() {
		if err := mintInto(b, in, &inject.Request{Now: time.Now()}, stored); err != nil {
			b.Fatal(err)
		}
	}
}
