package policy_test

import (
	"strings"
	"testing"

	"agentvault/policy"
)

func TestParseURL(t *testing.T) {
	https := policy.Target{Scheme: "https", Host: "api.example.com", Port: 443}
	for raw, want := range map[string]struct {
		target      policy.Target
		path, query string
	}{
		"https://api.example.com":               {https, "/", ""},
		"HTTPS://API.example.com/":              {https, "/", ""},
		"api.example.com/v1/a%2Fb?x=1&y=?":      {https, "/v1/a%2Fb", "x=1&y=?"},
		"api.example.com?x":                     {https, "/", "x"},
		"api.example.com/a?u=https://other/":    {https, "/a", "u=https://other/"},
		"https://api.example.com//a/../b;c#d?e": {https, "//a/../b;c", ""},
		"http://api.example.com:8080/x":         {policy.Target{Scheme: "http", Host: "api.example.com", Port: 8080}, "/x", ""},
		"https://[2001:db8::1]:8443/x":          {policy.Target{Scheme: "https", Host: "2001:db8::1", Port: 8443}, "/x", ""},
	} {
		target, path, query, err := policy.ParseURL(raw)
		if err != nil || target != want.target || path != want.path || query != want.query {
			t.Errorf("%s: %+v %q %q %v", raw, target, path, query, err)
		}
	}
	for _, raw := range []string{"", "https://", "/path", "ftp://api.example.com", "https://user@api.example.com/", "https://api.example.com:0/", "https://api.example.com./", "javascript:alert(1)"} {
		if target, _, _, err := policy.ParseURL(raw); err == nil {
			t.Errorf("%q: %+v, want an error", raw, target)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, row := range []struct {
		method, path, query string
		want                string
	}{
		{"GET", "/a/../b//;%00", "x=%20", ""},
		{"X-METHOD", "*", "", ""},
		{"GET", "/a b", "", "spaces"},
		{"GET", "/a", "b\x7f", "control"},
		{"GET", "/a#b", "", "fragment"},
		{"GET", "/a", "b#", "fragment"},
		{"GET", "/", strings.Repeat("a", policy.MaxRequestTarget), "16 KiB"},
		{"get", "/", "", "upper case"},
		{"G T", "/", "", "not one"},
		{"GET\r\n", "/", "", "not one"},
		{"G/T", "/", "", "not one"},
		{"ÄGET", "/", "", "not one"},
		{"", "/", "", "not one"},
		{"M-SEARCH", "/", "", ""},
		{strings.Repeat("A", 33), "/", "", "too long"},
		{"TRACE", "/", "", "TRACE is not served"},
		{"CONNECT", "/", "", "CONNECT is not served"},
	} {
		got := policy.Malformed(row.method, row.path, row.query)
		if (got == "") != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s %.20s?%.20s: %q, want %q", row.method, row.path, row.query, got, row.want)
		}
	}
}

// What was read, spelled again, is read the same.
func FuzzParseURL(f *testing.F) {
	for _, raw := range []string{"https://api.example.com/a?b#c", "HTTP://[2001:db8::1]:8080//x?y?z", "api.example.com?u=https://other/", "a/b://c", "://", "#"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		target, path, query, err := policy.ParseURL(raw)
		if err != nil {
			return
		}
		again := target.Scheme + "://" + target.Authority() + path + "?" + query
		target2, path2, query2, err := policy.ParseURL(again)
		if err != nil || target2 != target || path2 != path || query2 != query || !strings.HasPrefix(path, "/") {
			t.Errorf("%q: %+v %q %q; %q: %+v %q %q %v", raw, target, path, query, again, target2, path2, query2, err)
		}
	})
}
