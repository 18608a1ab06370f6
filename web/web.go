// Package web answers with the pages that people use: it turns the API's
// answers into HTML, and forms into calls of the API.
//
// It reaches the vault through the API alone, with the token of the person who
// asks, so a page can do what that person may and nothing else. It decides
// nothing, opens no connection, and keeps nothing but which streams are open.
//
// The pages are a table ([Pages.table]). Each works without scripts; htmx adds
// liveness. What a template writes is escaped as HTML by html/template, and
// [visit.show] then puts escapes in the place of all control and direction
// characters on the page, so that no page can forget it (R20). The zero value of
// nothing here is usable; [New] returns the pages.
package web

import (
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"agentvault/api"
)

// Options say how the pages work.
type Options struct {
	// API returns what carries calls to the API for a browser at an address, as
	// in http.Request.RemoteAddr: sign-ins are counted by it. Required.
	API func(remoteAddr string) http.RoundTripper

	// BaseURL returns where people find this server. Required.
	BaseURL func() string

	// Stopping is closed when the server stops: pages that stay open end then.
	// Nil never is.
	Stopping <-chan struct{}

	// Now is time.Now when it is nil.
	Now func() time.Time

	// Log receives operational messages, never what was typed. Nil discards
	// them.
	Log *slog.Logger
}

// Pages is the handler of all pages.
type Pages struct {
	Options
	routes    []route
	mux       *http.ServeMux
	assets    map[string]asset              // by name
	templates map[string]*template.Template // by the name of the page's file
	streams   streams
}

// New returns the pages. The error names the option that is missing.
func New(o Options) (*Pages, error) {
	if o.API == nil || o.BaseURL == nil {
		return nil, errors.New("web: Options.API and BaseURL are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pages{Options: o, mux: http.NewServeMux()}
	var err error
	if p.assets, err = readAssets(); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if p.templates, err = p.readTemplates(); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	p.routes = p.table()
	for _, rt := range p.routes {
		p.mux.Handle(rt.method+" "+rt.path, p.serve(rt))
	}
	return p, nil
}

// Serves reports whether a request is for a page. The rest is the API's; where
// a path is both's, pages are for those who ask for HTML, and for their forms.
func (p *Pages) Serves(r *http.Request) bool {
	for _, rt := range p.routes {
		if segment(rt.path) != segment(r.URL.Path) || r.URL.Path != "/" && segment(r.URL.Path) == "" {
			continue
		}
		if !rt.shared {
			return true
		}
		accept := r.Header.Get("Accept")
		if r.Method == http.MethodPost {
			return r.Header.Get("Content-Type") == formType
		}
		return strings.Contains(accept, "text/html") && !strings.Contains(accept, "application/json")
	}
	return false
}

// segment is the first one of a path.
func segment(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return strings.TrimSuffix(first, "{$}")
}

// policy lets a page load what stands under this origin, and nothing else. No
// script or style stands in the page itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP guards every page: the headers of every answer, rebinding, and
// requests that the page of another site sent.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Accept, Cookie")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	// With no-referrer browsers send "Origin: null" with forms, even to the same
	// origin (Fetch §3.2), and whose form it is could not be told.
	h.Set("Referrer-Policy", "same-origin")
	v := &visit{Pages: p, w: w, r: r, client: &api.Client{Address: inside}}
	defer v.contain()
	if !api.OwnHost(r.Host, p.BaseURL()) {
		v.refuse(http.StatusMisdirectedRequest, "The Host header names another server. If this one is reached by that name, set base_url.")
		return
	}
	if err := p.sameOrigin(r); err != nil {
		p.Log.Warn("form refused", "under", "/"+segment(r.URL.Path), "err", err) // the rest may be a token
		v.refuse(http.StatusForbidden, "The page of another site sent this. Nothing was done.")
		return
	}
	if _, pattern := p.mux.Handler(r); pattern == "" {
		if bare := strings.TrimRight(r.URL.Path, "/"); bare != r.URL.Path && len(p.allowed(bare)) > 0 {
			bareURL := url.URL{Path: bare, RawQuery: r.URL.RawQuery}
			http.Redirect(w, r, local(bareURL.String()), http.StatusPermanentRedirect)
			return
		}
		status, message := http.StatusNotFound, "There is no such page."
		if allowed := p.allowed(r.URL.Path); len(allowed) > 0 {
			h.Set("Allow", strings.Join(allowed, ", "))
			status, message = http.StatusMethodNotAllowed, "This page does not take the method "+r.Method+"."
		}
		v.refuse(status, message)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// allowed are the methods that a path takes.
func (p *Pages) allowed(path string) (methods []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		probe := &http.Request{Method: method, URL: &url.URL{Path: path}}
		if _, pattern := p.mux.Handler(probe); pattern != "" {
			methods = append(methods, method)
		}
	}
	return methods
}

// sameOrigin refuses what changes something and does not come from a page of
// this very origin: Sec-Fetch-Site says so where browsers send it, Origin in any
// case.
func (p *Pages) sameOrigin(r *http.Request) error {
	if slices.Contains([]string{http.MethodGet, http.MethodHead}, r.Method) {
		return nil
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return err
	}
	if origin := r.Header.Get("Origin"); origin != p.origin(r) {
		return fmt.Errorf("it comes from %q", origin)
	}
	return nil
}

// origin is where a browser that sent the request is: what it named as Host,
// with the scheme of this connection or, behind a server that ends TLS, of
// BaseURL.
func (p *Pages) origin(r *http.Request) string {
	base, err := url.Parse(p.BaseURL())
	scheme := "http"
	if r.TLS != nil || err == nil && base.Scheme == "https" && strings.EqualFold(base.Host, r.Host) {
		scheme = "https"
	}
	return scheme + "://" + strings.ToLower(r.Host)
}

// contain turns a panic into a failure of this one page. The stack goes to the
// log, the panic's value nowhere: it may hold what was typed.
func (v *visit) contain() {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p) // net/http's own way to break a connection off
	default:
		v.Log.Warn("page failed", "route", v.r.Pattern, "err", fmt.Errorf("panic of type %T\n%s", p, debug.Stack()))
		v.refuse(http.StatusInternalServerError, "The server failed on this page. Its log says why.")
	}
}
