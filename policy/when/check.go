package when

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// variables are the names that a condition may use, as people are told.
const variables = "method, path, query, headers, json, graphql.type, graphql.name, graphql.fields, agent and now"

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	overload   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	unread     = regexp.MustCompile(`(?s)^(?:token recognition error at: |mismatched input |extraneous input |no viable alternative at input )'(.*?)'(?: expecting .*)?$`)
)

// explain tells people of the first error that CEL found: where it is, and in
// their words what it is.
func explain(expr string, found []*common.Error) error {
	first := found[0]
	for _, e := range found { // not one that follows from others
		if !strings.Contains(e.Message, "!error!") {
			first = e
			break
		}
	}
	if m := undeclared.FindStringSubmatch(first.Message); m != nil && isCall(expr, first.Location) {
		return fmt.Errorf("%s%s", place(expr, first.Location), noFunction(m[1]))
	}
	return fmt.Errorf("%s%s", place(expr, first.Location), inWords(first.Message))
}

// isCall reports whether a call's parenthesis stands at a place: CEL puts there that
// there is no such function.
func isCall(expr string, at common.Location) bool {
	lines := strings.Split(expr, "\n")
	if at.Line() < 1 || at.Line() > len(lines) {
		return false
	}
	line := []rune(lines[at.Line()-1])
	return at.Column() >= 0 && at.Column() < len(line) && line[at.Column()] == '('
}

func noFunction(name string) string {
	switch name {
	case "all", "exists", "exists_one", "filter", "map":
		return name + " takes a name and what is asked of it, as in json.items." + name + "(i, i.price > 10.0)"
	}
	return fmt.Sprintf("there is no function %s; there are size, startsWith, endsWith, contains, matches, all, exists, and of times getHours and its like", name)
}

// place counts columns in characters, from one.
func place(expr string, at common.Location) string {
	switch {
	case at.Column() < 0:
		return ""
	case strings.Contains(strings.TrimSpace(expr), "\n"):
		return fmt.Sprintf("line %d, column %d: ", at.Line(), at.Column()+1)
	}
	return fmt.Sprintf("column %d: ", at.Column()+1)
}

func inWords(message string) string {
	message = strings.TrimPrefix(message, "Syntax error: ")
	if m := undeclared.FindStringSubmatch(message); m != nil {
		switch m[1] {
		case "graphql":
			return "graphql has type, name and fields, and is nothing by itself"
		case "body", "request", "req":
			return fmt.Sprintf("there is no %s; a body is json or graphql", m[1])
		}
		return fmt.Sprintf("there is no %s; there are %s", m[1], variables)
	}
	if m := overload.FindStringSubmatch(message); m != nil {
		return noOverload(m[1], m[2])
	}
	if m := unread.FindStringSubmatch(message); m != nil {
		return notUnderstood(m[1])
	}
	switch {
	case message == "invalid matches argument":
		return "the pattern is no regular expression (RE2), or too large a one"
	case message == "invalid timestamp argument":
		return "a timestamp is written like 2026-11-27T12:00:00Z"
	case message == "invalid duration argument":
		return "a duration is written like 90s or 1h30m"
	case message == "comprehension exceeds nesting limit":
		return "macros such as all and exists stand in each other no more than three deep"
	case message == "invalid argument to has() macro":
		return "has takes a field of something, as in has(json.amount)"
	case strings.HasPrefix(message, "expression recursion limit exceeded"), message == "max recursion depth exceeded":
		return "the condition is nested too deeply"
	}
	return message
}

func noOverload(function, types string) string {
	if symbol, ok := operators.FindReverse(function); ok && symbol != "" {
		function = symbol
	}
	hint := ""
	if types == "(list(string), string)" {
		hint = `; a parameter or field is a list of its values, as in query.limit == ["10"]`
	}
	return fmt.Sprintf("%s does not go with %s%s", function, types, hint)
}

func notUnderstood(text string) string {
	switch text = strings.TrimSpace(text); {
	case text == "<EOF>":
		return "something is missing at the end"
	case strings.HasPrefix(text, "="):
		return "compare with ==, not ="
	case strings.HasPrefix(text, "&"), strings.HasPrefix(text, "|"), text == "and", text == "or", text == "AND", text == "OR":
		return "and is &&, or is ||"
	case strings.HasPrefix(text, "'"), strings.HasPrefix(text, `"`):
		return "the text has no end"
	}
	return fmt.Sprintf("%q is not understood here", text)
}

// check refuses what type-checks and yet cannot work, or can be fooled.
func check(expr string, tree *ast.AST) error {
	if t := tree.GetType(tree.Expr().ID()); t == types.DynType {
		return errors.New("the condition gives whatever the request says; compare it with something, as in json.ok == true")
	} else if t != types.BoolType {
		return fmt.Errorf("the condition gives a value of type %s; it must be true or false", cel.FormatCELType(t))
	}
	var err error
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if err != nil {
			return
		}
		if fault := checkExpr(e); fault != nil {
			err = fmt.Errorf("%s%w", place(expr, tree.SourceInfo().GetStartLocation(e.ID())), fault)
		}
	}))
	return err
}

func checkExpr(e ast.Expr) error {
	switch e.Kind() {
	case ast.LiteralKind:
		if d, ok := e.AsLiteral().(types.Double); ok && math.Abs(float64(d)) >= maxDouble {
			return errors.New("from 9007199254740992 on, numbers are written without a fraction, which would round them")
		}
	case ast.CallKind:
		call := e.AsCall()
		switch {
		case call.FunctionName() == "matches" && (len(call.Args()) == 0 || !isText(call.Args()[len(call.Args())-1])):
			return errors.New("the pattern of matches is a text in quotes")
		case slices.Contains(clock[:], call.FunctionName()) && len(call.Args()) == 1:
			if !isText(call.Args()[0]) {
				return errors.New("a time zone is a text in quotes")
			}
			return checkZone(string(call.Args()[0].AsLiteral().(types.String)))
		}
	}
	return nil
}

func isText(e ast.Expr) bool {
	if e.Kind() != ast.LiteralKind {
		return false
	}
	_, ok := e.AsLiteral().(types.String)
	return ok
}
