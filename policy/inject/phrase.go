package inject

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"agentvault/vault/seal"
)

// A phrase is a template of a kind that signs: text, and between "{{" and "}}"
// variables in lower case or credentials in upper case.
type phrase []piece

// A piece is text, and what stands behind it: a variable, a credential, or "".
type piece struct{ text, variable string }

// A signing is one request while it is signed.
type signing struct {
	r         *Request
	open      func(string) (seal.Plaintext, error)
	query     string // as it goes upstream, but for the signature
	signature []byte
	random    string // made when it is asked for first
}

// variables are what a phrase may have, besides credentials.
var variables = map[string]func(s *signing) string{
	"timestamp":           func(s *signing) string { return strconv.FormatInt(s.r.Now.Unix(), 10) },
	"timestamp_ms":        func(s *signing) string { return strconv.FormatInt(s.r.Now.UnixMilli(), 10) },
	"date_iso":            func(s *signing) string { return s.r.Now.UTC().Format("2006-01-02T15:04:05Z") },
	"date_iso_ms":         func(s *signing) string { return s.r.Now.UTC().Format("2006-01-02T15:04:05.000Z") },
	"date_http":           func(s *signing) string { return s.r.Now.UTC().Format(http.TimeFormat) },
	"method":              func(s *signing) string { return s.r.Method },
	"host":                func(s *signing) string { return s.r.Host },
	"path":                func(s *signing) string { return s.r.Path },
	"query":               func(s *signing) string { return s.query },
	"path_query":          (*signing).pathQuery,
	"body":                func(s *signing) string { return string(s.r.Body) },
	"body_sha256":         func(s *signing) string { return hex.EncodeToString(s.bodyDigest()) },
	"body_sha256_base64":  func(s *signing) string { return base64.StdEncoding.EncodeToString(s.bodyDigest()) },
	"nonce":               (*signing).nonce,
	"signature_hex":       func(s *signing) string { return hex.EncodeToString(s.signature) },
	"signature_base64":    func(s *signing) string { return base64.StdEncoding.EncodeToString(s.signature) },
	"signature_base64url": func(s *signing) string { return base64.RawURLEncoding.EncodeToString(s.signature) },
}

func (s *signing) pathQuery() string {
	if s.query == "" {
		return s.r.Path
	}
	return s.r.Path + "?" + s.query
}

func (s *signing) bodyDigest() []byte {
	sum := sha256.Sum256(s.r.Body)
	return sum[:]
}

// nonce is the same in all phrases of a request: 128 random bits.
func (s *signing) nonce() string {
	if s.random == "" {
		var random [16]byte
		_, _ = rand.Read(random[:]) // it never fails
		s.random = hex.EncodeToString(random[:])
	}
	return s.random
}

// parsePhrase reads a template; what names it in errors.
func parsePhrase(field, what, text string) (phrase, error) {
	var p phrase
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		name := text[m[2]:m[3]]
		if variables[name] == nil && !ValidKey(name) {
			return nil, fieldErrorf(field, "%s has a placeholder that is neither a credential in upper case nor one of %s", what, strings.Join(slices.Sorted(maps.Keys(variables)), ", "))
		}
		p = append(p, piece{text[at:m[0]], name})
		at = m[1]
	}
	switch {
	case len(text) > maxPhrase:
		return nil, fieldErrorf(field, "%s is longer than %d bytes", what, maxPhrase)
	case len(p) == 0:
		return nil, fieldErrorf(field, "%s has no placeholder, as in {{ signature_hex }}; values never stand here", what)
	}
	p = append(p, piece{text: text[at:]})
	if rest := p.text(); strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return nil, fieldErrorf(field, "%s has a placeholder that is not of the form {{ name }}", what)
	}
	return p, nil
}

// text is what is literal.
func (p phrase) text() string {
	var b strings.Builder
	for _, piece := range p {
		b.WriteString(piece.text)
	}
	return b.String()
}

func (p phrase) has(prefix string) bool {
	return slices.ContainsFunc(p, func(x piece) bool { return strings.HasPrefix(x.variable, prefix) })
}

func (p phrase) signature() bool { return p.has("signature_") }
func (p phrase) body() bool      { return p.has("body") }

// write writes a phrase with everything in it.
func (s *signing) write(w io.Writer, p phrase) error {
	for _, piece := range p {
		value := piece.text
		if variable := variables[piece.variable]; variable != nil {
			value += variable(s)
		} else if piece.variable != "" {
			credential, err := s.open(piece.variable)
			if err != nil {
				return err
			}
			value += string(credential.Bytes())
		}
		if _, err := io.WriteString(w, value); err != nil {
			return err
		}
	}
	return nil
}

func (s *signing) spell(p phrase) (string, error) {
	var b strings.Builder
	err := s.write(&b, p)
	return b.String(), err
}
