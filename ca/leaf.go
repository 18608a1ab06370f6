package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	leafLife         = 24 * time.Hour
	leafBackdate     = time.Hour // for agents whose clocks are behind
	defaultCacheSize = 4096      // leaves; about 2 KiB each
	maxHost          = 253       // bytes of a DNS name
	maxCommonName    = 64        // characters (X.520, ub-common-name)
)

// A name is what a leaf is kept by: a host, and the vault for which it was asked;
// "" is none.
type name struct{ vaultID, host string }

// Leaf returns the certificate for host: a DNS name as lower-case A-labels
// without a trailing dot, or an IP literal without brackets, both canonical, as
// a pinned target has them.
//
// The certificate has that host as its only name, so that no client takes one
// tunnel's connection for another host's (RFC 9113 §9.1.1). It must not be
// changed. Calls for one host at the same time mint once; a leaf is replaced
// when half of its life is over.
func (a *Authority) Leaf(ctx context.Context, host string) (*tls.Certificate, error) {
	return a.LeafIn(ctx, "", host)
}

// LeafIn is Leaf for a host in a vault: by an intermediate of the vault, where
// its hosts have this one among them. For any other the root itself signs: an
// agent asks for them too, and is told inside of the tunnel why they are refused.
func (a *Authority) LeafIn(ctx context.Context, vaultID, host string) (*tls.Certificate, error) {
	return a.leaves.Get(ctx, name{vaultID, host}, a.mint)
}

// newLeaf mints. Its context is not used: callers that wait for the same host
// share the result.
func (a *Authority) newLeaf(_ context.Context, n name) (*tls.Certificate, error) {
	by, err := a.issuerFor(n)
	if err != nil {
		return nil, err
	}
	template, err := by.leafTemplate(n.host, a.now().UTC())
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("leaf key: %w", err)
	}
	der, err := by.signLeaf(template, &key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("leaf certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("leaf certificate: %w", err)
	}
	// The root stays out of the chain: who trusts it has it.
	return &tls.Certificate{Certificate: append([][]byte{der}, by.chain...), PrivateKey: key, Leaf: leaf}, nil
}

func (i *issuer) leafTemplate(host string, now time.Time) (*x509.Certificate, error) {
	if !now.Before(i.cert.NotAfter) {
		return nil, fmt.Errorf("authority certificate: expired at %s", i.cert.NotAfter.Format(time.RFC3339))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    latest(now.Add(-leafBackdate), i.cert.NotBefore),
		NotAfter:     earliest(now.Add(leafLife), i.cert.NotAfter),
	}
	switch addr, err := netip.ParseAddr(host); {
	case err == nil && addr.Zone() == "" && addr.String() == host:
		template.IPAddresses = []net.IP{addr.Unmap().AsSlice()}
	case err == nil || !isDNSName(host):
		return nil, fmt.Errorf("leaf certificate: %q is not a canonical host", host)
	default:
		// Only here: clients hold a common name beside an address against the
		// constraints on DNS names.
		template.DNSNames = []string{host}
		if len(host) <= maxCommonName { // a name for people; clients read the SAN
			template.Subject = pkix.Name{CommonName: host}
		}
	}
	return template, nil
}

// isDNSName is a last look at what the entrances have pinned already: nothing
// that a client could read as more than one host is ever signed.
func isDNSName(host string) bool {
	if host == "" || len(host) > maxHost {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// keep is how long a leaf stays in the cache: half of what is left of its life,
// so that whoever gets it can use it for hours.
func (a *Authority) keep(e otter.Entry[name, *tls.Certificate]) time.Duration {
	return max(e.Value.Leaf.NotAfter.Sub(a.now())/2, 0)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
