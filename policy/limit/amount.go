package limit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Scale is how many of what amounts are counted in make one.
const Scale = 1_000_000

const (
	scaleDigits = 6
	maxDigits   = 15 // all of them are told apart by readers with binary floating point
)

// MaxAmount is larger than every amount, in millionths.
const MaxAmount = 1_000_000_000_000 * Scale

const noAmount = "it is not a plain decimal number of at most 15 digits, 6 of them behind the point, without sign and exponent"

var errAmount = errors.New(noAmount)

// ParseAmount reads a decimal number, exactly: digits, and perhaps a point and
// more digits. It returns millionths.
func ParseAmount(s string) (int64, error) {
	whole, fraction, pointed := strings.Cut(s, ".")
	if whole == "" || pointed && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" || len(whole) > 1 && whole[0] == '0' {
		return 0, errAmount
	}
	fraction = strings.TrimRight(fraction, "0")
	if len(s) > 64 || len(fraction) > scaleDigits || len(whole) > maxDigits-3 || len(strings.TrimLeft(whole+fraction, "0")) > maxDigits {
		return 0, errAmount
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", scaleDigits-len(fraction)), 10, 64)
	if err != nil {
		return 0, errAmount
	}
	return n, nil
}

// FormatAmount spells an amount of millionths, with at least two digits behind
// the point.
func FormatAmount(n int64) string {
	s := fmt.Sprintf("%d.%06d", n/Scale, n%Scale)
	for strings.HasSuffix(s, "0") && len(s)-strings.IndexByte(s, '.') > 3 {
		s = s[:len(s)-1]
	}
	return s
}

// An AmountError says why no amount can be read from a body. The reason is for
// whoever sent it, and repeats nothing of it.
type AmountError struct{ Reason string }

func (e *AmountError) Error() string { return e.Reason }

// ReadAmount reads the amount that stands in a field of a body of JSON. What readers could understand in different ways
// is refused: names that stand there twice, or once more in other letter case.
func ReadAmount(body []byte, field []string) (int64, *AmountError) {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return 0, &AmountError{"there is no body"}
	case !utf8.Valid(body) || !json.Valid(body):
		return 0, &AmountError{"the body is not JSON"}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	spelled := strings.Join(field, ".")
	for i, name := range field {
		within := strings.Join(field[:i], ".")
		if within == "" {
			within = "the body"
		}
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return 0, &AmountError{within + " is not an object"}
		}
		value, unclear := member(d, name)
		if unclear != nil {
			return 0, &AmountError{spelled + ": " + unclear.Reason}
		}
		d = json.NewDecoder(bytes.NewReader(value))
		d.UseNumber()
	}
	t, err := d.Token()
	n, ok := t.(json.Number)
	if err != nil || !ok {
		return 0, &AmountError{spelled + ": it is not a number"}
	}
	amount, err := ParseAmount(n.String())
	if err != nil {
		return 0, &AmountError{spelled + ": " + noAmount}
	}
	return amount, nil
}

// member reads the rest of an object and returns the value of one name.
func member(d *json.Decoder, name string) (found json.RawMessage, unclear *AmountError) {
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, &AmountError{"the body is not JSON"}
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, &AmountError{"the body is not JSON, or nested too deep"}
		}
		read, _, _ := strings.Cut(key, "\x00") // where some readers end
		switch {
		case !strings.EqualFold(strings.TrimSpace(read), name):
			continue
		case key != name:
			return nil, &AmountError{"a name that some readers take for it stands there too"}
		case found != nil:
			return nil, &AmountError{"it stands there twice"}
		}
		found = value
	}
	if found == nil {
		return nil, &AmountError{"it is missing"}
	}
	return found, nil
}
