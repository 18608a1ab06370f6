package mitm_test

import (
	"fmt"
	"strings"
	"testing"
)

// What asks an upstream for another method or path than was decided on is held
// against the same rules, and a field that names another host than the target's
// is dropped where a credential is injected; otherwise they pass untouched.
func TestOverrides(t *testing.T) {
	w := &witness{}
	k := newKit(t, kitOptions{upstream: w})
	const methods, paths, open = "methods.example.com", "paths.example.com", "open.example.com"
	for _, r := range []struct {
		name   string
		ask    ask
		status int
		code   string
	}{
		{"method, denied", ask{host: methods, method: "POST", header: []string{"X-HTTP-Method-Override: DELETE"}}, 403, "method_not_allowed"},
		{"method, allowed", ask{host: methods, method: "POST", header: []string{"X-HTTP-Method-Override: GET"}}, 200, ""},
		{"method, lower case", ask{host: methods, method: "POST", header: []string{"X-HTTP-Method: delete"}}, 403, "method_not_allowed"},
		{"method, third name", ask{host: methods, header: []string{"X-Method-Override: PATCH"}}, 403, "method_not_allowed"},
		{"method, underscores", ask{host: methods, header: []string{"x_http_method_override: PUT"}}, 403, "method_not_allowed"},
		{"method, dots", ask{host: methods, header: []string{"X.Http.Method.Override: PUT"}}, 403, "method_not_allowed"},
		{"method, second of two", ask{host: methods, header: []string{"X-HTTP-Method-Override: GET", "X-HTTP-Method-Override: PUT"}}, 403, "method_not_allowed"},
		{"method, in a list", ask{host: methods, header: []string{"X-HTTP-Method-Override: GET, PUT"}}, 403, "method_not_allowed"},
		{"method, spaces", ask{host: methods, header: []string{"X-HTTP-Method-Override:   PUT  "}}, 403, "method_not_allowed"},
		{"method, no such", ask{host: methods, header: []string{"X-HTTP-Method-Override: whatever"}}, 403, "method_not_allowed"},
		{"method, empty", ask{host: methods, header: []string{"X-HTTP-Method-Override: "}}, 200, ""},
		{"method in the query", ask{host: methods, method: "POST", target: "/?a&_method=delete"}, 403, "method_not_allowed"},
		{"method in the query, percent-encoded", ask{host: methods, method: "POST", target: "/?%5fmetho%64=%50UT"}, 403, "method_not_allowed"},
		{"method in the query, semicolons", ask{host: methods, method: "POST", target: "/?a;_method=PUT"}, 403, "method_not_allowed"},
		{"method in the query, PHP", ask{host: methods, method: "POST", target: "/?.method=PUT"}, 403, "method_not_allowed"},
		{"method in the query, allowed", ask{host: methods, method: "POST", target: "/?_method=GET&other_method=PUT"}, 200, ""},
		{"method where no rule names one", ask{method: "POST", header: []string{"X-HTTP-Method-Override: DELETE"}, target: "/?_method=whatever"}, 200, ""},
		{"method where rules look at paths", ask{host: paths, target: "/v1/x", header: []string{"X-HTTP-Method-Override: DELETE"}}, 200, ""},
		{"TRACE in other words", ask{header: []string{"X-HTTP-Method-Override: trace"}}, 400, "bad_request"},
		{"TRACK in other words", ask{target: "/?_method=TRACK"}, 400, "bad_request"},
		{"TRACE", ask{method: "TRACE"}, 400, "bad_request"},
		{"TRACK", ask{method: "TRACK"}, 400, "bad_request"},

		{"path, IIS", ask{host: paths, target: "/v1/x", header: []string{"X-Original-URL: /admin"}}, 403, "path_not_allowed"},
		{"path, IIS too", ask{host: paths, target: "/v1/x", header: []string{"X-Rewrite-Url: /v1/x"}}, 403, "path_not_allowed"},
		{"path, underscores", ask{host: paths, target: "/v1/x", header: []string{"X_Original_URL: /admin"}}, 403, "path_not_allowed"},
		{"path, prefix", ask{host: paths, target: "/v1/x", header: []string{"X-Forwarded-Prefix: /admin"}}, 403, "path_not_allowed"},
		{"path, forwarded", ask{host: paths, target: "/v1/x", header: []string{"X-Forwarded-Path: /admin"}}, 403, "path_not_allowed"},
		{"path, WebDAV", ask{host: paths, target: "/v1/x", header: []string{"Destination: /admin"}}, 403, "path_not_allowed"},
		{"path, Traefik", ask{host: paths, target: "/v1/x", header: []string{"X-Replaced-Path: /admin"}}, 403, "path_not_allowed"},
		{"method, verb", ask{host: methods, header: []string{"X-HTTP-Verb: PUT"}}, 403, "method_not_allowed"},
		{"path where no rule looks at paths", ask{header: []string{"X-Original-URL: /admin"}}, 200, ""},

		{"host", ask{header: []string{"X-Forwarded-Host: other.example.com"}}, 200, "dropped"},
		{"host, underscores", ask{header: []string{"X_Forwarded_Host: evil.test"}}, 200, "dropped"},
		{"host, no name", ask{header: []string{"X-Forwarded-Host: api.example.com@evil.test"}}, 200, "dropped"},
		{"host, in a list", ask{header: []string{"X-Forwarded-Host: api.example.com, evil.test"}}, 200, "dropped"},
		{"host, X-Host", ask{header: []string{"X-Host: evil.test"}}, 200, "dropped"},
		{"host, RFC 7239", ask{header: []string{`Forwarded: for=192.0.2.1;host="evil.test";proto=https`}}, 200, "dropped"},
		{"host, RFC 7239, second", ask{header: []string{"Forwarded: for=192.0.2.1, for=x;Host=evil.test"}}, 200, "dropped"},
		{"host, the target itself", ask{header: []string{"X-Forwarded-Host: API.example.com:443", "Forwarded: host=api.example.com;for=unknown", "X-Forwarded-For: 192.0.2.1"}}, 200, ""},
		{"host where nothing is injected", ask{host: open, header: []string{"X-Forwarded-Host: other.example.com", "Forwarded: host=x"}}, 200, ""},
	} {
		for _, way := range ways {
			a, mark := r.ask.marked()
			g := way.send(t, k, a)
			s, n := w.of(mark)
			dropped := r.code == "dropped" // the field, and nothing else
			if g.status != r.status || g.code != r.code && !dropped || (n == 1) != (r.status == 200) {
				t.Errorf("%s, %s: %d %s, want %d %s; the upstream got %d", r.name, way.name, g.status, g.body, r.status, r.code, n)
				continue
			}
			if r.code == "method_not_allowed" && !strings.Contains(g.body, `"allowed_methods":["GET","POST"]`) {
				t.Errorf("%s, %s: %s", r.name, way.name, g.body)
			}
			for _, line := range r.ask.header { // what passes passes as it was
				name, value, _ := strings.Cut(line, ":")
				reached := s != nil && strings.Contains(fmt.Sprint(s.header), strings.TrimSpace(value))
				if reached == dropped && s != nil {
					t.Errorf("%s, %s: %s reached the upstream: %t", r.name, way.name, name, reached)
				}
			}
		}
	}
}

// Other expectations than 100-continue are refused alike, other protocols than
// WebSocket are not spoken of, and what merely counts or cuts is passed on.
func TestExpectAndUpgrade(t *testing.T) {
	w := &witness{}
	k := newKit(t, kitOptions{upstream: w})
	for _, way := range ways {
		for expect, want := range map[string]int{"100-continue": 200, "100-Continue": 200, "200-ok": 417, "x": 417} {
			a, mark := ask{method: "POST", body: "b", header: []string{"Expect: " + expect}}.marked()
			g := way.send(t, k, a)
			for g.status == 100 { // the path's reader is simple
				g.status = 200
			}
			if _, n := w.of(mark); g.status != want || want != 200 && (n != 0 || g.code != "bad_request") {
				t.Errorf("Expect: %s, %s: %d %s, want %d; the upstream got %d", expect, way.name, g.status, g.body, want, n)
			}
		}
		a, mark := ask{header: []string{"Max-Forwards: 0", "Range: bytes=5-2,-,9-", "If-Range: x"}}.marked()
		g := way.send(t, k, a)
		if s, _ := w.of(mark); g.status != 200 || s.header.Get("Max-Forwards") != "0" || s.header.Get("Range") != "bytes=5-2,-,9-" {
			t.Errorf("%s: %d %s", way.name, g.status, s.all())
		}
		if way.h2 {
			continue // which has no Upgrade
		}
		for _, line := range []string{"h2c", "websocket, h2c", "h2c, websocket", "tcp", "SPDY/3.1", "TLS/1.0"} {
			a, mark := ask{header: []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: " + line, "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"}}.marked()
			g := way.send(t, k, a)
			s, _ := w.of(mark)
			if g.status != 200 || s.header["Upgrade"] != nil || s.header["Connection"] != nil || s.header["Http2-Settings"] != nil {
				t.Errorf("Upgrade: %s, %s: %d, the upstream got %s", line, way.name, g.status, s.all())
			}
		}
	}
}

// Limits of a request's header hold on every way.
func TestHeaderLimits(t *testing.T) {
	w := &witness{}
	k := newKit(t, kitOptions{upstream: w})
	many := func(n, size int) (lines []string) {
		for i := range n {
			lines = append(lines, fmt.Sprintf("X-%d: %s", i, strings.Repeat("v", size)))
		}
		return lines
	}
	for _, r := range []struct {
		name string
		ask  ask
		want []int // 0: the connection or stream is refused
	}{
		{"much, but not too much", ask{header: many(200, 200)}, []int{200}},
		{"a field of 15 KiB", ask{header: many(1, 15<<10)}, []int{200}},
		{"a field of 17 KiB", ask{header: many(1, 17<<10)}, []int{400}},
		{"one name, many values", ask{header: func() (l []string) {
			for range 20 {
				l = append(l, "X-A: "+strings.Repeat("v", 1<<10))
			}
			return l
		}()}, []int{400}},
		{"70 KiB", ask{header: many(7, 10<<10)}, []int{400, 431, 0}},
		{"300 fields", ask{header: many(300, 1)}, []int{400}},
		{"a path of 15 KiB", ask{target: "/" + strings.Repeat("p", 15<<10)}, []int{200}},
		{"a path of 17 KiB", ask{target: "/" + strings.Repeat("p", 17<<10)}, []int{400}},
		{"a query of 17 KiB", ask{target: "/?" + strings.Repeat("p", 17<<10)}, []int{400}},
	} {
		for _, way := range ways {
			a, mark := r.ask.marked()
			g := way.send(t, k, a)
			ok := false
			for _, status := range r.want {
				ok = ok || g.status == status
			}
			if _, n := w.of(mark); !ok || (n == 1) != (r.want[0] == 200) {
				t.Errorf("%s, %s: %d %s, want %v; the upstream got %d", r.name, way.name, g.status, g.body, r.want, n)
			}
		}
	}
}
