package gallery_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// check says what is wrong with what came of a case. General properties come
// first; they hold for all.
func (w *world) check(c *testcase, o *outcome) []string {
	var bad []string
	add := func(format string, a ...any) { bad = append(bad, fmt.Sprintf(format, a...)) }
	if errors.Is(o.err, os.ErrDeadlineExceeded) {
		add("it hangs")
	}
	for _, data := range [][]byte{o.wire.Bytes(), o.decoded.Bytes()} {
		for _, l := range w.judge.find(data) {
			add("the agent got a credential: %v", l)
		}
	}
	bad = append(bad, w.checkOrigins(c)...)
	if want := c.field("want"); !meets(want, o, 0) {
		add("want %s", want)
	}
	if then := c.field("then"); then != "" && !meets(then, o, 1) {
		add("then want %s", then)
	}
	if n := c.requests(); len(o.answers) > n && c.field("then") == "" {
		for _, g := range o.answers[n:] {
			if g.fault() == "" && g.status != 400 {
				add("one answer too many: %d", g.status)
			}
		}
	}
	if c.length > 0 && len(o.answers) == 1 && o.answers[0].fault() == "" && len(o.answers[0].body) != c.length {
		add("a body of %d bytes came back as %d", c.length, len(o.answers[0].body))
	}
	seen := o.wire.String() + o.decoded.String()
	if has := c.field("answer-has"); has != "" && !strings.Contains(seen, has) {
		add("the answer lacks %q", has)
	}
	if lacks := c.field("answer-lacks"); lacks != "" && strings.Contains(strings.ToLower(seen), strings.ToLower(lacks)) {
		add("the answer has %q", lacks)
	}
	return bad
}

// checkOrigins holds what the origins were sent against the row.
func (w *world) checkOrigins(c *testcase) []string {
	var bad []string
	add := func(format string, a ...any) { bad = append(bad, fmt.Sprintf(format, a...)) }
	total := 0
	home := homes[strings.ToLower(c.vars["name"])]
	also := strings.Fields(c.field("upstream"))
	for name, o := range w.origins {
		r := o.record()
		total += len(r.got)
		if r.conns > 0 && (name != home && !slices.Contains(also, name) || slices.Contains(also, "none")) {
			add("origin %s was reached: %.300q", name, r.wire)
		}
		if bytes.Contains(r.wire, []byte(w.token)) {
			add("origin %s was sent the session's token", name)
		}
		for _, l := range w.judge.find(r.wire) {
			if !slices.Contains(mayHold[name], l.credential) {
				add("origin %s was sent %v", name, l)
			}
		}
		for _, g := range r.got {
			if g.bad != "" {
				add("origin %s was sent what can be read in two ways: %s in %.500q", name, g.bad, g.head)
			}
		}
		if name != home {
			continue
		}
		if has := c.field("upstream-has"); has != "" && !bytes.Contains(r.wire, []byte(has)) {
			add("upstream did not get %q in %.500q", has, r.wire)
		}
		if lacks := c.field("upstream-lacks"); lacks != "" && bytes.Contains(bytes.ToLower(r.wire), []byte(strings.ToLower(lacks))) {
			add("upstream got %q in %.500q", lacks, r.wire)
		}
	}
	want, limit := c.field("upstream"), c.requests()
	switch {
	case total > limit:
		add("%d requests went upstream for %d", total, limit)
	case strings.HasPrefix(want, "none") && total > 0, strings.HasPrefix(want, "one") && total != 1, strings.HasPrefix(want, "all") && total != limit:
		add("%d requests went upstream, want %s", total, want)
	}
	return bad
}

// meets reads a "want:" field: alternatives parted by " or ", each a status
// with or without a fault's code, "closed" (no answer) or "broken" (a torn
// one).
func meets(want string, o *outcome, i int) bool {
	for alternative := range strings.SplitSeq(want, " or ") {
		words := strings.Fields(alternative)
		if i >= len(o.answers) {
			if words[0] == "closed" && o.err != nil {
				return true
			}
			continue
		}
		g := o.answers[i]
		status, err := strconv.Atoi(words[0])
		switch {
		case words[0] == "broken" && g.broken:
			return true
		case err != nil || g.broken || g.status != status:
		case len(words) == 1, words[1] == g.fault():
			return true
		}
	}
	return false
}

// hostOf cuts the port off.
func hostOf(authority string) string {
	host, _, _ := strings.Cut(authority, ":")
	return host
}

// followUp sends a good request to a host, on a new connection by the same
// entrance. It may fail once if an upstream sent more than belongs to its
// answer: net/http looks for that between two requests on a connection, so a
// request that comes before gets 502, and the next one another connection.
func (w *world) followUp(entrance, host string) error {
	if entrance == "http2" {
		entrance = "connect"
	}
	next := &testcase{row: &row{fields: map[string]string{}}, entrance: entrance, vars: w.vars(entrance, host)}
	next.request = next.fill("GET {{base}}" + followUp + " HTTP/1.1\r\n{{auth}}\r\n\r\n")
	o := w.run(next)
	if len(o.answers) == 1 && o.answers[0].fault() == "upstream_error" {
		o = w.run(next)
	}
	if len(o.answers) != 1 || o.answers[0].status != 200 || o.answers[0].broken {
		return fmt.Errorf("the next request fails: %v", o)
	}
	return nil
}

// vars are what placeholders stand for on one entrance.
func (w *world) vars(entrance, host string) map[string]string {
	spelled := func(host string) string {
		if entrance == "absolute" && strings.HasSuffix(host, ".test") {
			return strings.TrimSuffix(host, ".test") + ".plain.test:8080"
		}
		return host
	}
	v := map[string]string{
		"host": spelled(host), "other": spelled("other.test"), "open": spelled("open.test"), "evil": spelled("evil.test"),
		"token": w.token, "token-tail": w.token[len("av_sess"):], "api": w.api, "proxy": w.proxy, "injected": apiKey, "stored": storedKey, "stored-token": tokenKey,
	}
	if host == "rich.test" {
		v["injected"] = richKey
	}
	v["name"] = hostOf(v["host"])
	_, v["api-port"], _ = strings.Cut(w.api, ":")
	_, v["proxy-port"], _ = strings.Cut(w.proxy, ":")
	v["credentials"] = "X-Nothing: 1"
	switch entrance {
	case "path":
		v["credentials"] = "Authorization: Bearer " + w.token
	case "absolute":
		v["credentials"] = "Proxy-Authorization: Bearer " + w.token
	}
	v["base"] = spellHost(entrance, "url", v["host"], v)
	v["auth"] = spellHost(entrance, "auth", v["host"], v)
	return v
}

// spellHost writes what the entrances have in different places: in front of
// the path, "url", and in the fields, "auth".
func spellHost(entrance, kind, host string, vars map[string]string) string {
	switch entrance + " " + kind {
	case "path url":
		return "/proxy/" + host
	case "path auth":
		return "Host: " + vars["api"] + "\r\n" + vars["credentials"]
	case "absolute url":
		return "http://" + host
	case "absolute auth":
		return "Host: " + host + "\r\n" + vars["credentials"]
	case "connect url", "http2 url":
		return ""
	}
	return "Host: " + host
}
