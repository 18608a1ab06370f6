package broker_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/vault"
)

// A message says whether the upstream was reached.
func TestUpstreamErrorSaysWhich(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			c.Close()
		}
	}), nil)
	const unknown = "the upstream broke the connection off"
	if w := k.get(t, "example.com", "/"); code(t, w) != broker.CodeUpstreamError || !strings.Contains(w.Body.String(), unknown) {
		t.Errorf("a connection that was closed: %s", w.Body)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	k.changeVault(t, func(v *vault.Vault) { v.Services[0].Host = fmt.Sprintf("127.0.0.1:%d", port) })
	if w := k.get(t, fmt.Sprintf("127.0.0.1:%d", port), "/"); code(t, w) != broker.CodeUpstreamError || !strings.Contains(w.Body.String(), `"the upstream could not be reached"`) {
		t.Errorf("nothing listens: %s", w.Body)
	}
}

// Who asks by https for what is to be had by http only is told.
func TestForbiddenSaysThatItIsHTTP(t *testing.T) {
	k := newKit(t, echo, nil)
	k.changeVault(t, func(v *vault.Vault) { v.Services[0].Scheme, v.Services[0].Host = "http", "plain.example.com:8080" })
	if w := k.get(t, "plain.example.com:8080", "/"); code(t, w) != broker.CodeForbidden || !strings.Contains(w.Body.String(), "http://plain.example.com:8080") {
		t.Errorf("%s", w.Body)
	}
	if w := k.get(t, "plain.example.com", "/"); strings.Contains(w.Body.String(), "http://") {
		t.Errorf("another port: %s", w.Body)
	}
}
