package scrub

import (
	"bytes"
	"html"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A syntax is a set of ways in which a text may be escaped.
type syntax uint8

const (
	percent   syntax = 1 << iota // RFC 3986 §2.1: %XX
	slashed                      // RFC 8259 §7, and what JavaScript adds: \n, \/, \u0041, \x41
	entities                     // HTML: &amp; &#65; &#x41;
	lines                        // RFC 2045 §6.8: base64 is broken into lines
	anySyntax = percent | slashed | entities | lines
)

// syntaxOf is the syntax that a byte begins an escape in, or 0.
func syntaxOf(c byte) syntax {
	switch c {
	case '%':
		return percent
	case '\\':
		return slashed
	case '&':
		return entities
	case '\r', '\n':
		return lines
	}
	return 0
}

// A unit is what some bytes of a text stand for.
type unit struct {
	text [8]byte
	n    int // bytes of text
	size int // bytes that were read; 0: there may be more to the escape than b has
}

// isBreak reports whether the unit is a line break, or a half of one.
func (u unit) isBreak() bool { return u.n == 1 && (u.text[0] == '\n' || u.text[0] == '\r') }

func literal(c byte) unit { return unit{text: [8]byte{c}, n: 1, size: 1} }

func character(r rune, size int) unit {
	u := unit{size: size}
	u.n = utf8.EncodeRune(u.text[:], r)
	return u
}

// read reads one unit of b, which is not empty. What is no escape stands for
// itself. With final, b ends where the text does.
func read(b []byte, syn syntax, final bool) unit {
	var u unit
	switch kind := syntaxOf(b[0]); {
	case kind&syn == 0:
		return literal(b[0])
	case kind == percent:
		u = readPercent(b)
	case kind == slashed:
		u = readSlashed(b, final)
	case kind == entities:
		u = readEntity(b, final)
	default:
		return literal(b[0])
	}
	if u.size == 0 && final {
		return literal(b[0])
	}
	return u
}

func readPercent(b []byte) unit {
	if len(b) < 3 {
		if len(b) == 2 && !isHex(b[1]) {
			return literal('%')
		}
		return unit{}
	}
	if !isHex(b[1]) || !isHex(b[2]) {
		return literal('%')
	}
	return unit{text: [8]byte{hexValue(b[1])<<4 | hexValue(b[2])}, n: 1, size: 3}
}

func readSlashed(b []byte, final bool) unit {
	if len(b) < 2 {
		return unit{}
	}
	switch c := b[1]; c {
	case 'u':
		r, size := readHexRune(b, 4)
		if size == 6 && utf16.IsSurrogate(r) {
			return readPair(b, r, final)
		}
		return escaped(b, r, size)
	case 'x':
		r, size := readHexRune(b, 2)
		return escaped(b, r, size)
	default:
		return unit{text: [8]byte{slashedByte(c)}, n: 1, size: 2}
	}
}

func slashedByte(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'v':
		return '\v'
	case '0':
		return 0
	}
	return c
}

// escaped is the unit of \uXXXX or \xXX: size is -1 where that is none.
func escaped(b []byte, r rune, size int) unit {
	switch {
	case size < 0:
		return unit{text: [8]byte{b[1]}, n: 1, size: 2}
	case size == 0:
		return unit{}
	}
	return character(r, size)
}

// readHexRune reads the digits behind \u or \x. The size is 0 when b is too
// short to tell, and -1 when they are none.
func readHexRune(b []byte, digits int) (r rune, size int) {
	have := b[2:min(len(b), 2+digits)]
	for _, c := range have {
		if !isHex(c) {
			return 0, -1
		}
		r = r<<4 | rune(hexValue(c))
	}
	if len(have) < digits {
		return 0, 0
	}
	return r, 2 + digits
}

// readPair reads the second half of a surrogate pair.
func readPair(b []byte, high rune, final bool) unit {
	rest := b[6:]
	if len(rest) < 6 && bytes.HasPrefix([]byte(`\u`), rest[:min(len(rest), 2)]) && !final {
		return unit{}
	}
	if len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
		if low, size := readHexRune(rest, 4); size == 6 {
			if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
				return character(r, 12)
			}
		}
	}
	return character(utf8.RuneError, 6)
}

// maxEntity is the longest entity that is read, in bytes. HTML's longest name
// has 31 letters.
const maxEntity = 36

// maxNumeric is the longest numeric one, in bytes: it may begin with zeros.
const maxNumeric = 256

// commonEntity returns what the entities of XML stand for, and 0 for others.
func commonEntity(name []byte) byte {
	switch string(name) { // allocates nothing
	case "amp":
		return '&'
	case "lt":
		return '<'
	case "gt":
		return '>'
	case "quot":
		return '"'
	case "apos":
		return '\''
	}
	return 0
}

func readEntity(b []byte, final bool) unit {
	end := 1
	if end < len(b) && b[end] == '#' {
		return readNumeric(b, final)
	}
	for end < len(b) && end < maxEntity && isAlphanumeric(b[end]) {
		end++
	}
	switch {
	case end == len(b) && end < maxEntity && !final:
		return unit{}
	case end == len(b) || end == 1 || b[end] != ';':
		return literal('&')
	}
	if c := commonEntity(b[1:end]); c != 0 {
		return unit{text: [8]byte{c}, n: 1, size: end + 1}
	}
	decoded := html.UnescapeString(string(b[:end+1]))
	if strings.HasPrefix(decoded, "&") || len(decoded) > len(unit{}.text) {
		return literal('&')
	}
	u := unit{n: len(decoded), size: end + 1}
	copy(u.text[:], decoded)
	return u
}

// readNumeric reads &#65; and &#x41;, also without the semicolon, as browsers
// do.
func readNumeric(b []byte, final bool) unit {
	end, base := 2, 10
	if end < len(b) && b[end]|0x20 == 'x' {
		end, base = 3, 16
	}
	first := end
	for end < len(b) && end < maxNumeric && (isDigit(b[end]) || base == 16 && isHex(b[end])) {
		end++
	}
	if end == len(b) && end < maxNumeric && !final {
		return unit{}
	}
	for first < end-1 && b[first] == '0' {
		first++
	}
	v, err := strconv.ParseUint(string(b[first:end]), base, 21)
	if err != nil {
		return literal('&')
	}
	if end < len(b) && b[end] == ';' {
		end++
	}
	return character(rune(v), end)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func hexValue(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

func isAlphanumeric(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }
