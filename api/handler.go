package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"agentvault/vault"
)

// Bounds of a request's body, in bytes.
const (
	maxBody      = 1 << 20
	maxApplyBody = 16 << 20
)

// bodyTime is how long a body may take to arrive.
const bodyTime = 30 * time.Second

// ErrorHeader marks every answer that the vault itself refuses with.
const ErrorHeader = "X-Agent-Vault-Proxy-Error"

// none is the body of requests that have none.
type none struct{}

// A call is a request that has been read: who sends it, what it says.
type call[In any] struct {
	caller vault.Caller // the zero Caller on public routes
	token  string
	in     In
	r      *http.Request
}

// vault is what X-Vault says.
func (c call[In]) vault() string { return c.r.Header.Get("X-Vault") }

// A created answer has status 201.
type created interface{ isCreated() }

// public wraps a command that needs no token.
func public[In, Out any](s *server, f func(context.Context, call[In]) (Out, error)) http.Handler {
	return wrap(s, f, false)
}

// signedIn wraps a command that needs one.
func signedIn[In, Out any](s *server, f func(context.Context, call[In]) (Out, error)) http.Handler {
	return wrap(s, f, true)
}

// wrap is the one way from a request to a command and back.
func wrap[In, Out any](s *server, f func(context.Context, call[In]) (Out, error), auth bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call[In]{r: r, token: bearer(r.Header)}
		out, err := carryOut(s, w, c, f, auth)
		if err != nil {
			s.writeError(w, r, err)
			return
		}
		status := http.StatusOK
		if _, ok := any(out).(created); ok {
			status = http.StatusCreated
		}
		writeJSON(w, status, out)
	})
}

// carryOut authenticates, reads and carries out, in this order: without a token
// nobody makes the server read a body.
func carryOut[In, Out any](s *server, w http.ResponseWriter, c call[In], f func(context.Context, call[In]) (Out, error), auth bool) (out Out, err error) {
	if auth {
		if c.caller, err = s.authenticate(c.r.Context(), c.token); err != nil {
			return out, err
		}
	}
	if err := s.read(w, c.r, &c.in); err != nil {
		return out, err
	}
	return f(c.r.Context(), c)
}

func (s *server) authenticate(ctx context.Context, token string) (vault.Caller, error) {
	if initialized, err := s.Registry.Initialized(ctx); err != nil {
		return vault.Caller{}, err
	} else if !initialized {
		return vault.Caller{}, &vault.Error{Code: vault.CodeNotInitialized, Message: "this instance has no owner yet; run: agent-vault auth register"}
	}
	return s.Registry.Authenticate(ctx, token)
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

// read decodes a body strictly: JSON, no unknown fields, nothing behind it.
func (s *server) read(w http.ResponseWriter, r *http.Request, in any) error {
	if _, ok := in.(*none); ok {
		return nil
	}
	// A page can have a browser send other types unasked, but no Authorization
	// header (Fetch §2.2.2); with one, the type that curl -d sends will do.
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if (err != nil || kind != "application/json") && r.Header.Get("Authorization") == "" {
		return &vault.Error{Code: vault.CodeBadRequest, Message: "the body must be JSON, with Content-Type: application/json"}
	}
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	if !utf8.Valid(body) { // encoding/json would put U+FFFD in a value's place
		return &vault.Error{Code: vault.CodeBadRequest, Message: "the body is not UTF-8"}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return &vault.Error{Code: vault.CodeBadRequest, Message: describeJSON(err)}
	}
	// Not d.More, which takes a stray } or ] for the end.
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &vault.Error{Code: vault.CodeBadRequest, Message: "the body holds more than one JSON value"}
	}
	return nil
}

// readBody reads the whole body, within bounds of length and time.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(maxBody)
	if r.URL.Path == "/v1/apply" {
		limit = maxApplyBody
	}
	// The deadline ends with the body: net/http goes on reading behind it to
	// notice a client that goes away. Writers without deadlines are tests'.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = conn.SetReadDeadline(time.Time{})
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return nil, &vault.Error{Code: codeTooLarge, Message: "the body is too long"}
	case err != nil:
		return nil, &vault.Error{Code: vault.CodeBadRequest, Message: "the body ended early", Err: err}
	}
	return body, nil
}

// describeJSON says in our words what encoding/json found. Values are not
// repeated: they may be credentials.
func describeJSON(err error) string {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return "the body must be an object, not a JSON " + wrong.Value
	case errors.As(err, &wrong):
		return "the field " + wrong.Field + " does not take a " + wrong.Value
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the body is not JSON"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// Codes that HTTP adds to those of package vault.
const (
	codeTooLarge         = "request_too_large"
	codeMethodNotAllowed = "method_not_allowed"
	codeInternal         = "internal_error"
)

var statuses = map[string]int{
	vault.CodeBadRequest: 400, vault.CodeVaultRequired: 400,
	vault.CodeUnauthorized: 401,
	vault.CodeForbidden:    403, vault.CodeVaultForbidden: 403,
	vault.CodeNotFound: 404, vault.CodeVaultNotFound: 404, vault.CodeCredentialNotFound: 404,
	codeMethodNotAllowed:     405,
	vault.CodeConflict:       409,
	codeTooLarge:             413,
	vault.CodeRateLimited:    429,
	codeInternal:             500,
	vault.CodeNotInitialized: 503, vault.CodeUnavailable: 503,
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
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set(ErrorHeader, "true")
	writeJSON(w, status, errorBody{Error: e.Code, Message: e.Message, RequestID: id})
}

type errorBody struct {
	Error     string `json:"error"`
	Message   string `json:"message"`
	RequestID string `json:"request_id"`
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
