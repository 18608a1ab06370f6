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
				j.folded.add(pattern{strings.ToLower(w), n, "clear, letter case changed"})
			}
		}
	}
	return j
}

// fragments returns every run of characters that is just long enough.
func fragments(value string) []string {
	if len(value) < fragment {
		return []string{value}
	}
	var all []string
	for i := range value {
		end := i + fragment
		for end < len(value) && !utf8.RuneStart(value[end]) {
			end++
		}
		if end > len(value) {
			break
		}
		all = append(all, value[i:end])
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

// find returns the first leak of each credential in data.
func (j *judge) find(data []byte) []leak {
	leaks := j.exact.find(j.names, data, nil)
	return j.folded.find(j.names, bytes.ToLower(data), leaks)
}

func (x index) find(names []string, data []byte, leaks []leak) []leak {
	var key uint64
	for i, c := range data {
		key = key<<8 | uint64(c)
		if i < 7 || x.bits[bitOf(key)/64]&(1<<(bitOf(key)%64)) == 0 {
			continue
		}
		for _, p := range x.patterns[key] {
			at := i - 7
			known := func(l leak) bool { return l.credential == names[p.name] }
			if !bytes.HasPrefix(data[at:], []byte(p.text)) || slices.ContainsFunc(leaks, known) {
				continue
			}
			around := string(data[max(0, at-40):min(len(data), at+len(p.text)+40)])
			leaks = append(leaks, leak{names[p.name], p.encoding, at, around})
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
		if len(value) > 2*fragment {
			all := fragments(value)
			parts = append(parts, all[0], all[len(all)/2], all[len(all)-1])
		}
		for spelling, encode := range encodings {
			for _, part := range parts {
				data := []byte("some text, then " + encode(part) + ", then more")
				if leaks := j.find(data); !slices.ContainsFunc(leaks, func(l leak) bool { return l.credential == name }) {
					t.Errorf("%s (%d bytes) as %s is not found in %q", name, len(part), spelling, data)
				}
			}
		}
		if leaks := j.find([]byte("X-" + strings.ToUpper(value))); len(value) >= 12 && len(leaks) == 0 {
			t.Errorf("%s in capitals is not found", name)
		}
		if short := value[:min(len(value)-1, fragment-1)]; utf8.ValidString(short) && len(j.find([]byte(short))) > 0 {
			t.Errorf("%s: %d bytes are taken for a leak", name, len(short))
		}
	}
	if leaks := j.find(bytes.Repeat([]byte("nothing to see here ****************"), 1000)); leaks != nil {
		t.Errorf("found in innocent text: %v", leaks)
	}
}
