package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/elazarl/goproxy"
)

// serveGoproxy is a minimal intercepting proxy on goproxy, with an authority and
// leaves of its own, each minted once.
func serveGoproxy() error {
	w, err := readWiring()
	if err != nil {
		return err
	}
	transport, err := tunedTransport(w)
	if err != nil {
		return err
	}
	ca, err := tls.LoadX509KeyPair(filepath.Join(w.Dir, caFile), filepath.Join(w.Dir, caKeyFile))
	if err != nil {
		return err
	}
	root, err := x509.ParseCertificate(ca.Certificate[0])
	if err != nil {
		return err
	}
	leaves := &leaves{root: root, key: ca.PrivateKey}
	intercept := &goproxy.ConnectAction{Action: goproxy.ConnectMitm, TLSConfig: leaves.config}
	proxy := goproxy.NewProxyHttpServer()
	proxy.Logger = log.New(io.Discard, "", 0)
	proxy.Tr = transport
	proxy.OnRequest().HandleConnectFunc(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		return intercept, host
	})
	var addr proxyAddr
	if addr.Proxy, err = serve(&http.Server{Handler: proxy}); err != nil {
		return err
	}
	if addr.Control, err = serve(&http.Server{Handler: collector()}); err != nil {
		return err
	}
	return sayReady(addr)
}

// leaves are configurations by host.
type leaves struct {
	root    *x509.Certificate
	key     any
	configs sync.Map // host → *tls.Config
}

func (l *leaves) config(hostport string, _ *goproxy.ProxyCtx) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	if c, ok := l.configs.Load(host); ok {
		return c.(*tls.Config), nil
	}
	leaf, err := mint(l.root, l.key, host)
	if err != nil {
		return nil, err
	}
	c, _ := l.configs.LoadOrStore(host, &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{"http/1.1"}})
	return c.(*tls.Config), nil
}
