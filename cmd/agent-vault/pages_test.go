package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"agentvault/api"
)

// A screen is a page as somebody sees it.
type screen struct {
	name  string
	path  string // what stands in braces is a link of the showroom's
	out   bool   // seen by who is not signed in
	open  bool   // with all that can be opened
	empty bool   // of an instance that nobody owns
	click string // what is clicked there, which leads to then
	then  string
}

// screens are all pages. Each is looked at by every test of this file: another
// page is a line here.
var screens = []screen{
	{name: "first-owner", path: "/sign-in", out: true, empty: true},
	{name: "sign-in", path: "/sign-in", out: true},
	{name: "join", path: "{join}", out: true},
	{name: "approve-link", path: "{approve}", out: true},
	{name: "approve", path: "{approve}"},
	{name: "approve-change", path: "/approve/2?vault=default"},
	{name: "decided", path: "/approve/3?vault=default"},
	{name: "vaults", path: "/vaults"},
	{name: "vault", path: "/vaults/default", open: true},
	{name: "start", path: "/vaults/default/start"},
	{name: "catalog", path: "/vaults/default/catalog"},
	{name: "catalog-entry", path: "/vaults/default/catalog/github"},
	{name: "own-service", path: "/vaults/default/services?host=new.test", open: true},
	{name: "service", path: "/vaults/default/services/api", open: true},
	{name: "connect", path: "/vaults/default/services/mail", click: "form[action$='/connect'] button", then: "a[rel*=noreferrer]"},
	{name: "come-back", path: "/connect/callback/login.test?state=s&code=c", out: true},
	{name: "come-back-refused", path: "/connect/callback/login.test?state=s&error=access_denied&error_description=" + strings.Repeat("w", 300), out: true},
	{name: "credential", path: "/vaults/default/credentials/API_KEY", open: true},
	{name: "approvals", path: "/vaults/default/approvals"},
	{name: "approval", path: "/vaults/default/approvals/1"},
	{name: "approval-denied", path: "/vaults/default/approvals/2"},
	{name: "traffic", path: "/vaults/default/traffic"},
	{name: "charts", path: "/vaults/default/traffic/charts"},
	{name: "refused-hosts", path: "/vaults/default/traffic/hosts"},
	{name: "instance", path: "/instance"},
	{name: "instance-open", path: "/instance", open: true},
	{name: "token-once", path: "/instance", click: "form[action='/instance/agents/rotate'] button", then: "input[readonly]"},
	{name: "not-there", path: noSuchPage},
}

// noSuchPage is one that is not there.
const noSuchPage = "/sign-in/nothing"

// A showroom is a server with something of everything, and one without anything.
type showroom struct {
	*world
	owner *api.Client
	empty *instance
	links map[string]string // paths
	in    *browser          // the owner's
	out   *browser          // of who is not signed in
}

// A proposal that changes what there is, and asks for more than it should.
const asksForMore = `{
	"services": [
		{"action": "set", "name": "api", "host": "*.api.test.example.com", "description": "Everything below it", "auth": {"type": "bearer", "token": "API_KEY"}},
		{"action": "set", "name": "other", "host": "other.test", "auth": {"type": "api-key", "key": "API_KEY", "header": "X-Api-Key"}, "rules": [{"methods": ["GET", "HEAD"], "paths": ["/v1/*"]}, {"methods": ["DELETE"], "action": "deny"}]}],
	"credentials": [{"action": "set", "key": "API_KEY", "value": "sk-live-of-the-agents-own"}],
	"message": "A very-long-word-without-any-place-to-break-it-` + "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww" + ` \u202e and אבג",
	"user_message": "Line one\nLine two <script>alert(1)</script>"}`

func newShowroom(t *testing.T) *showroom {
	t.Helper()
	s := &showroom{in: newBrowser(t), out: newBrowser(t), world: newWorld(t), links: make(map[string]string)}
	s.empty = newInstance(t, "")
	s.owner = &api.Client{Address: s.API, Token: s.login(), Name: "a command line <b>with</b> a name \u202e that is much longer than any line of a telephone"}
	for _, body := range []string{unasked, asksForMore, strings.ReplaceAll(unasked, "Another", "A third")} {
		link, _ := s.post("/v1/proposals", s.token, body).object(t, 201)["approval_url"].(string)
		if s.links["approve"] == "" {
			s.links["approve"] = strings.TrimPrefix(link, s.API)
		}
	}
	ctx := t.Context()
	_, err := s.owner.RejectProposal(ctx, "default", 3, "not now")
	must(t, err)
	_, err = s.owner.Login(ctx, api.LoginRequest{Email: ownerEmail, Password: ownerPassword})
	must(t, err)
	for _, email := range []string{"ann@example.test", "somebody.with.quite.a.long.address@a-department.of-some-company.example.test"} {
		invite, err := s.owner.InviteUser(ctx, api.UserInviteRequest{Email: email, Vaults: []api.VaultRole{{VaultName: "default", VaultRole: "member"}, {VaultName: "second", VaultRole: "proxy"}}})
		must(t, err)
		s.links["join"] = "/join/" + invite.Token
		if email == "ann@example.test" {
			_, err = s.owner.Join(ctx, api.JoinRequest{Token: invite.Token, Password: ownerPassword})
			must(t, err)
		}
	}
	s.agentToken("deploy-bot", "default")
	s.agentToken("an-agent-whose-name-is-as-long-as-names-may-become-here", "second")
	must(t, s.owner.RevokeAgent(ctx, "deploy-bot"))
	_, err = s.owner.InviteAgent(ctx, api.AgentInviteRequest{Name: "reporter", Vaults: []api.AgentVault{{VaultName: "default", VaultRole: "proxy", Services: []string{"api", "open"}}}})
	must(t, err)
	s.post("/v1/vaults/default/services", s.owner.Token, `{"services":[{"name":"mail","host":"mail.test","auth":`+connectedAuth+`}]}`).object(t, 201)
	s.holds(t)
	for _, host := range []string{"api.test", "open.test", "unknown.test", "down.test"} {
		s.send("GET", "/proxy/"+host+"/v1/things", s.token, "")
	}
	s.in.open(s.API + "/sign-in")
	s.in.types("input[name='login.email']", ownerEmail)
	s.in.types("input[name='login.password']", ownerPassword)
	s.in.clicks("main button")
	s.in.waits("header form")
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// show opens a page, in a theme and a width in pixels.
func (s *showroom) show(p screen, theme string, width int64) *browser {
	s.t.Helper()
	b, base, path := s.in, s.API, p.path
	if p.out {
		b = s.out
	}
	if p.empty {
		base = s.empty.API
	}
	for name, link := range s.links {
		path = strings.ReplaceAll(path, "{"+name+"}", link)
	}
	height, mobile := int64(900), []chromedp.EmulateViewportOption{}
	if width < 600 {
		height, mobile = 780, append(mobile, chromedp.EmulateMobile, chromedp.EmulateScale(2))
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}
	b.do(chromedp.EmulateViewport(width, height, mobile...), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media)
		return err
	}))
	b.open(base + path)
	b.waits("h1")
	if p.open || p.click != "" {
		evaluate[any](b, "document.querySelectorAll('details').forEach(d => { d.open = true })")
	}
	if p.click != "" {
		b.clicks(p.click)
		b.waits(p.then)
	}
	return b
}

func result[T any](b *browser, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	got, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func evaluate[T any](b *browser, script string) T {
	b.t.Helper()
	return result(b, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

var themes = []string{"light", "dark"}

// Widths in pixels.
const (
	phone   = 360
	desktop = 1280
)

// screenshotsVariable names a folder for pictures of all pages.
const screenshotsVariable = "AGENT_VAULT_SCREENSHOTS"

func TestScreenshots(t *testing.T) {
	dir := os.Getenv(screenshotsVariable)
	if dir == "" {
		t.Skipf("needs %s, a folder; make screenshots names one", screenshotsVariable)
	}
	must(t, os.MkdirAll(dir, 0o755))
	s := newShowroom(t)
	for _, p := range screens {
		for _, theme := range themes {
			for name, width := range map[string]int64{"phone": phone, "desktop": desktop} {
				picture := result(s.show(p, theme, width), chromedp.FullScreenshot(100))
				must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%s.png", p.name, name, theme)), picture, 0o644))
			}
		}
	}
}

// TestPages: on a phone no page is wider than the screen, and each link, field
// and button of it is reached with Tab, once and in the order in which they
// stand, and is seen to have the focus.
func TestPages(t *testing.T) {
	s := newShowroom(t)
	for _, p := range screens {
		for _, p.open = range []bool{false, true} {
			b := s.show(p, "light", phone)
			if over := evaluate[[]string](b, widerThanScreen); len(over) > 0 {
				t.Errorf("%s is wider than the screen: %q", p.name, over)
			}
			walk(t, b, p.name)
		}
	}
}

// widerThanScreen are the elements that stand out to the right.
const widerThanScreen = `[...document.querySelectorAll('body *')]
	.filter(e => e.checkVisibility() && !e.closest('.hidden, .skip') && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
	.map(e => e.outerHTML.slice(0, 200))
	.concat(document.documentElement.scrollWidth > document.documentElement.clientWidth ? ['the page'] : [])`

// interactive finds the elements that a person does something with. Of radio
// buttons Tab leads to the one that is chosen, and arrows to the others.
const interactive = `window.interactive = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')]
	.filter(e => !e.disabled && (e.type != 'radio' || e.checked) && e.checkVisibility()); window.interactive.map(e => e.outerHTML.slice(0, 200))`

// A focus is where Tab led.
type focus struct {
	At   int  // in interactive; -1: elsewhere
	Seen bool // it has an outline, and stands on the screen
}

const focused = `(() => {
	const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect()
	return {
		At: window.interactive.indexOf(e),
		Seen: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 && r.width > 0 && r.bottom > 0 && r.right > 0 && r.top < innerHeight && r.left < innerWidth,
	}
})()`

// walk presses Tab through a page.
func walk(t *testing.T, b *browser, page string) {
	t.Helper()
	names := evaluate[[]string](b, interactive)
	evaluate[any](b, "document.activeElement.blur()")
	for i, name := range names {
		b.do(chromedp.KeyEvent(kb.Tab))
		switch f := evaluate[focus](b, focused); {
		case f.At != i:
			t.Fatalf("%s: Tab leads to %d in place of %d, %s", page, f.At, i, name)
		case !f.Seen:
			t.Errorf("%s: the focus is not seen on %s", page, name)
		}
	}
}
