package inject

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"

	"agentvault/policy/media"
	"agentvault/vault/seal"
)

// Bounds of surfaces, in bytes, before and after placeholders were replaced.
const (
	MaxSubstituted = 1 << 20 // of a body, or a WebSocket message
	maxReplaced    = 16 << 10
)

// Replace replaces the placeholders in path, query, header and body of a request.
// Credentials are opened only where their placeholder stands. The error is that of
// open, a *ValueError, a *PlaceError or ErrTooLong; the request is of no use then.
func (s *Substitutions) Replace(r *Request, kind BodyKind, open Opener) (err error) {
	if s == nil {
		return nil
	}
	if r.Path, err = s.path(r.Path, open); err != nil {
		return err
	}
	if r.RawQuery, err = s.replacer(SurfaceQuery, notation{percent, spellQuery, true}, open).replace(r.RawQuery); err != nil {
		return err
	}
	if s.InHeaders() {
		for name, values := range r.Header {
			replaced, err := s.header(name, values, open)
			if err != nil {
				return err
			}
			r.Header[name] = replaced
		}
	}
	if kind == BodyForm || kind == BodyJSON {
		r.Body, err = s.body(kind, r.Body, open)
	}
	return err
}

// path replaces in the path. A value must stand there as it is, within its
// segment.
func (s *Substitutions) path(path string, open Opener) (string, error) {
	var last string // key of the credential that was put in
	r := s.replacer(SurfacePath, notation{percent, spellPath, true}, func(key string) (seal.Plaintext, error) {
		last = key
		return open(key)
	})
	out, err := r.replace(path)
	if err != nil || out == path {
		return out, err
	}
	before := strings.Split(path, "/") // as many: no value holds a slash
	for i, segment := range strings.Split(out, "/") {
		plain, _ := url.PathUnescape(segment)
		if segment != before[i] && (plain == "." || plain == "..") {
			return "", &ValueError{last}
		}
	}
	return out, nil
}

// header replaces in the values of one field, and in the user name and password of
// Basic (RFC 7617).
func (s *Substitutions) header(name string, values []string, open Opener) ([]string, error) {
	surface := SurfaceHeader(name)
	if !s.In(surface) {
		return values, nil
	}
	out := make([]string, len(values)) // the agent's own are not ours to change
	for i, v := range values {
		var err error
		if pair, ok := basicPair(v); ok {
			out[i], err = s.pair(surface, v, pair, open)
		} else {
			out[i], err = s.replacer(surface, notation{literal, spellHeader, false}, open).replace(v)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

const basicScheme = "basic "

// basicPair returns what stands in base64 behind "Basic ".
func basicPair(value string) (pair string, ok bool) {
	if len(value) < len(basicScheme) || !strings.EqualFold(value[:len(basicScheme)], basicScheme) {
		return "", false
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value[len(basicScheme):]))
	return string(b), err == nil
}

// BasicPair is what stands in base64 behind "Basic " in the value of a header field;
// "" where nothing does.
func BasicPair(value string) string {
	pair, _ := basicPair(value) // as far as it can be read
	return pair
}

// pair replaces in user name and password. RFC 7617 §2: a colon in the user name
// would move the border.
func (s *Substitutions) pair(surface, value, pair string, open Opener) (string, error) {
	user, password, two := strings.Cut(pair, ":")
	newUser, err := s.replacer(surface, notation{literal, spellUser, false}, open).replace(user)
	if err != nil {
		return "", err
	}
	newPassword, err := s.replacer(surface, notation{literal, spellHeader, false}, open).replace(password)
	if err != nil || newUser == user && newPassword == password {
		return value, err
	}
	if two {
		newUser += ":" + newPassword
	}
	return value[:len(basicScheme)] + base64.StdEncoding.EncodeToString([]byte(newUser)), nil
}

// A BodyKind says how placeholders in a body are read.
type BodyKind uint8

const (
	BodyOther   BodyKind = iota // nothing is replaced in it
	BodyForm                    // application/x-www-form-urlencoded
	BodyJSON                    // one text of JSON, or several behind one another
	BodyRefused                 // coded, of several parts, in an odd charset: it cannot be read for placeholders
)

// KindOfBody reads what a request's header says of its body.
func KindOfBody(h map[string][]string) BodyKind {
	said := media.Of(h)
	switch {
	case said.Coded, said.Kind == media.Unclear, said.Kind == media.Multipart:
		return BodyRefused
	case said.Kind == media.Form:
		return BodyForm
	case said.Kind != media.JSON && said.Kind != media.Lines:
		return BodyOther
	case said.Charset:
		return BodyRefused
	}
	return BodyJSON
}

// body replaces in a body. One that is not what its type says is left as it is,
// for its reader would not find the placeholders either.
func (s *Substitutions) body(kind BodyKind, body []byte, open Opener) ([]byte, error) {
	r := s.replacer(SurfaceBody, notation{percent, spellQuery, true}, open)
	if kind == BodyJSON {
		if !IsJSON(body) {
			return body, nil
		}
		r.notation = notation{escaped, spellJSON, false}
	}
	r.most = MaxSubstituted
	return r.replaceBytes(body)
}

// Message replaces in a text message of a WebSocket: in JSON inside of strings,
// else as it stands.
func (s *Substitutions) Message(text []byte, open Opener) ([]byte, error) {
	r := s.replacer(SurfaceWebSocket, notation{literal, spellText, false}, open)
	if IsJSON(text) {
		r.notation = notation{escaped, spellJSON, false}
	}
	r.most = MaxSubstituted
	return r.replaceBytes(text)
}

// IsJSON reports whether a text is JSON, once or more often.
func IsJSON(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}
