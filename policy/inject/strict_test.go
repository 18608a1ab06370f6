package inject_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// encoding/json takes "Token" for "token", and of the two the last: what a
// person was shown would not be what is used.
func TestFieldsHaveOneSpelling(t *testing.T) {
	for auth, want := range map[string]string{
		`{"type":"bearer","Token":"K"}`:             `auth bearer: it has no field "Token"; its fields are token`,
		`{"type":"bearer","token":"K","TOKEN":"L"}`: `auth bearer: it has no field "TOKEN"; its fields are token`,
		`{"type":"bearer","Type":"x","token":"K"}`:  `auth bearer: it has no field "Type"; its fields are token`,
		`{"type":"api-key","token":"K"}`:            `auth api-key: it has no field "token"; its fields are key, header, prefix`,
		`{"type":"passthrough","key":"K"}`:          `auth passthrough: it has no field "key"; it has none but type`,
		`{"type":"custom","headers":"X"}`:           `auth custom: field headers: it must be an object, not a string`,
		`{"type":"custom","headers":{"X":"{{ }}"}}`: `auth custom: field headers: X: between {{ and }}`,
	} {
		if _, err := parse(t, auth); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s…", auth, err, want)
		}
	}
	if _, err := inject.Parse(inject.Auth{}); err == nil || !strings.HasPrefix(err.Error(), "auth: it is missing") {
		t.Errorf("the zero Auth: %v", err)
	}
}

// What stays keeps its bytes and the "&" that parted it from its neighbour.
func TestStripKeepsTheRestOfTheQuery(t *testing.T) {
	for query, want := range map[string]string{
		"":                   "",
		"key":                "",
		"key=1":              "",
		"key=1&b=2":          "b=2",
		"a=1&key=2":          "a=1",
		"a=1&key=2&b=3":      "a=1&b=3",
		"a;key=1&b":          "a&b",
		"key=1;a&b":          "a&b",
		"a&key=1;&b":         "a&b",
		"a&&key=1":           "a&",
		"key=1&&":            "&",
		"%6b%65%79=1&b=%2f+": "b=%2f+",
		"%6B%65%79&key&KEY":  "",
		"Key=1&+key=2&%20key%00x=3&key[]=4&key%5b0%5D=5&a": "a",
		"ke%79%zz=1&_key=2&key_=3":                         "ke%79%zz=1&_key=2&key_=3",
		"keys=1&xkey=2":                                    "keys=1&xkey=2",
		"a=key=1&&;;b":                                     "a=key=1&&;;b",
		"%zz=1&key=2&%":                                    "%zz=1&%",
	} {
		r := inject.Request{RawQuery: query}
		inject.Slots{Query: []string{"key"}}.Strip(&r)
		if r.RawQuery != want {
			t.Errorf("%q without key is %q, want %q", query, r.RawQuery, want)
		}
	}
}

func TestQueryValueIsEscaped(t *testing.T) {
	in, err := parse(t, `{"type":"query","key":"K","parameter":"k"}`)
	if err != nil {
		t.Fatal(err)
	}
	r := inject.Request{RawQuery: "a=1&"}
	if err := in.Inject(&r, values(map[string]string{"K": "a b&c=d#e%+/é"})); err != nil {
		t.Fatal(err)
	}
	if want := "a=1&k=a%20b%26c%3Dd%23e%25%2B%2F%C3%A9"; r.RawQuery != want {
		t.Errorf("%q, want %q", r.RawQuery, want)
	}
}

// A kind that cannot fill all of its slots fills none.
func TestNothingIsSetByHalves(t *testing.T) {
	in, err := parse(t, `{"type":"custom","headers":{"X-A":"{{ GOOD }}","X-B":"{{ BAD }}"}}`)
	if err != nil {
		t.Fatal(err)
	}
	r := inject.Request{Header: map[string][]string{"Accept": {"*/*"}}}
	var ve *inject.ValueError
	if err := in.Inject(&r, values(map[string]string{"GOOD": "v", "BAD": "a\nb"})); !errors.As(err, &ve) || ve.Key != "BAD" {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(map[string][]string{"Accept": {"*/*"}}, r.Header); diff != "" {
		t.Error(diff)
	}
}

// RFC 7617 §2: no control characters, and no colon in a user name.
func TestBasicRefusesWhatMovesTheBorder(t *testing.T) {
	for auth, rows := range map[string][]map[string]string{
		`{"type":"basic","username":"U"}`:                {{"U": "a:b"}, {"U": "a\n"}, {"U": "a\x00"}},
		`{"type":"basic","username":"U","password":"P"}`: {{"U": "a:b", "P": "p"}, {"U": "u", "P": "p\r\n"}},
	} {
		in, err := parse(t, auth)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range rows {
			r := inject.Request{}
			var ve *inject.ValueError
			if err := in.Inject(&r, values(v)); !errors.As(err, &ve) || len(r.Header) != 0 {
				t.Errorf("%s with %q: %v", auth, v, err)
			}
		}
	}
}

// A declaration that was taken is spelled canonically: spelled again and read
// again it is the same.
func FuzzAuth(f *testing.F) {
	for _, s := range []string{`{"type":"bearer","token":"K"}`, `{"type":"x","a":{"b":[1,null,"<"]}}`, `{"type":""}`, `{}`, `null`, `{"Type":"a","type":"b"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spelled string) {
		var a, b inject.Auth
		if json.Unmarshal([]byte(spelled), &a) != nil {
			return
		}
		once, err := json.Marshal(a)
		if err != nil {
			t.Fatalf("%q: %v", spelled, err)
		}
		if err := json.Unmarshal(once, &b); err != nil {
			t.Fatalf("%q became %s: %v", spelled, once, err)
		}
		twice, err := json.Marshal(b)
		if err != nil || string(once) != string(twice) || a.Type() != b.Type() {
			t.Errorf("%q is %s and then %s, %v", spelled, once, twice, err)
		}
	})
}

// Stripping leaves no spelling of the header and touches no other.
func FuzzStripHeader(f *testing.F) {
	f.Add("X-Api-Key", "x_api-KEY")
	f.Add("Authorization", "AUTHORIZATION")
	f.Add("X-A", "X-B")
	f.Fuzz(func(t *testing.T, slot, sent string) {
		r := inject.Request{Header: map[string][]string{sent: {"v"}, "Unrelated\x00": {"w"}}}
		inject.Slots{Headers: []string{slot}}.Strip(&r)
		plain := func(s string) string { // ASCII only, as header names are
			return strings.Map(func(c rune) rune {
				if c >= 'A' && c <= 'Z' {
					return c + 'a' - 'A'
				}
				return c
			}, strings.ReplaceAll(s, "_", "-"))
		}
		if !utf8.ValidString(slot) || !utf8.ValidString(sent) || plain(slot) == plain("Unrelated\x00") {
			return
		}
		_, left := r.Header[sent]
		if left == (plain(slot) == plain(sent)) || len(r.Header["Unrelated\x00"]) != 1 {
			t.Errorf("slot %q, sent %q: %v", slot, sent, r.Header)
		}
	})
}

// Budget: what a request on a bearer service costs.
func TestInjectAllocations(t *testing.T) {
	in, err := parse(t, `{"type":"bearer","token":"K"}`)
	if err != nil {
		t.Fatal(err)
	}
	slots := in.Slots()
	value := seal.NewPlaintext([]byte("sk-live-3f9a77c1e2d4b6a8"))
	open := func(string) (seal.Plaintext, error) { return value, nil }
	r := inject.Request{Header: map[string][]string{"Accept": {"*/*"}}}
	agents := []string{"Bearer of-the-agent"}
	n := testing.AllocsPerRun(100, func() {
		r.Header["Authorization"] = agents
		slots.Strip(&r)
		if err := in.Inject(&r, open); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3 { // the value, and the slice that holds it
		t.Errorf("%v allocations, want at most 3", n)
	}
}
