package inject

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"slices"
	"strings"
	"time"

	"agentvault/vault/seal"
)

// mtls shows the upstream a client certificate, and fills in the request as
// another kind does, if one stands in auth.
type mtls struct {
	Certificate string `json:"certificate"` // in PEM, with what issued it behind it
	PrivateKey  string `json:"private_key"` // in PEM; may be the same credential
	Auth        Auth   `json:"auth"`        // of another kind; none: the agent's own Authorization is taken out

	inner Injector
}

// A Certifier is an Injector of which a part is the connection: it needs one of
// its own.
type Certifier interface {
	Injector
	// ClientCertificate opens the certificate and its key. An error of open is
	// returned as it is; values that are none are an *UnfitError.
	ClientCertificate(open func(key string) (seal.Plaintext, error), now time.Time) (*tls.Certificate, error)
	// CertificateKeys are the credentials that it opens for that, each once.
	CertificateKeys() []string
}

var _ = register("mtls", func(m mtls) (Injector, error) {
	if err := checkKey("certificate", m.Certificate); err != nil {
		return nil, err
	}
	if err := checkKey("private_key", m.PrivateKey); err != nil {
		return nil, err
	}
	if m.Auth.raw == nil {
		return m, nil
	}
	if m.Auth.kind == "mtls" {
		return nil, fieldErrorf("auth", "it is of another kind than mtls")
	}
	var err error
	if m.inner, err = Parse(m.Auth); err != nil {
		return nil, fieldErrorf("auth", "%s", strings.TrimPrefix(err.Error(), "auth "))
	}
	switch inner := m.inner.(type) {
	case Minter:
		return mtlsMinting{m, inner}, nil
	case BodyReader:
		return mtlsReading{m, inner}, nil
	}
	return m, nil
})

func (m mtls) Type() string { return "mtls" }

// CertificateKeys implements [Certifier].
func (m mtls) CertificateKeys() []string {
	if m.Certificate == m.PrivateKey {
		return []string{m.Certificate}
	}
	return []string{m.Certificate, m.PrivateKey}
}

// Keys begins with those of the kind in auth.
func (m mtls) Keys() []string {
	var keys []string
	if m.inner != nil {
		keys = m.inner.Keys()
	}
	for _, key := range m.CertificateKeys() {
		if !slices.Contains(keys, key) {
			keys = append(slices.Clip(keys), key)
		}
	}
	return keys
}

func (m mtls) Slots() Slots {
	if m.inner != nil {
		return m.inner.Slots()
	}
	return headerSlots()
}

// Inject sees that there is a certificate to show before anything is connected.
func (m mtls) Inject(r *Request, open func(string) (seal.Plaintext, error)) error {
	for _, key := range m.CertificateKeys() {
		if _, err := open(key); err != nil {
			return err
		}
	}
	if m.inner != nil {
		return m.inner.Inject(r, open)
	}
	return nil
}

// ClientCertificate implements [Certifier].
func (m mtls) ClientCertificate(open func(string) (seal.Plaintext, error), now time.Time) (*tls.Certificate, error) {
	cert, err := open(m.Certificate)
	if err != nil {
		return nil, err
	}
	key, err := open(m.PrivateKey)
	if err != nil {
		return nil, err
	}
	if !holdsCertificate(cert.Bytes()) {
		return nil, &UnfitError{m.Certificate, "is not a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"}
	}
	if _, why := privateKey(key.Bytes()); why != "" {
		return nil, &UnfitError{m.PrivateKey, why}
	}
	pair, err := tls.X509KeyPair(cert.Bytes(), key.Bytes())
	switch {
	case err != nil && strings.Contains(err.Error(), "private key does not match"):
		return nil, &UnfitError{m.PrivateKey, "is not the key of the certificate in " + m.Certificate}
	case err != nil:
		return nil, &UnfitError{m.Certificate, "is a certificate that cannot be read"}
	case now.After(pair.Leaf.NotAfter):
		return nil, &UnfitError{m.Certificate, "is a certificate that ended at " + pair.Leaf.NotAfter.UTC().Format(time.RFC3339)}
	case now.Before(pair.Leaf.NotBefore):
		return nil, &UnfitError{m.Certificate, "is a certificate that begins at " + pair.Leaf.NotBefore.UTC().Format(time.RFC3339)}
	}
	return &pair, nil
}

func holdsCertificate(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return true
		}
	}
	return false
}

// mtlsMinting is mtls around a Minter.
type mtlsMinting struct {
	mtls
	minter Minter
}

// Endpoints are the Minter's, which are shown no certificate.
func (m mtlsMinting) Endpoints() []string { return m.minter.Endpoints() }

// Mint is the Minter's.
func (m mtlsMinting) Mint(ctx context.Context, with Minting) (Token, error) {
	return m.minter.Mint(ctx, with)
}

// mtlsReading is mtls around a BodyReader.
type mtlsReading struct {
	mtls
	reader BodyReader
}

// BodyLimit is the BodyReader's.
func (m mtlsReading) BodyLimit(r *Request) int { return m.reader.BodyLimit(r) }

// Refuses is the BodyReader's, if it is a [Refuser].
func (m mtlsReading) Refuses(r *Request) error {
	if refuser, ok := m.reader.(Refuser); ok {
		return refuser.Refuses(r)
	}
	return nil
}
