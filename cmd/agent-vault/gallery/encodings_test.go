package gallery_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// An encoding spells text the way that some program would on its way out. All
// of them treat characters one by one, so that the spelling of a part is part
// of the spelling of the whole; base64 is the exception, and comes at three
// alignments.
type encoding func(string) string

var encodings = map[string]encoding{
	"clear":             func(s string) string { return s },
	"base64-0":          func(s string) string { return base64At(base64.RawStdEncoding, 0, s) },
	"base64-1":          func(s string) string { return base64At(base64.RawStdEncoding, 1, s) },
	"base64-2":          func(s string) string { return base64At(base64.RawStdEncoding, 2, s) },
	"base64url-0":       func(s string) string { return base64At(base64.RawURLEncoding, 0, s) },
	"base64url-1":       func(s string) string { return base64At(base64.RawURLEncoding, 1, s) },
	"base64url-2":       func(s string) string { return base64At(base64.RawURLEncoding, 2, s) },
	"hex":               func(s string) string { return hex.EncodeToString([]byte(s)) },
	"hex-upper":         func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"percent":           func(s string) string { return eachByte(s, "%%%02X", unreserved) },
	"percent-lower":     func(s string) string { return eachByte(s, "%%%02x", unreserved) },
	"percent-all":       func(s string) string { return eachByte(s, "%%%02X", nil) },
	"percent-all-lower": func(s string) string { return eachByte(s, "%%%02x", nil) },
	"json":              func(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) },
	"json-slash":        func(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `/`, `\/`).Replace(s) },
	"json-html": func(s string) string {
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(s)
	},
	"json-all":       func(s string) string { return eachUnit(s, `\u%04x`) },
	"json-all-upper": func(s string) string { return eachUnit(s, `\u%04X`) },
	"html": func(s string) string {
		return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;").Replace(s)
	},
	"html-apos": func(s string) string {
		return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&apos;").Replace(s)
	},
	"html-decimal":   func(s string) string { return eachRune(s, "&#%d;") },
	"html-hex":       func(s string) string { return eachRune(s, "&#x%x;") },
	"html-hex-upper": func(s string) string { return eachRune(s, "&#X%X;") },
	"utf16le":        func(s string) string { return utf16As(s, 0, 8) },
	"utf16be":        func(s string) string { return utf16As(s, 8, 0) },
}

// base64At spells s as it stands in the base64 of a longer text, shift bytes
// behind a multiple of three. Characters that mix in bits of a neighbour are
// left out at both ends.
func base64At(enc *base64.Encoding, shift int, s string) string {
	from, to := (shift*8+5)/6, (shift+len(s))*8/6
	return enc.EncodeToString([]byte(strings.Repeat("\x00", shift) + s))[from:to]
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func eachByte(s, format string, plain func(byte) bool) string {
	var b strings.Builder
	for i := range len(s) {
		if plain != nil && plain(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, format, s[i])
		}
	}
	return b.String()
}

func eachRune(s, format string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, format, r)
	}
	return b.String()
}

func eachUnit(s, format string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&b, format, u)
	}
	return b.String()
}

func utf16As(s string, first, second int) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(u >> first))
		b.WriteByte(byte(u >> second))
	}
	return b.String()
}

// TestEncodings holds the spellings against some written by hand.
func TestEncodings(t *testing.T) {
	for name, want := range map[string]string{
		"clear": `a"/<é`, "hex": "61222f3cc3a9", "hex-upper": "61222F3CC3A9", "base64-0": "YSIvPMOp", "base64url-1": "EiLzzDq",
		"percent": "a%22%2F%3C%C3%A9", "percent-lower": "a%22%2f%3c%c3%a9", "percent-all": "%61%22%2F%3C%C3%A9",
		"json": `a\"/<é`, "json-slash": `a\"\/<é`, "json-html": `a\"/\u003cé`, "json-all": `\u0061\u0022\u002f\u003c\u00e9`,
		"json-all-upper": `\u0061\u0022\u002F\u003C\u00E9`, "html": `a&quot;/&lt;é`, "html-decimal": "&#97;&#34;&#47;&#60;&#233;",
		"html-hex": "&#x61;&#x22;&#x2f;&#x3c;&#xe9;", "utf16le": "a\x00\"\x00/\x00<\x00\xe9\x00", "utf16be": "\x00a\x00\"\x00/\x00<\x00\xe9",
	} {
		if got := encodings[name](`a"/<é`); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := slices.Sorted(maps.Keys(encodings)); len(got) < 24 {
		t.Errorf("%d encodings", len(got))
	}
}
