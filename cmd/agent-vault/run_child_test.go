package main_test

import (
	"bytes"
	"os/exec"
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
