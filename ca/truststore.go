package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"
)

// TrustStorePassword is what JVMs expect of a store that holds nothing secret.
const TrustStorePassword = pkcs12.DefaultPassword

var errNoCertificate = errors.New("no certificate to put into a trust store")

// Certificates returns those in a PEM bundle, each once. What is none is left
// out.
func Certificates(bundle []byte) []*x509.Certificate {
	var all []*x509.Certificate
	seen := make(map[string]bool)
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return all
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil || seen[string(cert.Raw)] {
			continue
		}
		seen[string(cert.Raw)] = true
		all = append(all, cert)
	}
}

// TrustStorePKCS12 makes a PKCS #12 store of certificates, each with the
// attribute by which a JVM trusts it (8u301, 11.0.12 and later: older ones know
// no AES there and take [TrustStoreJKS]). A JVM that is given the store looks at
// no other roots.
func TrustStorePKCS12(certs []*x509.Certificate, password string) ([]byte, error) {
	if len(certs) == 0 {
		return nil, errNoCertificate
	}
	entries := make([]pkcs12.TrustStoreEntry, len(certs))
	for i, c := range certs {
		entries[i] = pkcs12.TrustStoreEntry{Cert: c, FriendlyName: alias(i, c)}
	}
	return pkcs12.Modern2023.EncodeTrustStoreEntries(entries, password)
}

// TrustStoreJKS makes a store of certificates in the JVM's own old format, which
// every JVM reads. The password has six characters or more.
func TrustStoreJKS(certs []*x509.Certificate, password string, now time.Time) ([]byte, error) {
	if len(certs) == 0 {
		return nil, errNoCertificate
	}
	store := keystore.New(keystore.WithOrderedAliases(), keystore.WithMinPasswordLen(6))
	for i, c := range certs {
		entry := keystore.TrustedCertificateEntry{CreationTime: now, Certificate: keystore.Certificate{Type: "X509", Content: c.Raw}}
		if err := store.SetTrustedCertificateEntry(alias(i, c), entry); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	if err := store.Store(&b, []byte(password)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// alias is in lower case, as JVMs compare them, and of one certificate only.
func alias(i int, c *x509.Certificate) string {
	return strings.ToLower(fmt.Sprintf("%d %s", i+1, c.Subject))
}
