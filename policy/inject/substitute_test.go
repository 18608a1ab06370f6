package inject_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

const placeholder = "__api_key_goes_here__"

// everywhere declares placeholder in all surfaces.
var everywhere = []inject.Substitution{{
	Placeholder: placeholder, Credential: "API_KEY", In: []string{"path", "query", "header:X-Token", "header:Authorization", "body", "websocket"},
}}

func compiled(list []inject.Substitution) *inject.Substitutions {
	return inject.Placeholders(list, func(key string) string { return inject.Dummy(key, [32]byte{}) })
}

func opens(value string) inject.Opener {
	return func(string) (seal.Plaintext, error) { return seal.NewPlaintext([]byte(value)), nil }
}

func TestSubstitutionChecks(t *testing.T) {
	dummy := inject.Dummy("AWS_ACCESS_KEY_ID", [32]byte{1})
	bearer := inject.Slots{Headers: []string{"Authorization"}}
	ok := inject.Substitution{Placeholder: placeholder, Credential: "API_KEY", In: []string{"body"}}
	with := func(change func(*inject.Substitution)) []inject.Substitution {
		s := ok
		change(&s)
		return []inject.Substitution{s}
	}
	spelled := func(p string) []inject.Substitution {
		return with(func(s *inject.Substitution) { s.Placeholder = p })
	}
	in := func(surfaces ...string) []inject.Substitution {
		return with(func(s *inject.Substitution) { s.In = surfaces })
	}
	for _, tt := range []struct {
		list []inject.Substitution
		want string
	}{
		{[]inject.Substitution{ok}, ""},
		{spelled(dummy), ""},
		{spelled(""), ""},
		{slices.Repeat(spelled(""), 21), "substitutions: at most 20"},
		{with(func(s *inject.Substitution) { s.Credential = "" }), "substitutions[0]: field credential is missing; it names a credential key, as in API_KEY"},
		{with(func(s *inject.Substitution) { s.Credential = "sk-live" }), "substitutions[0]: field credential must be the name of a credential in upper case, as in API_KEY; values never stand here"},
		{spelled("too_short"), "substitutions[0]: field placeholder: a placeholder has 16 to 200 characters"},
		{spelled(strings.Repeat("too_long", 30)), "substitutions[0]: field placeholder: a placeholder has 16 to 200 characters"},
		{spelled("with a space in it_"), "substitutions[0]: field placeholder: a placeholder is made of letters, digits, _ and -"},
		{spelled("with/a/slash/in_it"), "substitutions[0]: field placeholder: a placeholder is made of letters, digits, _ and -"},
		{spelled("with_ünicode_in_it"), "substitutions[0]: field placeholder: a placeholder is made of letters, digits, _ and -"},
		{spelled("no-underscore-in-it"), "substitutions[0]: field placeholder: a placeholder holds an underscore, so that no other text is taken for it, or is a credential's dummy"},
		{spelled("STRIPE_SECRET_KEY_1"), "substitutions[0]: field placeholder: it reads like the name of a credential; write it as in __API_KEY_PLACEHOLDER__"},
		{spelled(dummy + "_more"), "substitutions[0]: field placeholder: it holds DUMMY and is no dummy; copy the dummy whole, or leave the field out"},
		{spelled("av_sess_placeholder"), "substitutions[0]: field placeholder: the vault's own tokens begin with av_"},
		{in(), "substitutions[0]: field in: name at least one of path, query, header:NAME, body, websocket"},
		{in("bodies"), `substitutions[0]: field in: "bodies" is none of path, query, header:NAME, body, websocket`},
		{in("header:"), `substitutions[0]: field in: "" is not a header name`},
		{in("header:Host"), "substitutions[0]: field in: Host cannot carry a credential"},
		{in("header:x_vault"), "substitutions[0]: field in: x_vault cannot carry a credential"},
		{in("header:authorization"), "substitutions[0]: field in: the service's auth fills Authorization itself"},
		{[]inject.Substitution{ok, ok}, "substitutions[1]: field placeholder: it is that of substitutions[0]; name all surfaces there"},
		{slices.Repeat(spelled(""), 2), "substitutions[1]: field placeholder: it is that of substitutions[0]; name all surfaces there"},
	} {
		_, err := inject.CanonicalSubstitutions(tt.list, bearer)
		if got := message(err); got != tt.want {
			t.Errorf("%+v:\n got %q\nwant %q", tt.list, got, tt.want)
		}
	}
	got, err := inject.CanonicalSubstitutions(in("query", "header:x-TOKEN", "query"), bearer)
	if want := []string{"header:X-Token", "query"}; err != nil || !slices.Equal(got[0].In, want) {
		t.Errorf("in became %q, %v, want %q", got[0].In, err, want)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What goes in, and what the upstream sees of it.
func TestReplace(t *testing.T) {
	const hostile = "q\"u\\o/t%e\n&=+ <é>"
	basic := func(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }
	form, asJSON := "application/x-www-form-urlencoded", "application/json; charset=utf-8"
	for _, tt := range []struct {
		name, value   string
		surface, sent string
		kind          string // content type
		want          string // or the error
	}{
		{"in a segment", "123:AB-c", "path", "/bot" + placeholder + "/send", "", "/bot123:AB-c/send"},
		{"twice", "abc", "path", "/" + placeholder + "/" + placeholder, "", "/abc/abc"},
		{"percent-encoded", "abc", "path", "/%5F%5fapi%5Fk%65y_goes_here__?", "", "/abc?"},
		{"other escapes stay", "abc", "path", "/%2f%2F/" + placeholder + "%20", "", "/%2f%2F/abc%20"},
		{"nearly", "abc", "path", "/_api_key_goes_here__/__api_key_goes_her", "", "/_api_key_goes_here__/__api_key_goes_her"},
		{"a slash", "a/b", "path", "/" + placeholder, "", "value"},
		{"an escape", "a%2fb", "path", "/" + placeholder, "", "value"},
		{"parameters", "a;b", "path", "/" + placeholder, "", "value"},
		{"a query", "a?b", "path", "/" + placeholder, "", "value"},
		{"a line break", "a\r\nb", "path", "/" + placeholder, "", "value"},
		{"a dot segment", "..", "path", "/x/" + placeholder + "/y", "", "value"},
		{"half a dot segment", ".", "path", "/x/%2e" + placeholder + "/y", "", "value"},
		{"dots inside a segment", "..", "path", "/x/a" + placeholder + "/../y", "", "/x/a../../y"},
		{"behind half an escape", "2e", "path", "/%" + placeholder, "", "place"},
		{"behind two thirds of an escape", "2e", "path", "/%2" + placeholder, "", "place"},
		{"longer than a path", strings.Repeat("a", 16<<10), "path", "/" + placeholder, "", "long"},

		{"a parameter", "abc", "query", "a=b&key=" + placeholder + "&c", "", "a=b&key=abc&c"},
		{"escaped", hostile, "query", "key=" + placeholder + "&x=%41+", "", "key=q%22u%5Co%2Ft%25e%0A%26%3D%2B%20%3C%C3%A9%3E&x=%41+"},
		{"behind half an escape", "41", "query", "key=%" + placeholder, "", "place"},

		{"a field", "abc", "header", "token=" + placeholder + ";", "", "token=abc;"},
		{"not percent-encoded", "abc", "header", "%5F_api_key_goes_here__", "", "%5F_api_key_goes_here__"},
		{"a line break", "a\r\nX-Evil: b", "header", placeholder, "", "value"},
		{"password of Basic", "p:w", "header", basic("me:" + placeholder), "", basic("me:p:w")},
		{"user of Basic", "abc", "header", basic(placeholder + ":x"), "", basic("abc:x")},
		{"user of Basic, alone", "abc", "header", basic(placeholder), "", basic("abc")},
		{"a colon in the user of Basic", "a:c", "header", basic(placeholder + ":x"), "", "value"},
		{"Basic without one keeps its bytes", "abc", "header", "BASIC bTp4", "", "BASIC bTp4"},

		{"a form", hostile, "body", "a=b&%6Bey=" + placeholder + "&c=+", form, "a=b&%6Bey=q%22u%5Co%2Ft%25e%0A%26%3D%2B%20%3C%C3%A9%3E&c=+"},
		{"JSON", hostile, "body", `{ "k":"a` + placeholder + `b" , "n":1e400}`, asJSON, `{ "k":"aq\"u\\o/t%e\n&=+ <é>b" , "n":1e400}`},
		{"JSON, escaped", "abc", "body", `{"k":"\u005f\u005Fapi_key\u005fgoes_here__"}`, asJSON, `{"k":"abc"}`},
		{"JSON, behind a backslash", "abc", "body", `["\\` + placeholder + `","\n` + placeholder + `"]`, asJSON, `["\\abc","\nabc"]`},
		{"JSON, in a name", "abc", "body", `{"` + placeholder + `":1}`, asJSON, `{"abc":1}`},
		{"JSON, several", "abc", "body", "{\"k\":\"" + placeholder + "\"}\n{\"k\":\"" + placeholder + "\"}\n", "application/x-ndjson", "{\"k\":\"abc\"}\n{\"k\":\"abc\"}\n"},
		{"JSON that is none stays", "abc", "body", `{"k":"` + placeholder + `"`, asJSON, `{"k":"` + placeholder + `"`},
		{"JSON, and a value that is no text", "\xff\xfe\xfd", "body", `["` + placeholder + `"]`, asJSON, "value"},
		{"longer than a body", strings.Repeat("a", 4096), "body", `["` + strings.Repeat(placeholder, 1000) + `"]`, asJSON, "long"},

		{"a message", "a'b", "websocket", "AUTH " + placeholder, "", "AUTH a'b"},
		{"a message of JSON", hostile, "websocket", `{"k":"` + placeholder + `"}`, "", `{"k":"q\"u\\o/t%e\n&=+ <é>"}`},
		{"a message that a line break could end", "a\nQUIT", "websocket", "AUTH " + placeholder, "", "value"},
	} {
		t.Run(tt.surface+", "+tt.name, func(t *testing.T) {
			got, err := replace(tt.surface, tt.sent, tt.kind, opens(tt.value))
			var value *inject.ValueError
			var place *inject.PlaceError
			switch {
			case errors.As(err, &value) && value.Key == "API_KEY":
				got = "value"
			case errors.As(err, &place):
				got = "place"
			case errors.Is(err, inject.ErrTooLong):
				got = "long"
			case err != nil:
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("%q\n got %q\nwant %q", tt.sent, got, tt.want)
			}
		})
	}
}

// replace puts what is sent into one surface, and returns what becomes of it.
func replace(surface, sent, kind string, open inject.Opener) (string, error) {
	r := inject.Request{Path: "/", Header: http.Header{}}
	if kind != "" {
		r.Header["Content-Type"] = []string{kind}
	}
	switch surface {
	case "path":
		r.Path = sent
	case "query":
		r.RawQuery = sent
	case "header":
		r.Header["X-Token"] = []string{sent}
	case "body":
		r.Body = []byte(sent)
	case "websocket":
		text, err := compiled(everywhere).Message([]byte(sent), open)
		return string(text), err
	}
	err := compiled(everywhere).Replace(&r, inject.KindOfBody(r.Header), open)
	switch surface {
	case "path":
		return r.Path, err
	case "query":
		return r.RawQuery, err
	case "header":
		return r.Header["X-Token"][0], err
	}
	return string(r.Body), err
}

// A placeholder stays where it is not declared, and no credential is opened for it.
func TestReplaceOnlyWhereDeclared(t *testing.T) {
	for _, surface := range []string{"path", "query", "header", "body"} {
		list := slices.Clone(everywhere)
		list[0].In = slices.DeleteFunc(slices.Clone(list[0].In), func(in string) bool { return strings.HasPrefix(in, surface) })
		r := inject.Request{Path: "/" + placeholder, RawQuery: placeholder, Header: http.Header{"X-Token": {placeholder}}, Body: []byte(`"` + placeholder + `"`)}
		if err := compiled(list).Replace(&r, inject.BodyJSON, opens("the-value")); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{"path": r.Path, "query": r.RawQuery, "header": r.Header["X-Token"][0], "body": string(r.Body)}
		for name, text := range got {
			if kept := strings.Contains(text, placeholder); kept != (name == surface) || kept == strings.Contains(text, "the-value") {
				t.Errorf("declared in all but %s, %s became %q", surface, name, text)
			}
		}
	}
	nobody := func(string) (seal.Plaintext, error) {
		t.Error("a credential was opened without need")
		return seal.Plaintext{}, nil
	}
	r := inject.Request{Path: "/a", RawQuery: "b", Header: http.Header{"X-Token": {"c"}}, Body: []byte(`{}`)}
	if err := compiled(everywhere).Replace(&r, inject.BodyJSON, nobody); err != nil {
		t.Error(err)
	}
}

func TestKindOfBody(t *testing.T) {
	for _, tt := range []struct {
		header http.Header
		want   inject.BodyKind
	}{
		{http.Header{}, inject.BodyOther},
		{http.Header{"Content-Type": {"text/plain"}}, inject.BodyOther},
		{http.Header{"Content-Type": {"application/json"}}, inject.BodyJSON},
		{http.Header{"Content-Type": {"application/vnd.api+json; charset=UTF-8"}}, inject.BodyJSON},
		{http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=latin1"}}, inject.BodyForm},
		{http.Header{"Content-Type": {"application/json; charset=utf-16"}}, inject.BodyRefused},
		{http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}, inject.BodyRefused},
		{http.Header{"Content-Type": {"application/json", "text/plain"}}, inject.BodyRefused},
		{http.Header{"Content-Type": {"application/json; ="}}, inject.BodyRefused},
		{http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, inject.BodyRefused},
		{http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity"}}, inject.BodyJSON},
		{http.Header{"Content-Encoding": {"", "br"}}, inject.BodyRefused},
		{http.Header{"Content_Encoding": {"gzip"}}, inject.BodyRefused},
		{http.Header{"Content-Type": {"application/json"}, "Content_type": {"text/plain"}}, inject.BodyRefused},
		{http.Header{"Content-Type": {"application/x-ndjson"}}, inject.BodyJSON},
	} {
		if got := inject.KindOfBody(tt.header); got != tt.want {
			t.Errorf("%v: kind %d, want %d", tt.header, got, tt.want)
		}
	}
}

// Whatever the surface and the value: the placeholder does not survive where it is
// declared, what is read from the result differs from what was sent in the
// placeholder alone, and nothing panics.
func FuzzSubstitute(f *testing.F) {
	for _, value := range []string{"abc", `q"u\o/t%e` + "\n&=+", "..", "a\r\nb", "\xff", "é\u2028"} {
		f.Add(`{"k":"`+placeholder+`","n":[1.0,"\u005f_api_key_goes_here__"]}`, value)
		f.Add("a="+placeholder+"&b=%5f%5Fapi_key_goes_here__", value)
		f.Add("/x/"+placeholder+"/y", value)
		f.Add(placeholder+placeholder, value)
	}
	f.Fuzz(func(t *testing.T, sent, value string) {
		if strings.Contains(value, "_") || value == "" {
			return // it could make a new placeholder
		}
		for _, surface := range []string{"path", "query", "header", "websocket"} {
			got, err := replace(surface, sent, "", opens(value))
			if err == nil && strings.Contains(got, placeholder) {
				t.Errorf("%s: %q still stands in %q", surface, placeholder, got)
			}
		}
		onlyDeclared(t, sent, value)
		if got, err := replace("path", sent, "", opens(value)); err == nil && strings.Count(got, "/") != strings.Count(sent, "/") {
			t.Errorf("path %q became %q", sent, got)
		}
		if got, err := replace("body", sent, "application/x-www-form-urlencoded", opens(value)); err == nil {
			sameForm(t, sent, got, value)
		}
		if got, err := replace("body", sent, "application/json", opens(value)); err == nil {
			sameJSON(t, sent, got, value)
		}
	})
}

// onlyDeclared declares one surface after the other, in a request that has the same
// text in all of them: the others keep their bytes.
func onlyDeclared(t *testing.T, sent, value string) {
	t.Helper()
	text := func(r inject.Request) map[string]string {
		return map[string]string{"path": r.Path, "query": r.RawQuery, "header:X-Token": r.Header["X-Token"][0], "body": string(r.Body)}
	}
	for declared := range text(inject.Request{Header: http.Header{"X-Token": {""}}}) {
		list := []inject.Substitution{{Placeholder: placeholder, Credential: "API_KEY", In: []string{declared}}}
		r := inject.Request{Path: sent, RawQuery: sent, Header: http.Header{"X-Token": {sent}}, Body: []byte(sent)}
		if compiled(list).Replace(&r, inject.BodyForm, opens(value)) != nil {
			continue // it goes nowhere
		}
		for surface, got := range text(r) {
			if surface != declared && got != sent {
				t.Errorf("declared in %s, %q in %s became %q", declared, sent, surface, got)
			}
		}
	}
}

func sameForm(t *testing.T, sent, got, value string) {
	t.Helper()
	decode := func(form string) (fields []string) {
		for pair := range strings.SplitSeq(form, "&") {
			for text := range strings.SplitSeq(pair, "=") {
				plain, err := url.QueryUnescape(text)
				if err != nil {
					return nil
				}
				fields = append(fields, plain)
			}
		}
		return fields
	}
	before, after := decode(sent), decode(got)
	for i := range before {
		before[i] = strings.ReplaceAll(before[i], placeholder, value)
	}
	if before != nil && !slices.Equal(before, after) {
		t.Errorf("form %q became %q, which reads %q, want %q", sent, got, after, before)
	}
}

func sameJSON(t *testing.T, sent, got, value string) {
	t.Helper()
	tokens := func(text string) (all []any, ok bool) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		for {
			token, err := d.Token()
			if err != nil {
				return all, errors.Is(err, io.EOF)
			}
			all = append(all, token)
		}
	}
	if !json.Valid([]byte(sent)) {
		return
	}
	before, _ := tokens(sent)
	after, ok := tokens(got)
	if !ok || !json.Valid([]byte(got)) {
		t.Fatalf("JSON %q became %q", sent, got)
	}
	for i, token := range before {
		if text, ok := token.(string); ok {
			before[i] = strings.ReplaceAll(text, placeholder, value)
		}
	}
	if !slices.Equal(before, after) {
		t.Errorf("JSON %q became %q", sent, got)
	}
}

func TestDummies(t *testing.T) {
	for key, like := range map[string]string{
		"ANTHROPIC_API_KEY": "sk-ant-api03-", "OPENAI_API_KEY": "sk-proj-", "STRIPE_KEY": "sk_test_", "STRIPE_LIVE_KEY": "sk_live_",
		"GITHUB_TOKEN": "ghp_", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "DUMMY", "SLACK_BOT_TOKEN": "xoxb-", "GEMINI_API_KEY": "AIza", "X": "key_",
	} {
		a, again, b := inject.Dummy(key, [32]byte{1}), inject.Dummy(key, [32]byte{1}), inject.Dummy(key, [32]byte{2})
		if a != again || a == b || !strings.HasPrefix(a, like) || !inject.IsDummy(a) || inject.CheckPlaceholder(a) != nil {
			t.Errorf("%s: dummies %q, %q and %q of another seed: want the same, another, and both like %s…", key, a, again, b, like)
		}
		if inject.IsDummy(a+"x") || inject.IsDummy("x"+a) {
			t.Errorf("%s: more than %q passes for a dummy", key, a)
		}
		if !strings.Contains(a, "DUMMY") {
			t.Errorf("%s: nobody sees that %q is a dummy", key, a)
		}
	}
}

// GitHub's tokens end with a check of what stands before, the CRC-32 in base62, and
// its clients look.
func TestDummyChecksum(t *testing.T) {
	check := func(token string) bool {
		sum := uint64(0)
		for _, c := range token[len(token)-6:] {
			sum = sum*62 + uint64(strings.IndexRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c))
		}
		return len(token) == 40 && sum == uint64(crc32.ChecksumIEEE([]byte(token[4:34])))
	}
	const example = "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" // revoked, and published to show the format
	dummy := inject.Dummy("GITHUB_TOKEN", [32]byte{1})
	if !check(example) || !check(dummy) {
		t.Errorf("the check of %q holds: %v; of %q: %v", example, check(example), dummy, check(dummy))
	}
}
