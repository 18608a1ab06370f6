package broker

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
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
		switch s.injector.(type) {
		case inject.BodyReader, inject.Minter:
			continue // what they make is another in each request, and each time: see knownTokens
		}
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
	if s == nil || s.scrubOff {
		return nil
	}
	if all := v.known.with(v.values); !all.Empty() {
		return all
	}
	return nil
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
		return e.vault.known.with(e.vault.values)
	}
	if s := now.sessions[e.session.digest]; s != nil {
		if vv := s.in(e.vault.id); vv != nil {
			return vv.known.with(vv.values)
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

// scrubBody returns the answer's body with every credential masked, or nil where
// nothing is looked for. A body in a content coding is decoded first and goes on
// without it; the header is changed to say so.
func (e *exchange) scrubBody(resp *http.Response) (m masked, f *Fault) {
	if e.values == nil || e.bodiless(resp) {
		return nil, nil
	}
	src := io.Reader(resp.Body)
	if codings := scrub.Codings(resp.Header["Content-Encoding"]); codings != nil {
		decoded, err := scrub.Decode(resp.Body, codings)
		if resp.StatusCode == http.StatusPartialContent {
			err = errors.New("part of a coded body")
		}
		switch {
		case err == nil:
			src = decoded
			plainHeader(resp)
		case !e.service.passUndecodable:
			return nil, undecodable(err)
		}
	}
	messages, text := hasMessages(resp.Header)
	switch {
	case text && messageCoding(resp.Header) != "" && !e.service.passUndecodable:
		return nil, undecodable(errors.New("compressed messages in base64"))
	case messages && !text:
		coding := messageCoding(resp.Header)
		if scrub.Decodes(coding) {
			unmeasured(resp)
		}
		m = e.values.Messages(src, coding, e.service.passUndecodable)
	case hasEvents(resp.Header):
		m = e.values.Events(src, e.service.passUndecodable)
	default:
		m = e.values.Reader(src)
	}
	m.Follow(e.valuesNow)
	return m, nil
}

// atHand reads a short body that has come whole already, and masks it where it
// lies. It is what most answers of APIs are, and needs no timer and no second
// buffer. Whole is false where the body is not such a one, or ends otherwise than
// it should; nothing of it is lost then.
func (e *exchange) atHand(resp *http.Response, buf []byte) (body []byte, whole bool) {
	r, ok := resp.Body.(interface{ Ready() bool })
	if !ok || !r.Ready() || resp.ContentLength <= 0 || resp.ContentLength > atHandMost || e.r.Method == http.MethodHead {
		return nil, false
	}
	if messages, _ := hasMessages(resp.Header); e.values != nil && (messages || resp.Header["Content-Encoding"] != nil) {
		return nil, false
	}
	n, err := resp.Body.Read(buf)
	if body = buf[:n]; int64(n) < resp.ContentLength || err != nil && !errors.Is(err, io.EOF) {
		resp.Body = &begunBody{ReadCloser: resp.Body, first: bytes.Clone(body)}
		return nil, false
	}
	if e.values != nil {
		e.scrubbed += e.values.Mask(body, e.valuesNow)
	}
	return body, true
}

// atHandMost bounds, in bytes, the bodies that are looked at in one piece.
const atHandMost = 16 << 10

// A begunBody is one of which something was read already.
type begunBody struct {
	io.ReadCloser
	first []byte
}

// Read implements io.Reader.
func (b *begunBody) Read(p []byte) (int, error) {
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	return b.ReadCloser.Read(p)
}

// plainHeader makes an answer's header one of its decoded body.
func plainHeader(resp *http.Response) {
	delete(resp.Header, "Content-Encoding")
	unmeasured(resp)
}

// unmeasured takes from an answer's header what does not hold when the body's
// length changes: the length, and digests of what was coded (RFC 9530 §2, RFC
// 3230). The validator stays: it goes back to the upstream, and an agent that
// decodes by itself would have it too.
func unmeasured(resp *http.Response) {
	for _, name := range []string{"Content-Length", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest", "Accept-Ranges"} {
		delete(resp.Header, name)
	}
	resp.ContentLength = -1
}

// textMessages is what types of messages in base64 begin with.
const textMessages = "application/grpc-web-text"

// hasMessages reports whether the body is messages of gRPC, gRPC-Web or Connect,
// and whether they are in base64: those are read as the text that this is.
func hasMessages(h http.Header) (messages, text bool) {
	kind := strings.ToLower(h.Get("Content-Type"))
	return strings.HasPrefix(kind, "application/grpc") || strings.HasPrefix(kind, "application/connect+"), strings.HasPrefix(kind, textMessages)
}

// messageCoding is the coding of those messages that say that they are
// compressed: "" for none. Protocols know one for a body.
func messageCoding(h http.Header) string {
	name := "Grpc-Encoding"
	if strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/connect+") {
		name = "Connect-Content-Encoding"
	}
	return strings.Join(scrub.Codings(h[name]), ", ")
}

// hasEvents reports whether the body is events as AWS frames them. Their ends
// look like anything, and would be held back otherwise.
func hasEvents(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/vnd.amazon.eventstream")
}

// acceptsMessages say how messages inside a body may be compressed, beyond what
// Accept-Encoding does.
var acceptsMessages = []string{"Grpc-Accept-Encoding", "Connect-Accept-Encoding"}

// askPlain keeps the upstream from what could not be read in its answer: messages
// in a coding that is unknown, or compressed and in base64.
func (e *exchange) askPlain(h http.Header) {
	if e.values == nil || e.service.passUndecodable {
		return
	}
	unknown := func(coding string) bool { return !scrub.Decodes(coding) }
	for _, name := range acceptsMessages {
		if accepted := h[name]; accepted != nil && (slices.ContainsFunc(scrub.Codings(accepted), unknown) || asksForText(h)) {
			delete(h, name)
		}
	}
}

func asksForText(h http.Header) bool {
	kinds := strings.Join(slices.Concat(h["Content-Type"], h["Accept"]), ",")
	return strings.Contains(strings.ToLower(kinds), textMessages)
}
