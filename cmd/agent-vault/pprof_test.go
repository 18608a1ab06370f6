package main_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// socketFolder is a folder of our own whose name is short enough for a socket.
func socketFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "av-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func onSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

func get(t testing.TB, c *http.Client, url string) (int, []byte) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestProfiles(t *testing.T) {
	socket := filepath.Join(socketFolder(t), "pprof.sock")
	i := newInstance(t, "debug: {pprof_socket: "+socket+"}\n")
	info, err := os.Lstat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket has mode %s", info.Mode())
	}
	if !strings.Contains(i.stderr.String(), "profiles of this process are given out on "+socket) {
		t.Errorf("it is not said:\n%s", i.stderr)
	}
	c := onSocket(socket)
	gzip := []byte{0x1f, 0x8b}
	for path, begins := range map[string][]byte{
		"heap": gzip, "allocs": gzip, "goroutine": gzip, "profile?seconds=1": gzip,
		"goroutine?debug=2": []byte("goroutine "), "trace?seconds=1": []byte("go 1."), "": nil,
	} {
		status, body := get(t, c, "http://pprof/debug/pprof/"+path)
		if status != 200 || !bytes.HasPrefix(body, begins) || len(body) < 20 {
			t.Errorf("%q: %d, %d bytes: %.40q", path, status, len(body), body)
		}
	}
	for path, want := range map[string]int{
		"/debug/pprof/nothing": 404, "/debug/pprof/cmdline": 404, "/debug/pprof/heap?debug=x": 400, "/debug/pprof/profile?seconds=0": 400,
		"/debug/pprof/trace?seconds=100000": 400, "/v1/status": 404, "/": 404, "/debug/vars": 404,
	} {
		if status, body := get(t, c, "http://pprof"+path); status != want {
			t.Errorf("%s: %d %q, want %d", path, status, body, want)
		}
	}

	// A killed server leaves its socket behind, and the next one takes its place.
	if err := i.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-i.done
	if _, err := os.Lstat(socket); err != nil {
		t.Fatalf("then this shows nothing: %v", err)
	}
	i.start()
	if status, _ := get(t, c, "http://pprof/debug/pprof/heap"); status != 200 {
		t.Errorf("after a restart: %d", status)
	}
	if err := i.halt(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(socket); err == nil {
		t.Error("a server that was stopped leaves its socket")
	}
	i.start()
}

// Nothing of a profile is on a port, whether there is a socket or not.
func TestNoProfilesOnPorts(t *testing.T) {
	with := newInstance(t, "debug: {pprof_socket: "+filepath.Join(socketFolder(t), "s")+"}\n")
	for _, i := range []*instance{newInstance(t, ""), with} {
		for _, base := range []string{i.API, i.Proxy} {
			for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline", "/debug/vars"} {
				if status, body := get(t, http.DefaultClient, base+path); status < 400 || bytes.Contains(body, []byte("goroutine")) {
					t.Errorf("%s%s: %d %.60q", base, path, status, body)
				}
			}
		}
		if _, err := os.Lstat(i.path("data/pprof.sock")); err == nil {
			t.Error("there is a socket that nobody asked for")
		}
	}
}

func TestProfileSocketsThatAreRefused(t *testing.T) {
	dir := socketFolder(t)
	inUse := filepath.Join(dir, "in-use")
	ln, err := net.Listen("unix", inUse)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(inUse, link); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		inUse:                          "is in use by another process",
		file:                           "is there already and is no socket",
		link:                           "is a symbolic link",
		open + "/s":                    "is open to others (mode 0755)",
		dir + "/missing/s":             "no such file or directory",
		strings.Repeat("a/", 60):       "is longer than the 103 bytes",
		"lock":                         "is there already and is no socket", // below the data folder
		os.TempDir() + "/pprof-socket": "is open to others",
	} {
		i := &instance{t: t, dir: t.TempDir()}
		config := fmt.Sprintf("listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}\ndata_dir: %s\ndebug: {pprof_socket: %s}\n", i.path("data"), path)
		if err := os.WriteFile(i.path("config.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		err := i.launch(builtBinary(t))
		if err == nil {
			t.Errorf("%s was taken", path)
			i.stop()
		} else if !strings.Contains(err.Error(), "debug.pprof_socket: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("what stood there: %q, %v", b, err)
	}
}

// TestConfigurationOfOthersIsRefused: who can change where hosts are found, or
// who vouches for them, gets what is sent there.
func TestConfigurationOfOthersIsRefused(t *testing.T) {
	for name, says := range map[string]string{
		"config.yaml": "configuration: ", "origin.pem": "configuration: upstream.ca_file: ",
	} {
		i := &instance{t: t, dir: t.TempDir()}
		config := fmt.Sprintf("listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}\ndata_dir: %s\nupstream: {ca_file: %s}\n", i.path("data"), i.path("origin.pem"))
		for file, content := range map[string][]byte{"config.yaml": []byte(config), "origin.pem": newAuthority(t, "Origin CA").pem} {
			if err := os.WriteFile(i.path(file), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(i.path(name), 0o646); err != nil {
			t.Fatal(err)
		}
		err := i.launch(builtBinary(t))
		if err == nil {
			t.Errorf("%s of anybody was taken", name)
			i.stop()
			continue
		}
		for _, want := range []string{says + i.path(name) + " can be changed by others (mode 0646)\n", "hint: run: chmod go-w " + i.path(name)} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}
