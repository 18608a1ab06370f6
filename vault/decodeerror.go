package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"agentvault/policy/inject"
)

// decodeError says, with its name and the place, why a service could not be decoded.
func decodeError(service []byte, err error) error {
	var named struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(service, &named) // one that cannot be read has no name to tell
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("service %q: it has no field %s", named.Name, field)
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && strings.TrimPrefix(wrong.Field, "Switches.") == "scrub" {
		return fmt.Errorf("service %q: scrub: it is \"on\" or \"off\", not a %s", named.Name, wrong.Value)
	}
	type plain Service // without its method
	var placed *strict.SemanticError
	if !errors.As(strict.Unmarshal(service, new(plain)), &placed) { // it knows the place, and is else as strict
		return fmt.Errorf("service %q: %w", named.Name, err)
	}
	place := placeOf(placed.JSONPointer)
	switch {
	case placed.GoType == reflect.TypeFor[time.Time]():
		return fmt.Errorf("service %q: %s: it is a time like 2026-01-02T15:04:05Z; a date alone is none", named.Name, place)
	case placed.Err != nil:
		return fmt.Errorf("service %q: %w", named.Name, err)
	}
	hint := ""
	if placed.JSONPointer.LastToken() == "budget" {
		hint = `; an amount stands in quotes, as in "500.00"`
	}
	return fmt.Errorf("service %q: %s: it must be %s, not %s%s", named.Name, place, inject.TypeWords(placed.GoType), kindWords(placed.JSONKind), hint)
}

// placeOf writes a pointer as people do: rules[0].paths.
func placeOf(p jsontext.Pointer) string {
	var b strings.Builder
	for name := range p.Tokens() {
		switch {
		case strings.Trim(name, "0123456789") == "":
			b.WriteString("[" + name + "]")
			continue
		case b.Len() > 0:
			b.WriteByte('.')
		}
		b.WriteString(name)
	}
	return b.String()
}

func kindWords(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	}
	return "a list"
}
