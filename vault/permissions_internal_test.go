package vault

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write generated files")

func TestGeneratedPermissions(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Who may do what

Generated from the table in vault/permissions.go, which is the one that is asked; do not edit. Run ` + "`make generate`" + `.

A person has a role on the instance:

- ` + "`owner`" + `: runs the instance, and is an admin of every vault. Who registers first is one; there is always at least one.
- ` + "`member`" + `: may make vaults, and has a role in each vault where an admin gave them one.
- ` + "`no-access`" + `: may sign in and look after their own login. A role in a vault is of no use with it.

And a role in a vault, each of which includes the ones behind it:

- ` + "`admin`" + `: settings, members and agents. Who makes a vault is its admin.
- ` + "`member`" + `: services, credentials, proposals, everybody's sessions and the record.
- ` + "`proxy`" + `: may use the vault by sessions of their own, and propose changes.

An agent has a role in a vault too, in the same words. It widens nothing: with any role, the holder of an agent's token or of a session may discover what it can use, use it, propose changes and see its own proposals, and end its own session. A session has what a ` + "`proxy`" + ` has. No token of an agent can approve a proposal, change anything or read a value.

Nobody reads a credential's value: it is set, used and replaced, and never shown.

What widens somebody's reach needs a login whose password was given in the last five minutes; ` + "`login_too_old`" + ` asks for it again. The actions have the names that the record of changes uses.

| action | what | agents | least role on the instance | least role in the vault | fresh login |
|---|---|---|---|---|---|
`)
	yes := map[bool]string{true: "yes"}
	for _, a := range actions {
		instance := a.needs.instance
		if a.needs.vault != "" {
			instance = cmp.Or(instance, RoleMember)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", a.name, a.what, yes[a.agents], instance, a.needs.vault, yes[a.fresh])
	}
	const path = "../docs/permissions.md"
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

// An action is told from the others by its name, in the record and in the docs.
func TestActionsHaveNamesOfTheirOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, a := range actions {
		if a.name == "" || a.what == "" || seen[a.name] {
			t.Errorf("action %q (%s): no name, no description, or twice", a.name, a.what)
		}
		seen[a.name] = true
		if a.needs.vault != "" && vaultRank[a.needs.vault] == 0 || a.needs.instance != "" && instanceRank[a.needs.instance] == 0 {
			t.Errorf("action %s needs a role that there is not: %+v", a.name, a.needs)
		}
		if a.agents && a.fresh {
			t.Errorf("action %s needs a login, and is for agents, who have none", a.name)
		}
	}
}
