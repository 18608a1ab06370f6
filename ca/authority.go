package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	rootBackdate = 24 * time.Hour // for agents whose clocks are behind
	rootYears    = 10
	rootDepth    = 2 // an intermediate, below the key of the root before
)

// Options say how an Authority mints. The zero value is ready for use.
type Options struct {
	// CacheSize is how many leaves are kept, one per host. Zero means 4096.
	CacheSize int

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// Hosts returns what a vault's intermediates may be good for: hosts without
	// ports, as [Authority.Leaf] takes them or with "*." for one label, sorted.
	// Nil means no vault has any.
	Hosts func(vaultID string) []string

	// Cross is a certificate for this root's key by another root, which is sent
	// along for those who trust only that one. Nil means there is none.
	Cross []byte
}

// An Authority is one root certificate with its key, the intermediates below it,
// and the cache of their leaves. It is safe for use by many goroutines.
type Authority struct {
	*issuer // the root
	now     func() time.Time
	hosts   func(vaultID string) []string
	leaves  *otter.Cache[name, *tls.Certificate]
	mint    otter.Loader[name, *tls.Certificate] // kept, so that a hit allocates nothing

	mu            sync.Mutex
	intermediates map[part]*intermediate
}

// An issuer signs leaves.
type issuer struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	chain [][]byte // what is sent behind its leaves
}

// Create makes a new root that is valid from 24 hours before now, for ten
// years.
//
// P-256, because Chromium refuses Ed25519, NSS cannot import it, and an RSA key
// costs a hundred times as much.
func Create(now time.Time) (*Authority, error) {
	key, id, serial, err := newIssuer()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The suffix tells apart the roots of several vaults in one trust store.
		Subject:               pkix.Name{CommonName: "Agent Vault CA " + hex.EncodeToString(id[:4])},
		NotBefore:             now.UTC().Add(-rootBackdate),
		NotAfter:              now.UTC().AddDate(rootYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            rootDepth,
		SubjectKeyId:          id,
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("authority certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("authority key: %w", err)
	}
	return Load(der, pkcs8, Options{})
}

// newIssuer makes what is new in each certificate that signs others. id names the
// key.
func newIssuer() (key *ecdsa.PrivateKey, id []byte, serial *big.Int, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, nil, fmt.Errorf("authority key: %w", err)
	}
	if id, err = keyID(&key.PublicKey); err != nil {
		return nil, nil, nil, err
	}
	serial, err = newSerial()
	return key, id, serial, err
}

// Load takes up the root of an earlier Create. It refuses a certificate that
// is not a P-256 authority, has expired, or does not belong to the key.
func Load(certDER, keyPKCS8 []byte, opts Options) (*Authority, error) {
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("authority certificate: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyPKCS8)
	if err != nil {
		return nil, errors.New("authority key: not a PKCS #8 private key") // the cause could quote the key
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("authority key: not ECDSA P-256")
	}
	a := &Authority{issuer: &issuer{cert: cert, key: key}, now: opts.Now, hosts: opts.Hosts, intermediates: make(map[part]*intermediate)}
	if a.now == nil {
		a.now = time.Now
	}
	if opts.Cross != nil {
		a.chain = [][]byte{opts.Cross}
	}
	switch {
	case !key.PublicKey.Equal(cert.PublicKey):
		return nil, errors.New("authority certificate: belongs to another key")
	case !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("authority certificate: may not sign certificates")
	case !a.now().Before(cert.NotAfter):
		return nil, fmt.Errorf("authority certificate: expired at %s", cert.NotAfter.Format(time.RFC3339))
	}
	size := opts.CacheSize
	if size <= 0 {
		size = defaultCacheSize
	}
	a.mint = otter.LoaderFunc[name, *tls.Certificate](a.newLeaf)
	a.leaves, err = otter.New(&otter.Options[name, *tls.Certificate]{
		MaximumSize:      size,
		ExpiryCalculator: otter.ExpiryCreatingFunc(a.keep),
		Clock:            clock{a.now},
		Logger:           &otter.NoopLogger{},
	})
	if err != nil {
		return nil, fmt.Errorf("cache of leaves: %w", err)
	}
	return a, nil
}

// Certificate returns the root certificate. It must not be changed.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// CertificateDER returns the root certificate.
func (a *Authority) CertificateDER() []byte { return bytes.Clone(a.cert.Raw) }

// PEM returns the root certificate as people and programs import it. It is
// public.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// KeyPKCS8 returns the root's private key in clear: to be sealed and stored,
// and for nothing else.
func (a *Authority) KeyPKCS8() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil { // not for a key that Create made or Load accepted
		return nil
	}
	return der
}

// Fingerprint is the SHA-256 of the root certificate in lower-case hex, as
// `openssl x509 -fingerprint -sha256` shows it but for the colons.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// keyID is the subject key identifier of RFC 5280 §4.2.1.2, method 1: a name
// for the key, nothing that security rests on.
func keyID(public *ecdsa.PublicKey) ([]byte, error) {
	point, err := public.Bytes()
	if err != nil {
		return nil, fmt.Errorf("authority key: %w", err)
	}
	sum := sha1.Sum(point)
	return sum[:], nil
}

// newSerial returns 128 random bits; RFC 5280 §4.1.2.2 wants it positive.
func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	n := new(big.Int).SetBytes(b)
	if n.Sign() == 0 {
		n.SetInt64(1)
	}
	return n, nil
}

// clock makes the cache see the Authority's clock. It does not tick: entries
// that have expired are not returned, and the cache is bounded anyway, so it
// needs no goroutine to clean up.
type clock struct{ now func() time.Time }

func (c clock) NowNano() int64                      { return c.now().UnixNano() }
func (c clock) Tick(time.Duration) <-chan time.Time { return nil }
