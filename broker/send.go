package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// inject builds the upstream request: the agent's own credentials for the
// service's slots out, then the vault's in. It comes last before sending, so
// that nothing of the agent's can remove or double what it sets.
func (e *exchange) inject() *Fault {
	req := inject.Request{Header: e.requestHeader(), RawQuery: e.RawQuery}
	e.service.slots.Strip(&req)
	if err := e.service.injector.Inject(&req, e.open); err != nil {
		return injectFault(err)
	}
	u, ok := upstreamURL(e.Target, e.Path, req.RawQuery, e.HasQuery || req.RawQuery != "")
	if !ok {
		f := NewFault(CodeBadRequest)
		f.Message = "the path cannot be sent upstream byte for byte"
		return f
	}
	out := &http.Request{
		Method: e.r.Method, URL: u, Host: e.Target.Authority(), Header: req.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Trailer: e.requestTrailer(e.service.slots.Headers),
	}
	if e.r.Body != nil && e.r.Body != http.NoBody && e.r.ContentLength != 0 {
		e.body = &countingBody{ReadCloser: e.r.Body, in: e.r, out: out}
		out.Body, out.ContentLength = e.body, e.r.ContentLength
	}
	if e.wantsWebSocket() {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	e.out = out
	return nil
}

// open opens one box for this exchange, and remembers what must not come back.
func (e *exchange) open(key string) (seal.Plaintext, error) {
	p, err := e.vault.open(key)
	if err == nil {
		e.needles = needlesOf(e.needles, p.Bytes())
	}
	return p, err
}

func injectFault(err error) *Fault {
	var missing *missingError
	var value *inject.ValueError
	switch {
	case errors.As(err, &missing):
		f := NewFault(CodeCredentialMissing)
		f.Credential = missing.key
		f.Message = "the credential " + missing.key + " has no value yet; ask a person to set it"
		return f
	case errors.As(err, &value):
		f := NewFault(CodeCredentialInvalid)
		f.Credential, f.Err = value.Key, err
		f.Message = "the value of the credential " + value.Key + " cannot be sent in this place; ask a person to set it again"
		return f
	}
	f := NewFault(CodeUnavailable)
	f.Err = err
	return f
}

// wantsWebSocket: RFC 6455 §4.1. Other upgrades are dropped as hop-by-hop.
func (e *exchange) wantsWebSocket() bool {
	return e.r.ProtoMajor == 1 && strings.EqualFold(e.r.Header.Get("Upgrade"), "websocket") &&
		httpguts.HeaderValuesContainsToken(e.r.Header["Connection"], "upgrade")
}

// send carries the request to the upstream and its answer back.
func (e *exchange) send() *Fault {
	// A cut ends the exchange wherever it is: the call upstream, and an answer
	// that a slow agent does not read.
	rc := http.NewResponseController(e.w)
	e.use.vault, e.use.service = e.vault.id, e.service
	e.use.end = func() {
		e.cancel()
		if e.begun.Load() {
			_ = rc.SetWriteDeadline(time.Now()) // not every writer has one
		}
	}
	if f := e.hold(e.session.live, &e.use, e.view); f != nil {
		return e.hinting(f)
	}
	defer e.session.live.release(&e.use)

	in := &interim{e: e}
	ctx := httptrace.WithClientTrace(e.ctx, &httptrace.ClientTrace{Got1xxResponse: in.forward})
	if e.body != nil && e.r.ProtoMajor == 1 {
		_ = rc.EnableFullDuplex() // an early answer must not wait for the upload
	}
	transport := e.transport
	if e.out.Header["Upgrade"] != nil {
		transport = e.upgrades
	}
	resp, err := transport.RoundTrip(e.out.WithContext(ctx))
	in.close()
	if err != nil {
		return e.upstreamFault(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return e.upgrade(resp)
	}
	return e.respond(rc, resp)
}

// interim forwards 1xx answers, except 100, which net/http gives by itself when
// the body is first read. They arrive on the transport's goroutine.
type interim struct {
	e    *exchange
	mu   sync.Mutex
	done bool
}

func (in *interim) forward(code int, header textproto.MIMEHeader) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done || code == http.StatusContinue || code == http.StatusSwitchingProtocols {
		return nil
	}
	h := in.e.w.Header()
	for name, values := range header {
		if hopByHop[name] || name == "Alt-Svc" || name == ErrorHeader {
			continue
		}
		for _, v := range values {
			masked, _ := maskField(v, in.e.needles)
			h[name] = append(h[name], masked)
		}
	}
	in.e.w.WriteHeader(code)
	clear(h) // net/http keeps them for the final answer otherwise
	return nil
}

func (in *interim) close() {
	in.mu.Lock()
	in.done = true
	in.mu.Unlock()
}

// upstreamFault names what went wrong without repeating a word of the error.
func (e *exchange) upstreamFault(err error) *Fault {
	code := CodeUpstreamError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert *net.OpError // crypto/tls spells alerts so
	var netErr net.Error
	if f := e.use.cutBy(); f != nil {
		return e.hinting(f)
	}
	switch {
	case e.r.Context().Err() != nil:
		// The agent has gone; nobody reads the answer.
	case isBlocked(err):
		code = CodeNetworkBlocked
	case errors.As(err, &verify), errors.As(err, &record), errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error"):
		code = CodeUpstreamTLS
	case errors.As(err, &netErr) && netErr.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		code = CodeUpstreamTimeout
	}
	f := NewFault(code)
	f.Err = err
	return f
}

// countingBody counts what the agent sends, and hands its trailers on when the
// body ends.
type countingBody struct {
	io.ReadCloser
	in, out *http.Request
	n       atomic.Int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	if errors.Is(err, io.EOF) {
		for name := range b.out.Trailer {
			for _, v := range b.in.Trailer[name] {
				if !holdsToken(v) {
					b.out.Trailer[name] = append(b.out.Trailer[name], v)
				}
			}
		}
	}
	return n, err
}
