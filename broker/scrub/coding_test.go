package scrub_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"

	"agentvault/broker/scrub"
)

func TestCodings(t *testing.T) {
	for field, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", " GZIP , br": "gzip br", "deflate,identity,zstd": "deflate zstd", "compress": "compress",
	} {
		if got := strings.Join(scrub.Codings([]string{field}), " "); got != want {
			t.Errorf("%q: %q, want %q", field, got, want)
		}
	}
	if got := strings.Join(scrub.Codings([]string{"gzip", "br"}), " "); got != "gzip br" {
		t.Errorf("two lines: %q", got)
	}
}

func TestDecode(t *testing.T) {
	text := []byte(strings.Repeat("a text that repeats itself, ", 100))
	twice := codings[4].encode(codings[1].encode(text))
	for name, row := range map[string]struct {
		body    []byte
		codings string
	}{
		"two":     {twice, "gzip, br"},
		"x-gzip":  {codings[1].encode(text), "x-gzip"},
		"members": {append(codings[1].encode(text[:100]), codings[1].encode(text[100:])...), "gzip"},
	} {
		d, err := scrub.Decode(iotest.OneByteReader(bytes.NewReader(row.body)), scrub.Codings([]string{row.codings}))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// A decoder that is used again knows nothing of the text before, whatever came of
// that: each coding's texts come out as they went in, one after another.
func TestDecodersAreUsedAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	long := make([]byte, 300<<10)
	for i := range long {
		long[i] = "ab \n"[r.IntN(4)]
	}
	for i := range 400 {
		c := codings[1+r.IntN(len(codings)-1)]
		from := r.IntN(len(long))
		text := long[from : from+1+r.IntN(min(len(long)-from, 1<<r.IntN(19)))]
		coded := c.encode(text)
		switch r.IntN(4) {
		case 0:
			coded = coded[:r.IntN(len(coded)+1)]
		case 1:
			coded[r.IntN(len(coded))] ^= 0x11
		}
		d, err := scrub.Decode(bytes.NewReader(coded), []string{c.name})
		if err != nil {
			t.Fatal(err)
		}
		whole := bytes.Equal(coded, c.encode(text))
		if got, err := io.ReadAll(d); whole && (err != nil || !bytes.Equal(got, text)) {
			t.Fatalf("run %d, %s: %d bytes, want %d, %v", i, c.name, len(got), len(text), err)
		}
		if n, err := d.Read(make([]byte, 10)); n > 0 || err == nil {
			t.Fatalf("run %d, %s: %d bytes behind the end, %v", i, c.name, n, err)
		}
	}
}

// However a coded text comes, it ends where it should.
func TestDecodeInPieces(t *testing.T) {
	value := "sk-live-3f9a77c1"
	text := []byte(value + strings.Repeat("a long message of this and that, ", 5000) + value)
	for _, c := range codings[1:] {
		for _, behind := range []string{"", "\r\n"} {
			if behind != "" && c.name != "br" && c.name != "deflate" { // others go on with another text
				continue
			}
			body := append(c.encode(text), behind...)
			for n := range 20 {
				d, err := scrub.Decode(&pieces{b: body, lens: []int{n + 1}}, []string{c.name})
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, text) {
					t.Errorf("%s, in reads of %d, %q behind it: %d bytes, want %d, %v", c.name, n+1, behind, len(got), len(text), err)
				}
			}
		}
	}
}

func TestEmptyBody(t *testing.T) {
	for _, c := range codings[1:] {
		d, err := scrub.Decode(strings.NewReader(""), []string{c.name})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(d); err != nil || len(got) != 0 {
			t.Errorf("%s of nothing: %q, %v", c.name, got, err)
		}
	}
}

func TestUndecodable(t *testing.T) {
	text := []byte(strings.Repeat("a text that repeats itself, ", 100))
	bomb := make([]byte, 64<<20)
	for _, c := range codings[1:] {
		good := c.encode(text)
		broken := bytes.Clone(good)
		for i := range broken {
			broken[i] ^= 0x5a
		}
		bad := map[string][]byte{"broken": broken, "plain": text, "bomb": c.encode(bomb)}
		if c.name == "snappy" { // makes at most 64 bytes of three
			delete(bad, "bomb")
		}
		for name, body := range bad {
			d, err := scrub.Decode(bytes.NewReader(body), []string{c.name})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, d); !errors.Is(err, scrub.ErrUndecodable) || n > 20<<20 {
				t.Errorf("%s, %s: %d bytes, %v", c.name, name, n, err)
			}
		}
		d, err := scrub.Decode(bytes.NewReader(good[:len(good)-1]), []string{c.name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(d); err == nil {
			t.Errorf("%s: a body that was cut short ended cleanly", c.name)
		}
		lost := errors.New("connection lost")
		d, err = scrub.Decode(io.MultiReader(bytes.NewReader(good[:len(good)/2]), iotest.ErrReader(lost)), []string{c.name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(d); !errors.Is(err, lost) {
			t.Errorf("%s: %v, want the body's own end", c.name, err)
		}
	}
	for _, names := range [][]string{{"compress"}, {"gzip", "dcb"}, {"gzip", "gzip", "gzip", "gzip"}} {
		if _, err := scrub.Decode(strings.NewReader(""), names); !errors.Is(err, scrub.ErrUndecodable) {
			t.Errorf("%q: %v", names, err)
		}
	}
}

// What an encoder has flushed comes out before anything follows: an event is not
// delayed by its coding.
func TestDecodeDoesNotDelay(t *testing.T) {
	for _, c := range codings[1:] {
		pr, pw := io.Pipe()
		var coded bytes.Buffer
		w := c.write(&coded)
		d, err := scrub.Decode(pr, []string{c.name})
		if err != nil {
			t.Fatal(err)
		}
		r := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")}).Reader(d)
		buf := make([]byte, 4096)
		for _, event := range []string{"data: one\n\n", "data: two\n\n"} {
			_, err := io.WriteString(w, event)
			if err := errors.Join(err, w.(interface{ Flush() error }).Flush()); err != nil {
				t.Fatal(err)
			}
			go func(flushed []byte) {
				_, _ = pw.Write(flushed) // ends with the pipe
			}(bytes.Clone(coded.Bytes()))
			coded.Reset()
			var got []byte
			for len(got) < len(event) {
				n, err := r.Read(buf) // would block if the event were held
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				got = append(got, buf[:n]...)
			}
			if string(got) != event {
				t.Errorf("%s: %q", c.name, got)
			}
		}
		_ = pr.Close() // always nil
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range codings[1:] {
		f.Add(c.encode([]byte("a text with sk-live-3f9a77c1 in it")), c.name)
	}
	f.Fuzz(func(t *testing.T, body []byte, coding string) {
		d, err := scrub.Decode(bytes.NewReader(body), scrub.Codings([]string{coding}))
		if err != nil {
			return
		}
		got, err := io.ReadAll(io.LimitReader(d, 1<<20))
		if err != nil && !errors.Is(err, scrub.ErrUndecodable) {
			t.Fatalf("%v: no error of the body's own", err)
		}
		if coding == "gzip" && err == nil && len(got) < 1<<20 && len(body) > 0 {
			z, zerr := gzip.NewReader(bytes.NewReader(body))
			if zerr != nil {
				t.Fatalf("decoded what is no gzip: %v", zerr)
			}
			if want, _ := io.ReadAll(z); !bytes.Equal(got, want) {
				t.Fatalf("%q, want %q", got, want)
			}
		}
	})
}
