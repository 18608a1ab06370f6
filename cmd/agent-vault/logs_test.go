package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentvault/api"
)

// follow runs `logs --follow -o json` and returns a function that reads the
// next request that it shows.
func (i *instance) follow(args ...string) (cmd *exec.Cmd, next func() api.RequestInfo) {
	i.t.Helper()
	cmd = exec.Command(builtBinary(i.t), append([]string{"logs", "--follow", "-o", "json"}, args...)...)
	cmd.Env, cmd.Dir = i.env(), i.dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	timeout := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // a test that hangs says where
	i.t.Cleanup(func() {
		timeout.Stop()
		_ = cmd.Process.Kill()
	})
	lines := bufio.NewReader(out)
	return cmd, func() (r api.RequestInfo) {
		i.t.Helper()
		line, err := lines.ReadBytes('\n')
		if err != nil {
			i.t.Fatalf("%q: %v\n%s", line, err, i.stderr)
		}
		if err := json.Unmarshal(line, &r); err != nil {
			i.t.Fatalf("%q: %v", line, err)
		}
		return r
	}
}

// until reads on until a request with this path has ended.
func until(next func() api.RequestInfo, path string) api.RequestInfo {
	for {
		if r := next(); r.Path == path && r.Status != nil {
			return r
		}
	}
}

func printed[T any](t *testing.T, out string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return v
}

// What agents do is seen in the log, by whichever entrance they come, and what
// they were refused in the list of hosts.
func TestLogsAndHosts(t *testing.T) {
	w := newWorld(t)
	following, next := w.follow()
	agent := w.agentToken("build-bot", "default")
	w.do(byPath, w.token, call{host: "api.test", target: "/first?secret=x"})
	first := until(next, "/first")
	if *first.Status != 200 || first.Agent != "vault token" || first.AgentKind != "session" || first.Service != "api" || first.Entrance != "path" ||
		first.Target != "https://api.test:443" || strings.Join(first.Credentials, " ") != "API_KEY" || first.BytesOut == 0 || first.DurationMicros == 0 {
		t.Errorf("%+v", first)
	}
	w.do(byProxy, agent, call{method: "DELETE", host: "rules.test", target: "/v1/keep/x"})
	if r := until(next, "/v1/keep/x"); *r.Status != 403 || r.Agent != "build-bot" || r.AgentKind != "agent" || r.Fault != "method_not_allowed" || r.Entrance != "mitm" {
		t.Errorf("%+v", r)
	}
	for range 2 {
		w.do(byPath, agent, call{host: "api.github.com", target: "/user"})
	}
	w.do(byProxy, w.token, call{host: "new.example.com", target: "/\u202e"})
	until(next, "/\u202e")

	l := printed[api.RequestList](t, w.must("", "logs", "-o", "json", "--since", "1h"))
	if len(l.Requests) != 5 || l.Requests[0].Path != "/\u202e" || l.Requests[4].Path != "/first" || l.NextCursor != "" {
		t.Errorf("%+v", l)
	}
	for args, want := range map[string]int{
		"--vault default": 5, "--vault second": 0, "--agent build-bot": 3, "--host api.github.com": 2, "--status 200": 1, "--status 4xx": 4,
		"--status refused": 4, "--status unknown": 0, "--since 0s": 0, "--since 2001-01-01": 5, "--limit 2": 2, "--agent build-bot --host rules.test": 1,
	} {
		l := printed[api.RequestList](t, w.must("", append([]string{"logs", "-o", "json"}, strings.Fields(args)...)...))
		if len(l.Requests) != want {
			t.Errorf("logs %s: %d requests, want %d", args, len(l.Requests), want)
		}
	}
	text := w.must("", "logs")
	if !strings.Contains(text, `https://new.example.com/\u202e  forbidden`) || strings.Contains(text, "\u202e") || strings.Count(text, "\n") != 6 || strings.Contains(text, "secret") {
		t.Errorf("as a table:\n%s", text)
	}

	hosts := printed[api.RefusedHostList](t, w.must("", "hosts", "-o", "json")).Hosts
	if len(hosts) != 2 || hosts[0].Host != "api.github.com" || hosts[0].Count != 2 || hosts[0].Add != "agent-vault catalog add github --vault default" ||
		hosts[1].Host != "new.example.com" || hosts[1].Add != "agent-vault service add --vault default --host new.example.com --auth bearer --key NEW_EXAMPLE_COM_KEY" {
		t.Errorf("%+v", hosts)
	}
	if text := w.must("", "hosts"); !strings.Contains(text, "build-bot") || !strings.Contains(text, "agent-vault catalog add github") {
		t.Errorf("as a table:\n%s", text)
	}

	if err := following.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := following.Wait(); err != nil {
		t.Errorf("Ctrl-C ends it with %v", err)
	}
}

// A killed server loses no row and doubles none; who was still open then is
// unknown.
func TestLogsAfterAKill(t *testing.T) {
	w := newWorld(t)
	_, next := w.follow()
	for range 20 {
		w.do(byPath, w.token, call{host: "api.test", target: "/before"})
	}
	conn, err := w.dial(byPath, w.token, "default", "api.test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, w.spell(byPath, w.token, "default", call{host: "api.test", target: "/events?id=killed"}))
	for next().Path != "/events" {
	}
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-w.done
	log, err := os.OpenFile(w.path("data/audit.log"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.WriteString(`{"seq":99,"kind":"outcome","requ`); err != nil { // as a crash might leave it
		t.Fatal(err)
	}
	log.Close()
	w.start()
	w.must(ownerPassword+"\n", "auth", "login", "--email", ownerEmail, "--password-stdin") // its address is another one
	_, next = w.follow("--limit", "1")
	w.do(byPath, w.token, call{host: "api.test", target: "/after"})
	until(next, "/after")
	l := printed[api.RequestList](t, w.must("", "logs", "-o", "json"))
	unknown := printed[api.RequestList](t, w.must("", "logs", "-o", "json", "--status", "unknown"))
	if len(l.Requests) != 22 || len(unknown.Requests) != 1 || unknown.Requests[0].Path != "/events" {
		t.Errorf("%d requests, unknown are %+v", len(l.Requests), unknown.Requests)
	}
	raw, err := os.ReadFile(w.path("data/audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	raw = regexp.MustCompile(`(?m)^.*"kind":"change".*\n`).ReplaceAll(raw, nil)
	if n := bytes.Count(raw, []byte("\n")); n != 2*21+1 {
		t.Errorf("%d records, want %d", n, 2*21+1)
	}
}

// Nobody who follows keeps a server from stopping, and who follows sees on when
// it is back.
func TestStopWhileSomebodyFollows(t *testing.T) {
	w := newWorld(t)
	w.mendPort(t)
	following, next := w.follow()
	var said syncBuffer
	table := exec.Command(builtBinary(t), "logs", "--follow")
	table.Env, table.Dir, table.Stderr = w.env(), w.dir, &said
	out, err := table.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(time.Minute, func() { _ = table.Process.Kill() })
	t.Cleanup(func() {
		timeout.Stop()
		_ = table.Process.Kill()
	})
	var lines strings.Builder
	rows := bufio.NewReader(io.TeeReader(out, &lines))
	shows := func(what string) {
		t.Helper()
		for row := ""; !strings.Contains(row, what); {
			if row, err = rows.ReadString('\n'); err != nil {
				t.Fatalf("the table does not show %s: %v %s", what, err, &said)
			}
		}
	}
	w.do(byPath, w.token, call{host: "api.test", target: "/"})
	until(next, "/")
	shows("https://api.test/")
	began := time.Now()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-w.done
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the server took %v to stop", took)
	}
	w.start()
	w.do(byPath, w.token, call{host: "api.test", target: "/after"})
	if r := until(next, "/after"); r.Agent != "vault token" {
		t.Errorf("%+v", r)
	}
	shows("/after")
	for _, cmd := range []*exec.Cmd{following, table} {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if cmd == table {
			_, _ = io.Copy(io.Discard, rows) // to its end, which Wait would cut off
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("Ctrl-C ends it with %v", err)
		}
	}
	if want := "agent-vault: " + w.API + " is away; going on when it is back\n"; said.String() != want {
		t.Errorf("%q, want %q", &said, want)
	}
	columns := regexp.MustCompile(`^TIME                 STATUS  AGENT             VAULT         DURATION  REQUEST
(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (200|-  )     vault token       default       [^ ]+ +  GET https://api\.test/(after)?
)+$`)
	if !columns.MatchString(lines.String()) {
		t.Errorf("%s", lines.String())
	}
}

// mendPort makes the server listen at the same address when it starts again.
func (i *instance) mendPort(t *testing.T) {
	t.Helper()
	raw, err := os.ReadFile(i.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	mended := bytes.Replace(raw, []byte("127.0.0.1:0"), []byte(strings.TrimPrefix(i.API, "http://")), 1)
	if bytes.Equal(raw, mended) {
		t.Fatalf("no port to mend: %s", raw)
	}
	if err := os.WriteFile(i.path("config.yaml"), mended, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPolicyAtHand(t *testing.T) {
	w := newWorld(t)
	_, next := w.follow()
	v := printed[api.PolicyVerdict](t, w.must("", "policy", "check", "--vault", "default", "-o", "json", "get", "https://rules.test/v1/charges?x=1"))
	if !v.Allowed || v.Service != "rules" || v.RuleIndex == nil || *v.RuleIndex != 1 || len(v.Credentials) != 1 || !v.Credentials[0].Present {
		t.Errorf("%+v", v)
	}
	if text := w.must("", "policy", "check", "GET", "novalue.test"); !strings.Contains(text, "NOT_SET (no value)") || !strings.Contains(text, "credential_not_found") {
		t.Errorf("%s", text)
	}
	// It says what the data plane does.
	for _, c := range []call{
		{host: "api.test", target: "/"}, {host: "rules.test", target: "/v2"}, {method: "PUT", host: "rules.test", target: "/v1/charges"},
		{host: "rules.test", target: "/v1/%2e%2e/x"}, {host: "off.test", target: "/"}, {host: "none.test", target: "/"}, {host: "novalue.test", target: "/"},
	} {
		method := c.method
		if method == "" {
			method = "GET"
		}
		v := printed[api.PolicyVerdict](t, w.must("", "policy", "check", "-o", "json", method, "https://"+c.host+c.target))
		a := w.do(byPath, w.token, c)
		code := ""
		if a.status != 200 {
			code, _ = a.fault(t)["error"].(string)
		}
		if v.Fault != code {
			t.Errorf("%s %s%s: check says %q, and the agent got %d %q", method, c.host, c.target, v.Fault, a.status, code)
		}
	}
	w.do(byPath, w.token, call{host: "api.test", target: "/last"})
	until(next, "/last")

	changed := strings.Replace(worldDeclaration, "name: api, host: api.test,", "name: api, host: api.test, enabled: false,", 1)
	all := printed[struct{ Replays []api.ReplayResponse }](t, w.must(changed, "policy", "replay", "--since", "24h", "-f", "-", "-o", "json")).Replays
	if len(all) != 2 || all[0].Vault != "default" || all[0].Requests != 8 || len(all[0].Flips) != 2 || all[1].Requests != 0 {
		t.Fatalf("%+v", all)
	}
	if f := all[0].Flips[0]; f.Before.Decision != "allow" || f.After.Decision != "deny" || f.After.Reason != "service_disabled" || f.After.Service != "api" || f.Target != "https://api.test:443" {
		t.Errorf("%+v", f)
	}
	if text := w.must(changed, "policy", "replay", "--vault", "default", "-f", "-"); !strings.Contains(text, "vault default: 8 requests, 2 decisions differ") || !strings.Contains(text, "deny (service_disabled, api)") {
		t.Errorf("%s", text)
	}
	if text := w.must(worldDeclaration, "policy", "replay", "-f", "-"); !strings.Contains(text, "vault default: 8 requests, 0 decisions differ") {
		t.Errorf("%s", text)
	}
}

// oneLine is an error, and perhaps what to do.
var oneLine = regexp.MustCompile(`^agent-vault: .+\n(hint: .+\n)?$`)

func TestLogCommandsThatCannotBeMeant(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	if text := i.must("", "logs"); text != "TIME  STATUS  AGENT  VAULT  DURATION  REQUEST\n" {
		t.Errorf("%q", text)
	}
	if text := i.must("", "hosts"); text != "TIMES  LAST  VAULT  HOST  AGENTS  METHODS  ADD IT WITH\n" {
		t.Errorf("%q", text)
	}
	for args, want := range map[string]struct {
		status int
		text   string
	}{
		"logs --since yesterday":               {2, `--since is how long ago (90m, 24h, 7d) or when (2026-03-01, 2026-03-01T12:00:00Z), not "yesterday"`},
		"logs --limit 0":                       {2, "--limit is from 1 to 100000, not 0"},
		"logs --status 40":                     {1, `status: "40" is none of a code such as 404, a class such as 4xx, refused, why it was, such as forbidden, and unknown`},
		"logs --vault none":                    {1, `there is no vault "none"`},
		"hosts --since -1h":                    {2, "--since is how long ago"},
		"policy check GET":                     {2, "policy check: URL is missing"},
		"policy check GET https://a_b/":        {1, "url: host"},
		"policy replay":                        {2, "-f is missing"},
		"policy replay -f no-such-file":        {1, "no-such-file"},
		"policy replay --vault x -f /dev/null": {1, "it is empty"},
	} {
		_, errs, err := i.run("", strings.Fields(args)...)
		exit, ok := err.(*exec.ExitError)
		if !ok || exit.ExitCode() != want.status || !strings.Contains(errs, want.text) || !oneLine.MatchString(errs) {
			t.Errorf("%s: %v %s, want status %d and %s", args, err, errs, want.status, want.text)
		}
	}
}
