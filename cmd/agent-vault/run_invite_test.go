package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// invited makes an invite of an agent.
func (i *instance) invited(name string) (link, token string) {
	i.t.Helper()
	var made struct {
		Link  string `json:"invite_link"`
		Token string
	}
	if err := json.Unmarshal([]byte(i.must("", "agent", "invite", name, "--vault", "second", "--vault", "default", "-o", "json")), &made); err != nil {
		i.t.Fatal(err)
	}
	return made.Link, made.Token
}

// startInvited runs a command as an image does that was given an invite: with
// no home, and nothing else.
func (i *instance) startInvited(env []string, args ...string) (out, errs string, err error) {
	i.t.Helper()
	cmd := exec.Command(builtBinary(i.t), append([]string{"vault", "run", "--invite"}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// TestRunInvite: an image's start with an invite, and every way in which there
// is none.
func TestRunInvite(t *testing.T) {
	needs(t, "sh")
	curl := needs(t, "curl")
	w := newWorld(t)
	call := []string{"--", "sh", "-c", "env; exec " + curl + " -sS --fail-with-body https://api.test/invited"}

	link, token := w.invited("by-link")
	out, errs, err := w.startInvited([]string{"AGENT_VAULT_INVITE=" + link, "AGENT_VAULT_VAULT=default"}, call...)
	if err != nil || !strings.Contains(out, `"uri":"/invited"`) || !strings.Contains(out, "AGENT_VAULT_SESSION_TOKEN=av_agt_") || strings.Contains(out, token) || strings.Contains(out, "AGENT_VAULT_INVITE") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	out, errs, err = w.startInvited([]string{"AGENT_VAULT_INVITE=" + link}, call...)
	if err == nil || out != "" || !strings.HasPrefix(errs, "agent-vault: this invite has been used already: it starts one agent, once\nhint: make a new one with: agent-vault agent invite ") {
		t.Errorf("a second start: %v\n%s%s", err, out, errs)
	}

	_, token = w.invited("by-file")
	file := w.path("invite")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(freePorts(t, 1)[0])
	out, errs, err = w.startInvited([]string{"AGENT_VAULT_INVITE_FILE=" + file, "AGENT_VAULT_ADDR=" + w.API, "AGENT_VAULT_PROXY=" + w.Proxy},
		append([]string{"--vault", "default", "--proxy-port=" + port}, call...)...)
	if err != nil || !strings.Contains(out, `"uri":"/invited"`) || !strings.Contains(out, "HTTPS_PROXY=http://127.0.0.1:"+port+"\n") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}

	link, _ = w.invited("kept")
	nobody := closedPort(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		env  string
		args []string
		want string
	}{
		{"", nil, "there is no invite to start with"},
		{"AGENT_VAULT_INVITE=" + link + " AGENT_VAULT_INVITE_FILE=" + file, nil, "are both set"},
		{"AGENT_VAULT_INVITE_FILE=" + file + ".none", nil, "AGENT_VAULT_INVITE_FILE: "},
		{"AGENT_VAULT_INVITE=" + link + "x", nil, "this is no invite, or not the whole of it"},
		{"AGENT_VAULT_INVITE=" + link, []string{"--ttl", "1h"}, "--ttl is for a session that is minted"},
		{"AGENT_VAULT_INVITE=" + link, []string{"--proxy-port=70000"}, "it is a port"},
		{"AGENT_VAULT_INVITE=" + link, []string{"--address", "http://" + nobody}, "no server at "},
		{"AGENT_VAULT_INVITE=" + link + " AGENT_VAULT_PROXY=x", nil, "is not the address of a server"},
	} {
		out, errs, err := w.startInvited(strings.Fields(tt.env), append(tt.args, "--", "env")...)
		if err == nil || out != "" || !strings.Contains(errs, tt.want) || strings.Contains(errs, link[strings.LastIndex(link, "_"):]) {
			t.Errorf("%s %q: %v\n%s%s", strings.ReplaceAll(tt.env, link, "LINK"), tt.args, err, out, errs)
		}
	}
	// None of these has used it up.
	out, errs, err = w.startInvited([]string{"AGENT_VAULT_INVITE=" + link}, "--", "sh", "-c", "echo $AGENT_VAULT_VAULT")
	if err != nil || out != "default\n" && out != "second\n" {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	link, _ = w.invited("port-taken")
	if _, errs, err := w.startInvited([]string{"AGENT_VAULT_INVITE=" + link}, fmt.Sprintf("--proxy-port=%d", taken.Addr().(*net.TCPAddr).Port), "--", "env"); err == nil || !strings.Contains(errs, "--proxy-port: ") {
		t.Errorf("%v %s", err, errs)
	}
}
