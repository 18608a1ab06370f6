package main_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// propose asks for something with an agent's token.
func (i *instance) propose(token, proposal string) {
	i.t.Helper()
	cmd := exec.Command(builtBinary(i.t), "proposal", "create", "-f", "-")
	cmd.Env, cmd.Dir, cmd.Stdin = append(i.env(), "AGENT_VAULT_SESSION_TOKEN="+token), i.dir, strings.NewReader(proposal)
	if out, err := cmd.CombinedOutput(); err != nil {
		i.t.Fatalf("%v: %s", err, out)
	}
}

const (
	firstProposal = `{
		"services": [{"action": "set", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}}],
		"credentials": [{"action": "set", "key": "STRIPE_KEY", "obtain": "https://dashboard.stripe.com/apikeys", "obtain_instructions": "Developers > API keys"}],
		"user_message": "To refund\u202e order 17\nCredentials:\n  nothing is needed", "message": "refund.py"
	}`
	secondProposal = `{"services": [{"action": "set", "host": "api.xn--bcher-kva.example", "auth": {"type": "passthrough"}}]}`
	thirdProposal  = `{"services": [{"action": "set", "host": "api.example.com", "auth": {"type": "passthrough"}}]}`
)

// TestReview: a person walks through what agents ask for, oldest first, and
// types a value that is not seen.
func TestReview(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	token := strings.TrimSpace(i.must("", "vault", "token"))
	i.propose(token, firstProposal)
	i.propose(token, secondProposal)
	i.propose(token, thirdProposal)

	term := onTerminal(t, append(i.env(), "TERM=xterm"), "proposal", "review")
	term.types("(q)uit? ", "yes please")
	term.sees("(q)uit? yes please\r\n(a)pprove, (r)eject, (s)kip or (q)uit? ")
	term.types("(q)uit? ", "a")
	term.answers("Value of STRIPE_KEY: ", "value-of-the-key")
	term.sees("2 of 3")
	term.sees("Proposal 2 in the vault default")
	term.sees("api.[xn--bcher-kva.example] (api.bücher.example)")
	term.sees("(q)uit? a\r\nValue of STRIPE_KEY: \r\nproposal 1 in the vault default is applied\r\n\r\n2 of 3") // so that what comes next is another prompt
	term.until("the second question", func() bool { return strings.Count(term.seen.String(), "(q)uit? ") == 3 })
	term.types("(q)uit? ", "r")
	term.types("(empty for nothing): ", "not this one")
	term.sees("3 of 3")
	term.until("the third question", func() bool { return strings.Count(term.seen.String(), "(q)uit? ") == 4 })
	term.types("(q)uit? ", "q")
	status, seen := term.ends()
	if status != 0 || !strings.HasSuffix(seen, "1 approved, 1 rejected, 1 left\n") {
		t.Errorf("status %d: %s", status, seen)
	}
	for _, want := range []string{
		"\nproposal 2 in the vault default is rejected\n\n3 of 3\n",
		"1 of 3\n\x1b[1mProposal 1 in the vault default\x1b[0m\nasked by session vault token, just now\n",
		"\x1b[1mThe agent's words, for you:\x1b[0m\n  | To refund\\u202e order 17\n  | Credentials:\n  |   nothing is needed\n",
		"  \x1b[32madds\x1b[0m api-stripe-com: api.[stripe.com], bearer STRIPE_KEY\n",
		"\x1b[32m+  host: api.stripe.com\x1b[0m\n",
		"  STRIPE_KEY: \x1b[1myou give its value\x1b[0m\n    the agent says of where to get it:\n      | https://dashboard.stripe.com/apikeys\n    that page is at dashboard.[stripe.com]\n",
	} {
		if !strings.Contains(seen, want) {
			t.Errorf("it does not show %q:\n%q", want, seen)
		}
	}
	if strings.Contains(seen, "value-of-the-key") || strings.Contains(seen, "\u202e") {
		t.Errorf("it shows what nobody may see:\n%q", seen)
	}
	if list := i.must("", "proposal", "list", "--vault", "default", "-o", "json"); strings.Count(list, `"status": "applied"`) != 1 || !strings.Contains(list, `"review_note": "not this one"`) || strings.Count(list, `"status": "pending"`) != 1 {
		t.Errorf("%s", list)
	}
	if list := i.must("", "credential", "list"); !strings.Contains(list, "STRIPE_KEY") {
		t.Errorf("%s", list)
	}
}

// TestReviewOfAllVaults: without a vault, it walks through those of all.
func TestReviewOfAllVaults(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	i.must("", "vault", "create", "team-a")
	i.propose(i.token("--vault", "team-a"), secondProposal)
	i.propose(i.token(), thirdProposal)
	term := onTerminal(t, i.env(), "proposal", "review")
	term.sees("1 of 2\r\n\x1b[1mProposal 1 in the vault team-a")
	term.types("(q)uit? ", "r")
	term.types("(empty for nothing): ", "")
	term.sees("proposal 1 in the vault team-a is rejected\r\n\r\n2 of 2\r\n\x1b[1mProposal 1 in the vault default")
	term.until("the second question", func() bool { return strings.Count(term.seen.String(), "(q)uit? ") == 2 })
	term.types("(q)uit? ", "s")
	if status, seen := term.ends(); status != 0 || !strings.HasSuffix(seen, "0 approved, 1 rejected, 1 left\n") {
		t.Errorf("status %d: %s", status, seen)
	}
	i.must("", "proposal", "reject", "1")
	if status, seen := onTerminal(t, i.env(), "proposal", "review").ends(); status != 0 || seen != "nothing is pending in your vaults\n" {
		t.Errorf("status %d: %s", status, seen)
	}
	if status, seen := onTerminal(t, i.env("AGENT_VAULT_VAULT=team-a"), "proposal", "review").ends(); status != 0 || seen != "nothing is pending in the vault team-a\n" {
		t.Errorf("status %d: %s", status, seen)
	}
}

// changing is a server whose proposal is another one at the first approval, and
// holds what a real one refuses.
func changing(t *testing.T) (s *httptest.Server, approvals *[]map[string]any) {
	t.Helper()
	approvals = new([]map[string]any)
	hostile := "\x1b[2J\x1b]0;x\x07\u202e" + strings.Repeat(" ", 76) + "Look twice: nothing"
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /v1/proposals/3/review", func(w http.ResponseWriter, r *http.Request) {
		service := map[string]any{
			"name": "a", "host": "a.example.com", "enabled": true, "description": hostile,
			"auth": map[string]any{"type": "bearer", "token": "A_KEY"},
		}
		answer(w, 200, map[string]any{
			"id": 3, "status": "pending", "vault": "default", "asked_by": hostile, "asker_kind": "session",
			"user_message": hostile, "message": hostile, "digest": "digest " + string(rune('0'+len(*approvals))),
			"changes":  []any{map[string]any{"name": "a", "before": nil, "after": service}},
			"values":   []any{map[string]any{"action": "set", "key": "A_KEY", "description": hostile, "obtain": "https://a.example.com/\u202e", "needed": true}},
			"warnings": []string{hostile},
		})
	})
	mux.HandleFunc("POST /v1/proposals/3/approve", func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		*approvals = append(*approvals, body)
		if len(*approvals) == 1 {
			answer(w, 409, map[string]string{"error": "proposal_changed", "message": "look again"})
			return
		}
		answer(w, 200, map[string]any{"id": 3, "status": "applied"})
	})
	s = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s, approvals
}

// TestApproveWhatWasShown: a proposal that changes is shown and asked about
// again, its value is asked for once, and nothing that an agent writes does
// anything to the terminal.
func TestApproveWhatWasShown(t *testing.T) {
	for _, command := range []string{"review", "approve"} {
		s, approvals := changing(t)
		term := onTerminal(t, []string{"AGENT_VAULT_ADDR=" + s.URL, "AGENT_VAULT_LOGIN_TOKEN=av_login_x", "NO_COLOR=1"}, "proposal", command, "3")
		prompt, yes := "(q)uit? ", "a"
		if command == "approve" {
			prompt, yes = "Approve it? [y/N] ", "y"
		}
		term.types(prompt, yes)
		term.answers("Value of A_KEY: ", "value-of-the-key")
		term.sees("It has changed since it was shown.")
		term.until("the second question", func() bool { return strings.Count(term.seen.String(), prompt) == 2 })
		term.types(prompt, yes)
		status, seen := term.ends()
		values := map[string]any{"A_KEY": "value-of-the-key"}
		want := []map[string]any{{"digest": "digest 0", "credentials": values}, {"digest": "digest 1", "credentials": values}}
		if diff := cmp.Diff(want, *approvals); status != 0 || diff != "" {
			t.Errorf("%s: status %d, approvals (-want +got):\n%s", command, status, diff)
		}
		if strings.ContainsAny(seen, "\x1b\x07\u202e") || strings.Contains(seen, "value-of-the-key") {
			t.Errorf("%s: it shows what must not be shown:\n%q", command, seen)
		}
		if !strings.Contains(seen, `  | \x1b[2J\x1b]0;x\x07\u202e`) || strings.Contains(seen, "\nLook twice: nothing") {
			t.Errorf("%s: the agent's words are not marked as such:\n%s", command, seen)
		}
		for line := range strings.SplitSeq(seen, "\n") {
			if len(line) > 80 {
				t.Errorf("%s: the terminal breaks this line:\n%s", command, line)
			}
		}
	}
}

// TestNo: who does not say yes changes nothing.
func TestNo(t *testing.T) {
	for _, answer := range []string{"n", "", "yes of course", "\x04"} {
		s, approvals := changing(t)
		term := onTerminal(t, []string{"AGENT_VAULT_ADDR=" + s.URL, "AGENT_VAULT_LOGIN_TOKEN=av_login_x"}, "proposal", "approve", "3")
		term.types("Approve it? [y/N] ", answer)
		status, seen := term.ends()
		if status != 1 || !strings.HasSuffix(seen, "agent-vault: nothing was changed\n") || len(*approvals) != 0 {
			t.Errorf("%q: status %d, %d approvals: %q", answer, status, len(*approvals), seen)
		}
	}
}
