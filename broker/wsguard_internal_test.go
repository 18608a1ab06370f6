package broker

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"agentvault/broker/scrub"
	"agentvault/vault"
)

// wsFrame spells a frame of a client. The mask is drawn from the payload.
func wsFrame(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x37, byte(len(payload)), 0xfa, 0x21}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i&3])
	}
	return string(b)
}

const (
	wsText, wsContinued      = 0x01, 0x00
	wsPing                   = 0x89
	wsFinal             byte = 0x80
)

// through passes bytes through a guard, in pieces.
func through(raw string, cuts []byte, size int) (out string, found bool, err error) {
	g := (&exchange{}).guardFrames(&cutText{text: raw, cuts: cuts}, noFinder).(*frameGuard)
	g.refuse = func(*Fault) { found = true }
	var b strings.Builder
	buf := make([]byte, size)
	for err == nil {
		var n int
		n, err = g.Read(buf)
		b.Write(buf[:n])
	}
	return b.String(), found, err
}

func TestFrameGuard(t *testing.T) {
	token := vault.NewToken(vault.PrefixSession)
	long := strings.Repeat("long ", 20_000)
	for _, r := range []struct {
		name, raw string
		found     bool
	}{
		{"nothing", "", false},
		{"text", wsFrame(wsFinal|wsText, "hello"), false},
		{"no frames at all", "hello\nworld, this is not a WebSocket", false},
		{"empty frames", strings.Repeat(wsFrame(wsFinal|wsText, ""), 1000), false},
		{"long", wsFrame(wsFinal|wsText, long) + wsFrame(wsFinal|wsText, long[:300]), false},
		{"the start of a token at the end of a message", wsFrame(wsFinal|wsText, "av_sess_abc") + wsFrame(wsFinal|wsText, "more"), false},
		{"token", wsFrame(wsFinal|wsText, token), true},
		{"token behind much", wsFrame(wsFinal|wsText, long+token), true},
		{"token in two fragments", wsFrame(wsText, token[:30]) + wsFrame(wsFinal|wsContinued, token[30:]), true},
		{"token in single bytes", func() string {
			b := wsFrame(wsText, "")
			for i := range len(token) {
				b += wsFrame(wsContinued, token[i:i+1])
			}
			return b
		}(), true},
		{"with a ping between", wsFrame(wsText, token[:30]) + wsFrame(wsPing, "av_agt_x") + wsFrame(wsFinal|wsContinued, token[30:]), true},
		{"in a ping", wsFrame(wsPing, token), true},
		{"over two messages", wsFrame(wsFinal|wsText, token[:30]) + wsFrame(wsFinal|wsText, token[30:]), false},
	} {
		for _, cuts := range [][]byte{nil, {1}, {2}, {3, 200}, {49}, {255}} {
			for _, size := range []int{1, 100, 32 << 10} {
				out, found, err := through(r.raw, cuts, size)
				switch {
				case found != r.found:
					t.Errorf("%s in %v: found %t, want %t", r.name, cuts, found, r.found)
				case !found && (out != r.raw || !errors.Is(err, io.EOF)):
					t.Errorf("%s in %v: %d bytes of %d, %v", r.name, cuts, len(out), len(r.raw), err)
				case found && (!errors.Is(err, errToken) || !strings.HasPrefix(r.raw, out)):
					t.Errorf("%s in %v: %v", r.name, cuts, err)
				case found && strings.Contains(unframed(out), token[8:10]):
					t.Errorf("%s in %v: of the token went out %q", r.name, cuts, unframed(out))
				}
			}
		}
	}
}

// unframed is the payload of all frames.
func unframed(raw string) string {
	var b strings.Builder
	for len(raw) >= 6 {
		n, at := int(raw[1]&0x7f), 2
		switch n {
		case 126:
			n, at = int(binary.BigEndian.Uint16([]byte(raw[2:4]))), 4
		case 127:
			n, at = int(binary.BigEndian.Uint64([]byte(raw[2:10]))), 10
		}
		mask := raw[at : at+4]
		raw = raw[at+4:]
		n = min(n, len(raw))
		for i := range n {
			b.WriteByte(raw[i] ^ mask[i&3])
		}
		raw = raw[n:]
	}
	return b.String()
}

// A message that ends is not kept waiting, whatever it ends with.
func TestFrameGuardHoldsNoWholeMessage(t *testing.T) {
	for _, message := range []string{"banana", "av_", "av_sess_", "av_sess_abc", vault.NewToken(vault.PrefixAgent)[:55]} {
		r, w := io.Pipe()
		g := (&exchange{}).guardFrames(r, noFinder)
		frame := wsFrame(wsFinal|wsText, message)
		go w.Write([]byte(frame))
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(g, got); err != nil || string(got) != frame {
			t.Errorf("%q: %q, %v", message, got, err)
		}
	}
}

// What could be stretched without end is not held without end.
func TestFrameGuardIsBounded(t *testing.T) {
	raw := wsFrame(wsText, "av_sess_a") + strings.Repeat(wsFrame(wsContinued, ""), 10_000)
	out, found, err := through(raw, []byte{100}, 512)
	if !found || !errors.Is(err, errToken) || len(out) > 20 {
		t.Errorf("%d bytes went out, %t, %v", len(out), found, err)
	}
}

// FuzzFrameGuard: whatever the fragments, pieces and pings: a message passes byte
// for byte, or it holds a token, of which nothing behind its prefix passes.
func FuzzFrameGuard(f *testing.F) {
	token := vault.NewToken(vault.PrefixSession)
	f.Add("hello", []byte{1}, []byte{3}, uint16(100), uint64(1))
	f.Add("x"+token, []byte{9, 0, 2}, []byte{1, 2}, uint16(7), uint64(2))
	f.Fuzz(func(t *testing.T, text string, fragments, cuts []byte, size uint16, seed uint64) {
		if len(text) > 4<<10 {
			return
		}
		r := rand.New(rand.NewPCG(seed, 1))
		raw, rest, first := "", text, byte(wsText)
		for i := 0; len(rest) > 0 && i < 100; i++ {
			n := len(rest)
			if len(fragments) > 0 {
				n = min(n, int(fragments[i%len(fragments)]))
			}
			raw += wsFrame(first, rest[:n])
			rest, first = rest[n:], wsContinued
			if r.IntN(4) == 0 && len(raw) < 2<<10 {
				raw += wsFrame(wsPing, "av_"[:r.IntN(4)])
			}
		}
		raw += wsFrame(wsFinal|first, rest)
		out, found, err := through(raw, cuts, 1+int(size))
		at := firstToken(text)
		switch {
		case at < 0 && found && len(raw) > maxHeldFrames: // perhaps too much between two bytes
		case at < 0 && (found || out != raw):
			t.Fatalf("%q: found %t, %d bytes of %d, %v", text, found, len(out), len(raw), err)
		case at >= 0 && !errors.Is(err, errToken):
			t.Fatalf("%q passed, %v", text, err)
		}
	})
}

func BenchmarkFrameGuard(b *testing.B) {
	raw := wsFrame(wsFinal|wsText, strings.Repeat(`{"event":"message","available":true},`, 3000))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, (&exchange{}).guardFrames(strings.NewReader(raw), noFinder), make([]byte, 32<<10)); err != nil {
			b.Fatal(err)
		}
	}
}

func noFinder() *scrub.Finder { return nil }
