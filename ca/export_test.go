package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"
)

// VerifyConstraints reports whether clients take a leaf for a host by whoever has
// an intermediate's key.
func VerifyConstraints(in *x509.Certificate, host string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	// The same certificate for a key that is known here, as a root of its own.
	again := *in
	again.PublicKey = nil
	der, err := x509.CreateCertificate(rand.Reader, &again, &again, &key.PublicKey, key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	by := &issuer{cert: cert, key: key}
	at := in.NotBefore.Add(leafBackdate)
	template, err := by.leafTemplate(host, at)
	if err != nil {
		return err
	}
	if der, err = by.signLeaf(template, &key.PublicKey); err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, DNSName: host})
	return err
}

// OldRoot is a root as Create made it when leaves were signed by it alone.
func OldRoot(t *testing.T, key *ecdsa.PrivateKey, now time.Time) []byte {
	t.Helper()
	id, err := keyID(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := newSerial()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Agent Vault CA of old"},
		NotBefore: now.Add(-rootBackdate), NotAfter: now.AddDate(rootYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true, SubjectKeyId: id,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
