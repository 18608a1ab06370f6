package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// value is of an element's text.
func (b *browser) value(css string) string {
	b.t.Helper()
	b.waits(css)
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf("document.querySelector(%q).innerText", css)))
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// TestFirstVisitStory: a person comes to an instance that nobody owns, and with
// clicks and what they type gets to an agent's first request.
func TestFirstVisitStory(t *testing.T) {
	b := newBrowser(t)
	ca := newAuthority(t, "Origin CA")
	o := startOrigin(t, ca.leaf(t, "api.github.com"), false, originHandler())
	roots := t.TempDir() + "/origin.pem"
	if err := os.WriteFile(roots, ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstance(t, fmt.Sprintf("upstream: {ca_file: %s, hosts: {api.github.com: '%s'}}\nnetwork: {allow: [127.0.0.0/8]}\n", roots, o.Addr))

	b.open(i.API + "/")
	b.says("Nobody owns this instance yet")
	b.types("input[name=email]", ownerEmail)
	b.types("input[name=password]", ownerPassword)
	b.clicks("main button")
	b.says("First steps", "to do A service")

	b.clicks("#steps a[href='/vaults/default/catalog']")
	b.says("Describe it yourself", "Stripe")
	b.types("input[name=search]", "github") // the list follows
	b.do(chromedp.WaitReady(chromedp.Search("//div[@id='entries'][not(contains(., 'Stripe'))]")))
	b.clicks("#entries a[href='/vaults/default/catalog/github']")
	const key = "ghp_5a1c0d9e8b7f6a5b4c3d"
	b.types("input[name='value.GITHUB_TOKEN']", key)
	b.clicks("form.wide button")
	b.says("done A service", "done Its credentials", "to do An agent")

	b.types("input[name=label]", "first <i>run</i>")
	b.clicks("section .stack button")
	b.says("Its token is shown this once")
	_, token, _ := strings.Cut(b.value("pre[aria-label='Commands for the path entrance']"), "Bearer ")
	token, _, _ = strings.Cut(token, "'")
	b.open(i.API + "/vaults/default/start")
	b.says("to do An agent")
	if a := i.send("GET", "/proxy/api.github.com/user", token, ""); a.status != http.StatusOK || strings.Contains(a.body, key) {
		t.Fatalf("the agent's first request: %d %s", a.status, a.body)
	}
	if got := o.received(); !strings.Contains(got, "Bearer "+key) {
		t.Errorf("the upstream received\n%s", got)
	}
	b.says("done An agent") // which comes by itself

	b.clicks("nav.sub a[href='/vaults/default']")
	b.says("first <i>run</i>", "GITHUB_TOKEN", "used just now")
	b.clicks("button[value=session-revoke]")
	b.says("There is none.")
	i.send("GET", "/proxy/api.github.com/user", token, "").refusedWith(t, http.StatusUnauthorized, "unauthorized")
}

// TestRevokeStory: a person takes a session away while it reads a stream, which
// ends then, and never as if it were whole.
func TestRevokeStory(t *testing.T) {
	b := newBrowser(t)
	w := newWorld(t)
	conn, err := w.dial(byPath, w.token, "default", "api.test")
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(browserTime)))
	io.WriteString(conn, w.spell(byPath, w.token, "default", call{host: "api.test", target: "/events?id=revoked"}))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	events := bufio.NewReader(resp.Body)
	if line, err := events.ReadString('\n'); err != nil || !strings.HasPrefix(line, "data: ") {
		t.Fatalf("%q %v", line, err)
	}
	b.open(w.API + "/vaults/default")
	b.types("input[name='login.email']", ownerEmail)
	b.types("input[name='login.password']", ownerPassword)
	b.clicks("main button")
	b.says("vault token")
	b.clicks("button[value=session-revoke]")
	if rest, err := io.ReadAll(events); err == nil {
		t.Errorf("the stream ended as if it were whole: %q", rest)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the stream goes on")
	}
	b.says("There is none.")
}
