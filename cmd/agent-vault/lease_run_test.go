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
	lines chan string // what vault run says on standard error, until it ends
}

// rest is what vault run has said and nobody has heard, once it has ended.
func (r *leasedRun) rest() (lines string) {
	for line := range r.lines {
		lines += line
	}
	return lines
}

func (i *instance) startLeased(t *testing.T) *leasedRun {
	t.Helper()
	sh := needs(t, "sh")
	r := &leasedRun{cmd: exec.Command(builtBinary(t), "vault", "run", "--", sh, "-c", "echo $AGENT_VAULT_SESSION_TOKEN; env; echo; read line; echo $line"), lines: make(chan string, 100)}
	r.cmd.Env, r.cmd.Dir = i.env(), i.dir
	var err error
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.lines)
		for in := bufio.NewReader(errs); ; {
			line, err := in.ReadString('\n')
			if line != "" {
				r.lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { r.in.Close(); r.rest(); _ = r.cmd.Wait() })
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
		t.Fatalf("%v: %s", err, r.rest())
	}
	return line
}

// ends waits for vault run to end well, with nothing more to say.
func (r *leasedRun) ends(t *testing.T) {
	t.Helper()
	said := r.rest() // to the end of the pipe, which Wait closes
	if err := r.cmd.Wait(); err != nil || said != "" {
		t.Errorf("%v %s", err, said)
	}
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

// waits asks for a decision that nobody makes, with a session's token, and
// returns the status of the answer: 401 when the session has ended meanwhile, or
// 200 when it has not within the seconds that the server waits.
func (i *instance) waits(t *testing.T, token string, seconds int) int {
	t.Helper()
	made := i.post("/v1/proposals", token, `{"services":[{"action":"set","host":"never.example.com","auth":{"type":"passthrough"}}]}`)
	number := made.object(t, http.StatusCreated)["id"]
	req, err := http.NewRequest("GET", fmt.Sprintf("%s/v1/proposals/%v?wait=%d", i.API, number, seconds), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// lastsAsLongAsALease skips a test that waits for real time to pass in another
// process, and lets the others run beside it.
func lastsAsLongAsALease(t *testing.T) *instance {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the minute that a lease takes to end; run without -short")
	}
	t.Parallel()
	i := newInstance(t, "")
	i.register()
	return i
}

// TestSessionEndsWithoutItsRun: when vault run was killed, its session ends
// within a minute, though the child runs on.
func TestSessionEndsWithoutItsRun(t *testing.T) {
	i := lastsAsLongAsALease(t)
	r := i.startLeased(t)
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if status := i.waits(t, r.token, 60); status != http.StatusUnauthorized {
		t.Errorf("a minute later the session's token gets %d", status)
	}
	r.goesOn(t)
}

// TestRunSaysThatTheSessionEnded: once, and it leaves the child alone.
func TestRunSaysThatTheSessionEnded(t *testing.T) {
	i := lastsAsLongAsALease(t)
	r := i.startLeased(t)
	i.revoke(r.token)
	const said = "agent-vault: the session has ended\n"
	select {
	case line := <-r.lines:
		if line != said {
			t.Errorf("it said %q, want %q", line, said)
		}
	case <-time.After(2 * vault.LeaseTTL):
		t.Errorf("it never said %q", said)
	}
	r.goesOn(t)
	r.ends(t)
}

// TestLeaseOutlivesTheServer: a server that was killed in between and started
// again keeps the session for as long as its vault run lives, which is silent.
func TestLeaseOutlivesTheServer(t *testing.T) {
	i := lastsAsLongAsALease(t)
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
	longer := int((vault.LeaseTTL + 10*time.Second) / time.Second)
	if status := i.waits(t, r.token, longer); status != http.StatusOK {
		t.Fatalf("the session is gone: %d", status)
	}
	r.goesOn(t)
	r.ends(t)
	if a := i.send("GET", "/discover", r.token, ""); a.status != http.StatusUnauthorized {
		t.Errorf("the session has outlived its command: %d", a.status)
	}
}
