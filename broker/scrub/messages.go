package scrub

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// Bits of the first byte of a message's prefix.
const (
	bitCompressed = 0x01 // gRPC and Connect
	bitsUnknown   = 0x7c // 0x02 ends a stream of Connect, 0x80 is trailers of gRPC-Web
)

// A Messages passes messages that tell their lengths on with every credential in
// one of them masked. Each leaves when it has come: it is not held back for the
// next. One that is compressed is ErrUndecodable, and so is a body that is no
// such messages.
type Messages struct {
	src    io.Reader
	pass   bool
	prefix int                                     // bytes before a message
	length func(prefix []byte) (n uint32, ok bool) // of what follows a prefix that is one
	text   bool                                    // it is no messages; needs pass
	rest   uint32                                  // bytes of the message that were not read yet
	err    error
	masker
}

// Messages returns a Messages of src, which are of gRPC, gRPC-Web or Connect: a
// byte of flags, and a length. With pass, one that is compressed is taken as it
// is, and a body that is no messages as [Set.Reader] does. The Set must not be
// empty.
func (s *Set) Messages(src io.Reader, pass bool) *Messages {
	refused := byte(bitsUnknown)
	if !pass {
		refused |= bitCompressed
	}
	return &Messages{src: src, pass: pass, masker: masker{tables: s.tables}, prefix: 5, length: func(p []byte) (uint32, bool) {
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
	n, err := m.src.Read(m.buf[held:])
	m.buf = m.buf[:held+n]
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
	m.rest, m.ready = length, m.prefix
	return nil
}
