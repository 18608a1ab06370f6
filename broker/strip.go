package broker

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"agentvault/policy"
	"agentvault/policy/inject"
)

// wellFormed refuses what could be read in more than one way, or is too long,
// whatever the service.
func (e *exchange) wellFormed() *Fault {
	if reason := policy.Malformed(e.r.Method, e.Path, e.RawQuery); reason != "" {
		return badRequest(reason)
	}
	if holdsToken(e.Path) {
		return tokenFault("the path")
	}
	if f := headerFits(e.r.Header); f != nil {
		return f
	}
	// net/http takes a length that is none for zero on HTTP/2, and on HTTP/1 keeps
	// the field only while it is one.
	if lengths := e.r.Header["Content-Length"]; len(lengths) > 1 || len(lengths) == 1 && !isLength(lengths[0]) {
		return badRequest("Content-Length is not one number")
	}
	for _, v := range e.r.Header["Expect"] {
		// RFC 9110 §10.1.1. On HTTP/1 net/http says so itself.
		if !strings.EqualFold(strings.TrimSpace(v), "100-continue") {
			f := badRequest("the only expectation that is met is 100-continue")
			f.Status = http.StatusExpectationFailed
			return f
		}
	}
	return nil
}

// isLength: RFC 9110 §8.6, within what an int64 holds.
func isLength(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

// headerFits bounds a header field by field and as a whole. net/http bounds the
// bytes of what it reads, on HTTP/2 before it has unpacked them.
func headerFits(h http.Header) *Fault {
	total, fields := 0, 0
	for name, values := range h {
		n := len(name)
		for _, v := range values {
			n += len(v)
		}
		if n > maxHeaderField {
			return badRequest("a header field is longer than 16 KiB")
		}
		total += n + len(name)*max(0, len(values)-1)
		fields += len(values)
	}
	switch {
	case total > maxHeader:
		return badRequest("the request's header is longer than 64 KiB")
	case fields > maxHeaderFields:
		return badRequest("the request has more than 256 header fields")
	}
	return nil
}

// strip makes of the agent's request what of it may go upstream: without what is
// meant for the vault, what ends at this hop, and what stands where the vault
// puts its credential (R8, R18). What is left is refused if it holds a token of
// the vault, or asks for something that was not decided on.
func (e *exchange) strip() *Fault {
	e.stripped = inject.Request{
		Method: e.r.Method, Scheme: e.Target.Scheme, Host: e.Target.Authority(), Path: e.Path,
		Header: e.requestHeader(), RawQuery: e.RawQuery, Length: e.r.ContentLength, Now: e.start,
	}
	if values := e.r.Header["Authorization"]; len(values) == 1 {
		e.stripped.AgentsAuthorization = values[0]
	}
	e.foreign += e.service.slots.Strip(&e.stripped)
	taken := 0
	if p := e.service.chooser; p != "" {
		taken = e.service.subs.TakeOut(&e.stripped, p)
		e.foreign += taken
	}
	if taken > 0 || e.connectionTakes() {
		if f := e.decideStripped(); f != nil {
			return f
		}
	}
	e.trailer = e.requestTrailer()
	e.upgrade = e.asksUpgrade()
	if where := e.tokenStands(); where != "" {
		return tokenFault(where)
	}
	if f := e.placeholderStands(); f != nil {
		return f
	}
	if f := e.speaksOfAnother(); f != nil {
		return f
	}
	if f := e.readForSubstitutions(); f != nil {
		return f
	}
	if f := e.readForInjector(); f != nil {
		return f
	}
	return e.keepForReplay()
}

// readForInjector reads the body for an injector that needs it.
func (e *exchange) readForInjector() (f *Fault) {
	if in, ok := e.service.injector.(inject.BodyReader); ok {
		if limit := in.BodyLimit(&e.stripped); limit > 0 {
			e.stripped.Body, f = e.wholeBody(limit)
		}
	}
	return f
}

// tokenStands says where in the stripped request a token stands, or "".
func (e *exchange) tokenStands() string {
	if holdsToken(e.stripped.RawQuery) {
		return "the query"
	}
	where := ""
	for name, values := range e.stripped.Header {
		if nameHoldsToken(name) {
			return "the name of a header field"
		}
		for _, v := range values {
			if holdsToken(v) || basicHoldsToken(v) {
				if place := "the header field " + clip(name, 64); where == "" || place < where {
					where = place // the same of two, whichever comes first
				}
			}
		}
	}
	for name := range e.trailer {
		if nameHoldsToken(name) {
			return "the name of a trailer"
		}
	}
	return where
}

// basicHoldsToken looks into the user name and password of RFC 7617, whichever
// header field they stand in.
func basicHoldsToken(value string) bool {
	const scheme = "basic "
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return false
	}
	encoded := strings.Map(func(c rune) rune { // of either alphabet
		switch c {
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return c
	}, strings.TrimRight(strings.TrimSpace(value[len(scheme):]), "="))
	plain, _ := base64.RawStdEncoding.DecodeString(encoded) // as far as it can be read
	return holdsToken(string(plain))
}

func tokenFault(where string) *Fault {
	return badRequest(where + " holds a token of the vault, which goes nowhere else; send it in the field that the vault reads")
}

func badRequest(message string) *Fault {
	f := NewFault(CodeBadRequest)
	f.Message = message
	return f
}
