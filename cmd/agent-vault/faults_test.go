package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"agentvault/api"
	"agentvault/broker"
)

// TestGeneratedFaults holds docs/faults.md against the two tables of codes.
func TestGeneratedFaults(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Errors that the vault itself answers\n\n" +
		"Generated from the tables in broker/fault.go and api/refusals.go; do not edit. Run `make generate`.\n\n" +
		"Each is JSON `{\"error\": \"<code>\", \"message\": \"<sentence>\", \"request_id\": \"…\"}` with the header `X-Agent-Vault-Proxy-Error: true`.\n\n" +
		"## To requests through the entrances\n" +
		"On both entrances. Where a session made the request, it has the request id under which the audit log knows it; what cannot be understood or has no valid token is not recorded.\n\n" +
		"| status | code | when | what to do |\n|---|---|---|---|\n")
	for _, k := range broker.FaultKinds() {
		status := fmt.Sprint(k.Status)
		if k.Status == 401 {
			status = "401 (path), 407 (proxy)"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", status, k.Code, k.When, k.Next)
	}
	b.WriteString("\n## To requests to the server itself\n" +
		"The routes are described in [openapi.json](openapi.json), which the server serves at `/v1/openapi.json`.\n\n" +
		"| status | code | when |\n|---|---|---|\n")
	for _, k := range api.Refusals() {
		fmt.Fprintf(&b, "| %d | `%s` | %s |\n", k.Status, k.Code, k.When)
	}
	const path = "../../docs/faults.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != b.String() {
		t.Errorf("%s is not up to date; run make generate (%v)", path, err)
	}
}
