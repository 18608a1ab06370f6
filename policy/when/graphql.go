package when

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"agentvault/policy/media"
)

// An operation is what a request asks of a GraphQL server, each part of it or
// why it cannot be told.
type operation struct{ typ, name, fields ref.Val }

func (a *activation) readGraphQL() *operation {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.graphql == nil {
		found, err := a.findOperation()
		if err != nil {
			e := types.WrapErr(err)
			a.graphql = &operation{e, e, e}
		} else {
			a.graphql = found.values()
		}
	}
	return a.graphql
}

// findOperation takes together what the query and the body ask for. Servers
// look at either or both, whatever the method, so the body must be known.
func (a *activation) findOperation() (*document, error) {
	if err := a.bodyFault(); err != nil {
		return nil, err
	}
	inQuery, err := askOfForm(a.RawQuery)
	if err != nil {
		return nil, err
	}
	asks, err := a.asksOfBody()
	if err != nil {
		return nil, err
	}
	parts := len(asks)
	asks = slices.DeleteFunc(asks, ask.empty)
	switch {
	case len(asks) == 0:
		asks = []ask{inQuery}
	case len(asks) != parts: // a batch, of which not all is GraphQL
		return nil, GraphQLUnclear
	case inQuery.document != "" || inQuery.more || inQuery.elsewhere || inQuery.id:
		return nil, GraphQLUnclear
	case inQuery.name != "" && slices.ContainsFunc(asks, func(q ask) bool { return q.name != inQuery.name }):
		return nil, GraphQLUnclear
	}
	if len(asks) > maxBatch {
		return nil, GraphQLUnclear
	}
	var all []*document
	for _, q := range asks {
		d, err := q.read()
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return agree(all)
}

// maxBatch bounds the operations of one request.
const maxBatch = 100

// An ask is what one part of a request says to a GraphQL server.
type ask struct {
	document  string
	name      string // operationName
	more      bool   // there are variables or extensions
	id        bool   // there is an id, by which some servers know documents
	elsewhere bool   // a document is named rather than sent
}

// empty: nothing of GraphQL is in it. A lone id is everybody's.
func (q ask) empty() bool { return q == ask{} || q == ask{id: true} }

func (q ask) read() (*document, error) {
	switch {
	case q.empty():
		return &document{typ: typeNone}, nil
	case q.document == "" || q.elsewhere || q.id:
		return nil, GraphQLUnclear
	}
	return readDocument(q.document, q.name)
}

// take notes one name and value. Servers overlook letter case, some of them,
// so another spelling of a name that matters has two readings.
func (q *ask) take(name string, v ref.Val) error {
	text, isText := v.(types.String)
	switch parameter(name) {
	case "QUERY":
		if !isText || !strings.Contains(string(text), "{") {
			return nil // no document is without one
		}
		if name != "query" {
			return GraphQLUnclear
		}
		q.document = string(text)
	case "OPERATIONNAME":
		if v == types.NullValue || text == "" && isText {
			return nil
		}
		if !isText || name != "operationName" {
			return GraphQLUnclear
		}
		q.name = string(text)
	case "VARIABLES":
		q.more = true
	case "EXTENSIONS":
		q.more = true
		return q.takeExtensions(v)
	case "ID":
		q.id = true
	case "DOCUMENTID", "DOCUMENT_ID", "DOCID", "DOC_ID", "QUERYID", "QUERY_ID", "OPERATIONID", "OPERATION_ID",
		"PERSISTEDQUERY", "PERSISTEDQUERYID", "QUERYHASH", "SHA256HASH":
		q.elsewhere = true
	}
	return nil
}

// takeExtensions looks for a persisted query: a document by its digest.
func (q *ask) takeExtensions(v ref.Val) error {
	if text, ok := v.(types.String); ok && text != "" { // in a query or form it is JSON
		var err error
		if v, err = parseJSON([]byte(text)); err != nil {
			return GraphQLUnclear
		}
	}
	m, ok := v.(traits.Mapper)
	if !ok {
		return nil
	}
	for it := m.Iterator(); it.HasNext() == types.True; {
		if key, ok := it.Next().(types.String); ok && fold(string(key)) == "PERSISTEDQUERY" {
			q.elsewhere = true
		}
	}
	return nil
}

// askOfForm reads a query or a form. Of a name that matters there may be one
// value only.
func askOfForm(raw string) (q ask, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return ask{}, GraphQLUnclear
	}
	for name, list := range values {
		was := q
		for _, text := range list {
			if err := q.take(name, types.String(text)); err != nil {
				return ask{}, err
			}
		}
		if q != was && len(list) > 1 {
			return ask{}, GraphQLUnclear
		}
		if parameter(name) == "OPERATIONS" { // what has files comes like this
			q.elsewhere = true
		}
	}
	return q, nil
}

// parameter returns what readers who overlook letter case take a name for, or
// who, like PHP, overlook spaces before it and read "name[]" as a list.
func parameter(name string) string {
	name = strings.TrimLeft(name, " ")
	if i := strings.IndexAny(name, "[\x00"); i >= 0 {
		name = name[:i]
	}
	return fold(name)
}

// asksOfBody returns what a body says, a batch's parts one by one, in the
// format that its Content-Type names.
func (a *activation) asksOfBody() ([]ask, error) {
	if len(a.Body) == 0 {
		return nil, nil
	}
	said := media.Of(a.Header)
	if said.Kind == media.Unclear || said.Charset {
		return nil, GraphQLUnclear
	}
	switch {
	case said.Kind == media.JSON:
		v, err := a.parsed()
		if err != nil {
			return nil, err
		}
		return asksOfJSON(v)
	case said.Type == "application/graphql":
		return []ask{{document: string(a.Body)}}, nil
	case said.Kind == media.Form:
		if looksLikeJSON(a.Body) {
			return nil, GraphQLUnclear
		}
		q, err := askOfForm(string(a.Body))
		return []ask{q}, err
	default:
		// One part of several may be an operation with files, and a server that
		// overlooks the type would read what looks like JSON.
		if said.Kind == media.Multipart || strings.Contains(said.Type, "graphql") || looksLikeJSON(a.Body) {
			return nil, GraphQLUnclear
		}
		return nil, nil
	}
}

func asksOfJSON(v ref.Val) ([]ask, error) {
	parts := []ref.Val{v}
	if list, ok := v.(traits.Lister); ok {
		parts = parts[:0]
		for it := list.Iterator(); it.HasNext() == types.True; {
			parts = append(parts, it.Next())
		}
	}
	asks := make([]ask, len(parts))
	for i, part := range parts {
		m, ok := part.(traits.Mapper)
		if !ok {
			continue
		}
		for it := m.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			if err := asks[i].take(string(key.(types.String)), m.Get(key)); err != nil {
				return nil, err
			}
		}
	}
	return asks, nil
}

// looksLikeJSON: behind byte order marks, zeros of UTF-16 and white space
// comes an object or an array.
func looksLikeJSON(body []byte) bool {
	body = bytes.TrimLeft(body, "\xef\xbb\xbf\xfe\xff\x00 \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}
