package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMasterPasswordFile: a server that is given its master password in a file
// opens nothing with another one, and takes no file that others could read.
func TestMasterPasswordFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	i := &instance{t: t, dir: dir}
	write("config.yaml", "listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}\ndata_dir: "+dir+"/data\n", 0o600)
	i.before = []string{"env", "AGENT_VAULT_MASTER_PASSWORD_FILE=" + write("password", "a long master password\n", 0o440)}
	for range 2 { // the second opens what the first has made
		i.start()
		i.stop()
	}
	if _, err := os.Stat(dir + "/data/master.key"); err == nil || strings.Contains(i.stderr.String(), "no master password") {
		t.Errorf("%v\n%s", err, i.stderr)
	}
	for want, env := range map[string][]string{
		"the master password is wrong":                      {"AGENT_VAULT_MASTER_PASSWORD_FILE=" + write("other", "another password\n", 0o400)},
		"AGENT_VAULT_MASTER_PASSWORD_FILE is set and empty": {"AGENT_VAULT_MASTER_PASSWORD_FILE="},
		"are both set":               {"AGENT_VAULT_MASTER_PASSWORD_FILE=" + dir + "/password", "AGENT_VAULT_MASTER_PASSWORD=a long master password"},
		"open can be read by others": {"AGENT_VAULT_MASTER_PASSWORD_FILE=" + write("open", "a long master password", 0o444)},
		"has more than one line":     {"AGENT_VAULT_MASTER_PASSWORD_FILE=" + write("lines", "a long master password\nand more\n", 0o400)},
		"AGENT_VAULT_MASTER_PASSWORD_FILE: lstat " + dir + "/none": {"AGENT_VAULT_MASTER_PASSWORD_FILE=" + dir + "/none"},
	} {
		cmd := exec.Command(builtBinary(t), "server", "--config", i.path("config.yaml"))
		cmd.Env = append([]string{"HOME=" + dir}, env...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "a long master password") {
			t.Errorf("%q: %v\n%s", env, err, out)
		}
	}
}
