// Package api answers HTTP requests to the control plane: JSON over package
// vault's commands, for people's tools and for agents' own questions. It
// decides nothing itself: who may do what stands in vault.
//
// There is one wrapper around all routes and one function that writes errors.
// A credential's value comes in here and never goes out. The zero value of
// nothing here is usable; [New] returns the handler.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"

	"github.com/maypok86/otter/v2"

	"agentvault/vault"
)

// Options say how the API works.
type Options struct {
	// Registry carries out the commands. Required.
	Registry *vault.Registry

	// CAPEM returns the root certificate of the proxy entrance. Required.
	CAPEM func() []byte

	// Ready returns nil when the data plane can decide. Nil is always ready.
	Ready func() error

	// Metrics serves /metrics. Nil leaves the route out.
	Metrics http.Handler

	// BaseURL, PathProxyURL and ProxyURL return where agents find this server,
	// its path entrance and its proxy entrance. Required.
	BaseURL, PathProxyURL, ProxyURL func() string

	// Log receives operational messages, never credentials. Nil discards them.
	Log *slog.Logger
}

type server struct {
	Options
	attempts *otter.Cache[string, *attempts] // failed and other logins, by address
}

// New returns the handler of every route but the path entrance's. The error
// names the option that is missing.
func New(o Options) (http.Handler, error) {
	switch {
	case o.Registry == nil:
		return nil, errors.New("api: Options.Registry is required")
	case o.CAPEM == nil:
		return nil, errors.New("api: Options.CAPEM is required")
	case o.BaseURL == nil || o.PathProxyURL == nil || o.ProxyURL == nil:
		return nil, errors.New("api: Options.BaseURL, PathProxyURL and ProxyURL are required")
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{Options: o, attempts: newAttempts()}
	return s.guard(s.routes()), nil
}

// routes is the whole table. Patterns are net/http's.
func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, http.StatusOK, Status{"ok"}) })
	mux.HandleFunc("GET /ready", s.ready)
	mux.HandleFunc("GET /v1/mitm/ca.pem", s.caPEM)
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	mux.Handle("GET /v1/status", public(s, s.status))
	mux.Handle("POST /v1/auth/register", s.limited(public(s, s.register)))
	mux.Handle("POST /v1/auth/login", s.limited(public(s, s.login)))
	mux.Handle("POST /v1/auth/logout", signedIn(s, s.logout))
	mux.Handle("GET /v1/auth/me", signedIn(s, s.me))

	mux.Handle("GET /discover", signedIn(s, s.discover))

	mux.Handle("GET /v1/vaults", signedIn(s, s.listVaults))
	mux.Handle("POST /v1/vaults", signedIn(s, s.createVault))
	mux.Handle("GET /v1/vaults/{name}", signedIn(s, s.getVault))
	mux.Handle("DELETE /v1/vaults/{name}", signedIn(s, s.deleteVault))
	mux.Handle("GET /v1/vaults/{name}/services", signedIn(s, s.listServices))
	mux.Handle("PUT /v1/vaults/{name}/services", signedIn(s, s.putServices))
	mux.Handle("GET /v1/credentials", signedIn(s, s.listCredentials))
	mux.Handle("POST /v1/credentials", signedIn(s, s.setCredentials))
	mux.Handle("DELETE /v1/credentials/{key}", signedIn(s, s.deleteCredential))
	mux.Handle("POST /v1/apply", signedIn(s, s.apply))

	mux.Handle("GET /v1/sessions", signedIn(s, s.listSessions))
	mux.Handle("POST /v1/sessions", signedIn(s, s.mintSession))
	mux.Handle("DELETE /v1/sessions/self", signedIn(s, s.revokeSelf))
	mux.Handle("DELETE /v1/sessions/{id}", signedIn(s, s.revokeSession))

	mux.Handle("GET /v1/agents", signedIn(s, s.listAgents))
	mux.Handle("POST /v1/agents", signedIn(s, s.createAgent))
	mux.Handle("POST /v1/agents/{name}/rotate", signedIn(s, s.rotateAgent))
	mux.Handle("DELETE /v1/agents/{name}", signedIn(s, s.deleteAgent))
	return withJSONErrors(mux)
}

// guard stands before every route: rebinding, cross-origin requests and the
// headers of every answer.
func (s *server) guard(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.writeError(w, r, &vault.Error{Code: vault.CodeForbidden, Message: "cross-origin requests are refused"})
	}))
	protected := crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if !s.ownHost(r.Host) {
			s.writeError(w, r, &vault.Error{Code: vault.CodeForbidden, Message: "the Host header names another server; if this one is reached by that name, set base_url"})
			return
		}
		defer s.contain(w, r)
		protected.ServeHTTP(w, r)
	})
}

// contain turns a panic into a failure of this one request. The stack goes to
// the log, the panic's value nowhere: it may hold what was sent.
func (s *server) contain(w http.ResponseWriter, r *http.Request) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p) // net/http's own way to break a connection off
	default:
		s.writeError(w, r, fmt.Errorf("panic of type %T\n%s", p, debug.Stack()))
	}
}

// ownHost reports whether a Host header means this server: an address, a
// loopback name, or base_url's host. A web page whose name was rebound to this
// address sends its own name.
func (s *server) ownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if _, err := netip.ParseAddr(name); err == nil || strings.EqualFold(name, "localhost") {
		return true
	}
	u, err := url.Parse(s.BaseURL())
	return err == nil && u.Hostname() != "" && strings.EqualFold(u.Hostname(), name)
}

func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	if err := s.Ready(); err != nil {
		s.writeError(w, r, &vault.Error{Code: vault.CodeUnavailable, Message: "not ready to decide", Err: err})
		return
	}
	writeJSON(w, http.StatusOK, Status{"ok"})
}

func (s *server) caPEM(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(s.CAPEM()) // a client that went away is no concern of ours
}

func (s *server) status(ctx context.Context, _ call[none]) (InstanceStatus, error) {
	initialized, err := s.Registry.Initialized(ctx)
	return InstanceStatus{Initialized: initialized, NeedsFirstUser: !initialized}, err
}
