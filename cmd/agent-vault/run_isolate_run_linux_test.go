package main_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

// TestIsolatedCommand: what passes through is what passes without it.
func TestIsolatedCommand(t *testing.T) {
	o := newOutside(t)
	i := newInstance(t, "")
	i.register()
	login := i.login()
	for _, tt := range []struct {
		script, in, out, errs string
		status                int
	}{
		{"exit 7", "", "", "", 7},
		{"kill -TERM $$", "", "", "", 128 + 15},
		{"cat; echo there >&2", "in and out", "in and out", "there\n", 0},
		{"pwd; id -u", "", o.work + "\n" + strconv.Itoa(o.user) + "\n", "", 0},
		{"echo kept > here; cat here", "", "kept\n", "", 0},
		{"sleep 300 & echo left", "", "left\n", "", 0}, // which ends with the rest
		{"ls /proc/self/fd | wc -l", "", "4\n", "", 0}, // three, and that of ls
		{"exec /no/such/program", "", "", "*not found*", 127},
		{"trap 'exit 3' USR1; (sleep 0.1; kill -USR1 $$) & wait", "", "", "", 3},
	} {
		cmd := o.isolated(i, login, "--", "sh", "-c", tt.script)
		var out, errs strings.Builder
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(tt.in), &out, &errs
		_ = cmd.Run() // the status says it
		said := ours(errs.String()) == tt.errs || tt.errs == "*not found*" && strings.Contains(errs.String(), "not found")
		if cmd.ProcessState.ExitCode() != tt.status || out.String() != tt.out || !said {
			t.Errorf("%s: status %d, %q, %q; want %d, %q, %q", tt.script, cmd.ProcessState.ExitCode(), &out, &errs, tt.status, tt.out, tt.errs)
		}
	}

	// A signal to vault run reaches the command, which has the last word.
	cmd := o.isolated(i, login, "--", "sh", "-c", "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(lines)
	_ = cmd.Wait() // likewise
	if string(rest) != "got it\n" || cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("%q, status %d", rest, cmd.ProcessState.ExitCode())
	}
}

// ours leaves out what is said of servers that other tests start and end.
func ours(errs string) (rest string) {
	for line := range strings.Lines(errs) {
		if !strings.Contains(line, "the data folder of the server that is process") {
			rest += line
		}
	}
	return rest
}

// TestIsolatedOnATerminal: a shell with jobs, the terminal's size, Ctrl-C and
// Ctrl-Z, and the terminal is whose it was at the end.
func TestIsolatedOnATerminal(t *testing.T) {
	bash := needs(t, "bash")
	o := newOutside(t)
	i := newInstance(t, "")
	i.register()
	shell := o.command([]string{"AGENT_VAULT_ADDR=" + i.API, "AGENT_VAULT_LOGIN_TOKEN=" + i.login(), "TERM=dumb", "PS1=outer> ", "V=" + filepath.Join(o.dir, "agent-vault")}, bash, "--norc", "--noprofile", "-i")
	term := &terminal{t: t, cmd: shell, read: make(chan struct{})}
	attr := &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if o.attr != nil {
		attr.Credential = o.attr.Credential
	}
	var err error
	if term.file, err = pty.StartWithAttrs(shell, &pty.Winsize{Rows: 33, Cols: 101}, attr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { term.file.Close() })
	go func() {
		defer close(term.read)
		_, _ = io.Copy(&term.seen, term.file) // EIO at the end
	}()
	types := func(text string) {
		t.Helper()
		if _, err := io.WriteString(term.file, text); err != nil {
			t.Fatal(err)
		}
	}
	term.sees("outer> ")
	types("$V vault run --isolate -- sh -c 'stty size; trap \"echo caught-$((40+2)); exit 9\" INT; echo ready-$((1+1)); while :; do sleep 0.05; done'\n")
	term.sees("33 101")
	term.sees("ready-2")
	types("\x03")
	term.sees("caught-42")
	types("echo status=$?=\n")
	term.sees("status=9=")

	types("$V vault run --isolate -- sh -c 'echo begun-$((2+2)); read line; echo line-$line-$((3+3))'\n")
	term.sees("begun-4")
	types("\x1a")
	term.sees("Stopped")
	types("echo between-$((4+4))\n")
	term.sees("between-8")
	types("fg\n")
	types("words\n")
	term.sees("line-words-6")

	// A shell inside has jobs of its own, and a terminal that Ctrl-C reaches them by.
	types("$V vault run --isolate -- env PS1='inner> ' " + bash + " --norc --noprofile -i\n")
	term.sees("\ninner> ")
	types("echo sleeps-$((8+8)); sleep 300\n")
	term.sees("sleeps-16")
	types("\x03")
	types("echo after-$((5+5))\n")
	term.sees("after-10")
	types("echo sleeps-$((9+9)); sleep 300\n")
	term.sees("sleeps-18")
	types("\x1a")
	types("jobs; echo jobs-$((6+6))\n")
	term.sees("jobs-12")
	types("disown -a; exit 6\n") // bash would warn of a job that is stopped
	term.sees("\nexit")
	types("echo back-$?-$((7+7))\n")
	term.sees("back-6-14")
	types("exit\n")
	if status, seen := term.ends(); status != 0 || !strings.Contains(seen, "Stopped") {
		t.Errorf("status %d:\n%s", status, seen)
	}
}

// TestNotIsolated: what cannot be isolated does not run, and says why.
func TestNotIsolated(t *testing.T) {
	o := newOutside(t)
	i := newInstance(t, "")
	i.register()
	login := i.login()
	ran := filepath.Join(o.work, "ran")
	refused := func(cmd *exec.Cmd, status int, want ...string) {
		t.Helper()
		out, _ := cmd.CombinedOutput() // the status says it
		for _, w := range want {
			if !strings.Contains(string(out), w) || cmd.ProcessState.ExitCode() != status {
				t.Errorf("status %d, want %d and %q:\n%s", cmd.ProcessState.ExitCode(), status, w, out)
			}
		}
		if _, err := os.Stat(ran); err == nil {
			t.Error("it has run all the same")
		}
	}
	if os.Getuid() == 0 {
		cmd := o.isolated(i, login, "--", "touch", ran)
		cmd.SysProcAttr = nil
		refused(cmd, 1, "cannot be isolated: root owns", "run it as another user")
	}
	vault := filepath.Join(o.dir, "agent-vault")
	// The kernel refuses user namespaces to who is in one that allows none.
	inner := o.isolated(i, login, "--", "sh", "-c", `AGENT_VAULT_PROXY="$HTTPS_PROXY" exec "$0" vault run --isolate -- touch "$1"`, vault, ran)
	refused(inner, 1, "cannot be isolated: new namespaces: ", "user.max_user_namespaces is 0", "--isolate out")
	refused(o.isolated(i, login, "--hide", o.work, "--", "touch", ran), 1, "cannot be isolated: the working folder: permission denied")
	refused(o.isolated(i, login, "--hide", "/", "--", "touch", ran), 1, "cannot be isolated: what is to be hidden: /: nothing would be left")
	refused(o.isolated(i, login, "--hide", ran, "--", "touch", ran), 1, "--hide: stat "+ran+": no such file")
	refused(o.isolated(i, login, "--keep-fd", "3", "--", "touch", ran), 1, "isolate keep-fd")
	refused(o.isolated(i, login, "--proxy-socket", "x.sock", "--", "touch", ran), 1, "isolate proxy-socket")
	refused(o.command([]string{"AGENT_VAULT_ADDR=" + i.API, "AGENT_VAULT_LOGIN_TOKEN=" + login}, vault, "vault", "run", "--hide", o.home, "--", "touch", ran), 2, "add --isolate")
	port := i.API[strings.LastIndex(i.API, ":")+1:]
	refused(o.isolated(i, login, "--proxy-port="+port, "--", "touch", ran), 1, "the command finds the server at port "+port)
}

// TestIsolatedServer: whatever address the server goes by, the command finds it
// there; what it leads to is outside.
func TestIsolatedServer(t *testing.T) {
	curl := needs(t, "curl")
	o := newOutside(t)
	for _, tt := range []struct{ host, script, want, errs string }{
		{"localhost", curl + ` -sS "$AGENT_VAULT_ADDR/health"`, `{"status":"ok"}`, ""},
		{"vault.test", "getent hosts vault.test; " + curl + ` -s "$AGENT_VAULT_ADDR/health" || echo $?`, "vault.test\n5", "the server at vault.test:"},
		{"127.0.0.3", curl + ` -s "$AGENT_VAULT_ADDR/health" || echo $?`, "5", "the server at 127.0.0.3:"},
		{"198.51.100.7", curl + ` -s -m 5 "$AGENT_VAULT_ADDR/health" || echo $?; ` + curl + " -s -m 5 --noproxy '*' http://198.51.100.8/ || echo $?", "\n7\n", "the server at 198.51.100.7:"},
		{"[2001:db8::1]", "echo ran", "", "the command could not reach the server at [2001:db8::1]"},
	} {
		at := closedPort(t)
		port := at[strings.LastIndex(at, ":")+1:]
		i := &instance{t: t, dir: t.TempDir()}
		config := "listen: {api: '" + at + "', proxy: '127.0.0.1:0'}\nbase_url: 'http://" + tt.host + ":" + port + "'\ndata_dir: " + i.path("data") + "\n"
		o.check(os.WriteFile(i.path("config.yaml"), []byte(config), 0o600))
		i.start()
		i.API = "http://" + at
		i.register()
		cmd := o.isolated(i, i.login(), "--", "sh", "-c", tt.script)
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run() // what it says tells
		if !strings.Contains(out.String(), tt.want) || tt.want == "" && out.Len() != 0 || !strings.Contains(errs.String(), tt.errs) {
			t.Errorf("%s: %q, %q; want %q, %q", tt.host, &out, &errs, tt.want, tt.errs)
		}
		i.stop()
	}
}

// TestHiddenFile: it is empty, and stays what it is. A variable may name one too.
func TestHiddenFile(t *testing.T) {
	o := newOutside(t)
	i := newInstance(t, "")
	i.register()
	o.targets.Secret = "what it was"
	file := o.secret(filepath.Join(o.work, "key"))
	password := o.secret(filepath.Join(o.work, "password"))
	cmd := o.isolated(i, i.login(), "--hide", "key", "--", "sh", "-c", "cat key password; echo changed > key; mv key other; rm key; echo done")
	cmd.Env = append(cmd.Env, "AGENT_VAULT_MASTER_PASSWORD_FILE="+password)
	out, err := cmd.CombinedOutput()
	if b, rerr := os.ReadFile(file); rerr != nil || string(b) != o.targets.Secret || strings.Contains(string(out), "what") || !strings.Contains(string(out), "done\n") {
		t.Errorf("%q, %v: %v %s", b, rerr, err, out)
	}
}

// TestHiddenFoldersStay: a command cannot move what is hidden from it, nor what is
// above, to where the next one would find it.
func TestHiddenFoldersStay(t *testing.T) {
	o := newOutside(t)
	i := newInstance(t, "")
	i.register()
	login := i.login()
	secret := filepath.Join(o.home, "a", "b", "c", "secret")
	o.folder(filepath.Dir(secret))
	o.check(os.WriteFile(secret, []byte("of the operator"), 0o644))
	config := filepath.Join(o.home, ".config")
	for _, path := range []string{config, filepath.Join(config, "agent-vault"), filepath.Join(o.home, ".local"), filepath.Join(o.home, ".local", "share"),
		filepath.Join(o.home, "a"), filepath.Join(o.home, "a", "b"), filepath.Join(o.home, "a", "b", "c"), secret} {
		out, err := o.isolated(i, login, "--hide", filepath.Dir(secret), "--", "mv", path, path+"-elsewhere").CombinedOutput()
		if err == nil {
			t.Errorf("%s was moved\n%s", path, out)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	// What is beside them is the command's as before.
	out, err := o.isolated(i, login, "--", "sh", "-c", `mkdir "$0/x" && mv "$0/x" "$0/y" && rmdir "$0/y"`, config).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestIsolatedPort: the proxy is at the port that was asked for, and the server's
// data is hidden though no flag names it.
func TestIsolatedPort(t *testing.T) {
	curl := needs(t, "curl")
	o := newOutside(t)
	w := newWorld(t)
	cmd := o.isolated(w.instance, w.login(), "--proxy-port=8888", "--", "sh", "-c", `echo "$HTTPS_PROXY"; `+curl+` -sS --fail-with-body https://api.test/port`)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), "http://127.0.0.1:8888\n") {
		t.Errorf("%v: %s%s", err, out, &errs)
	}
	w.wantInjected(t, string(out))
}
