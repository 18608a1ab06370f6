package broker

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"agentvault/policy/inject"
)

// inject builds the upstream request: what was stripped of the agent's own
// credentials gets the vault's. It comes last before sending, so that nothing
// of the agent's can remove or double what it sets.
func (e *exchange) inject() *Fault {
	if e.service.mint != nil {
		e.keepBare()
		if f := e.mintToken(0); f != nil {
			return f
		}
	}
	return e.fillIn()
}

// fillIn makes what goes upstream of what was stripped.
func (e *exchange) fillIn() *Fault {
	req := &e.stripped
	defer e.opened.clear()
	open := e.opened.from(e.vault.open)
	if f := e.substitute(open); f != nil {
		return f
	}
	if err := e.service.injector.Inject(req, open); err != nil {
		return injectFault(err)
	}
	var ok bool
	if e.url, ok = upstreamURL(e.Target, req.Path, req.RawQuery, e.HasQuery || req.RawQuery != ""); !ok {
		f := NewFault(CodeBadRequest)
		f.Message = "the path cannot be sent upstream byte for byte"
		return f
	}
	out := &e.out
	*out = http.Request{
		Method: e.r.Method, URL: &e.url, Host: e.Target.Authority(), Header: req.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Trailer: e.trailer,
	}
	e.sendBody(out)
	e.askPlain(req.Header)
	if e.upgrade != "" {
		if e.readsMessages() {
			delete(req.Header, "Sec-Websocket-Extensions") // compressed messages could not be read
		}
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{e.upgrade}
	}
	return nil
}

// sendBody gives the request that goes upstream the agent's body, or what was made
// of it.
func (e *exchange) sendBody(out *http.Request) {
	src, length := e.r.Body, e.r.ContentLength
	if e.stripped.Body != nil && !sameBytes(e.stripped.Body, e.whole) {
		src = io.NopCloser(bytes.NewReader(e.stripped.Body))
		if length >= 0 {
			length = int64(len(e.stripped.Body))
		}
	}
	if src == nil || src == http.NoBody || length == 0 {
		return
	}
	e.body = &countingBody{ReadCloser: src, e: e, in: e.r, out: out, find: e.finder()}
	out.Body, out.ContentLength = e.body, length
	if e.stripped.Wrap != nil {
		out.Body = wrapped{e.stripped.Wrap(e.body), e.body, &e.use}
	}
}

// wrapped is a body that changes on its way.
type wrapped struct {
	io.Reader
	io.Closer
	use *use
}

// Read implements io.Reader. It is called by the upstream's transport.
func (w wrapped) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	var refused *inject.RequestError
	if errors.As(err, &refused) {
		w.use.cut(badRequest(refused.Reason))
	}
	return n, err
}

func injectFault(err error) *Fault {
	var missing *missingError
	var value *inject.ValueError
	var unfit *inject.UnfitError
	var refused *inject.RequestError
	switch {
	case errors.As(err, &refused):
		return badRequest(refused.Reason)
	case errors.As(err, &missing):
		f := NewFault(CodeCredentialMissing)
		f.Credential = missing.key
		f.Message = "the credential " + missing.key + " has no value yet; ask a person to set it"
		return f
	case errors.As(err, &unfit):
		f := NewFault(CodeCredentialInvalid)
		f.Credential, f.Err = unfit.Key, err
		f.Message = "the value of the credential " + unfit.Key + " " + unfit.Why + "; ask a person to set it again"
		return f
	case errors.As(err, &value):
		f := NewFault(CodeCredentialInvalid)
		f.Credential, f.Err = value.Key, err
		f.Message = "the value of the credential " + value.Key + " cannot be sent in this place; ask a person to set it again"
		return f
	}
	var place *inject.PlaceError
	switch {
	case errors.As(err, &place):
		return misplaced("half an escape in the " + place.Where)
	case errors.Is(err, inject.ErrTooLong):
		return NewFault(CodeRequestTooLarge)
	}
	f := NewFault(CodeUnavailable)
	f.Err = err
	return f
}

// send carries the request to the upstream and its answer back.
func (e *exchange) send() *Fault {
	// A cut ends the exchange wherever it is: the call upstream, and an answer
	// that a slow agent does not read.
	e.rc = http.NewResponseController(e.w)
	e.use.by, e.use.vault, e.use.service = e.session.digest, e.vault.id, e.service
	e.use.shown = e.vault.shown(e.service)
	e.use.blank = e.values == nil && !e.service.scrubOff
	e.use.holder = e
	if f := e.hold(e.session.live, &e.use, e.view); f != nil {
		return e.hinting(f)
	}
	defer e.session.live.release(&e.use)

	e.newCall()
	if e.body != nil {
		if e.upgrade != "" {
			if f := e.readAhead(); f != nil {
				return f
			}
		} else if e.r.ProtoMajor == 1 && e.rc.EnableFullDuplex() == nil { // an early answer must not wait for the upload
			e.w = &duplex{e.w, e.body}
		}
	}
	if e.sending != nil {
		e.sending.asked = true
	}
	resp, err := e.transport(e.upgrade != "").Do(&e.ctx, &e.call)
	e.early.close()
	if err != nil {
		return e.upstreamFault(err)
	}
	if e.refusesToken(resp) {
		var f *Fault
		if resp, f = e.resend(resp); f != nil {
			return f
		}
	}
	defer resp.Body.Close()
	if e.sending != nil {
		e.sending.answered = true
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return e.switched(resp)
	}
	return e.respond(resp)
}

// end breaks the exchange off: see use.
func (e *exchange) end() {
	e.ctx.End()
	e.body.interrupt()
	if e.begun.Load() {
		_ = e.rc.SetWriteDeadline(time.Now()) // not every writer has one
	}
}

// interim tells whether 1xx answers may still be forwarded.
type interim struct {
	mu   sync.Mutex
	done bool
}

// forward passes on 1xx answers, except 100, which net/http gives by itself when
// the body is first read. They may arrive on the transport's goroutine.
//
// They go to HTTP/1.1 only. HTTP/1.0 has none (RFC 9110 §15.2). net/http's HTTP/2
// server encodes the header of a 1xx while the handler goes on when the agent
// resets the stream, and what the handler then does to the header ends the
// process. Nor do they go to agents that wait for a 100: it is written without a
// lock against this goroutine.
func (e *exchange) forward(code int, header http.Header) error {
	if e.r.ProtoMajor != 1 || e.r.ProtoMinor == 0 || e.r.Header["Expect"] != nil {
		return nil
	}
	e.early.mu.Lock()
	defer e.early.mu.Unlock()
	if e.early.done || code == http.StatusContinue || code == http.StatusSwitchingProtocols {
		return nil
	}
	h := e.w.Header()
	e.responseHeader(h, header)
	e.begun.Store(true)                                                               // for as long as it is written
	e.use.whileOpen(func() { _ = e.rc.SetWriteDeadline(time.Now().Add(writeStall)) }) // not every writer has one
	e.w.WriteHeader(code)
	e.begun.Store(false)
	e.use.whileOpen(func() { _ = e.rc.SetWriteDeadline(time.Time{}) }) // likewise
	clear(h)                                                           // net/http keeps them for the final answer otherwise
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
	var egress *EgressError
	var netErr net.Error
	if f := e.use.cutBy(); f != nil {
		return e.hinting(f)
	}
	if e.leftAlone() {
		return NewFault(CodeAgentGone)
	}
	if f := e.certificateFault(err); f != nil {
		return f
	}
	switch {
	case e.r.Context().Err() != nil:
		// Perhaps likewise.
	case isBlocked(err):
		code = CodeNetworkBlocked
	case errors.As(err, &egress):
		code = egress.code()
	case isUnpinned(err), isTLS(err):
		code = CodeUpstreamTLS
	case errors.As(err, &netErr) && netErr.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		code = CodeUpstreamTimeout
	}
	return upstreamFault(code, err)
}

// isTLS reports whether it was the handshake, or the certificate.
func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert *net.OpError // crypto/tls spells alerts so
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error")
}

// upstreamFault is a fault with its cause. That a blocked address could be
// allowed is said only where it could.
func upstreamFault(code string, err error) *Fault {
	f := NewFault(code)
	f.Err = upstreamCause(err)
	var blocked *BlockedError
	var egress *EgressError
	switch {
	case errors.As(err, &blocked) && blocked.Always:
		f.Message = "the host's address is one that the vault never connects to"
	case errors.As(err, &blocked) && blocked.Name:
		f.Message = "the host's name means something on one network only, and the egress proxy resolves names; a person can have it reached directly with egress.direct"
	case errors.As(err, &egress):
		f.Message = egress.Message
	case isUnpinned(err):
		f.Message = "no certificate of the upstream matches a pin of the service, so nothing was sent; a person can change its pins"
	case code == CodeUpstreamError && err != nil && !unreached(err):
		f.Message = brokeOff
	}
	return f
}

const brokeOff = "the upstream broke the connection off, or its answer cannot be understood"

// unreached reports whether there was no connection to the upstream.
func unreached(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial"
}
