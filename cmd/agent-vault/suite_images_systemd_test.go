package main_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// boot mounts layers as enter does, and has systemd for its first process, with a
// network and processes of its own. It may set nothing of the kernel's.
const boot = `
set -e
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
cd "$4"
mkdir -p old
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
pivot_root . old
cd /
umount -l /old
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target --show-status=no --log-target=null
`

// checkUnit runs beside the server and ends the machine.
const checkUnit = `
[Unit]
After=agent-vault.service
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
Environment=HOME=/root
ExecStart=/bin/sh /check.sh
StandardOutput=file:/result
StandardError=inherit
[Install]
WantedBy=multi-user.target
`

const checkScript = `
set -e
ready() { curl -sS --fail --retry 60 --retry-connrefused --retry-delay 1 http://127.0.0.1:14321/ready; }
ready
printf '%s\n' 'correct horse battery staple' | agent-vault auth register --email a@example.test --password-stdin
systemctl restart agent-vault
ready
agent-vault vault list
cat "/proc/$(systemctl show -p MainPID --value agent-vault)/status"
systemctl stop agent-vault
echo "ended with $(systemctl show -p ExecMainStatus --value agent-vault)"
`

// TestImagesSystemd starts the unit by systemd, with all that it takes from the
// server, twice: the second opens what the first has sealed.
func TestImagesSystemd(t *testing.T) {
	w := newImageWorld(t)
	i := &image{t: t, layers: []string{w.debian}}
	i.copy(w.context["agent-vault"], "/usr/local/bin/agent-vault", 0o755)
	i.copy("../../configs/systemd/agent-vault.service", "/etc/systemd/system/agent-vault.service", 0o644)
	i.copy("../../configs/systemd/agent-vault.sysusers", "/etc/sysusers.d/agent-vault.conf", 0o644)
	i.copy("../../configs/sample.yaml", "/etc/agent-vault/config.yaml", 0o644)
	i.write("a long master password\n", "/etc/agent-vault/master-password", 0o600)
	i.write(checkUnit, "/etc/systemd/system/check.service", 0o644)
	i.write(checkScript, "/check.sh", 0o644)
	i.build(`RUN apt-get update && apt-get install --yes --no-install-recommends systemd && systemd-sysusers && systemctl enable agent-vault check`, nil)

	paths := runFolders(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--ipc", "--uts", "--net", "sh", "-c", boot, "sh",
		strings.Join(i.layers, ":"), paths["layer"], paths["work"], paths["root"]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	result := readFile(t, filepath.Join(paths["layer"], "result"))
	for _, want := range []string{
		"signed in to http://127.0.0.1:14321 as a@example.test (owner)", "default", "ended with 0",
		"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n",
	} {
		if !strings.Contains(result, want) {
			t.Errorf("no %q in\n%s", want, result)
		}
	}
	if strings.Count(result, `{"status":"ok"}`) != 2 {
		t.Errorf("it was not ready twice:\n%s", result)
	}
}
