package main

import (
	"strings"
	"testing"

	"agentvault/api"
	"agentvault/vault"
)

// apply warns of what a file takes off a service, compared with what it is.
func TestApplyWarnsOfLostPins(t *testing.T) {
	pinned := vault.Service{Name: "api", Host: "api.example.com", Switches: vault.Switches{Pins: []string{"sha256/x"}}}
	bare := vault.Service{Name: "api", Host: "api.example.com"}
	request := api.ApplyRequest{Vaults: []api.ApplyVault{{Name: "default", Services: []vault.Service{bare}}}}
	changes := []vault.Change{{Vault: "default", Kind: "service", Name: "api", Action: "updated"}}
	for _, was := range [][]vault.Service{{pinned}, {bare}, nil} {
		var said strings.Builder
		warnApplied(&said, request, map[string][]vault.Service{"default": was}, changes)
		if lost := was != nil && len(was[0].Pins) > 0; strings.Contains(said.String(), "loses pins: sha256/x") != lost {
			t.Errorf("%v: %q", was, &said)
		}
	}
}
