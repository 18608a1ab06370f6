package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A checkup is what ca doctor prints as JSON.
type checkup struct {
	Server, Vault string
	Works         bool
	Runtimes      []struct {
		Name, Program, Version, Trusts, Note string
		VaultRun                             *attempt `json:"vault_run"`
		ByItself                             *attempt `json:"by_itself"`
	}
}

type attempt struct {
	Works              bool
	Problem, Says, Fix string
}

func (i *instance) doctor(t *testing.T, env []string, args ...string) (c checkup, errs string, err error) {
	t.Helper()
	out, errs, err := i.runWith(env, append([]string{"ca", "doctor", "--json"}, args...)...)
	if jsonErr := json.Unmarshal([]byte(out), &c); jsonErr != nil {
		t.Fatalf("%v: %q\n%s", jsonErr, out, errs)
	}
	if strings.Contains(out, "av_sess_") {
		t.Errorf("it shows a token:\n%s", out)
	}
	return c, errs, err
}

// TestDoctor: real runtimes, in a vault that denies and in one that tunnels. By
// themselves they trust the vault's root once somebody has told them of it.
func TestDoctor(t *testing.T) {
	needs(t, "curl")
	needs(t, "git")
	needs(t, "python3")
	i := newInstance(t, "")
	i.register()
	root := i.path("root.pem")
	if err := os.WriteFile(root, []byte(i.must("", "ca", "export")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, unmatched := range []string{"deny", "tunnel"} {
		i.must("", "vault", "set", "default", "--unmatched-hosts", unmatched)
		c, errs, err := i.doctor(t, nil, "curl", "git", "python")
		if err != nil || errs != "" || !c.Works || c.Server != i.API || c.Vault != "default" || len(c.Runtimes) != 3 {
			t.Fatalf("%s: %v: %+v\n%s", unmatched, err, c, errs)
		}
		for _, r := range c.Runtimes {
			if !r.VaultRun.Works || r.Version == "" || r.Program == "" {
				t.Errorf("%s: %s: %+v", unmatched, r.Name, r.VaultRun)
			}
			if r.ByItself.Works || r.ByItself.Problem != "does not trust the vault's certificate" || !strings.Contains(r.ByItself.Fix, "agent-vault ca export") {
				t.Errorf("%s: %s by itself: %+v", unmatched, r.Name, r.ByItself)
			}
		}
	}
	if _, errs, err := i.doctor(t, nil, "--by-itself", "curl"); err == nil || !strings.Contains(errs, "by themselves these do not work: curl") {
		t.Errorf("--by-itself: %v, %s", err, errs)
	}
	told := []string{"CURL_CA_BUNDLE=" + root, "SSL_CERT_FILE=" + root, "GIT_SSL_CAINFO=" + root}
	if c, errs, err := i.doctor(t, told, "--by-itself", "curl", "git", "python"); err != nil {
		t.Errorf("%v: %+v\n%s", err, c, errs)
	}
	// With an agent's own token, and as people read it.
	agent := "AGENT_VAULT_SESSION_TOKEN=" + i.agentToken("doctors", "default")
	out, errs, err := i.runWith([]string{agent, "AGENT_VAULT_PROXY=" + i.Proxy, "HOME=" + t.TempDir()}, "ca", "doctor", "curl")
	if err != nil || !strings.Contains(out, "RUNTIME") || !strings.Contains(out, "works ") || !strings.Contains(out, "by itself (curl), or run it by vault run:\n  agent-vault ca export") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	out, _, err = i.runWith([]string{agent, "AGENT_VAULT_PROXY=http://" + closedPort(t), "HOME=" + t.TempDir()}, "ca", "doctor", "curl")
	if err == nil || !strings.Contains(out, "cannot reach the proxy") || !strings.Contains(out, "\n  export AGENT_VAULT_PROXY=") {
		t.Errorf("%v\n%s", err, out)
	}
	if a := i.must("", "session", "list"); strings.Contains(a, "ca doctor") {
		t.Errorf("it leaves a session:\n%s", a)
	}
}

// TestDoctorFinds: each way in which a runtime can fail, by programs that fail
// so, with the line that mends it and an exit status that is not 0.
func TestDoctorFinds(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	bin := t.TempDir()
	path := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}
	for _, tt := range []struct{ script, problem, fix string }{
		{`echo "could not resolve host: $*" >&2; exit 6`, "does not use the proxy", "another proxy"},
		{`echo "x509: certificate signed by unknown authority"; exit 1`, "does not trust the vault's certificate", "other roots"},
		{`echo "Received HTTP code 407 from proxy, by $HTTPS_PROXY"; exit 1`, "sends the proxy no credentials", "another proxy"},
		{`sleep 60 & wait`, "took too long", "another proxy"},
		{`yes all is well | head -c 1000000`, "fails", "another proxy"},
		{`echo '{"error":"forbidden"} from somebody else'`, "fails", "another proxy"},
	} {
		if err := os.WriteFile(bin+"/curl", []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		c, errs, err := i.doctor(t, path, "--timeout", "1s", "curl")
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(errs, "under vault run these do not work: curl") || c.Works {
			t.Errorf("%s: %v: %s", tt.script, err, errs)
		}
		if a := c.Runtimes[0].VaultRun; a.Works || a.Problem != tt.problem || !strings.Contains(a.Fix, tt.fix) {
			t.Errorf("%s: %+v", tt.script, a)
		}
	}
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"cobol"}, 2, `there is no check for "cobol"; there are: curl, `},
		{[]string{"bun"}, 1, "bun: bun is not installed, or not in PATH"},
	} {
		_, errs, err := i.runWith([]string{"PATH=" + bin}, append([]string{"ca", "doctor"}, tt.args...)...)
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != tt.status || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: %v: %s", tt.args, err, errs)
		}
	}
	if left, _ := os.ReadDir(strings.TrimPrefix(path[1], "TMPDIR=")); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}
