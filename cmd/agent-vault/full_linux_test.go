package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentvault/api"
)

// TestFullDisk runs a server on file systems that fill up, of 20 sizes: from
// those on which it does not start to those that last for a few hundred
// requests. Refusals are clear, nothing is damaged, nothing is sent without a
// record (R15), and when there is room again it works, without a restart.
func TestFullDisk(t *testing.T) {
	if os.Getenv(mountsVariable) == "" {
		withMounts(t)
		return
	}
	f := newFullDisk(t)
	for _, kib := range []int{0, 16, 64, 256, 512, 1024} {
		t.Run(fmt.Sprintf("first start, %d KiB", kib), func(t *testing.T) { f.firstStart(t, kib) })
	}
	for _, kib := range []int{0, 4, 8, 16, 32, 40, 48, 64, 80, 96, 128, 256, 384, 512} {
		t.Run(fmt.Sprintf("%d KiB", kib), func(t *testing.T) { f.fill(t, kib) })
	}
}

const mountsVariable = "AGENT_VAULT_TEST_MOUNTS"

// withMounts runs the test again in a process that may mount: in namespaces of
// its own (user_namespaces(7)).
func withMounts(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), mountsVariable+"=1", builtVariable+"="+builtBinary(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var ran *exec.ExitError
	if err != nil && !errors.As(err, &ran) {
		if os.Getenv("CI") != "" {
			t.Fatalf("no user namespaces, and CI fills disks: %v", err)
		}
		t.Skipf("needs user namespaces, to mount a file system that fills up: %v", err)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// A fullDisk is what the tests at all sizes share.
type fullDisk struct {
	template string // a data folder with an owner, a service and a credential
	config   string // but for data_dir
	upstream *crashOrigin
	login    string
	session  string
	number   int
}

func newFullDisk(t *testing.T) *fullDisk {
	t.Helper()
	f := &fullDisk{upstream: &crashOrigin{fresh: make(map[string]string)}}
	ca := newAuthority(t, "Origin CA")
	origin := startOrigin(t, ca.leaf(t, "host.test"), false, f.upstream)
	roots := t.TempDir() + "/origin.pem"
	if err := os.WriteFile(roots, ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	f.config = fmt.Sprintf("upstream: {ca_file: %s, hosts: {host.test: '%s'}}\nnetwork: {allow: [127.0.0.0/8]}\nlimits: {session_rate: 0}\n", roots, origin.Addr)
	i := newInstance(t, f.config)
	f.prepare(t, i)
	if err := i.halt(); err != nil {
		t.Fatal(err)
	}
	f.template = i.path("data")
	return f
}

// prepare makes an owner, a service and a credential.
func (f *fullDisk) prepare(t *testing.T, i *instance) {
	t.Helper()
	i.register()
	i.apply(`vaults: [{name: default, services: [{name: host, host: host.test, auth: {type: bearer, token: KEY}}], credentials: {KEY: {from: "file:KEY"}}}]`,
		map[string]string{"KEY": "value-00000000"})
	f.login, f.session = i.login(), i.token()
}

// A disk is a file system of a test's own.
type disk struct {
	t   *testing.T
	dir string
}

const diskKiB = 16 << 10

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, dir: t.TempDir()}
	if err := syscall.Mount("none", d.dir, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=700", diskKiB)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *disk) ballast() string { return d.dir + "/ballast" }

// leave fills the disk but for this much.
func (d *disk) leave(kib int) {
	d.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	fill := int64(s.Bavail)*s.Bsize - int64(kib)<<10
	if err := os.WriteFile(d.ballast(), make([]byte, fill), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// makeRoom takes the ballast away.
func (d *disk) makeRoom() {
	d.t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		d.t.Fatal(err)
	}
}

// on is an instance whose data folder is on a disk. It does not run yet.
func (f *fullDisk) on(t *testing.T, d *disk) *instance {
	t.Helper()
	i := &instance{t: t, dir: t.TempDir()}
	config := "listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}\ndata_dir: " + d.dir + "/data\n" + f.config
	if err := os.WriteFile(i.path("config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if i.done == nil {
			return
		}
		select {
		case <-i.done:
		default:
			i.stop()
		}
	})
	return i
}

// noRoom holds what a server says that does not start: one line that names the
// cause.
var noRoom = regexp.MustCompile(`(?m)^agent-vault: [^\n]*(no space left on device|disk is full)[^\n]*$`)

// startsOrSays starts the server, and reports whether it runs. If not, it has
// said why.
func startsOrSays(t *testing.T, i *instance) bool {
	t.Helper()
	err := i.launch(builtBinary(t))
	if err == nil {
		return true
	}
	if !noRoom.MatchString(err.Error()) || strings.Contains(err.Error(), "goroutine ") {
		t.Errorf("a start without room: %v", err)
	}
	return false
}

// firstStart begins with an empty folder.
func (f *fullDisk) firstStart(t *testing.T, kib int) {
	d := newDisk(t)
	i := f.on(t, d)
	d.leave(kib)
	started := startsOrSays(t, i)
	t.Logf("started: %v %s", started, i.stderr)
	d.makeRoom()
	if !started {
		i.start()
	}
	own := *f // tokens of this folder
	own.prepare(t, i)
	own.mustWork(t, i, d)
	own.hold(t, i, d)
}

// fill begins with a folder that has been in use.
func (f *fullDisk) fill(t *testing.T, kib int) {
	d := newDisk(t)
	if err := os.CopyFS(d.dir+"/data", os.DirFS(f.template)); err != nil {
		t.Fatal(err)
	}
	makePrivate(t, d.dir+"/data")
	i := f.on(t, d)
	d.leave(kib)
	started := startsOrSays(t, i)
	sent, changed, refused := 0, 0, 0
	if started {
		for n := 0; n < 2000 && refused < 30; n++ {
			if f.exchange(t, i, []entrance{byPath, byProxy}[n%2]) {
				sent++
			} else {
				refused++
			}
			if n%4 == 0 {
				if f.change(t, i) {
					changed++
				} else {
					refused++
				}
			}
		}
		if a := i.send("GET", "/health", "", ""); a.status != 200 {
			t.Errorf("health: %d %s", a.status, a.body)
		}
	}
	t.Logf("started: %v, %d requests sent, %d changes made, %d refused", started, sent, changed, refused)
	if started && refused == 0 {
		t.Error("it never filled up: then this shows nothing")
	}
	d.makeRoom()
	if !started {
		i.start()
	}
	f.mustWork(t, i, d)
	f.hold(t, i, d)
}

// exchange sends a request, and reports whether the upstream answered it. If it
// did not, it has not seen it either.
func (f *fullDisk) exchange(t *testing.T, i *instance, e entrance) bool {
	t.Helper()
	f.number++
	path := fmt.Sprintf("/full/%d", f.number)
	a := i.do(e, f.session, call{host: "host.test", target: path})
	got := f.upstream.credential(path)
	switch {
	case a.status == 200 && strings.HasPrefix(got, "value-"):
		return true
	case a.status == 200 || got != "":
		t.Errorf("%s %s: %d, and the upstream got %q", e, path, a.status, got)
	}
	a.refusedWith(t, 503, "unavailable")
	return false
}

// change replaces the credential, and reports whether it was.
func (f *fullDisk) change(t *testing.T, i *instance) bool {
	t.Helper()
	f.number++
	a := i.post("/v1/credentials", f.login, fmt.Sprintf(`{"vault":"default","credentials":{"KEY":"value-%08d"}}`, f.number))
	if a.status == 200 {
		return true
	}
	a.refusedWith(t, 503, "unavailable")
	return false
}

// mustWork waits until everything works again, by itself.
func (f *fullDisk) mustWork(t *testing.T, i *instance, d *disk) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !f.change(t, i) || !f.exchange(t, i, byPath) || !f.exchange(t, i, byProxy) {
		if time.Now().After(deadline) {
			t.Fatalf("there is room, and it does not work:\n%s", i.stderr)
		}
		<-time.After(50 * time.Millisecond)
	}
	for range 5 {
		if !f.change(t, i) || !f.exchange(t, i, byPath) || !f.exchange(t, i, byProxy) {
			t.Errorf("it worked, and does not any more:\n%s", i.stderr)
		}
	}
	value := fmt.Sprintf("value-%08d", f.number-2)
	path := fmt.Sprintf("/full/%d", f.number)
	if got := f.upstream.credential(path); got != value {
		t.Errorf("the upstream got %q, and %q was set last", got, value)
	}
	// The request log catches up.
	var log api.RequestList
	for len(log.Requests) == 0 || log.Requests[0].Path != path {
		if time.Now().After(deadline) {
			t.Fatalf("the request log has not %s:\n%s", path, i.stderr)
		}
		a := i.send("GET", "/v1/logs?vault=default&limit=1", f.login, "")
		if err := json.Unmarshal([]byte(a.body), &log); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
}

// hold stops the server and looks at all that it left, and whether it starts
// with that.
func (f *fullDisk) hold(t *testing.T, i *instance, d *disk) {
	t.Helper()
	if err := i.halt(); err != nil {
		t.Fatal(err)
	}
	checkIntegrity(t, d.dir+"/data/agent-vault.db")
	records, err := newChain(t, d.dir+"/data").walk()
	if err != nil {
		t.Errorf("audit log: %v", err)
	}
	recorded := make(map[string]bool)
	for _, r := range records {
		if r.Kind == "intent" {
			recorded[r.Path] = true
		}
	}
	for path := range f.upstream.take() {
		if !recorded[path] {
			t.Errorf("%s reached the upstream and has no intent", path)
		}
	}
	i.start()
	if !f.exchange(t, i, byPath) {
		t.Errorf("not after a restart:\n%s", i.stderr)
	}
	f.upstream.take()
	if strings.Contains(i.stderr.String(), "goroutine ") {
		t.Errorf("a panic:\n%s", i.stderr)
	}
}

func makePrivate(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return errors.Join(err, os.Chmod(path, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
}
