package broker

import (
	"slices"
	"testing"

	"agentvault/vault"
)

func TestHostsOfServices(t *testing.T) {
	var services []vault.Service
	for _, h := range []string{"b.example", "a.example:8443", "*.a.example", "a.example", "192.0.2.7:443", "[2001:db8::1]:8443", "b.example/v1/*"} {
		services = append(services, vault.Service{Host: h})
	}
	want := []string{"*.a.example", "192.0.2.7", "2001:db8::1", "a.example", "b.example"}
	if got := hostsOf(services); !slices.Equal(got, want) {
		t.Errorf("hosts %q, want %q", got, want)
	}
}
