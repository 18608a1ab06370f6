package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/ca"
)

// below is an Authority at epoch with a vault of hosts, which the test changes.
func below(t *testing.T, hosts ...string) (*ca.Authority, *atomic.Pointer[[]string], *atomic.Int64) {
	t.Helper()
	have := new(atomic.Pointer[[]string])
	have.Store(&hosts)
	a, now := at(t, ca.Options{Hosts: func(id string) []string {
		if id != "v-1" {
			return nil
		}
		return *have.Load()
	}})
	return a, have, now
}

func leafIn(t *testing.T, a *ca.Authority, vaultID, host string) *tls.Certificate {
	t.Helper()
	c, err := a.LeafIn(t.Context(), vaultID, host)
	if err != nil {
		t.Fatalf("LeafIn(%q, %q): %v", vaultID, host, err)
	}
	return c
}

// verify holds a chain as it is sent against the roots that a client trusts.
func verify(t *testing.T, c *tls.Certificate, host string, at time.Time, roots ...*x509.Certificate) error {
	t.Helper()
	trust, sent := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range roots {
		trust.AddCert(r)
	}
	for _, der := range c.Certificate[1:] {
		sent.AddCert(parse(t, der))
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: trust, Intermediates: sent, CurrentTime: at, DNSName: host})
	return err
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAVaultsHostsHaveAnIntermediate(t *testing.T) {
	a, _, _ := below(t, "*.wild.example", "192.0.2.7", "2001:db8::1", "a.example", "b.example")
	var first *x509.Certificate
	for _, host := range []string{"a.example", "b.example", "x.wild.example", "192.0.2.7", "2001:db8::1"} {
		c := leafIn(t, a, "v-1", host)
		if len(c.Certificate) != 2 {
			t.Fatalf("%s: %d certificates are sent, want leaf and intermediate", host, len(c.Certificate))
		}
		in := parse(t, c.Certificate[1])
		if first == nil {
			first = in
		}
		if !in.Equal(first) {
			t.Errorf("%s has another intermediate", host)
		}
		if err := verify(t, c, host, epoch, root(t, a)); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		asX509By(t, in, host, c.Leaf)
	}
	if !first.IsCA || first.MaxPathLen != 0 || !first.MaxPathLenZero || !first.PermittedDNSDomainsCritical ||
		!slices.Equal(first.PermittedDNSDomains, []string{"wild.example", "a.example", "b.example"}) || len(first.PermittedIPRanges) != 2 {
		t.Errorf("the intermediate is good for %q and %v (critical %t), pathlen %d", first.PermittedDNSDomains, first.PermittedIPRanges, first.PermittedDNSDomainsCritical, first.MaxPathLen)
	}
	if back, life := epoch.Sub(first.NotBefore), first.NotAfter.Sub(epoch); back != time.Hour || life != 7*24*time.Hour {
		t.Errorf("it begins %v back and lasts %v", back, life)
	}
}

// A host that the vault does not have gets its leaf from the root: nothing that
// is not constrained lies between.
func TestOtherHostsAreTheRootsOwn(t *testing.T) {
	a, _, _ := below(t, "*.wild.example", "a.example")
	for _, host := range []string{"b.example", "x.a.example", "wild.example", "x.y.wild.example", "192.0.2.7"} {
		c := leafIn(t, a, "v-1", host)
		if err := verify(t, c, host, epoch, root(t, a)); len(c.Certificate) != 1 || err != nil {
			t.Errorf("%s: %d certificates, %v", host, len(c.Certificate), err)
		}
	}
	if c := leafIn(t, a, "v-2", "a.example"); len(c.Certificate) != 1 {
		t.Error("a vault without hosts has an intermediate")
	}
}

// An intermediate that leaked is good for its hosts only.
func TestConstraintsBind(t *testing.T) {
	for _, tt := range []struct {
		hosts       []string
		good, never []string
	}{
		{[]string{"a.example"}, []string{"a.example"}, []string{"b.example", "example", "xa.example", "192.0.2.7", "::1"}},
		{[]string{"*.a.example"}, []string{"x.a.example"}, []string{"b.example", "192.0.2.7"}},
		{[]string{"192.0.2.7"}, []string{"192.0.2.7"}, []string{"192.0.2.8", "2001:db8::1", "a.example"}},
		{[]string{"2001:db8::1"}, []string{"2001:db8::1"}, []string{"192.0.2.8", "2001:db8::2", "a.example"}},
	} {
		a, _, _ := below(t, tt.hosts...)
		in := parse(t, leafIn(t, a, "v-1", tt.good[0]).Certificate[1])
		for _, host := range append(tt.never, tt.good...) {
			if err := ca.VerifyConstraints(in, host); (err == nil) != slices.Contains(tt.good, host) {
				t.Errorf("an intermediate for %q and a leaf for %s: %v", tt.hosts, host, err)
			}
		}
	}
}

func TestIntermediatesFollowTheHosts(t *testing.T) {
	a, hosts, now := below(t, "a.example")
	before := leafIn(t, a, "v-1", "a.example")
	early := leafIn(t, a, "v-1", "b.example") // by the root
	hosts.Store(&[]string{"a.example", "b.example", "c.example"})
	after := leafIn(t, a, "v-1", "c.example")
	if in := parse(t, after.Certificate[1]); len(in.PermittedDNSDomains) != 3 {
		t.Errorf("after hosts were added it is good for %q", in.PermittedDNSDomains)
	}
	for host, c := range map[string]*tls.Certificate{"a.example": before, "b.example": early, "c.example": after} {
		if leafIn(t, a, "v-1", host) != c {
			t.Errorf("%s: a leaf that is good was minted anew", host)
		}
		if err := verify(t, c, host, epoch, root(t, a)); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	now.Add(int64(4 * 24 * time.Hour / time.Second))
	later := leafIn(t, a, "v-1", "c.example")
	if in := parse(t, later.Certificate[1]); in.Equal(parse(t, after.Certificate[1])) || later.Leaf.NotAfter.After(in.NotAfter) {
		t.Errorf("after four of seven days the intermediate until %v is in use for a leaf until %v", in.NotAfter, later.Leaf.NotAfter)
	}
	end := root(t, a).NotAfter
	now.Store(end.Add(-time.Hour).Unix())
	last := leafIn(t, a, "v-1", "c.example")
	if in := parse(t, last.Certificate[1]); !in.NotAfter.Equal(end) || !last.Leaf.NotAfter.Equal(end) {
		t.Errorf("intermediate until %v, leaf until %v, root until %v", in.NotAfter, last.Leaf.NotAfter, end)
	}
}

// A handshake carries a part of a long list.
func TestALongListIsInParts(t *testing.T) {
	var hosts []string
	for i := range 100 {
		hosts = append(hosts, fmt.Sprintf("h%03d.example", i))
	}
	a, _, _ := below(t, hosts...)
	seen := make(map[string]bool)
	for _, h := range hosts {
		c := leafIn(t, a, "v-1", h)
		if err := verify(t, c, h, epoch, root(t, a)); err != nil {
			t.Errorf("%s: %v", h, err)
		}
		seen[string(c.Certificate[1])] = true
		if n := len(parse(t, c.Certificate[1]).PermittedDNSDomains); n > 32 {
			t.Errorf("%d hosts in one certificate", n)
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d intermediates for 100 hosts, want 4", len(seen))
	}
}

// A root that was made before there were intermediates, and is trusted as it
// stands, says that there are none below it.
func TestARootOfPathLengthZeroSignsItself(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old := ca.OldRoot(t, key, epoch)
	a := load(t, old, key, ca.Options{Hosts: func(string) []string { return []string{"a.example"} }})
	c := leafIn(t, a, "v-1", "a.example")
	if err := verify(t, c, "a.example", epoch, root(t, a)); len(c.Certificate) != 1 || err != nil {
		t.Errorf("%d certificates, %v", len(c.Certificate), err)
	}
}

func load(t *testing.T, der []byte, key *ecdsa.PrivateKey, o ca.Options) *ca.Authority {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if o.Now == nil {
		o.Now = func() time.Time { return epoch }
	}
	a, err := ca.Load(der, pkcs8, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func BenchmarkMintInAVault(b *testing.B) {
	made, err := ca.Create(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	a, err := ca.Load(made.CertificateDER(), made.KeyPKCS8(), ca.Options{Hosts: func(string) []string { return []string{"*.example"} }})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := a.LeafIn(b.Context(), "v-1", fmt.Sprintf("h%d.example", i)); err != nil {
			b.Fatal(err)
		}
	}
}
