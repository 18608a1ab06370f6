package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"agentvault/api"
	"agentvault/vault"
)

func TestReport(t *testing.T) {
	refused := func(code, message string) error {
		return fmt.Errorf("vault team-a: %w", &api.ClientError{Status: 403, Code: code, Message: message})
	}
	for _, tt := range []struct {
		name   string
		err    error
		status int
		want   string
	}{
		{"done", nil, 0, ""},
		{"a child's status", fmt.Errorf("run: %w", &exitStatus{42}), 42, ""},
		{"a failure", errors.New("the disk is full"), 1, "agent-vault: the disk is full\n"},
		{"interrupted", fmt.Errorf("get: %w", context.Canceled), 1, "agent-vault: interrupted\n"},
		{"joined", errors.Join(errors.New("first"), errors.New("second")), 1, "agent-vault: first; second\n"},
		{"with a hint", hint(errors.New("you are not signed in"), "run: agent-vault auth login"), 1, "agent-vault: you are not signed in\nhint: run: agent-vault auth login\n"},
		{"a hint inside", fmt.Errorf("vault.yaml: %w", hint(errors.New("it is wrong"), "mend it")), 1, "agent-vault: vault.yaml: it is wrong\nhint: mend it\n"},
		{"not understood", &usageError{hint(errors.New("no command given"), "write it behind --")}, 2, "agent-vault: no command given\nhint: write it behind --\n"},
		{"a status of its own", &statusError{errors.New("nothing: command not found"), 127}, 127, "agent-vault: nothing: command not found\n"},
		{"refused, and nothing to do", refused(vault.CodeConflict, "the name is taken"), 1, "agent-vault: vault team-a: the name is taken\n"},
		{"refused, and the code says what to do", refused(vault.CodeVaultNotFound, "there is no vault"), 1, "agent-vault: vault team-a: there is no vault\nhint: run: agent-vault vault list\n"},
		{"our hint comes first", hint(refused(vault.CodeLoginTooOld, "the login is too old"), "run: agent-vault auth login --email a@b.test"), 1, "agent-vault: vault team-a: the login is too old\nhint: run: agent-vault auth login --email a@b.test\n"},
		{"a role on the instance", refused(vault.CodeForbidden, "your role member on the instance does not allow this; it takes owner"), 1, "agent-vault: vault team-a: your role member on the instance does not allow this; it takes owner\nhint: ask an owner of the instance, or sign in as one: agent-vault auth login\n"},
		{"no server", fmt.Errorf("apply: %w", &api.NoServerError{Address: "http://127.0.0.1:1"}), 1, "agent-vault: apply: no server at http://127.0.0.1:1\nhint: start one with \"agent-vault server\", or name another with --address\n"},
		{"text that plays with the terminal", refused(vault.CodeConflict, "\x1b[2Jall is well\u202e\r"), 1, `agent-vault: vault team-a: \x1b[2Jall is well\u202e\x0d` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if status := report(&b, tt.err); status != tt.status || b.String() != tt.want {
				t.Errorf("got  %d %q\nwant %d %q", status, b.String(), tt.status, tt.want)
			}
		})
	}
}

// TestCodesHaveHints: a new code of package vault needs a thought about what a
// person does then.
func TestCodesHaveHints(t *testing.T) {
	withHint := []string{
		vault.CodeUnauthorized, vault.CodeForbidden, vault.CodeVaultForbidden, vault.CodeVaultNotFound, vault.CodeVaultRequired,
		vault.CodeNotInitialized, vault.CodeRateLimited, vault.CodeUnavailable, vault.CodeLoginTooOld, codeInternal,
		vault.CodeCredentialNotFound, vault.CodeProposalNotFound, vault.CodeProposalChanged,
	}
	for _, code := range withHint {
		if hintOfCode(code) == "" {
			t.Errorf("%s has no hint", code)
		}
	}
	// The message of these names what is wrong, which is what to mend.
	for _, code := range []string{vault.CodeBadRequest, vault.CodeNotFound, vault.CodeConflict, "", "unheard_of"} {
		if got := hintOfCode(code); got != "" {
			t.Errorf("%s: %q", code, got)
		}
	}
}

// TestTooManyPending: it is a person who makes room for a proposal.
func TestTooManyPending(t *testing.T) {
	err := &api.ClientError{Status: 429, Code: vault.CodeTooManyProposals, Message: "20 are pending"}
	for _, tt := range []struct{ token, want string }{
		{"", "decide some of them first: agent-vault proposal review --vault team-a"},
		{"av_sess_x", "wait until a person has decided some of them"},
	} {
		t.Setenv("AGENT_VAULT_SESSION_TOKEN", tt.token)
		t.Setenv("AGENT_VAULT_TOKEN", "")
		if _, todo := explained(tooManyPending(err, "team-a")); todo != tt.want {
			t.Errorf("%q: %q, want %q", tt.token, todo, tt.want)
		}
	}
}

// TestUsage: what was not understood is said in one line, with a hint.
func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"vaul"}, "there is no command \"vaul\"\nhint: did you mean: agent-vault vault\n"},
		{[]string{"vault", "lst"}, "there is no command \"lst\"\nhint: did you mean: agent-vault vault list\n"},
		{[]string{"vault", "elsewhere"}, "there is no command \"elsewhere\"\nhint: see: agent-vault vault --help\n"},
		{[]string{"help", "elsewhere"}, "there is no command \"elsewhere\"\nhint: see: agent-vault --help\n"},
		{[]string{"vault", "list", "x\x1b[0m"}, "vault list takes no argument \"x\\x1b[0m\"\nhint: see: agent-vault vault list --help\n"},
		{[]string{"vault", "create"}, "vault create: NAME is missing\nhint: as in: agent-vault vault create team-a\n"},
		{[]string{"vault", "create", "a", "b"}, "vault create takes no argument \"b\"\nhint: as in: agent-vault vault create team-a\n"},
		{[]string{"vault", "list", "--colour"}, "unknown flag: --colour\nhint: see: agent-vault vault list --help\n"},
		{[]string{"vault", "list", "-o", "xml"}, "invalid argument \"xml\" for \"-o, --output\" flag: it is table, json or yaml\nhint: see: agent-vault vault list --help\n"},
		{[]string{"vault", "token", "--ttl", "soon"}, "invalid argument \"soon\" for \"--ttl\" flag\nhint: see: agent-vault vault token --help\n"},
		{[]string{"vault", "token", "--ttl", "1m"}, "--ttl is from 5m to 168h, in whole seconds, not 1m0s\nhint: see: agent-vault vault token --help\n"},
		{[]string{"vault", "run"}, "no command given\nhint: write it behind --, as in: agent-vault vault run -- my-agent\n"},
		{[]string{"--address", "vault", "vault", "list"}, "\"vault\" is not the address of a server\nhint: it looks like http://127.0.0.1:14321\n"},
		{[]string{"auth", "login"}, "--email is missing\nhint: see: agent-vault auth login --help\n"},
		{[]string{"apply"}, "-f is missing: it names the file, or - for standard input\nhint: see: agent-vault apply --help\n"},
		{[]string{"ca", "export", "--format", "pfx"}, "--format is pem, der, p12, jks, bundle, nss, not \"pfx\"\nhint: see: agent-vault ca export --help\n"},
	} {
		var out, errs bytes.Buffer
		status := run(context.Background(), tt.args, stdio{devNull(t), &out, &errs})
		if want := "agent-vault: " + tt.want; status != exitUsage || errs.String() != want || out.Len() != 0 {
			t.Errorf("%q:\n got %d %q %q\nwant %d %q", tt.args, status, errs.String(), out.String(), exitUsage, want)
		}
	}
}
