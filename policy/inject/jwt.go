package inject

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"agentvault/vault/seal"
)

// jwtAuth sends a JSON Web Token (RFC 7519) that is signed here with a stored key,
// for APIs that know the public one. It asks nobody, and is good for a while.
type jwtAuth struct {
	Algorithm  string `json:"algorithm"`   // EdDSA, ES256 or RS256
	PrivateKey string `json:"private_key"` // in PEM
	KeyID      string `json:"key_id"`      // kid of the token's header; literal

	// Claims are literal. Those that change with time, and jti, are the vault's.
	Claims   map[string]json.RawMessage `json:"claims"`
	Lifetime string                     `json:"lifetime"` // as in 10m; at most 1h, default 5m
	Header   string                     `json:"header"`   // that the token stands in by itself; default Authorization, behind "Bearer "

	lifetime time.Duration
	method   jwt.SigningMethod
}

const (
	maxClaims   = 4096 // bytes, all together
	maxLiteral  = 256  // bytes of a key_id and the like
	minLifetime = 10 * time.Second
	maxLifetime = time.Hour
	// clockSkew is how far back a token begins: an upstream whose clock is behind
	// would refuse it for coming from the future.
	clockSkew = 10 * time.Second
)

// vaultsClaims are set for each token.
var vaultsClaims = []string{"exp", "iat", "jti", "nbf"}

var _ = register("jwt", func(j jwtAuth) (Injector, error) {
	switch j.Algorithm {
	case "EdDSA", "ES256", "RS256":
		j.method = jwt.GetSigningMethod(j.Algorithm)
	default:
		return nil, fieldErrorf("algorithm", "it is EdDSA, ES256 or RS256")
	}
	if err := checkKey("private_key", j.PrivateKey); err != nil {
		return nil, err
	}
	if err := checkLiteral("key_id", j.KeyID); err != nil {
		return nil, err
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(j.Claims)) {
		if slices.Contains(vaultsClaims, name) {
			return nil, fieldErrorf("claims", "%s is set by the vault for each token", name)
		}
		if bytes.Contains(j.Claims[name], []byte("{{")) {
			return nil, fieldErrorf("claims", "%s is literal: placeholders do not stand in claims", name)
		}
		size += len(name) + len(j.Claims[name])
	}
	if size > maxClaims {
		return nil, fieldErrorf("claims", "they are longer than %d bytes", maxClaims)
	}
	j.lifetime = 5 * time.Minute
	if j.Lifetime != "" {
		d, err := time.ParseDuration(j.Lifetime)
		if err != nil || d < minLifetime || d > maxLifetime {
			return nil, fieldErrorf("lifetime", "it is from 10s to 1h, as in 10m")
		}
		j.lifetime = d
	}
	if j.Header == "" {
		j.Header = authorization
	}
	if err := headerName("header", j.Header); err != nil {
		return nil, err
	}
	j.Header = canonical(j.Header)
	return j, nil
})

// checkLiteral refuses what is no short text. It may be left out.
func checkLiteral(field, text string) error {
	if len(text) > maxLiteral || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) || strings.Contains(text, "{{") {
		return fieldErrorf(field, "it is short literal text")
	}
	return nil
}

func (j jwtAuth) Type() string        { return "jwt" }
func (j jwtAuth) Keys() []string      { return []string{j.PrivateKey} }
func (j jwtAuth) Slots() Slots        { return headerSlots(j.Header) }
func (j jwtAuth) Endpoints() []string { return nil }

// Mint signs a token.
func (j jwtAuth) Mint(_ context.Context, m Minting) (Token, error) {
	pem, err := m.Open(j.PrivateKey)
	if err != nil {
		return Token{}, err
	}
	key, err := signingKey(j.PrivateKey, j.Algorithm, pem)
	if err != nil {
		return Token{}, err
	}
	claims := jwt.MapClaims{}
	for name, value := range j.Claims {
		claims[name] = value
	}
	begins := m.Now.Add(-clockSkew)
	ends := begins.Add(j.lifetime)
	claims["iat"], claims["exp"], claims["jti"] = begins.Unix(), ends.Unix(), rand.Text()
	token := jwt.NewWithClaims(j.method, claims)
	if j.KeyID != "" {
		token.Header["kid"] = j.KeyID
	}
	signed, err := token.SignedString(key)
	if err != nil {
		return Token{}, &UnfitError{j.PrivateKey, "does not sign with " + j.Algorithm}
	}
	return Token{Value: seal.NewPlaintext([]byte(signed)), Expires: ends}, nil
}

func (j jwtAuth) Inject(r *Request, _ func(string) (seal.Plaintext, error)) error {
	prefix := ""
	if j.Header == authorization {
		prefix = "Bearer "
	}
	return setToken(r, j.Header, prefix, j.PrivateKey)
}
