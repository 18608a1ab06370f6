package broker

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"slices"
	"strings"
)

// minScrubbed is the shortest value that is looked for in responses. A shorter
// one would be found by chance.
const minScrubbed = 8

// needlesOf returns the spellings of a value that are looked for: in clear,
// base64 and base64url at the three alignments that it can have inside a longer
// text, and hex.
func needlesOf(needles [][]byte, value []byte) [][]byte {
	value = bytes.Trim(value, " \t") // as HTTP sends it (RFC 9110 §5.5)
	if len(value) < minScrubbed {
		return needles
	}
	needles = append(needles, bytes.Clone(value))
	for shift := range 3 {
		padded := append(make([]byte, shift, shift+len(value)), value...)
		// Characters that mix in bits of a neighbour are left out at both ends.
		from, to := (shift*8+5)/6, (shift+len(value))*8/6
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			needle := []byte(enc.EncodeToString(padded)[from:to])
			if n := len(needles); !bytes.Equal(needles[n-1], needle) {
				needles = append(needles, needle)
			}
		}
	}
	lower := []byte(hex.EncodeToString(value))
	needles = append(needles, lower)
	if upper := bytes.ToUpper(lower); !bytes.Equal(lower, upper) {
		needles = append(needles, upper)
	}
	return needles
}

// mask overwrites in out, a copy of raw, every occurrence of a needle in raw, so
// that lengths hold. It returns how many of them end behind seen. Looking in one
// and writing to the other, a needle that is part of another does not hide it.
func mask(out, raw []byte, needles [][]byte, seen int) int {
	n := 0
	for _, needle := range needles {
		for i, done := 0, 0; ; i++ {
			at := bytes.Index(raw[i:], needle)
			if at < 0 {
				break
			}
			i += at
			end := i + len(needle)
			for j := max(i, done); j < end; j++ {
				out[j] = '*'
			}
			if done = end; end > seen {
				n++
			}
		}
	}
	return n
}

func maskField(s string, needles [][]byte) (string, int) {
	for _, needle := range needles {
		if len(s) >= len(needle) && strings.Contains(s, string(needle)) {
			out := []byte(s)
			n := mask(out, []byte(s), needles, 0)
			return string(out), n
		}
	}
	return s, 0
}

// A scrubber passes a stream on with every needle masked, also where one lies
// across reads. It holds back no more than the longest suffix that could begin
// a needle, so that an event is not delayed.
type scrubber struct {
	src     io.Reader
	needles [][]byte
	longest int
	raw     []byte // read and not yet given out
	out     []byte // the same, masked
	ready   int    // bytes of out that may be given out
	err     error  // from src, given out after the rest
	hits    int
}

func newScrubber(src io.Reader, needles [][]byte) *scrubber {
	s := &scrubber{src: src, needles: needles}
	for _, n := range needles {
		s.longest = max(s.longest, len(n))
	}
	return s
}

// Read implements io.Reader. p must be longer than the longest needle.
func (s *scrubber) Read(p []byte) (int, error) {
	for s.ready == 0 && s.err == nil {
		held := len(s.raw)
		s.raw = slices.Grow(s.raw, len(p))[:held+len(p)]
		n, err := s.src.Read(s.raw[held:])
		s.raw, s.err = s.raw[:held+n], err
		s.out = append(s.out, s.raw[held:]...)
		s.hits += mask(s.out, s.raw, s.needles, held)
		s.ready = len(s.raw)
		if err == nil {
			s.ready -= s.hold()
		}
	}
	n := copy(p, s.out[:s.ready])
	s.raw = s.raw[:copy(s.raw, s.raw[n:])]
	s.out = s.out[:copy(s.out, s.out[n:])]
	s.ready -= n
	if s.ready == 0 && s.err != nil {
		return n, s.err
	}
	return n, nil
}

// hold returns the length of the longest suffix that is the beginning of a
// needle.
func (s *scrubber) hold() int {
	tail := s.raw[max(0, len(s.raw)-max(s.longest-1, 0)):]
	for len(tail) > 0 {
		for _, n := range s.needles {
			if len(tail) < len(n) && bytes.HasPrefix(n, tail) {
				return len(tail)
			}
		}
		tail = tail[1:]
	}
	return 0
}
