package inject_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

func parse(t testing.TB, spelled string) (inject.Injector, error) {
	t.Helper()
	var a inject.Auth
	if err := json.Unmarshal([]byte(spelled), &a); err != nil {
		return nil, err
	}
	return inject.Parse(a)
}

// values opens credentials in clear, as the broker does for one exchange.
func values(m map[string]string) func(string) (seal.Plaintext, error) {
	return func(key string) (seal.Plaintext, error) {
		v, ok := m[key]
		if !ok {
			return seal.Plaintext{}, fmt.Errorf("no value for %s", key)
		}
		return seal.NewPlaintext([]byte(v)), nil
	}
}

func TestKinds(t *testing.T) {
	open := values(map[string]string{"K": "k3y", "U": "user", "P": "pa:ss"})
	agents := func() inject.Request {
		return inject.Request{
			Header: map[string][]string{
				"Authorization": {"Bearer of-the-agent"}, "X-Api-Key": {"mine"}, "X_api_key": {"mine"}, "x-API-key": {"mine"}, "Accept": {"*/*"},
			},
			RawQuery: "a=%2F&key=mine&%6bey=mine&b",
		}
	}
	kept := func(more map[string][]string) map[string][]string {
		h := map[string][]string{"Accept": {"*/*"}}
		for k, v := range more {
			h[k] = v
		}
		return h
	}
	mine := map[string][]string{"X-Api-Key": {"mine"}, "X_api_key": {"mine"}, "x-API-key": {"mine"}}
	with := func(h map[string][]string, name, value string) map[string][]string {
		out := kept(h)
		out[name] = []string{value}
		return out
	}
	const q = "a=%2F&key=mine&%6bey=mine&b"
	rows := []struct {
		auth   string
		keys   []string
		header map[string][]string
		query  string
	}{
		{`{"type":"bearer","token":"K"}`, []string{"K"}, with(mine, "Authorization", "Bearer k3y"), q},
		{`{"type":"basic","username":"U","password":"P"}`, []string{"U", "P"}, with(mine, "Authorization", "Basic dXNlcjpwYTpzcw=="), q},
		{`{"type":"basic","username":"U"}`, []string{"U"}, with(mine, "Authorization", "Basic dXNlcjo="), q},
		{`{"type":"api-key","key":"K"}`, []string{"K"}, with(mine, "Authorization", "k3y"), q},
		{`{"type":"api-key","key":"K","prefix":"Token "}`, []string{"K"}, with(mine, "Authorization", "Token k3y"), q},
		{`{"type":"api-key","key":"K","header":"x-api-key"}`, []string{"K"}, with(nil, "X-Api-Key", "k3y"), q},
		{`{"type":"query","key":"K","parameter":"key"}`, []string{"K"}, kept(mine), "a=%2F&b&key=k3y"},
		{`{"type":"custom","headers":{"X-Api-Key":"{{ K }}","X-Two":"{{U}}/{{ P }};v=1"}}`, []string{"K", "U", "P"},
			map[string][]string{"Accept": {"*/*"}, "X-Api-Key": {"k3y"}, "X-Two": {"user/pa:ss;v=1"}}, q},
		{`{"type":"passthrough"}`, nil, with(mine, "Authorization", "Bearer of-the-agent"), q},
	}
	for _, r := range rows {
		in, err := parse(t, r.auth)
		if err != nil {
			t.Errorf("%s: %v", r.auth, err)
			continue
		}
		if diff := cmp.Diff(r.keys, in.Keys()); diff != "" {
			t.Errorf("%s: keys %s", r.auth, diff)
		}
		if !strings.Contains(r.auth, `"`+in.Type()+`"`) {
			t.Errorf("%s: type %q", r.auth, in.Type())
		}
		req := agents()
		in.Slots().Strip(&req)
		if err := in.Inject(&req, open); err != nil {
			t.Errorf("%s: %v", r.auth, err)
		}
		if diff := cmp.Diff(r.header, req.Header); diff != "" {
			t.Errorf("%s: header (-want +got) %s", r.auth, diff)
		}
		if req.RawQuery != r.query {
			t.Errorf("%s: query %q, want %q", r.auth, req.RawQuery, r.query)
		}
	}
	if diff := cmp.Diff([]string{
		"api-key",
		"aws-sigv4",
		"basic",
		"bearer",
		"cookie",
		"custom",
		"github-app",
		"google-service-account",
		"hmac",
		"jwt",
		"mtls",
		"oauth2",
		"passthrough",
		"query",
	}, inject.Types()); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	rows := map[string]string{
		`{}`:                                    `auth: the field type is missing`,
		`[]`:                                    `auth: it must be an object`,
		`{"type":7}`:                            `auth: the field type is missing`,
		`{"type":"oauth"}`:                      `auth: unknown type "oauth"; it is one of api-key, `,
		`{"type":"bearer"}`:                     `auth bearer: field token is missing`,
		`{"type":"bearer","token":7}`:           `auth bearer: field token: it must be a string, not a number`,
		`{"type":"bearer","token":"sk-live-1"}`: `auth bearer: field token must be the name of a credential`,
		`{"type":"bearer","token":"K","key":"K"}`:                    `auth bearer: it has no field "key"`,
		`{"type":"basic","password":"P"}`:                            `auth basic: field username is missing`,
		`{"type":"api-key","key":"K","header":"bad name"}`:           `auth api-key: field header: "bad name" is not a header name`,
		`{"type":"api-key","key":"K","header":"Host"}`:               `auth api-key: field header: Host cannot carry a credential`,
		`{"type":"api-key","key":"K","header":"transfer_encoding"}`:  `auth api-key: field header: transfer_encoding cannot carry a credential`,
		`{"type":"api-key","key":"K","header":"Proxy-Authenticate"}`: `auth api-key: field header: Proxy-Authenticate cannot carry a credential`,
		`{"type":"api-key","key":"K","prefix":"a\nb"}`:               `auth api-key: field prefix: `,
		`{"type":"query","key":"K"}`:                                 `auth query: field parameter: `,
		`{"type":"query","key":"K","parameter":"a&b"}`:               `auth query: field parameter: it may not hold "&"`,
		`{"type":"custom"}`:                                          `auth custom: field headers: it holds 1 to 16 header fields`,
		`{"type":"custom","headers":{"X-A":"plain"}}`:                `auth custom: field headers: X-A has no {{ KEY }}`,
		`{"type":"custom","headers":{"X-A":"{{ k }}"}}`:              `auth custom: field headers: X-A: between {{ and }} stands the name of a credential`,
		`{"type":"custom","headers":{"X-A":"{{ K }} {{"}}`:           `auth custom: field headers: X-A has a placeholder that is not`,
		`{"type":"custom","headers":{"X-A":"{{K}}","X_A":"{{K}}"}}`:  `auth custom: field headers: X_a stands there twice`,
		`{"type":"passthrough","token":"K"}`:                         `auth passthrough: it has no field "token"`,
	}
	for auth, want := range rows {
		if _, err := parse(t, auth); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s…", auth, err, want)
		}
	}
	if _, err := inject.Parse(inject.Auth{}); err == nil {
		t.Error("the zero Auth is taken")
	}
}

// R9: what cannot stand in a header is refused when it is used, and the error
// names the key and not the value.
func TestValuesThatCannotBeSent(t *testing.T) {
	for _, auth := range []string{
		`{"type":"bearer","token":"K"}`, `{"type":"api-key","key":"K"}`, `{"type":"custom","headers":{"X-A":"{{ K }}"}}`,
	} {
		for _, value := range []string{"a\r\nX-Evil: 1", "a\nb", "a\x00b", "\x7f"} {
			in, err := parse(t, auth)
			if err != nil {
				t.Fatal(err)
			}
			req := inject.Request{Header: map[string][]string{}}
			err = in.Inject(&req, values(map[string]string{"K": value}))
			var ve *inject.ValueError
			if !errors.As(err, &ve) || ve.Key != "K" || strings.Contains(err.Error(), value) || len(req.Header) != 0 {
				t.Errorf("%s with %q: %v, header %v", auth, value, err, req.Header)
			}
		}
	}
	in, err := parse(t, `{"type":"basic","username":"K","password":"P"}`)
	if err != nil {
		t.Fatal(err)
	}
	var ve *inject.ValueError
	if err := in.Inject(&inject.Request{Header: map[string][]string{}}, values(map[string]string{"K": "a:b", "P": "p"})); !errors.As(err, &ve) {
		t.Errorf("a user name with a colon: %v", err)
	}
}

func TestErrorOfOpenIsPassedOn(t *testing.T) {
	gone := errors.New("gone")
	for _, auth := range []string{
		`{"type":"bearer","token":"K"}`, `{"type":"basic","username":"K","password":"P"}`, `{"type":"api-key","key":"K"}`,
		`{"type":"query","key":"K","parameter":"k"}`, `{"type":"custom","headers":{"X-A":"{{ K }}"}}`,
	} {
		in, err := parse(t, auth)
		if err != nil {
			t.Fatal(err)
		}
		req := inject.Request{Header: map[string][]string{}}
		if err := in.Inject(&req, func(string) (seal.Plaintext, error) { return seal.Plaintext{}, gone }); !errors.Is(err, gone) {
			t.Errorf("%s: %v", auth, err)
		}
	}
}

func TestAuthJSON(t *testing.T) {
	var a inject.Auth
	if err := json.Unmarshal([]byte(` {"token" : "K", "type":"bearer"} `), &a); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(a)
	if err != nil || string(b) != `{"token":"K","type":"bearer"}` || a.Type() != "bearer" {
		t.Errorf("%s %v", b, err)
	}
}

// Stripping removes every parameter of the name, however spelled, and touches
// no other byte.
func FuzzStripQuery(f *testing.F) {
	f.Add("a=1&key=2&b=%2F", "key")
	f.Add("%6b%65y=1;key=2&&", "key")
	f.Add("key", "key")
	f.Fuzz(func(t *testing.T, query, name string) {
		if name == "" {
			return
		}
		r := inject.Request{Header: map[string][]string{}, RawQuery: query}
		inject.Slots{Query: []string{name}}.Strip(&r)
		is := func(part string) bool {
			spelled, _, _ := strings.Cut(part, "=")
			decoded, err := url.QueryUnescape(spelled)
			same := inject.SameParameter(spelled, name)
			if !same && strings.Trim(name, " \t\r\n\x00") != "" && (spelled == name || err == nil && decoded == name) {
				t.Errorf("%q is not taken for %q", spelled, name)
			}
			return same
		}
		split := func(s string) (parts []string) {
			return strings.FieldsFunc(s, func(c rune) bool { return c == '&' || c == ';' })
		}
		want := []string{}
		for _, part := range split(query) {
			if !is(part) {
				want = append(want, part)
			}
		}
		if diff := cmp.Diff(want, split(r.RawQuery)); diff != "" {
			t.Errorf("%q without %q is %q: %s", query, name, r.RawQuery, diff)
		}
		if len(want) == len(split(query)) && r.RawQuery != query {
			t.Errorf("%q has no %q and became %q", query, name, r.RawQuery)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"type":"bearer","token":"K"}`, `{"type":"custom","headers":{"X-A":"{{ K }}"}}`, `{"type":"cookie","cookies":{"a":"K"}}`, `{"type":"github-app","app_id":7,"private_key":"K","installation_id":42}`, `{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ path }}","headers":{"X-S":"{{ signature_hex }}"}}`, `{"type":"mtls","certificate":"K","private_key":"K","auth":{"type":"bearer","token":"K"}}`, `{"type":"jwt","algorithm":"EdDSA","private_key":"K","claims":{"iss":"a"}}`, `{"type":"query","key":"K","parameter":"p"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spelled string) {
		in, err := parse(t, spelled)
		if err != nil {
			return
		}
		for _, k := range in.Keys() {
			if !inject.ValidKey(k) {
				t.Errorf("%s needs the key %q", spelled, k)
			}
		}
		req := inject.Request{Header: map[string][]string{}, Token: seal.NewPlaintext([]byte("minted value"))}
		var ve *inject.ValueError // not every kind takes any value
		if err := in.Inject(&req, func(string) (seal.Plaintext, error) { return seal.NewPlaintext([]byte("value")), nil }); err != nil && !errors.As(err, &ve) {
			t.Errorf("%s: %v", spelled, err)
		}
		// What it fills it also strips: nothing is left of it.
		in.Slots().Strip(&req)
		if in.Type() != "passthrough" && (len(req.Header) != 0 || strings.Contains(req.RawQuery, "value")) {
			t.Errorf("%s fills what it does not occupy: %v %q", spelled, req.Header, req.RawQuery)
		}
	})
}

func BenchmarkInject(b *testing.B) {
	in, err := parse(b, `{"type":"bearer","token":"K"}`)
	if err != nil {
		b.Fatal(err)
	}
	value := seal.NewPlaintext([]byte("sk-live-3f9a77c1e2d4b6a8"))
	open := func(string) (seal.Plaintext, error) { return value, nil }
	b.ReportAllocs()
	for b.Loop() {
		req := inject.Request{Header: map[string][]string{"Authorization": {"Bearer of-the-agent"}, "Accept": {"*/*"}}}
		in.Slots().Strip(&req)
		if err := in.Inject(&req, open); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleParse() {
	var auth inject.Auth
	if err := json.Unmarshal([]byte(`{"type": "api-key", "key": "API_KEY", "header": "x-api-key"}`), &auth); err != nil {
		fmt.Println(err)
		return
	}
	in, err := inject.Parse(auth)
	if err != nil {
		fmt.Println(err)
		return
	}
	req := inject.Request{Header: map[string][]string{"X-Api-Key": {"the agent's own"}}}
	in.Slots().Strip(&req)
	err = in.Inject(&req, func(key string) (seal.Plaintext, error) {
		return seal.NewPlaintext([]byte("value of " + key)), nil
	})
	fmt.Println(req.Header, err)
	// Output: map[X-Api-Key:[value of API_KEY]] <nil>
}
