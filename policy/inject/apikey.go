package inject

import (
	"strings"

	"golang.org/x/net/http/httpguts"

	"agentvault/vault/seal"
)

// apiKey sends a key in a header field of its own, or in Authorization, behind
// an optional literal prefix such as "Token ".
type apiKey struct {
	Key    string `json:"key"`
	Header string `json:"header"` // default Authorization
	Prefix string `json:"prefix"`
}

var _ = register("api-key", func(a apiKey) (Injector, error) {
	if err := checkKey("key", a.Key); err != nil {
		return nil, err
	}
	if a.Header == "" {
		a.Header = authorization
	}
	if err := headerName("header", a.Header); err != nil {
		return nil, err
	}
	if !httpguts.ValidHeaderFieldValue(a.Prefix) || len(a.Prefix) > 64 || strings.Contains(a.Prefix, "{{") {
		return nil, fieldErrorf("prefix", "it is short literal text, as in \"Token \"")
	}
	a.Header = canonical(a.Header)
	return a, nil
})

func (a apiKey) Type() string   { return "api-key" }
func (a apiKey) Keys() []string { return []string{a.Key} }
func (a apiKey) Slots() Slots   { return headerSlots(a.Header) }

func (a apiKey) Inject(r *Request, open func(string) (seal.Plaintext, error)) error {
	key, err := open(a.Key)
	if err != nil {
		return err
	}
	return setHeader(r, a.Header, a.Prefix+string(key.Bytes()), a.Key)
}
