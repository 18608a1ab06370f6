package shown_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"agentvault/api/shown"
)

func TestPlain(t *testing.T) {
	for words, want := range map[string]string{
		"":                       "",
		"bücher & <b>":           "bücher & <b>",
		"a\nb\tc":                `a\nb\tc`,
		"\x1b[2J\x00":            `\x1b[2J\x00`,
		"a\u202eb\u200bc\u2028d": `a\u202eb\u200bc\u2028d`,
		"\U000e0041":             `\U000e0041`,
		"\xff":                   `\xff`,
	} {
		if got := shown.Plain(words); got != want {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a\u202eb\xff\n")
	f.Fuzz(func(t *testing.T, words string) {
		got := shown.Plain(words)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, shown.Deceptive) {
			t.Errorf("%q became %q", words, got)
		}
		for _, line := range append(shown.Lines(words), shown.HostOf(words).String()) {
			if strings.ContainsFunc(line, shown.Deceptive) {
				t.Errorf("%q became %q", words, line)
			}
		}
	})
}

func TestHostOf(t *testing.T) {
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
		if got := shown.HostOf(host).String(); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for ago, want := range map[time.Duration]string{
		time.Second: "just now", 5 * time.Minute: "5m ago", 47 * time.Hour: "47h ago", 72 * time.Hour: "3d ago",
	} {
		if got := shown.Age(now.Add(-ago), now); got != want {
			t.Errorf("%v: %q, want %q", ago, got, want)
		}
	}
}
