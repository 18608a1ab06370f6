package inject

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// grantTypeJWT: RFC 7523 §2.1.
const grantTypeJWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// assertionLife is how long an assertion is good for; it is sent at once.
const assertionLife = 5 * time.Minute

// An assertion is what a token endpoint is told, and who signs it (RFC 7523 §3).
type assertion struct {
	keyID    string
	issuer   string
	subject  string
	audience string
	scope    string // Google's: the others have it beside the assertion
}

// signed returns the assertion, signed with a key in PEM by the algorithm that is
// its kind's. Why says what is wrong with the key.
func (a assertion) signed(pem []byte, now time.Time) (text, why string) {
	key, why := privateKey(pem)
	if why != "" {
		return "", why
	}
	method := methodOf(key)
	if why = unfitFor(method.Alg(), key); why != "" {
		return "", why
	}
	claims := jwt.MapClaims{"iat": now.Add(-clockSkew).Unix(), "exp": now.Add(assertionLife).Unix(), "jti": rand.Text()}
	for name, value := range map[string]string{"iss": a.issuer, "sub": a.subject, "aud": a.audience, "scope": a.scope} {
		if value != "" {
			claims[name] = value
		}
	}
	token := jwt.NewWithClaims(method, claims)
	if a.keyID != "" {
		token.Header["kid"] = a.keyID
	}
	text, err := token.SignedString(key)
	if err != nil {
		return "", "does not sign with " + method.Alg()
	}
	return text, ""
}

func methodOf(key crypto.Signer) jwt.SigningMethod {
	switch key.(type) {
	case *ecdsa.PrivateKey:
		return jwt.SigningMethodES256
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA
	}
	return jwt.SigningMethodRS256
}
