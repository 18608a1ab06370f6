package broker

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// read in pieces of n bytes, as a network would bring them.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.b[:min(p.n, len(p.b))])
	p.b = p.b[n:]
	return n, nil
}

// The truth checked: wherever the reads fall, no spelling of the value comes
// out, nothing else changes, and lengths hold.
func TestScrubberAcrossReads(t *testing.T) {
	value := "sk-live-3f9a77c1e2d4b6a8/+"
	needles := needlesOf(nil, []byte(value))
	stars := func(n int) string { return strings.Repeat("*", n) }
	for _, before := range []string{"", "x", "xy", "xyz"} {
		texts := map[string]string{
			value:                             stars(len(value)),
			hex.EncodeToString([]byte(value)): stars(2 * len(value)),
			value + value:                     stars(2 * len(value)),
			value[:len(value)-1]:              value[:len(value)-1],
			value[:5] + value:                 value[:5] + stars(len(value)),
			strings.ToUpper(hex.EncodeToString([]byte(value))): stars(2 * len(value)),
		}
		for text, want := range texts {
			for n := 1; n <= len(text)+3; n++ {
				s := newScrubber(&pieces{[]byte(before + text + "!"), n}, needles)
				got, err := io.ReadAll(s)
				if err != nil || string(got) != before+want+"!" {
					t.Fatalf("%q in pieces of %d: %q, %v", before+text, n, got, err)
				}
			}
		}
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			got, err := io.ReadAll(newScrubber(&pieces{[]byte(enc.EncodeToString([]byte(before + value + "tail"))), 5}, needles))
			if err != nil {
				t.Fatal(err)
			}
			clear, err := enc.DecodeString(strings.ReplaceAll(string(got), "*", "A"))
			if err != nil || bytes.Contains(clear, []byte(value[2:len(value)-2])) {
				t.Errorf("base64 of %q came through: %q", before+value, got)
			}
		}
	}
}

// A needle that is part of another, or overlaps it, hides it nowhere.
func TestScrubberMasksTheUnion(t *testing.T) {
	needles := [][]byte{[]byte("sk-prefix-0001"), []byte("sk-prefix-0001-and-a-tail"), []byte("tail-of-another")}
	for text, want := range map[string]string{
		"sk-prefix-0001!":                       "**************!",
		"sk-prefix-0001-and-a-tail!":            "*************************!",
		"sk-prefix-0001-and-a-tail-of-another!": "************************************!",
		"sk-prefix-0001-and-a-tai!":             "**************-and-a-tai!",
		"sk-prefix-000!":                        "sk-prefix-000!",
	} {
		for n := 1; n <= len(text); n++ {
			got, err := io.ReadAll(newScrubber(&pieces{[]byte(text), n}, needles))
			if err != nil || string(got) != want {
				t.Errorf("%q in pieces of %d: %q, %v, want %q", text, n, got, err, want)
			}
		}
		if got, _ := maskField(text, needles); got != want {
			t.Errorf("%q in a field: %q, want %q", text, got, want)
		}
	}
}

func TestScrubberHoldsNothingBack(t *testing.T) {
	needles := needlesOf(nil, []byte("sk-live-3f9a77c1"))
	pr, pw := io.Pipe()
	s := newScrubber(pr, needles)
	go pw.Write([]byte("data: event\n\n"))
	buf := make([]byte, 4096)
	n, err := s.Read(buf) // would block if a byte were held
	if err != nil || string(buf[:n]) != "data: event\n\n" {
		t.Errorf("%q %v", buf[:n], err)
	}
}

func TestShortValuesAreNotScrubbed(t *testing.T) {
	if n := needlesOf(nil, []byte("seven77")); n != nil {
		t.Errorf("%q", n)
	}
}

func FuzzScrubber(f *testing.F) {
	f.Add([]byte("xxsecretsecretxx"), []byte("secretsecret"), 3)
	f.Add([]byte("aaaaaaaaaaaaaaaaaaab"), []byte("aaaaaaab"), 1)
	f.Fuzz(func(t *testing.T, text, value []byte, n int) {
		value = bytes.Trim(value, " \t") // what HTTP sends of it
		if len(value) < minScrubbed || n < 1 || len(text) > 1<<12 || bytes.Contains(value, []byte("*")) {
			return
		}
		needles := needlesOf(nil, value)
		got, err := io.ReadAll(newScrubber(&pieces{text, n}, needles))
		if err != nil || len(got) != len(text) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(text), err)
		}
		if bytes.Contains(got, value) {
			t.Fatalf("%q came through in %q", value, got)
		}
		whole, err := io.ReadAll(newScrubber(iotest.DataErrReader(bytes.NewReader(text)), needles))
		if err != nil || len(whole) != len(text) {
			t.Fatalf("%d bytes of %d, %v", len(whole), len(text), err)
		}
		for i := range text {
			if got[i] != text[i] && got[i] != '*' {
				t.Fatalf("byte %d became %q", i, got[i])
			}
		}
	})
}

func FuzzRawTarget(f *testing.F) {
	for _, s := range []string{"/", "/a?b", "*", "http://h/p?q", "https://h?q", "https://h", "//x//", "/?", "h:443"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, query, has, ok := RawTarget(s)
		if !ok {
			return
		}
		back := path
		if has {
			back += "?" + query
		}
		if strings.HasPrefix(s, "/") && back != s {
			t.Errorf("%q became %q", s, back)
		}
		if !strings.HasPrefix(path, "/") && path != "*" {
			t.Errorf("%q has path %q", s, path)
		}
		if strings.Contains(path, "?") {
			t.Errorf("%q has path %q", s, path)
		}
	})
}
