package api_test

import (
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/vault"
)

// agentHeld are the callers whose token an agent, or who runs one, may hold.
var agentHeld = []string{"session", "other-session", "agent-proxy", "agent-member", "agent-admin", "other-agent", "lease"}

// TestNoAgentHeldTokenCanDoMore: no token that an agent holds, whatever its
// role, can approve, widen or read a value. Each is tried on every route, with
// a body that is sound and the digest and link that the agent could know; it
// also stands where routes take other tokens and passwords.
func TestNoAgentHeldTokenCanDoMore(t *testing.T) {
	w := newWorld(t)
	for _, caller := range agentHeld {
		t.Run(caller, func(t *testing.T) {
			f := *w
			f.fixture = w.copy()
			f.t = t
			f.words = maps.Clone(w.words)
			for _, word := range []string{"password", "user-invite-token", "agent-invite-token"} {
				f.words[word] = w.tokens[caller]
			}
			before, secrets := f.protected(caller), spelled(held)
			for _, r := range lastWords(matrix) {
				for _, accept := range []string{"", "application/json", "text/html"} {
					req := f.as(caller, r)
					req.Header.Set("Accept", accept)
					a := f.do(req)
					for _, s := range secrets {
						if strings.Contains(a.body+fmt.Sprint(a.header), s) {
							t.Errorf("%s answers with the value %s: %s", r.route, s, a.body)
						}
					}
				}
				if after := f.protected(caller); after != before {
					t.Fatalf("%s changed something: %s", r.route, cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")))
				}
			}
			if strings.Contains(f.dump()+f.log.String(), secretValue) {
				t.Error("a value stands in the database or the log in clear")
			}
		})
	}
}

// lastWords puts at the end what ends the caller.
func lastWords(rows []row) (list []row) {
	ends := func(r row) bool { return r.route == "DELETE /v1/sessions/self" }
	for _, r := range rows {
		if !ends(r) {
			list = append(list, r)
		}
	}
	for _, r := range rows {
		if ends(r) {
			list = append(list, r)
		}
	}
	return list
}

// spelled are values in the forms in which they could come out.
func spelled(values []string) (list []string) {
	for _, v := range values {
		list = append(list, v, base64.StdEncoding.EncodeToString([]byte(v)), hex.EncodeToString([]byte(v)), url.QueryEscape(v))
	}
	return list
}

// protected is all of the database that a caller may not change: all but its
// own session, new proposals, what is counted for them and the record of
// changes.
func (w *world) protected(caller string) string {
	w.t.Helper()
	db, err := sql.Open("sqlite", w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	first := query(w.t, db, "SELECT id FROM proposals WHERE number = 1 AND vault_id = '"+w.vaultID("default")+"'")
	var b strings.Builder
	for _, table := range query(w.t, db, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") {
		if slices.Contains([]string{"events", "revision", "sqlite_sequence"}, table) {
			continue
		}
		what := "* FROM " + table
		switch table {
		case "vaults":
			what = "id, name, unmatched_hosts, created_at FROM vaults"
		case "sessions":
			own := vault.DigestToken(w.tokens[caller])
			what = fmt.Sprintf("* FROM sessions WHERE digest != x'%x'", own[:])
		case "proposals":
			what += " WHERE id = '" + first[0] + "'"
		case "proposal_askers", "proposal_values":
			what += " WHERE proposal_id = '" + first[0] + "'"
		}
		for _, row := range query(w.t, db, "SELECT "+what) {
			fmt.Fprintf(&b, "%s: %s\n", table, row)
		}
	}
	return b.String()
}

// TestNoValueComesOut asks every route as the owner, who sees most.
func TestNoValueComesOut(t *testing.T) {
	w := newWorld(t)
	secrets := spelled(held)
	for _, r := range matrix {
		f := w.copy()
		a := f.do(w.as("owner", r))
		a.secure(t)
		for _, s := range secrets {
			if strings.Contains(a.body+fmt.Sprint(a.header), s) {
				t.Errorf("%s answers with a value: %s", r.route, a.body)
			}
			if strings.Contains(f.log.String(), s) {
				t.Errorf("%s: a value is in the log: %s", r.route, f.log)
			}
		}
	}
}
