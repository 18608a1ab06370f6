package when

import (
	"errors"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"agentvault/policy/media"
)

var (
	errUnread   = errors.New("the body was not read")
	errTooLong  = errors.New("the body is too long")
	errCoded    = errors.New("the body is coded")
	errNoJSON   = errors.New("the body is not said to be JSON in UTF-8")
	errBadJSON  = errors.New("the body cannot be read as JSON")
	errTwoWays  = errors.New("the query has more than one reading")
	errTrailing = errors.New("something comes behind the value")
)

// bodyFault says why the body cannot be looked at, if so.
func (a *activation) bodyFault() error {
	switch a.BodyState {
	case BodyWhole:
		return nil
	case BodyTooLong:
		return errTooLong
	case BodyCoded:
		return errCoded
	}
	return errUnread
}

// readJSON reads the body if its Content-Type says that it is JSON. One that
// only looks like it may be a form to the upstream.
func (a *activation) readJSON() ref.Val {
	if err := a.bodyFault(); err != nil {
		return types.WrapErr(err)
	}
	if said := media.Of(a.Header); said.Kind != media.JSON || said.Charset {
		return types.WrapErr(errNoJSON)
	}
	v, err := a.parsed()
	if err != nil {
		return types.WrapErr(errBadJSON)
	}
	return v
}

// parsed reads the body as JSON, once. The mutex is held.
func (a *activation) parsed() (ref.Val, error) {
	if a.tree == nil && a.treeErr == nil {
		a.tree, a.treeErr = parseJSON(a.Body)
	}
	return a.tree, a.treeErr
}
