package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault"
)

// Bounds of what is read.
const (
	maxBody      = 1 << 20   // bytes of a body, unless its route says otherwise
	maxApplyBody = 16 << 20  // bytes
	maxText      = 128 << 10 // bytes of one string: twice the longest credential
	maxBytes     = 2 << 20   // bytes of bytesField
	bodyTime     = 30 * time.Second
)

// bytesField is where a body of another request stands in one, in base64: see
// [PolicyQuestion].
const bytesField jsontext.Pointer = "/body_base64"

func bad(format string, args ...any) error {
	return &vault.Error{Code: vault.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

// readBody reads the whole body, within bounds of length and time.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	// A page can have a browser send other types unasked, but no Authorization
	// header (Fetch §2.2.2); with one, the type that curl -d sends will do.
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if (err != nil || kind != "application/json") && r.Header.Get("Authorization") == "" {
		return nil, bad("the body must be JSON, with Content-Type: application/json")
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
		return nil, &vault.Error{Code: codeTooLarge, Message: fmt.Sprintf("the body is too long: this route takes %d bytes", limit)}
	case err != nil:
		return nil, &vault.Error{Code: vault.CodeBadRequest, Message: "the body ended early", Err: err}
	}
	return body, nil
}

// decode reads a body as it is meant, or not at all: one JSON object, each
// field known, in its own letter case and there once. Its errors name the
// field and repeat no value, which may be a credential.
func decode(body []byte, in any) error {
	if err := checkTokens(body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, in, strict); err != nil {
		return bad("%s", describe(err))
	}
	return nil
}

// strict reads services as package vault does, and finds faults inside of them
// by their place in the body rather than by the service's name, which may
// stand behind the fault.
var strict = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.JoinUnmarshalers(json.UnmarshalFromFunc(readRule), json.UnmarshalFromFunc(func(d *jsontext.Decoder, s *vault.Service) error {
		if d.PeekKind() == 'n' {
			return errors.New("null is no service")
		}
		type plain vault.Service // without its UnmarshalJSON
		p := plain{Enabled: true}
		if err := json.UnmarshalDecode(d, &p); err != nil {
			return err
		}
		*s = vault.Service(p)
		return nil
	}))),
)

// A ruleError is a rule that is there by mistake. Its text is ours.
type ruleError string

func (e ruleError) Error() string { return string(e) }

// readRule refuses what is there by mistake and would allow everything: see
// [vault.MeantRules].
func readRule(d *jsontext.Decoder, r *policy.Rule) error {
	if d.PeekKind() == 'n' {
		return ruleError(vault.NullRule)
	}
	type plain policy.Rule // without this function
	var p struct {
		plain
		Preset *string `json:"preset"`
		When   *string `json:"when"`
	}
	if err := json.UnmarshalDecode(d, &p); err != nil {
		return err
	}
	*r = policy.Rule(p.plain)
	for _, c := range []struct {
		name string
		said *string
		into *string
	}{{"preset", p.Preset, &r.Preset}, {"when", p.When, &r.When}} {
		switch {
		case c.said == nil:
		case *c.said == "":
			return ruleError(c.name + ": " + vault.EmptyCondition)
		default:
			*c.into = *c.said
		}
	}
	return nil
}

// checkTokens holds a body to JSON's grammar, to being one object, to names that
// stand there once, and every string in it, whatever it is for, to a length and
// to text.
func checkTokens(body []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	for first := true; ; first = false {
		t, err := d.ReadToken()
		if err != nil {
			return bad("%s", describeSyntax(err, body))
		}
		switch {
		case first && t.Kind() != '{':
			return bad("the body must be an object, not %s", kindName(t.Kind()))
		case t.Kind() == '"':
			switch s := t.String(); {
			case len(s) > maxText && (len(s) > maxBytes || d.StackPointer() != bytesField):
				return bad("%s is longer than %d bytes", field(d.StackPointer()), maxText)
			case strings.IndexFunc(s, isControl) >= 0:
				return bad("%s holds a control character", field(d.StackPointer()))
			}
		}
		if d.StackDepth() == 0 {
			break
		}
	}
	if len(bytes.TrimSpace(body[d.InputOffset():])) > 0 {
		return bad("the body holds more than one JSON value")
	}
	return nil
}

// isControl reports what no text of ours holds. Tabs and line breaks may stand
// in a message; where they may not, package vault says so.
func isControl(c rune) bool { return unicode.IsControl(c) && c != '\t' && c != '\n' && c != '\r' }

func describeSyntax(err error, body []byte) string {
	what := "the body is not JSON"
	if !utf8.Valid(body) {
		what = "the body is not UTF-8"
	}
	var syntax *jsontext.SyntacticError
	switch {
	case !errors.As(err, &syntax) || syntax.JSONPointer == "":
		return what
	case errors.Is(err, jsontext.ErrDuplicateName):
		return field(syntax.JSONPointer) + " stands there twice"
	}
	return what + ": it goes wrong in " + field(syntax.JSONPointer)
}

// describe says in our words what the decoder found.
func describe(err error) string {
	var e *json.SemanticError
	var mistake ruleError
	if !errors.As(err, &e) {
		return "the body does not fit"
	}
	switch {
	case errors.Is(e.Err, json.ErrUnknownName) && e.GoType == reflect.TypeFor[vault.ServiceChange]() && vault.PersonOnly(e.JSONPointer.LastToken()):
		return field(e.JSONPointer) + " is for a person to set; a proposal does not have it"
	case errors.Is(e.Err, json.ErrUnknownName):
		return "unknown field " + path(e.JSONPointer)
	case e.Err != nil && e.GoType == reflect.TypeFor[inject.Auth]():
		// Its words are ours, without values.
		return field(e.JSONPointer) + ": " + strings.TrimPrefix(e.Err.Error(), "auth: ")
	case errors.As(e.Err, &mistake):
		return field(e.JSONPointer) + ": " + string(mistake)
	case e.Err != nil && e.GoType == reflect.TypeFor[time.Time]():
		return field(e.JSONPointer) + " is not a time like 2026-01-02T15:04:05Z"
	case e.Err != nil:
		return field(e.JSONPointer) + " does not take this value"
	}
	return field(e.JSONPointer) + " does not take " + kindName(e.JSONKind)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	}
	return "an array"
}

// field names the place of a fault.
func field(p jsontext.Pointer) string {
	if p == "" {
		return "the body"
	}
	return "the field " + path(p)
}

// nameable is what fields and credentials are called. Another name may be a
// value in the wrong place, and is not repeated.
var nameable = regexp.MustCompile(`^([A-Za-z_]{1,32}[0-9]{0,2}|[A-Z][A-Z0-9_]{0,63})$`)

// index is what places in a list are called.
var index = regexp.MustCompile(`^[0-9]{1,5}$`)

// maxPath is about how many bytes of a place are worth telling.
const maxPath = 200

// path writes a pointer as people do: vaults[0].credentials.API_KEY.
func path(p jsontext.Pointer) string {
	var b strings.Builder
	for name := range p.Tokens() {
		if b.Len() > maxPath {
			b.WriteString("…")
			break
		}
		if index.MatchString(name) {
			b.WriteString("[" + name + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(named(name))
	}
	return b.String()
}

func named(name string) string {
	if nameable.MatchString(name) {
		return name
	}
	return "…"
}

// quoted repeats a name that people chose, which is no value.
func quoted(name string) string {
	if len(name) > 80 {
		name = name[:80] + "…"
	}
	return strconv.Quote(name)
}
