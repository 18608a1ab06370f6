package main_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/policy/inject"
	"agentvault/vault"
)

// kills is how often TestKilledServer kills the server. CI sets it to 300.
func kills(t *testing.T) int {
	n := 24
	if s := os.Getenv("AGENT_VAULT_CRASHES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestKilledServer kills the server with SIGKILL under eight kinds of writer,
// again and again. Each time it starts again; what it had acknowledged is there
// and nothing else, no approval is there by half, the chain of the audit log is
// whole, and what reached an upstream has its intent in it (R15, R16).
func TestKilledServer(t *testing.T) {
	c := newCrash(t)
	for n := range kills(t) {
		c.live(n)
		for _, w := range c.writers {
			w.check(c)
		}
		c.checkRecord()
		if n%50 == 49 {
			c.checkIntegrity()
		}
		if t.Failed() {
			t.Fatalf("after kill %d\n%s", n+1, c.stderr)
		}
	}
	c.checkIntegrity()
	for _, w := range c.writers {
		t.Logf("%T: %d writes acknowledged, %d cut off", w, w.ledger().acknowledged, w.ledger().cutOff)
		if w.ledger().acknowledged == 0 {
			t.Errorf("%T wrote nothing: then this shows nothing", w)
		}
	}
	t.Logf("%d requests reached the upstream, %d records", c.upstream.count.Load(), c.chain.seq)
}

// A crash is the instance that is killed, and those who write to it.
type crash struct {
	*instance
	owner    *api.Client
	ownerIs  time.Time // since when the login is fresh
	session  string    // of the vault "default"
	upstream *crashOrigin
	chain    *chain
	intents  map[string]bool // paths that were recorded before they were sent
	writers  []crashWriter
	number   atomic.Int64 // counts everything that needs a name
}

// A crashWriter writes until the server is gone, and looks afterwards at what
// became of it. Both never at the same time.
type crashWriter interface {
	prepare(c *crash)
	step(c *crash) error // one write, or a few that belong together
	check(c *crash)
	ledger() *ledger
}

// A crashOrigin remembers what reached it.
type crashOrigin struct {
	count atomic.Int64
	mu    sync.Mutex
	fresh map[string]string // credential by path, of what was not looked up yet
}

func (o *crashOrigin) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	o.count.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fresh[r.URL.Path] = r.Header.Get("Authorization")
}

// credential is what came with a path.
func (o *crashOrigin) credential(path string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimPrefix(o.fresh[path], "Bearer ")
}

func (o *crashOrigin) take() map[string]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.fresh
	o.fresh = make(map[string]string)
	return taken
}

func newCrash(t *testing.T) *crash {
	t.Helper()
	c := &crash{upstream: &crashOrigin{fresh: make(map[string]string)}, intents: make(map[string]bool)}
	c.writers = []crashWriter{
		&credentialWriter{}, &serviceWriter{}, &proposalWriter{}, &sessionWriter{},
		&agentWriter{}, &applyWriter{}, &exchangeWriter{}, &vaultWriter{},
	}
	ca := newAuthority(t, "Origin CA")
	hosts := make(map[string]string)
	var names []string
	for n := range credentialKeys {
		names = append(names, fmt.Sprintf("host%d.test", n))
	}
	origin := startOrigin(t, ca.leaf(t, names...), true, c.upstream)
	for _, n := range names {
		hosts[n] = origin.Addr
	}
	spelled, err := json.Marshal(hosts)
	if err != nil {
		t.Fatal(err)
	}
	roots := t.TempDir() + "/origin.pem"
	if err := os.WriteFile(roots, ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	c.instance = newInstanceIn(t, inMemory(t), fmt.Sprintf("upstream: {ca_file: %s, hosts: %s}\nnetwork: {allow: [127.0.0.0/8]}\nlimits: {session_rate: 0, session_concurrent: 0, agent_api_rate: 0, agent_api_concurrent: 0}\naudit: {segment_size: 1MiB} # so that some kills meet a change of segments\n", roots, spelled))
	c.register()
	c.owner = &api.Client{}
	c.connect()
	c.freshen()
	for _, w := range c.writers {
		w.prepare(c)
	}
	s, err := c.owner.MintSession(t.Context(), api.SessionRequest{Vault: "default"})
	c.ok(err)
	c.session = s.Token
	c.trust()
	c.chain = newChain(t, c.path("data"))
	return c
}

// inMemory is a folder in memory, where there is one. What write(2) has taken
// outlives the process there as well as on a disk, and more is written in a
// life.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "agent-vault-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// ok ends the test unless the server did as it was told.
func (c *crash) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.stderr)
	}
}

// connect leads the clients to where the server listens now.
func (c *crash) connect() {
	if tr, ok := c.owner.Transport.(*http.Transport); ok {
		tr.CloseIdleConnections()
	}
	c.owner.Address = c.API
	c.owner.Transport = &http.Transport{MaxIdleConnsPerHost: 16}
}

// freshen signs in again before the password was given too long ago for what
// widens somebody's reach.
func (c *crash) freshen() {
	if time.Since(c.ownerIs) > 2*time.Minute {
		c.ownerIs = time.Now()
		c.owner.Token = c.login()
	}
}

// as is a client with another token.
func (c *crash) as(token string) *api.Client {
	return &api.Client{Address: c.API, Token: token, Transport: c.owner.Transport}
}

// live lets the server run under its writers for a while, kills it, and starts
// it again; sometimes that is cut short as well.
func (c *crash) live(n int) {
	c.t.Helper()
	ctx, stop := context.WithCancel(c.t.Context())
	defer stop()
	var writers sync.WaitGroup
	for _, w := range c.writers {
		writers.Go(func() {
			for ctx.Err() == nil {
				err := w.step(c)
				var refused *api.ClientError
				if errors.As(err, &refused) {
					c.t.Errorf("%T: %d %s: %s", w, refused.Status, refused.Code, refused.Message)
				}
				if err != nil {
					return
				}
			}
		})
	}
	<-time.After(time.Duration(50+rand.IntN(250)) * time.Millisecond) // a life
	c.kill()
	stop()
	writers.Wait()
	if n%6 == 5 {
		c.cutStart()
	}
	c.start()
	c.connect()
	c.freshen()
}

func (c *crash) kill() {
	c.t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	<-c.done
}

// cutStart kills a server that has just begun to start.
func (c *crash) cutStart() {
	c.t.Helper()
	cmd := exec.Command(builtBinary(c.t), "server", "--config", c.path("config.yaml"))
	cmd.Env = c.env()
	c.ok(cmd.Start())
	<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond) // it is ready after about as long
	c.ok(cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
}

// checkRecord: the chain is whole, and what the upstream got has an intent.
func (c *crash) checkRecord() {
	c.t.Helper()
	records, err := c.chain.walk()
	if err != nil {
		c.t.Errorf("audit log: %v", err)
	}
	for _, r := range records {
		if r.Kind == "intent" {
			c.intents[r.Path] = true
		}
	}
	for path := range c.upstream.take() {
		if !c.intents[path] {
			c.t.Errorf("%s reached the upstream and has no intent", path)
		}
	}
}

func (c *crash) checkIntegrity() {
	c.t.Helper()
	checkIntegrity(c.t, c.path("data/agent-vault.db"))
}

// checkIntegrity asks SQLite whether the database is whole.
func checkIntegrity(t testing.TB, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, pragma := range []string{"integrity_check", "foreign_key_check"} {
		rows, err := db.QueryContext(t.Context(), "PRAGMA "+pragma)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var what string
			if err := rows.Scan(&what); pragma == "foreign_key_check" || err != nil || what != "ok" {
				t.Errorf("%s: %s %v", pragma, what, err)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Error(err)
		}
	}
}

// use sends a request of the agent's through the path entrance.
func (c *crash) use(host, path string) error {
	req, err := http.NewRequest("GET", c.API+"/proxy/"+host+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.session)
	return answered(c.owner.Transport, req)
}

// answered sends a request, and returns an error unless the upstream answered.
func answered(tr http.RoundTripper, req *http.Request) error {
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = &api.ClientError{Status: resp.StatusCode, Code: "exchange", Message: string(body)}
	}
	return err
}

// A ledger is what a writer knows of its things: the state that was
// acknowledged last, by name, and the one write that was not.
type ledger struct {
	known        map[string]string // "" is not there
	name, next   string            // a write that has no answer yet; "" for none
	acknowledged int
	cutOff       int
}

// put writes: do has the server make state of the thing.
func (l *ledger) put(name, state string, do func() error) error {
	if l.known == nil {
		l.known = make(map[string]string)
	}
	l.name, l.next = name, state
	if err := do(); err != nil {
		l.cutOff++
		return err
	}
	l.known[name], l.name = state, ""
	l.acknowledged++
	return nil
}

// check holds what is there against what was acknowledged. A write without an
// answer has happened or has not. Then what is there is known.
func (l *ledger) check(t testing.TB, there map[string]string) {
	t.Helper()
	for name, state := range l.known {
		if got := there[name]; got != state && (name != l.name || got != l.next) {
			t.Errorf("%s: acknowledged as %q, cut off %q as %q, and is %q", name, state, l.name, l.next, got)
		}
	}
	for name, state := range there {
		if _, ok := l.known[name]; !ok && (name != l.name || state != l.next) {
			t.Errorf("%s is %q, and nobody wrote it", name, state)
		}
	}
	if l.name != "" {
		l.known[l.name] = there[l.name]
	}
	l.name = ""
}

func bearer(t testing.TB, key string) inject.Auth {
	t.Helper()
	var a inject.Auth
	if err := json.Unmarshal([]byte(`{"type":"bearer","token":"`+key+`"}`), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func service(t testing.TB, name, host, description, key string) vault.Service {
	return vault.Service{Name: name, Host: host, Description: description, Enabled: true, Auth: bearer(t, key)}
}
