package when

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// A decimal is a number as text: digits × 10^exp, without zeros at either end
// of the digits, so that two are equal when their numbers are.
type decimal struct {
	negative bool
	digits   string // "" is zero
	exp      int
}

// parseDecimal reads a number of JSON's grammar.
func parseDecimal(raw string) (decimal, error) {
	var d decimal
	raw, d.negative = strings.CutPrefix(raw, "-")
	mantissa, exp := raw, ""
	if i := strings.IndexAny(raw, "eE"); i >= 0 {
		mantissa, exp = raw[:i], raw[i+1:]
	}
	if exp != "" {
		var err error
		if d.exp, err = strconv.Atoi(exp); err != nil || d.exp > 1e9 || d.exp < -1e9 {
			return decimal{}, fmt.Errorf("exponent %s is beyond what is read", exp)
		}
	}
	integer, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(integer+fraction, "0")
	d.digits = strings.TrimRight(digits, "0")
	d.exp += len(digits) - len(d.digits) - len(fraction)
	if d.digits == "" {
		return decimal{}, nil
	}
	return d, nil
}

// integer spells a whole number that may have a place in 64 bits.
func (d decimal) integer() (string, bool) {
	if d.digits == "" {
		return "0", true
	}
	if d.exp < 0 || len(d.digits)+d.exp > 20 {
		return "", false
	}
	sign := ""
	if d.negative {
		sign = "-"
	}
	return sign + d.digits + strings.Repeat("0", d.exp), true
}

// An inexact is a number that neither 64 bits nor a double hold. It equals
// itself; to compare it otherwise, or to calculate with it, is an error.
type inexact decimal

var inexactType = types.NewOpaqueType("number_beyond_64_bits")

func (n inexact) ConvertToNative(reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s", inexactType)
}

func (n inexact) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return inexactType
	}
	return types.NewErr("%s", inexactType)
}

func (n inexact) Equal(other ref.Val) ref.Val {
	o, ok := other.(inexact)
	return types.Bool(ok && n == o)
}
func (n inexact) Type() ref.Type { return inexactType }
func (n inexact) Value() any     { return n }
