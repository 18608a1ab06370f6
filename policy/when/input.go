package when

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// A BodyState says what is known of a request's body.
type BodyState uint8

const (
	BodyUnread  BodyState = iota // the zero value: nobody has looked
	BodyWhole                    // Body is all of it
	BodyTooLong                  // it is longer than what is read for a condition
	BodyCoded                    // it has a Content-Encoding that was not undone
)

// An Input is a request as conditions see it. What is read of it is kept, so
// its fields may not be changed once it was asked about: make a new one for a
// body that was read since. It is safe for use by many goroutines, and must
// not be copied.
type Input struct {
	Method    string              // upper case, as it goes upstream
	Path      string              // escaped, as it goes upstream
	RawQuery  string              // without the "?"
	Agent     string              // the agent's name; "" for a session without one
	Header    map[string][]string // in any letter case
	Now       int64               // Unix time in nanoseconds
	Body      []byte              // of BodyWhole
	BodyState BodyState

	// Recorded says that nothing is known but Method and Path: the rest was not
	// recorded, and cannot be told.
	Recorded bool

	mu      sync.Mutex
	query   ref.Val // nil until it is asked for, like the rest
	headers ref.Val
	json    ref.Val
	graphql *operation
	tree    ref.Val // the body, parsed, whatever it is said to be
	treeErr error
}

// An activation is an Input as CEL asks for its variables. A variable that
// cannot be told is an error, which && and || absorb where the other side
// decides.
type activation Input

func (a *activation) Parent() cel.Activation { return nil }

func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "method":
		return types.String(a.Method), true
	case "path":
		return types.String(a.Path), true
	}
	v, known := a.resolveOther(name)
	if known && a.Recorded {
		return types.WrapErr(NotRecorded), true
	}
	return v, known
}

func (a *activation) resolveOther(name string) (any, bool) {
	switch name {
	case "agent":
		return types.String(a.Agent), true
	case "now":
		return types.Timestamp{Time: time.Unix(0, a.Now).UTC()}, true
	case "query":
		return a.once(&a.query, a.readQuery), true
	case "headers":
		return a.once(&a.headers, a.readHeaders), true
	case "json":
		return a.once(&a.json, a.readJSON), true
	case "graphql.type":
		return a.readGraphQL().typ, true
	case "graphql.name":
		return a.readGraphQL().name, true
	case "graphql.fields":
		return a.readGraphQL().fields, true
	}
	return nil, false
}

func (a *activation) once(kept *ref.Val, read func() ref.Val) ref.Val {
	a.mu.Lock()
	defer a.mu.Unlock()
	if *kept == nil {
		*kept = read()
	}
	return *kept
}

// readQuery returns the parameters, each with its values in their order.
func (a *activation) readQuery() ref.Val {
	values, err := url.ParseQuery(a.RawQuery)
	if err != nil {
		return types.WrapErr(QueryTwoWays)
	}
	m := make(map[string]any, len(values))
	for name, list := range values {
		m[name] = list
	}
	return types.NewStringInterfaceMap(types.DefaultTypeAdapter, m)
}

// readHeaders returns the fields under their names in lower case. Fields of
// the same name in different letter case are one.
func (a *activation) readHeaders() ref.Val {
	m := make(map[string]any, len(a.Header))
	for name, values := range a.Header {
		name = strings.ToLower(name)
		if withheld(name) {
			continue
		}
		if more, ok := m[name]; ok {
			values = slices.Concat(more.([]string), values)
			slices.Sort(values) // the order in the map of fields is by chance
		}
		m[name] = values
	}
	return types.NewStringInterfaceMap(types.DefaultTypeAdapter, m)
}

// withheld says of a field's name in lower case whether it carries what proves
// who sends it.
func withheld(name string) bool {
	return name == "authorization" || name == "cookie" || strings.HasPrefix(name, "proxy-") || strings.HasPrefix(name, "proxy_")
}
