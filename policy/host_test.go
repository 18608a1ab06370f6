package policy_test

import (
	"errors"
	"strings"
	"testing"

	"agentvault/policy"
)

func TestParseTarget(t *testing.T) {
	long := strings.Repeat("a", 63)
	rows := []struct {
		scheme, authority string
		want              policy.Target
	}{
		{"https", "api.stripe.com", policy.Target{Scheme: "https", Host: "api.stripe.com", Port: 443}},
		{"http", "api.stripe.com", policy.Target{Scheme: "http", Host: "api.stripe.com", Port: 80}},
		{"https", "API.Stripe.COM:443", policy.Target{Scheme: "https", Host: "api.stripe.com", Port: 443}},
		{"https", "h:8443", policy.Target{Scheme: "https", Host: "h", Port: 8443}},
		{"https", "xn--bcher-kva.example", policy.Target{Scheme: "https", Host: "xn--bcher-kva.example", Port: 443}},
		{"https", "1password.com", policy.Target{Scheme: "https", Host: "1password.com", Port: 443}},
		{"https", "192.0.2.1", policy.Target{Scheme: "https", Host: "192.0.2.1", Port: 443}},
		{"https", "192.0.2.1:65535", policy.Target{Scheme: "https", Host: "192.0.2.1", Port: 65535}},
		{"https", "[2001:db8::1]:8443", policy.Target{Scheme: "https", Host: "2001:db8::1", Port: 8443}},
		{"https", "[2001:DB8::1]", policy.Target{Scheme: "https", Host: "2001:db8::1", Port: 443}},
		{"https", long + "." + long + "." + long + "." + long[:61], policy.Target{Scheme: "https", Host: long + "." + long + "." + long + "." + long[:61], Port: 443}},
	}
	for _, r := range rows {
		got, err := policy.ParseTarget(r.scheme, r.authority)
		if err != nil || got != r.want {
			t.Errorf("ParseTarget(%q, %q) = %v, %v, want %v", r.scheme, r.authority, got, err, r.want)
		}
	}
}

func TestParseTargetRefuses(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, authority := range []string{
		"", ".", "..", "a..b", ".a", "a.", "a.:443", "-a", "a-", "a.-b.c", long + "a", strings.Repeat("a.", 127) + "a",
		"a_b.c", "a b", "a\tb", "a\x00b", "a%2eb", "a%b", "u@h", "u:p@h", "h/", "h?x", "h#x", "h\\x", "h,g", "h;g", "*.h", "ä.example", "a\u3002b", "a\u200b.b",
		"h:", "h:0", "h:00443", "h:+443", "h: 443", "h:443 ", "h:65536", "h:99999999999999999999", "h:http", "h:4_4_3", "h:443:443", ":443",
		"127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "127.0.0.01", "127.0.0.1.", "1.2.3.4.5", "1.2.3", "a.1", "a.0x1", "256.1.1.1",
		"::1", "[::1", "::1]", "[]", "[::1]x", "[::ffff:127.0.0.1]", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[127.0.0.1]", "[::1]:", "[::1]:0", "[::1]:port",
	} {
		got, err := policy.ParseTarget("https", authority)
		var he *policy.HostError
		if err == nil || !errors.As(err, &he) || he.Reason == "" {
			t.Errorf("ParseTarget(%q) = %v, %v, want a *HostError", authority, got, err)
		}
	}
	for _, scheme := range []string{"", "HTTPS", "ftp", "ws", "https:"} {
		if _, err := policy.ParseTarget(scheme, "h"); err == nil {
			t.Errorf("scheme %q was taken", scheme)
		}
	}
}

func TestTargetSpellings(t *testing.T) {
	rows := []struct {
		target             policy.Target
		authority, address string
		ip                 bool
	}{
		{policy.Target{Scheme: "https", Host: "h.example", Port: 443}, "h.example", "h.example:443", false},
		{policy.Target{Scheme: "http", Host: "h.example", Port: 80}, "h.example", "h.example:80", false},
		{policy.Target{Scheme: "http", Host: "h.example", Port: 443}, "h.example:443", "h.example:443", false},
		{policy.Target{Scheme: "https", Host: "2001:db8::1", Port: 443}, "[2001:db8::1]", "[2001:db8::1]:443", true},
		{policy.Target{Scheme: "https", Host: "2001:db8::1", Port: 1}, "[2001:db8::1]:1", "[2001:db8::1]:1", true},
		{policy.Target{Scheme: "https", Host: "192.0.2.1", Port: 443}, "192.0.2.1", "192.0.2.1:443", true},
	}
	for _, r := range rows {
		if r.target.Authority() != r.authority || r.target.Address() != r.address || r.target.IsIP() != r.ip {
			t.Errorf("%v: %q %q %v", r.target, r.target.Authority(), r.target.Address(), r.target.IsIP())
		}
	}
}

func TestCanonicalPattern(t *testing.T) {
	rows := map[string]string{
		"api.stripe.com":      "api.stripe.com",
		"API.Stripe.com":      "api.stripe.com",
		"api.stripe.com:443":  "api.stripe.com:443",
		"*.Example.com":       "*.example.com",
		"*.example.com:8443":  "*.example.com:8443",
		"slack.com/api/*":     "slack.com/api/*",
		"*.example.com:1/a*b": "*.example.com:1/a*b",
		"Bücher.example":      "xn--bcher-kva.example",
		"*.bücher.example":    "*.xn--bcher-kva.example",
		"192.0.2.1:8080":      "192.0.2.1:8080",
		"[2001:db8::1]:8080":  "[2001:db8::1]:8080",
		"[2001:db8::1]/x":     "[2001:db8::1]/x",
		"localhost":           "localhost",
	}
	for in, want := range rows {
		got, err := policy.CanonicalPattern(in)
		if err != nil || got != want {
			t.Errorf("CanonicalPattern(%q) = %q, %v, want %q", in, got, err, want)
		}
		if again, err := policy.CanonicalPattern(got); err != nil || again != got {
			t.Errorf("CanonicalPattern(%q) = %q, %v: not stable", got, again, err)
		}
	}
	for _, in := range []string{
		"", "*", "*.", "*.*", "*.com", "*.co.uk", "*.test", "*.github.io", "*.herokuapp.com", "*.atlassian.net", "*.slack.com",
		"*a.example.com", "a.*.example.com", "a*.example.com", "**.example.com", "https://api.stripe.com", "api.stripe.com:0", "api.stripe.com:x",
		"user@api.stripe.com", "api_stripe.com", "*.192.0.2.1", "*.[::1]", "h/a//b", "h/../x", "h/a?b", "h/a#b", "h/%2f", "h/a;b", "h/%zz", "api.stripe.com.",
		"аpple.com" /* a Cyrillic а is converted, not refused: */ + "\x00",
	} {
		if got, err := policy.CanonicalPattern(in); err == nil {
			t.Errorf("CanonicalPattern(%q) = %q, want an error", in, got)
		}
	}
}

func TestIsLocalName(t *testing.T) {
	for name, want := range map[string]bool{
		"localhost": true, "a.localhost": true, "printer.local": true, "db": true, "x.localdomain": true, "nas.home.arpa": true,
		"example.com": false, "local.example.com": false, "notlocalhost.com": false, "2001:db8::1": false, "api.test": false,
	} {
		if got := policy.IsLocalName(name); got != want {
			t.Errorf("IsLocalName(%q) = %v", name, got)
		}
	}
}

// What is parsed has one spelling, and that spelling parses to itself.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"api.stripe.com", "API.x:443", "[::1]:8443", "127.0.0.1", "a.b.c:1", "0x7f.1", "a%2e", "xn--a", "h:65536"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, authority string) {
		for _, scheme := range []string{"https", "http"} {
			a, err := policy.ParseTarget(scheme, authority)
			if err != nil {
				if (a != policy.Target{}) {
					t.Errorf("%q: %v with an error", authority, a)
				}
				continue
			}
			b, err := policy.ParseTarget(scheme, a.Authority())
			if err != nil || a != b {
				t.Errorf("%q is %v, whose authority %q is %v, %v", authority, a, a.Authority(), b, err)
			}
			if strings.ToLower(a.Host) != a.Host || strings.ContainsAny(a.Host, "%_ @/\\?#*[]\x00") || strings.HasSuffix(a.Host, ".") || a.Port == 0 {
				t.Errorf("%q is %v", authority, a)
			}
			if _, err := policy.CanonicalPattern(a.Authority()); err != nil {
				t.Errorf("%q can be asked for and not configured: %v", a.Authority(), err)
			}
		}
	})
}
