package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// An action is a row of the table in vault/permissions.go, the only place that
// says who may do what. It is read from the source: package vault does not
// export it, and what it says elsewhere it says by answering.
type action struct {
	name            string
	instance, vault string // the least role
	agents, fresh   bool
	used            bool // by a row of the matrix
}

// permitted reads the table.
func permitted(t *testing.T) map[string]*action {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../vault/permissions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*action)
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		if name, ok := lit.Type.(*ast.Ident); !ok || name.Name != "action" {
			return true
		}
		a := new(action)
		a.read(lit)
		all[a.name] = a
		return false
	})
	if len(all) < 20 {
		t.Fatalf("%d actions: is the table still there?", len(all))
	}
	return all
}

// roles are the names of the constants that the table uses.
var roles = map[string]string{
	"RoleOwner": "owner", "RoleMember": "member", "RoleNoAccess": "no-access",
	"VaultAdmin": "admin", "VaultMember": "member", "VaultProxy": "proxy",
}

func (a *action) read(lit *ast.CompositeLit) {
	for _, e := range lit.Elts {
		kv := e.(*ast.KeyValueExpr)
		switch key := kv.Key.(*ast.Ident).Name; key {
		case "name":
			a.name, _ = strconv.Unquote(kv.Value.(*ast.BasicLit).Value)
		case "agents":
			a.agents = true
		case "fresh":
			a.fresh = true
		case "needs":
			a.read(kv.Value.(*ast.CompositeLit))
		case "instance":
			a.instance = roles[kv.Value.(*ast.Ident).Name]
		case "vault":
			a.vault = roles[kv.Value.(*ast.Ident).Name]
		}
	}
}

// A person is a caller as permissions look at one.
type person struct {
	instance, vault string // roles; the vault is "default"
	old             bool
}

var persons = map[string]person{
	"owner": {"owner", "admin", false}, "old-owner": {"owner", "admin", true},
	"outsider": {"member", "", false}, "other-admin": {"member", "", false}, "no-access": {"no-access", "", false},
	"proxy": {"member", "proxy", false}, "member": {"member", "member", false},
	"admin": {"member", "admin", false}, "old-admin": {"member", "admin", true},
}

// letters are those that an action leaves a caller: what exactly is refused, and
// what else there is to refuse, the matrix says.
func (a *action) letters(caller string, lists bool) string {
	rank := map[string]int{"": 0, "no-access": 1, "proxy": 1, "member": 2, "owner": 3, "admin": 3}
	who, isPerson := persons[caller]
	least := a.instance
	if least == "" {
		least = "member" // no vault is open to no-access
	}
	const allowed = ".nbc"
	switch {
	case caller == "nobody" || caller == "garbage" || caller == "ended" || caller == "lease":
		return "1"
	case !isPerson && a.agents && strings.HasPrefix(caller, "other-agent"):
		return "v.b" // where it is about a vault: one in which the agent has no grant
	case !isPerson && a.agents:
		return allowed
	case !isPerson:
		return "f"
	case a.instance == "" && a.vault == "": // for agents only
		return "f"
	case rank[who.instance] < rank[least]:
		return "f"
	case a.vault != "" && !lists && rank[who.vault] < rank[a.vault], a.vault != "" && who.vault == "" && !lists:
		return "fvn"
	case a.fresh && who.old:
		return "o"
	case lists:
		return ".v"
	}
	return allowed
}

// TestMatrixAgreesWithPermissions: what each route answers is what the table in
// vault/permissions.go says of its action, and every action is asked by a route.
func TestMatrixAgreesWithPermissions(t *testing.T) {
	actions := permitted(t)
	for _, r := range matrix {
		got := r.letters(t)
		name, lists := strings.CutPrefix(r.action, "~")
		switch name {
		case "": // asked of nobody
			for caller, letter := range got {
				if strings.ContainsRune("1fvo", rune(letter)) {
					t.Errorf("%s asks nobody, but %s gets %c", r.route, caller, letter)
				}
			}
			continue
		case "-": // its rows say what
			continue
		}
		a, ok := actions[name]
		if !ok {
			t.Errorf("%s: there is no action %s", r.route, name)
			continue
		}
		a.used = true
		for caller, letter := range got {
			if want := a.letters(caller, lists); !strings.ContainsRune(want, rune(letter)) {
				t.Errorf("%s: %s gets %c, but of %s the permissions say one of %q", r.route, caller, letter, a.name, want)
			}
		}
	}
	for name, a := range actions {
		if !a.used {
			t.Errorf("no row of the matrix asks for %s", name)
		}
	}
}
