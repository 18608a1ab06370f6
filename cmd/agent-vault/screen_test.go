package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShownHost(t *testing.T) {
	for host, want := range map[string]string{
		"api.github.com":                 "api.[github.com]",
		"github.com":                     "[github.com]",
		"API.GitHub.com":                 "api.[github.com]",
		"*.example.co.uk":                "*.[example.co.uk]",
		"api.example.com:8443":           "api.[example.com]:8443",
		"api.example.com:8443/v1/*":      "api.[example.com]:8443/v1/*",
		"me.github.io":                   "[me.github.io]",
		"github.com.evil.example":        "github.com.[evil.example]",
		"localhost":                      "localhost",
		"localhost:80":                   "localhost:80",
		"com":                            "com",
		"10.0.0.1":                       "10.0.0.1",
		"10.0.0.1:80":                    "10.0.0.1:80",
		"[2001:db8::1]:80":               "[2001:db8::1]:80",
		"2001:db8::1":                    "2001:db8::1",
		"api.xn--bcher-kva.example":      "api.[xn--bcher-kva.example] (api.bücher.example)",
		"bücher.example":                 "[xn--bcher-kva.example] (bücher.example)",
		"xn--80ak6aa92e.com/v1/*":        "[xn--80ak6aa92e.com]/v1/* (аррӏе.com)",
		"a.example.com/\u202e":           "a.[example.com]/\\u202e",
		"api.stripe.com@evil.example":    "api.stripe.[com@evil.example]",
		"":                               "",
		"\x1b[2J":                        "\\x1b[2j",
		strings.Repeat("a.", 3) + "b.uk": "a.a.a.[b.uk]",
	} {
		if got := shownHost(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		line  string
		width int
		want  []string
	}{
		{"", 5, []string{""}},
		{"short", 5, []string{"short"}},
		{"longer", 5, []string{"longe", "r"}},
		{"two words", 6, []string{"two ", "words"}},
		{"a verylongword", 8, []string{"a verylo", "ngword"}},
		{"日本語文", 5, []string{"日本", "語文"}},
		{strings.Repeat(" ", 7) + "x", 4, []string{"    ", "   x"}},
	} {
		got := broken(tt.line, tt.width)
		if diff := cmp.Diff(tt.want, got); diff != "" || strings.Join(got, "") != tt.line {
			t.Errorf("%q in %d columns (-want +got):\n%s", tt.line, tt.width, diff)
		}
	}
}

func TestWriteDiff(t *testing.T) {
	var b strings.Builder
	long := strings.Repeat("x", 60)
	screen{width: 50}.diff(&b, "now", "a\nb\n", "then", "a\n"+long+"\n")
	want := "--- now\n+++ then\n@@ -1,2 +1,2 @@\n a\n-b\n+" + long[:41] + "\n+   ... " + long[41:] + "\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
