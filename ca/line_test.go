package ca_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/ca"
)

// rotating is a line in the middle of a rotation that ends after a day, for each
// kind of root that is replaced.
func rotating(t *testing.T, test func(t *testing.T, l *ca.Line, before, next *ca.Authority, now *atomic.Int64)) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made, _ := at(t, ca.Options{})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		cert, key []byte
	}{
		{"a root of now", made.CertificateDER(), made.KeyPKCS8()},
		{"a root of before intermediates", ca.OldRoot(t, key, epoch), pkcs8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next, now := at(t, ca.Options{})
			clock := func() time.Time { return time.Unix(now.Load(), 0) }
			hosts := func(string) []string { return []string{"a.example"} }
			before, err := ca.Load(tt.cert, tt.key, ca.Options{Now: clock})
			if err != nil {
				t.Fatal(err)
			}
			until := epoch.Add(24 * time.Hour)
			cross, err := next.Certify(before, until)
			if err != nil {
				t.Fatal(err)
			}
			if before, err = ca.Load(tt.cert, tt.key, ca.Options{Now: clock, Hosts: hosts, Cross: cross}); err != nil {
				t.Fatal(err)
			}
			if next, err = ca.Load(next.CertificateDER(), next.KeyPKCS8(), ca.Options{Now: clock, Hosts: hosts}); err != nil {
				t.Fatal(err)
			}
			test(t, ca.NewLine(ca.Succession{Current: before, Next: next, Until: until}, clock), before, next, now)
		})
	}
}

func TestDuringARotationEitherRootIsEnough(t *testing.T) {
	rotating(t, func(t *testing.T, l *ca.Line, before, next *ca.Authority, _ *atomic.Int64) {
		for _, host := range []string{"a.example", "refused.example"} {
			c, err := l.LeafIn(t.Context(), "v-1", host)
			if err != nil {
				t.Fatal(err)
			}
			for who, roots := range map[string][]*x509.Certificate{
				"the old root only": {root(t, before)}, "the new root only": {root(t, next)}, "both": {root(t, before), root(t, next)},
			} {
				if err := verify(t, c, host, epoch, roots...); err != nil {
					t.Errorf("%s: who trusts %s: %v", host, who, err)
				}
			}
			stranger, _ := at(t, ca.Options{})
			if verify(t, c, host, epoch, root(t, stranger)) == nil {
				t.Error("who trusts neither takes it")
			}
		}
		if want := append(next.PEM(), before.PEM()...); !bytes.Equal(l.PEM(), want) {
			t.Errorf("what to trust is\n%s", l.PEM())
		}
	})
}

func TestARotationEndsByItself(t *testing.T) {
	rotating(t, func(t *testing.T, l *ca.Line, before, next *ca.Authority, now *atomic.Int64) {
		now.Store(epoch.Add(24 * time.Hour).Unix())
		c, err := l.LeafIn(t.Context(), "v-1", "a.example")
		if err != nil {
			t.Fatal(err)
		}
		end := epoch.Add(24 * time.Hour)
		if err := verify(t, c, "a.example", end, root(t, next)); err != nil {
			t.Errorf("who trusts the new root: %v", err)
		}
		if verify(t, c, "a.example", end, root(t, before)) == nil {
			t.Error("the old root is as good as ever")
		}
		if !bytes.Equal(l.PEM(), next.PEM()) {
			t.Error("the old root is still to be trusted")
		}
	})
}
