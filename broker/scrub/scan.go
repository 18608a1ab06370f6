package scrub

import (
	"bytes"
	"encoding/binary"
	"sort"
)

// A span is b[from:to] of what was scanned.
type span struct{ from, to int }

// A scan is one look at some bytes.
type scan struct {
	*table
	b     []byte
	final bool   // the text ends where b does
	spans []span // that matched; they may overlap
}

func (s *scan) run() {
	s.heads()
	s.breaks()
	for _, c := range [...]byte{'%', '\\', '&'} {
		s.escapes(c)
	}
}

// heads looks at every place where a pattern begins whose first bytes, as many as
// the shortest has, stand as they are. Of four bytes each so many apart, one lie
// among those, whatever the place: nearly all are none that a pattern has there.
func (s *scan) heads() {
	b, t := s.b, s.table
	for i := 0; i+headLen <= len(b); i += t.stride {
		if t.near.has(binary.LittleEndian.Uint32(b[i:])) != 0 {
			for at := max(0, i-t.stride+1); at <= i; at++ {
				s.head(at)
			}
		}
	}
}

// breaks looks at every place where a pattern's head stands before a line break
// inside of base64 that lies among its first bytes.
func (s *scan) breaks() {
	for _, c := range [...]byte{'\n', '\r'} {
		for from := 0; ; from++ {
			next := bytes.IndexByte(s.b[from:], c)
			if next < 0 {
				break
			}
			if from += next; s.mayBreak(from, literal(c)) {
				s.headsBefore(from)
			}
		}
	}
}

// headsBefore looks at the places whose first bytes, but for their head, are not
// all before an escape or a line break.
func (s *scan) headsBefore(at int) {
	for i := max(0, at-s.stride-headLen+2); i <= at-headLen; i++ {
		s.head(i)
	}
}

// head looks at one place.
func (s *scan) head(i int) {
	b, head := s.b, binary.LittleEndian.Uint32(s.b[i:])
	if s.passes(head) == 0 {
		return
	}
	for _, text := range s.hexes[head] {
		if end := i + len(text); end <= len(b) && bytes.EqualFold(b[i:end], text) {
			s.spans = append(s.spans, span{i, end})
		}
	}
	if c := s.headed(head); c.from < c.to {
		met := s.follow(cursor{stretch: c, at: i, i: i + headLen, depth: headLen}, 0)
		for _, syn := range [...]syntax{percent, slashed, entities} {
			if met&syn != 0 {
				s.walk(i, syn)
			}
		}
		if met != 0 {
			s.walk(i, anySyntax)
		}
	}
}

// escapes looks at every place where a pattern begins with an escape, or has
// one among its first characters, even where these look like the end of another
// escape. A pattern that has one further on was found by its head.
func (s *scan) escapes(c byte) {
	for from := 0; ; from++ {
		next := bytes.IndexByte(s.b[from:], c)
		if next < 0 {
			return
		}
		from += next
		s.headsBefore(from)
		u := read(s.b[from:], syntaxOf(c), s.final)
		for before := range min(headLen, from+1) {
			if !s.couldBegin(from-before, before, u) {
				continue
			}
			if others := s.walk(from-before, syntaxOf(c)); others != 0 {
				s.walk(from-before, anySyntax)
			}
		}
	}
}

// couldBegin spares most escapes a closer look: a pattern that begins at a place
// has the unit so many bytes further on.
func (s *scan) couldBegin(at, before int, u unit) bool {
	if before > 0 && !s.at[0][s.b[at]] && syntaxOf(s.b[at]) == 0 {
		return false
	}
	return u.size == 0 || s.at[before][u.text[0]]
}

// A cursor is how far the text at a place has been found to spell patterns: all
// of the stretch begin with the depth bytes that b[at:i] stands for.
type cursor struct {
	stretch
	at, i, depth int
}

// walk looks for patterns at a place, read in a syntax. It returns the other
// syntaxes in which the text could be read differently as far as it went.
func (s *scan) walk(at int, syn syntax) (others syntax) {
	var head [headLen - 1 + len(unit{}.text)]byte
	i, n := at, 0
	for n < headLen {
		if i == len(s.b) {
			return others
		}
		others |= syntaxOf(s.b[i]) &^ syn
		u := read(s.b[i:], syn, s.final)
		if u.size == 0 {
			return others
		}
		n += copy(head[n:], u.text[:u.n])
		i += u.size
	}
	c := cursor{stretch: s.headed(binary.LittleEndian.Uint32(head[:])), at: at, i: i, depth: headLen}
	for _, b := range head[headLen:n] {
		s.step(&c, b)
	}
	return others | s.follow(c, syn)
}

// follow goes on from a cursor for as long as the text spells a pattern. It
// returns what walk does.
func (s *scan) follow(c cursor, syn syntax) (others syntax) {
	var before byte // the half of a line break that was passed last
	for {
		s.matched(&c)
		if c.from == c.to || c.i == len(s.b) {
			return others
		}
		others |= syntaxOf(s.b[c.i]) &^ syn
		u := read(s.b[c.i:], syn, s.final)
		if u.size == 0 {
			return others
		}
		c.i += u.size
		if syn&lines != 0 && u.isBreak() && (before == '\r' && u.text[0] == '\n' || before == 0 && s.mayBreak(c.i-u.size, u)) {
			before = u.text[0]
			continue
		}
		before = 0
		for _, b := range u.text[:u.n] {
			s.step(&c, b)
		}
	}
}

// mayBreak reports whether a line break, as it stands or escaped, can be one
// inside of base64. What stands before a raw one must look like that, or it was
// not held back; see open.
func (s *scan) mayBreak(at int, u unit) bool {
	if u.size > 1 {
		return true
	}
	for n := 1; n <= minLine; n++ {
		if at-n < 0 || !isBase64(s.b[at-n]) {
			return false
		}
	}
	return true
}

// matched notes the patterns that end where the cursor stands. They are sorted
// before those that go on.
func (s *scan) matched(c *cursor) {
	for c.from < c.to && len(s.patterns[c.from]) <= c.depth {
		if n := len(s.spans); n == 0 || s.spans[n-1] != (span{c.at, c.i}) {
			s.spans = append(s.spans, span{c.at, c.i})
		}
		c.from++
	}
}

// step keeps the patterns that go on with a byte.
func (s *scan) step(c *cursor, b byte) {
	at := func(i int) int { // of the byte there; -1 where there is none
		if p := s.patterns[i]; c.depth < len(p) {
			return int(p[c.depth])
		}
		return -1
	}
	if c.to-c.from == 1 { // nearly always
		if at(c.from) != int(b) {
			c.from = c.to
		}
		c.depth++
		return
	}
	n := c.to - c.from
	from := c.from + sort.Search(n, func(i int) bool { return at(c.from+i) >= int(b) })
	c.to = c.from + sort.Search(n, func(i int) bool { return at(c.from+i) > int(b) })
	c.from = from
	c.depth++
}
