package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// stranger is a user who is neither root nor whoever runs the tests.
const stranger = 54321

func TestFolderOfOthersIsRefused(t *testing.T) {
	asRoot := func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root, to give files away")
		}
	}
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string) // dir is there, with 0700
		path    string                         // that the error names, below dir's parent
		says    string                         // "" if it is taken
		todo    string                         // beginning of the hint
	}{
		{"empty", func(*testing.T, string) {}, "", "", ""},
		{"files of ours", func(t *testing.T, dir string) { touchAt(t, dir+"/master.key", 0o600) }, "", "", ""},
		{"a file that cannot be written", func(t *testing.T, dir string) { touchAt(t, dir+"/old", 0o400) }, "", "", ""},
		{"folder within", func(t *testing.T, dir string) { mkdir(t, dir+"/audit", 0o700); touchAt(t, dir+"/audit/1", 0o600) }, "", "", ""},
		{"socket", func(t *testing.T, dir string) { t.Chdir(dir); listenAt(t, "s") }, "", "", ""},

		{"folder for the group", func(t *testing.T, dir string) { chmodTo(t, dir, 0o750) }, "data", "is open to others (mode 0750)", "run: chmod go= "},
		{"folder for all", func(t *testing.T, dir string) { chmodTo(t, dir, 0o701) }, "data", "is open to others (mode 0701)", "run: chmod go= "},
		{"key file for the group", func(t *testing.T, dir string) { touchAt(t, dir+"/master.key", 0o640) }, "data/master.key", "mode 0640", "run: chmod go= "},
		{"database for all", func(t *testing.T, dir string) { touchAt(t, dir+"/agent-vault.db", 0o644) }, "data/agent-vault.db", "mode 0644", "run: chmod go= "},
		{"its log for all", func(t *testing.T, dir string) { touchAt(t, dir+"/agent-vault.db-wal", 0o602) }, "data/agent-vault.db-wal", "mode 0602", "run: chmod go= "},
		{"audit log for all", func(t *testing.T, dir string) { touchAt(t, dir+"/audit.log", 0o644) }, "data/audit.log", "mode 0644", "run: chmod go= "},
		{"file in a folder within", func(t *testing.T, dir string) { mkdir(t, dir+"/audit", 0o700); touchAt(t, dir+"/audit/1", 0o604) }, "data/audit/1", "mode 0604", "run: chmod go= "},
		{"folder within for all", func(t *testing.T, dir string) { mkdir(t, dir+"/audit", 0o755) }, "data/audit", "mode 0755", "run: chmod go= "},
		{"key file is a link", func(t *testing.T, dir string) { touchAt(t, dir+"/real", 0o600); linkAt(t, "real", dir+"/master.key") }, "data/master.key", "is a symbolic link", ""},
		{"audit log is a link to nothing", func(t *testing.T, dir string) { linkAt(t, "/nowhere", dir+"/audit.log") }, "data/audit.log", "is a symbolic link", ""},
		{"lock is a pipe", func(t *testing.T, dir string) { mkfifo(t, dir+"/lock") }, "data/lock", "is neither a file nor a folder", ""},
		{"folder is a link", func(t *testing.T, dir string) {
			if err := os.Rename(dir, dir+"-real"); err != nil {
				t.Fatal(err)
			}
			linkAt(t, dir+"-real", dir)
		}, "data", "is a symbolic link", ""},
		{"parent for all", func(t *testing.T, dir string) { chmodTo(t, filepath.Dir(dir), 0o777) }, "", "can be changed by others (mode 0777)", "run: chmod go-w "},
		{"sticky parent", func(t *testing.T, dir string) { chmodTo(t, filepath.Dir(dir), 0o777|os.ModeSticky) }, "", "", ""},
		{"parent of a group", func(t *testing.T, dir string) {
			asRoot(t)
			chmodTo(t, filepath.Dir(dir), 0o770)
			chown(t, filepath.Dir(dir), os.Geteuid(), stranger)
		}, "", "can be changed by others (mode 0770)", "run: chmod go-w "},
		{"folder of another", func(t *testing.T, dir string) { asRoot(t); chown(t, dir, stranger, -1) }, "data", "belongs to user 54321, neither to this one (0) nor to root", "start the server as that user, or run: chown 0 "},
		{"file of another", func(t *testing.T, dir string) {
			asRoot(t)
			touchAt(t, dir+"/master.key", 0o600)
			chown(t, dir+"/master.key", stranger, -1)
		}, "data/master.key", "belongs to user 54321", "start the server as that user, or run: chown 0 "},
		{"parent of another", func(t *testing.T, dir string) { asRoot(t); chown(t, filepath.Dir(dir), stranger, -1) }, "", "belongs to user 54321", "start the server as that user, or run: chown 0 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			chmodTo(t, parent, 0o755)
			dir := filepath.Join(parent, "data")
			mkdir(t, dir, 0o700)
			tt.prepare(t, dir)
			lock, err := lockFolder(dir)
			if err == nil {
				defer lock.Close()
			}
			if tt.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("it was taken")
			}
			message, todo := explained(err)
			path := filepath.Join(parent, tt.path)
			if !strings.HasPrefix(message, "data folder: "+path+" ") || !strings.Contains(message, tt.says) {
				t.Errorf("the error %q does not say %q of %s", message, tt.says, path)
			}
			if !strings.HasPrefix(todo, tt.todo) || tt.todo != "" && !strings.HasSuffix(todo, " "+path) {
				t.Errorf("the hint is %q, want %s… %s", todo, tt.todo, path)
			}
		})
	}
}

// A way is as good as every link and every folder of it.
func TestWays(t *testing.T) {
	dir := t.TempDir()
	chmodTo(t, dir, 0o755)
	mkdir(t, dir+"/safe", 0o755)
	mkdir(t, dir+"/open", 0o755)
	touchAt(t, dir+"/safe/ca.pem", 0o644)
	touchAt(t, dir+"/safe/shared.pem", 0o646)
	touchAt(t, dir+"/open/ca.pem", 0o644)
	linkAt(t, "../open/ca.pem", dir+"/safe/by-link.pem")
	linkAt(t, dir+"/safe", dir+"/open/folder")
	linkAt(t, "loop", dir+"/safe/loop")
	chmodTo(t, dir+"/open", 0o777)
	for path, says := range map[string]string{
		"safe/ca.pem":            "",
		"safe/../safe/ca.pem":    "",
		"safe/shared.pem":        "safe/shared.pem can be changed by others",
		"open/ca.pem":            "/open can be changed by others",
		"safe/by-link.pem":       "/open can be changed by others",
		"open/folder/ca.pem":     "/open can be changed by others",
		"safe/loop":              "too many levels of symbolic links",
		"safe/missing.pem":       "no such file",
		"safe/ca.pem/not/a/path": "not a directory",
	} {
		err := checkWay(dir + "/" + path)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
}

func touchAt(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	chmodTo(t, path, mode)
}

func mkdir(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	chmodTo(t, path, mode)
}

func chmodTo(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

func chown(t *testing.T, path string, uid, gid int) {
	t.Helper()
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

func linkAt(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

func listenAt(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
}
