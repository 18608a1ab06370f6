package mitm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/elazarl/goproxy"

	"agentvault/broker"
)

// newGoproxy configures goproxy so that it can do two things only: reject a
// CONNECT, or hand it to us. It has no way to dial, and logs nowhere: its
// messages hold URLs and bytes of peers.
func newGoproxy(p *Proxy) *goproxy.ProxyHttpServer {
	g := goproxy.NewProxyHttpServer()
	g.Logger = silent{}
	g.Tr = &http.Transport{Proxy: nil, DialContext: refuseDial}
	g.ConnectDial = func(network, addr string) (net.Conn, error) {
		return refuseDial(context.Background(), network, addr)
	}
	g.ConnectDialWithReq = func(r *http.Request, network, addr string) (net.Conn, error) {
		return refuseDial(r.Context(), network, addr)
	}
	g.ConnectionErrHandler = func(io.Writer, *goproxy.ProxyCtx, error) {} // its own would send the error's text
	g.NonproxyHandler = http.HandlerFunc(p.serveOrigin)
	g.OnRequest().HandleConnectFunc(p.handleConnect)
	return g
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func refuseDial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("mitm: only the broker dials")
}

// handleConnect always returns an action: without one goproxy opens the tunnel
// by itself.
//
// What a policy would deny is let in here, and refused inside: clients do not
// show their callers the body of a refused CONNECT, and an agent should read
// why.
func (p *Proxy) handleConnect(host string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
	t, f := p.openTunnel(ctx.Req)
	if f != nil {
		p.broker.CountFault(broker.MITM, f)
		ctx.Resp = rejection(ctx.Req, f)
		return &goproxy.ConnectAction{Action: goproxy.ConnectReject}, host
	}
	return &goproxy.ConnectAction{
		Action: goproxy.ConnectHijack,
		Hijack: func(_ *http.Request, c net.Conn, _ *goproxy.ProxyCtx) { p.carry(t, c) },
	}, host
}

// openTunnel admits a CONNECT: the pinned target, then the session.
func (p *Proxy) openTunnel(r *http.Request) (*tunnel, *broker.Fault) {
	if r.ContentLength != 0 {
		// RFC 9110 §9.3.6: content in a CONNECT has no meaning. Its bytes would
		// be read as the tunnel's.
		return nil, badRequest("a CONNECT request has no content")
	}
	// RFC 9110 §9.3.6: the authority of a CONNECT always names its port.
	if _, port, err := net.SplitHostPort(r.RequestURI); err != nil || port == "" {
		return nil, badRequest("CONNECT names host and port, as in api.example.com:443")
	}
	target, f := broker.Pin("https", r.RequestURI)
	if f != nil {
		return nil, f
	}
	return p.admit(r, p.identify(r), target)
}

// admit opens a tunnel to the target on the connection of r.
func (p *Proxy) admit(r *http.Request, id broker.Identity, target broker.Target) (*tunnel, *broker.Fault) {
	admitted, f := p.broker.OpenTunnel(id, target)
	if f != nil {
		return nil, p.broker.Slowed(id, r.RemoteAddr, f)
	}
	admitted.Owns(r.Context())
	return &tunnel{Tunnel: admitted, target: target, identity: id}, nil
}

// rejection is a whole response. It closes the connection: git, Java and
// libcurl open another one and pass their credentials there.
func rejection(r *http.Request, f *broker.Fault) *http.Response {
	status, header, body := broker.FaultResponse(broker.MITM, f)
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header, Close: true,
		// Not r itself: a response to CONNECT would be written without its body.
		Request:       &http.Request{Method: http.MethodGet, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
}
