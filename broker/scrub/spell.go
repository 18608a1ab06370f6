package scrub

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// MinLength is the shortest value that is looked for, in bytes: a shorter one
// would be found by chance.
const MinLength = 8

// spellings returns a value's patterns: the bytes that it is looked for by. Hex
// is not among them, since its letters are of either case, nor what percent,
// JSON and HTML escapes make of them: see table and escape.go.
func spellings(value []byte) (patterns [][]byte) {
	patterns = append(patterns, bytes.Clone(value))
	if bytes.IndexByte(value, ' ') >= 0 { // a form's spelling of a space
		patterns = append(patterns, bytes.ReplaceAll(value, []byte{' '}, []byte{'+'}))
	}
	for shift := range 3 {
		padded := append(make([]byte, shift, shift+len(value)), value...)
		// Characters that mix in bits of a neighbour are left out at both ends.
		from, to := (shift*8+5)/6, (shift+len(value))*8/6
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := []byte(enc.EncodeToString(padded)[from:to])
			// A line may end behind any of the first few; see follow.
			for i := range headLen {
				patterns = append(patterns, text[i:])
			}
		}
	}
	units := wide(value)
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		var text []byte
		for _, u := range units {
			text = order.AppendUint16(text, u)
		}
		patterns = append(patterns, text)
	}
	return patterns
}

// wide is a value in UTF-16. What is not UTF-8 is taken for Latin-1.
func wide(value []byte) []uint16 {
	if utf8.Valid(value) {
		return utf16.Encode([]rune(string(value)))
	}
	units := make([]uint16, len(value))
	for i, b := range value {
		units[i] = uint16(b)
	}
	return units
}
