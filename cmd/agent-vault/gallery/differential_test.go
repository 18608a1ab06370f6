package gallery_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// differentialVariable, if it is set, lets these tests run: they need web
// servers that others wrote.
const differentialVariable = "AGENT_VAULT_SUITES"

// TestDifferential sends the rows about framing to web servers that others
// wrote, on each entrance and over HTTP/1.1 and HTTP/2 to the server. Behind
// each comes a good request in the same session, and so on the same connection
// upstream. The vault, the server and the agent must count the same requests:
// every one that the vault says was answered is in the server's log, and there
// is none in it that the vault does not know.
func TestDifferential(t *testing.T) {
	if os.Getenv(differentialVariable) == "" {
		t.Skip("needs nginx, haproxy, apache2, lighttpd and node: make framing brings them")
	}
	for _, s := range softwares {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			authority := newAuthority(t)
			u := startUpstream(t, s, authority.leaf(t, slices.Collect(maps.Keys(homes))...))
			w := newWorldBefore(t, authority, u)
			d := differential{world: w, cases: make(map[string]*testcase), got: make(map[string][]string)}
			for _, host := range []string{"api.test", "modern.test"} {
				for _, r := range galleryRows(t) {
					for _, c := range r.cases() {
						if r.class == "framing" && chosen(c.label) && !(host == "modern.test" && c.entrance == "absolute") {
							d.send(t, c, host)
						}
					}
				}
			}
			w.stop()
			u.stop()
			d.compare(t, u)
		})
	}
}

// newWorldBefore is a server all of whose services are one upstream.
func newWorldBefore(t *testing.T, authority *authority, u *upstream) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), authority: authority, credentials: plantedCredentials(), judge: theJudge()}
	hosts := make(map[string]string)
	for host, name := range homes {
		switch {
		case name == "modern":
			hosts[host] = u.HTTP2
		case strings.HasPrefix(name, "plain-"):
			hosts[host] = u.Plain
		default:
			hosts[host] = u.TLS
		}
	}
	w.write("origin.pem", authority.pem)
	w.start(hosts)
	w.declare()
	return w
}

// A differential counts.
type differential struct {
	*world
	cases map[string]*testcase // by the first segment of their paths
	got   map[string][]string  // statuses of upstream answers that agents got
}

// send sends a case, whose paths begin with a segment of its own, and a good
// request behind it.
func (d *differential) send(t *testing.T, c *testcase, host string) {
	t.Helper()
	if err := d.mint(); err != nil {
		t.Fatal(err)
	}
	segment := fmt.Sprintf("/c%d", len(d.cases)+1)
	d.cases[segment] = c
	vars := d.vars(c.entrance, host)
	vars["base"] += segment
	c.prepare(vars)
	for i, line := range c.frames {
		if path, ok := strings.CutPrefix(line, "  :path = /"); ok {
			c.frames[i] = "  :path = " + segment + "/" + path
		}
	}
	o := d.run(c)
	d.note(segment, o)
	if c.entrance == "http2" {
		vars["base"] = segment
	}
	entrance := strings.ReplaceAll(c.entrance, "http2", "connect")
	next := &testcase{row: &row{fields: map[string]string{}}, entrance: entrance, vars: vars}
	next.request = next.fill("GET {{base}}" + followUp + " HTTP/1.1\r\n{{auth}}\r\n\r\n")
	behind := d.run(next)
	d.note(segment, behind)
	if len(behind.answers) != 1 || behind.answers[0].fault() != "" || behind.answers[0].broken {
		t.Errorf("%s: the next request fails: %v", c.label, behind)
	}
}

// note counts what the upstream answered, as the agent sees it. Over HTTP/2
// net/http has a 400 of its own that says nothing of the vault.
func (d *differential) note(segment string, o *outcome) {
	for _, g := range o.answers {
		if g.fault() == "" && !g.broken && g.status != 400 {
			d.got[segment] = append(d.got[segment], fmt.Sprint(g.status))
		}
	}
}

// An audited is what the audit log says of one request.
type audited struct {
	Kind, Request, Method, Path, Fault string
	Status                             int
}

// compare holds the sides against each other, case by case.
func (d *differential) compare(t *testing.T, u *upstream) {
	t.Helper()
	sent, answered := d.recorded(t)
	logs := map[string]*upstream{"the server": u}
	if u.next != nil {
		logs["the server behind it"] = u.next
	}
	for name, u := range logs {
		read := bySegment(u.requests(t))
		for segment, lines := range read {
			if extra := less(lines, sent[segment]); len(extra) > 0 {
				t.Errorf("%s: %s has read %q, and the vault has sent %q", d.label(segment), name, lines, sent[segment])
			}
		}
		for segment, lines := range answered {
			if missing := less(lines, read[segment]); len(missing) > 0 {
				t.Errorf("%s: the vault has answers to %q, and %s has read %q", d.label(segment), lines, name, read[segment])
			}
		}
	}
	requests := 0
	for segment, lines := range sent {
		requests += len(lines)
		if got := d.got[segment]; len(got) > len(answered[segment]) {
			t.Errorf("%s: the agent has answers %q to %q", d.label(segment), got, answered[segment])
		}
	}
	t.Logf("%d cases, %d requests upstream", len(d.cases), requests)
}

func (d *differential) label(segment string) string {
	if c := d.cases[segment]; c != nil {
		return fmt.Sprintf("%s %q %q", c.label, c.request, c.frames)
	}
	return "what belongs to no case"
}

// recorded reads the audit log: the requests that were sent upstream, and those
// of them that were answered there.
func (d *differential) recorded(t *testing.T) (sent, answered map[string][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "data", "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	var intents, ends []string
	lines := make(map[string]string) // by request
	for line := range strings.Lines(string(text)) {
		var r audited
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Kind == "intent":
			lines[r.Request] = r.Method + " " + r.Path
			intents = append(intents, lines[r.Request])
		case r.Kind == "outcome" && r.Fault == "" && lines[r.Request] != "":
			ends = append(ends, lines[r.Request])
		}
	}
	return bySegment(intents), bySegment(ends)
}

// bySegment sorts requests by the first segment of their paths.
func bySegment(requests []string) map[string][]string {
	all := make(map[string][]string)
	for _, r := range requests {
		_, path, _ := strings.Cut(r, " ")
		segment, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		all["/"+segment] = append(all["/"+segment], r)
	}
	return all
}

// less returns those of a that are not in b, each as often as it is there.
func less(a, b []string) []string {
	b = slices.Clone(b)
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool {
		i := slices.Index(b, s)
		if i >= 0 {
			b = slices.Delete(b, i, i+1)
		}
		return i >= 0
	})
}

// TestLess holds the comparison itself: a request that is there twice is one
// too many.
func TestLess(t *testing.T) {
	for _, tt := range []struct{ a, b, want []string }{
		{[]string{"x", "y"}, []string{"y", "x"}, nil},
		{[]string{"x", "x"}, []string{"x"}, []string{"x"}},
		{[]string{"x"}, nil, []string{"x"}},
		{nil, []string{"x"}, nil},
	} {
		if got := less(tt.a, tt.b); !slices.Equal(got, tt.want) {
			t.Errorf("less(%q, %q) = %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}
