package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
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
	path := binaryForAll(t)
	cmd := exec.Command(path, "vault", "run", "--", "sh", "-c", `
		test -r /proc/self/environ && echo its own
		for file in environ mem; do cat /proc/$PPID/$file >/dev/null && echo reads $file; done; echo done`)
	cmd.Env, cmd.Dir = i.env("AGENT_VAULT_LOGIN_TOKEN="+login, "AGENT_VAULT_MASTER_PASSWORD=a-master-password"), filepath.Dir(path)
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

// binaryForAll is the binary where every user can run it.
func binaryForAll(t *testing.T) string {
	t.Helper()
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
	return path
}

// newShieldedInstance starts a server as a user who is not root, under a shell
// that allows core files and asks Go for one.
func newShieldedInstance(t *testing.T, extra string) *instance {
	t.Helper()
	path := binaryForAll(t)
	i := &instance{t: t, dir: t.TempDir()}
	config := "listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}\ndata_dir: " + i.path("data") + "\n" + extra
	if err := os.WriteFile(i.path("config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		i.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		for _, name := range []string{i.dir, i.path("config.yaml")} {
			if err := os.Chown(name, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		// The test's own folder above it must let the user through.
		if err := os.Chmod(filepath.Dir(i.dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	i.before = []string{"sh", "-c", `cd "$HOME"; ulimit -c $(ulimit -H -c); GOTRACEBACK=crash exec "$0" "$@"`}
	if err := i.launch(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-i.done:
		default:
			i.stop()
		}
	})
	return i
}

// TestServerHidesItsMemory: what the kernel shows of a running server is
// root's, to its own user too, and no core file can come of it.
func TestServerHidesItsMemory(t *testing.T) {
	i := newShieldedInstance(t, "")
	proc := fmt.Sprintf("/proc/%d/", i.cmd.Process.Pid)
	for _, name := range []string{"environ", "mem", "maps", "fd"} {
		info, err := os.Stat(proc + name)
		if err != nil {
			t.Error(err)
		} else if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
			t.Errorf("%s belongs to user %d", name, uid)
		}
	}
	if os.Geteuid() != 0 { // who runs the tests is who runs the server
		for _, name := range []string{"environ", "mem", "maps"} {
			if b, err := os.ReadFile(proc + name); !errors.Is(err, os.ErrPermission) {
				t.Errorf("%s: %d bytes, %v", name, len(b), err)
			}
		}
	}
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
		t.Errorf("core files are allowed:\n%s", limits)
	}

	if err := i.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-i.done
	if ws := i.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.CoreDump() || !ws.Signaled() {
		t.Errorf("it ended with %v, core: %v", i.cmd.ProcessState, ws.CoreDump())
	}
	if cores, _ := filepath.Glob(i.path("*core*")); cores != nil {
		t.Errorf("it left %v", cores)
	}
}

// TestEveryCommandHidesItsMemory: also one that waits for a password.
func TestEveryCommandHidesItsMemory(t *testing.T) {
	i := newInstance(t, "")
	cmd := exec.Command(builtBinary(t), "auth", "register", "--email", ownerEmail, "--password-stdin")
	cmd.Env = i.env()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		t.Skip("needs to be another user than root, who owns all that it looks at")
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	environ := fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid)
	for deadline := time.Now().Add(20 * time.Second); ; {
		info, err := os.Stat(environ)
		if err != nil {
			t.Fatal(err)
		}
		if info.Sys().(*syscall.Stat_t).Uid == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("its environment can be read")
		}
		<-time.After(5 * time.Millisecond) // between two looks
	}
}
