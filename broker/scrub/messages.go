package scrub

import (
	"encoding/binary"
	"errors"
	"io"
)

// Bits of the first byte of a message's prefix.
const (
	bitCompressed = 0x01 // gRPC and Connect
	bitsUnknown   = 0x7c // 0x02 ends a stream of Connect, 0x80 is trailers of gRPC-Web
)

// prefixSize is how long a message's prefix is: flags, and its length.
const prefixSize = 5

// A Messages passes the messages of gRPC, gRPC-Web or Connect on with every
// credential in one of them masked. Each leaves when it has come: it is not held
// back for the next. One that is compressed is ErrUndecodable, and so is a body
// that is no such messages.
type Messages struct {
	src  io.Reader
	pass bool
	text bool   // it is no messages; needs pass
	rest uint32 // bytes of the message that were not read yet
	err  error
	masker
}

// Messages returns a Messages of src. With pass, one that is compressed is taken
// as it is, and a body that is no messages as [Set.Reader] does. The Set must not
// be empty.
func (s *Set) Messages(src io.Reader, pass bool) *Messages {
	return &Messages{src: src, pass: pass, masker: masker{tables: s.tables}}
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
		return m.prefix()
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

// prefix reads what stands before a message: nothing of the one before is held
// then.
func (m *Messages) prefix() error {
	m.buf, m.until = append(m.buf[:0], make([]byte, prefixSize)...), 0
	n, err := io.ReadFull(m.src, m.buf)
	switch {
	case m.pass && n > 0 && (m.buf[0]&bitsUnknown != 0 || err != nil):
		m.text, m.rest, m.buf = true, wholeFrame, m.buf[:n]
		m.scan(err != nil)
		return err
	case err != nil:
		return err // io.EOF is an end between two messages
	case !m.pass && m.buf[0]&(bitCompressed|bitsUnknown) != 0:
		return ErrUndecodable
	}
	m.rest = binary.BigEndian.Uint32(m.buf[1:])
	m.ready = prefixSize
	return nil
}
