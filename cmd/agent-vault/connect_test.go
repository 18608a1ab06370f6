package main_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A connecting is a person's `credential connect`, which has printed where to sign in.
type connecting struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout bytes.Buffer
	stderr *bufio.Reader
	read   strings.Builder // of stderr, so far
	URL    string
}

func (i *instance) signIn(t *testing.T, args ...string) *connecting {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(stop)
	c := &connecting{t: t, cmd: exec.CommandContext(ctx, builtBinary(t), append([]string{"credential", "connect"}, args...)...)}
	c.cmd.Env, c.cmd.Dir, c.cmd.Stdout = i.env(), i.dir, &c.stdout
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stderr = bufio.NewReader(stderr)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for c.URL == "" {
		line, err := c.stderr.ReadString('\n')
		c.read.WriteString(line)
		if err != nil {
			t.Fatalf("%v: %s%s", err, c.read.String(), c.end(""))
		}
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "https://") {
			c.URL = line
		}
	}
	return c
}

// end gives the command what is pasted, and returns all that it said.
func (c *connecting) end(paste string) string {
	c.t.Helper()
	if paste != "" {
		if _, err := io.WriteString(c.stdin, paste+"\n"); err != nil {
			c.t.Error(err)
		}
	}
	rest, err := io.ReadAll(c.stderr)
	if err != nil {
		c.t.Error(err)
	}
	c.read.Write(rest)
	_ = c.cmd.Wait() // what it said tells how it ended
	return c.stdout.String() + c.read.String()
}

// newVisitor is a browser that finds names on loopback. It follows what it is sent to,
// unless it is another machine's: then nothing answers at the last address.
func newVisitor(t *testing.T, trusted []byte, hosts map[string]string, elsewhere bool) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if at, ok := hosts[strings.TrimSuffix(address, ":443")]; ok {
				address = at
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if elsewhere && r.URL.Scheme == "http" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// ended is where a browser ended.
func ended(resp *http.Response) string {
	if at := resp.Header.Get("Location"); at != "" {
		return at
	}
	return resp.Request.URL.String()
}

// A strictEndpoint holds what it is asked against RFC 6749 and RFC 7636.
type strictEndpoint struct {
	mu     sync.Mutex
	deny   bool
	asked  url.Values        // at /authorize, last
	codes  map[string]string // good once, with their redirect
	tokens []string          // refresh tokens
}

func (s *strictEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/authorize" {
		s.authorize(w, r)
		return
	}
	id, secret, _ := r.BasicAuth()
	out := map[string]string{"access_token": "access-" + rand.Text(), "token_type": "Bearer"}
	switch sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier"))); {
	case r.Method != http.MethodPost || id != "app" || secret != "secret-of-the-app":
		out = map[string]string{"error": "invalid_client"}
	case r.PostForm.Get("grant_type") == "refresh_token" && r.PostForm.Get("refresh_token") == s.tokens[len(s.tokens)-1]:
	case r.PostForm.Get("grant_type") == "authorization_code" && s.codes[r.PostForm.Get("code")] == r.PostForm.Get("redirect_uri") &&
		base64.RawURLEncoding.EncodeToString(sum[:]) == s.asked.Get("code_challenge"):
		delete(s.codes, r.PostForm.Get("code"))
		out["refresh_token"] = "refresh-" + rand.Text()
		s.tokens = append(s.tokens, out["refresh_token"])
	default:
		out = map[string]string{"error": "invalid_grant"}
	}
	w.Header().Set("Content-Type", "application/json")
	if out["error"] != "" {
		w.WriteHeader(http.StatusBadRequest)
	}
	json.NewEncoder(w).Encode(out)
}

func (s *strictEndpoint) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.asked = q
	if q.Get("response_type") != "code" || q.Get("client_id") != "app" || q.Get("code_challenge_method") != "S256" || q.Get("scope") != "read send" || q.Get("access_type") != "offline" {
		http.Error(w, "asked with "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	back := url.Values{"state": {q.Get("state")}}
	if s.deny {
		back.Set("error", "access_denied")
	} else {
		code := "code-" + rand.Text()
		s.codes[code] = q.Get("redirect_uri")
		back.Set("code", code)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// TestConnect connects an account as a person does, with a browser on the same
// machine and with one on another, and an agent uses it.
func TestConnect(t *testing.T) {
	ca := newAuthority(t, "Origin CA")
	endpoint := &strictEndpoint{codes: map[string]string{}}
	login := startOrigin(t, ca.leaf(t, "login.test"), false, endpoint)
	w := &world{origin: startOrigin(t, ca.leaf(t, "mail.test"), false, originHandler())}
	hosts := map[string]string{"login.test": login.Addr, "mail.test": w.origin.Addr}
	w.startKinds(t, ca, hosts, `
      - {name: mail, host: mail.test, auth: {type: oauth2, grant: refresh_token, token_url: "https://login.test/token", authorization_url: "https://login.test/authorize?access_type=offline",
          client_id_literal: app, client_secret: SECRET, refresh_token: REFRESH, scopes: [read, send]}}
`, map[string]string{"SECRET": "secret-of-the-app"})
	for _, paste := range []bool{false, true} {
		args := []string{"mail"}
		if paste {
			args = append(args, "--paste")
		}
		for _, deny := range []bool{true, false} {
			endpoint.mu.Lock()
			endpoint.deny = deny
			endpoint.mu.Unlock()
			c := w.signIn(t, args...)
			resp, err := newVisitor(t, ca.pem, hosts, paste).Get(c.URL)
			if err != nil {
				t.Fatal(err)
			}
			page, pasted := bodyOf(t, resp), ""
			if paste {
				pasted = ended(resp)
			}
			said, want := c.end(pasted), "connected mail in the vault default; its refresh token is stored as REFRESH"
			if deny {
				want = "the authorization server refused: access_denied"
			}
			if !strings.Contains(said, want) {
				t.Errorf("%q, denied %t: it says %s, and the page %d %s", args, deny, said, resp.StatusCode, page)
			}
			if strings.Contains(said, "refresh-") || strings.Contains(said, "access-") || !paste && strings.Contains(page, "code-") {
				t.Errorf("%q: what nobody should see is in %s or %s", args, said, page)
			}
		}
		for _, e := range ways {
			if a := w.do(e, w.token, call{host: "mail.test", target: "/"}); a.status != http.StatusOK || !strings.Contains(w.origin.received(), "\r\nAuthorization: Bearer access-") || strings.Contains(a.body, "access-") {
				t.Errorf("%q, %s: %d %s, the upstream got %s", args, e, a.status, a.body, w.origin.received())
			}
		}
	}
}
