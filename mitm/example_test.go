package mitm_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"slices"
	"testing"
)

// An agent that knows nothing of the vault but HTTPS_PROXY and a root
// certificate.
func Example() {
	t := new(quiet)
	defer t.cleanup()
	k := newKit(t, kitOptions{})

	agent := &http.Client{Transport: &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: k.addr, User: url.UserPassword(k.token, "default")}),
		TLSClientConfig: &tls.Config{RootCAs: k.roots},
	}}
	resp, err := agent.Post("https://api.example.com/v1/things", "text/plain", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	fmt.Println(resp.StatusCode, resp.Header.Get("X-Saw-Host"), resp.Header.Get("X-Saw-Authorization"))
	// Output: 200 api.example.com Bearer ************************
}

// A quiet stands in for the testing.TB that an example does not have.
type quiet struct {
	testing.TB
	ends []func()
}

func (*quiet) Helper()                   {}
func (*quiet) Context() context.Context  { return context.Background() }
func (q *quiet) Cleanup(f func())        { q.ends = append(q.ends, f) }
func (*quiet) Fatal(args ...any)         { log.Panic(args...) }
func (*quiet) Errorf(f string, a ...any) { log.Panicf(f, a...) }

func (q *quiet) TempDir() string {
	dir, err := os.MkdirTemp("", "mitm")
	if err != nil {
		q.Fatal(err)
	}
	q.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (q *quiet) cleanup() {
	for _, f := range slices.Backward(q.ends) {
		f()
	}
}
