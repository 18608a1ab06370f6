package when

import (
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// maxTokens bounds a GraphQL document.
const maxTokens = 10_000

// typeNone is the type of a request that asks nothing of a GraphQL server.
const typeNone = "none"

// A document is what is known of the operations in a GraphQL document that may
// run.
type document struct {
	typ    string   // query, mutation, subscription or none
	name   string   // "" of more than one
	fields []string // of its top level, as the schema calls them; each once
}

func (d *document) values() *operation {
	if d.typ == typeNone {
		e := types.WrapErr(GraphQLUnclear)
		return &operation{types.String(typeNone), e, e}
	}
	return &operation{types.String(d.typ), types.String(d.name), types.NewStringList(types.DefaultTypeAdapter, d.fields)}
}

// agree takes documents that may all run for one, if they are of one type.
func agree(all []*document) (*document, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	d := &document{typ: all[0].typ, name: all[0].name}
	seen := make(map[string]bool)
	for _, other := range all {
		if other.typ != d.typ {
			return nil, GraphQLUnclear
		}
		if other.name != d.name {
			d.name = ""
		}
		for _, f := range other.fields {
			if !seen[f] {
				seen[f] = true
				d.fields = append(d.fields, f)
			}
		}
	}
	return d, nil
}

// readDocument reads a document of which the operation of that name runs, or,
// without a name, any.
func readDocument(text, name string) (*document, error) {
	if !plain(text) {
		return nil, GraphQLUnclear
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, maxTokens)
	if err != nil {
		return nil, GraphQLUnclear
	}
	fragments := make(map[string]*ast.FragmentDefinition)
	for _, f := range doc.Fragments {
		if fragments[f.Name] != nil {
			return nil, GraphQLUnclear
		}
		fragments[f.Name] = f
	}
	names := make(map[string]bool)
	var all []*document
	for _, o := range doc.Operations {
		if names[o.Name] && o.Name != "" {
			return nil, GraphQLUnclear
		}
		names[o.Name] = true
		if name != "" && o.Name != name {
			continue
		}
		d := &document{typ: string(o.Operation), name: o.Name}
		top := topLevel{fragments: fragments, spread: make(map[string]bool), seen: make(map[string]bool)}
		if !top.add(o.SelectionSet) {
			return nil, GraphQLUnclear
		}
		d.fields = top.fields
		all = append(all, d)
	}
	if len(all) == 0 {
		return nil, GraphQLUnclear
	}
	return agree(all)
}

// plain: the text has no ends of lines that some lexers know and others do
// not. Behind one, what is a comment to one of them is an operation to another.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsAny(text, "\u0085\u2028\u2029") &&
		strings.Count(text, "\r") == strings.Count(text, "\r\n")
}

// topLevel gathers the fields of an operation's first level. What a directive
// would skip counts as well.
type topLevel struct {
	fragments map[string]*ast.FragmentDefinition
	spread    map[string]bool // fragments
	seen      map[string]bool // fields
	fields    []string
}

// add reports whether every fragment is there.
func (t *topLevel) add(set ast.SelectionSet) bool {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			if !t.seen[s.Name] {
				t.seen[s.Name] = true
				t.fields = append(t.fields, s.Name)
			}
		case *ast.InlineFragment:
			if !t.add(s.SelectionSet) {
				return false
			}
		case *ast.FragmentSpread:
			f := t.fragments[s.Name]
			if f == nil {
				return false
			}
			if t.spread[s.Name] {
				continue
			}
			t.spread[s.Name] = true
			if !t.add(f.SelectionSet) {
				return false
			}
		}
	}
	return true
}
