package main_test

import (
	"strings"
	"testing"
)

// TestAddFromCatalogOnTerminal: the tenant is asked for, and each value, which is
// not seen; one that is left empty can be set later.
func TestAddFromCatalogOnTerminal(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	term := onTerminal(t, append(i.env(), "TERM=xterm"), "catalog", "add", "atlassian")
	term.types("Tenant (your Atlassian site, as in acme): ", "no tenant")
	term.until("the second question", func() bool { return strings.Count(term.seen.String(), "Tenant (") == 2 })
	term.types("Tenant (your Atlassian site, as in acme): ", "Acme")
	term.sees("  atlassian: acme.atlassian.net, basic ATLASSIAN_EMAIL ATLASSIAN_API_TOKEN\r\n")
	term.answers("Value of ATLASSIAN_EMAIL (empty to set it later): ", "you-of-the-value@example.com")
	term.sees("https://id.atlassian.com/manage-profile/security/api-tokens")
	term.answers("Value of ATLASSIAN_API_TOKEN (empty to set it later): ", "")
	status, seen := term.ends()
	want := "added atlassian to the vault default: acme.atlassian.net, basic ATLASSIAN_EMAIL ATLASSIAN_API_TOKEN\n" +
		"ATLASSIAN_API_TOKEN has no value yet\nhint: run: agent-vault credential set ATLASSIAN_API_TOKEN --vault default\n"
	if status != 0 || !strings.HasSuffix(seen, want) || strings.Contains(seen, "you-of-the-value") {
		t.Errorf("status %d: %q", status, seen)
	}
	if list := i.must("", "credential", "list"); !strings.Contains(list, "ATLASSIAN_EMAIL") || strings.Contains(list, "ATLASSIAN_API_TOKEN") {
		t.Errorf("%s", list)
	}

	term = onTerminal(t, append(i.env(), "TERM=xterm"), "service", "remove", "atlassian")
	term.types("Remove the service atlassian (acme.atlassian.net) from the vault default? [y/N] ", "y")
	if status, seen := term.ends(); status != 0 || !strings.HasSuffix(seen, "removed atlassian from the vault default\n") {
		t.Errorf("status %d: %q", status, seen)
	}
	term = onTerminal(t, append(i.env(), "TERM=xterm"), "credential", "set", "ATLASSIAN_API_TOKEN")
	term.answers("Value of ATLASSIAN_API_TOKEN: ", "value-of-the-token")
	if status, seen := term.ends(); status != 0 || !strings.HasSuffix(seen, "set ATLASSIAN_API_TOKEN in the vault default\n") || strings.Contains(seen, "value-of") {
		t.Errorf("status %d: %q", status, seen)
	}
}
