package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"agentvault/api/shown"
)

// printed is what a command prints of v in one form.
func printed(t testing.TB, form string, v any) string {
	t.Helper()
	var o output
	if err := o.Set(form); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := o.print(&b, v, func(w io.Writer) { io.WriteString(w, "the table\n") }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOutput(t *testing.T) {
	v := struct {
		Name   string   `json:"name"`
		Agents []string `json:"agents"`
		Hosts  []string `json:"hosts"`
		Count  int64    `json:"count"`
		Ratio  float64  `json:"ratio"`
		On     bool     `json:"on"`
		Note   *string  `json:"note"`
		Nested any      `json:"a_map"`
	}{"yes", []string{}, []string{"<a>&b", "line\nbreak", "x\u202ey\u009b", "12", "\U000e0041"}, 1 << 62, 0.5, true, nil, map[string]string{"1": "~"}}
	for form, want := range map[string]string{
		"table": "the table\n",
		"text":  "the table\n",
		"json": `{
  "name": "yes",
  "agents": [],
  "hosts": [
    "<a>&b",
    "line\nbreak",
    "x\u202ey\u009b",
    "12",
    "\udb40\udc41"
  ],
  "count": 4611686018427387904,
  "ratio": 0.5,
  "on": true,
  "note": null,
  "a_map": {
    "1": "~"
  }
}
`,
		"yaml": `name: "yes"
agents: []
hosts:
  - <a>&b
  - "line\nbreak"
  - "x\U0000202Ey\x9B"
  - "12"
  - "\U000E0041"
count: 4611686018427387904
ratio: 0.5
"on": true
note: null
a_map:
  "1": "~"
`,
	} {
		if got := printed(t, form, v); got != want {
			t.Errorf("%s:\n%s\n%s", form, got, cmp.Diff(want, got))
		}
	}
	for _, wrong := range []string{"", "xml", "JSON", "tables"} {
		if err := new(output).Set(wrong); err == nil || err.Error() != "it is table, json or yaml" {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// TestOutputOfOneAfterTheOther: what goes on is read one by one.
func TestOutputOfOneAfterTheOther(t *testing.T) {
	type thing struct {
		Name string `json:"name"`
	}
	for form, want := range map[string]string{
		"table": "a line\na line\n",
		"json":  `{"name":"<a\u202e>"}` + "\n" + `{"name":"b"}` + "\n",
		"yaml":  "---\nname: \"<a\\U0000202E>\"\n---\nname: b\n",
	} {
		o := output(form)
		var b bytes.Buffer
		for _, v := range []thing{{"<a\u202e>"}, {"b"}} {
			if err := o.printNext(&b, v, func(w io.Writer) { io.WriteString(w, "a line\n") }); err != nil {
				t.Fatal(err)
			}
		}
		if b.String() != want {
			t.Errorf("%s: got %q, want %q", form, b.String(), want)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"api.github.com":         "api.github.com",
		"Größe 大きさ \\n":          "Größe 大きさ \\n",
		"two\nlines\r\n":         `two\nlines\x0d\n`,
		"tab\tnul\x00del\x7f":    `tab\tnul\x00del\x7f`,
		"\x1b[31mred":            `\x1b[31mred`,
		"c1\u009b31m":            `c1\x9b31m`,
		"bidi\u202e\u2066":       `bidi\u202e\u2066`,
		"zero\u200bwidth\ufeff":  `zero\u200bwidth\ufeff`,
		"line\u2028para\u2029":   `line\u2028para\u2029`,
		"soft\u00adhyphen":       `soft\xadhyphen`,
		"tag\U000e0041":          `tag\U000e0041`,
		"not UTF-8 \xff\xfe end": `not UTF-8 \xff\xfe end`,
	} {
		if got := plain(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	table(&b, []string{"NAME", "HOST", "NOTE"}, [][]string{
		{"stripe", "api.stripe.com", "the agent's\nown words\tand more\v\f"},
		{"größer", "", "\xff\x1b[2J"},
	})
	want := "NAME    HOST            NOTE\n" +
		"stripe  api.stripe.com  the agent's\\nown words\\tand more\\x0b\\x0c\n" +
		"größer                  \\xff\\x1b[2J\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestStyle(t *testing.T) {
	on, off := style{true}, style{}
	for got, want := range map[string]string{
		on.green("a"): "\x1b[32ma\x1b[0m", on.red("b"): "\x1b[31mb\x1b[0m", on.bold("c"): "\x1b[1mc\x1b[0m",
		on.red("") + "d": "d", off.green("e") + off.red("f") + off.bold("g"): "efg",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if styleOf(new(bytes.Buffer)).on || styleOf(devNull(t)).on {
		t.Error("colours where there is no terminal")
	}
}

// FuzzOutput: whatever a server sends, what is printed of it keeps its meaning
// and plays no tricks on a terminal.
func FuzzOutput(f *testing.F) {
	for _, s := range []string{"", "yes", "null", "0x10", "1e3", "2024-01-01", "- a", "a: b", "#", "\"", "\\u202e", "x\u202ey", "\U000e0041", "a\nb\n", " \t", "\x00\x1b\x7f", "<<", "=", "~", "\xff", "\u2028\u0085\ufeff"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		v := map[string]any{key: []any{value, map[string]any{value: 1.5}}}
		asJSON := printed(t, "json", v)
		var want, got any
		if err := json.Unmarshal([]byte(asJSON), &want); err != nil {
			t.Fatalf("%v: %q", err, asJSON)
		}
		asYAML := printed(t, "yaml", v)
		if err := yaml.Unmarshal([]byte(asYAML), &got); err != nil {
			t.Fatalf("%v: %q", err, asYAML)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("JSON and YAML differ: %s\n%q", diff, asYAML)
		}
		if sent := strings.ToValidUTF8(value, "\ufffd"); utf8.ValidString(value) {
			if inJSON := want.(map[string]any)[strings.ToValidUTF8(key, "\ufffd")]; utf8.ValidString(key) && inJSON.([]any)[0] != sent {
				t.Errorf("%q became %q", sent, inJSON)
			}
		}
		for _, text := range []string{asJSON, asYAML, plain(value) + "\n"} {
			if strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), shown.Deceptive) || !utf8.ValidString(text) {
				t.Errorf("not harmless: %q", text)
			}
		}
		if p := plain(value); strings.Contains(p, "\n") || plain(p) != p {
			t.Errorf("plain: %q", p)
		}
	})
}

// devNull is a standard input that is no terminal and has nothing.
func devNull(t testing.TB) *os.File {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return null
}
