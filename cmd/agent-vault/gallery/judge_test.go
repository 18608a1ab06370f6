package gallery_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// fragment is how many bytes of a credential in a row are a leak. Of a shorter
// one it is the whole.
const fragment = 16

// A judge knows every spelling of every fragment of the credentials, and finds
// them in what was seen. It is immutable once made, and takes one pass: the
// first eight bytes of each pattern are looked up in a bitmap, then in a map.
type judge struct {
	names         []string
	exact, folded index
}

type index struct {
	bits     []uint64 // a bit for each hash of a pattern's beginning
	patterns map[uint64][]pattern
}

type pattern struct {
	text     string
	name     int
	encoding string
}

const bitmapBits = 22

func bitOf(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> (64 - bitmapBits) }

func newIndex() index {
	return index{bits: make([]uint64, 1<<bitmapBits/64), patterns: make(map[uint64][]pattern)}
}

func (x index) add(p pattern) {
	if len(p.text) < 8 {
		return // the ends of a base64 spelling; the other alignments are longer
	}
	key := binary.BigEndian.Uint64([]byte(p.text[:8]))
	if slices.ContainsFunc(x.patterns[key], func(q pattern) bool { return q.text == p.text }) {
		return
	}
	x.bits[bitOf(key)/64] |= 1 << (bitOf(key) % 64)
	x.patterns[key] = append(x.patterns[key], p)
}

// theJudge knows the planted credentials.
var theJudge = sync.OnceValue(func() *judge { return newJudge(plantedCredentials()) })

// newJudge takes credentials by name.
func newJudge(credentials map[string]string) *judge {
	j := &judge{exact: newIndex(), folded: newIndex()}
	for name, value := range credentials {
		n := len(j.names)
		j.names = append(j.names, name)
		for _, w := range fragments(value) {
			for spelling, encode := range encodings {
				j.exact.add(pattern{encode(w), n, spelling})
			}
			if len(w) >= 12 { // shorter ones would be met by chance
				j.folded.add(pattern{strings.Map(lower, w), n, "clear, letter case changed"})
			}
		}
	}
	return j
}

// Field names are ASCII, and so are the letters whose case may change.
func lower(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

func upper(r rune) rune {
	if r >= 'a' && r <= 'z' {
		r -= 'a' - 'A'
	}
	return r
}

// fragments returns runs of characters such that one of them is in every run of
// fragment bytes. Of ASCII it is every fourth run of three bytes less: the next
// fourth place is at most three bytes away.
func fragments(value string) []string {
	if len(value) < fragment {
		return []string{value}
	}
	length, step := fragment, 1
	if strings.IndexFunc(value, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		length, step = fragment-3, 4
	}
	var all []string
	for i := range value {
		end := i + length
		for end < len(value) && !utf8.RuneStart(value[end]) {
			end++
		}
		if end <= len(value) && i%step == 0 {
			all = append(all, value[i:end])
		}
	}
	return all
}

// A leak is a credential where it must not be.
type leak struct {
	credential, encoding string
	at                   int
	around               string
}

func (l leak) String() string {
	return fmt.Sprintf("%s (%s) at byte %d: %q", l.credential, l.encoding, l.at, l.around)
}

// find returns the first leak of each credential in data. It looks at every
// byte of a great deal, and shares nothing: the race detector need not watch.
//
//go:norace
func (j *judge) find(data []byte) []leak {
	var leaks []leak
	var key, folded uint64
	for i, c := range data {
		key = key<<8 | uint64(c)
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		folded = folded<<8 | uint64(c)
		if i < 7 {
			continue
		}
		if bit := bitOf(key); j.exact.bits[bit/64]&(1<<(bit%64)) != 0 {
			leaks = j.verify(j.exact.patterns[key], data, i-7, leaks, bytes.Equal)
		}
		if bit := bitOf(folded); j.folded.bits[bit/64]&(1<<(bit%64)) != 0 {
			leaks = j.verify(j.folded.patterns[folded], data, i-7, leaks, bytes.EqualFold)
		}
	}
	return leaks
}

// verify adds a leak for each pattern that does stand in data at a place.
func (j *judge) verify(patterns []pattern, data []byte, at int, leaks []leak, equal func(a, b []byte) bool) []leak {
	for _, p := range patterns {
		name := j.names[p.name]
		known := slices.ContainsFunc(leaks, func(l leak) bool { return l.credential == name })
		if end := at + len(p.text); !known && end <= len(data) && equal(data[at:end], []byte(p.text)) {
			leaks = append(leaks, leak{name, p.encoding, at, string(data[max(0, at-40):min(len(data), end+40)])})
		}
	}
	return leaks
}

// TestJudge plants every credential in every spelling, whole and in part, and
// looks for it.
func TestJudge(t *testing.T) {
	credentials := plantedCredentials()
	j := theJudge()
	for name, value := range credentials {
		parts := []string{value}
		for n := 0; n < 4 && len(value)/2+n+fragment <= len(value); n++ { // wherever they begin
			from, to := len(value)/2+n, len(value)/2+n+fragment
			for !utf8.RuneStart(value[from]) {
				from--
			}
			for to < len(value) && !utf8.RuneStart(value[to]) {
				to++
			}
			parts = append(parts, value[from:to])
		}
		for spelling, encode := range encodings {
			for _, part := range parts {
				data := []byte("some text, then " + encode(part) + ", then more")
				if leaks := j.find(data); !slices.ContainsFunc(leaks, func(l leak) bool { return l.credential == name }) {
					t.Errorf("%s (%d bytes) as %s is not found in %q", name, len(part), spelling, data)
				}
			}
		}
		if leaks := j.find([]byte("X-" + strings.Map(upper, value))); len(value) >= 12 && len(leaks) == 0 {
			t.Errorf("%s in capitals is not found", name)
		}
		if short := value[:min(len(value)-1, fragment-4)]; len(j.find([]byte(short))) > 0 {
			t.Errorf("%s: %d bytes are taken for a leak", name, len(short))
		}
	}
	if leaks := j.find(bytes.Repeat([]byte("nothing to see here ****************"), 1000)); leaks != nil {
		t.Errorf("found in innocent text: %v", leaks)
	}
}
