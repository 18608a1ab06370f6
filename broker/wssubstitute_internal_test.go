package broker

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"agentvault/broker/scrub"
	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// replacingMessages is an exchange that replaces one placeholder in messages by "value".
func replacingMessages(t testing.TB) *exchange {
	t.Helper()
	const placeholder = "__api_key_goes_here__"
	subs := inject.Placeholders([]inject.Substitution{{Placeholder: placeholder, Credential: "K", In: []string{inject.SurfaceWebSocket}}}, nil)
	key := seal.NewKey()
	sealed, err := key.ForVault("v").Seal(seal.Context{Vault: "v", Credential: "K", Field: "value", Version: 1}, seal.NewPlaintext([]byte(`va"lue`)))
	if err != nil {
		t.Fatal(err)
	}
	v := &vaultView{
		id: "v", placeholders: scrub.Compile([][]byte{[]byte(placeholder)}),
		boxes: map[string]box{"K": {1, sealed}}, opener: key.ForVault("v").Opener(),
	}
	e := &exchange{Broker: &Broker{}, vault: v, session: &session{}, service: &service{subs: subs}}
	e.use.holder = e
	e.use.stop() // nothing is there to be cut
	e.Broker.view.Store(&View{})
	return e
}

// FuzzReplaceInMessages: whatever an agent sends, what goes on is frames of a client
// that hold no placeholder, and is the same however it comes in.
func FuzzReplaceInMessages(f *testing.F) {
	const placeholder = "__api_key_goes_here__"
	f.Add([]byte(wsFrame(wsFinal|wsText, "AUTH "+placeholder)))
	f.Add([]byte(wsFrame(wsText, `{"k":"`+placeholder[:7]) + wsFrame(wsFinal|wsPing, "ping") + wsFrame(wsFinal, placeholder[7:]+`"}`)))
	f.Add([]byte(wsFrame(0x02, placeholder[:9]) + wsFrame(wsFinal, placeholder[9:])))
	f.Add([]byte(wsFrame(wsFinal|wsText, strings.Repeat("a", 200))))
	f.Add([]byte{0x81, 0xfe, 0xff})
	e := replacingMessages(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var first string
		for i, src := range []io.Reader{bytes.NewReader(raw), iotest.OneByteReader(bytes.NewReader(raw))} {
			out, err := io.ReadAll(e.replaceInMessages(src))
			text := payloads(t, out, err != nil)
			if strings.Contains(text, placeholder) {
				t.Fatalf("%q became %q", raw, text)
			}
			if i == 1 && err == nil && text != first {
				t.Fatalf("%q became %q, and byte by byte %q", raw, first, text)
			}
			first = text
		}
	})
}

// payloads are those of the frames of a client, each on a line, but for fragments,
// which are joined behind the rest. torn tells that the last may be cut.
func payloads(t *testing.T, frames []byte, torn bool) string {
	t.Helper()
	m := &messageReplacer{src: bufio.NewReader(bytes.NewReader(frames))}
	var all, joined []byte
	for {
		first, length, err := m.header()
		if err != nil {
			if !errors.Is(err, io.EOF) && !torn {
				t.Fatalf("%q: %v", frames, err)
			}
			return string(all) + string(joined)
		}
		payload, err := m.payload(nil, min(length, uint64(len(frames))))
		if err != nil && !torn {
			t.Fatalf("%q: %v", frames, err)
		}
		switch kind := first &^ frameFin; {
		case kind == frameContinue:
			joined = append(joined, payload...)
		case kind == frameBinary:
			joined = append(append(joined, '\n'), payload...)
		default:
			all = append(append(all, payload...), '\n')
		}
	}
}
