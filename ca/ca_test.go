package ca_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/ca"
)

var epoch = time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)

// at returns an Authority created at epoch, whose clock the test moves.
func at(t *testing.T, opts ca.Options) (*ca.Authority, *atomic.Int64) {
	t.Helper()
	made, err := ca.Create(epoch)
	if err != nil {
		t.Fatal(err)
	}
	now := new(atomic.Int64)
	now.Store(epoch.Unix())
	opts.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	a, err := ca.Load(made.CertificateDER(), made.KeyPKCS8(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return a, now
}

func leaf(t *testing.T, a *ca.Authority, host string) *tls.Certificate {
	t.Helper()
	c, err := a.Leaf(t.Context(), host)
	if err != nil {
		t.Fatalf("Leaf(%q): %v", host, err)
	}
	return c
}

func root(t *testing.T, a *ca.Authority) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(a.CertificateDER())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRoot(t *testing.T) {
	a, _ := at(t, ca.Options{})
	c := root(t, a)
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || c.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		t.Errorf("key %T, signature %v; want ECDSA P-256 with SHA-256", c.PublicKey, c.SignatureAlgorithm)
	}
	if !c.IsCA || !c.BasicConstraintsValid || c.MaxPathLen != 2 {
		t.Errorf("CA %t, pathlen %d; want a CA of pathlen 2", c.IsCA, c.MaxPathLen)
	}
	if c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("key usage %b", c.KeyUsage)
	}
	want := fmt.Sprintf("Agent Vault CA %x", c.SubjectKeyId[:4])
	if len(c.SubjectKeyId) != 20 || c.Subject.CommonName != want {
		t.Errorf("SKI %x, CN %q; want CN %q", c.SubjectKeyId, c.Subject.CommonName, want)
	}
	if got := epoch.Sub(c.NotBefore); got != 24*time.Hour {
		t.Errorf("begins %v back, want 24h", got)
	}
	if want := epoch.AddDate(10, 0, 0); !c.NotAfter.Equal(want) {
		t.Errorf("ends %v, want %v", c.NotAfter, want)
	}
	if err := c.CheckSignatureFrom(c); err != nil {
		t.Errorf("not self-signed: %v", err)
	}
	if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
		t.Error(err)
	}
	block, rest := pem.Decode(a.PEM())
	if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
		t.Fatalf("PEM is %q", a.PEM())
	}
	if diff := cmp.Diff(a.CertificateDER(), block.Bytes); diff != "" {
		t.Errorf("PEM and DER differ:\n%s", diff)
	}
	if len(a.Fingerprint()) != 64 || strings.ToLower(a.Fingerprint()) != a.Fingerprint() {
		t.Errorf("Fingerprint() = %q", a.Fingerprint())
	}
}

func TestTwoRootsDiffer(t *testing.T) {
	a, _ := at(t, ca.Options{})
	b, _ := at(t, ca.Options{})
	if root(t, a).Subject.CommonName == root(t, b).Subject.CommonName || a.Fingerprint() == b.Fingerprint() {
		t.Errorf("two roots share a name or a fingerprint")
	}
}

func TestLeaf(t *testing.T) {
	a, _ := at(t, ca.Options{})
	pool := x509.NewCertPool()
	pool.AddCert(root(t, a))
	for _, host := range []string{"api.stripe.com", "localhost", "xn--bcher-kva.example", "192.0.2.7", "2001:db8::1", strings.Repeat("a.", 60) + "example"} {
		c := leaf(t, a, host)
		if len(c.Certificate) != 1 {
			t.Errorf("%s: chain of %d, want the leaf alone", host, len(c.Certificate))
		}
		l := c.Leaf
		names := append([]string(nil), l.DNSNames...)
		for _, ip := range l.IPAddresses {
			names = append(names, ip.String())
		}
		if diff := cmp.Diff([]string{host}, names); diff != "" || len(l.URIs)+len(l.EmailAddresses) != 0 {
			t.Errorf("%s: SANs (-want +got):\n%s", host, diff)
		}
		if ip := net.ParseIP(host); (ip != nil) != (len(l.IPAddresses) == 1) {
			t.Errorf("%s: an address and a name were mixed up", host)
		}
		if l.IsCA || l.KeyUsage != x509.KeyUsageDigitalSignature ||
			!cmp.Equal(l.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
			t.Errorf("%s: CA %t, usage %b, extended %v", host, l.IsCA, l.KeyUsage, l.ExtKeyUsage)
		}
		if back, life := epoch.Sub(l.NotBefore), l.NotAfter.Sub(epoch); back != time.Hour || life != 24*time.Hour {
			t.Errorf("%s: begins %v back and lasts %v, want 1h and 24h", host, back, life)
		}
		if key, ok := c.PrivateKey.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() || l.SignatureAlgorithm != x509.ECDSAWithSHA256 {
			t.Errorf("%s: key %T, signature %v", host, c.PrivateKey, l.SignatureAlgorithm)
		}
		if n := l.SerialNumber.BitLen(); n < 64 || n > 128 {
			t.Errorf("%s: serial number of %d bits, want 128 random ones", host, n)
		}
		if _, err := l.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: epoch, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if _, err := l.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: epoch, DNSName: "x." + host}); err == nil {
			t.Errorf("%s: is good for a subdomain", host)
		}
	}
}

// The certificates are spelled here, and are what crypto/x509 makes of the same.
func TestLeafIsWhatX509Makes(t *testing.T) {
	a, now := at(t, ca.Options{})
	for _, year := range []int{2030, 2035, 2039} {
		now.Store(epoch.AddDate(year-2030, 0, 0).Unix())
		for _, host := range []string{
			"a.example", "127.0.0.1", "2001:db8::1", "::1", "xn--bcher-kva.example", "9.8.example",
			strings.Repeat("a", 55) + ".example", strings.Repeat("a", 57) + ".example", strings.Repeat("a.", 126) + "b",
		} {
			asX509(t, a, host, leaf(t, a, host).Leaf)
		}
	}
	old, err := ca.Create(time.Date(2049, 12, 31, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	a, err = ca.Load(old.CertificateDER(), old.KeyPKCS8(), ca.Options{Now: func() time.Time {
		return time.Date(2049, 12, 31, 12, 30, 0, 0, time.UTC) // the two years have different forms
	}})
	if err != nil {
		t.Fatal(err)
	}
	asX509(t, a, "a.example", leaf(t, a, "a.example").Leaf)
}

// asX509 holds what was signed of a leaf against crypto/x509, and the signature
// against the root.
func asX509(t *testing.T, a *ca.Authority, host string, l *x509.Certificate) {
	t.Helper()
	asX509By(t, root(t, a), host, l)
}

// asX509By is asX509 for any issuer. What is signed does not depend on its key.
func asX509By(t *testing.T, issuer *x509.Certificate, host string, l *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: l.SerialNumber, NotBefore: l.NotBefore, NotAfter: l.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, SignatureAlgorithm: x509.ECDSAWithSHA256,
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = []net.IP{addr.AsSlice()}
	} else {
		template.DNSNames = []string{host}
		if len(host) <= 64 {
			template.Subject.CommonName = host
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, unkeyed(issuer), l.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	want, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(l.RawTBSCertificate, want.RawTBSCertificate) {
		t.Errorf("%s: signed\n%x, x509 signs\n%x", host, l.RawTBSCertificate, want.RawTBSCertificate)
	}
	if err := l.CheckSignatureFrom(issuer); err != nil {
		t.Errorf("%s: %v", host, err)
	}
}

// unkeyed is a certificate for whichever key signs for it.
func unkeyed(c *x509.Certificate) *x509.Certificate {
	again := *c
	again.PublicKey = nil
	return &again
}

func TestLeavesOfTwoHostsShareNothing(t *testing.T) {
	a, _ := at(t, ca.Options{})
	x, y := leaf(t, a, "x.example"), leaf(t, a, "y.example")
	if x.Leaf.SerialNumber.Cmp(y.Leaf.SerialNumber) == 0 {
		t.Errorf("two leaves have one serial number")
	}
	if x.PrivateKey.(*ecdsa.PrivateKey).Equal(y.PrivateKey) {
		t.Errorf("two leaves have one key")
	}
}

func TestLeafRefusesWhatIsNotOneHost(t *testing.T) {
	a, _ := at(t, ca.Options{})
	for _, host := range []string{
		"", ".", "a..b", "*.example.com", "a b", "UPPER.example", "bücher.example", "host.", "a,b", "h:443", "[::1]",
		"fe80::1%eth0", "2001:DB8::1", "2001:db8:0::1", "under_score.example", "a\x00b",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "toolong",
	} {
		if c, err := a.Leaf(t.Context(), host); err == nil {
			t.Errorf("Leaf(%q) minted for %v %v", host, c.Leaf.DNSNames, c.Leaf.IPAddresses)
		}
	}
}

func TestLeafNeverOutlivesTheRoot(t *testing.T) {
	a, now := at(t, ca.Options{})
	end := root(t, a).NotAfter
	now.Store(end.Add(-time.Hour).Unix())
	if got := leaf(t, a, "h.example").Leaf.NotAfter; !got.Equal(end) {
		t.Errorf("leaf ends %v, root %v", got, end)
	}
	now.Store(end.Unix())
	if _, err := a.Leaf(t.Context(), "h.example"); err == nil {
		t.Errorf("an expired root still mints")
	}
	now.Store(root(t, a).NotBefore.Add(10 * time.Minute).Unix())
	if got := leaf(t, a, "early.example").Leaf.NotBefore; got.Before(root(t, a).NotBefore) {
		t.Errorf("leaf begins %v, before its root", got)
	}
}

func TestLeafIsCachedAndRenewedInTime(t *testing.T) {
	a, now := at(t, ca.Options{})
	first := leaf(t, a, "h.example")
	now.Add(int64(11 * time.Hour / time.Second))
	if leaf(t, a, "h.example") != first {
		t.Errorf("after 11 hours another leaf is served")
	}
	now.Add(int64(2 * time.Hour / time.Second))
	second := leaf(t, a, "h.example")
	if second == first {
		t.Errorf("after 13 hours of 24 the old leaf is served")
	}
	if left := second.Leaf.NotAfter.Sub(time.Unix(now.Load(), 0)); left != 24*time.Hour {
		t.Errorf("the renewed leaf lasts %v", left)
	}
}

func TestCacheIsBounded(t *testing.T) {
	a, _ := at(t, ca.Options{CacheSize: 4})
	var first [64]*tls.Certificate
	for i := range first {
		first[i] = leaf(t, a, fmt.Sprintf("h%d.example", i))
	}
	kept := 0
	for i := range first {
		if leaf(t, a, fmt.Sprintf("h%d.example", i)) == first[i] {
			kept++
		}
	}
	// The cache evicts behind its writers, so a few more may be there.
	if kept > len(first)/2 {
		t.Errorf("%d of %d leaves were kept in a cache of 4", kept, len(first))
	}
}

func TestSingleFlight(t *testing.T) {
	a, _ := at(t, ca.Options{})
	var got [32]*tls.Certificate
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			var err error
			if got[i], err = a.Leaf(context.Background(), "h.example"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range got {
		if got[i] != got[0] {
			t.Errorf("caller %d got a leaf of its own", i)
		}
	}
}

func TestLoadKeepsTheRoot(t *testing.T) {
	a, err := ca.Create(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ca.Load(a.CertificateDER(), a.KeyPKCS8(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Fingerprint() != b.Fingerprint() {
		t.Errorf("the root changed by loading")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.PEM())
	if _, err := leaf(t, b, "h.example").Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "h.example"}); err != nil {
		t.Errorf("a leaf after loading does not verify against the root before: %v", err)
	}
}

func TestLoadRefusals(t *testing.T) {
	good, _ := at(t, ca.Options{})
	other, _ := at(t, ca.Options{})
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := x509.MarshalPKCS8PrivateKey(edKey)
	if err != nil {
		t.Fatal(err)
	}
	l := leaf(t, good, "h.example")
	leafKey, err := x509.MarshalPKCS8PrivateKey(l.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return epoch }
	for _, tt := range []struct {
		name      string
		cert, key []byte
		now       func() time.Time
		want      string
	}{
		{"no certificate", nil, good.KeyPKCS8(), now, "authority certificate: "},
		{"no key", good.CertificateDER(), nil, now, "authority key: not a PKCS #8 private key"},
		{"another's key", good.CertificateDER(), other.KeyPKCS8(), now, "authority certificate: belongs to another key"},
		{"Ed25519", good.CertificateDER(), ed, now, "authority key: not ECDSA P-256"},
		{"a leaf", l.Certificate[0], leafKey, now, "authority certificate: may not sign certificates"},
		{"expired", good.CertificateDER(), good.KeyPKCS8(), func() time.Time { return epoch.AddDate(11, 0, 0) }, "authority certificate: expired at 2040-05-17T12:00:00Z"},
	} {
		if _, err := ca.Load(tt.cert, tt.key, ca.Options{Now: tt.now}); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: Load: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestACachedLeafCostsNothing(t *testing.T) {
	a, _ := at(t, ca.Options{})
	leaf(t, a, "h.example")
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := a.Leaf(ctx, "h.example"); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("Leaf on a cached host allocates %v times, budget 0", n)
	}
}

// Whatever is minted is for exactly the host that was asked for.
func FuzzLeaf(f *testing.F) {
	a, err := ca.Create(time.Now())
	if err != nil {
		f.Fatal(err)
	}
	for _, host := range []string{"api.stripe.com", "127.0.0.1", "::1", "*.a.b", "a\x00b", "", "::ffff:1.2.3.4", "1.2.3"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		c, err := a.Leaf(context.Background(), host)
		if err != nil {
			return
		}
		names := append([]string(nil), c.Leaf.DNSNames...)
		for _, ip := range c.Leaf.IPAddresses {
			names = append(names, ip.String())
		}
		if len(names) != 1 || names[0] != host && !net.ParseIP(names[0]).Equal(net.ParseIP(host)) {
			t.Errorf("Leaf(%q) is for %q", host, names)
		}
		if strings.Contains(names[0], "*") || c.Leaf.IsCA {
			t.Errorf("Leaf(%q) is for %q, CA %t", host, names, c.Leaf.IsCA)
		}
		asX509(t, a, host, c.Leaf)
	})
}

func BenchmarkMint(b *testing.B) {
	a, err := ca.Create(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := a.Leaf(context.Background(), fmt.Sprintf("h%d.example", i)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCachedLeaf(b *testing.B) {
	a, err := ca.Create(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Leaf(context.Background(), "h.example"); err != nil {
			b.Fatal(err)
		}
	}
}

func Example() {
	authority, err := ca.Create(time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := authority.Leaf(context.Background(), "api.stripe.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(authority.PEM()) // what an agent has in its trust store
	_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: trust, DNSName: "api.stripe.com"})
	fmt.Println(cert.Leaf.DNSNames, err)
	// Output: [api.stripe.com] <nil>
}
