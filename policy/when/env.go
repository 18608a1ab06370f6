package when

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// maxCost bounds one evaluation, in CEL's units: about one for a comparison,
// one for each step of a macro and one for ten bytes of a text.
const maxCost = 100_000

// variables are the names that a condition may use.
const variables = "method, path, query, headers, json, graphql.type, graphql.name, graphql.fields, agent and now"

// environment is made once, and never changes.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	lists := cel.MapType(cel.StringType, cel.ListType(cel.StringType))
	return cel.NewEnv(
		cel.Variable("method", cel.StringType),
		cel.Variable("path", cel.StringType),
		cel.Variable("query", lists),
		cel.Variable("headers", lists),
		cel.Variable("json", cel.DynType),
		cel.Variable("graphql.type", cel.StringType),
		cel.Variable("graphql.name", cel.StringType),
		cel.Variable("graphql.fields", cel.ListType(cel.StringType)),
		cel.Variable("agent", cel.StringType),
		cel.Variable("now", cel.TimestampType),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(64),
		cel.ExpressionNodeLimit(2000),
		cel.ParserErrorRecoveryLimit(1),
	)
})

func programOptions(*ast.AST) []cel.ProgramOption {
	return []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost)}
}

// explain returns the first of the errors that CEL found.
func explain(_ string, found []*common.Error) error {
	first := found[0]
	return fmt.Errorf("line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
}

// checkTree refuses what type-checks and yet cannot work.
func checkTree(tree *ast.AST) error {
	if t := tree.GetType(tree.Expr().ID()); t != types.BoolType {
		return fmt.Errorf("the condition gives %s; it must be true or false", cel.FormatCELType(t))
	}
	var err error
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.LiteralKind {
			return
		}
		if d, ok := e.AsLiteral().(types.Double); ok && math.Abs(float64(d)) >= maxDouble {
			err = errors.New("numbers of 9007199254740992 and more are written without a fraction")
		}
	}))
	return err
}
