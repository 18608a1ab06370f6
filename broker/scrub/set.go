package scrub

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"slices"
	"strings"
	"sync"
)

// A Set is all values of a vault in all their spellings. It never changes and
// is safe for use by many goroutines.
type Set struct {
	tables []*table // one, or those of all Sets that it was joined from
	folded []*table // the same in lower case, for names of header fields
}

// Compile returns the Set of some values. Those shorter than [MinLength] are
// left out. The values are copied. Of private keys in PEM, lines and content are
// looked for too.
func Compile(values [][]byte) *Set {
	var patterns, hexes [][]byte
	for _, v := range withParts(values) {
		if v = bytes.Trim(v, " \t"); len(v) >= MinLength { // as HTTP sends it (RFC 9110 §5.5)
			patterns = append(patterns, spellings(v)...)
			hexes = append(hexes, hex.AppendEncode(nil, v))
		}
	}
	if len(patterns) == 0 {
		return &Set{}
	}
	lower := slices.Clone(hexes)
	for _, p := range patterns {
		if !bytes.ContainsFunc(p, notInNames) {
			lower = append(lower, bytes.ToLower(p))
		}
	}
	return &Set{tables: []*table{newTable(patterns, hexes)}, folded: []*table{newTable(lower, nil)}}
}

// Join returns the Set of all values of both. It compiles nothing.
func (s *Set) Join(with *Set) *Set {
	switch {
	case with.Empty():
		return s
	case s.Empty():
		return with
	}
	return &Set{tables: slices.Concat(s.tables, with.tables), folded: slices.Concat(s.folded, with.folded)}
}

func notInNames(r rune) bool { return r <= ' ' || r >= 0x7f }

// Format writes "redacted" for every verb and flag: the Set holds plaintexts.
func (*Set) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "redacted") // fmt.State has no way to fail
}

// Empty reports whether there is nothing to look for.
func (s *Set) Empty() bool { return s == nil || len(s.tables) == 0 }

// scratch holds copies of header fields while they are scanned.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Field returns the value of a header field with every credential masked, and
// how many places that were. It allocates only where there is one.
func (s *Set) Field(value string) (masked string, places int) {
	if s.Empty() || len(value) < MinLength || quiet(s.tables, value, false) {
		return value, 0
	}
	b := scratch.Get().(*[]byte)
	defer scratch.Put(b)
	*b = append((*b)[:0], value...)
	m := masker{tables: s.tables, buf: *b}
	m.scan(true)
	if m.places > 0 {
		value = string(m.buf)
	}
	clear(*b)
	return value, m.places
}

// Name reports whether the name of a header field holds a credential, in
// whatever letter case: net/http and HTTP/2 change it.
func (s *Set) Name(name string) bool {
	if s.Empty() || len(name) < MinLength || quiet(s.folded, name, true) {
		return false
	}
	b := scratch.Get().(*[]byte)
	defer scratch.Put(b)
	*b = (*b)[:0]
	for i := range len(name) {
		*b = append(*b, lower(name[i]))
	}
	defer clear(*b)
	for _, t := range s.folded {
		found := scan{table: t, b: *b, final: true}
		if found.run(); len(found.spans) > 0 {
			return true
		}
	}
	return false
}

func quiet(tables []*table, text string, folded bool) bool {
	for _, t := range tables {
		if !t.quiet(text, folded) {
			return false
		}
	}
	return true
}

// headLen is how many bytes of a pattern it is found by. No pattern is shorter.
const headLen = 4

// A filter has 2^17 bits, which stay in the first cache, or for a vault of very
// many values more, up to 2^24.
const (
	minFilter = 17
	maxFilter = 24
)

// A filter is a bit set of hashes of four bytes each.
type filter struct {
	bits  []uint64
	shift uint // of a hash, to a bit
}

// newFilter returns one with so many bits, rounded.
func newFilter(size int) filter {
	n := max(minFilter, min(maxFilter, bits.Len(uint(size))))
	return filter{make([]uint64, 1<<n/64), 32 - uint(n)}
}

func (f *filter) hash(four uint32) uint32 { return four * 0x9E3779B1 >> (f.shift & 31) }

func (f *filter) add(four uint32) {
	h := f.hash(four)
	f.bits[h/64] |= 1 << (h % 64)
}

// has returns 1 if the filter knows the four bytes, or takes them for others, and
// else 0.
func (f *filter) has(four uint32) uint64 {
	h := f.hash(four)
	return f.bits[h/64] >> (h % 64) & 1
}

// maxStride bounds how many places a scan passes at a time.
const maxStride = 8

// A table finds patterns by their first four bytes.
type table struct {
	patterns [][]byte            // sorted, without duplicates
	heads    map[uint32]stretch  // by the first four bytes
	maybe    filter              // of the heads
	stride   int                 // the shortest pattern has so many places of four bytes, or more
	near     filter              // of the four bytes at the first stride places of each: most of a text ends here
	at       [headLen][256]bool  // at[i][c]: some pattern has c as its i-th byte
	hexes    map[uint32][][]byte // hex in lower case, by every head in either case
	inside   [256]bool           // bytes that spellings have
	window   int                 // bytes of the longest spelling, or nearly
}

// A stretch is patterns[from:to].
type stretch struct{ from, to int }

func newTable(patterns, hexes [][]byte) *table {
	slices.SortFunc(patterns, bytes.Compare)
	patterns = slices.CompactFunc(patterns, bytes.Equal)
	t := &table{
		patterns: patterns,
		heads:    make(map[uint32]stretch, len(patterns)),
		hexes:    make(map[uint32][][]byte),
	}
	t.stride = maxStride
	for _, p := range slices.Concat(patterns, hexes) {
		t.stride = min(t.stride, len(p)-headLen+1)
	}
	t.maybe, t.near = newFilter(len(patterns)*64), newFilter(len(patterns)*t.stride*16)
	for i, p := range patterns {
		head := binary.LittleEndian.Uint32(p)
		s, ok := t.heads[head]
		if !ok {
			s.from = i
		}
		s.to = i + 1
		t.heads[head] = s
		t.maybe.add(head)
		t.note(p)
		for j := range headLen {
			t.at[j][p[j]] = true
		}
	}
	for _, p := range hexes {
		for head := range cases(p) {
			if known := t.hexes[head]; len(known) == 0 || !bytes.Equal(known[len(known)-1], p) {
				t.hexes[head] = append(known, p)
			}
			t.maybe.add(head)
		}
		for i := range t.stride {
			for four := range cases(p[i:]) {
				t.near.add(four)
			}
		}
		t.note(p)
	}
	for c := range t.inside { // what escapes are made of
		t.inside[c] = t.inside[c] || isAlphanumeric(byte(c)) || strings.IndexByte(`%\&#;+/-_=`, byte(c)) >= 0
	}
	t.window = max(t.window, min(t.window*maxEntity, 16<<10))
	return t
}

// cases are the first four bytes of hex in every mixture of letter cases.
func cases(p []byte) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for bits := range 1 << headLen {
			head := [headLen]byte(p)
			for j := range head {
				if bits>>j&1 != 0 {
					head[j] = bytes.ToUpper(head[j : j+1])[0]
				}
			}
			if !yield(binary.LittleEndian.Uint32(head[:])) {
				return
			}
		}
	}
}

// note makes a pattern count among the spellings.
func (t *table) note(p []byte) {
	for i := range t.stride {
		t.near.add(binary.LittleEndian.Uint32(p[i:]))
	}
	t.window = max(t.window, len(p))
	for _, c := range p {
		t.inside[c] = true
	}
}

// passes reports whether the head may be that of a pattern, by 1 or 0.
func (t *table) passes(head uint32) uint64 { return t.maybe.has(head) }

// quiet reports whether a scan would find nothing in a text, since no place in it
// is one that a scan looks at twice. It is what most header fields are.
func (t *table) quiet(text string, folded bool) bool {
	var head uint32
	for i := range len(text) {
		c := text[i]
		if folded {
			c = lower(c)
		}
		head = head>>8 | uint32(c)<<24
		if syntaxOf(c) != 0 || i >= headLen-1 && t.passes(head) != 0 {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// headed returns the patterns that begin with four bytes.
func (t *table) headed(head uint32) stretch {
	if t.passes(head) == 0 {
		return stretch{}
	}
	return t.heads[head]
}
