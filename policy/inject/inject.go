// Package inject is the policy engine's hand: it puts credentials on a request
// that policy has allowed. Each kind of authentication is one file behind one
// interface, [Injector].
//
// A kind says which credential keys it needs, which slots of the request it
// occupies, and how to fill them. What the agent put into those slots itself
// is stripped first ([Slots.Strip]), so exactly one credential goes out.
// Credentials are asked for through a function and never kept.
//
// The zero [Auth] is no authentication and invalid; passthrough must be said.
package inject

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"agentvault/vault/seal"
)

// An Auth is the `auth:` of a service as it was declared: an object with a
// "type" and that kind's fields, which name credential keys, never values.
type Auth struct {
	kind string
	raw  json.RawMessage // canonical: compact, keys sorted
}

// Type returns the kind's name, "" for the zero Auth.
func (a Auth) Type() string { return a.kind }

// MarshalJSON returns the object.
func (a Auth) MarshalJSON() ([]byte, error) {
	if a.raw == nil {
		return []byte("null"), nil
	}
	return a.raw, nil
}

// UnmarshalJSON takes any object with a string "type"; [Parse] checks the rest.
func (a *Auth) UnmarshalJSON(b []byte) error {
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil || fields == nil {
		return errors.New("auth: it must be an object like {\"type\": \"bearer\", \"token\": \"API_KEY\"}")
	}
	kind, ok := fields["type"].(string)
	if !ok {
		return errors.New("auth: the field type is missing; it is one of " + strings.Join(Types(), ", "))
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	a.kind, a.raw = kind, raw
	return nil
}

// An Injector puts a service's credentials on a request. It is immutable and
// safe for use by many goroutines.
type Injector interface {
	// Type is the kind's name.
	Type() string
	// Keys are the credentials that Inject asks for, each once.
	Keys() []string
	// Slots are the places that it occupies.
	Slots() Slots
	// Inject fills the slots. An error of open is returned as it is; a value
	// that cannot stand in its place is a *ValueError, a request that the kind
	// cannot take a *RequestError.
	Inject(r *Request, open func(key string) (seal.Plaintext, error)) error
}

// A Request is what of a request an Injector sees, and what it may change:
// Header, RawQuery, Path and Body.
type Request struct {
	Method   string              // as it goes upstream
	Scheme   string              // "https" or "http"
	Host     string              // the authority that goes upstream in Host
	Path     string              // escaped, as it goes upstream
	Header   map[string][]string // an http.Header
	RawQuery string              // without "?"

	// AgentsAuthorization is what the agent sent in Authorization, "" if that was
	// not one value: for what it says of the request. It is never sent, and may
	// hold a token of the vault.
	AgentsAuthorization string

	// Body is the whole body, for a [BodyReader] that asked for it; nil otherwise.
	// Another one that stands there after Inject is sent instead.
	Body   []byte
	Length int64 // of the body as the agent sends it: -1 unknown, 0 none

	Now   time.Time
	Token seal.Plaintext // what a [Minter] minted

	// Wrap is set by Inject where the body changes on its way, by none of its
	// bytes in number. What it returns may fail with a *RequestError.
	Wrap func(io.Reader) io.Reader
}

// A BodyReader is an Injector that needs the whole body, such as one that signs
// it.
type BodyReader interface {
	Injector
	// BodyLimit is how long the body may be, in bytes; 0: it is not needed. It is
	// asked when the agent's own credentials are off the request.
	BodyLimit(r *Request) int
}

// A Refuser is an Injector that cannot take every request.
type Refuser interface {
	Injector
	// Refuses is why it cannot take a request: a *RequestError, or nil. It is asked
	// when the agent's own credentials are off the request, and Inject says the same.
	Refuses(r *Request) error
}

// A Minter is an Injector whose credential is a token that is obtained with
// stored ones, over the network, and is good for a while. Whoever calls Inject
// puts it into the Request.
type Minter interface {
	Injector
	// Endpoints are the URLs that stored credentials go to for tokens.
	Endpoints() []string
	// Mint obtains a token. It asks its Endpoints only.
	Mint(ctx context.Context, m Minting) (Token, error)
}

// Minting is what a Minter works with.
type Minting struct {
	Open func(key string) (seal.Plaintext, error)
	Do   func(*http.Request) (*http.Response, error) // to public addresses, over verified TLS, without redirects
	Now  time.Time
}

// A Token is what a Minter obtained.
type Token struct {
	Value   seal.Plaintext
	Expires time.Time                 // zero: it was not said
	Rotated map[string]seal.Plaintext // stored credentials that must be replaced by these
}

// set sets a header field; the name is canonical.
func (r *Request) set(name, value string) {
	if r.Header == nil {
		r.Header = make(map[string][]string)
	}
	r.Header[name] = []string{value}
}

// A ValueError says that a credential's value cannot stand where the service
// puts it, such as a line break in a header.
type ValueError struct{ Key string }

func (e *ValueError) Error() string {
	return "the value of credential " + e.Key + " holds bytes that cannot be sent there"
}

// A RequestError says that a kind cannot take a request as the agent sent it. Its
// text is for the agent: it repeats nothing of the request.
type RequestError struct{ Reason string }

func (e *RequestError) Error() string { return e.Reason }

// Parse checks an Auth and returns its Injector. The error names the field.
func Parse(a Auth) (Injector, error) {
	k, ok := kinds[a.kind]
	if a.raw == nil {
		return nil, errors.New("auth: it is missing; write {\"type\": \"passthrough\"} for a host that needs no credential")
	}
	if !ok {
		return nil, fmt.Errorf("auth: unknown type %q; it is one of %s", a.kind, strings.Join(Types(), ", "))
	}
	in, err := k(a.raw)
	if err != nil {
		return nil, fmt.Errorf("auth %s: %w", a.kind, err)
	}
	return in, nil
}

// Types returns the names of all kinds, sorted.
func Types() []string { return slices.Sorted(maps.Keys(kinds)) }

// kinds is filled while the package's variables are initialized, by each
// kind's own file, and never changes afterwards: so a new kind is one new file.
var kinds = make(map[string]func(raw json.RawMessage) (Injector, error))

// register adds a kind. F is the shape of its declaration; fields that F does
// not have, in exactly that spelling, are refused.
func register[F any](name string, parse func(F) (Injector, error)) bool {
	known := fieldsOf(reflect.TypeFor[F]())
	kinds[name] = func(raw json.RawMessage) (Injector, error) {
		if err := onlyKnown(raw, known); err != nil {
			return nil, err
		}
		var declared F
		if err := json.Unmarshal(raw, &declared); err != nil {
			return nil, fieldError(err)
		}
		return parse(declared)
	}
	return true
}

// fieldsOf lists the names by which a shape's fields are declared.
func fieldsOf(shape reflect.Type) []string {
	var names []string
	for f := range shape.Fields() {
		if tag := f.Tag.Get("json"); tag != "" {
			names = append(names, tag)
		}
	}
	return names
}

// onlyKnown refuses fields of another kind. encoding/json would take "Token"
// for "token", and of the two the last.
func onlyKnown(raw json.RawMessage, known []string) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return errors.New("it must be an object")
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch {
		case name == "type" || slices.Contains(known, name):
		case len(known) == 0:
			return fmt.Errorf("it has no field %q; it has none but type", name)
		default:
			return fmt.Errorf("it has no field %q; its fields are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// fieldError says in our words what encoding/json found.
func fieldError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fieldErrorf(wrong.Field, "it must be %s, not %s", TypeWords(wrong.Type), valueWords(wrong.Value))
	}
	return err
}

// TypeWords say what a field of a type takes, to people who write JSON or YAML.
func TypeWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return TypeWords(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint16:
		return "a whole number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.String {
			return "a list of strings"
		}
		return "a list"
	}
	return "an object"
}

// valueWords are for the values of an UnmarshalTypeError.
func valueWords(value string) string {
	switch word, _, _ := strings.Cut(value, " "); word {
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	default:
		return "a " + word
	}
}

var keyPattern = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// maxKey bounds a credential key, in bytes.
const maxKey = 128

// ValidKey reports whether s is a credential key.
func ValidKey(s string) bool { return len(s) <= maxKey && keyPattern.MatchString(s) }

// checkKey refuses what is not a credential key. Values are mistaken for keys
// sometimes, so the error does not repeat it.
func checkKey(field, key string) error {
	switch {
	case key == "":
		return fmt.Errorf("field %s is missing; it names a credential key, as in API_KEY", field)
	case !ValidKey(key):
		return fmt.Errorf("field %s must be the name of a credential in upper case, as in API_KEY; values never stand here", field)
	}
	return nil
}
