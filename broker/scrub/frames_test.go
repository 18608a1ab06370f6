package scrub_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"agentvault/broker/scrub"
)

// frame spells a WebSocket frame of a server (RFC 6455 §5.2).
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// A message is what an endpoint makes of frames.
type message struct {
	kind byte
	text string
}

// messages reads whole messages, and the control frames where they stood.
func messages(t *testing.T, b []byte) []message {
	t.Helper()
	var all []message
	var open *message
	for len(b) > 0 {
		first, n := b[0], int(b[1])
		b = b[2:]
		switch n {
		case 126:
			n, b = int(binary.BigEndian.Uint16(b)), b[2:]
		case 127:
			n, b = int(binary.BigEndian.Uint64(b)), b[8:]
		}
		payload := string(b[:n])
		b = b[n:]
		switch kind := first & 0x0f; {
		case kind >= 8:
			all = append(all, message{kind, payload})
			continue
		case (kind == 0) != (open != nil):
			t.Fatalf("fragments are out of order: opcode %d", kind)
		case kind != 0:
			open = &message{kind: kind}
		}
		open.text += payload
		if first&0x80 != 0 {
			all, open = append(all, *open), nil
		}
	}
	return all
}

func TestFragments(t *testing.T) {
	value := "sk-live-3f9a77c1"
	set := scrub.Compile([][]byte{[]byte(value)})
	text := "a " + value + " b"
	want := []message{{9, "ping"}, {1, "a **************** b"}, {2, "sk-live-"}, {8, "\x03\xe8****************"}}
	for i := range len(text) {
		for j := i; j < len(text); j++ {
			in := slices.Concat(
				frame(0x01, []byte(text[:i])), frame(0x89, []byte("ping")), frame(0x00, []byte(text[i:j])), frame(0x80, []byte(text[j:])),
				frame(0x82, []byte("sk-live-")), frame(0x88, []byte("\x03\xe8"+value)),
			)
			f := set.Frames(&pieces{b: in, lens: []int{1, 3, 100}})
			got, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			if m := messages(t, got); !slices.Equal(m, want) || f.Places() != 2 {
				t.Fatalf("split at %d and %d: %q, %d places", i, j, m, f.Places())
			}
		}
	}
}

// A frame of usual length stays one frame, of the same length.
func TestFramesStayWhole(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536} {
		in := frame(0x81, bytes.Repeat([]byte("x"), n))
		got, err := io.ReadAll(set.Frames(&pieces{b: in, lens: []int{1000}}))
		if err != nil || !bytes.Equal(got, in) {
			t.Errorf("a frame of %d bytes became one of %d with head % x, %v", n, len(got), got[:min(10, len(got))], err)
		}
	}
	long := bytes.Repeat([]byte("0123456789"), 100_000)
	got, err := io.ReadAll(set.Frames(bytes.NewReader(frame(0x82, long))))
	if err != nil {
		t.Fatal(err)
	}
	if m := messages(t, got); len(m) != 1 || m[0].kind != 2 || m[0].text != string(long) {
		t.Errorf("a long frame became %d messages", len(m))
	}
}

func TestBadFrames(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	for name, in := range map[string][]byte{
		"compressed":           frame(0xc1, []byte("x")),
		"masked":               {0x81, 0x81, 1, 2, 3, 4, 'x'},
		"unknown":              frame(0x83, []byte("x")),
		"unknown control":      frame(0x8b, []byte("x")),
		"continues nothing":    frame(0x80, []byte("x")),
		"within another":       slices.Concat(frame(0x01, []byte("x")), frame(0x81, []byte("y"))),
		"control in fragments": frame(0x09, []byte("x")),
		"long control":         frame(0x89, make([]byte, 126)),
		"endless":              {0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		if _, err := io.ReadAll(set.Frames(bytes.NewReader(in))); !errors.Is(err, scrub.ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := frame(0x81, []byte("hello"))
	for n := 1; n < len(whole); n++ {
		if _, err := io.ReadAll(set.Frames(bytes.NewReader(whole[:n]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

// However a message is cut into frames, its text comes out as a header field's
// would.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("a secretsecret b"), []byte("secretsecret"), []byte{3, 1, 200, 4})
	f.Fuzz(func(t *testing.T, text, value, cuts []byte) {
		set := scrub.Compile([][]byte{value})
		if set.Empty() || len(text) < scrub.MinLength || len(text) > 1<<12 || len(value) > 1<<9 {
			return
		}
		var in []byte
		rest, kind := text, byte(1)
		for _, c := range cuts {
			n := min(int(c&0x7f), len(rest))
			in = append(in, frame(kind, rest[:n])...)
			rest, kind = rest[n:], 0
			if c&0x80 != 0 {
				in = append(in, frame(0x8a, []byte("pong"))...)
			}
		}
		in = append(in, frame(0x80|kind, rest)...)
		got, err := io.ReadAll(set.Frames(bytes.NewReader(in)))
		if err != nil {
			t.Fatal(err)
		}
		want, _ := set.Field(string(text))
		for _, m := range messages(t, got) {
			if m.kind == 1 && m.text != want {
				t.Fatalf("%q, want %q", m.text, want)
			}
		}
	})
}

// Whatever a server sends, nothing but whole frames comes out. A message that
// has no last frame may keep what could still become part of a credential.
func FuzzAnyFrames(f *testing.F) {
	f.Add(frame(0x81, []byte("hello")), []byte("secretsecret"))
	f.Add([]byte("\x01\r\x17X\xfbWG\x1do>\xfc%\xf0\x81|"), []byte("secretsecret"))
	f.Fuzz(func(t *testing.T, in, value []byte) {
		set := scrub.Compile([][]byte{value})
		if set.Empty() {
			return
		}
		got, err := io.ReadAll(set.Frames(bytes.NewReader(in)))
		if err == nil && len(got) == 0 && len(in) > 2 && in[0]&0x80 != 0 {
			t.Fatalf("% x vanished", in)
		}
		_, err = io.ReadAll(set.Frames(bytes.NewReader(got)))
		if err != nil {
			t.Fatalf("% x came out, which cannot be read: %v", got, err)
		}
	})
}
