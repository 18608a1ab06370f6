package ca

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	intermediateLife = 7 * 24 * time.Hour
	partSize         = 32   // hosts of one intermediate: all of them are sent in each handshake
	maxIntermediates = 1024 // of all vaults
)

// A part is so many of a vault's hosts, in their order.
type part struct {
	vaultID string
	number  int
}

// An intermediate signs the leaves of one part of a vault's hosts, and its
// certificate says that it may for no others. It is in this process's memory
// only, and each process makes its own.
type intermediate struct {
	issuer
	hosts []string
	until time.Time // when the next one is made; leaves of this one are good for longer
}

// issuerFor returns who signs for a host. The root does it for hosts that are not
// the vault's; and always where it was made before there were intermediates, and
// says that there are none (pathlen 0).
func (a *Authority) issuerFor(n name) (*issuer, error) {
	if n.vaultID == "" || a.hosts == nil || !Delegates(a.cert) {
		return a.issuer, nil
	}
	hosts := a.hosts(n.vaultID)
	i := slices.IndexFunc(hosts, func(h string) bool { return covers(h, n.host) })
	if i < 0 {
		return a.issuer, nil
	}
	p := part{n.vaultID, i / partSize}
	first := p.number * partSize
	return a.intermediate(p, hosts[first:min(first+partSize, len(hosts))])
}

// Delegates reports whether a root has intermediates below it.
func Delegates(root *x509.Certificate) bool { return root.MaxPathLen != 0 }

// intermediate returns the one that is in use for hosts, or makes it: when there
// is none, when the hosts have changed, and ahead of its end.
func (a *Authority) intermediate(p part, hosts []string) (*issuer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now().UTC()
	if in := a.intermediates[p]; in != nil && now.Before(in.until) && slices.Equal(in.hosts, hosts) {
		return &in.issuer, nil
	}
	in, err := a.newIntermediate(hosts, now)
	if err != nil {
		return nil, fmt.Errorf("intermediate certificate: %w", err)
	}
	if len(a.intermediates) >= maxIntermediates {
		clear(a.intermediates)
	}
	a.intermediates[p] = in
	return &in.issuer, nil
}

func (a *Authority) newIntermediate(hosts []string, now time.Time) (*intermediate, error) {
	key, id, serial, err := newIssuer()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Agent Vault intermediate " + hex.EncodeToString(id[:4])},
		NotBefore:             latest(now.Add(-leafBackdate), a.cert.NotBefore),
		NotAfter:              earliest(now.Add(intermediateLife), a.cert.NotAfter),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		SubjectKeyId:          id,
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}
	constrain(template, hosts)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &intermediate{
		issuer: issuer{cert: cert, key: key, chain: append([][]byte{der}, a.chain...)},
		hosts:  slices.Clone(hosts),
		until:  now.Add(cert.NotAfter.Sub(now) / 2),
	}, nil
}

// constrain writes name constraints (RFC 5280 §4.2.1.10). They allow names below
// a host too, and for "*.x" x itself: the standard has nothing narrower. A kind of
// name that is not constrained would be free, so both always are.
func constrain(template *x509.Certificate, hosts []string) {
	template.PermittedDNSDomainsCritical = true
	for _, h := range hosts {
		if addr, err := netip.ParseAddr(h); err == nil {
			template.PermittedIPRanges = append(template.PermittedIPRanges, network(addr.Unmap(), addr.Unmap().BitLen()))
		} else {
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, strings.TrimPrefix(h, "*."))
		}
	}
	if template.PermittedDNSDomains == nil {
		template.PermittedDNSDomains = []string{"invalid"} // no host is called so (RFC 6761)
	}
	if template.PermittedIPRanges == nil {
		template.ExcludedIPRanges = []*net.IPNet{network(netip.IPv4Unspecified(), 0), network(netip.IPv6Unspecified(), 0)}
	}
}

func network(addr netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
}

// covers reports whether a host is what a vault's host names.
func covers(pattern, host string) bool {
	if suffix, wild := strings.CutPrefix(pattern, "*"); wild {
		label, rest, _ := strings.Cut(host, ".")
		return label != "" && "."+rest == suffix
	}
	return pattern == host
}
