package when

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // a zone that one machine knows must not be unknown on another

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// clock are the functions of a timestamp that take a time zone.
var clock = [...]string{
	"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear",
	"getHours", "getMinutes", "getSeconds", "getMilliseconds",
}

// zones makes the functions of a timestamp look their zone up when they are
// compiled; CEL's own read its file each time. What CEL has for the patterns of
// regular expressions fits any text that stands in the expression.
func zones() []*interpreter.RegexOptimization {
	all := make([]*interpreter.RegexOptimization, len(clock))
	for i, function := range clock {
		all[i] = &interpreter.RegexOptimization{Function: function, RegexIndex: 1, Factory: inZone}
	}
	return all
}

func inZone(call interpreter.InterpretableCall, zone string) (interpreter.InterpretableCall, error) {
	if strings.Contains(zone, ":") {
		return call, nil // an offset, which CEL reads by itself
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, err
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(values ...ref.Val) ref.Val {
		t, ok := values[0].(types.Timestamp)
		if !ok {
			return types.NoSuchOverloadErr()
		}
		return types.Timestamp{Time: t.In(loc)}.Receive(call.Function(), "", nil)
	}), nil
}

var offset = regexp.MustCompile(`^[+-]([01][0-9]|2[0-3]):[0-5][0-9]$`)

// checkZone refuses a name that is none, or that means another zone on each
// machine.
func checkZone(zone string) error {
	if offset.MatchString(zone) {
		return nil
	}
	if _, err := time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
		return fmt.Errorf("there is no time zone %q; they are named like Europe/Berlin or +02:00", zone)
	}
	return nil
}
