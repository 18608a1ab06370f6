package gallery_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A row is one attack, as it stands in testdata. The README there says what
// its fields mean.
type row struct {
	class, name string
	line        int
	fields      map[string]string
	each        [][]string // a placeholder's name, then its values
	request     string     // "|" lines
	answer      string     // "<" lines
	frames      []string   // ">" lines
}

// entranceNames are the ways in. Absolute form goes to services with clear text,
// which have hosts of their own.
var entranceNames = []string{"path", "connect", "absolute", "http2"}

// A testcase is a row on one entrance, with one value for each placeholder of
// its own.
type testcase struct {
	*row
	entrance, label string
	vars            map[string]string // what placeholders stand for
	request, answer string            // with placeholders filled in
	frames          []string
	origin          string
	length          int // of a body that must keep it; 0 if none must
}

// field returns what the row says on this entrance.
func (c *testcase) field(name string) string {
	v, ok := c.fields[name+"@"+c.entrance]
	if !ok {
		v = c.fields[name]
	}
	return c.fill(v)
}

var knownFields = []string{"on", "host", "connect", "sni", "origin", "want", "then", "upstream", "requests", "upstream-has", "upstream-lacks",
	"answer-has", "answer-lacks", "watch", "finish", "vault"}

// readRows reads one file.
func readRows(path string) ([]*row, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	class := strings.TrimSuffix(filepath.Base(path), ".txt")
	var rows []*row
	var r *row
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		fail := func(format string, a ...any) error {
			return fmt.Errorf("%s:%d: %s", path, n, fmt.Sprintf(format, a...))
		}
		if name, ok := strings.CutPrefix(line, "== "); ok {
			r = &row{class: class, name: name, line: n, fields: make(map[string]string)}
			rows = append(rows, r)
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if r == nil {
			return nil, fail("text before the first row")
		}
		switch line[0] {
		case '|', '<':
			wire, err := unescape(strings.TrimPrefix(line[1:], " "))
			if err != nil {
				return nil, fail("%v", err)
			}
			if line[0] == '|' {
				r.request += wire
			} else {
				r.answer += wire
			}
		case '>':
			frame, err := unescape(strings.TrimPrefix(line[1:], " ") + `\`)
			if err != nil {
				return nil, fail("%v", err)
			}
			r.frames = append(r.frames, frame)
		default:
			key, value, ok := strings.Cut(line, ": ")
			name, _, _ := strings.Cut(key, "@")
			switch {
			case !ok:
				return nil, fail("not a field: %q", line)
			case key == "each":
				name, values, _ := strings.Cut(value, " = ")
				r.each = append(r.each, append([]string{name}, strings.Fields(values)...))
				for i, v := range r.each[len(r.each)-1] {
					if _, err := unescape(v + `\`); err != nil && i > 0 {
						return nil, fail("%v", err)
					}
				}
			case !slices.Contains(knownFields, name) || r.fields[key] != "":
				return nil, fail("a field that is unknown or there twice: %q", key)
			default:
				r.fields[key] = value
			}
		}
	}
	return rows, nil
}

// unescape reads a line of bytes: \r \n \t \0 \\ \xHH, and at the end a
// backslash instead of CR LF.
func unescape(line string) (string, error) {
	end := "\r\n"
	if rest, ok := strings.CutSuffix(line, `\`); ok && !strings.HasSuffix(rest, `\`) {
		line, end = rest, ""
	}
	var b strings.Builder
	for len(line) > 0 {
		if line[0] != '\\' {
			b.WriteByte(line[0])
			line = line[1:]
			continue
		}
		if zero, ok := strings.CutPrefix(line, `\0`); ok {
			b.WriteByte(0)
			line = zero
			continue
		}
		// Go knows the others, and single bytes by \x too.
		r, wide, rest, err := strconv.UnquoteChar(line, 0)
		if err != nil {
			return "", fmt.Errorf("bad escape in %q", line)
		}
		if wide {
			b.WriteRune(r)
		} else {
			b.WriteByte(byte(r))
		}
		line = rest
	}
	return b.String() + end, nil
}

// cases expands a row: each entrance, each value of each of its placeholders.
func (r *row) cases() []*testcase {
	combinations := []map[string]string{{}}
	for _, e := range r.each {
		var next []map[string]string
		for _, c := range combinations {
			for _, v := range e[1:] {
				m := map[string]string{e[0]: v}
				for k, old := range c {
					m[k] = old
				}
				next = append(next, m)
			}
		}
		combinations = next
	}
	var all []*testcase
	for _, entrance := range strings.Fields(r.fields["on"]) {
		for _, values := range combinations {
			label := r.class + "/" + r.name + "/" + entrance
			for _, e := range r.each {
				label += " " + e[0] + "=" + values[e[0]]
			}
			all = append(all, &testcase{row: r, entrance: entrance, label: label, vars: values})
		}
	}
	return all
}

const splitMark = "\x00{split}\x00"

var placeholder = regexp.MustCompile(`\{\{([^{}]*)\}\}`)

// fill puts in what placeholders stand for: {{name}}, {{name:encoding}},
// {{repeat:N:TEXT}}, {{split}}, {{url NAME}} and {{auth NAME}}.
func (c *testcase) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(whole string) string {
		name := whole[2 : len(whole)-2]
		if name == "split" {
			return splitMark
		}
		if rest, ok := strings.CutPrefix(name, "repeat:"); ok {
			count, what, _ := strings.Cut(rest, ":")
			n, err := strconv.Atoi(count)
			if err != nil {
				panic(whole)
			}
			return strings.Repeat(what, n)
		}
		if kind, host, ok := strings.Cut(name, " "); ok {
			return spellHost(c.entrance, kind, c.vars[host], c.vars)
		}
		name, encoding, encoded := strings.Cut(name, ":")
		value, ok := c.vars[name]
		if !ok {
			panic(fmt.Sprintf("%s: nothing is called %q", c.label, name))
		}
		if !encoded {
			return value
		}
		text, err := spell(encoding, value)
		if err != nil {
			panic(err)
		}
		return text
	})
}

// prepare fills in all of the case.
func (c *testcase) prepare(vars map[string]string) {
	all := make(map[string]string)
	for k, v := range vars {
		all[k] = v
	}
	own := c.vars
	c.vars = all
	for k, v := range own {
		v, _ = unescape(v + `\`) // it was tried when it was read
		all[k] = c.fill(v)
	}
	c.request, c.answer, c.origin = c.fill(c.row.request), c.fill(c.row.answer), c.field("origin")
	for _, f := range c.row.frames {
		c.frames = append(c.frames, c.fill(f))
	}
}

func TestUnescape(t *testing.T) {
	for line, want := range map[string]string{
		`GET / HTTP/1.1`: "GET / HTTP/1.1\r\n", `abc\`: "abc", `a\nb\`: "a\nb", `\x00\0\xff\`: "\x00\x00\xff", `\\`: "\\\r\n", ``: "\r\n",
	} {
		if got, err := unescape(line); got != want || err != nil {
			t.Errorf("unescape(%q) = %q, %v; want %q", line, got, err, want)
		}
	}
}
