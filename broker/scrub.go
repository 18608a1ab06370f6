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
// value that is stored, earlier ones too, and what services make of them, such as the base64 of user and
// password. A vault whose boxes and services are those of before keeps its Set.
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

// mayPassUnread reports whether an answer that cannot be decoded goes to the
// agent as it is: where a person has said so, and where nothing was injected.
func (e *exchange) mayPassUnread() bool {
	return e.service.passUndecodable || len(e.service.keys) == 0
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
	switch codings := scrub.Codings(resp.Header["Content-Encoding"]); {
	case grpcCompressed(resp.Header), resp.StatusCode == http.StatusPartialContent && codings != nil:
		if !e.mayPassUnread() {
			return nil, nil, undecodable(errors.New("part of a coded body, or compressed messages"))
		}
	case codings != nil:
		d, err := scrub.Decode(resp.Body, codings)
		if err == nil {
			src, freed = d, func() { _ = d.Close() } // frees memory only
			plainHeader(resp)
		} else if !e.mayPassUnread() {
			return nil, nil, undecodable(err)
		}
	}
	r := e.values.Reader(src)
	return r, func() {
		e.scrubbed += r.Places()
		freed()
	}, nil
}

// plainHeader makes an answer's header one of its decoded body: without the
// coding, the length, and digests of what was coded (RFC 9530 §2, RFC 3230). A
// strong validator names other bytes (RFC 9110 §8.8.1).
func plainHeader(resp *http.Response) {
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest", "Accept-Ranges"} {
		delete(resp.Header, name)
	}
	if tag := resp.Header.Get("Etag"); strings.HasPrefix(tag, `"`) {
		resp.Header["Etag"] = []string{"W/" + tag}
	}
	resp.ContentLength = -1
}

// grpcCompressed reports whether messages inside the body may be compressed.
// requestHeader keeps upstreams from it, as far as they ask what is accepted.
func grpcCompressed(h http.Header) bool {
	for _, name := range messageCodings {
		if v := h.Get(name); v != "" && !strings.EqualFold(v, "identity") {
			return true
		}
	}
	return false
}

// Fields that say how messages inside a body are compressed, and which ways are
// accepted (gRPC and Connect).
var (
	messageCodings  = []string{"Grpc-Encoding", "Connect-Content-Encoding"}
	acceptsMessages = []string{"Grpc-Accept-Encoding", "Connect-Accept-Encoding"}
)

// askPlain keeps the upstream from what could not be read in its answer:
// compressed messages of gRPC and of WebSockets.
func (e *exchange) askPlain(h http.Header) {
	if e.values == nil || e.mayPassUnread() {
		return
	}
	for _, name := range acceptsMessages {
		delete(h, name)
	}
}
