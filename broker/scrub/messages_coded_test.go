package scrub_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"agentvault/broker/scrub"
)

// A credential is masked in whatever compressed message it stands, wherever in
// it, and however that comes; what goes on is not compressed.
func TestCodedMessages(t *testing.T) {
	value := "sk-live-3f9a77c1"
	set := scrub.Compile([][]byte{[]byte(value)})
	long := strings.Repeat("a long message of this and that, ", 5000)
	for _, c := range codings[1:] {
		for protocol, flags := range map[string]struct{ message, last byte }{
			"gRPC": {0, 0}, "gRPC-Web": {0, 0x80}, "Connect": {0, 0x02},
		} {
			for place, text := range map[string]string{
				"front": value + " b", "middle": "a " + value + " b", "end": "a " + value, "all": value, "none": "a b",
				"long": long + value + long, "on a buffer's edge": strings.Repeat("x", 64<<10-7) + value,
			} {
				last := "grpc-message: " + value
				in := slices.Concat(
					grpc(flags.message|1, string(c.encode([]byte(text)))), grpc(flags.message, value), grpc(flags.message|1, ""),
					grpc(flags.last|1, string(c.encode([]byte(last)))),
				)
				masked := func(s string) string { return strings.ReplaceAll(s, value, strings.Repeat("*", len(value))) }
				want := slices.Concat(grpc(flags.message, masked(text)), grpc(flags.message, masked(value)), grpc(flags.message, ""), grpc(flags.last, masked(last)))
				for _, lens := range [][]int{{1}, {2, 3}, {5}, {7, 1, 100}, {1 << 20}} {
					for _, pass := range []bool{false, true} {
						m := set.Messages(&pieces{b: in, lens: lens}, c.name, pass)
						got, err := io.ReadAll(m)
						if err != nil || !bytes.Equal(got, want) || m.Places() != 2+strings.Count(text, value) {
							t.Fatalf("%s, %s, %s, reads of %v, pass %t: %.200q, want %.200q, %d places, %v", protocol, c.name, place, lens, pass, got, want, m.Places(), err)
						}
					}
				}
			}
		}
	}
}

// A compressed message is a text of its own, as one that is not: what is torn
// between two is not looked for.
func TestTornBetweenMessages(t *testing.T) {
	value := "sk-live-3f9a77c1"
	set := scrub.Compile([][]byte{[]byte(value)})
	for _, c := range codings {
		flag := byte(1)
		if c.name == "" {
			flag = 0
		}
		in := slices.Concat(grpc(flag, string(c.encode([]byte(value[:8])))), grpc(flag, string(c.encode([]byte(value[8:])))))
		got, err := io.ReadAll(set.Messages(bytes.NewReader(in), c.name, false))
		if want := slices.Concat(grpc(0, value[:8]), grpc(0, value[8:])); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %q, %v", c.name, got, err)
		}
	}
}

// A compressed message leaves when it has come, though nothing follows.
func TestCodedMessagesAreNotHeldBack(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	for _, c := range codings[1:] {
		pr, pw := io.Pipe()
		m := set.Messages(pr, c.name, false)
		for range 3 {
			go func() {
				_, _ = pw.Write(grpc(1, string(c.encode([]byte("ends with sk-live"))))) // ends with the pipe
			}()
			want := grpc(0, "ends with sk-live")
			got := make([]byte, len(want))
			if _, err := io.ReadFull(m, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %q, %v", c.name, got, err)
			}
		}
		_ = pr.Close() // always nil
	}
}

// What cannot be decoded is refused, and nothing of it comes out; where it passes
// it does as it came, and messages around it are masked.
func TestUndecodableMessages(t *testing.T) {
	value := "sk-live-3f9a77c1"
	set := scrub.Compile([][]byte{[]byte(value)})
	const most = 4 << 20
	for _, c := range codings[1:] {
		encode := func(text []byte) string { return string(c.encode(text)) }
		good := encode([]byte(strings.Repeat("a text that repeats itself, ", 100)))
		broken := []byte(good)
		for i := range broken {
			broken[i] ^= 0x5a
		}
		for name, message := range map[string]string{
			"broken": string(broken), "plain": "no such coding", "cut": good[:len(good)-1], "too long": encode(make([]byte, most+1)),
			"too long as it comes": string(make([]byte, most+1)), "much behind it": good + strings.Repeat("x", 200<<10),
		} {
			around := grpc(0, "a "+value)
			in := slices.Concat(around, grpc(1, message), around)
			masked := grpc(0, "a ****************")
			got, err := io.ReadAll(set.Messages(bytes.NewReader(in), c.name, false))
			if !errors.Is(err, scrub.ErrUndecodable) || !bytes.Equal(got, masked) {
				t.Errorf("%s, %s: %.100q, %v", c.name, name, got, err)
			}
			got, err = io.ReadAll(set.Messages(bytes.NewReader(in), c.name, true))
			if err != nil || !bytes.Equal(got, slices.Concat(masked, grpc(1, message), masked)) {
				t.Errorf("%s, %s, where it passes: %d bytes %.100q, %v", c.name, name, len(got), got, err)
			}
		}
		got, err := io.ReadAll(set.Messages(bytes.NewReader(grpc(1, encode(make([]byte, most)))), c.name, false))
		if err != nil || len(got) != 5+most {
			t.Errorf("%s: of a message of %d bytes came %d, %v", c.name, most, len(got), err)
		}
		if _, err := io.ReadAll(set.Messages(bytes.NewReader(grpc(0x11, good)), c.name, false)); !errors.Is(err, scrub.ErrUndecodable) {
			t.Errorf("%s, a flag that nobody knows: %v", c.name, err)
		}
	}
	for _, coding := range []string{"", "identity", "lz4", "gzip, br"} {
		if _, err := io.ReadAll(set.Messages(bytes.NewReader(grpc(1, "x")), coding, false)); !errors.Is(err, scrub.ErrUndecodable) {
			t.Errorf("a message in the coding %q: %v", coding, err)
		}
	}
}

// Many messages that expand far, none of which is too long, are a bomb together.
func TestBombOfMessages(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	for _, c := range codings[1:] {
		if c.name == "snappy" { // makes at most 64 bytes of three
			continue
		}
		in := bytes.Repeat(grpc(1, string(c.encode(make([]byte, 1<<20)))), 100)
		if n, err := io.Copy(io.Discard, set.Messages(bytes.NewReader(in), c.name, false)); !errors.Is(err, scrub.ErrUndecodable) || n > 20<<20 {
			t.Errorf("%s: %d bytes, %v", c.name, n, err)
		}
	}
}

// A message that is cut short with the body is not one that cannot be decoded.
func TestCodedMessagesCutShort(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	lost := errors.New("connection lost")
	for _, c := range codings[1:] {
		first, second := grpc(1, string(c.encode([]byte("hello")))), grpc(1, string(c.encode([]byte("a text that repeats itself itself itself"))))
		in := slices.Concat(first, second)
		for _, pass := range []bool{false, true} {
			for n := len(first) + 1; n < len(in); n++ {
				for want, src := range map[error]io.Reader{
					io.ErrUnexpectedEOF: bytes.NewReader(in[:n]), lost: io.MultiReader(bytes.NewReader(in[:n]), iotest.ErrReader(lost)),
				} {
					got, err := io.ReadAll(set.Messages(src, c.name, pass))
					if whole := grpc(0, "hello"); !errors.Is(err, want) || errors.Is(err, scrub.ErrUndecodable) || !bytes.HasPrefix(got, whole) || !pass && len(got) > len(whole) {
						t.Errorf("%s, cut after %d of %d bytes, pass %t: %q, %v", c.name, n, len(in), pass, got, err)
					}
				}
			}
		}
	}
}

// Messages that are not compressed cost no memory.
func TestMessagesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("needs a build without the race detector, which allocates")
	}
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	var src bytes.Buffer
	one := grpc(0, "a message as it is said a thousand times")
	m, buf := set.Messages(&src, "gzip", false), make([]byte, len(one))
	src.Grow(len(one))
	if n := testing.AllocsPerRun(100, func() {
		src.Write(one)
		if _, err := io.ReadFull(m, buf); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for each", n)
	}
}

func BenchmarkMessages(b *testing.B) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	text := []byte(strings.Repeat(`{"n": 1, "text": "of a message"}`, 32))
	for _, c := range codings {
		b.Run(fmt.Sprintf("coding=%s", c.name), func(b *testing.B) {
			one := grpc(0, string(text))
			if c.name != "" {
				one = grpc(1, string(c.encode(text)))
			}
			var src bytes.Buffer
			m, buf := set.Messages(&src, c.name, false), make([]byte, 5+len(text))
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				src.Write(one)
				if _, err := io.ReadFull(m, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
