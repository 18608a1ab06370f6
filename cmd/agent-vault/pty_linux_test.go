package main_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A terminal is a command that a person runs on one.
type terminal struct {
	t    *testing.T
	file *os.File
	cmd  *exec.Cmd
	seen syncBuffer
	read chan struct{} // closed at the end of what can be seen
}

// onTerminal starts one of our commands.
func onTerminal(t *testing.T, env []string, args ...string) *terminal {
	t.Helper()
	term := &terminal{t: t, cmd: exec.Command(builtBinary(t), args...), read: make(chan struct{})}
	term.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TERM=xterm"}, env...)
	var err error
	if term.file, err = pty.Start(term.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { term.file.Close() })
	go func() {
		defer close(term.read)
		_, _ = io.Copy(&term.seen, term.file) // EIO at the end
	}()
	return term
}

// until waits for a condition, at most ten seconds.
func (term *terminal) until(what string, met func() bool) {
	term.t.Helper()
	for end := time.Now().Add(10 * time.Second); !met(); {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-term.read:
			if !met() {
				term.t.Fatalf("it ended without %s: %q", what, &term.seen)
			}
		}
		if time.Now().After(end) {
			term.t.Fatalf("waited in vain for %s: %q", what, &term.seen)
		}
	}
}

// sees waits for text on the screen.
func (term *terminal) sees(text string) {
	term.t.Helper()
	term.until(text, func() bool { return strings.Contains(term.seen.String(), text) })
}

// answers types a line at a prompt that does not echo.
func (term *terminal) answers(prompt, line string) {
	term.t.Helper()
	term.sees(prompt)
	term.until("a terminal without echo", func() bool {
		mode, err := unix.IoctlGetTermios(int(term.file.Fd()), unix.TCGETS)
		return err == nil && mode.Lflag&unix.ECHO == 0
	})
	if _, err := io.WriteString(term.file, line+"\n"); err != nil {
		term.t.Fatal(err)
	}
}

// ends waits for the command, and returns its exit status and all that was seen.
func (term *terminal) ends() (status int, seen string) {
	term.t.Helper()
	_ = term.cmd.Wait() // the status says it
	<-term.read
	return term.cmd.ProcessState.ExitCode(), strings.ReplaceAll(term.seen.String(), "\r\n", "\n")
}

const freshPassword = "correct horse battery staple"

// tooOld is a server that does not take a call before the password was given
// anew. It counts both.
type tooOld struct {
	*httptest.Server
	calls, passwords atomic.Int32
}

func startTooOld(t *testing.T) *tooOld {
	t.Helper()
	s := new(tooOld)
	refuse := func(w http.ResponseWriter, status int, code, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "message": message})
	}
	var fresh atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/auth/reauthenticate", func(w http.ResponseWriter, r *http.Request) {
		s.passwords.Add(1)
		var body map[string]string
		err := json.NewDecoder(r.Body).Decode(&body)
		if err != nil || len(body) != 1 || body["password"] != freshPassword || r.Header.Get("Authorization") != "Bearer av_login_x" || r.Header.Get("Content-Type") != "application/json" {
			refuse(w, 403, "wrong_password", "the password is wrong")
			return
		}
		fresh.Store(true)
		io.WriteString(w, "{}")
	})
	mux.HandleFunc("POST /v1/vaults", func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		if !fresh.Load() {
			refuse(w, 403, "login_too_old", "this needs a sign-in of the last five minutes")
			return
		}
		w.WriteHeader(201)
		io.WriteString(w, `{"name": "team-a\u001b[2J"}`)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *tooOld) env() []string {
	return []string{"AGENT_VAULT_ADDR=" + s.URL, "AGENT_VAULT_LOGIN_TOKEN=av_login_x"}
}

// TestPasswordInPlace: what needs a fresh login asks for the password, without
// echo, and is then done.
func TestPasswordInPlace(t *testing.T) {
	s := startTooOld(t)
	term := onTerminal(t, s.env(), "vault", "create", "team-a")
	term.answers("Password: ", freshPassword)
	status, seen := term.ends()
	want := "This needs a sign-in of the last few minutes.\nPassword: \ncreated the vault team-a\\x1b[2J\n"
	if status != 0 || seen != want || s.calls.Load() != 2 || s.passwords.Load() != 1 {
		t.Errorf("status %d after %d calls and %d passwords:\n%q\nwant\n%q", status, s.calls.Load(), s.passwords.Load(), seen, want)
	}
}

// TestWrongPasswordInPlace: it is asked for once, and the call is not made again.
func TestWrongPasswordInPlace(t *testing.T) {
	s := startTooOld(t)
	term := onTerminal(t, s.env(), "vault", "create", "team-a")
	term.answers("Password: ", "guess")
	status, seen := term.ends()
	want := "This needs a sign-in of the last few minutes.\nPassword: \nagent-vault: the password is wrong\nhint: try again, or run: agent-vault auth login\n"
	if status != 1 || seen != want || s.calls.Load() != 1 || s.passwords.Load() != 1 {
		t.Errorf("status %d after %d calls and %d passwords:\n%q\nwant\n%q", status, s.calls.Load(), s.passwords.Load(), seen, want)
	}
}

// TestNobodyToAskForThePassword: without a terminal there is a hint instead.
func TestNobodyToAskForThePassword(t *testing.T) {
	s := startTooOld(t)
	cmd := exec.Command(builtBinary(t), "vault", "create", "team-a")
	cmd.Env = append([]string{"HOME=" + t.TempDir()}, s.env()...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	want := "agent-vault: this needs a sign-in of the last five minutes\nhint: put a new login's token into AGENT_VAULT_LOGIN_TOKEN\n"
	if cmd.ProcessState.ExitCode() != 1 || errs.String() != want || out.Len() != 0 || s.calls.Load() != 1 || s.passwords.Load() != 0 {
		t.Errorf("%v, %d calls: %q %q\nwant %q", err, s.calls.Load(), errs.String(), out.String(), want)
	}
}

// TestSlowServer: who waits is told for what, and the line is gone at the end.
func TestSlowServer(t *testing.T) {
	answer := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-answer
		io.WriteString(w, `{"email": "you@example.test", "role": "owner"}`)
	}))
	t.Cleanup(slow.Close)
	term := onTerminal(t, []string{"AGENT_VAULT_ADDR=" + slow.URL, "AGENT_VAULT_LOGIN_TOKEN=av_login_x"}, "auth", "status")
	term.sees("\rwaiting for " + slow.URL + " (1 s)\x1b[K")
	close(answer)
	if status, seen := term.ends(); status != 0 || !strings.HasSuffix(seen, "\r\x1b[Kyou@example.test at "+slow.URL+" (owner)\nvaults: admin of all\n") {
		t.Errorf("status %d: %q", status, seen)
	}
}

// TestColours are seen on a terminal only, and where NO_COLOR does not forbid.
func TestColours(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"changes": [{"vault": "v", "kind": "service", "name": "a", "action": "created"}]}`)
	}))
	t.Cleanup(server.Close)
	file := t.TempDir() + "/vault.yaml"
	if err := os.WriteFile(file, []byte("vaults: [{name: v}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	const green, none = "\x1b[32mcreated  \x1b[0m service v/a\n1 changed, 0 unchanged\n", "created   service v/a\n1 changed, 0 unchanged\n"
	for more, want := range map[string]string{"LANG=C": green, "NO_COLOR=": green, "NO_COLOR=1": none, "TERM=dumb": none} {
		term := onTerminal(t, []string{"AGENT_VAULT_ADDR=" + server.URL, "AGENT_VAULT_LOGIN_TOKEN=av_login_x", more}, "apply", "-f", file)
		if status, seen := term.ends(); status != 0 || seen != want {
			t.Errorf("%s: status %d: %q, want %q", more, status, seen, want)
		}
	}
}
