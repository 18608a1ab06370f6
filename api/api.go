// Package api answers HTTP requests to the control plane: JSON over package
// vault's commands, for people's tools and for agents' own questions. It
// decides nothing itself: who may do what stands in vault.
//
// The routes are a table, from whose types the OpenAPI document is made, too.
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
	"sync"

	"agentvault/ca"
	"agentvault/vault"
)

// Options say how the API works.
type Options struct {
	// Registry carries out the commands. Required.
	Registry *vault.Registry

	// CAPEM returns the root certificate of the proxy entrance. Required.
	CAPEM func() []byte

	// CA returns who signs for the proxy entrance. Nil says nothing.
	CA func() ca.Succession

	// Ready returns nil when the data plane can decide. Nil is always ready.
	Ready func() error

	// About says what this server is, and how its audit log is. Nil says nothing.
	About func(context.Context) (ServerInfo, error)

	// Metrics serves /metrics. Nil leaves the route out.
	Metrics http.Handler

	// BaseURL, PathProxyURL and ProxyURL return where agents find this server,
	// its path entrance and its proxy entrance. Required.
	BaseURL, PathProxyURL, ProxyURL func() string

	// AgentRate and AgentConcurrent bound what one token of an agent may ask of
	// the server itself: requests per second, five times as many after a pause,
	// and requests at once. 0 means no limit.
	AgentRate, AgentConcurrent int

	// Stopping is closed when the server stops: calls that wait answer then. Nil
	// never is.
	Stopping <-chan struct{}

	// Log receives operational messages, never credentials. Nil discards them.
	Log *slog.Logger
}

type server struct {
	Options
	guessers *callers               // by address, or by a sign-in's token
	agents   *callers               // by digest of the token
	document func() ([]byte, error) // OpenAPI's, made when it is first asked for
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
	if o.About == nil {
		o.About = func(context.Context) (ServerInfo, error) { return ServerInfo{Listeners: []Listener{}}, nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{Options: o, guessers: newCallers(), agents: newCallers()}
	table := s.table()
	s.document = sync.OnceValues(func() ([]byte, error) { return newDocument(table) })
	return s.guard(s.mount(table)), nil
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
		if !OwnHost(r.Host, s.BaseURL()) {
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

// OwnHost reports whether a Host header means this server: an address, a
// loopback name, or base's host. A web page whose name was rebound to this
// address sends its own name. Ports do not matter for that, and differ where one
// is mapped to another.
func OwnHost(host, base string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if _, err := netip.ParseAddr(name); err == nil || strings.EqualFold(name, "localhost") {
		return true
	}
	u, err := url.Parse(base)
	return err == nil && u.Hostname() != "" && strings.EqualFold(u.Hostname(), name)
}

func (s *server) ready(_ context.Context, _ call[none]) (Status, error) {
	if err := s.Ready(); err != nil {
		return Status{}, &vault.Error{Code: vault.CodeUnavailable, Message: "not ready to decide", Err: err}
	}
	return Status{"ok"}, nil
}

func (s *server) caPEM(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(s.CAPEM()) // a client that went away is no concern of ours
}

func (s *server) openAPI(w http.ResponseWriter, r *http.Request) {
	document, err := s.document()
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(document) // likewise
}

func (s *server) health(context.Context, call[none]) (Status, error) { return Status{"ok"}, nil }

func (s *server) aboutServer(ctx context.Context, c call[none]) (ServerInfo, error) {
	if err := s.Registry.SeeServer(ctx, c.caller); err != nil {
		return ServerInfo{}, err
	}
	return s.About(ctx)
}

func (s *server) status(ctx context.Context, _ call[none]) (InstanceStatus, error) {
	initialized, err := s.Registry.Initialized(ctx)
	return InstanceStatus{Initialized: initialized, NeedsFirstUser: !initialized}, err
}
