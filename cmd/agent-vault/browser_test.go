package main_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A browser is a headless Chromium with a profile of its own. What goes wrong in
// its console fails the test.
type browser struct {
	t        testing.TB
	ctx      context.Context
	keyboard bool // no mouse: elements are reached with Tab
}

// browserTime bounds what a person would wait for.
const browserTime = 30 * time.Second

func newBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	path := needs(t, "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900))
	options = append(options, more...)
	allocated, release := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(release)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	console := chromedp.Console(ctx)
	reading, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(reading)
		for m, err := range console {
			select {
			case <-stop:
				return
			default:
			}
			if err == nil && (strings.Contains(m.Text, "responded with a status of 401") || strings.HasSuffix(m.URL, noSuchPage)) {
				continue // a page on which one signs in, or none
			}
			if err == nil && (m.IsException() || m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning) {
				t.Errorf("the console says %s (%s %s)", m, m.Source, m.URL)
			}
		}
	}()
	t.Cleanup(func() { // before the browser ends, which the console would tell
		close(stop)
		cancel()
		<-reading
	})
	return b
}

// do carries out steps, each within browserTime.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for _, step := range steps {
		if err := b.within(step); err != nil {
			b.t.Fatalf("%v; the page is\n%s", err, b.text())
		}
	}
}

func (b *browser) within(step chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	return chromedp.Do(ctx, step)
}

// text is what stands on the page.
func (b *browser) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}

func (b *browser) open(url string) { b.t.Helper(); b.do(chromedp.Navigate(url)) }

// waits until an element is there and seen.
func (b *browser) waits(css string) { b.t.Helper(); b.do(chromedp.WaitVisible(chromedp.CSS(css))) }

func (b *browser) types(css, text string) {
	b.t.Helper()
	b.waits(css)
	if b.keyboard {
		b.tabsTo(css)
		b.do(chromedp.KeyEvent(text))
		return
	}
	b.do(chromedp.SendKeys(chromedp.CSS(css), text))
}

func (b *browser) clicks(css string) {
	b.t.Helper()
	if b.keyboard {
		b.waits(css)
		b.tabsTo(css)
		b.do(chromedp.KeyEvent(kb.Enter))
		return
	}
	b.do(chromedp.Click(chromedp.CSS(css)))
}

// tabsTo presses Tab until an element has the focus, which must be seen.
func (b *browser) tabsTo(css string) {
	b.t.Helper()
	const seen = `(() => { const e = document.activeElement, s = getComputedStyle(e); return [e.matches(%q), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2] })()`
	for range 40 {
		b.do(chromedp.KeyEvent(kb.Tab))
		ctx, cancel := context.WithTimeout(b.ctx, browserTime)
		at, err := chromedp.Run(ctx, chromedp.Evaluate[[2]bool](fmt.Sprintf(seen, css)))
		cancel()
		if err != nil {
			b.t.Fatal(err)
		}
		if at[0] && !at[1] {
			b.t.Errorf("the focus on %s is not seen", css)
		}
		if at[0] {
			return
		}
	}
	b.t.Fatalf("Tab does not lead to %s\n%s", css, b.text())
}

// says waits for words on the page.
func (b *browser) says(words ...string) {
	b.t.Helper()
	for _, w := range words {
		if strings.Contains(w, "'") {
			b.t.Fatalf("%s: XPath 1.0 has no escapes", w)
		}
		b.do(chromedp.WaitReady(chromedp.Search("//body[contains(normalize-space(.), '" + w + "')]")))
	}
}

const unasked = `{
	"services": [{"action": "set", "name": "other", "host": "other.test", "description": "Another API", "auth": {"type": "bearer", "token": "OTHER_KEY"}, "rules": [{"methods": ["GET"]}]}],
	"credentials": [{"action": "set", "key": "OTHER_KEY", "obtain": "https://console.other.test/keys", "obtain_instructions": "Settings > Keys"}],
	"user_message": "To read\nthe <b>other</b> \u202eAPI"
}`

// TestApprovalStory: an agent is refused, asks, and a person allows it in a
// browser, with the link and nothing else; with clicks, and with keys alone.
func TestApprovalStory(t *testing.T) {
	for name, keyboard := range map[string]bool{"mouse": false, "keyboard": true} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			b.keyboard = keyboard
			approvalStory(t, b, newWorld(t))
		})
	}
}

func approvalStory(t *testing.T, b *browser, w *world) {
	request := func() answer { return w.send("GET", "/proxy/other.test/hello", w.token, "") }
	request().refusedWith(t, http.StatusForbidden, "forbidden")
	link, _ := w.post("/v1/proposals", w.token, unasked).object(t, 201)["approval_url"].(string)

	b.open(link)
	b.says("May this agent have it?", "other.test", "Sign in to decide", `<b>other</b> \u202eAPI`)
	b.types("input[name='login.email']", ownerEmail)
	b.types("input[name='login.password']", "not this one")
	b.clicks("main button")
	b.says("Email or password is wrong.")
	b.types("input[name='login.password']", ownerPassword)
	b.clicks("main button")

	b.says("Adds the service other", "GET on every path of https://other.test, with OTHER_KEY", "Settings > Keys")
	const key = "sk-other-5a1c0d9e8b7f"
	b.types("input[name='value.OTHER_KEY']", key)
	b.do(chromedp.KeyEvent(kb.Enter)) // which decides nothing
	b.types("textarea[name=note]", "for a week")
	b.clicks("button[value=allow]")
	b.says("Proposal 1 is applied", "for a week")

	a := request()
	if a.status != 200 || !strings.Contains(a.body, "Bearer "+strings.Repeat("*", len(key))) {
		t.Errorf("the same request: %d %s", a.status, a.body)
	}
	if got := w.origin.received(); !strings.Contains(got, "Bearer "+key) {
		t.Errorf("the upstream received\n%s", got)
	}
	if p := w.send("GET", "/v1/proposals/1", w.token, "").object(t, 200); p["status"] != "applied" || p["review_note"] != "for a week" {
		t.Errorf("the agent is told %v", p)
	}
	b.clicks("header form button")
	b.waits("input[name='login.email']")
}

// TestLinkFromElsewhere: who is signed in stays so when they follow a link on
// another site, though the cookie does not go along with it.
func TestLinkFromElsewhere(t *testing.T) {
	b := newBrowser(t)
	w := newWorld(t)
	link, _ := w.post("/v1/proposals", w.token, unasked).object(t, 201)["approval_url"].(string)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		io.WriteString(rw, `<link rel=icon href="data:,"><a href="`+link+`">look</a>`)
	}))
	t.Cleanup(elsewhere.Close)
	b.open(w.API + "/sign-in")
	b.types("input[name='login.email']", ownerEmail)
	b.types("input[name='login.password']", ownerPassword)
	b.clicks("main button")
	b.says("Proposal 1 in default")
	b.open(strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1))
	b.clicks("a")
	b.waits("button[value=allow]")
}
