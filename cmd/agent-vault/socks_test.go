package main_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/net/proxy"
)

// dialSOCKS opens a tunnel by SOCKS.
func (i *instance) dialSOCKS(at, token, vaultName, host string) (net.Conn, error) {
	d, err := proxy.SOCKS5("tcp", at, &proxy.Auth{User: token, Password: vaultName}, nil)
	if err != nil {
		return nil, err
	}
	conn, err := d.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	return i.secured(conn, host)
}

// secured speaks TLS in a tunnel.
func (i *instance) secured(conn net.Conn, host string) (net.Conn, error) {
	name, _, _ := net.SplitHostPort(host)
	tc := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: i.trust()})
	if err := tc.Handshake(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return tc, nil
}

// TestSOCKSClients: programs that were told to use SOCKS, and let the proxy
// resolve names.
func TestSOCKSClients(t *testing.T) {
	curl, git := needs(t, "curl"), needs(t, "git")
	w := newWorld(t)
	// Not by -U: other users see command lines.
	const prelude = `unset HTTPS_PROXY https_proxy HTTP_PROXY http_proxy; at="${0#http://}"; export all_proxy="socks5h://$AGENT_VAULT_SESSION_TOKEN:$AGENT_VAULT_VAULT@$at"; `
	sh := func(script string) string {
		t.Helper()
		return w.underVault(t, "sh", "-c", prelude+script, w.Proxy)
	}
	w.wantInjected(t, sh(curl+` -sS --fail-with-body "https://api.test/curl?x=%2F"`))
	if got := w.origin.received(); !strings.HasPrefix(got, "GET /curl?x=%2F ") || !strings.Contains(got, "Bearer "+worldCredentials["API_KEY"]) {
		t.Errorf("origin got %q", got)
	}
	if out := sh(curl + ` -sS --http2 -w '%{http_version}' https://modern.test/curl`); !strings.HasSuffix(out, "2") {
		t.Errorf("not HTTP/2: %s", out)
	}
	if out := sh(curl + ` -sS https://unknown.test/`); !strings.Contains(out, `"proposal_hint"`) {
		t.Errorf("a host that is not allowed: %s", out)
	}
	if out := sh(curl + ` -sS http://api.test/ `); !strings.Contains(out, `"bad_request"`) {
		t.Errorf("clear text: %s", out)
	}
	// The origin is no git server: what matters is that git comes to it.
	sh(`GIT_TERMINAL_PROMPT=0 ` + git + ` ls-remote https://api.test/repo.git >/dev/null 2>&1 || true`)
	if got := w.origin.received(); !strings.HasPrefix(got, "GET /repo.git/info/refs?service=git-upload-pack ") {
		t.Errorf("git: the origin got %q", got)
	}

	// Of what is refused curl knows the number: an address, a wrong password.
	for _, tt := range []struct{ script, want string }{
		{curl + ` -sS https://192.0.2.1/ 2>&1`, "(2)"},
		{`all_proxy="socks5h://av_sess_x:y@$at" ` + curl + ` -sS https://api.test/ 2>&1`, "rejected by the SOCKS5 server"},
		{`all_proxy="socks5h://$at" ` + curl + ` -sS https://api.test/ 2>&1`, "No authentication method was acceptable"},
		{`all_proxy="socks4a://$at" ` + curl + ` -sS https://api.test/ 2>&1`, "request rejected or failed"},
	} {
		out, errs, err := w.run("", "vault", "run", "--", "sh", "-c", prelude+tt.script, w.Proxy)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 97 || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v, %q %q", tt.script, err, out, errs)
		}
	}
}
