package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/broker/audit"
	"agentvault/store"
)

// verifyAudit runs `audit verify` on the server's folder.
func (i *instance) verifyAudit(args ...string) (report audit.Report, errs string, status int) {
	i.t.Helper()
	out, errs, err := i.run("", append([]string{"audit", "verify", "--data-dir", i.path("data"), "-o", "json"}, args...)...)
	if exit, ok := err.(*exec.ExitError); ok {
		status = exit.ExitCode()
	} else if err != nil {
		i.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		i.t.Fatalf("%v: %s %s", err, out, errs)
	}
	return report, errs, status
}

// The first record that somebody changed is named; what stands before it is
// what was written.
func TestAuditVerifyNamesWhatWasChanged(t *testing.T) {
	w := newWorld(t)
	for n := range 5 {
		w.do(byPath, w.token, call{host: "api.test", target: fmt.Sprint("/", n)})
	}
	w.must("", "logs") // all of it is taken in
	if r, errs, status := w.verifyAudit(); status != 0 || r.Bad != nil || r.Records < 10 {
		t.Fatalf("of a running server: %d %s %+v", status, errs, r)
	}
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(w.path("data/audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(whole, []byte(`"path":"/3"`))
	line := bytes.Count(whole[:at], []byte("\n")) + 1
	for what, change := range map[string]struct {
		to      []byte
		problem string
	}{
		"another path":  {bytes.Replace(whole, []byte(`"path":"/3"`), []byte(`"path":"/4"`), 1), audit.Changed},
		"a line less":   {bytes.Join(append(bytes.SplitAfter(whole, []byte("\n"))[:line-1:line-1], bytes.SplitAfter(whole, []byte("\n"))[line:]...), nil), audit.Missing},
		"cut before it": {bytes.Join(bytes.SplitAfter(whole, []byte("\n"))[:line-1], nil), audit.Cut},
	} {
		if err := os.WriteFile(w.path("data/audit.log"), change.to, 0o600); err != nil {
			t.Fatal(err)
		}
		r, errs, status := w.verifyAudit()
		if status != 1 || r.Bad == nil || r.Bad.Line != line || r.Bad.Segment != "audit.log" || r.Bad.Problem != change.problem || r.Bad.Seq != uint64(line) {
			t.Errorf("%s: %d %+v, want line %d: %s", what, status, r.Bad, line, change.problem)
		}
		if !oneLine.MatchString(errs) || !strings.Contains(errs, fmt.Sprintf("audit.log line %d ", line)) {
			t.Errorf("%s: %s", what, errs)
		}
	}
}

// Changes of the control plane stand in the chain, each once, wherever the
// server was killed; and the chain is whole.
func TestKilledServerRecordsEachChangeOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the time to start the server 8 times; run without -short")
	}
	i := newInstance(t, "audit: {sync: power}\n")
	i.register()
	login := i.login()
	for round := range 8 {
		var writers sync.WaitGroup
		client := &http.Client{Timeout: 10 * time.Second}
		acknowledged := make(chan struct{}, 100)
		for n := range 3 {
			writers.Go(func() {
				for k := 0; ; k++ {
					key := fmt.Sprintf("KEY_%d_%d_%d", round, n, k)
					if !setsCredential(client, i.API, login, key) {
						return
					}
					select {
					case acknowledged <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 1 + round {
			<-acknowledged
		}
		if err := i.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-i.done
		writers.Wait()
		client.CloseIdleConnections()
		i.start()
	}
	if err := i.halt(); err != nil { // copies what there still is
		t.Fatal(err)
	}
	if r, errs, status := i.verifyAudit(); status != 0 || len(r.Lost) != 0 {
		t.Errorf("%d %s %+v", status, errs, r)
	}
	i.start()
	a := i.send("GET", "/v1/events?limit=1000", login, "")
	var body struct {
		Events []struct {
			ID     int64
			Object string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || len(body.Events) < 20 {
		t.Fatalf("%v %s", err, a.body)
	}
	raw, err := os.ReadFile(filepath.Join(i.path("data"), "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	chained := map[int64]string{}
	for line := range strings.Lines(string(raw)) {
		var c struct {
			Kind   string
			Event  int64
			Object string
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if c.Kind != audit.KindChange {
			continue
		}
		if _, twice := chained[c.Event]; twice {
			t.Errorf("event %d stands in the chain twice", c.Event)
		}
		chained[c.Event] = c.Object
		if strings.Contains(c.Object, "value of") {
			t.Errorf("a value stands in the chain: %s", c.Object)
		}
	}
	for _, e := range body.Events {
		if chained[e.ID] != e.Object {
			t.Errorf("event %d is %q in the store and %q in the chain", e.ID, e.Object, chained[e.ID])
		}
	}
}

// setsCredential reports whether the server has acknowledged a new credential.
func setsCredential(client *http.Client, base, login, key string) bool {
	body := fmt.Sprintf(`{"vault":"default","credentials":{%q:"value of %s"}}`, key, key)
	req, err := http.NewRequest("POST", base+"/v1/credentials", strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+login)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// A server that fills segments goes on over them, and the request log has all of
// their requests, also after it was lost.
func TestServerFillsSegments(t *testing.T) {
	w := newWorld(t)
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(w.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	raw = append(raw, "audit: {segment_size: 1MiB}\nlimits: {session_rate: 0}\n"...)
	if err := os.WriteFile(w.path("config.yaml"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.must(ownerPassword+"\n", "auth", "login", "--email", ownerEmail, "--password-stdin") // its address is another one
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	long := strings.Repeat("x", 4000)
	sent := 0
	for ; ; sent++ {
		if full, err := filepath.Glob(w.path("data/audit.*.log")); err != nil || len(full) >= 2 || sent > 2000 {
			break
		}
		req, err := http.NewRequest("GET", w.API+"/proxy/api.test/"+long, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.Status, err)
		}
		resp.Body.Close()
	}
	logged := func() int {
		return len(printed[api.RequestList](t, w.must("", "logs", "--limit", "5000", "-o", "json")).Requests)
	}
	if n := logged(); n != sent {
		t.Errorf("%d requests in the log, want %d", n, sent)
	}
	if r, errs, status := w.verifyAudit(); status != 0 || r.Segments != 3 {
		t.Errorf("%d %s %+v", status, errs, r)
	}
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-w.done
	db, err := store.Open(t.Context(), store.Options{Path: w.path("data/agent-vault.db")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ForgetRequests(t.Context(), time.Now().Add(time.Hour), 10_000)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.must(ownerPassword+"\n", "auth", "login", "--email", ownerEmail, "--password-stdin")
	if n := logged(); n != sent {
		t.Errorf("%d requests in the log that was filled anew, want %d", n, sent)
	}
}

// Who verifies, exports or prints the key changes nothing, and can do it where
// nothing can be written.
func TestVerifyChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.do(byPath, w.token, call{host: "api.test", target: "/"})
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	defer w.start() // for its own end
	look := func() map[string]string {
		files := make(map[string]string)
		err := filepath.WalkDir(w.path("data"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			files[path] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	before := look()
	if err := os.Chmod(w.path("data"), 0o500); err != nil { // root writes all the same: that is what is looked for
		t.Fatal(err)
	}
	if r, errs, status := w.verifyAudit(); status != 0 || r.Bad != nil {
		t.Errorf("%d %s", status, errs)
	}
	for _, command := range []string{"export", "key"} {
		w.must("", "audit", command, "--data-dir", w.path("data"))
	}
	if err := os.Chmod(w.path("data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if after := look(); !maps.Equal(after, before) {
		t.Errorf("%d files became %d, or other bytes", len(before), len(after))
	}
}

// Nothing is taken into the request log of an audit log that was changed.
func TestRebuildOfAChangedLog(t *testing.T) {
	w := newWorld(t)
	w.do(byPath, w.token, call{host: "api.test", target: "/"})
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	path := w.path("data/audit.log")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(whole, []byte(`"method":"GET"`), []byte(`"method":"GOT"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, err := w.run("", "audit", "rebuild", "--data-dir", w.path("data")); err == nil || !strings.Contains(errs, "changed") {
		t.Errorf("%v %s", err, errs)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	w.must("", "audit", "rebuild", "--data-dir", w.path("data"))
	w.start() // for its own end
}

// Rows that were lost come back, unless the log that they would come from is not
// as it was written.
func TestAuditRebuild(t *testing.T) {
	w := newWorld(t)
	for n := range 5 {
		w.do(byPath, w.token, call{host: "api.test", target: fmt.Sprint("/", n)})
	}
	w.must("", "logs") // all of it is taken in
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	rows := func(forget bool) (n int) {
		t.Helper()
		db, err := store.Open(t.Context(), store.Options{Path: w.path("data/agent-vault.db")})
		if err != nil {
			t.Fatal(err)
		}
		if forget {
			_, err = db.ForgetRequests(t.Context(), time.Now().Add(time.Hour), 10_000)
		}
		n, err2 := db.CountRequests(t.Context())
		if err := errors.Join(err, err2, db.Close()); err != nil {
			t.Fatal(err)
		}
		return n
	}
	rows(true)
	whole, err := os.ReadFile(w.path("data/audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(raw []byte) {
		t.Helper()
		if err := os.WriteFile(w.path("data/audit.log"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(bytes.Replace(whole, []byte(`"path":"/3"`), []byte(`"path":"/4"`), 1))
	_, errs, err := w.run("", "audit", "rebuild", "--data-dir", w.path("data"))
	if err == nil || !strings.Contains(errs, ": changed: ") || rows(false) != 0 {
		t.Errorf("of a log that was changed: %v %s, %d rows", err, errs, rows(false))
	}
	write(whole)
	for _, want := range []string{"5 rows", "0 rows"} {
		if out := w.must("", "audit", "rebuild", "--data-dir", w.path("data")); !strings.Contains(out, "; "+want+" came back") {
			t.Errorf("%s, want %s", out, want)
		}
	}
	if n := rows(false); n != 5 {
		t.Errorf("%d rows", n)
	}
}
