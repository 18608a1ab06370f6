package scrub

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Bits of the first byte of a message's prefix.
const (
	bitCompressed = 0x01 // gRPC and Connect
	bitsUnknown   = 0x7c // 0x02 ends a stream of Connect, 0x80 is trailers of gRPC-Web
)

// maxMessage bounds, in bytes, a message that is compressed, and what it decodes
// to. It is held until it is whole, since its length stands in front. It is what
// gRPC's clients take by default.
const maxMessage = 4 << 20

// A Messages passes messages that tell their lengths on with every credential in
// one of them masked. Each leaves when it has come: it is not held back for the
// next, and what is torn between two is not looked for. One that is compressed
// goes on decoded, and without the flag that says so; one that cannot be decoded
// is ErrUndecodable, and so is a body that is no such messages.
type Messages struct {
	src    io.Reader
	coding string // of the messages that are compressed; "": unknown
	pass   bool
	prefix int                                     // bytes before a message
	length func(prefix []byte) (n uint32, ok bool) // of what follows a prefix that is one
	text   bool                                    // it is no messages; needs pass
	rest   uint32                                  // bytes of the message that were not read yet
	plain  bytes.Buffer                            // those of them that are at hand
	in     int64                                   // bytes of compressed messages, all together
	out    int64                                   // bytes that they decoded to
	err    error
	masker
}

// Messages returns a Messages of src, which are of gRPC, gRPC-Web or Connect: a
// byte of flags, and a length. The coding is theirs where the flags say that they
// have one; of one that [Decodes] does not know they cannot be decoded. With pass,
// one that cannot be decoded is taken as it is, and a body that is no messages as
// [Set.Reader] does. The Set must not be empty.
func (s *Set) Messages(src io.Reader, coding string, pass bool) *Messages {
	if !Decodes(coding) {
		coding = ""
	}
	refused := byte(bitsUnknown)
	if coding == "" && !pass {
		refused |= bitCompressed
	}
	return &Messages{src: src, coding: coding, pass: pass, masker: masker{tables: s.tables}, prefix: 5, length: func(p []byte) (uint32, bool) {
		return binary.BigEndian.Uint32(p[1:]), p[0]&refused == 0
	}}
}

// Events returns a Messages of src, which are of application/vnd.amazon.eventstream:
// the length of all, the length of the headers, a checksum of both; then headers,
// payload and a checksum of four bytes. One that was masked does not have its
// checksum any more. With pass, a body that is no events is taken as [Set.Reader]
// does. The Set must not be empty.
func (s *Set) Events(src io.Reader, pass bool) *Messages {
	const prefix, checksum = 12, 4
	return &Messages{src: src, pass: pass, masker: masker{tables: s.tables}, prefix: prefix, length: func(p []byte) (uint32, bool) {
		all, headers := binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])
		fits := all >= prefix+checksum && headers <= all-prefix-checksum
		return all - prefix, fits && binary.BigEndian.Uint32(p[8:]) == crc32.ChecksumIEEE(p[:8])
	}}
}

// Read implements io.Reader.
func (m *Messages) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for m.ready == 0 && m.err == nil {
		m.err = m.step()
	}
	if m.ready == 0 {
		return 0, m.err
	}
	return m.take(p), nil
}

// step reads a prefix, or a part of a message.
func (m *Messages) step() error {
	if m.rest == 0 {
		return m.begin()
	}
	held, n := len(m.buf), int(min(m.rest, wholeFrame))
	m.buf = append(m.buf, make([]byte, n)...)
	src := m.src
	if m.plain.Len() > 0 {
		src = &m.plain
	}
	n, err := src.Read(m.buf[held:])
	m.buf = m.buf[:held+n]
	if m.plain.Len() == 0 && m.plain.Cap() > wholeFrame {
		m.plain = bytes.Buffer{} // a stream that is silent holds no long message
	}
	if m.text {
		m.scan(err != nil)
		return err
	}
	m.rest -= uint32(n)
	m.scan(m.rest == 0)
	if errors.Is(err, io.EOF) && m.rest > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// begin reads what stands before a message: nothing of the one before is held
// then.
func (m *Messages) begin() error {
	m.buf, m.until = append(m.buf[:0], make([]byte, m.prefix)...), 0
	n, err := io.ReadFull(m.src, m.buf)
	length, ok := uint32(0), false
	if err == nil {
		length, ok = m.length(m.buf)
	}
	switch {
	case m.pass && n > 0 && !ok:
		m.text, m.rest, m.buf = true, wholeFrame, m.buf[:n]
		m.scan(err != nil)
		return err
	case err != nil:
		return err // io.EOF is an end between two messages
	case !ok:
		return ErrUndecodable
	}
	if m.coding != "" && m.buf[0]&bitCompressed != 0 {
		if length, err = m.decode(length); err != nil {
			return err
		}
	}
	m.rest, m.ready = length, m.prefix
	return nil
}

// decode reads a compressed message into plain, and makes its prefix, which is in
// buf, one of what it decodes to. It returns the length that is to go on. With
// pass, what cannot be decoded stays as it is.
func (m *Messages) decode(length uint32) (uint32, error) {
	err := fmt.Errorf("%w: a message of %d bytes", ErrUndecodable, length)
	var came bytes.Buffer // of the message; needs pass
	if length <= maxMessage {
		src := io.Reader(&part{m.src, length})
		if m.pass {
			src = io.TeeReader(src, &came)
		}
		err = m.expand(src)
	}
	switch {
	case err == nil:
		length = uint32(m.plain.Len())
		m.buf[0] &^= bitCompressed
		binary.BigEndian.PutUint32(m.buf[1:], length)
		return length, nil
	case m.pass && errors.Is(err, ErrUndecodable):
		m.plain = came
		return length, nil
	}
	return 0, err
}

// expand fills plain with what a text decodes to. How far messages may expand is
// counted over all of them.
func (m *Messages) expand(text io.Reader) error {
	d := newDecoder(text, m.coding)
	d.in.n, d.out = m.in, m.out
	_, err := m.plain.ReadFrom(io.LimitReader(d, maxMessage+1))
	m.in, m.out = d.in.n, d.out
	if m.plain.Len() > maxMessage {
		return fmt.Errorf("%w: a message of more than %d bytes", ErrUndecodable, maxMessage)
	}
	return err
}

// A part is as many bytes of src as rest says, and nothing behind them is read.
type part struct {
	src  io.Reader
	rest uint32
}

func (p *part) Read(b []byte) (int, error) {
	if p.rest == 0 {
		return 0, io.EOF
	}
	n, err := p.src.Read(b[:min(len(b), int(p.rest))])
	p.rest -= uint32(n)
	if errors.Is(err, io.EOF) && p.rest > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
