package main

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"agentvault/ca"
)

func TestTrustStore(t *testing.T) {
	var pems [][]byte
	for range 2 {
		a, err := ca.Create(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		pems = append(pems, a.PEM())
	}
	bundle := bytes.Join([][]byte{[]byte("# roots\n"), pems[0], []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), pems[1], pems[0]}, nil)
	store, err := ca.TrustStorePKCS12(ca.Certificates(bundle), ca.TrustStorePassword)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pkcs12.DecodeTrustStore(store, ca.TrustStorePassword)
	if err != nil || len(certs) != 2 {
		t.Fatalf("%d certificates, %v; want each once, without what is none", len(certs), err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	for _, c := range certs {
		if _, err := c.Verify(x509.VerifyOptions{Roots: pool}); err != nil {
			t.Error(err)
		}
	}
}

func TestNonProxyHosts(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"localhost,127.0.0.1,::1":         "localhost|*.localhost|127.0.0.1|[::1]",
		"corp.test,.below.test,*.in.test": "corp.test|*.corp.test|*.below.test|*.in.test",
		"10.0.0.0/8,host.test:8080,*,a|b": "host.test|*.host.test",
	} {
		if got := nonProxyHosts(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestJVMOptions: what was there stays in front, whatever is in a path stays one
// word, and the proxy is the port without credentials where there is one.
func TestJVMOptions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with a space")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for port, want := range map[string]string{
		"":                      "-Dhttps.proxyHost=vault.test -Dhttps.proxyPort=14322",
		"http://127.0.0.1:4321": "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=4321",
	} {
		c := child()
		c.jvmPort = port
		vars := map[string]string{"JAVA_TOOL_OPTIONS": "-Dmine=1"}
		if err := c.addJVM(vars, dir, write(t, "bundle.pem", testCA, 0o600)); err != nil {
			t.Fatal(err)
		}
		options := vars["JAVA_TOOL_OPTIONS"]
		if !strings.HasPrefix(options, `-Dmine=1 "-Djavax.net.ssl.trustStore=`+dir+`/trust.p12" `) || !strings.Contains(options, want) || strings.Contains(options, "av_sess_") {
			t.Errorf("%q: %s", port, options)
		}
		if vars[trustStoreVariable] != dir+"/trust.p12" {
			t.Errorf("%q", vars[trustStoreVariable])
		}
	}
	c := child()
	c.session.MITMURL = "https://vault.test:14322"
	if p := c.jvmProxy(""); p != nil {
		t.Errorf("a JVM knows no TLS to a proxy: %q", p)
	}
}
