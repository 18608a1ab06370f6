package inject

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"agentvault/vault/seal"
)

// hmacAuth signs a message that a template makes of the request, and sends the
// signature in header fields and query parameters that templates make of it.
type hmacAuth struct {
	Algorithm string            `json:"algorithm"` // sha256, sha512 or sha1
	Key       string            `json:"key"`
	Encoding  string            `json:"encoding"` // of the key's value: utf8 (default), base64 or hex
	Message   string            `json:"message"`
	Headers   map[string]string `json:"headers"`
	Query     map[string]string `json:"query"` // those without a signature are signed with the rest of the query

	message phrase
	fields  []namedPhrase // of Headers
	first   []namedPhrase // of Query, without a signature
	last    []namedPhrase // of Query, with one
}

const (
	maxSignedBody = 1 << 20 // bytes, where the message has the body in it
	maxPhrase     = 1024    // bytes of a template
	maxHMACFields = 16      // header fields, and likewise parameters
)

var hmacHashes = map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New, "sha1": sha1.New}

var _ = register("hmac", func(h hmacAuth) (Injector, error) {
	if hmacHashes[h.Algorithm] == nil {
		return nil, fieldErrorf("algorithm", "it is sha256, sha512 or sha1")
	}
	if err := checkKey("key", h.Key); err != nil {
		return nil, err
	}
	switch h.Encoding {
	case "":
		h.Encoding = "utf8"
	case "utf8", "base64", "hex":
	default:
		return nil, fieldErrorf("encoding", "it is utf8, base64 or hex")
	}
	if h.Message == "" {
		return nil, fieldErrorf("message", "it is missing; it says what is signed, as in \"{{ timestamp }}{{ method }}{{ path_query }}{{ body }}\"")
	}
	var err error
	if h.message, err = parsePhrase("message", "it", h.Message); err != nil {
		return nil, err
	}
	if h.message.signature() {
		return nil, fieldErrorf("message", "the signature cannot be signed")
	}
	if err := h.parseFields(); err != nil {
		return nil, err
	}
	signs := func(n namedPhrase) bool { return n.signature() }
	if len(h.last) == 0 && !slices.ContainsFunc(h.fields, signs) {
		return nil, fieldErrorf("headers", "none of them, and no parameter of query, has {{ signature_hex }}, {{ signature_base64 }} or {{ signature_base64url }}")
	}
	return h, nil
})

func (h *hmacAuth) parseFields() error {
	if len(h.Headers) > maxHMACFields || len(h.Query) > maxHMACFields {
		return fieldErrorf("headers", "there are at most %d of them, and of parameters of query", maxHMACFields)
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		if err := headerName("headers", name); err != nil {
			return err
		}
		p, err := parsePhrase("headers", canonical(name), h.Headers[name])
		switch {
		case err != nil:
			return err
		case !httpguts.ValidHeaderFieldValue(p.text()):
			return fieldErrorf("headers", "the text of %s cannot stand in a header", canonical(name))
		case slices.ContainsFunc(h.fields, func(f namedPhrase) bool { return sameField(f.name, name) }):
			return fieldErrorf("headers", "%s stands there twice", canonical(name))
		}
		h.fields = append(h.fields, namedPhrase{canonical(name), p})
	}
	for _, name := range slices.Sorted(maps.Keys(h.Query)) {
		if err := parameterName("query", name); err != nil {
			return err
		}
		p, err := parsePhrase("query", name, h.Query[name])
		if err != nil {
			return err
		}
		if twice := func(q namedPhrase) bool { return SameParameter(q.name, name) }; slices.ContainsFunc(h.first, twice) || slices.ContainsFunc(h.last, twice) {
			return fieldErrorf("query", "%s stands there twice", name)
		}
		if p.signature() {
			h.last = append(h.last, namedPhrase{name, p})
		} else {
			h.first = append(h.first, namedPhrase{name, p})
		}
	}
	return nil
}

func (h hmacAuth) Type() string { return "hmac" }

func (h hmacAuth) Keys() []string {
	keys := []string{h.Key}
	phrases := []phrase{h.message}
	for _, n := range slices.Concat(h.fields, h.first, h.last) {
		phrases = append(phrases, n.phrase)
	}
	for _, p := range phrases {
		for _, piece := range p {
			if ValidKey(piece.variable) && !slices.Contains(keys, piece.variable) {
				keys = append(keys, piece.variable)
			}
		}
	}
	return keys
}

func (h hmacAuth) Slots() Slots {
	names := make([]string, len(h.fields))
	for i, f := range h.fields {
		names[i] = f.name
	}
	s := headerSlots(names...)
	for _, q := range slices.Concat(h.first, h.last) {
		s.Query = append(s.Query, q.name)
	}
	return s
}

// BodyLimit asks for the body where a template has it.
func (h hmacAuth) BodyLimit(*Request) int {
	uses := func(n namedPhrase) bool { return n.body() }
	if h.message.body() || slices.ContainsFunc(slices.Concat(h.fields, h.first, h.last), uses) {
		return maxSignedBody
	}
	return 0
}

func (h hmacAuth) Inject(r *Request, open func(string) (seal.Plaintext, error)) error {
	s := signing{r: r, open: open, query: r.RawQuery}
	for _, q := range h.first {
		value, err := s.spell(q.phrase)
		if err != nil {
			return err
		}
		s.query = addParameter(s.query, q.name, value)
	}
	if err := h.sign(&s); err != nil {
		return err
	}
	fields := make([]string, len(h.fields)) // nothing is set unless all of it can be
	for i, f := range h.fields {
		value, err := s.spell(f.phrase)
		if err != nil {
			return err
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return &ValueError{f.key(h.Key)}
		}
		fields[i] = value
	}
	query := s.query
	for _, q := range h.last {
		value, err := s.spell(q.phrase)
		if err != nil {
			return err
		}
		query = addParameter(query, q.name, value)
	}
	r.RawQuery = query
	for i, f := range h.fields {
		r.set(f.name, fields[i])
	}
	return nil
}

func (h hmacAuth) sign(s *signing) error {
	value, err := s.open(h.Key)
	if err != nil {
		return err
	}
	key, err := h.decode(value.Bytes())
	if err != nil {
		return err
	}
	mac := hmac.New(hmacHashes[h.Algorithm], key)
	if err := s.write(mac, h.message); err != nil {
		return err
	}
	s.signature = mac.Sum(nil)
	return nil
}

// decode reads the key's value. Base64 may be of either alphabet, with or without
// padding.
func (h hmacAuth) decode(value []byte) (key []byte, err error) {
	switch h.Encoding {
	case "base64":
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(string(value), "="))
		key, err = base64.RawStdEncoding.DecodeString(plain)
	case "hex":
		key, err = hex.DecodeString(string(value))
	default:
		key = value
	}
	if err != nil || len(key) == 0 {
		return nil, &UnfitError{h.Key, "is not " + h.Encoding}
	}
	return key, nil
}

// A namedPhrase is a header field or a parameter.
type namedPhrase struct {
	name string
	phrase
}

// key is the credential in the phrase, or the other where it has none.
func (n namedPhrase) key(other string) string {
	for _, piece := range n.phrase {
		if ValidKey(piece.variable) {
			return piece.variable
		}
	}
	return other
}
