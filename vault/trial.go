package vault

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// ReasonUnsendable is a Verdict's Reason where policy lets a request out that cannot
// be sent as it is.
const ReasonUnsendable = "unsendable"

// A trial is a request that policy lets out, on the way that the broker takes with
// it, without values.
type trial struct {
	request      inject.Request
	body         []byte // nil: it is not known
	placeholders []string
	chooser      string // that of the service
	opened       []string
}

// trial makes a request of a question.
func (r *Registry) trial(v Vault, s Service, asked PolicyQuestion, q policy.Query, t policy.Target, query string) *trial {
	dummyOf := func(key string) string { return r.dummyOf(v, key) }
	out := &trial{body: asked.Body, chooser: s.Chooser(dummyOf), request: inject.Request{
		Method: q.Method, Scheme: t.Scheme, Host: t.Authority(), Path: q.Path, RawQuery: query,
		Header: maps.Clone(asked.Header), Length: int64(len(asked.Body)), Now: r.now(),
	}}
	if values := asked.Header["Authorization"]; len(values) == 1 {
		out.request.AgentsAuthorization = values[0]
	}
	for _, other := range v.Services {
		if p := other.Chooser(dummyOf); p != "" {
			out.placeholders = append(out.placeholders, p)
		}
		for _, x := range inject.Placeholders(other.Substitutions, dummyOf).All() {
			out.placeholders = append(out.placeholders, x.Placeholder)
		}
	}
	return out
}

// run returns the code with which the broker refuses the request, and why; "" where
// it sends it. Placeholders are found as they stand, percent-encoded and in Basic; the
// broker knows more spellings.
func (t *trial) run(in inject.Injector, subs *inject.Substitutions) (fault, why string) {
	r := &t.request
	in.Slots().Strip(r)
	if t.chooser != "" {
		subs.TakeOut(r, t.chooser)
	}
	kind := inject.BodyOther
	if t.body != nil && subs.In(inject.SurfaceBody) {
		if kind = inject.KindOfBody(r.Header); kind == inject.BodyRefused && len(t.body) > 0 {
			return "body_unreadable", "placeholders in its body cannot be replaced: it is coded, of several parts, or in another charset than UTF-8"
		}
		if kind != inject.BodyOther && len(t.body) > inject.MaxSubstituted {
			return "request_too_large", "the service replaces placeholders in its body, which is longer than 1 MiB"
		}
	}
	r.Body = t.body
	err := subs.Replace(r, kind, func(key string) (seal.Plaintext, error) {
		t.opened = append(t.opened, key)
		return seal.NewPlaintext([]byte("x")), nil
	})
	var place *inject.PlaceError
	switch {
	case errors.As(err, &place):
		return "placeholder_misplaced", "half an escape in the " + place.Where + " holds a placeholder"
	case err != nil:
		return "request_too_large", err.Error()
	}
	if where := t.stands(); where == "the body" && kind == inject.BodyJSON && !inject.IsJSON(t.body) {
		return "body_unreadable", "its body has a placeholder, and is not the JSON that its Content-Type says"
	} else if where != "" {
		return "placeholder_misplaced", where + " holds a placeholder of the vault, which is not replaced there"
	}
	if refuser, ok := in.(inject.Refuser); ok {
		if err := refuser.Refuses(r); err != nil {
			return "bad_request", err.Error()
		}
	}
	return "", ""
}

// stands says where a placeholder is left, or "".
func (t *trial) stands() string {
	switch {
	case t.holds(t.request.Path):
		return "the path"
	case t.holds(t.request.RawQuery):
		return "the query"
	}
	for _, name := range slices.Sorted(maps.Keys(t.request.Header)) {
		if t.holds(name) {
			return "the name of a header field"
		}
		for _, value := range t.request.Header[name] {
			if t.holds(value) || t.holds(inject.BasicPair(value)) {
				return "the header field " + shorten(name)
			}
		}
	}
	if t.holds(string(t.request.Body)) {
		return "the body"
	}
	return ""
}

func (t *trial) holds(text string) bool {
	plain, err := url.PathUnescape(text)
	return slices.ContainsFunc(t.placeholders, func(p string) bool {
		return strings.Contains(text, p) || err == nil && strings.Contains(plain, p)
	})
}
