package mitm

import (
	"net/http"
	"strings"

	"agentvault/broker"
)

// serveInner serves one request inside a tunnel. Three names must agree: the
// CONNECT's authority, which the certificate was for, what the request target
// says, and Host or :authority. Whatever differs is refused, so that a decision
// for one host can never send a request to another (SECURITY.md R2).
func (p *Proxy) serveInner(w http.ResponseWriter, r *http.Request) {
	t, ok := r.Context().Value(tunnelKey{}).(*tunnel)
	if !ok {
		p.broker.Refuse(w, broker.MITM, broker.NewFault(broker.CodeInternal))
		return
	}
	t.used.Store(true)
	path, query, hasQuery, f := innerTarget(t.target, r)
	if f != nil {
		p.broker.Refuse(w, broker.MITM, f)
		return
	}
	r.Header.Del("Host") // HTTP/2 may carry one beside :authority; it agreed
	p.broker.Serve(w, r, broker.Request{
		Entrance: broker.MITM, Identity: t.identity, Target: t.target,
		Path: path, RawQuery: query, HasQuery: hasQuery,
	})
}

// innerTarget returns the request target's raw parts once every name in the
// request is the tunnel's target.
func innerTarget(target broker.Target, r *http.Request) (path, query string, hasQuery bool, f *broker.Fault) {
	if r.Method == http.MethodConnect {
		return "", "", false, badRequest("a tunnel inside a tunnel is not opened")
	}
	path, query, hasQuery, ok := broker.RawTarget(r.RequestURI)
	if !ok || path == "*" && r.Method != http.MethodOptions {
		return "", "", false, badRequest("the request target cannot be understood")
	}
	if !strings.HasPrefix(r.RequestURI, "/") && path != "*" {
		scheme, authority, ok := absoluteForm(r.RequestURI)
		if !ok || scheme != "https" || !names(target, authority) {
			return "", "", false, broker.NewFault(broker.CodeMisdirected)
		}
	}
	// An HTTP/1.0 request may name no host: then it means the tunnel's.
	if r.Host != "" && !names(target, r.Host) {
		return "", "", false, broker.NewFault(broker.CodeMisdirected)
	}
	for _, host := range r.Header["Host"] {
		if !names(target, host) {
			return "", "", false, broker.NewFault(broker.CodeMisdirected)
		}
	}
	return path, query, hasQuery, nil
}

// names reports whether an authority, however spelled, is the target.
func names(target broker.Target, authority string) bool {
	if authority == target.Authority() {
		return true // the usual case, without parsing
	}
	other, f := broker.Pin("https", authority)
	return f == nil && other == target
}
