package main_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// What a command of vault run gets, and what it does not, by commands that run.

// runWith is run with more in the operator's environment, and stdin empty.
func (i *instance) runWith(env []string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(builtBinary(i.t), args...)
	cmd.Env, cmd.Dir = i.env(env...), i.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// TestNoProxyCannotHideAService: curl, and Python, which reads names by their
// ends, reach a host of the vault by the vault whatever NO_PROXY says.
func TestNoProxyCannotHideAService(t *testing.T) {
	curl, python := needs(t, "curl"), needs(t, "python3")
	w := newWorld(t)
	for _, client := range [][]string{
		{curl, "-sS", "--fail-with-body", "https://api.test/"},
		{python, "-c", `import urllib.request; print(urllib.request.urlopen("https://api.test/").read().decode())`},
	} {
		out, errs, err := w.runWith([]string{"NO_PROXY=.test,corp.example", "no_proxy=*"}, append([]string{"vault", "run", "--"}, client...)...)
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, errs)
		}
		w.wantInjected(t, out)
		if want := "agent-vault: left out of NO_PROXY, since hosts of the vault would not reach it: .test, *\n"; errs != want {
			t.Errorf("said %q, want %q", errs, want)
		}
	}
	out, _, err := w.runWith([]string{"NO_PROXY=corp.example"}, "vault", "run", "--", "sh", "-c", "echo $NO_PROXY")
	if err != nil || !strings.HasPrefix(out, "corp.example,localhost,") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestChildGetsNoSecret: neither under their own names nor under others, in any
// spelling, also those of saved logins.
func TestChildGetsNoSecret(t *testing.T) {
	w := newWorld(t)
	login, other := w.login(), w.token
	saved, err := os.ReadFile(w.path(".config/agent-vault/logins.json"))
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString(regexp.MustCompile(`av_login_\w+`).Find(saved))
	const master = "a master password"
	out, errs, err := w.runWith([]string{
		"AGENT_VAULT_MASTER_PASSWORD=" + master, "MASTER_AGAIN=" + master, "ENCODED=" + base64.StdEncoding.EncodeToString([]byte(master)),
		"SAVED_LOGIN=" + encoded, "LOGIN=" + login, "HEADER=Authorization: Bearer " + other, "API_KEY=sk-of-the-operator", "PASSWORD=kept", "UNRELATED=yes",
	}, "vault", "run", "--keep-env", "PASSWORD", "--", "env")
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	for _, secret := range []string{master, base64.StdEncoding.EncodeToString([]byte(master)), encoded, login, other, "sk-of-the-operator"} {
		if strings.Contains(out, secret) {
			t.Errorf("the child has %q in\n%s", secret, out)
		}
	}
	for _, want := range []string{"\nUNRELATED=yes\n", "\nPASSWORD=kept\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the child lacks %q in\n%s", want, out)
		}
	}
	for _, name := range []string{"MASTER_AGAIN", "ENCODED", "SAVED_LOGIN", "LOGIN", "HEADER", "API_KEY"} {
		if !strings.Contains(errs, "agent-vault: "+name+" is not passed on: ") {
			t.Errorf("nothing is said of %s: %s", name, errs)
		}
	}
	if strings.Count(errs, "\n") != 6 || strings.Contains(errs, master) {
		t.Errorf("said %s", errs)
	}
	for _, name := range []string{"AGENT_VAULT_MASTER_PASSWORD", "NEVER_SET"} {
		if _, _, err := w.runWith(nil, "vault", "run", "--keep-env", name, "--", "true"); err == nil || err.Error() != "exit status 2" {
			t.Errorf("--keep-env %s: %v", name, err)
		}
	}
}
