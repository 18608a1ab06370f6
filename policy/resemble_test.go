package policy_test

import (
	"testing"

	"agentvault/policy"
)

func TestRegistrable(t *testing.T) {
	for host, want := range map[string]struct {
		domain string
		shared bool
	}{
		"api.github.com": {"github.com", false}, "a.b.example.co.uk": {"example.co.uk", false},
		"me.github.io": {"me.github.io", true}, "a.me.github.io": {"me.github.io", true}, "app.herokuapp.com": {"app.herokuapp.com", true},
		"localhost": {"", false}, "10.0.0.1": {"", false}, "2001:db8::1": {"", false}, "com": {"", false}, "": {"", false},
	} {
		if domain, shared := policy.Registrable(host); domain != want.domain || shared != want.shared {
			t.Errorf("%s: %q %t, want %v", host, domain, shared, want)
		}
	}
}

func TestResembles(t *testing.T) {
	for _, tt := range []struct {
		host, known string
		want        bool
	}{
		{"api.stripe.com", "api.stripe.com", false},
		{"files.stripe.com", "api.stripe.com", false},
		{"api.openai.com", "api.stripe.com", false},
		{"api.str1pe.com", "api.stripe.com", true},
		{"api.strlpe.com", "api.stripe.com", true},
		{"api.stripes.com", "api.stripe.com", true},
		{"api.stipe.com", "api.stripe.com", true},
		{"stripe.example", "api.stripe.com", true},
		{"stripe-api.com", "api.stripe.com", true},
		{"api-stripe.com", "api.stripe.com", true},
		{"striped-shirts.com", "api.stripe.com", false},
		{"api.stripe.com.evil.example", "api.stripe.com", true},
		{"stripe.herokuapp.com", "api.stripe.com", true},
		{"xn--strpe-p2e.com", "api.stripe.com", true}, // the Cyrillic і
		{"xn--80ak6aa92e.com", "apple.com", true},     // аррӏе, all Cyrillic
		{"api.githnb.com", "api.github.com", true},    // one other letter
		{"api.rnailgun.net", "api.mailgun.net", true}, // rn for m
		{"x.ai", "x.com", false},                      // too short to tell
		{"box.example", "fox.com", false},             // likewise
		{"10.0.0.1", "10.0.0.2", false},               // addresses
		{"localhost", "api.stripe.com", false},        // local names
		{"api.stripe.com", "localhost", false},        // likewise
		{"a.example.com", "b.example.com", false},     // the same owner
		{"me.github.io", "api.github.com", false},     // its own name is me
		{"github.github.io", "api.github.com", true},  // under a suffix that strangers share
		{"api.github.com.", "api.github.com", false},  // no host
		{"", "api.stripe.com", false},                 // none
	} {
		if got := policy.Resembles(tt.host, tt.known); got != tt.want {
			t.Errorf("%s and %s: %t, want %t", tt.host, tt.known, got, tt.want)
		}
	}
}
