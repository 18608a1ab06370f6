package when

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"agentvault/policy/media"
)

// bodyFault says why the body cannot be looked at, if so.
func (a *activation) bodyFault() error {
	switch a.BodyState {
	case BodyWhole:
		return nil
	case BodyTooLong:
		return BodyLong
	case BodyCoded:
		return BodyUndecoded
	}
	return BodyNotRead
}

// readJSON reads the body if its Content-Type says that it is JSON. One that
// only looks like it may be a form to the upstream.
func (a *activation) readJSON() ref.Val {
	if err := a.bodyFault(); err != nil {
		return types.WrapErr(err)
	}
	switch said := media.Of(a.Header); {
	case said.Kind == media.Unnamed:
		return types.WrapErr(TypeMissing)
	case said.Kind != media.JSON || said.Charset:
		return types.WrapErr(TypeOther)
	}
	v, err := a.parsed()
	if err != nil {
		return types.WrapErr(err)
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
