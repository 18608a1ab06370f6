package main

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// The reference is what a proxy on net/http costs at least: an
// httputil.ReverseProxy with a tuned transport. It decides, replaces, records
// and searches nothing.

// proxyAddr is where a proxy of ours listens.
type proxyAddr struct {
	Path    string // HTTP in clear: /proxy/HOST/PATH, as agent-vault's path entrance
	TLS     string // HTTPS for any host of the origin's, as in an intercepted tunnel
	Proxy   string // CONNECT
	Control string // every request collects garbage
}

// tunedTransport reaches the origin and keeps what it has to it.
func tunedTransport(w wiring) (*http.Transport, error) {
	pool, err := roots(filepath.Join(w.Dir, caFile))
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return d.DialContext(ctx, network, w.origin(host))
		},
		TLSClientConfig:     &tls.Config{RootCAs: pool, ClientSessionCache: tls.NewLRUClientSessionCache(1024)},
		ForceAttemptHTTP2:   true, // the origin decides which it is
		DisableCompression:  true,
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     90 * time.Second,
	}, nil
}

// buffers is a httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

func serveReference() error {
	w, err := readWiring()
	if err != nil {
		return err
	}
	transport, err := tunedTransport(w)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: rewrite, Transport: transport, BufferPool: new(buffers), ErrorLog: log.New(io.Discard, "", 0),
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(w.Dir, leafFile), filepath.Join(w.Dir, leafKeyFile))
	if err != nil {
		return err
	}
	var addr proxyAddr
	if addr.Path, err = serve(&http.Server{Handler: proxy}); err != nil {
		return err
	}
	if addr.TLS, err = serve(&http.Server{Handler: proxy, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}}); err != nil {
		return err
	}
	if addr.Control, err = serve(&http.Server{Handler: collector()}); err != nil {
		return err
	}
	return sayReady(addr)
}

// rewrite aims at the host that the client asked for.
func rewrite(r *httputil.ProxyRequest) {
	u := r.Out.URL
	u.Scheme, u.Host = "https", r.In.Host
	if rest, ok := strings.CutPrefix(u.Path, "/proxy/"); ok && r.In.TLS == nil {
		host, path, _ := strings.Cut(rest, "/")
		u.Host, u.Path, u.RawPath = host, "/"+path, ""
	}
	r.Out.Host = u.Host
}

// collector collects garbage for who asks.
func collector() http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
}
