package when

import (
	"net/url"
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

	mu      sync.Mutex
	query   ref.Val // nil until it is asked for, like the rest
	headers ref.Val
	json    ref.Val
	graphql *operation
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

func (a *activation) readQuery() ref.Val {
	values, err := url.ParseQuery(a.RawQuery)
	if err != nil {
		return types.NewErr("the query has more than one reading")
	}
	return types.DefaultTypeAdapter.NativeToValue(map[string][]string(values))
}

// readHeaders returns the fields under their names in lower case. Fields of
// the same name in different letter case are one.
func (a *activation) readHeaders() ref.Val {
	m := make(map[string][]string, len(a.Header))
	for name, values := range a.Header {
		name = strings.ToLower(name)
		if !withheld(name) {
			m[name] = append(m[name], values...)
		}
	}
	return types.DefaultTypeAdapter.NativeToValue(m)
}

// withheld says of a field's name in lower case whether it carries what proves
// who sends it. Upstreams read underscores as hyphens.
func withheld(name string) bool {
	name = strings.ReplaceAll(name, "_", "-")
	return name == "authorization" || name == "cookie" || strings.HasPrefix(name, "proxy-")
}
