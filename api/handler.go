package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"agentvault/vault"
)

// ErrorHeader marks every answer that the vault itself refuses with.
const ErrorHeader = "X-Agent-Vault-Proxy-Error"

// none is the In of routes that read nothing.
type none struct{}

// A call is a request that has been read: who sends it, what it says.
type call[In any] struct {
	caller vault.Caller // the zero Caller where the route asks for none
	token  string
	client string // what sends it, by its own words
	in     In
}

// wrap is the one way from a request to a command and back.
func wrap[In, Out any](s *server, rt route, f func(context.Context, call[In]) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := carryOut(s, rt, w, r, f)
		if err != nil {
			s.writeError(w, r, err)
			return
		}
		writeJSON(w, rt.status, out)
	})
}

// carryOut authenticates, reads and carries out, in this order: without a token
// nobody makes the server read a body.
func carryOut[In, Out any](s *server, rt route, w http.ResponseWriter, r *http.Request, f func(context.Context, call[In]) (Out, error)) (out Out, err error) {
	c := call[In]{token: bearer(r.Header), client: r.UserAgent()}
	if rt.owned {
		if err := s.mustBeOwned(r.Context()); err != nil {
			return out, err
		}
	}
	if rt.access != public && rt.access != lease {
		leave, err := s.enterAgent(c.token)
		if err != nil {
			return out, err
		}
		defer leave()
		if c.caller, err = s.Registry.Authenticate(r.Context(), c.token); err != nil {
			return out, err
		}
	}
	if err := rt.read(w, r, reflect.ValueOf(&c.in).Elem()); err != nil {
		return out, err
	}
	if !rt.slowed {
		return f(r.Context(), c)
	}
	guesser, err := s.guesser(rt, r, c.token)
	if err != nil {
		return out, err
	}
	if out, err = f(r.Context(), c); guessed(err) {
		guesser.Allow()
	}
	return out, err
}

// read fills in what the route reads of a request.
func (rt route) read(w http.ResponseWriter, r *http.Request, in reflect.Value) error {
	if err := rt.shape.readParams(r, in, rt.access == person); err != nil || rt.shape.reads == nil {
		return err
	}
	body, err := readBody(w, r, rt.maxBody)
	if err != nil {
		return err
	}
	return decode(body, in.FieldByIndex(rt.shape.body).Addr().Interface())
}

func (s *server) mustBeOwned(ctx context.Context) error {
	initialized, err := s.Registry.Initialized(ctx)
	if err == nil && !initialized {
		err = &vault.Error{Code: vault.CodeNotInitialized, Message: "this instance has no owner yet: agent-vault auth register makes one"}
	}
	return err
}

// bearer returns the token of an Authorization header (RFC 6750 §2.1). The
// scheme's letter case does not matter.
func bearer(h http.Header) string {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// writeError is the one place that turns an error into an answer. What is not
// a *vault.Error is logged and answered as a failure of ours.
func (s *server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var e *vault.Error
	if !errors.As(err, &e) {
		e = &vault.Error{Code: codeInternal, Message: "the server failed on this request; its log has the request id", Err: err}
		if errors.Is(err, context.Canceled) {
			return // nobody is there to read
		}
	}
	id := rand.Text()[:16]
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	if e.Err != nil {
		s.Log.Warn("request refused", "request", id, "route", r.Pattern, "code", e.Code, "err", e.Err)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.FormatInt(retryAfter(err), 10))
	}
	w.Header().Set(ErrorHeader, "true")
	writeJSON(w, status, errorBody{Error: e.Code, Message: e.Message, RequestID: id})
}

// retryAfter is when to come back, in whole seconds: what the error says by a
// method RetryAfter, or else 5.
func retryAfter(err error) int64 {
	var e interface{ RetryAfter() time.Duration }
	if !errors.As(err, &e) || e.RetryAfter() <= 0 {
		return 5
	}
	return max(1, int64((e.RetryAfter()+time.Second-1)/time.Second))
}

// errorBody is the body of every refusal.
type errorBody struct {
	Error     string `json:"error" doc:"A stable code."`
	Message   string `json:"message" doc:"A sentence for whoever sent the request."`
	RequestID string `json:"request_id" doc:"Names the request in the server's log."`
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal_error","message":"the answer could not be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that went away is no concern of ours
}

// withJSONErrors turns the mux's own 404 and 405 into JSON.
func withJSONErrors(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &statusOnly{header: make(http.Header)}
		mux.ServeHTTP(probe, r)
		code, message := vault.CodeNotFound, "there is no such route"
		if probe.status == http.StatusMethodNotAllowed {
			code, message = codeMethodNotAllowed, "this route does not take the method "+r.Method
			w.Header().Set("Allow", probe.header.Get("Allow"))
		}
		w.Header().Set(ErrorHeader, "true")
		writeJSON(w, statuses[code], errorBody{Error: code, Message: message, RequestID: rand.Text()[:16]})
	})
}

// statusOnly is a ResponseWriter that keeps the status and header.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
