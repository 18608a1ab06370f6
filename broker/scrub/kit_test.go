package scrub_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// pieces are reads that bring a text in pieces of some lengths, over and over.
type pieces struct {
	b    []byte
	lens []int
	next int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.b[:min(p.lens[p.next%len(p.lens)], len(p.b))])
	p.b = p.b[n:]
	p.next++
	return n, nil
}

// An encoding spells a value as some encoder does. What it returns must be
// masked but for skip bytes at either end.
type encoding struct {
	name   string
	text   bool // for values that are UTF-8 only
	encode func(r *rand.Rand, value []byte) (text []byte, skipFront, skipBack int)
}

func plain(encode func(value []byte) string) func(*rand.Rand, []byte) ([]byte, int, int) {
	return func(_ *rand.Rand, v []byte) ([]byte, int, int) { return []byte(encode(v)), 0, 0 }
}

// each escapes every byte, or character, that r chooses, and all that must.
func each(must string, escape func(r *rand.Rand, c rune) string) func(*rand.Rand, []byte) ([]byte, int, int) {
	return func(r *rand.Rand, v []byte) ([]byte, int, int) {
		var b strings.Builder
		odds := r.IntN(4)
		for _, c := range string(v) {
			if strings.ContainsRune(must, c) || c < ' ' || c == utf8.RuneError || r.IntN(4) < odds {
				b.WriteString(escape(r, c))
			} else {
				b.WriteRune(c)
			}
		}
		return []byte(b.String()), 0, 0
	}
}

// base64At encodes a value that stands behind shift other bytes and in front of
// one, broken into lines of a length, 0 for none.
func base64At(enc *base64.Encoding, shift, line int, newline string) func(*rand.Rand, []byte) ([]byte, int, int) {
	return func(_ *rand.Rand, v []byte) ([]byte, int, int) {
		whole := enc.EncodeToString(append(append([]byte("xyz")[:shift:shift], v...), 'q', 'r'))
		from, to := (shift*8+5)/6, (shift+len(v))*8/6
		back := len(whole) - to
		if line > 0 {
			var b strings.Builder
			for i, c := range whole {
				if i > 0 && i%line == 0 {
					b.WriteString(newline)
					if i <= from {
						from += len(newline)
					}
					if i >= to {
						back += len(newline)
					}
				}
				b.WriteRune(c)
			}
			whole = b.String()
		}
		return []byte(whole), from, back
	}
}

func wide(order binary.AppendByteOrder) func(*rand.Rand, []byte) ([]byte, int, int) {
	return plain(func(v []byte) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(string(v))) {
			b = order.AppendUint16(b, u)
		}
		return string(b)
	})
}

func percentByte(r *rand.Rand, c byte) string {
	return fmt.Sprintf([]string{"%%%02x", "%%%02X"}[r.IntN(2)], c)
}

var encodings = []encoding{
	{"clear", false, plain(func(v []byte) string { return string(v) })},
	{"hex", false, plain(hex.EncodeToString)},
	{"hex of either case", false, func(r *rand.Rand, v []byte) ([]byte, int, int) {
		text := []byte(hex.EncodeToString(v))
		for i := range text {
			if r.IntN(2) == 0 {
				text[i] = bytes.ToUpper(text[i : i+1])[0]
			}
		}
		return text, 0, 0
	}},
	{"HEX", false, plain(func(v []byte) string { return strings.ToUpper(hex.EncodeToString(v)) })},
	{"base64 0", false, base64At(base64.StdEncoding, 0, 0, "")},
	{"base64 1", false, base64At(base64.StdEncoding, 1, 0, "")},
	{"base64 2", false, base64At(base64.StdEncoding, 2, 0, "")},
	{"base64url 0", false, base64At(base64.RawURLEncoding, 0, 0, "")},
	{"base64url 1", false, base64At(base64.URLEncoding, 1, 0, "")},
	{"base64url 2", false, base64At(base64.RawURLEncoding, 2, 0, "")},
	{"base64 in lines of 76", false, base64At(base64.StdEncoding, 1, 76, "\r\n")},
	{"base64 in lines of 64", false, base64At(base64.StdEncoding, 0, 64, "\n")},
	{"base64 in short JSON lines", false, base64At(base64.StdEncoding, 0, 4, `\n`)},
	{"base64 in JSON lines", false, base64At(base64.StdEncoding, 2, 60, `\n`)},
	{"percent: query", false, plain(func(v []byte) string { return url.QueryEscape(string(v)) })},
	{"percent: path", false, plain(func(v []byte) string { return url.PathEscape(string(v)) })},
	{"percent: some", false, func(r *rand.Rand, v []byte) ([]byte, int, int) {
		var b strings.Builder
		odds := r.IntN(5)
		for _, c := range v {
			if c == '%' || r.IntN(4) < odds {
				b.WriteString(percentByte(r, c))
			} else {
				b.WriteByte(c)
			}
		}
		return []byte(b.String()), 0, 0
	}},
	{"JSON: Go", true, plain(func(v []byte) string {
		b, _ := json.Marshal(string(v))
		return string(b[1 : len(b)-1])
	})},
	{"JSON: some", true, each(`"\`, func(r *rand.Rand, c rune) string {
		if short := strings.IndexRune(`"\/`, c); short >= 0 && r.IntN(2) == 0 {
			return `\` + string(c)
		}
		var b strings.Builder
		for _, u := range utf16.Encode([]rune{c}) {
			fmt.Fprintf(&b, []string{`\u%04x`, `\u%04X`}[r.IntN(2)], u)
		}
		return b.String()
	})},
	{"HTML: Go", true, plain(func(v []byte) string { return html.EscapeString(string(v)) })},
	{"HTML: some", true, each(`&<>"'`, func(r *rand.Rand, c rune) string {
		if named := map[rune]string{'&': "amp", '<': "lt", '>': "gt", '"': "quot", '\'': "apos", '/': "sol", '+': "plus", 'é': "eacute"}[c]; named != "" && r.IntN(2) == 0 {
			return "&" + named + ";"
		}
		return fmt.Sprintf([]string{"&#%d;", "&#x%x;", "&#X%X;", "&#0%d;", "&#00000000000000000000000000000000000%d;"}[r.IntN(5)], c)
	})},
	{"UTF-16LE", true, wide(binary.LittleEndian)},
	{"UTF-16BE", true, wide(binary.BigEndian)},
}

// A coding is a content coding as its encoder writes it.
type coding struct {
	name  string // of Content-Encoding; "" for none
	write func(io.Writer) io.WriteCloser
}

var codings = []coding{
	{"", nil},
	{"gzip", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
	{"deflate", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }},
	{"deflate", func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 6); return f }},
	{"br", func(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, 4) }},
	{"zstd", func(w io.Writer) io.WriteCloser {
		z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<16))
		return z
	}},
	{"snappy", func(w io.Writer) io.WriteCloser { return snappy.NewBufferedWriter(w) }},
}

func (c coding) encode(text []byte) []byte {
	if c.write == nil {
		return text
	}
	var b bytes.Buffer
	w := c.write(&b)
	_, _ = w.Write(text) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

const (
	tokenLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	printable    = tokenLetters + "!#$%&'()*+,./:;<=>?@[]^`{|}~\"\\ "
)

// randomValue is a credential's value: of a token's letters, of anything that
// can be typed, with characters of other scripts, or of any bytes.
func randomValue(r *rand.Rand) []byte {
	n := 8 + r.IntN(60)
	if r.IntN(10) == 0 {
		n = 8 + r.IntN(1500)
	}
	var v []byte
	switch kind := r.IntN(8); {
	case kind < 3:
		for range n {
			v = append(v, tokenLetters[r.IntN(len(tokenLetters))])
		}
	case kind < 5:
		for range n {
			v = append(v, printable[r.IntN(len(printable))])
		}
	case kind < 6:
		for range n / 2 {
			v = utf8.AppendRune(v, []rune("aé/漢😀\"+ß&")[r.IntN(9)])
		}
	case kind < 7: // repeats itself
		for range n {
			v = append(v, "ab"[r.IntN(2)])
		}
	default:
		for range n {
			v = append(v, byte(33+r.IntN(94)))
		}
	}
	v = bytes.Trim(v, " ")
	for len(v) < 8 {
		v = append(v, 'x')
	}
	return v
}
