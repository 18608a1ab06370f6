package inject

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
)

// A shape is how the dummies of some credentials look: like the keys that a
// vendor's clients check for, and so that everybody sees that they are none.
type shape struct {
	keys    []string // parts of the names of credentials, between underscores; "A+B" is both
	prefix  string
	random  int    // characters, behind the mark
	suffix  string // in the middle of them, or at the end
	letters string // of the random characters
	crc     bool   // GitHub's check behind the random part
	again   int    // random characters behind the suffix
}

const (
	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

	// dummyMark stands in every dummy, and in no other placeholder.
	dummyMark = "DUMMY"
)

// shapes in the order in which they are tried. A new one is a new row; those that
// are there stay, or dummies that are in use become others.
var shapes = [...]shape{
	{keys: []string{"ANTHROPIC", "CLAUDE"}, prefix: "sk-ant-api03-", random: 88, suffix: "AA", letters: base62},
	{keys: []string{"OPENAI"}, prefix: "sk-proj-", random: 53, suffix: "T3BlbkFJ", again: 58, letters: base62},
	{keys: []string{"STRIPE+LIVE"}, prefix: "sk_live_", random: 19, letters: base62},
	{keys: []string{"STRIPE"}, prefix: "sk_test_", random: 19, letters: base62},
	{keys: []string{"GITHUB", "GH"}, prefix: "ghp_", random: 25, crc: true, letters: base62},
	{keys: []string{"AWS+SECRET"}, random: 35, letters: base62},
	{keys: []string{"AWS"}, prefix: "AKIA", random: 11, letters: base32},
	{keys: []string{"SLACK"}, prefix: "xoxb-000000000000-000000000000-", random: 19, letters: base62},
	{keys: []string{"GOOGLE", "GEMINI", "GCP"}, prefix: "AIza", random: 30, letters: base62},
	{prefix: "key_", random: 32, letters: base62},
}

// Dummy makes of a seed what looks like a value of the credential, and is none:
// for clients that do not start without one of the right shape. The same seed
// makes the same dummy. The credential's name chooses the shape.
func Dummy(key string, seed [32]byte) string {
	s, source := shapeOf(key), rand.NewChaCha8(seed)
	draw := func(n int) string {
		out := make([]byte, n)
		for i := range out {
			out[i] = s.letters[source.Uint64()%uint64(len(s.letters))]
		}
		return string(out)
	}
	body := dummyMark + draw(s.random)
	if s.crc {
		body += checksum(body)
	}
	return s.prefix + body + s.suffix + draw(s.again)
}

func shapeOf(key string) shape {
	parts := strings.Split(key, "_")
	for _, s := range shapes {
		for _, named := range s.keys {
			if !slices.ContainsFunc(strings.Split(named, "+"), func(part string) bool { return !slices.Contains(parts, part) }) {
				return s
			}
		}
	}
	return shapes[len(shapes)-1]
}

// pattern matches the dummies of the shape.
func (s shape) pattern() string {
	repeat := func(n int) string { return fmt.Sprintf("[%s]{%d}", s.letters, n) }
	body := s.prefix + dummyMark + repeat(s.random)
	if s.crc {
		body += repeat(checksumLen)
	}
	return body + s.suffix + repeat(s.again)
}

// checksumLen is how many characters a checksum has.
const checksumLen = 6

// checksum is the one of GitHub's tokens: the CRC-32 in base62.
func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	out := make([]byte, checksumLen)
	for i := checksumLen - 1; i >= 0; i-- {
		out[i] = base62[sum%62]
		sum /= 62
	}
	return string(out)
}

var dummies = func() *regexp.Regexp {
	patterns := make([]string, len(shapes))
	for i, s := range shapes {
		patterns[i] = s.pattern()
	}
	return regexp.MustCompile(`^(?:` + strings.Join(patterns, "|") + `)$`)
}()

// IsDummy reports whether a text has the shape of a dummy.
func IsDummy(s string) bool { return dummies.MatchString(s) }
