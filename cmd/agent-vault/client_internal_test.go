package main

import (
	"strings"
	"testing"
)

func TestClientNameIsPlain(t *testing.T) {
	for s, want := range map[string]string{
		"agent-vault/v1 on bücher\r\n": "agent-vault/v1 on b?cher??",
		strings.Repeat("x", 300):       strings.Repeat("x", maxClientName),
	} {
		if got := asciiOnly(s); got != want {
			t.Errorf("%q: %q", s, got)
		}
	}
	if name := clientName(); name != asciiOnly(name) || !strings.HasPrefix(name, "agent-vault/") {
		t.Errorf("%q", name)
	}
}
