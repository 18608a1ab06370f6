package broker

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"agentvault/broker/scrub"
	"agentvault/policy/inject"
)

// knowValues compiles what must not come back to an agent of this vault: every
// value that is stored, earlier ones too, and what services make of them, such
// as the base64 of user and password. A vault whose boxes and services are those
// of before keeps its Set.
func (v *vaultView) knowValues(before *vaultView) {
	if before != nil && before.values != nil && v.holdsWhat(before) {
		v.values = before.values
		return
	}
	var values [][]byte
	var opened plaintexts
	defer opened.clear()
	open := opened.from(v.open)
	for key := range v.boxes {
		if p, err := open(key); err == nil { // what does not open is never sent either
			values = append(values, p.Bytes())
		}
	}
	for _, c := range v.earlier {
		if p, err := v.unseal(c.Key, box{c.Version, c.Box}); err == nil {
			opened = append(opened, p)
			values = append(values, p.Bytes())
		}
	}
	for _, s := range v.services {
		req := inject.Request{Header: make(http.Header)}
		if s.injector == nil || s.injector.Inject(&req, open) != nil {
			continue // likewise
		}
		for _, name := range s.slots.Headers {
			for _, field := range req.Header[name] {
				values = append(values, []byte(field[strings.LastIndexByte(field, ' ')+1:]))
			}
		}
	}
	v.values = scrub.Compile(values)
}

// scrubs returns what is to be masked in the answer to this exchange, or nil
// where a person has turned that off, or there is nothing.
func (s *service) scrubs(v *vaultView) *scrub.Set {
	if s == nil || s.scrubOff || v.values.Empty() {
		return nil
	}
	return v.values
}

// undecodable is the fault of an answer that cannot be looked into.
func undecodable(err error) *Fault {
	f := NewFault(CodeUndecodable)
	f.Err = err
	return f
}

// valuesNow is what must not come back by the View of now: values may have been
// stored since the exchange began.
func (e *exchange) valuesNow() *scrub.Set {
	now := e.Broker.view.Load()
	if now == e.view {
		return e.values
	}
	if s := now.sessions[e.session.digest]; s != nil {
		if vv := s.in(e.vault.id); vv != nil {
			return vv.values
		}
	}
	return e.values // the session has ended, and the exchange is being cut
}

// A masked is a body on its way to the agent.
type masked interface {
	io.Reader
	Places() int
	Follow(now func() *scrub.Set)
}

// scrubBody returns the answer's body with every credential masked. A body in a
// content coding is decoded first and goes on without it; the header is changed
// to say so. Closing the body of resp ends it.
func (e *exchange) scrubBody(resp *http.Response) (body io.Reader, done func(), f *Fault) {
	nothing := func() {}
	if e.values == nil || e.bodiless(resp) {
		return resp.Body, nothing, nil
	}
	src, freed := io.Reader(resp.Body), nothing
	if codings := scrub.Codings(resp.Header["Content-Encoding"]); codings != nil {
		d, err := scrub.Decode(resp.Body, codings)
		if resp.StatusCode == http.StatusPartialContent {
			err = errors.New("part of a coded body")
		}
		switch {
		case err == nil:
			src, freed = d, func() { _ = d.Close() } // frees memory only
			plainHeader(resp)
		case !e.service.passUndecodable:
			return nil, nil, undecodable(err)
		}
	}
	var r masked
	if hasMessages(resp.Header) && !e.service.passUndecodable {
		r = e.values.Messages(src)
	} else {
		r = e.values.Reader(src)
	}
	r.Follow(e.valuesNow)
	return r, func() {
		e.scrubbed += r.Places()
		freed()
	}, nil
}

// plainHeader makes an answer's header one of its decoded body: without the
// coding, the length, and digests of what was coded (RFC 9530 §2, RFC 3230). The
// validator stays: it goes back to the upstream, and an agent that decodes by
// itself would have it too.
func plainHeader(resp *http.Response) {
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest", "Accept-Ranges"} {
		delete(resp.Header, name)
	}
	resp.ContentLength = -1
}

// hasMessages reports whether the body is messages of gRPC, gRPC-Web or Connect.
func hasMessages(h http.Header) bool {
	kind := strings.ToLower(h.Get("Content-Type"))
	return strings.HasPrefix(kind, "application/grpc") && !strings.HasPrefix(kind, "application/grpc-web-text") ||
		strings.HasPrefix(kind, "application/connect+")
}

// acceptsMessages say how messages inside a body may be compressed, beyond what
// Accept-Encoding does.
var acceptsMessages = []string{"Grpc-Accept-Encoding", "Connect-Accept-Encoding"}

// askPlain keeps the upstream from what could not be read in its answer:
// compressed messages.
func (e *exchange) askPlain(h http.Header) {
	if e.values == nil || e.service.passUndecodable {
		return
	}
	for _, name := range acceptsMessages {
		delete(h, name)
	}
}
