package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"agentvault/api/shown"
)

// An output is the form in which a command prints what it has to say. A wrong
// one is refused before the command has done anything.
type output string

var outputs = []string{"table", "json", "yaml"}

func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "format" }
func (o *output) Set(s string) error {
	switch s {
	case "text": // what table was called once
		s = "table"
	case "table", "json", "yaml":
	default:
		return errors.New("it is table, json or yaml")
	}
	*o = output(s)
	return nil
}

// add gives the command -o table|json|yaml.
func (o *output) add(c *cobra.Command) {
	*o = "table"
	c.Flags().VarP(o, "output", "o", "table, json or yaml")
	completeFlag(c, "output", fixed(outputs...))
}

// print writes v as JSON or YAML when that was asked for, else as text does.
// Both are the same document. text is not called for them, and what it writes
// has passed plain where it is not ours.
func (o *output) print(w io.Writer, v any, text func(io.Writer)) error {
	return o.write(w, v, "  ", text)
}

// printNext is print for one of many values that come one after the other: JSON
// is a line (https://jsonlines.org), YAML a document behind its marker.
func (o *output) printNext(w io.Writer, v any, text func(io.Writer)) error {
	if *o == "yaml" {
		fmt.Fprintln(w, "---")
	}
	return o.write(w, v, "", text)
}

func (o *output) write(w io.Writer, v any, indent string, text func(io.Writer)) error {
	var b bytes.Buffer
	if *o == "table" {
		text(&b)
		_, err := w.Write(b.Bytes())
		return err
	}
	e := json.NewEncoder(&b)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	document := harmless(b.Bytes())
	if *o == "yaml" {
		var err error
		if document, err = asYAML(document); err != nil {
			return err
		}
	}
	_, err := w.Write(document)
	return err
}

// harmless writes as escapes what JSON allows in strings and a terminal must
// not get.
func harmless(document []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(document) {
		switch {
		case !shown.Deceptive(r) || r == '\n': // between values: in strings it is escaped
			b.WriteRune(r)
		case r > 0xffff: // RFC 8259 §7: as two UTF-16 surrogates
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// asYAML writes a JSON document as YAML, with its keys in the same order.
func asYAML(document []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	node, err := yamlNode(d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(node), e.Close()); err != nil {
		return nil, err
	}
	var safe bytes.Buffer
	for _, r := range b.String() {
		if shown.Deceptive(r) && r != '\n' { // in double quotes: yamlString has seen to it
			fmt.Fprintf(&safe, `\U%08X`, r)
		} else {
			safe.WriteRune(r)
		}
	}
	return safe.Bytes(), nil
}

// yamlNode reads one JSON value.
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v == '{' {
			n.Kind = yaml.MappingNode
		}
		for d.More() { // of a map: keys and values in turn
			below, err := yamlNode(d)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, below)
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle // [] and {}
		}
		_, err := d.Token() // its end
		return n, err
	case string:
		return yamlString(v)
	case json.Number:
		tag := "!!int"
		if strings.ContainsAny(v.String(), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.String()}, nil
	}
	n := new(yaml.Node)
	return n, n.Encode(t)
}

// yamlString quotes what another reader could take for something else, such as
// yes and <<, and what must be written with escapes.
func yamlString(s string) (*yaml.Node, error) {
	n := new(yaml.Node)
	err := n.Encode(s)
	if strings.ContainsFunc(s, shown.Deceptive) || n.Tag != "!!str" {
		n.Kind, n.Tag, n.Value, n.Style = yaml.ScalarNode, "!!str", s, yaml.DoubleQuotedStyle
	}
	return n, err
}

// plain makes one harmless line of what an agent or a server wrote.
func plain(s string) string { return shown.Plain(s) }

// list writes a row for each of some things, under a header that stands there
// even if there is none.
func list[T any](w io.Writer, header []string, things []T, row func(T) []string) {
	var rows [][]string
	for _, thing := range things {
		rows = append(rows, row(thing))
	}
	table(w, header, rows)
}

// table writes rows with their columns aligned under the header. Every cell
// passes plain.
func table(w io.Writer, header []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = plain(cell)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	_ = t.Flush() // into the buffer of print, which cannot fail
}

// A style colours text, or leaves it as it is.
type style struct{ on bool }

// styleOf colours only what a person sees on a terminal that knows colours, and
// nothing when NO_COLOR is set (https://no-color.org).
func styleOf(w io.Writer) style {
	return style{isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (s style) green(text string) string { return s.paint("32", text) }
func (s style) red(text string) string   { return s.paint("31", text) }
func (s style) bold(text string) string  { return s.paint("1", text) }

// paint is SGR of ECMA-48 §8.3.117.
func (s style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// facts writes names and values in pairs, below each other.
func facts(w io.Writer, pairs ...string) {
	wide := 0
	for i := 0; i < len(pairs); i += 2 {
		wide = max(wide, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(w, "%-*s  %s\n", wide, pairs[i], plain(pairs[i+1]))
	}
}

// printOnce prints what is shown this once: alone on standard output, where a
// script can take it, and on standard error what a person should know of it.
func (o *output) printOnce(c *cobra.Command, v any, shown, note string) error {
	if *o == "table" {
		fmt.Fprintf(c.ErrOrStderr(), "%s\n", plain(note))
	}
	return o.print(c.OutOrStdout(), v, func(w io.Writer) { fmt.Fprintln(w, plain(shown)) })
}
