package main_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// types writes a line that the terminal shows.
func (term *terminal) types(prompt, line string) {
	term.t.Helper()
	term.sees(prompt)
	if _, err := io.WriteString(term.file, line+"\n"); err != nil {
		term.t.Fatal(err)
	}
}

// TestAskedBeforeItIsDestroyed: only yes is yes.
func TestAskedBeforeItIsDestroyed(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	token := "AGENT_VAULT_LOGIN_TOKEN=" + i.login()
	const question = "Delete the vault team-a, with its services, credentials and sessions? [y/N] "
	i.must("", "vault", "create", "team-a")
	for _, answer := range []string{"", "n", "no", "yesterday", "\x04"} {
		term := onTerminal(t, i.env(token), "vault", "delete", "team-a")
		term.types(question, answer)
		if status, seen := term.ends(); status != 1 || !strings.HasSuffix(seen, "\nagent-vault: nothing was changed\n") {
			t.Errorf("%q: status %d: %q", answer, status, seen)
		}
	}
	i.must("", "vault", "show", "team-a")
	term := onTerminal(t, i.env(token), "vault", "delete", "team-a")
	term.types(question, " Y")
	if status, seen := term.ends(); status != 0 || !strings.HasSuffix(seen, "deleted the vault team-a\n") {
		t.Errorf("status %d: %q", status, seen)
	}
	if out := i.must("", "vault", "list"); strings.Contains(out, "team-a") {
		t.Errorf("it is still there: %s", out)
	}
}

// TestApplyAsksBeforeItDeletes: services that a declaration leaves out are shown
// first, on a terminal.
func TestApplyAsksBeforeItDeletes(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	token := "AGENT_VAULT_LOGIN_TOKEN=" + i.login()
	const one = "{name: one, host: one.example.com, auth: {type: passthrough}}"
	i.must("vaults: [{name: default, services: ["+one+", {name: two, host: two.example.com, auth: {type: passthrough}}]}]", "apply", "-f", "-")
	file := i.path("fewer.yaml")
	if err := os.WriteFile(file, []byte("vaults: [{name: default, services: ["+one+"]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	const question = "deleted   service default/two\n1 would change, 2 unchanged\nApply it, and delete 1 service? [y/N] "
	for _, tt := range []struct {
		args   []string
		answer string
		status int
		seen   string
		there  bool
	}{
		{nil, "n", 1, question + "n\nagent-vault: nothing was changed\n", true},
		{[]string{"--dry-run"}, "", 0, "deleted   service default/two\n1 would change, 2 unchanged\n", true},
		{nil, "y", 0, question + "y\ndeleted   service default/two\n1 changed, 2 unchanged\n", false},
		{nil, "", 0, "0 changed, 2 unchanged\n", false}, // nothing to ask about
	} {
		term := onTerminal(t, i.env(token, "NO_COLOR=1"), append([]string{"apply", "-f", file}, tt.args...)...)
		if tt.answer != "" {
			term.types("[y/N] ", tt.answer)
		}
		if status, seen := term.ends(); status != tt.status || seen != tt.seen {
			t.Errorf("%v %q: status %d: %q, want %q", tt.args, tt.answer, status, seen, tt.seen)
		}
		if there := strings.Contains(i.must("", "service", "list"), "two"); there != tt.there {
			t.Errorf("%v %q: the service is there: %v", tt.args, tt.answer, there)
		}
	}
}

// TestReuseAsks: a credential goes to no new host before a person wants it.
func TestReuseAsks(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	token := "AGENT_VAULT_LOGIN_TOKEN=" + i.login()
	i.must("value-of-the-key", "credential", "set", "STRIPE_KEY", "--from", "-")
	add := []string{"service", "add", "--host", "stripe.github.io", "--auth", "bearer", "--key", "STRIPE_KEY"}
	const said = "STRIPE_KEY has a value already, and no service of the vault default sends it to stripe.github.io\nSend STRIPE_KEY to stripe.github.io? [y/N] "
	term := onTerminal(t, i.env(token), add...)
	term.types("[y/N] ", "")
	if status, seen := term.ends(); status != 1 || seen != said+"\nagent-vault: nothing was changed\n" {
		t.Errorf("status %d: %q", status, seen)
	}
	if list := i.must("", "service", "list"); strings.Contains(list, "stripe") {
		t.Errorf("it was added: %s", list)
	}
	term = onTerminal(t, i.env(token), add...)
	term.types("[y/N] ", "y")
	if status, seen := term.ends(); status != 0 || !strings.HasPrefix(seen, said+"y\nadded stripe-github-io ") {
		t.Errorf("status %d: %q", status, seen)
	}
}

// TestLoginAsksForTheEmail: the last one of that server is the default.
func TestLoginAsksForTheEmail(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	for _, tt := range []struct{ prompt, home, answer string }{
		{"Email [" + ownerEmail + "]: ", i.dir, ""},
		{"Email: ", t.TempDir(), ownerEmail},
	} {
		term := onTerminal(t, i.env("HOME="+tt.home), "auth", "login")
		term.types(tt.prompt, tt.answer)
		term.answers("Password: ", ownerPassword)
		if status, seen := term.ends(); status != 0 || !strings.HasSuffix(seen, " as "+ownerEmail+" (owner)\n") {
			t.Errorf("%s status %d: %q", tt.prompt, status, seen)
		}
	}
}

// TestPasswordsOnATerminal: who joins chooses one twice, and changes it by
// giving the old one.
func TestPasswordsOnATerminal(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	link := strings.TrimSpace(i.must("", "user", "invite", "ann@example.test"))
	home := "HOME=" + t.TempDir()
	const first, second = "anns horse battery staple", "another horse battery staple"
	for _, tt := range []struct {
		name    string
		args    []string
		answers [][2]string
		status  int
		last    string
	}{
		{"a slip of the hand", []string{"auth", "join", link}, [][2]string{{"Password: ", first}, {"Once more: ", second}}, 1, "agent-vault: the two passwords differ\n"},
		{"twice the same", []string{"auth", "join", link}, [][2]string{{"Password: ", first}, {"Once more: ", first}}, 0, " as ann@example.test (member)\n"},
		{"a wrong old one", []string{"auth", "password"}, [][2]string{{"Old password: ", second}, {"New password: ", second}, {"Once more: ", second}}, 1, "agent-vault: the password is wrong\nhint: try again; nothing was changed\n"},
		{"changed", []string{"auth", "password"}, [][2]string{{"Old password: ", first}, {"New password: ", second}, {"Once more: ", second}}, 0, "changed the password; your other sign-ins have ended\n"},
		{"signed in with it", []string{"auth", "login", "--email", "ann@example.test"}, [][2]string{{"Password: ", second}}, 0, " as ann@example.test (member)\n"},
	} {
		term := onTerminal(t, append(i.env(), home), tt.args...)
		for _, a := range tt.answers {
			term.answers(a[0], a[1])
		}
		status, seen := term.ends()
		if status != tt.status || !strings.HasSuffix(seen, tt.last) || strings.Contains(seen, "staple") {
			t.Errorf("%s: status %d, want %d: %q", tt.name, status, tt.status, seen)
		}
	}
}

// TestCompletionOfASilentServer: a shell does not wait for long.
func TestCompletionOfASilentServer(t *testing.T) {
	silent := silentServer(t)
	cmd := exec.Command(builtBinary(t), "__complete", "agent", "rotate", "")
	cmd.Env = []string{"HOME=" + t.TempDir(), "AGENT_VAULT_ADDR=" + silent.url, "AGENT_VAULT_LOGIN_TOKEN=av_login_x"}
	began := time.Now()
	out, err := cmd.Output()
	if took := time.Since(began); err != nil || string(out) != ":4\n" || took > 8*time.Second {
		t.Errorf("%v after %v: %q", err, took, out)
	}
}
