package shown

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// MostBody is how much of a body a person is shown, in bytes.
const MostBody = 16 << 10

// Body is what a person is shown of a body: harmless lines of its text or, where
// it is none, of its bytes as hex. left is how many bytes are not shown.
func Body(text string, binary []byte) (lines []string, left int) {
	if len(binary) > 0 {
		most := min(len(binary), MostBody/8) // of which each takes four columns, and more
		for line := range strings.SplitSeq(strings.TrimSuffix(hex.Dump(binary[:most]), "\n"), "\n") {
			lines = append(lines, line[4:]) // of eight digits, the first four are zeros: a line of 74 columns is quoted whole
		}
		return lines, len(binary) - most
	}
	most := min(len(text), MostBody)
	for most > 0 && most < len(text) && !utf8.RuneStart(text[most]) {
		most--
	}
	for line := range strings.SplitSeq(text[:most], "\n") {
		lines = append(lines, Plain(line))
	}
	return lines, len(text) - most
}
