package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

// A leasedRun is a `vault run` whose child has said what it was given.
type leasedRun struct {
	cmd   *exec.Cmd
	in    io.WriteCloser // the child's
	out   *bufio.Reader  // its
	token string
	errs  *syncBuffer
}

func (i *instance) startLeased(t *testing.T) *leasedRun {
	t.Helper()
	sh := needs(t, "sh")
	r := &leasedRun{cmd: exec.Command(builtBinary(t), "vault", "run", "--", sh, "-c", "echo $AGENT_VAULT_SESSION_TOKEN; env; echo; read line; echo $line"), errs: new(syncBuffer)}
	r.cmd.Env, r.cmd.Dir, r.cmd.Stderr = i.env(), i.dir, r.errs
	var err error
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.in.Close(); _ = r.cmd.Wait() })
	r.out = bufio.NewReader(out)
	r.token = strings.TrimSpace(r.says(t))
	for line := r.says(t); line != "\n"; line = r.says(t) {
		if strings.Contains(line, "av_lease_") {
			t.Errorf("the child has the lease's token: %q", line)
		}
	}
	return r
}

// says returns the next line of the child.
func (r *leasedRun) says(t *testing.T) string {
	t.Helper()
	line, err := r.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, r.errs)
	}
	return line
}

// goesOn makes the child end, as one that still runs can.
func (r *leasedRun) goesOn(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(r.in, "gone on\n"); err != nil {
		t.Fatal(err)
	}
	if line := r.says(t); line != "gone on\n" {
		t.Errorf("the child said %q", line)
	}
}

func (i *instance) knows(token string) bool {
	return i.send("GET", "/discover", token, "").status == http.StatusOK
}

// within waits for a condition.
func within(t *testing.T, most time.Duration, what string, met func() bool) {
	t.Helper()
	began := time.Now()
	for !met() {
		if time.Since(began) > most {
			t.Fatalf("not within %v: %s", most, what)
		}
		time.Sleep(250 * time.Millisecond)
	}
	t.Logf("%s after %v", what, time.Since(began).Round(time.Second))
}

// TestSessionEndsWithoutItsRun: when vault run was killed, its session ends
// within a minute, though the child runs on.
func TestSessionEndsWithoutItsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a lease to end; not with -short")
	}
	t.Parallel()
	i := newInstance(t, "")
	i.register()
	r := i.startLeased(t)
	if !i.knows(r.token) {
		t.Fatal("the session is not there at first")
	}
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = r.cmd.Process.Wait()
	within(t, time.Minute, "the session has ended", func() bool { return !i.knows(r.token) })
	r.goesOn(t)
}

// TestRunSaysThatTheSessionEnded: once, and it leaves the child alone.
func TestRunSaysThatTheSessionEnded(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a lease to be renewed; not with -short")
	}
	t.Parallel()
	i := newInstance(t, "")
	i.register()
	r := i.startLeased(t)
	i.revoke(r.token)
	const said = "agent-vault: the session has ended\n"
	within(t, time.Minute, "it was said", func() bool { return r.errs.String() == said })
	r.goesOn(t)
	if err := r.cmd.Wait(); err != nil || r.errs.String() != said {
		t.Errorf("%v %s", err, r.errs)
	}
}

// TestLeaseOutlivesTheServer: a server that was killed in between and started
// again keeps the session for as long as its vault run lives, which is silent.
func TestLeaseOutlivesTheServer(t *testing.T) {
	if testing.Short() {
		t.Skip("lasts longer than a lease; not with -short")
	}
	t.Parallel()
	i := newInstance(t, "")
	i.register()
	r := i.startLeased(t)
	if err := i.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-i.done
	config := fmt.Sprintf("listen: {api: '%s', proxy: '%s'}\ndata_dir: %s\n", strings.TrimPrefix(i.API, "http://"), strings.TrimPrefix(i.Proxy, "http://"), i.path("data"))
	if err := os.WriteFile(i.path("config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	i.start()
	for end := time.Now().Add(vault.LeaseTTL + 10*time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		if !i.knows(r.token) {
			t.Fatal("the session is gone")
		}
	}
	r.goesOn(t)
	if err := r.cmd.Wait(); err != nil || r.errs.String() != "" {
		t.Errorf("%v %s", err, r.errs)
	}
	if i.knows(r.token) {
		t.Error("the session has outlived its command")
	}
}
