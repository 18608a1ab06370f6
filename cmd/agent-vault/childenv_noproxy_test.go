package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMergeNoProxy(t *testing.T) {
	const own = "localhost,127.0.0.1,::1"
	for _, tt := range []struct{ name, upper, lower, server, want string }{
		{"nothing", "", "", "", own},
		{"the server's host is added", "", "", "http://vault.test:14321", own + ",vault.test"},
		{"an IPv6 server without brackets", "", "", "http://[fd00::1]:14321", own + ",fd00::1"},
		{"loopback once", "", "", "http://127.0.0.1:14321", own},
		{"the operator's stay, first", "corp.test,10.0.0.0/8", "", "", "corp.test,10.0.0.0/8," + own},
		{"both spellings, each once", "corp.test", "corp.test,other.test", "", "corp.test,other.test," + own},
		{"blanks and empty entries", " corp.test , ,,other.test third.test", "", "", "corp.test,other.test,third.test," + own},
		{"what is there already keeps its place", "::1,corp.test", "", "", "::1,corp.test,localhost,127.0.0.1"},
		{"a server that is no URL", "", "", "http://[", own},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, left := mergeNoProxy(tt.upper, tt.lower, tt.server, []string{"api.example.com"}); got != tt.want || left != nil {
				t.Errorf("got %q, %q left; want %q", got, left, tt.want)
			}
		})
	}
}

// TestNoProxyNeverHidesAService: whatever any program could take for a host of
// the vault is left out, and nothing else.
func TestNoProxyNeverHidesAService(t *testing.T) {
	services := []string{"api.example.com", "*.wild.test", "port.test:8443", "path.test/v1/*", "192.0.2.7", "[2001:db8::1]:8443"}
	hides := []string{
		"*", "api.example.com", "API.Example.COM", "api.example.com:443", ".example.com", "example.com", "*.example.com", "com", "*.com", ".com",
		"ple.com", "api.example.com.", ".example.com.", "example.com..", "api.example.com.:443", "com.", "wild.test.", "*example*", "api.*.com", "*.", ".",
		"wild.test", "*.wild.test", ".wild.test", "a.wild.test", "b.a.wild.test:443", "test", "a*.wild.test", "10.*",
		"port.test", "port.test:8443", "path.test", "192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "::ffff:192.0.2.7", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:8443", "2001:db8::/32",
		"[", // no pattern of any kind: who knows
	}
	stays := []string{"corp.example", "api.example.com.evil.example", "other.example.net", "www.api.example.org", "10.0.0.0/8", "192.0.2.8", "2001:db9::/32", "x.port.test.example", "host:8080"}
	got, left := mergeNoProxy(strings.Join(hides, ","), strings.Join(stays, ","), "", services)
	if diff := cmp.Diff(hides, left); diff != "" {
		t.Errorf("left out:\n%s", diff)
	}
	if want := strings.Join(stays, ",") + ",localhost,127.0.0.1,::1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
