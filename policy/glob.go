package policy

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// A glob is a compiled path pattern.
//
// `*` stands for any run of bytes within a segment, `**` for any run of bytes,
// and a `/*` at the end for everything below. A glob matches what a path
// means: the path is walked as it was sent, and %XX counts as the byte it
// stands for, so that /users/@me and /users/%40me are one.
type glob struct {
	source string // as written
	items  []item
	prefix int // literal bytes before the first wildcard
	total  int // literal bytes
}

// An item is a literal byte, or a wildcard.
type item struct {
	kind itemKind
	b    byte
}

type itemKind uint8

const (
	literal itemKind = iota
	star             // any run without "/"
	deep             // any run
)

const maxGlob = 1024 // bytes

func parseGlob(s string) (*glob, error) {
	switch {
	case !strings.HasPrefix(s, "/"):
		return nil, errors.New("a path begins with /")
	case len(s) > maxGlob:
		return nil, errors.New("longer than 1024 characters")
	case strings.ContainsAny(s, "?#"):
		return nil, errors.New("a path has neither ? nor #; rules do not look at the query")
	}
	// A pattern that no unambiguous path can match is a mistake.
	if ambiguous(s) {
		return nil, errors.New("it has a dot segment, an empty segment, an encoded slash, a space or the like, which no request to a service with paths may have; write %20 for a space")
	}
	g := &glob{source: s}
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "**"):
			g.add(item{kind: deep})
			i += 2
		case s[i] == '*' && i == len(s)-1 && i > 0 && s[i-1] == '/':
			g.add(item{kind: deep})
			i++
		case s[i] == '*':
			g.add(item{kind: star})
			i++
		default:
			b, n := decodedByte(s, i)
			g.add(item{kind: literal, b: b})
			i += n
		}
	}
	return g, nil
}

func (g *glob) add(it item) {
	if it.kind == literal {
		if g.total == len(g.items) {
			g.prefix++
		}
		g.total++
	}
	g.items = append(g.items, it)
}

func (g *glob) wild() bool { return g.total != len(g.items) }

// decodedByte returns the byte that stands at s[i] and how many bytes spell it.
func decodedByte(s string, i int) (byte, int) {
	if s[i] == '%' && i+2 < len(s) {
		hi, ok1 := unhex(s[i+1])
		lo, ok2 := unhex(s[i+2])
		if ok1 && ok2 {
			return hi<<4 | lo, 3
		}
	}
	return s[i], 1
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// match reports whether the glob covers an unambiguous path. It allocates
// nothing. On a mismatch only the last `*`, and if that runs out the last `**`,
// takes more: an earlier wildcard could take only what the later one can take
// as well.
//
// Where a `*` behind a `**` has run out, it has reached the end of its segment
// in vain, and so would it from any other start in the segments it came
// through. The `**` therefore goes on behind the next slash, not byte by byte:
// a hostile path costs its length times the pattern's, never its square.
func (g *glob) match(path string) bool {
	i, p := 0, 0
	starItem, starPath := -1, 0
	deepItem, deepPath := -1, 0
	for {
		if i < len(g.items) {
			switch it := g.items[i]; it.kind {
			case deep:
				if i == len(g.items)-1 {
					return true
				}
				deepItem, deepPath = i, p
				starItem = -1
				i++
				continue
			case star:
				starItem, starPath = i, p
				i++
				continue
			case literal:
				if p < len(path) {
					if b, n := decodedByte(path, p); b == it.b {
						i, p = i+1, p+n
						continue
					}
				}
			}
		} else if p == len(path) {
			return true
		}
		// Mismatch: let a wildcard take more.
		if starItem >= 0 && starPath < len(path) && path[starPath] != '/' {
			_, n := decodedByte(path, starPath)
			starPath += n
			i, p = starItem+1, starPath
			continue
		}
		if deepItem < 0 || deepPath == len(path) {
			return false
		}
		n := 0
		if starItem >= 0 {
			if n = strings.IndexByte(path[deepPath:], '/') + 1; n == 0 {
				return false
			}
			starItem = -1
		} else {
			_, n = decodedByte(path, deepPath)
		}
		deepPath += n
		i, p = deepItem+1, deepPath
	}
}

// overlap reports whether some path is covered by both globs. A nil glob
// covers every path. It takes len(a)·len(b) steps.
func overlap(a, b *glob) bool {
	if a == nil || b == nil {
		return true
	}
	// below[j] tells whether what is left of a, from the item below, and what is
	// left of b, from j, have a path in common.
	below, row := make([]bool, len(b.items)+1), make([]bool, len(b.items)+1)
	for i := len(a.items); i >= 0; i-- {
		for j := len(b.items); j >= 0; j-- {
			switch {
			case i == len(a.items) && j == len(b.items):
				row[j] = true
			case i == len(a.items):
				row[j] = b.items[j].kind != literal && row[j+1]
			case j == len(b.items):
				row[j] = a.items[i].kind != literal && below[j]
			default:
				row[j] = meet(a.items[i], b.items[j], below[j], row[j+1], below[j+1])
			}
		}
		below, row = row, below
	}
	return below[0]
}

// meet joins two items: afterA, afterB and afterBoth tell whether the globs
// have a path in common behind the one, the other and both.
func meet(a, b item, afterA, afterB, afterBoth bool) bool {
	switch {
	case a.kind == literal && b.kind == literal:
		return a.b == b.b && afterBoth
	case a.kind == literal: // b takes the byte and goes on, or stands for nothing
		return afterB || afterA && (b.kind == deep || a.b != '/')
	case b.kind == literal:
		return afterA || afterB && (a.kind == deep || b.b != '/')
	}
	return afterA || afterB // what two wildcards share may as well be nothing
}

// ambiguous reports whether two readers could read a path differently (R13):
// dot segments, empty segments, backslash, %2f %5c %00 %25 %3b, ";", control
// bytes, broken percent-encoding, or bytes that are not UTF-8. A space, "?" or
// "#" that is not encoded ends the path for some readers (RFC 9112 §3: the
// request line is parted at spaces). It allocates nothing.
func ambiguous(path string) bool {
	if path == "" || path[0] != '/' {
		return true
	}
	segment := 1 // start of the current segment
	dots := 0    // its length if it has been dots only, or -1
	var r runeChecker
	for i := 1; i < len(path); {
		b, n := decodedByte(path, i)
		encoded := n == 3
		switch {
		case b < 0x20 || b == 0x7f || b == '\\' || b == ';':
			return true
		case b == '%': // a stray percent sign, or %25
			return true
		case !encoded && (b == ' ' || b == '?' || b == '#'):
			return true
		case b == '/' && encoded:
			return true
		case b == '/':
			if i == segment || dots == 1 || dots == 2 {
				return true
			}
			segment, dots = i+1, 0
		case b == '.' && dots >= 0:
			dots++
		default:
			dots = -1
		}
		if !r.next(b) {
			return true
		}
		i += n
	}
	return dots == 1 || dots == 2 || !r.done()
}

// A runeChecker checks UTF-8 byte by byte, since a rune may be spelled partly
// as bytes and partly as %XX.
type runeChecker struct {
	buf [utf8.UTFMax]byte
	n   int
}

func (r *runeChecker) next(b byte) bool {
	if r.n == 0 && b < utf8.RuneSelf {
		return true
	}
	r.buf[r.n] = b
	r.n++
	if !utf8.FullRune(r.buf[:r.n]) {
		return r.n < utf8.UTFMax
	}
	c, size := utf8.DecodeRune(r.buf[:r.n])
	ok := size == r.n && !(c == utf8.RuneError && size == 1)
	r.n = 0
	return ok
}

func (r *runeChecker) done() bool { return r.n == 0 }
