package scrub

import "slices"

// minLine is how many letters of base64 a line has, and nothing else, for its
// end to count as one inside of base64. Encoders break lines at 60, 64 or 76.
const minLine = 40

// open returns where the end of a text begins that is held back, for a value
// could begin in it and go on in what follows.
//
// It looks at the text only, at no value: an agent that has its guesses sent
// back would otherwise see from what is held which of them begin a value, and
// read it letter by letter. So all that is made of bytes that some spelling has
// is held, as far as the longest spelling reaches; a line break has none.
func (t *table) open(b []byte) int {
	i, least := len(b), max(0, len(b)-t.window)
	for {
		for i > least && t.inside[b[i-1]] {
			i--
		}
		k := i
		if k > least && b[k-1] == '\n' {
			k--
		}
		if k > least && b[k-1] == '\r' { // its other half may be on its way
			k--
		}
		line := k
		for line > least && isBase64(b[line-1]) {
			line--
		}
		if k == i || k-line < minLine {
			return i
		}
		i = line
	}
}

func isBase64(c byte) bool {
	return isAlphanumeric(c) || c == '+' || c == '/' || c == '-' || c == '_' || c == '='
}

// filler takes the place of each byte that is masked.
const filler = '*'

// A masker holds a stretch of a text between its arrival and its departure.
type masker struct {
	tables []*table    // what is looked for: since the text began, and now
	first  int         // how many of them since it began; 0 before anything came
	latest *Set        // of which the rest are
	now    func() *Set // nil: nothing changes
	buf    []byte
	ready  int // bytes of buf that may leave, masked
	until  int // bytes of buf that are to be masked, though they are held
	places int // that were masked so far
	spans  []span
}

// Follow makes it look for what now returns too, whenever something is read:
// values may have been stored since the text began.
func (m *masker) Follow(now func() *Set) { m.now = now }

// Places is how many places were masked so far.
func (m *masker) Places() int { return m.places }

// scan looks at buf, of which nothing is ready, and makes ready what can be.
func (m *masker) scan(final bool) {
	if m.now != nil {
		m.add(m.now())
	}
	m.ready, m.spans = len(m.buf), m.spans[:0]
	for _, t := range m.tables {
		s := scan{table: t, b: m.buf, final: final, spans: m.spans}
		s.run()
		m.spans = s.spans
		if !final {
			m.ready = min(m.ready, t.open(m.buf))
		}
	}
	m.mask()
}

// add makes it look for what a Set has and those of the beginning have not, and for
// nothing more of the Set before.
func (m *masker) add(latest *Set) {
	if latest.Empty() || latest == m.latest {
		return
	}
	if m.first == 0 {
		m.first = len(m.tables)
	}
	m.latest, m.tables = latest, m.tables[:m.first:m.first]
	for _, t := range latest.tables {
		if !slices.Contains(m.tables[:m.first], t) {
			m.tables = append(m.tables, t)
		}
	}
}

// mask overwrites what was found in what is ready. What begins behind that is
// found again.
func (m *masker) mask() {
	fill(m.buf[:min(m.until, m.ready)])
	slices.SortFunc(m.spans, func(a, b span) int { return a.from - b.from })
	for _, found := range m.spans {
		if found.from >= m.ready {
			return
		}
		if found.from >= m.until { // else it touches one that was counted
			m.places++
		}
		m.until = max(m.until, found.to)
		fill(m.buf[found.from:min(found.to, m.ready)])
	}
}

// take moves what is ready into p, as far as it fits.
func (m *masker) take(p []byte) int {
	n := copy(p, m.buf[:m.ready])
	m.buf = m.buf[:copy(m.buf, m.buf[n:])]
	m.ready -= n
	m.until = max(0, m.until-n)
	return n
}

func fill(b []byte) {
	for i := range b {
		b[i] = filler
	}
}
