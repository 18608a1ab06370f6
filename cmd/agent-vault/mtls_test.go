package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// startCertOrigin serves TLS to those who show a certificate of an authority, and
// says in its answer what it was sent, and by whom.
func startCertOrigin(t *testing.T, cert tls.Certificate, clients *authority, http2 bool, echo []string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	conf.ClientCAs.AddCert(clients.cert)
	if http2 {
		conf.NextProtos = []string{"h2"}
	}
	srv := &http.Server{TLSConfig: conf, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/echo" {
			io.WriteString(w, strings.Join(echo, "\n--\n"))
			return
		}
		fmt.Fprintf(w, "%s: %s %s %s\nHost: %s\n", r.TLS.PeerCertificates[0].Subject.CommonName, r.Method, r.RequestURI, r.Proto, r.Host)
		r.Header.Write(w)
	})}
	done := make(chan struct{})
	go func() { srv.ServeTLS(ln, "", ""); close(done) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return ln.Addr().String()
}

// Upstreams that demand a client certificate see the vault's, whatever way the
// agent came in, and what they repeat of its key reaches nobody.
func TestClientCertificateTwins(t *testing.T) {
	ca, clients := newAuthority(t, "Origin CA"), newAuthority(t, "Client CA")
	robot, stranger := clientPEM(t, clients, "robot"), clientPEM(t, newAuthority(t, "Stranger CA"), "stranger")
	values := map[string]string{"CERT": robot.cert, "KEY": robot.key, "STRANGER": stranger.cert + stranger.key, "API_KEY": "sk-live-3f9a77c1e2d4b6a8"}
	escaped, err := json.Marshal(strings.ReplaceAll(robot.key, "\n", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	echo := []string{robot.key, strings.ReplaceAll(robot.key, "\n", "\r\n"), string(escaped), strings.ReplaceAll(robot.key, "\n", "")}
	hosts := map[string]string{
		"one.test": startCertOrigin(t, ca.leaf(t, "one.test", "stranger.test", "unfit.test", "missing.test"), clients, false, echo),
		"two.test": startCertOrigin(t, ca.leaf(t, "two.test"), clients, true, echo),
	}
	for _, name := range []string{"stranger.test", "unfit.test", "missing.test"} {
		hosts[name] = hosts["one.test"]
	}
	w := &world{}
	w.startKinds(t, ca, hosts, `
      - {name: one, host: one.test, auth: {type: mtls, certificate: CERT, private_key: KEY, auth: {type: bearer, token: API_KEY}}}
      - {name: two, host: two.test, auth: {type: mtls, certificate: CERT, private_key: KEY}}
      - {name: stranger, host: stranger.test, auth: {type: mtls, certificate: STRANGER, private_key: STRANGER}}
      - {name: unfit, host: unfit.test, auth: {type: mtls, certificate: CERT, private_key: STRANGER}}
      - {name: missing, host: missing.test, auth: {type: mtls, certificate: CERT, private_key: NOT_SET}}
`, values)
	for _, row := range []struct{ host, want string }{
		{"one.test", "robot: GET /a?b HTTP/1.1\nHost: one.test\nAuthorization: Bearer ************************\nX-Mine: yes\n"},
		{"two.test", "robot: GET /a?b HTTP/2.0\nHost: two.test\nX-Mine: yes\n"},
		{"stranger.test", `perhaps since it does not take the client certificate of the service; a person can look at the credential STRANGER`},
		{"unfit.test", `"message":"the value of the credential STRANGER is not the key of the certificate in CERT; ask a person to set it again"`},
		{"missing.test", `"credential":"NOT_SET"`},
	} {
		var first twin
		for n, e := range ways {
			a := w.do(e, w.token, call{host: row.host, target: "/a?b", header: []string{"X-Mine: yes"}})
			got := newTwin("", a)
			got.Body = strings.ReplaceAll(got.Body, "\r\n", "\n")
			if a.status == 200 && got.Body != row.want || a.status != 200 && !strings.Contains(got.Body, row.want) {
				t.Errorf("%s, %s: %d %s\nwant %s", row.host, e, a.status, got.Body, row.want)
			}
			if n == 0 {
				first = got
			} else if diff := cmp.Diff(first, got); diff != "" && row.host != "stranger.test" { // which may hang up sooner or later
				t.Errorf("%s: the ways differ (-path +%s): %s", row.host, e, diff)
			}
		}
	}
	for _, e := range ways {
		a := w.do(e, w.token, call{host: "two.test", target: "/echo"})
		for _, line := range strings.Split(robot.key, "\n")[1:] {
			if !strings.HasPrefix(line, "--") && len(line) >= 8 && strings.Contains(a.body, line) {
				t.Errorf("%s: %s of the key comes back:\n%s", e, line, a.body)
			}
		}
		if a.status != 200 || len(a.body) != len(strings.Join(echo, "\n--\n")) {
			t.Errorf("%s: %d, %d bytes", e, a.status, len(a.body))
		}
	}
}

type clientPair struct{ cert, key string }

func clientPEM(t *testing.T, by *authority, name string) clientPair {
	t.Helper()
	pair := by.client(t, name)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return clientPair{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}
