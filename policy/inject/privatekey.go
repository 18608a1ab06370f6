package inject

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"agentvault/vault/seal"
)

// An UnfitError is a [ValueError] that says what is wrong with the value.
type UnfitError struct {
	Key string
	Why string // begins with a verb: "is not …"
}

func (e *UnfitError) Error() string { return "the value of credential " + e.Key + " " + e.Why }

// Unwrap makes it a ValueError.
func (e *UnfitError) Unwrap() error { return &ValueError{e.Key} }

// minRSA is how many bits a key of RSA has at least (RFC 7518 §3.3).
const minRSA = 2048

// signingKey reads a private key in PEM (PKCS#8, PKCS#1 or SEC 1) that can sign
// with an algorithm of JWS (RFC 7518 §3.1, RFC 8037).
func signingKey(name, algorithm string, value seal.Plaintext) (crypto.Signer, error) {
	key, why := privateKey(value.Bytes())
	if why == "" {
		why = unfitFor(algorithm, key)
	}
	if why != "" {
		return nil, &UnfitError{name, why}
	}
	return key, nil
}

func privateKey(text []byte) (key crypto.Signer, why string) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, "is a private key behind a passphrase; store it without"
		case block.Type != "PRIVATE KEY" && block.Type != "RSA PRIVATE KEY" && block.Type != "EC PRIVATE KEY":
			continue // OpenSSL puts the curve's parameters first
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		}
		if err != nil {
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if signer, ok := parsed.(crypto.Signer); err == nil && ok {
			return signer, ""
		}
		return nil, "is a private key that cannot be read"
	}
	return nil, "is not a private key in PEM, which begins with -----BEGIN PRIVATE KEY----- or the like"
}

// unfitFor says why a key does not sign with an algorithm, or "".
func unfitFor(algorithm string, key crypto.Signer) string {
	kind := ""
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if algorithm == "RS256" {
			if bits := key.N.BitLen(); bits < minRSA {
				return fmt.Sprintf("is an RSA key of %d bits; RS256 wants %d at least", bits, minRSA)
			}
			return ""
		}
		kind = "an RSA key"
	case *ecdsa.PrivateKey:
		if algorithm == "ES256" && key.Curve == elliptic.P256() {
			return ""
		}
		kind = "an EC key on " + key.Curve.Params().Name
	case ed25519.PrivateKey:
		if algorithm == "EdDSA" {
			return ""
		}
		kind = "an Ed25519 key"
	default:
		kind = "a key of another kind"
	}
	wants := map[string]string{"RS256": "RSA", "ES256": "EC on P-256", "EdDSA": "Ed25519"}
	return fmt.Sprintf("is %s; %s wants one of %s", kind, algorithm, wants[algorithm])
}
