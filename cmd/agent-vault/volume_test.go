package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestVolumeOfAGroup: a folder on a volume that belongs to root, and may be
// written by the group that has our own number, as Kubernetes mounts one
// (fsGroup).
func TestVolumeOfAGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	const self = 65532
	dir, err := os.MkdirTemp("", "agent-vault-volume-") // which t.TempDir keeps from other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a folder of temporary files
	i := &instance{t: t, dir: dir}
	program := filepath.Join(dir, "agent-vault")
	if err := exec.Command("cp", builtBinary(t), program).Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(i.path("config.yaml"), []byte("listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}\ndata_dir: "+dir+"/volume/vault\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	volume := i.path("volume")
	for _, err := range []error{os.Chmod(dir, 0o755), os.Chmod(program, 0o755), os.Mkdir(volume, 0o755), os.Chown(volume, 0, self), os.Chmod(volume, 0o775|os.ModeSetgid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	i.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: self, Gid: self, Groups: []uint32{self}}}
	for range 2 {
		if err := i.launch(program); err != nil {
			t.Fatal(err)
		}
		i.stop()
	}
	if err := os.Chown(volume, 0, self+1); err != nil {
		t.Fatal(err)
	}
	if err := i.launch(program); err == nil || !strings.Contains(err.Error(), "volume can be changed by others (mode 0775)") {
		t.Errorf("a group of another number: %v", err)
		i.stop()
	}
}
