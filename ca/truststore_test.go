package ca_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"

	"agentvault/ca"
)

// twoRoots is a bundle with one of them twice, a comment, and what is none.
func twoRoots(t *testing.T) []*x509.Certificate {
	t.Helper()
	a, _ := at(t, ca.Options{})
	b, _ := at(t, ca.Options{})
	bundle := bytes.Join([][]byte{a.PEM(), []byte("# a comment\n"), b.PEM(), a.PEM(), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, nil)
	certs := ca.Certificates(bundle)
	if len(certs) != 2 || !certs[0].Equal(root(t, a)) || !certs[1].Equal(root(t, b)) {
		t.Fatalf("Certificates found %d, want the two roots in their order", len(certs))
	}
	return certs
}

func TestTrustStorePKCS12(t *testing.T) {
	certs := twoRoots(t)
	store, err := ca.TrustStorePKCS12(certs, ca.TrustStorePassword)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pkcs12.DecodeTrustStore(store, ca.TrustStorePassword)
	if err != nil || len(got) != 2 || !got[0].Equal(certs[0]) || !got[1].Equal(certs[1]) {
		t.Errorf("read back %d certificates, %v", len(got), err)
	}
	if _, err := ca.TrustStorePKCS12(nil, ca.TrustStorePassword); err == nil {
		t.Error("a store of nothing was made")
	}
	keytoolReads(t, "trust.p12", store)
}

func TestTrustStoreJKS(t *testing.T) {
	certs := twoRoots(t)
	data, err := ca.TrustStoreJKS(certs, ca.TrustStorePassword, epoch)
	if err != nil {
		t.Fatal(err)
	}
	store := keystore.New(keystore.WithOrderedAliases())
	if err := store.Load(bytes.NewReader(data), []byte(ca.TrustStorePassword)); err != nil {
		t.Fatal(err)
	}
	for i, name := range store.Aliases() {
		e, err := store.GetTrustedCertificateEntry(name)
		if err != nil || !bytes.Equal(e.Certificate.Content, certs[i].Raw) || !e.CreationTime.Equal(epoch) {
			t.Errorf("%s: %v, %v", name, e.CreationTime, err)
		}
	}
	if n := len(store.Aliases()); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
	for what, f := range map[string]func() ([]byte, error){
		"nothing":          func() ([]byte, error) { return ca.TrustStoreJKS(nil, ca.TrustStorePassword, epoch) },
		"a short password": func() ([]byte, error) { return ca.TrustStoreJKS(certs, "short", epoch) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("a store of %s was made", what)
		}
	}
	keytoolReads(t, "trust.jks", data)
}

// keytoolReads asks the JVM's own reader, where there is one.
func keytoolReads(t *testing.T, name string, store []byte) {
	t.Run("keytool", func(t *testing.T) {
		if _, err := exec.LookPath("keytool"); err != nil {
			t.Skip("needs keytool")
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, store, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "keytool", "-J-Duser.language=en", "-list", "-keystore", path, "-storepass", ca.TrustStorePassword).CombinedOutput()
		if n := strings.Count(string(out), "trustedCertEntry"); err != nil || n != 2 {
			t.Errorf("keytool sees %d trusted certificates, %v:\n%s", n, err, out)
		}
	})
}
