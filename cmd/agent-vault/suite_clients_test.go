package main_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// The matrix of clients: unmodified programs and libraries, each run under
// `agent-vault vault run`, and what came of it at an origin. What each does is in
// testdata/clients/clients.yaml.

// clientCells are the columns of the matrix, in their order.
var clientCells = []string{"plain", "stream", "upload", "http2", "events", "websocket", "refused"}

// What a cell can say.
const (
	cellYes    = "yes"
	cellRecipe = "recipe" // with what the client's notes say
	cellNo     = "no"
	cellStatus = "403" // of a refusal the person sees this much
	cellNone   = "–"   // the client has no such thing
	cellNotRun = "not run"
)

// A clientRow is one client, as clients.yaml has it.
type clientRow struct {
	Name    string
	Group   string
	Version string            // command that prints it; it fails where the client is not there
	Driver  string            // program that is told the cell, the URL and the file, for those in Does
	Does    []string          // cells
	Run     map[string]string // by cell: commands in the shell, with URL and FILE
	Flags   []string          // of vault run
	Quick   bool              // go test runs it too, where it is installed

	Fails  map[string]string // by cell, or "all": why
	Note   string            // besides
	Recipe *struct {
		Say    string
		Driver string
		Run    map[string]string
		Flags  []string
		Still  map[string]string // by cell: why it fails with the recipe too
	}
}

func readClients(t *testing.T) []clientRow {
	t.Helper()
	b, err := os.ReadFile("testdata/clients/clients.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rows []clientRow
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	decoder.KnownFields(true)
	if err := decoder.Decode(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// command is what a cell runs, or "".
func (r clientRow) command(cell string) string { return commandOf(r.Run, r.Driver, r.Does, cell) }

func commandOf(run map[string]string, driver string, does []string, cell string) string {
	if run[cell] != "" {
		return run[cell]
	}
	for _, d := range does {
		if d == cell && driver != "" {
			return driver + " " + cell + ` "$URL" "$FILE"`
		}
	}
	return ""
}

// why is what the row says of a cell that does not pass.
func (r clientRow) why(cell string) string {
	if r.Fails[cell] != "" {
		return r.Fails[cell]
	}
	return r.Fails["all"]
}

// A clientWorld is the origin of the matrix behind a vault.
type clientWorld struct {
	*instance
	origin *clientOrigin
	env    []string
	work   string // folder that clients run in
	file   string // what is uploaded
	sum    string // its SHA-256
}

func newClientWorld(t *testing.T) *clientWorld {
	t.Helper()
	dir := t.TempDir()
	w := &clientWorld{origin: newClientOrigin(filepath.Join(dir, "repos")), work: filepath.Join(dir, "work")}
	var names []string
	for name := range clientHosts {
		names = append(names, name)
	}
	ca := newAuthority(t, "Origin CA")
	old, modern := startOrigin(t, ca.leaf(t, names...), false, w.origin), startOrigin(t, ca.leaf(t, "modern.test"), true, w.origin)
	at := make(map[string]string)
	declaration := "vaults:\n  - name: default\n    services:\n"
	for n, name := range names {
		at[name] = old.Addr
		declaration += fmt.Sprintf("      - {name: host-%d, host: %s, auth: {type: %s}}\n", n, name, clientHosts[name])
	}
	at["modern.test"] = modern.Addr
	declaration += "    credentials: {CLIENT_KEY: {from: \"file:CLIENT_KEY\"}, CLIENT_ID: {from: \"file:CLIENT_ID\"}}\n"
	spelled, err := json.Marshal(at) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, filepath.Join(dir, "origin.pem"), ca.pem)
	w.instance = newInstance(t, fmt.Sprintf("development: true\nupstream: {ca_file: %s/origin.pem, hosts: %s}\nnetwork: {allow: [127.0.0.0/8]}\nlimits: {session_rate: 0, session_concurrent: 0, session_tunnels: 0}\n", dir, spelled))
	w.register()
	w.apply(declaration, map[string]string{"CLIENT_KEY": clientKey, "CLIENT_ID": clientID})
	w.lay(t)
	return w
}

func (w *clientWorld) write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// lay lays out the folder that clients run in: what drives libraries, beside the
// packages of Node, which are found from there.
func (w *clientWorld) lay(t *testing.T) {
	t.Helper()
	if err := os.CopyFS(w.work, os.DirFS("testdata/clients")); err != nil {
		t.Fatal(err)
	}
	upload := bytes.Repeat([]byte("what a client sends, and the origin must get\n"), 30_000)
	w.file, w.sum = filepath.Join(w.work, "upload.bin"), hexDigest(upload)
	w.write(t, w.file, upload)
	w.repository(t)
	w.env = []string{"PATH=" + os.Getenv("PATH"), "FILE=" + w.file, "PYTHONDONTWRITEBYTECODE=1", "GIT_TERMINAL_PROMPT=0"}
	if dir := os.Getenv(suitesVariable); dir != "" {
		bin := filepath.Join(dir, "clients")
		w.env[0] = "PATH=" + filepath.Join(bin, "python/bin") + ":" + bin + ":" + os.Getenv("PATH")
		w.env = append(w.env, "CLIENTS="+bin, "RUNTIMES="+filepath.Join(bin, "runtimes/node_modules"))
		if err := os.Symlink(filepath.Join(bin, "node/node_modules"), filepath.Join(w.work, "node_modules")); err != nil {
			t.Fatal(err)
		}
	}
	// Toolchains that are kept in the home of whoever runs this.
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for name, under := range map[string]string{"RUSTUP_HOME": ".rustup", "PYENV_ROOT": ".pyenv"} {
		w.env = append(w.env, name+"="+cmp.Or(os.Getenv(name), filepath.Join(home, under)))
	}
	if cache, err := exec.Command("go", "env", "GOCACHE").Output(); err == nil {
		w.env = append(w.env, "GOCACHE="+strings.TrimSpace(string(cache)))
	}
}

// repository makes a repository with the content in it, that may be pushed to.
func (w *clientWorld) repository(t *testing.T) {
	t.Helper()
	source := filepath.Join(w.origin.repos, "source")
	w.write(t, filepath.Join(source, "content.bin"), w.origin.content)
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", source}, {"-C", source, "add", "."},
		{"-C", source, "-c", "user.name=m", "-c", "user.email=m@example.test", "commit", "-q", "-m", "first"},
		{"clone", "-q", "--bare", source, filepath.Join(w.origin.repos, "repo.git")},
	} {
		if out, err := exec.Command(needs(t, "git"), args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

// version is the client's, or "" where there is none.
func (w *clientWorld) version(row clientRow) string {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "sh", "-c", row.Version)
	cmd.Env, cmd.Dir = w.instance.env(w.env...), w.work
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return versionNumber.FindString(string(out))
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+[-+.\w]*`)

// urls are what the cells ask for.
var clientURLs = map[string]string{
	"plain": "https://api.test/plain", "stream": "https://api.test/stream", "upload": "https://api.test/upload", "http2": "https://modern.test/plain",
	"events": "https://api.test/events", "websocket": "wss://api.test/websocket", "refused": "https://refused.test/",
}

// clientOutput is what a client has written so far.
type clientOutput struct {
	syncBuffer
	seen func(string) // is told after each write
}

func (o *clientOutput) Write(p []byte) (int, error) {
	n, err := o.syncBuffer.Write(p)
	o.seen(o.String())
	return n, err
}

// try runs a command as a client does, and returns "" or what is wrong.
func (w *clientWorld) try(cell, command string, flags []string) (result, problem string) {
	w.origin.forget()
	home, err := os.MkdirTemp(w.dir, "home-")
	if err != nil {
		return cellNo, err.Error()
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	args := append(append([]string{"vault", "run"}, flags...), "--", "sh", "-ec", `HOME="$CLIENT_HOME"; `+command)
	cmd := exec.CommandContext(ctx, builtBinary(w.t), args...)
	cmd.Env = append(w.instance.env(w.env...), "URL="+clientURLs[cell], "CLIENT_HOME="+home)
	cmd.Dir = w.work
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what hangs is killed with what it started
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out clientOutput
	out.seen = func(text string) {
		if cell == "events" && strings.Contains(text, "event one") {
			signalOnce(w.origin.next)
		}
	}
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	text := out.String()
	if strings.Contains(text, clientKey) {
		w.t.Errorf("%s: it saw the credential: %s", command, text)
	}
	if cell == "refused" {
		return refusalSeen(text), end(text)
	}
	if problem := w.missed(cell, text, err); problem != "" {
		return cellNo, problem + "\n" + end(text)
	}
	return cellYes, ""
}

// end is the end of what a program wrote, which mostly says what went wrong.
func end(text string) string {
	return text[max(0, len(text)-1000):]
}

// refusalSeen is how much of a refusal's reason a person gets to see.
func refusalSeen(text string) string {
	switch {
	case strings.Contains(text, "this host is not configured in the vault"):
		return cellYes
	case strings.Contains(text, "403") || strings.Contains(text, "orbidden"):
		return cellStatus
	}
	return cellNo
}

// missed is what a cell's run lacks.
func (w *clientWorld) missed(cell, text string, err error) string {
	if err != nil {
		return err.Error()
	}
	requests := w.origin.requests()
	if len(requests) == 0 {
		return "the origin got no request"
	}
	for _, r := range requests {
		if !r.carries {
			return r.what + ": no credential at the origin"
		}
	}
	lacks := func(what string) string {
		if !strings.Contains(text, what) {
			return "the output has no " + what
		}
		return ""
	}
	lacksAnswer := func() string { // a package's is the content
		if lacks(w.origin.digest) == "" {
			return ""
		}
		return lacks(w.origin.nonce)
	}
	switch cell {
	case "plain":
		return lacksAnswer()
	case "stream":
		return lacks(w.origin.digest)
	case "upload":
		if !w.origin.has(w.sum) {
			return "the origin did not get the file as it is"
		}
	case "http2":
		if p := requests[len(requests)-1].proto; p != "HTTP/2.0" {
			return "the origin was asked over " + p
		}
		if lacks("HTTP/2") != "" {
			return lacks("HTTP/2")
		}
		return lacksAnswer()
	case "events":
		return lacks("event two")
	case "websocket":
		return lacks(w.origin.nonce + " hello")
	}
	return ""
}
