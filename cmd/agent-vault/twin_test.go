package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTwins sends one table of requests through both entrances, by each way that
// leads into them, and compares byte for byte what the origin received, what the agent got back, and the
// audit records without what must differ.
func TestTwins(t *testing.T) {
	w := newWorld(t)
	calls := []call{
		{host: "api.test", target: "/"},
		{host: "api.test", target: "/a/b?c=d&e"},
		{host: "api.test", target: "/?"},
		{host: "api.test", target: "/%2F%3F%23;//+/%e2%82%ac?q=%2B+%20;&&=#"[:len("/%2F%3F%23;//+/%e2%82%ac?q=%2B+%20;&&=")]},
		{host: "api.test", target: "//double//slashes//"},
		{host: "api.test", target: "/dots/../and/./more"},
		{host: "api.test:443", target: "/default-port"},
		{host: "API.Test", target: "/upper-case"},
		{host: "port.test:8443", target: "/port"},
		{host: "a.wild.test", target: "/wild"},
		{host: "api.test", target: "/post", method: "POST", body: `{"a":1}`, header: []string{"Content-Type: application/json"}},
		{host: "api.test", target: "/chunked", method: "PUT", body: "in chunks", header: []string{"Transfer-Encoding: chunked"}},
		{host: "api.test", target: "/empty", method: "POST", header: []string{"Content-Length: 0"}},
		{host: "api.test", target: "/delete", method: "DELETE"},
		{host: "api.test", target: "/", method: "OPTIONS"},
		{host: "api.test", target: "/", method: "PROPFIND"},
		{host: "api.test", target: "/", header: []string{"User-Agent: mine/1", "Accept-Encoding: gzip, br", "Accept: */*", "Cookie: a=b; c=d"}},
		{host: "api.test", target: "/", header: []string{"Connection: X-Drop, Keep-Alive", "X-Drop: me", "Keep-Alive: timeout=5", "Te: trailers, deflate", "Proxy-Foo: bar", "Upgrade: h2c"}},
		{host: "api.test", target: "/", header: []string{"X-Multi: one", "X-Multi: two", "X-Empty: "}},
		{host: "api.test", target: "/", header: []string{"Connection: Authorization, X-Api-Key"}},
		{host: "key.test", target: "/", header: []string{"Connection: X-Api-Key", "X-API-KEY: mine", "x_api_key: mine"}},
		{host: "query.test", target: "/?api_key=mine&%61pi_key=mine&x=1"},
		{host: "query.test", target: "/?API_KEY=mine&api.key=mine&api_key%5B%5D=mine&y"},
		{host: "key.test", target: "/", header: []string{"X.Api.Key: mine", "x-api_key: mine"}},
		{host: "api.test", target: "/", header: []string{"X-Copy: " + w.token}},
		{host: "api.test", target: "/", header: []string{"X-Av_sess_x: y"}},
		{host: "api.test", target: "/" + w.token},
		{host: "api.test", target: "/?q=" + w.token},
		{host: "api.test", target: "/", header: []string{"Cookie: a=" + w.token}},
		{host: "api.test", target: "/documents", method: "POST", body: "tokens begin with av_sess_ and av_agt_x"},
		{host: "api.test", target: "/", header: []string{"X-HTTP-Method-Override: DELETE"}},
		{host: "rules.test", target: "/v1/things", header: []string{"X-HTTP-Method-Override: POST"}},
		{host: "rules.test", target: "/v1/things?_method=patch"},
		{host: "rules.test", target: "/v1/things", header: []string{"X-Original-URL: /v1/charges"}},
		{host: "api.test", target: "/", header: []string{"X-Forwarded-Host: open.test"}},
		{host: "open.test", target: "/", header: []string{"X-Forwarded-Host: api.test", "Forwarded: host=x"}},
		{host: "api.test", target: "/", method: "TRACE"},
		{host: "basic.test", target: "/"},
		{host: "custom.test", target: "/"},
		{host: "open.test", target: "/"},
		{host: "api.test", target: "/redirect"},
		{host: "api.test", target: "/headers"},
		{host: "api.test", target: "/trailers"},
		{host: "rules.test", target: "/v1/things"},
		{host: "rules.test", target: "/v2/things"},
		{host: "rules.test", target: "/v1/charges", method: "PUT"},
		{host: "off.test", target: "/"},
		{host: "unknown.test", target: "/"},
		{host: "novalue.test", target: "/"},
		{host: "private.test", target: "/"},
		{host: "down.test", target: "/"},
		{host: "badcert.test", target: "/"},
	}
	w.compareTwins(t, calls)
}

// What limits refuse, and what they let through, is the same on every way.
func TestTwinsOfLimits(t *testing.T) {
	w := newWorld(t)
	for _, set := range [][]string{
		{"basic", "--limit", "budget=1000.00,field=amount,window=24h,settle=charged", "--limit", "requests=1000,window=1m"},
		{"key", "--limit", "request_bytes=5,window=1m,per=agent"},
		{"custom", "--limit", fmt.Sprintf("uses=%d", len(ways))},
	} {
		w.must("", append([]string{"service", "set"}, set...)...)
	}
	pay := func(body string, header ...string) call {
		return call{host: "basic.test", target: "/pay", method: "POST", body: body, header: append(header, "Content-Type: application/json")}
	}
	w.compareTwins(t, []call{
		pay(`{"amount": 1.50}`),
		pay(`{"amount": 1.50}`, "Transfer-Encoding: chunked"),
		pay(`{"amount": 1000.01}`),
		pay(`{"amount": "5"}`),
		pay(`{"amount": 5, "Amount": 6}`),
		pay(`{"amount": 1e9}`),
		pay(`{"amount": 1}`, "Content-Encoding: gzip"),
		{host: "basic.test", target: "/pay?amount=7", method: "POST", body: `{"amount": 1}`, header: []string{"Content-Type: application/json"}},
		{host: "basic.test", target: "/pay", method: "POST", body: `amount=1`, header: []string{"Content-Type: application/x-www-form-urlencoded"}},
		{host: "basic.test", target: "/"},
		{host: "key.test", target: "/", method: "POST", body: "longer than five"},
		{host: "key.test", target: "/"},
		{host: "custom.test", target: "/"},
	})
	if got := w.must("", "service", "limits", "custom"); !strings.Contains(got, fmt.Sprint(len(ways), " uses")) || !strings.Contains(got, "0") {
		t.Errorf("service limits says:\n%s", got)
	}
	a := w.do(ways[0], w.token, call{host: "custom.test", target: "/"})
	if f := a.fault(t); a.status != 403 || f["error"] != "budget_exceeded" {
		t.Errorf("one use more: %d %v", a.status, f)
	}
}

// compareTwins sends calls by every way, and compares them.
func (w *world) compareTwins(t *testing.T, calls []call) {
	t.Helper()
	got := make([][]twin, len(ways))
	for n, e := range ways {
		for _, c := range calls {
			before := w.origin.received()
			a := w.do(e, w.token, c)
			noCredential(t, a)
			received := w.origin.received()
			if received == before && a.header.Get("X-Agent-Vault-Proxy-Error") != "" {
				received = ""
			}
			got[n] = append(got[n], newTwin(received, a))
		}
	}
	records := auditByEntrance(t, w.path("data/audit.log"), len(ways)*len(calls))
	for other, e := range ways[1:] {
		for n, c := range calls {
			if diff := cmp.Diff(got[0][n], got[1+other][n]); diff != "" {
				t.Errorf("%s %s%s %v: the ways differ (-path +%s):\n%s", c.method, c.host, c.target, c.header, e, diff)
			}
		}
		each := len(records["mitm"]) / len(ways[1:])
		if diff := cmp.Diff(records["path"], records["mitm"][other*each:][:each]); diff != "" {
			t.Errorf("audit records differ (-path +%s):\n%s", e, diff)
		}
	}
	if len(records["path"]) < len(calls) {
		t.Errorf("%d records for %d calls", len(records["path"]), len(calls))
	}
}

type twin struct {
	Received string
	Status   int
	Header   map[string][]string
	Body     string
}

var requestID = regexp.MustCompile(`"request_id":"[^"]*"`)

func newTwin(received string, a answer) twin {
	h := map[string][]string(a.header.Clone())
	delete(h, "Date") // when it was answered
	return twin{received, a.status, h, requestID.ReplaceAllString(a.body, `"request_id":""`)}
}

// auditByEntrance reads the log once all outcomes are in it, and takes out what
// differs from exchange to exchange.
func auditByEntrance(t *testing.T, path string, outcomes int) map[string][]map[string]any {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(raw), `"kind":"outcome"`) < outcomes {
			if time.Now().After(deadline) {
				t.Fatalf("%d outcomes expected:\n%s", outcomes, raw)
			}
			continue
		}
		records := map[string][]map[string]any{}
		for sc := bufio.NewScanner(strings.NewReader(string(raw))); sc.Scan(); {
			var r map[string]any
			if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
				t.Fatalf("%v: %s", err, sc.Text())
			}
			e, _ := r["entrance"].(string)
			for _, k := range []string{"seq", "time", "request", "mac", "duration_micros", "entrance"} {
				delete(r, k)
			}
			records[e] = append(records[e], r)
		}
		return records
	}
}
