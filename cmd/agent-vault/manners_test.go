package main_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStopRecordsOutcomes: a server that is stopped cuts what is still open
// after its time, says why, and leaves no intent without an outcome.
func TestStopRecordsOutcomes(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the ten seconds that open requests have; run without -short")
	}
	w := newWorld(t)
	conn, err := w.dial(byPath, w.token, "default", "api.test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, w.spell(byPath, w.token, "default", call{host: "api.test", target: "/events?id=stopped"}))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	<-w.done
	raw, err := os.ReadFile(w.path("data/audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	if in, out := strings.Count(string(raw), `"kind":"intent"`), strings.Count(string(raw), `"kind":"outcome"`); in == 0 || in != out {
		t.Errorf("%d intents and %d outcomes:\n%s\n%s", in, out, raw, w.stderr)
	}
	if !strings.Contains(w.stderr.String(), "stopping") {
		t.Errorf("the server did not say that it waits:\n%s", w.stderr)
	}
}

// TestWhatIsNotUTF8: JSON would put other bytes in its place.
func TestWhatIsNotUTF8(t *testing.T) {
	i := newInstance(t, "")
	if _, errs, err := i.run("\xff\xfe\xfdabcdefghijkl\n", "auth", "register", "--email", ownerEmail, "--password-stdin"); err == nil || !strings.Contains(errs, "the password is not UTF-8") {
		t.Errorf("%v %s", err, errs)
	}
	i.register()
	if err := os.WriteFile(i.path("value"), []byte("ab\xff\xfecd"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, err := i.run(`vaults: [{name: default, credentials: {A_KEY: {from: "file:value"}}}]`, "apply", "-f", "-")
	if err == nil || !strings.Contains(errs, "A_KEY") || !strings.Contains(errs, "not UTF-8") || strings.Contains(errs, "cd") {
		t.Errorf("%v %s", err, errs)
	}
}

// TestMasterPasswordVariableIsNotEmpty: a unit file whose secret is missing must
// not make an instance that anyone can open.
func TestMasterPasswordVariableIsNotEmpty(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(builtBinary(t), "server", "--data-dir", filepath.Join(dir, "data"), "--listen-api", "127.0.0.1:0", "--listen-proxy", "127.0.0.1:0")
	cmd.Env = []string{"HOME=" + dir, "AGENT_VAULT_MASTER_PASSWORD="}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "AGENT_VAULT_MASTER_PASSWORD is set and empty") {
		t.Errorf("%v %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
}

// TestRunsOwnExitStatuses are env's and timeout's.
func TestRunsOwnExitStatuses(t *testing.T) {
	w := newInstance(t, "")
	w.register()
	if err := os.WriteFile(w.path("data.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]int{w.path("data.txt"): 126, "no-such-program-anywhere": 127} {
		_, errs, err := w.run("", "vault", "run", "--", command)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != want || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %v %s, want status %d", command, err, errs, want)
		}
	}
}

// TestSessionThatCouldNotBeEnded is named, with its end.
func TestSessionThatCouldNotBeEnded(t *testing.T) {
	sh := needs(t, "sh")
	i := newInstance(t, "")
	i.register()
	cmd := exec.Command(builtBinary(t), "vault", "run", "--", sh, "-c", "echo begun; read line")
	cmd.Env, cmd.Dir = i.env(), i.dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs syncBuffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-i.done
	in.Close()
	_ = cmd.Wait() // read fails at the end of its input
	if !strings.Contains(errs.String(), "the session could not be ended, and lasts until ") {
		t.Errorf("%s", &errs)
	}
}

// TestSignalWhileTheServerIsSilent: it ends `vault run` at once.
func TestSignalWhileTheServerIsSilent(t *testing.T) {
	silent := silentServer(t)
	cmd := exec.Command(builtBinary(t), "vault", "run", "--", "true")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AGENT_VAULT_ADDR=" + silent.url, "AGENT_VAULT_LOGIN_TOKEN=av_login_x"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-silent.asked
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGWINCH); err != nil { // a resized window ends nothing
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 143 {
		t.Errorf("%v, want exit status 143", err)
	}
	t.Logf("ended after %v", time.Since(began))
}

// TestDemoCleansUp: also when nobody reads it to its end.
func TestDemoCleansUp(t *testing.T) {
	dir := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command(builtBinary(t), "demo")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	cmd.Stdout = w
	if err := cmd.Run(); err == nil {
		t.Error("the demo ended well without a reader")
	}
	w.Close()
	left, err := filepath.Glob(filepath.Join(dir, "agent-vault-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

type silence struct {
	url   string
	asked chan struct{}
}

// silentServer takes requests and does not answer.
func silentServer(t *testing.T) silence {
	t.Helper()
	s := silence{asked: make(chan struct{}, 8)}
	s.url = "http://" + listenWith(t, func(r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that net/http notices a client that goes
		s.asked <- struct{}{}
		<-r.Context().Done()
	})
	return s
}

func listenWith(t *testing.T, handle func(*http.Request)) (addr string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { handle(r) }))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}
