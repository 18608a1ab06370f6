package when

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// An operation is what a request asks of a GraphQL server.
type operation struct{ typ, name, fields ref.Val }

func (a *activation) readGraphQL() *operation {
	err := types.NewErr("not read yet")
	return &operation{err, err, err}
}
