package when

import (
	"bytes"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxDepth  = 64      // of objects and arrays in each other
	maxValues = 100_000 // of one body

	// maxDouble is where doubles begin to leave out whole numbers.
	maxDouble = 1 << 53
)

// parseJSON reads one value as strictly as RFC 8259 and I-JSON have it: no
// names twice, UTF-8 alone, nothing before or behind. The error is a Doubt.
func parseJSON(body []byte) (ref.Val, error) {
	r := reader{dec: jsontext.NewDecoder(bytes.NewReader(body))}
	v, err := r.value(0)
	if err != nil {
		return nil, doubtOfJSON(err)
	}
	if _, err := r.dec.ReadToken(); err != io.EOF {
		return nil, BodyNoJSON
	}
	return v, nil
}

type reader struct {
	dec    *jsontext.Decoder
	values int
}

func (r *reader) value(depth int) (ref.Val, error) {
	if r.values++; r.values > maxValues {
		return nil, BodyLarge
	}
	tok, err := r.dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case 'n':
		return types.NullValue, nil
	case 't', 'f':
		return types.Bool(tok.Bool()), nil
	case '"':
		return types.String(tok.String()), nil
	case '0':
		return number(tok.String())
	}
	if depth == maxDepth {
		return nil, BodyLarge
	}
	if tok.Kind() == '{' {
		return r.object(depth + 1)
	}
	return r.array(depth + 1)
}

func (r *reader) object(depth int) (ref.Val, error) {
	m := make(map[string]any)
	folded := make(map[string]bool)
	for r.dec.PeekKind() != '}' {
		name, err := r.dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		if f := fold(key); folded[f] {
			return nil, BodyTwins
		} else {
			folded[f] = true
		}
		if m[key], err = r.value(depth); err != nil {
			return nil, err
		}
	}
	_, err := r.dec.ReadToken()
	return types.NewStringInterfaceMap(types.DefaultTypeAdapter, m), err
}

func (r *reader) array(depth int) (ref.Val, error) {
	var list []ref.Val
	for r.dec.PeekKind() != ']' {
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := r.dec.ReadToken()
	return types.NewRefValList(types.DefaultTypeAdapter, list), err
}

// fold returns what names have in common that readers who overlook letter
// case take for the same, encoding/json among them.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case r < 0x80:
			return r
		}
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, name)
}

// number returns a number exactly as it was written, or an opaque value: an
// Int or Uint where it has no fraction, a Double where one stands for this
// decimal and no other.
func number(raw string) (ref.Val, error) {
	d, err := parseDecimal(raw)
	if err != nil {
		return nil, err
	}
	whole := !strings.ContainsAny(raw, ".eE")
	if text, ok := d.integer(); ok {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			if whole || n < -maxDouble || n > maxDouble {
				return types.Int(n), nil
			}
			return types.Double(n), nil
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return types.Uint(n), nil
		}
		return inexact(d), nil
	}
	f, err := strconv.ParseFloat(raw, 64)
	if err != nil || math.Abs(f) >= maxDouble {
		return inexact(d), nil
	}
	if back, err := parseDecimal(strconv.FormatFloat(f, 'e', -1, 64)); err != nil || back != d {
		return inexact(d), nil
	}
	return types.Double(f), nil
}
