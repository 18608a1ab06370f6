package main_test

import (
	"crypto/tls"
	"encoding/xml"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestH2spec: HTTP/2 in a tunnel keeps to its rules wherever net/http's own
// server does.
func TestH2spec(t *testing.T) {
	h2spec := suiteProgram(t, "h2spec")
	w := newSuiteWorld(t, injected)
	serveHello(t, w)
	w.startRelay(t)
	bare, through := runH2spec(t, h2spec, "127.0.0.2", w.ports[0]), runH2spec(t, h2spec, "localhost", w.ports[0])
	passed := func(results map[string]string) (n int) {
		for _, failure := range results {
			if failure == "" {
				n++
			}
		}
		return n
	}
	t.Logf("of %d cases %d pass with net/http, and %d through the vault", len(bare), passed(bare), passed(through))
	for name, failure := range through {
		switch without, known := bare[name]; {
		case failure != "" && (!known || without == ""):
			t.Errorf("%s:\n%s", name, failure)
		case failure != "":
			t.Logf("%s fails with net/http too", name)
		case without != "":
			t.Logf("%s fails with net/http, and passes through the vault", name)
		}
	}
	if len(bare) < 140 || len(through) != len(bare) {
		t.Errorf("%d cases with net/http and %d through the vault, want the same and 140 at least", len(bare), len(through))
	}
}

// serveHello is net/http's own server as the upstream.
func serveHello(t *testing.T, w *suiteWorld) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(w.certFile, w.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", upstreamAt(w.ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // cut short is the point of some cases
			io.WriteString(w, "hello, h2spec\n")
		}),
	}
	go srv.ServeTLS(ln, "", "")
	t.Cleanup(func() { srv.Close() })
}

// runH2spec returns each case's failure, "" if it passed. It exits with 1 when
// a case fails.
func runH2spec(t *testing.T, program, host string, port int) map[string]string {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.xml")
	out, runErr := exec.Command(program, "-t", "-k", "-h", host, "-p", strconv.Itoa(port), "-j", report).CombinedOutput()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v: %v\n%s", runErr, err, out)
	}
	var suites struct {
		Suites []struct {
			Package string `xml:"package,attr"`
			Cases   []struct {
				Name    string `xml:"classname,attr"`
				Failure string `xml:"failure"`
				Error   string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil {
		t.Fatal(err)
	}
	results := make(map[string]string)
	for _, s := range suites.Suites {
		for _, c := range s.Cases {
			results[s.Package+" "+c.Name] = c.Failure + c.Error
		}
	}
	return results
}
