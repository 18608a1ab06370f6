package scrub

// A Finder looks for values in a text that comes in pieces and goes on as it is.
// What it is for is no secret: a piece may go before what follows it has come.
type Finder struct {
	tables []*table
	buf    []byte // the end of the text, as far as a value could begin in it
}

// Finder returns a Finder at the beginning of a text. That of an empty Set finds
// nothing.
func (s *Set) Finder() *Finder {
	if s.Empty() {
		return &Finder{}
	}
	return &Finder{tables: s.tables}
}

// Find takes the next piece and reports whether a value ends in what has come so
// far. Of the last piece of a text final is true; what follows is another text.
func (f *Finder) Find(piece []byte, final bool) (found bool) {
	f.buf = append(f.buf, piece...)
	keep := len(f.buf)
	for _, t := range f.tables {
		look := scan{table: t, b: f.buf, final: final}
		look.run()
		found = found || len(look.spans) > 0
		if !final {
			keep = min(keep, t.open(f.buf))
		}
	}
	f.buf = f.buf[:copy(f.buf, f.buf[keep:])]
	return found
}

// Holds reports whether a text that is whole holds a value.
func (s *Set) Holds(text []byte) bool { return s.Finder().Find(text, true) }
