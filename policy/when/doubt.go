package when

import (
	"errors"

	"cel.dev/cel-go/interpreter"
	"github.com/go-json-experiment/json/jsontext"
)

// A Doubt is why a condition cannot be told of a request. It repeats nothing of the
// request, nor of the condition. As an error it is its Words.
type Doubt uint8

const (
	NoDoubt        Doubt = iota // the zero value: it can be told
	BodyNotRead                 // nobody has looked at the body
	BodyLong                    // see BodyTooLong
	BodyUndecoded               // see BodyCoded
	TypeMissing                 // there is no Content-Type
	TypeOther                   // Content-Type says another thing than JSON in UTF-8, or none clearly
	BodyNoJSON                  // it cannot be read as JSON
	BodyTwins                   // a name stands there twice, or twice but for letter case
	BodyLarge                   // nested too deeply, or of too many values
	QueryTwoWays                // the query can be read in two ways
	GraphQLUnclear              // what is asked of a GraphQL server
	ValueUnfit                  // what is looked at is missing, or of another type
	TooCostly                   // to evaluate
	NotRecorded                 // see Input.Recorded
)

var doubtWords = [...]struct{ name, words string }{
	NoDoubt:        {"none", "nothing is in doubt"},
	BodyNotRead:    {"body_not_read", "its body was not looked at"},
	BodyLong:       {"body_too_long", "its body is longer than 1 MiB, so that it was not looked at"},
	BodyUndecoded:  {"body_coded", "its body is coded (Content-Encoding), so that it was not looked at"},
	TypeMissing:    {"content_type_missing", "it has no Content-Type, so that its body was not looked at; send Content-Type: application/json"},
	TypeOther:      {"content_type_other", "its Content-Type does not say JSON in UTF-8, so that its body was not looked at"},
	BodyNoJSON:     {"body_not_json", "its body cannot be read as JSON"},
	BodyTwins:      {"body_names_twice", "a name stands twice in its body, or twice but for letter case"},
	BodyLarge:      {"body_too_deep", "its body is nested too deeply, or has too many values"},
	QueryTwoWays:   {"query_ambiguous", "its query can be read in two ways"},
	GraphQLUnclear: {"graphql_unclear", "what it asks of a GraphQL server cannot be told"},
	ValueUnfit:     {"value_unfit", "what a condition looks at is missing in it, or of another type"},
	TooCostly:      {"too_costly", "holding it against a condition takes too long"},
	NotRecorded:    {"not_recorded", "what a condition looks at is not recorded of it"},
}

// String is a name for programs.
func (d Doubt) String() string {
	if int(d) < len(doubtWords) {
		return doubtWords[d].name
	}
	return "unknown"
}

// Words say it of "the request", for people and agents.
func (d Doubt) Words() string {
	if int(d) < len(doubtWords) {
		return doubtWords[d].words
	}
	return d.String()
}

// Error implements error.
func (d Doubt) Error() string { return d.Words() }

// Doubt is why Eval is Unknown; NoDoubt where it is not. It evaluates anew.
func (c *Condition) Doubt(in *Input) Doubt {
	if c == nil || c.program == nil || in == nil {
		return NoDoubt
	}
	_, _, err := c.program.Eval((*activation)(in))
	var d Doubt
	var cancelled interpreter.EvalCancelledError
	switch {
	case err == nil:
		return NoDoubt
	case errors.As(err, &d):
		return d
	case errors.As(err, &cancelled):
		return TooCostly
	}
	return ValueUnfit
}

// doubtOfJSON is why a body cannot be read as JSON.
func doubtOfJSON(err error) error {
	var d Doubt
	switch {
	case err == nil, errors.As(err, &d):
		return err
	case errors.Is(err, jsontext.ErrDuplicateName):
		return BodyTwins
	}
	return BodyNoJSON
}
