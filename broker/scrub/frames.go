package scrub

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// ErrFrame is a WebSocket frame that cannot be looked into: masked, of an
// extension that nobody asked for, of an unknown kind, or out of order.
var ErrFrame = errors.New("websocket frame cannot be read")

// wholeFrame is how long a frame may be, in bytes, to stay in one piece. A
// longer one is passed on as fragments as it comes (RFC 6455 §5.4).
const wholeFrame = 64 << 10

// Bits and opcodes of RFC 6455 §5.2.
const (
	bitFin       = 0x80
	bitsReserved = 0x70
	bitMask      = 0x80
	opContinue   = 0x0
	opText       = 0x1
	opBinary     = 0x2
	opClose      = 0x8
	opPong       = 0xA
)

// A Frames passes the frames of a WebSocket's server on with every credential
// in a message masked, also where one lies across fragments. What is held back
// of a fragment goes into the next one.
type Frames struct {
	src     *bufio.Reader
	message masker // of the message that is under way
	control masker // of the frames that come in between
	kind    byte   // opcode that the next fragment of the message is to carry
	open    bool   // a message is under way
	rest    uint64 // bytes of the frame that were not read yet
	last    bool   // the frame ends its message
	out     []byte // whole frames that may leave
	err     error
}

// Frames returns a Frames of src, which is read from the first frame on. The
// Set must not be empty.
func (s *Set) Frames(src io.Reader) *Frames {
	return &Frames{
		src: bufio.NewReaderSize(src, 32<<10), message: masker{tables: s.tables}, control: masker{tables: s.tables},
	}
}

// Follow makes it look for what now returns too; see [Reader].
func (f *Frames) Follow(now func() *Set) {
	f.message.Follow(now)
	f.control.Follow(now)
}

// Places is how many places were masked so far.
func (f *Frames) Places() int { return f.message.places + f.control.places }

// Read implements io.Reader. The error is ErrFrame when the frames cannot be
// read on.
func (f *Frames) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(f.out) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		f.err = f.step()
	}
	n := copy(p, f.out)
	f.out = f.out[:copy(f.out, f.out[n:])]
	return n, nil
}

// step reads one frame, or a part of a long one.
func (f *Frames) step() error {
	if f.rest > 0 {
		return f.payload()
	}
	var head [2]byte
	if _, err := io.ReadFull(f.src, head[:]); err != nil {
		return err // io.EOF is an end between two frames
	}
	length, err := f.length(head[1])
	if err != nil {
		return err
	}
	kind := head[0] &^ bitFin
	switch {
	case kind&bitsReserved != 0 || head[1]&bitMask != 0:
		return ErrFrame
	case kind >= opClose:
		return f.controlFrame(head[0], length)
	case kind > opBinary || f.open != (kind == opContinue):
		return ErrFrame
	}
	if !f.open {
		f.open, f.kind = true, kind
	}
	f.rest, f.last = length, head[0]&bitFin != 0
	return f.payload()
}

// length reads the rest of a length (RFC 6455 §5.2).
func (f *Frames) length(short byte) (uint64, error) {
	var long [8]byte
	switch short &^ bitMask {
	case 126:
		err := f.fill(long[6:])
		return binary.BigEndian.Uint64(long[:]), err
	case 127:
		err := f.fill(long[:])
		n := binary.BigEndian.Uint64(long[:])
		if n > 1<<63-1 {
			return 0, ErrFrame
		}
		return n, err
	}
	return uint64(short &^ bitMask), nil
}

// fill reads what a frame must still have.
func (f *Frames) fill(p []byte) error {
	_, err := io.ReadFull(f.src, p)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// controlFrame passes a ping, pong or close on (RFC 6455 §5.5).
func (f *Frames) controlFrame(first byte, length uint64) error {
	if first&bitFin == 0 || length > 125 || first&^bitFin > opPong {
		return ErrFrame
	}
	f.control.buf = append(f.control.buf[:0], make([]byte, length)...)
	if err := f.fill(f.control.buf); err != nil {
		return err
	}
	f.control.until = 0
	f.control.scan(true)
	f.emit(first, &f.control)
	return nil
}

// payload reads what there is of a frame, or of a long one a part.
func (f *Frames) payload() error {
	n := int(min(f.rest, wholeFrame))
	m := &f.message
	held := len(m.buf)
	m.buf = append(m.buf, make([]byte, n)...)
	if err := f.fill(m.buf[held:]); err != nil {
		return err
	}
	f.rest -= uint64(n)
	ends := f.rest == 0 && f.last
	m.scan(ends)
	first := f.kind
	if ends {
		first |= bitFin
	}
	if !ends && m.ready == 0 {
		return nil
	}
	f.emit(first, m)
	f.kind = opContinue
	if ends {
		f.open, m.until = false, 0
	}
	return nil
}

// emit makes a frame of what is ready.
func (f *Frames) emit(first byte, m *masker) {
	f.out = append(f.out, first)
	switch n := m.ready; {
	case n < 126:
		f.out = append(f.out, byte(n))
	case n <= 0xffff:
		f.out = binary.BigEndian.AppendUint16(append(f.out, 126), uint16(n))
	default:
		f.out = binary.BigEndian.AppendUint64(append(f.out, 127), uint64(n))
	}
	at := len(f.out)
	f.out = append(f.out, make([]byte, m.ready)...)
	m.take(f.out[at:])
}
