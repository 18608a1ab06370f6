package broker

import (
	"errors"
	"net/http"
	"strings"

	"agentvault/broker/scrub"
	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// knowPlaceholders compiles what agents may write instead of credentials, so that
// it is found where no service replaces it. A vault with the placeholders of before
// keeps its Set.
func (v *vaultView) knowPlaceholders(before *vaultView) {
	var all []string
	for i := range v.services {
		if text := v.services[i].chooser; text != "" {
			all = append(all, text)
		}
		for _, x := range v.services[i].subs.All() {
			all = append(all, x.Placeholder)
		}
	}
	v.written = strings.Join(all, " ")
	switch {
	case all == nil:
	case before != nil && before.written == v.written:
		v.placeholders = before.placeholders
	default:
		values := make([][]byte, len(all))
		for i, p := range all {
			values[i] = []byte(p)
		}
		v.placeholders = scrub.Compile(values)
	}
}

// dummies returns what finds the dummy of a vault's credentials.
func dummies(vaultKey seal.Key) func(key string) string {
	return func(key string) string { return vault.DummyOf(vaultKey, key) }
}

// misplaced is the fault of a placeholder where nothing replaces it.
func misplaced(where string) *Fault {
	f := NewFault(CodePlaceholder)
	f.Message = where + " holds a placeholder of the vault, which is not replaced there; /discover lists where each service replaces them"
	return f
}

// placeholderStands refuses a placeholder in the stripped request wherever the
// service does not replace it. The others are for substitute.
func (e *exchange) placeholderStands() *Fault {
	set, subs := e.vault.placeholders, e.service.subs
	if set == nil {
		return nil
	}
	if !subs.In(inject.SurfacePath) && holds(set, e.stripped.Path) {
		return misplaced("the path")
	}
	if !subs.In(inject.SurfaceQuery) && holds(set, e.stripped.RawQuery) {
		return misplaced("the query")
	}
	where := ""
	for name, values := range e.stripped.Header {
		if set.Name(name) {
			return misplaced("the name of a header field")
		}
		for _, v := range values {
			if holds(set, v) && !subs.In(inject.SurfaceHeader(name)) {
				if place := "the header field " + clip(name, 64); where == "" || place < where {
					where = place // the same of two, whichever comes first
				}
			}
		}
	}
	for name := range e.trailer {
		if set.Name(name) {
			return misplaced("the name of a trailer")
		}
	}
	if where != "" {
		return misplaced(where)
	}
	return nil
}

// errMisplaced ends what an agent streams, once a placeholder stood in it.
var errMisplaced = errors.New("a placeholder of the vault stands where it is not replaced")

// trailerFault is what is wrong with the value of a trailer, or nil.
func (e *exchange) trailerFault(value string) *Fault {
	switch {
	case holdsToken(value):
		return tokenFault("a trailer")
	case e.vault.placeholders != nil && holds(e.vault.placeholders, value):
		return misplaced("a trailer")
	}
	return nil
}

func holds(set *scrub.Set, text string) bool {
	_, places := set.Field(text)
	return places > 0
}

// readForSubstitutions reads the body where the service replaces placeholders in
// it. One in which they could not be found is refused: nothing is left out in
// silence.
func (e *exchange) readForSubstitutions() (f *Fault) {
	if !e.service.subs.In(inject.SurfaceBody) || e.r.Body == nil || e.r.Body == http.NoBody || e.r.ContentLength == 0 {
		return nil
	}
	switch e.bodyKind = inject.KindOfBody(e.stripped.Header); e.bodyKind {
	case inject.BodyRefused:
		return NewFault(CodeBodyUnreadable)
	case inject.BodyForm, inject.BodyJSON:
		_, f = e.wholeBody(inject.MaxSubstituted)
	}
	return f
}

// substitute puts credentials in the place of placeholders. One that is still
// there, in a spelling that is not read in its surface, is refused.
func (e *exchange) substitute(open inject.Opener) *Fault {
	req, set, subs := &e.stripped, e.vault.placeholders, e.service.subs
	if subs == nil {
		return nil
	}
	replaces := e.bodyKind == inject.BodyForm || e.bodyKind == inject.BodyJSON
	if replaces {
		req.Body = e.whole
	}
	if err := subs.Replace(req, e.bodyKind, open); err != nil {
		return injectFault(err)
	}
	switch {
	case holds(set, req.Path):
		return misplaced("the path")
	case holds(set, req.RawQuery):
		return misplaced("the query")
	case replaces && set.Holds(req.Body) && e.bodyKind == inject.BodyJSON && !inject.IsJSON(req.Body):
		f := NewFault(CodeBodyUnreadable)
		f.Message = "the body is not the JSON that its Content-Type says, so that a placeholder in it cannot be replaced"
		return f
	case replaces && set.Holds(req.Body):
		return misplaced("the body")
	}
	if subs.InHeaders() {
		for name, values := range req.Header {
			for _, v := range values {
				if holds(set, v) {
					return misplaced("the header field " + clip(name, 64))
				}
			}
		}
	}
	if replaces && !sameBytes(req.Body, e.whole) {
		for _, digest := range []string{"Content-Md5", "Content-Digest", "Repr-Digest", "Digest"} { // RFC 9530, and its forerunners: of what the agent wrote
			delete(req.Header, digest)
		}
		if req.Length >= 0 {
			req.Length = int64(len(req.Body))
		}
	}
	return nil
}

// finder looks for placeholders in what the agent streams; nil where there are
// none.
func (e *exchange) finder() *scrub.Finder {
	if e.vault.placeholders == nil {
		return nil
	}
	return e.vault.placeholders.Finder()
}

// readsMessages reports whether messages of WebSockets must come uncompressed.
func (e *exchange) readsMessages() bool { return e.values != nil || e.vault.placeholders != nil }

// openNow opens a credential as the vault is now, for what is sent long after the
// exchange began.
func (e *exchange) openNow(key string) (seal.Plaintext, error) {
	if s := e.Broker.view.Load().sessions[e.session.digest]; s != nil {
		if vv := s.in(e.vault.id); vv != nil {
			return vv.open(key)
		}
	}
	return e.vault.open(key) // the session has ended, and the exchange is being cut
}
