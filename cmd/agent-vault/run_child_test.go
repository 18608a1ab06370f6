package main_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
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

// TestChildInheritsNoDescriptor: but standard input, output and error, and what
// is passed on purpose.
func TestChildInheritsNoDescriptor(t *testing.T) {
	w := newWorld(t)
	secret := w.path("secret")
	if err := os.WriteFile(secret, []byte("left open\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const list = `for fd in 3 4 5 6 7 8 9; do if { true <&$fd; } 2>/dev/null; then echo "$fd $(cat <&$fd)"; fi; done; exit 0`
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"nothing", "", []string{"--", "bash", "-c", list}},
		{"by flag", "5 left open\n", []string{"--keep-fd", "5", "--", "bash", "-c", list}},
		{"by argument", "9 left open\n", []string{"--", "bash", "-c", list, "/dev/fd/9"}},
		{"by part of one", "7 left open\n", []string{"--", "bash", "-c", list, "--file=/proc/self/fd/7"}},
		{"what is ours cannot be asked for", "", []string{"--keep-fd", "3", "--", "bash", "-c", list}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opened := `exec 5<"$0" 7<"$0" 9<"$0"; exec "$@"`
			cmd := exec.Command("bash", append([]string{"-c", opened, secret, builtBinary(t), "vault", "run"}, tt.args...)...)
			cmd.Env, cmd.Dir = w.env(), w.dir
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != tt.want {
				t.Errorf("%v: %q, want %q", err, out, tt.want)
			}
		})
	}
}

// TestChildKeepsIgnoredSignals: what nohup has set up holds behind vault run.
func TestChildKeepsIgnoredSignals(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		trap string
		ok   bool
	}{{"trap '' HUP INT", true}, {"", false}} {
		cmd := exec.Command("sh", "-c", tt.trap+"\n"+`exec "$@"`, "sh", builtBinary(t), "vault", "run", "--", "sh", "-c", "kill -HUP $$; kill -INT $$; echo lives")
		cmd.Env, cmd.Dir = w.env(), w.dir
		out, err := cmd.Output()
		if ok := err == nil && string(out) == "lives\n"; ok != tt.ok {
			t.Errorf("%q: %q, %v", tt.trap, out, err)
		}
	}
}

// TestRunCleansUp: the folder of certificates is gone however the command ends,
// also when nobody listens to vault run any more.
func TestRunCleansUp(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name, script string
		status       int
	}{
		{"by itself", "exit 3", 3},
		{"terminated", "kill -TERM $PPID; read never <$0", 128 + 15},
		{"hung up", "kill -HUP $PPID; read never <$0", 128 + 1},
		{"interrupted", "kill -INT $PPID; read never <$0", 128 + 2},
		{"killed", "kill -KILL $$", 128 + 9},
		{"asked to end, and says so", "trap 'exit 7' TERM; kill -TERM $PPID; while :; do read never <$0; done", 7},
		{"a pipe without a reader", "kill -PIPE $PPID; exit 4", 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tmp, fifo := t.TempDir(), w.path("never")
			_ = syscall.Mkfifo(fifo, 0o600) // there after the first
			cmd := exec.Command(builtBinary(t), "vault", "run", "--", "bash", "-c", `ls -d $TMPDIR/agent-vault-run-*; `+tt.script, fifo)
			cmd.Env, cmd.Dir = w.env("TMPDIR="+tmp), w.dir
			out, err := cmd.Output()
			if status := cmd.ProcessState.ExitCode(); status != tt.status {
				t.Errorf("status %d, want %d: %v", status, tt.status, err)
			}
			if left, _ := os.ReadDir(tmp); len(left) > 0 || !strings.Contains(string(out), tmp+"/agent-vault-run-") {
				t.Errorf("it leaves %v; the child saw %s", left, out)
			}
		})
	}
}

// TestRunOddly: what cannot be run, or given to a command, is told from a command
// that failed.
func TestRunOddly(t *testing.T) {
	needs(t, "sh")
	i := newInstance(t, "")
	i.register()
	script := func(name, text string) string {
		path := i.path(name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	odd := i.path("it's")
	if err := os.Mkdir(odd, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env    string
		args   []string
		status int
		want   string
	}{
		{"", []string{"--", script("no-first-line", "exit 0\n")}, 126, "it is not a program that can be run\nhint: a script names its interpreter"},
		{"", []string{"--", script("no-interpreter", "#!/nowhere/sh\n")}, 127, "the interpreter that its first line names is not there"},
		{"", []string{"--", i.dir}, 126, "it is not a program that can be run"},
		{"", []string{"--", "no-such-command"}, 127, "command not found"},
		{"", []string{"--keep-fd", "77", "--", "true"}, 2, "--keep-fd: 77 is not open"},
		{"", []string{"--keep-fd", "-1", "--", "true"}, 2, "--keep-fd: -1 is not open"},
		{"TMPDIR=" + odd, []string{"--", "true"}, 1, "has quotes in its name\nhint: set TMPDIR"},
		{"TMPDIR=" + i.path("none"), []string{"--", "true"}, 1, "no such file or directory\nhint: set TMPDIR"},
		{"TMPDIR=.", []string{"--", "sh", "-c", `cd / && test -r "$SSL_CERT_FILE"`}, 0, ""},
	} {
		_, errs, err := i.runWith([]string{tt.env}, append([]string{"vault", "run"}, tt.args...)...)
		status := 0
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			status = exit.ExitCode()
		}
		if status != tt.status || !strings.Contains(errs, tt.want) || tt.want == "" && errs != "" {
			t.Errorf("%s %q: status %d, want %d and %q:\n%s", tt.env, tt.args, status, tt.status, tt.want, errs)
		}
	}
}
