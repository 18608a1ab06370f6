package scrub_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"testing"

	"agentvault/broker/scrub"
)

// grpc spells a message with its prefix.
func grpc(flags byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(text))), text...)
}

func TestMessages(t *testing.T) {
	value := "sk-live-3f9a77c1"
	set := scrub.Compile([][]byte{[]byte(value)})
	in := slices.Concat(grpc(0, "a "+value+" b"), grpc(0, ""), grpc(0, value), grpc(0x80, "grpc-status: 0"), grpc(0, "sk-live"))
	want := slices.Concat(grpc(0, "a **************** b"), grpc(0, ""), grpc(0, "****************"), grpc(0x80, "grpc-status: 0"), grpc(0, "sk-live"))
	for n := 1; n <= len(in); n++ {
		m := set.Messages(&pieces{b: in, lens: []int{n}}, "", false)
		if got, err := io.ReadAll(m); err != nil || !bytes.Equal(got, want) || m.Places() != 2 {
			t.Fatalf("in reads of %d: %q, %d places, %v", n, got, m.Places(), err)
		}
	}
}

// A message leaves when it has come, whatever it ends with.
func TestMessagesAreNotHeldBack(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	pr, pw := io.Pipe()
	defer pr.Close() // always nil
	messages := slices.Concat(grpc(0, "ends with sk-live"), grpc(1, "compressed"))
	go func() {
		_, _ = pw.Write(messages) // ends with the pipe
	}()
	got := make([]byte, len(messages))
	if _, err := io.ReadFull(set.Messages(pr, "", true), got); err != nil || !bytes.Equal(got, messages) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestPassedMessages: what cannot be read passes where a person said so, and
// what can is masked all the same.
func TestPassedMessages(t *testing.T) {
	value := "sk-live-3f9a77c1"
	set := scrub.Compile([][]byte{[]byte(value)})
	for _, in := range [][]byte{
		slices.Concat(grpc(0, "a "+value), grpc(1, "\x1f\x8b\x08"), grpc(0, value)),
		slices.Concat(grpc(0, value), []byte("no message: "+value)),
		[]byte(value), []byte("<p>" + value + "</p>"), []byte("sk"), {0, 0, 0},
	} {
		want := bytes.ReplaceAll(in, []byte(value), bytes.Repeat([]byte("*"), len(value)))
		for n := 1; n <= len(in); n++ {
			got, err := io.ReadAll(set.Messages(&pieces{b: in, lens: []int{n}}, "", true))
			if torn := len(in) < 5; torn != errors.Is(err, io.ErrUnexpectedEOF) || !torn && err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%q in reads of %d: %q, want %q, %v", in, n, got, want, err)
			}
		}
	}
}

// event spells an event of application/vnd.amazon.eventstream without headers.
// Its last four bytes are those of the checksum, whatever they are here.
func event(text string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(text)))
	b = binary.BigEndian.AppendUint32(b, 0)
	return append(append(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)), text...), "sk-l"...)
}

func TestEvents(t *testing.T) {
	value := "sk-live-3f9a77c1"
	set := scrub.Compile([][]byte{[]byte(value)})
	in := slices.Concat(event("a "+value+" b"), event(""), event("ive-3f9a77c1"))
	want := slices.Concat(event("a **************** b"), event(""), event("ive-3f9a77c1"))
	for n := 1; n <= len(in); n++ {
		m := set.Events(&pieces{b: in, lens: []int{n}}, false)
		if got, err := io.ReadAll(m); err != nil || !bytes.Equal(got, want) || m.Places() != 1 {
			t.Fatalf("in reads of %d: %q, %d places, %v", n, got, m.Places(), err)
		}
	}
	short, long, wrong := event("x"), event("x"), event("x")
	short[3], long[7], wrong[8] = 15, 2, ^wrong[8]
	for _, b := range [][]byte{short, long} {
		binary.BigEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[:8]))
	}
	for name, in := range map[string][]byte{"too short": short, "headers too long": long, "wrong checksum": wrong, "text": []byte("<html>hello, world")} {
		if _, err := io.ReadAll(set.Events(bytes.NewReader(in), false)); !errors.Is(err, scrub.ErrUndecodable) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(set.Events(bytes.NewReader(in), true)); err != nil || !bytes.Equal(got, in) {
			t.Errorf("%s, where it passes: %q, %v", name, got, err)
		}
	}
}

func TestBadMessages(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	for name, in := range map[string][]byte{"compressed": grpc(1, "x"), "unknown": grpc(0x10, "x"), "text": []byte("<html>hello")} {
		if _, err := io.ReadAll(set.Messages(bytes.NewReader(in), "", false)); !errors.Is(err, scrub.ErrUndecodable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := grpc(0, "hello")
	for n := 1; n < len(whole); n++ {
		if _, err := io.ReadAll(set.Messages(bytes.NewReader(whole[:n]), "", false)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

// However a body comes, each of its messages comes out as a header field's value
// would, whether it was compressed or not.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("a secretsecret b"), []byte("secretsecret"), []byte{3, 1, 200, 4}, 2, 0)
	f.Add([]byte("a secretsecret b"), []byte("secretsecret"), []byte{3, 1, 201, 4}, 3, 1)
	f.Fuzz(func(t *testing.T, text, value, cuts []byte, n, coding int) {
		set := scrub.Compile([][]byte{value})
		if set.Empty() || n < 1 || len(text) > 1<<12 || len(value) > 1<<9 || len(cuts) > 1<<6 {
			return
		}
		c := codings[uint(coding)%uint(len(codings))]
		var in, want []byte
		for _, cut := range cuts {
			part := text[:min(int(cut), len(text))]
			text = text[len(part):]
			masked, _ := set.Field(string(part))
			want = append(want, grpc(0, masked)...)
			if c.name != "" && cut&1 != 0 {
				in = append(in, grpc(1, string(c.encode(part)))...)
			} else {
				in = append(in, grpc(0, string(part))...)
			}
		}
		got, err := io.ReadAll(set.Messages(&pieces{b: in, lens: []int{n}}, c.name, false))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q, want %q, %v", got, want, err)
		}
	})
}

// Whatever an upstream sends, nothing comes out but messages that are not
// compressed, and of the last one perhaps a part.
func FuzzAnyMessages(f *testing.F) {
	for i, c := range codings[1:] {
		f.Add(slices.Concat(grpc(0, "a"), grpc(1, string(c.encode([]byte("a secretsecret b")))), grpc(0x81, "b")), i, 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, coding, n int) {
		value := []byte("secretsecret")
		set := scrub.Compile([][]byte{value})
		if n < 1 {
			return
		}
		c := codings[uint(coding)%uint(len(codings))]
		got, err := io.ReadAll(set.Messages(&pieces{b: in, lens: []int{n}}, c.name, false))
		if err != nil && !errors.Is(err, scrub.ErrUndecodable) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%v: no error of the body's own", err)
		}
		for rest := got; len(rest) > 0; {
			if rest[0]&^0x82 != 0 || len(rest) < 5 {
				t.Fatalf("% x came out of % x", got, in)
			}
			text := rest[5:]
			length := int(binary.BigEndian.Uint32(rest[1:]))
			if length > len(text) && err == nil {
				t.Fatalf("% x came out of % x, and ended well", got, in)
			}
			text = text[:min(length, len(text))]
			if bytes.Contains(text, value) {
				t.Fatalf("%q holds the value", text)
			}
			rest = rest[5+len(text):]
		}
	})
}
