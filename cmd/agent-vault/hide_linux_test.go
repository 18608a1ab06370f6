package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is who runs the command where the tests are root, who reads every
// process and so could tell nothing.
const nobody = 65534

// TestChildCannotReadItsParent: the environment of vault run, where the login
// stands, is closed to a child of the same user.
func TestChildCannotReadItsParent(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	login := i.login()
	dir, err := os.MkdirTemp("", "agent-vault-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin, err := os.ReadFile(builtBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "agent-vault")
	if err := os.WriteFile(path, bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "vault", "run", "--", "sh", "-c", `
		test -r /proc/self/environ && echo its own
		for file in environ mem; do cat /proc/$PPID/$file >/dev/null && echo reads $file; done; echo done`)
	cmd.Env, cmd.Dir = i.env("AGENT_VAULT_LOGIN_TOKEN="+login, "AGENT_VAULT_MASTER_PASSWORD=a-master-password"), dir
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != "its own\ndone\n" || strings.Count(stderr.String(), "Permission denied") != 2 {
		t.Errorf("%v: %q\n%s", err, out, &stderr)
	}
}
