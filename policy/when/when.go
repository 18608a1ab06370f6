package when

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// An Outcome is what a condition says of a request.
type Outcome uint8

const (
	Unknown Outcome = iota // the zero value: it cannot be told
	False
	True
)

func (o Outcome) String() string {
	switch o {
	case False:
		return "false"
	case True:
		return "true"
	}
	return "unknown"
}

// A Condition is a compiled expression. It never changes, and is safe for use
// by many goroutines. The zero Condition is Unknown of everything.
type Condition struct {
	program   cel.Program
	needsBody bool
	needsPath bool
}

// maxExpr bounds an expression, in bytes.
const maxExpr = 4096

// Compile reads and type-checks an expression. Its errors are for the person
// who wrote it: they say where it is wrong, and what there is instead.
func Compile(expr string) (*Condition, error) {
	if len(expr) > maxExpr {
		return nil, fmt.Errorf("a condition has at most %d bytes, not %d", maxExpr, len(expr))
	}
	if strings.TrimSpace(expr) == "" {
		return nil, errors.New("a condition may not be empty")
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	checked, issues := env.Compile(expr)
	if issues.Err() != nil {
		return nil, explain(expr, issues.Errors())
	}
	if err := check(expr, checked.NativeRep()); err != nil {
		return nil, err
	}
	program, err := env.Program(checked, programOptions()...)
	if err != nil {
		return nil, err
	}
	tree := checked.NativeRep()
	return &Condition{program, refersTo(tree, isBody), refersTo(tree, func(name string) bool { return name == "path" })}, nil
}

// NeedsBody says whether the expression looks at what the body says. Without
// one such a condition may still have an answer: ask first.
func (c *Condition) NeedsBody() bool { return c.needsBody }

// NeedsPath says whether the expression looks at the path.
func (c *Condition) NeedsPath() bool { return c.needsPath }

// Eval asks the condition about a request.
func (c *Condition) Eval(in *Input) Outcome {
	if c == nil || c.program == nil || in == nil {
		return Unknown
	}
	out, _, err := c.program.Eval((*activation)(in))
	if err != nil {
		return Unknown // which field is missing would be the agent's own to know
	}
	switch out {
	case types.True:
		return True
	case types.False:
		return False
	}
	return Unknown
}

// refersTo says whether any name in the tree is one that counts. A name that a
// macro binds and that is spelled alike does too.
func refersTo(tree *ast.AST, counts func(name string) bool) bool {
	for _, ref := range tree.ReferenceMap() {
		if counts(ref.Name) {
			return true
		}
	}
	return false
}

// isBody says whether a variable is made of the body.
func isBody(name string) bool { return name == "json" || strings.HasPrefix(name, "graphql.") }
