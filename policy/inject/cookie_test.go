package inject_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/inject"
)

func TestCookie(t *testing.T) {
	const one, two = `{"type":"cookie","cookies":{"session":"S"}}`, `{"type":"cookie","cookies":{"session":"S","__Host-csrf":"C"}}`
	open := values(map[string]string{"S": "s3ss10n", "C": `"qu0ted"`})
	rows := []struct {
		auth    string
		agents  []string
		want    []string
		removed int
	}{
		{one, nil, []string{"session=s3ss10n"}, 0},
		{two, nil, []string{`__Host-csrf="qu0ted"; session=s3ss10n`}, 0},
		{one, []string{"a=b; c=d"}, []string{"session=s3ss10n; a=b; c=d"}, 0},
		{one, []string{"a=b;c=%3B;  d", "e=f"}, []string{"session=s3ss10n; a=b;c=%3B;  d", "e=f"}, 0},
		{one, []string{"session=mine"}, []string{"session=s3ss10n"}, 1},
		{one, []string{"a=b; session=mine; c=d"}, []string{"session=s3ss10n; a=b; c=d"}, 1},
		{one, []string{"session=mine; a=b", "session=mine"}, []string{"session=s3ss10n; a=b"}, 2},
		{two, []string{"SESSION=mine; a=b; %73ession=mine; __host-CSRF=mine"}, []string{`__Host-csrf="qu0ted"; session=s3ss10n; a=b`}, 3},
		{one, []string{" session =mine; session; session[0]=mine; =session=mine; \"session\"=mine"}, []string{"session=s3ss10n"}, 5},
		{one, []string{"\u00a0session=mine; \xa0session=mine; \u3000session\ufeff=mine"}, []string{"session=s3ss10n"}, 3},
		{one, []string{"a=b, session=mine; c=d session = mine; e=\"f; session=mine\""}, []string{`session=s3ss10n; e="f`}, 3},
		{one, []string{"sessions=1; xsession=2; a=session; b=the session of=x; c=session=="},
			[]string{"session=s3ss10n; sessions=1; xsession=2; a=session; b=the session of=x; c=session=="}, 0},
	}
	for _, r := range rows {
		in, err := parse(t, r.auth)
		if err != nil {
			t.Fatalf("%s: %v", r.auth, err)
		}
		req := inject.Request{Header: http.Header{"Authorization": {"mine"}, "Accept": {"*/*"}}}
		if r.agents != nil {
			req.Header["Cookie"] = r.agents
		}
		if n := in.Slots().Strip(&req); n != r.removed+1 {
			t.Errorf("%s, %q: %d removed, want %d", r.auth, r.agents, n, r.removed+1)
		}
		if err := in.Inject(&req, open); err != nil {
			t.Errorf("%s: %v", r.auth, err)
		}
		if diff := cmp.Diff(map[string][]string{"Accept": {"*/*"}, "Cookie": r.want}, map[string][]string(req.Header)); diff != "" {
			t.Errorf("%s, %q (-want +got): %s", r.auth, r.agents, diff)
		}
	}
}

func TestCookieRefuses(t *testing.T) {
	for auth, want := range map[string]string{
		`{"type":"cookie"}`:                                                   `auth cookie: field cookies: it holds 1 to 16 cookies, as in {"session": "SESSION_COOKIE"}`,
		`{"type":"cookie","cookies":{}}`:                                      `auth cookie: field cookies: it holds 1 to 16 cookies, as in {"session": "SESSION_COOKIE"}`,
		`{"type":"cookie","cookies":"S"}`:                                     `auth cookie: field cookies: it must be an object, not a string`,
		`{"type":"cookie","cookies":{"a b":"S"}}`:                             `auth cookie: field cookies: "a b" is not a cookie's name`,
		`{"type":"cookie","cookies":{"":"S"}}`:                                `auth cookie: field cookies: "" is not a cookie's name`,
		`{"type":"cookie","cookies":{"` + strings.Repeat("a", 65) + `":"S"}}`: `auth cookie: field cookies: "` + strings.Repeat("a", 65) + `" is not a cookie's name`,
		`{"type":"cookie","cookies":{"A.b":"S","a_b":"S"}}`:                   `auth cookie: field cookies: a_b stands there twice`,
		`{"type":"cookie","cookies":{"a":"s3cr3t"}}`:                          `auth cookie: field cookies must be the name of a credential in upper case, as in API_KEY; values never stand here`,
		`{"type":"cookie","cookies":{"a":""}}`:                                `auth cookie: field cookies is missing; it names a credential key, as in API_KEY`,
		`{"type":"cookie","cookies":{"a":"S"},"token":"S"}`:                   `auth cookie: it has no field "token"; its fields are cookies`,
	} {
		if _, err := parse(t, auth); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", auth, err, want)
		}
	}
}

// RFC 6265 §4.1.1: a value with one of these would be two cookies, or none.
func TestCookieValuesThatCannotBeSent(t *testing.T) {
	in, err := parse(t, `{"type":"cookie","cookies":{"a":"GOOD","b":"BAD"}}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"a;b", "a, b", "a b", "a\tb", `a"b`, `"`, `"a"b"`, `a\b`, "a\nb", "a\x00", "é"} {
		req := inject.Request{Header: http.Header{"Cookie": {"c=d"}}}
		var ve *inject.ValueError
		err := in.Inject(&req, values(map[string]string{"GOOD": "v", "BAD": value}))
		if !errors.As(err, &ve) || ve.Key != "BAD" || len(req.Header["Cookie"]) != 1 || req.Header["Cookie"][0] != "c=d" {
			t.Errorf("%q: %v, %v", value, err, req.Header)
		}
	}
	if err := in.Inject(&inject.Request{}, values(map[string]string{"GOOD": "v"})); err == nil || err.Error() != "no value for BAD" {
		t.Errorf("%v", err)
	}
}

// Stripping leaves no cookie of the name by net/http's own reading, and all
// others.
func FuzzStripCookie(f *testing.F) {
	f.Add("a=b; session=mine", "session")
	f.Add("session=1;;x", "SESSION")
	f.Add("a=\"b; session=c\", d", "session")
	f.Fuzz(func(t *testing.T, line, name string) {
		read := func(lines []string) (own, others []string) {
			for _, c := range (&http.Request{Header: http.Header{"Cookie": lines}}).Cookies() {
				if strings.EqualFold(c.Name, name) {
					own = append(own, c.Name+"="+c.Value)
				} else if !inject.SetsCookie(c.Name+"="+c.Value, name) {
					others = append(others, c.Name+"="+c.Value)
				}
			}
			return own, others
		}
		req := inject.Request{Header: map[string][]string{"Cookie": {line}}}
		removed := inject.Slots{Cookies: []string{name}}.Strip(&req)
		own, others := read(req.Header["Cookie"])
		_, before := read([]string{line})
		if diff := cmp.Diff(before, others); len(own) > 0 || diff != "" && !strings.ContainsAny(line, " \t,\"") {
			t.Errorf("%q without %q is %q: own %q, others %s", line, name, req.Header["Cookie"], own, diff)
		}
		if removed == 0 && req.Header["Cookie"] != nil && strings.Trim(line, " \t") != "" && req.Header["Cookie"][0] != line {
			t.Errorf("%q has no %q and became %q", line, name, req.Header["Cookie"])
		}
	})
}
