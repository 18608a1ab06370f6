package when

import (
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxCost bounds one evaluation, in CEL's units: about one for a comparison,
// a few for each step of a macro and one for ten bytes of a text. It is some
// milliseconds.
const maxCost = 100_000

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
		cel.ParserErrorRecoveryLimit(1),
		cel.ExpressionNodeLimit(2000),
		cel.RegexProgramSizeLimit(2000),
		cel.ASTValidators(
			cel.ValidateRegexLiterals(),
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(),
			cel.ValidateComprehensionNestingLimit(3),
		),
	)
})

func programOptions() []cel.ProgramOption {
	return []cel.ProgramOption{
		cel.EvalOptions(cel.OptOptimize),
		cel.OptimizeRegex(zones()...),
		cel.CostLimit(maxCost),
		cel.CostTracking(depthCost{}),
	}
}

// depthCost charges for comparing lists and maps what they hold at any depth;
// CEL by itself counts their first level.
type depthCost struct{}

func (depthCost) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	switch function {
	case operators.Equals, operators.NotEquals:
	case operators.In:
		if _, ok := args[1].(traits.Mapper); ok {
			return nil // one look-up
		}
	default:
		return nil
	}
	var deep bool
	var n uint64
	for _, v := range args {
		switch v.(type) {
		case traits.Lister, traits.Mapper:
			deep = true
		}
		n += weight(v)
	}
	if !deep {
		return nil
	}
	return &n
}

// weight counts the values in a value, and a text's bytes by the ten.
func weight(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return 1 + uint64(len(v))/10
	case traits.Lister:
		n := uint64(1)
		for it := v.Iterator(); it.HasNext() == types.True; {
			n += weight(it.Next())
		}
		return n
	case traits.Mapper:
		n := uint64(1)
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			n += weight(key) + weight(v.Get(key))
		}
		return n
	}
	return 1
}
