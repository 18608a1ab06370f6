package web_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"agentvault/api"
	"agentvault/ca"
	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
	"agentvault/web"
)

const (
	ownerEmail    = "owner@example.test"
	ownerPassword = "correct horse battery staple"
	host          = "vault.example.test:14321"
)

// A clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// A fixture is the pages over a real API, registry and store.
type fixture struct {
	t       testing.TB
	base    string
	clock   *clock
	control http.Handler
	pages   *web.Pages
	owner   *api.Client // signed in; nil without an owner
	db      *store.DB
	codes   []vault.CodeExchange // that were traded
	key     seal.Key
	stop    chan struct{} // closed: the server stops
}

// handlerTransport sends requests to a handler, as from an address.
type handlerTransport struct {
	handler    http.Handler
	remoteAddr string
}

func (h handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.RemoteAddr, r.Host = h.remoteAddr, req.URL.Host
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// newEmpty makes an instance that nobody owns.
func newEmpty(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, base: "http://" + host, clock: &clock{t: time.Now().UTC().Truncate(time.Second)}}
	db, err := store.Open(context.Background(), store.Options{Path: filepath.Join(t.TempDir(), "data", "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	f.db, f.key, f.stop = db, seal.NewKey(), make(chan struct{})
	registry, err := vault.New(vault.Options{Store: db, Key: f.key, Now: f.clock.now, Exchange: f.exchange, CallbackURL: func() string { return f.base + web.CallbackPath }})
	if err != nil {
		t.Fatal(err)
	}
	base := func() string { return f.base }
	if f.control, err = api.New(api.Options{Registry: registry, CAPEM: newRoot(t), About: about, BaseURL: base, PathProxyURL: base, ProxyURL: base, Stopping: f.stop}); err != nil {
		t.Fatal(err)
	}
	f.pages, err = web.New(web.Options{
		API:     func(remoteAddr string) http.RoundTripper { return handlerTransport{f.control, remoteAddr} },
		BaseURL: base, Stopping: f.stop, Now: f.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// about is what an instance says of its server.
func about(context.Context) (api.ServerInfo, error) {
	return api.ServerInfo{Version: "v1.2.3", Revision: "0123abc", Go: "go1.26", Platform: "linux/amd64", Schema: 7, Listeners: []api.Listener{
		{Name: "listen.api", Address: "127.0.0.1:14321", URL: "http://" + host},
	}, Audit: api.AuditStatus{LastSeq: 812, LastTime: new(time.Unix(1795946400, 0)), Segments: 2, Checked: 700}}, nil
}

// newRoot makes what gives out a root certificate.
func newRoot(t testing.TB) func() []byte {
	t.Helper()
	authority, err := ca.Create(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority.PEM
}

// newOwned makes an instance with its owner.
func newOwned(t testing.TB) *fixture {
	t.Helper()
	f := newEmpty(t)
	f.owner = f.clientOf("")
	l, err := f.owner.Register(t.Context(), api.LoginRequest{Email: ownerEmail, Password: ownerPassword})
	if err != nil {
		t.Fatal(err)
	}
	f.owner.Token = l.Token
	return f
}

func (f *fixture) clientOf(token string) *api.Client {
	return &api.Client{Address: "http://127.0.0.1", Token: token, Transport: handlerTransport{f.control, "192.0.2.7:1"}}
}

// A browser keeps one cookie and sends what browsers send.
type browser struct {
	f      *fixture
	addr   string
	cookie string // name=value
}

func (f *fixture) browser() *browser { return &browser{f: f, addr: "192.0.2.9:4711"} }

// signedIn is a browser of the owner's.
func (f *fixture) signedIn() *browser {
	f.t.Helper()
	b := f.browser()
	b.post("/sign-in", "next", "/vaults", "login.email", ownerEmail, "login.password", ownerPassword).status(http.StatusSeeOther)
	return b
}

// A page is what a browser got.
type page struct {
	t    testing.TB
	code int
	http.Header
	body string
}

func (b *browser) request(method, path, form string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(form))
	r.Host, r.RemoteAddr = host, b.addr
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.f.base)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return r
}

// send asks the pages, as the server's wiring does: what they do not serve is
// the API's.
func (b *browser) send(r *http.Request) page {
	b.f.t.Helper()
	w := httptest.NewRecorder()
	if b.f.pages.Serves(r) {
		b.f.pages.ServeHTTP(w, r)
	} else {
		b.f.control.ServeHTTP(w, r)
	}
	for _, c := range w.Result().Cookies() {
		if strings.HasSuffix(c.Name, "_tried") {
			continue
		}
		b.cookie = ""
		if c.MaxAge >= 0 {
			b.cookie = c.Name + "=" + c.Value
		}
	}
	return page{b.f.t, w.Code, w.Header(), w.Body.String()}
}

func (b *browser) get(path string) page {
	b.f.t.Helper()
	return b.send(b.request(http.MethodGet, path, ""))
}

func (b *browser) post(path string, pairs ...string) page {
	b.f.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.send(b.request(http.MethodPost, path, form.Encode()))
}

func (p page) status(want int) page {
	p.t.Helper()
	if p.code != want {
		p.t.Fatalf("%d, want %d\n%s", p.code, want, p.body)
	}
	return p
}

// says holds that the words stand in the page's text, without its markup.
func (p page) says(words ...string) page {
	p.t.Helper()
	text := p.text()
	for _, w := range words {
		if !strings.Contains(text, w) {
			p.t.Errorf("%q is missing in\n%s", w, text)
		}
	}
	return p
}

func (p page) saysNot(words ...string) page {
	p.t.Helper()
	for _, w := range words {
		if strings.Contains(p.body, w) {
			p.t.Errorf("%q is in\n%s", w, p.body)
		}
	}
	return p
}

// nodes are all elements of the page, in order.
func (p page) nodes() (list []*html.Node) {
	p.t.Helper()
	root, err := html.Parse(strings.NewReader(p.body))
	if err != nil {
		p.t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			list = append(list, n)
		}
	}
	return list
}

// text is what a reader sees, with spaces as HTML has them.
func (p page) text() string {
	p.t.Helper()
	root, err := html.Parse(strings.NewReader(p.body))
	if err != nil {
		p.t.Fatal(err)
	}
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			io.WriteString(&b, n.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// typed are the fields of the page's form with that action, as a browser would
// send them untouched, by the button that has such a value, or by one without.
func (p page) typed(action string) []string {
	p.t.Helper()
	var pairs []string
	for _, n := range p.nodes() {
		if n.Data != "form" || attr(n, "action") != action {
			continue
		}
		for n := range n.Descendants() {
			kind := attr(n, "type")
			unchecked := (kind == "checkbox" || kind == "radio") && !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "checked" })
			if n.Data == "input" && attr(n, "name") != "" && !unchecked {
				pairs = append(pairs, attr(n, "name"), attr(n, "value"))
			}
		}
		return pairs
	}
	p.t.Fatalf("no form with the action %s in\n%s", action, p.body)
	return nil
}
