package mitm

import (
	"encoding/base64"
	"strings"
	"testing"

	"agentvault/broker"
)

// Not black-box: both parsers are reached from outside only through a broker,
// which would slow fuzzing down a hundredfold.

// What is understood says the same when spelled as Basic TOKEN:VAULT.
func FuzzParseCredentials(f *testing.F) {
	for _, s := range []string{"Bearer av_sess_x", "bearer  x ", "Basic " + base64.StdEncoding.EncodeToString([]byte("t:v")), "Basic dDp2", "Basic dA==", "Basic =", "Digest x", "", " ", "Basic"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, vault, ok := parseCredentials(s)
		if !ok {
			return
		}
		if token == "" {
			t.Errorf("parseCredentials(%q) is ok without a token", s)
		}
		if strings.Contains(token, ":") {
			return // a bearer may hold one; Basic cannot spell it
		}
		again := "Basic " + base64.StdEncoding.EncodeToString([]byte(token+":"+vault))
		if gotToken, gotVault, ok := parseCredentials(again); !ok || gotToken != token || gotVault != vault {
			t.Errorf("%q: %q %q, but as %q: %q %q", s, token, vault, again, gotToken, gotVault)
		}
	})
}

// Whatever absoluteForm takes apart, nothing of the path is in the authority,
// and a pinned authority is one that the bytes spell.
func FuzzAbsoluteForm(f *testing.F) {
	for _, s := range []string{"http://h/", "HTTPS://H:443/x?y", "https://u@h/", "http://h?x", "http://h#f", "http:///", "://", "*", "/x", "http://a/http://b/", "https://h\\@b/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		scheme, authority, ok := absoluteForm(uri)
		if !ok || scheme != "http" && scheme != "https" {
			return
		}
		if strings.ContainsAny(authority, "/?#") || !strings.HasPrefix(uri[len(scheme)+3:], authority) {
			t.Errorf("absoluteForm(%q) = %q, %q", uri, scheme, authority)
		}
		target, fault := broker.Pin(scheme, authority)
		if fault != nil {
			return
		}
		host, _, _ := strings.Cut(strings.TrimPrefix(target.Authority(), "["), "]")
		host, _, _ = strings.Cut(host, ":")
		if host != "" && !strings.Contains(strings.ToLower(authority), host) {
			t.Errorf("absoluteForm(%q): pinned %q is not in %q", uri, target.Authority(), authority)
		}
		if !names(target, authority) && scheme == "https" {
			t.Errorf("%q does not name the target it was pinned to", authority)
		}
	})
}
