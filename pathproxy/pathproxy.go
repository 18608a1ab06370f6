// Package pathproxy answers one question about a request to
// {ADDR}/proxy/{target_host}/{path}: who asks for what target, with which very
// bytes?
//
// It reads the request target as it stood on the wire, never a cleaned or
// decoded path, so that %2F, //, ; and + reach the upstream as they were sent.
// It decides nothing and answers no redirect: what it found goes to the broker.
package pathproxy

import (
	"net/http"
	"strings"

	"agentvault/broker"
)

// prefix is where this entrance begins on the API's listener.
const prefix = "/proxy"

// Options say what the entrance hands its requests to.
type Options struct {
	// Broker is required.
	Broker *broker.Broker
}

// Serves reports whether a request belongs to this entrance. The listener asks
// before any http.ServeMux sees the request: a mux would clean the path and
// answer a redirect of its own.
func Serves(r *http.Request) bool { return ServesTarget(r.RequestURI) }

// ServesTarget is Serves for a request target.
func ServesTarget(target string) bool {
	path, _, _, ok := broker.RawTarget(target)
	return ok && isOurs(path)
}

func isOurs(path string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// New returns the entrance's handler.
func New(o Options) http.Handler { return &handler{broker: o.Broker} }

type handler struct{ broker *broker.Broker }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, f := parse(r)
	if f != nil {
		h.broker.Refuse(w, broker.Path, f)
		return
	}
	delete(r.Header, "Host") // HTTP/2 may carry one beside :authority
	h.broker.Serve(w, r, x)
}

// parse takes identity and pinned target from a request. The fault is
// bad_request; a missing token is left to the broker, which admits nobody
// without one.
func parse(r *http.Request) (broker.Request, *broker.Fault) {
	host, path, query, hasQuery, ok := Split(r.RequestURI)
	if !ok {
		f := broker.NewFault(broker.CodeBadRequest)
		f.Message = "the request names no target host: use /proxy/{target_host}/{path}"
		return broker.Request{}, f
	}
	target, f := broker.Pin("https", host)
	if f != nil {
		return broker.Request{}, f
	}
	return broker.Request{
		Entrance: broker.Path,
		Identity: identify(r.Header),
		Target:   target,
		Path:     path,
		RawQuery: query,
		HasQuery: hasQuery,
	}, nil
}

// identify reads who presents itself. Whoever does not is nobody, whom the broker
// answers with 401.
func identify(h http.Header) broker.Identity {
	values := h["Authorization"]
	token := bearer(values)
	if token == "" {
		token = signer(values)
	}
	if token != "" || len(values) == 0 {
		return broker.Identify(token, h.Get("X-Vault"))
	}
	return broker.Unreadable()
}

// Split takes a request target of this entrance apart, without decoding or
// changing a byte: host and path for the upstream (the path begins with "/"),
// the query without its "?", and whether there was one. It reports false when
// the target is not this entrance's or names no host.
//
// Origin form is the usual one; absolute form is understood, for clients that
// believe to be talking to a proxy.
func Split(requestURI string) (host, path, query string, hasQuery, ok bool) {
	raw, query, hasQuery, ok := broker.RawTarget(requestURI)
	if !ok || !isOurs(raw) {
		return "", "", "", false, false
	}
	rest := strings.TrimPrefix(raw[len(prefix):], "/")
	host, _, _ = strings.Cut(rest, "/")
	if host == "" {
		return "", "", "", false, false
	}
	if path = rest[len(host):]; path == "" {
		path = "/"
	}
	return host, path, query, hasQuery, true
}

// bearer returns the token of an Authorization header, "" if there is none or
// more than one: two readers could pick different ones. The scheme's case does
// not matter (RFC 9110 §11.1).
func bearer(values []string) string {
	if len(values) != 1 {
		return ""
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// signer returns the id of the key that a request is signed with as AWS's clients
// sign, "" if there is none or more than one: they send no other Authorization, so
// agents give them the token for an id. The signature is of no worth.
func signer(values []string) string {
	if len(values) != 1 || !strings.HasPrefix(values[0], "AWS4-") {
		return ""
	}
	_, credential, _ := strings.Cut(values[0], " Credential=")
	id, _, ok := strings.Cut(credential, "/")
	if !ok {
		return ""
	}
	return id
}
