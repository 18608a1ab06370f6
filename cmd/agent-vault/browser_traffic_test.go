package main_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestTrafficStory: a person watches what an agent does as it does it, and makes
// a service of the host that it was refused.
func TestTrafficStory(t *testing.T) {
	b := newBrowser(t)
	w := newWorld(t)
	get := func(path string) answer { return w.send("GET", "/proxy/other.test"+path, w.token, "") }
	b.open(w.API + "/vaults/default/traffic")
	b.types("input[name='login.email']", ownerEmail)
	b.types("input[name='login.password']", ownerPassword)
	b.clicks("main button")
	b.says("Live.")
	get("/first").refusedWith(t, http.StatusForbidden, "forbidden")
	b.says("/first", "forbidden")
	b.clicks("#pause")
	b.says("Paused.")
	get("/second").refusedWith(t, http.StatusForbidden, "forbidden")
	b.says("1 waiting.")
	if text := b.text(); strings.Contains(text, "/second") {
		t.Errorf("a request appears on a paused page:\n%s", text)
	}
	b.clicks("#pause")
	b.says("/second")

	b.open(w.API + "/vaults/default/traffic/charts")
	b.says("2 requests, 2 of them refused")
	b.open(w.API + "/vaults/default/traffic/hosts")
	b.clicks("main .cards a")
	b.waits("form.own")
	b.chooses("select[name=auth]", "passthrough")
	b.clicks("form.own button")
	b.says("other-test")
	if a := get("/third"); a.status != 200 {
		t.Errorf("the same host: %d %s", a.status, a.body)
	}

	b.open(w.API + "/vaults/default/traffic")
	b.says("Live.", "/third")
	if !b.fetches("POST", "/sign-out") { // as another tab does
		t.Error("not signed out")
	}
	b.says("This page is no longer live.")
}

// chooses takes one of the options of a select.
func (b *browser) chooses(css, value string) {
	b.t.Helper()
	b.do(chromedp.SetValue(chromedp.CSS(css), value))
}

// fetches sends a request as the page at hand, and reports whether it is
// answered well.
func (b *browser) fetches(method, path string) bool {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	const headers = `{"Content-Type": "application/x-www-form-urlencoded"}`
	ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf("fetch(%q, {method: %q, headers: %s}).then(r => r.ok)", path, method, headers), chromedp.EvalAwaitPromise))
	return err == nil && ok
}
