package mitm

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"agentvault/broker"
)

// Whatever a client sends, in whatever pieces: a handshake reads no byte too
// many; who is not known gets no request; and a request's target is spelled by
// the bytes that were sent.
func FuzzSOCKS(f *testing.F) {
	name := "\x05\x01\x00\x03\x0fapi.example.com\x01\xbb"
	for _, s := range []string{
		"\x04\x01\x01\xbb\x7f\x00\x00\x01\x00", "\x05\x00", "\x05\x01\x00" + name, "\x05\x01\x02\x01\x03tok\x01v" + name,
		"\x05\x01\x80\x01\x03tok\x01v", "\x05\x02\x00\x02\x01\x01t\x00\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x01\xbb", "\x05\x01\x02\x01\x00\x00" + name,
		"\x05\x01\x02\x01\x01t\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb\x16\x03\x01", "\x05\x01\x02\x01\x01t\x00\x05\x02\x00\x03\x00\x00\x00", "\x05\x01\x02\x01\x01t\x00\x05\x01\x00\x03\x05a:b@c\x01\xbb",
	} {
		f.Add([]byte(s), true, true, uint8(3))
		f.Add([]byte(s), false, false, uint8(0))
	}
	f.Fuzz(func(t *testing.T, sent []byte, bound, welcome bool, piece uint8) {
		in := bytes.NewReader(sent)
		var out bytes.Buffer
		h := handshake{in: io.Reader(&pieces{in, 1 + int(piece)}), out: &out, known: func(broker.Identity) *broker.Fault {
			if welcome {
				return nil
			}
			return broker.NewFault(broker.CodeUnauthorized)
		}}
		mine := broker.Identify("mine", "")
		if bound {
			h.bound = &mine
		}
		err := h.run()
		read := sent[:len(sent)-in.Len()]
		switch {
		case err != nil && h.request != nil:
			t.Fatalf("a request, although %v", err)
		case err == nil && h.request == nil && (bound || h.bound == nil):
			t.Fatal("neither bound nor a request nor an error")
		case bound && h.bound != &mine:
			t.Fatal("bound to another")
		case out.Len() > 4 && sent[0] == socksVersion:
			t.Fatalf("it said %q", out.Bytes())
		}
		if said := out.String(); err == nil && said != "\x05\x00" && said != "\x05\x02\x01\x00" && said != "\x05\x80\x01\x00" {
			t.Fatalf("it goes on after %q", said)
		}
		if err != nil || h.request == nil {
			return
		}
		if !bound && !welcome {
			t.Fatal("whom the vault does not know has a request")
		}
		if h.request.fault != nil {
			return
		}
		target, port := h.request.target, binary.BigEndian.Uint16(read[len(read)-2:])
		if target.Port != port || port == 0 || target.Scheme != "https" {
			t.Fatalf("%v of %q", target, read)
		}
		if !target.IsIP() && !bytes.HasSuffix(bytes.ToLower(read[:len(read)-2]), []byte(target.Host)) {
			t.Fatalf("%q is not in %q", target.Host, read)
		}
		if again, f := broker.Pin("https", target.Address()); f != nil || again != target {
			t.Fatalf("%v pins %v, %v", target, again, f)
		}
	})
}

// pieces gives out so many bytes at a time.
type pieces struct {
	io.Reader
	size int
}

func (p *pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.size)]) }
