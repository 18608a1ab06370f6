package mitm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/elazarl/goproxy"
	"github.com/prometheus/client_golang/prometheus"

	"agentvault/broker"
	"agentvault/broker/http1"
)

// Bounds of SECURITY.md, on the port and inside of tunnels alike.
const (
	headerTimeout    = 10 * time.Second // until a request's header is complete
	handshakeTimeout = 10 * time.Second // from CONNECT's answer to the end of the TLS handshake
	idleTimeout      = 90 * time.Second // between requests
	tunnelIdle       = 10 * time.Minute // a tunnel in which no byte moves
	maxHeaderBytes   = 64 << 10
)

// An Authority speaks for hosts inside of tunnels.
type Authority interface {
	// LeafIn returns a certificate for one canonical host, for tunnels in a vault.
	// Its error goes to the log only.
	LeafIn(ctx context.Context, vaultID, host string) (*tls.Certificate, error)
}

// Options say what a Proxy works with.
type Options struct {
	// Broker is required.
	Broker *broker.Broker

	// Authority is required.
	Authority Authority

	// Registerer takes the entrance's metrics. Nil leaves them unregistered.
	Registerer prometheus.Registerer

	// Log receives operational messages, never credentials, URLs or bytes that a
	// peer sent. Nil discards them.
	Log *slog.Logger
}

// A Proxy is the proxy entrance. Make it with [New], run it with
// [Proxy.Serve], end it with [Proxy.Shutdown]; each once.
type Proxy struct {
	broker  *broker.Broker
	goproxy *goproxy.ProxyHttpServer
	tls     *tls.Config // shared by all tunnels, so that session tickets resume across them
	metrics *metrics
	log     *slog.Logger

	outer *http.Server  // the port
	inner *http.Server  // tunnels, as far as they are not plain's
	plain *http1.Server // plain requests in tunnels
	inbox *inbox        // carries tunnels to inner
	serve net.Listener  // inbox, as inner is served on it

	running sync.WaitGroup // inner's accept loop, and handlers
	tunnels tunnelSet
}

// New returns a Proxy that is ready to serve. The error names the field that
// is missing or bad.
func New(o Options) (*Proxy, error) {
	switch {
	case o.Broker == nil:
		return nil, errors.New("mitm: Options.Broker is required")
	case o.Authority == nil:
		return nil, errors.New("mitm: Options.Authority is required")
	}
	p := &Proxy{broker: o.Broker, metrics: newMetrics(), log: o.Log, inbox: newInbox()}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if err := p.metrics.register(o.Registerer); err != nil {
		return nil, fmt.Errorf("mitm: Options.Registerer: %w", err)
	}
	p.tls = newTLSConfig(o.Authority, p.log)
	p.goproxy = newGoproxy(p)
	p.outer = &http.Server{Handler: http.HandlerFunc(p.serveOuter), Protocols: new(http.Protocols)}
	p.outer.Protocols.SetHTTP1(true)
	p.inner = &http.Server{
		Handler:     http.HandlerFunc(p.serveInner),
		ConnContext: withTunnel,
		HTTP2:       broker.HTTP2(),
	}
	for _, srv := range []*http.Server{p.outer, p.inner} {
		srv.Handler = p.counted(broker.BoundUploads(srv.Handler))
		// No ReadTimeout and no WriteTimeout: they would cut long uploads and
		// streams. The broker moves deadlines along with the body instead.
		srv.ReadHeaderTimeout = headerTimeout
		srv.IdleTimeout = idleTimeout
		srv.MaxHeaderBytes = maxHeaderBytes
		srv.DisableGeneralOptionsHandler = true // OPTIONS * is the upstream's
		srv.ErrorLog = serverLog(p.log)
	}
	p.plain = http1.New(http1.Options{
		Handler: p.inner.Handler, ConnContext: withTunnel, HeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, Log: p.log,
		Leave: func(c net.Conn) {
			if p.inbox.put(c) != nil {
				_ = c.Close() // there is nobody to tell
			}
		},
	})
	p.serve = broker.PlainErrors(p.inner, p.inbox, broker.MITM)
	return p, nil
}

// Serve accepts connections of agents on ln until [Proxy.Shutdown]; then it
// returns nil. It may be called once.
func (p *Proxy) Serve(ln net.Listener) error {
	p.running.Go(func() {
		if err := p.inner.Serve(p.serve); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("tunnels are no longer served", "err", err)
		}
	})
	err := p.outer.Serve(broker.PlainErrors(p.outer, p.recognize(p.broker.Share(p.outer, ln)), broker.MITM))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("proxy port: %w", err)
}

// Shutdown stops accepting, lets requests that are under way end, and when ctx
// ends cuts those that have not. Tunnels without one, and blind ones, have no
// end to wait for: they are cut at once. It returns when nothing of the Proxy runs any more; the
// error is ctx's if something had to be cut.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.tunnels.drain()
	var drained sync.WaitGroup
	var errs [3]error
	// First the bare connections: closing TLS on top of one whose peer does not
	// read takes five seconds, one after the other.
	defer context.AfterFunc(ctx, p.tunnels.end)()
	drained.Go(func() { errs[2] = p.plain.Shutdown(ctx) })
	for i, srv := range []*http.Server{p.outer, p.inner} {
		drained.Go(func() {
			if errs[i] = srv.Shutdown(ctx); errs[i] != nil {
				p.tunnels.end() // at the latest
				_ = srv.Close() // Shutdown's error says enough
			}
		})
	}
	drained.Wait()
	_ = p.inbox.Close() // inner closed it, unless it was never served
	p.tunnels.end()
	p.tunnels.running.Wait()
	p.running.Wait() // what was cut still writes its outcome
	return errors.Join(errs[:]...)
}

// counted makes Shutdown wait for handlers that http.Server.Close leaves behind.
func (p *Proxy) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.running.Add(1)
		defer p.running.Done()
		h.ServeHTTP(w, r)
	})
}

// serveOuter dispatches on the port. Absolute form does not pass through
// goproxy, whose way back cannot flush, upgrade or forward 1xx (ADR 0002).
func (p *Proxy) serveOuter(w http.ResponseWriter, r *http.Request) {
	if c, ok := r.Context().Value(portConnKey{}).(*portConn); ok && c.request != nil {
		p.serveSOCKS(w, r, c.request)
		return
	}
	if r.Method != http.MethodConnect && !strings.HasPrefix(r.RequestURI, "/") && r.RequestURI != "*" {
		p.serveAbsolute(w, r)
		return
	}
	p.goproxy.ServeHTTP(&hijacker{ResponseWriter: w}, r)
}

// serveAbsolute serves a request in absolute form, as clients send it for
// http:// URLs (RFC 9112 §3.2.2), and some for https:// ones too.
func (p *Proxy) serveAbsolute(w http.ResponseWriter, r *http.Request) {
	scheme, authority, ok := absoluteForm(r.RequestURI)
	path, query, hasQuery, raw := broker.RawTarget(r.RequestURI)
	if !ok || !raw || (scheme != "http" && scheme != "https") {
		p.broker.Refuse(w, broker.MITM, badRequest("the request target is not an http:// or https:// URL"))
		return
	}
	target, f := broker.Pin(scheme, authority)
	if f != nil {
		p.broker.Refuse(w, broker.MITM, f)
		return
	}
	if r.Method == http.MethodOptions && strings.HasSuffix(r.RequestURI, "://"+authority) {
		path = "*" // RFC 9112 §3.2.4: so a proxy is asked for it
	}
	p.broker.Serve(w, r, broker.Request{
		Entrance: broker.MITM, Identity: p.identify(r), Target: target,
		Path: path, RawQuery: query, HasQuery: hasQuery,
	})
}

// serveOrigin answers requests that take this port for a web server.
func (p *Proxy) serveOrigin(w http.ResponseWriter, _ *http.Request) {
	p.broker.Refuse(w, broker.MITM, badRequest(
		"this port is Agent Vault's proxy: set HTTPS_PROXY and HTTP_PROXY to it; the API is on the other port"))
}

// absoluteForm takes scheme (lower case) and authority out of an absolute-form
// request target. The authority is the raw bytes, userinfo included, for
// broker.Pin to refuse.
func absoluteForm(uri string) (scheme, authority string, ok bool) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || scheme == "" {
		return "", "", false
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return strings.ToLower(scheme), rest, true
}

func badRequest(message string) *broker.Fault {
	f := broker.NewFault(broker.CodeBadRequest)
	f.Message = message
	return f
}
