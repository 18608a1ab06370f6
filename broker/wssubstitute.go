package broker

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"

	"agentvault/broker/scrub"
	"agentvault/policy/inject"
)

// Bits and opcodes of RFC 6455 §5.2.
const (
	frameFin      = 0x80
	frameReserved = 0x70
	frameMasked   = 0x80
	frameContinue = 0x0
	frameOfText   = 0x1
	frameBinary   = 0x2
	frameClose    = 0x8
	framePong     = 0xA

	maxControl = 125 // bytes of a control frame's payload
)

var errFrames = errors.New("the agent's WebSocket frames cannot be read")

// A messageReplacer puts credentials into the text messages that an agent sends
// over a WebSocket. Those are joined from their fragments, and go on as one frame.
// Binary messages pass as they come, and control frames between; a placeholder in
// them is misplaced.
type messageReplacer struct {
	e   *exchange
	src *bufio.Reader

	kind byte          // opcode of the message that is under way; 0 for none
	text []byte        // of a text message, so far
	find *scrub.Finder // in a binary message

	rest uint64  // bytes of a binary frame that are to come
	mask [4]byte // of that frame
	at   int     // which byte of mask is next
	last bool    // the frame ends its message

	out []byte // whole frames, or parts of a binary one, that may leave
	err error
}

func (e *exchange) replaceInMessages(src io.Reader) io.Reader {
	return &messageReplacer{e: e, src: bufio.NewReaderSize(src, 32<<10)}
}

// Read implements io.Reader.
func (m *messageReplacer) Read(p []byte) (int, error) {
	for len(m.out) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		m.err = m.step()
	}
	n := copy(p, m.out)
	m.out = m.out[:copy(m.out, m.out[n:])]
	return n, nil
}

// cut breaks the exchange off.
func (m *messageReplacer) cut(why *Fault) error {
	m.e.use.cut(why)
	return errFrames
}

// step reads one frame, or a part of a binary one.
func (m *messageReplacer) step() error {
	if m.rest > 0 {
		return m.binary()
	}
	first, length, err := m.header()
	if err != nil {
		return err
	}
	kind := first &^ frameFin
	control := kind >= frameClose
	switch {
	case first&frameReserved != 0, kind > framePong, control && (first&frameFin == 0 || length > maxControl),
		!control && (kind > frameBinary || (m.kind == 0) == (kind == frameContinue)):
		return m.cut(badRequest("a WebSocket frame is of no known kind, or out of order"))
	case control:
		return m.controlFrame(first, length)
	case kind != frameContinue:
		m.kind = kind
	}
	m.last = first&frameFin != 0
	if m.kind == frameBinary {
		if kind != frameContinue {
			m.find = m.e.finder()
		}
		m.rest, m.at = length, 0
		m.emitHeader(first, length, m.mask)
		return m.binary()
	}
	return m.fragment(length)
}

// header reads the header of a frame, and leaves its mask.
func (m *messageReplacer) header() (first byte, length uint64, err error) {
	var head [2]byte
	if _, err := io.ReadFull(m.src, head[:]); err != nil {
		return 0, 0, err
	}
	var long [8]byte
	switch length = uint64(head[1] &^ frameMasked); length {
	case 126:
		err = m.fill(long[6:])
		length = binary.BigEndian.Uint64(long[:])
	case 127:
		err = m.fill(long[:])
		length = binary.BigEndian.Uint64(long[:])
	}
	if err != nil {
		return 0, 0, err
	}
	if head[1]&frameMasked == 0 || length > 1<<63-1 { // RFC 6455 §5.1, §5.2
		return 0, 0, m.cut(badRequest("a WebSocket frame is not masked, or has a length that is none"))
	}
	return head[0], length, m.fill(m.mask[:])
}

// fill reads what a frame must still have.
func (m *messageReplacer) fill(p []byte) error {
	_, err := io.ReadFull(m.src, p)
	return torn(err)
}

// torn is the error of an end inside of a frame.
func torn(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// payload reads and unmasks so many bytes behind what b holds.
func (m *messageReplacer) payload(b []byte, length uint64) ([]byte, error) {
	held := len(b)
	b = append(b, make([]byte, length)...)
	err := m.fill(b[held:])
	maskWith(b[held:], m.mask, 0)
	return b, err
}

func maskWith(b []byte, mask [4]byte, at int) {
	for i := range b {
		b[i] ^= mask[(at+i)&3]
	}
}

// controlFrame passes a ping, pong or close on, though a message is under way.
func (m *messageReplacer) controlFrame(first byte, length uint64) error {
	payload, err := m.payload(nil, length)
	if err != nil {
		return err
	}
	if m.e.vault.placeholders.Holds(payload) {
		return m.cut(misplaced("a control frame of the WebSocket"))
	}
	m.emit(first, payload)
	return nil
}

// fragment adds a frame to a text message, and sends the message once it is whole.
func (m *messageReplacer) fragment(length uint64) (err error) {
	if length > uint64(inject.MaxSubstituted-len(m.text)) {
		f := NewFault(CodeRequestTooLarge)
		f.Message = "this service replaces placeholders in WebSocket messages, and takes them up to 1 MiB"
		return m.cut(f)
	}
	if m.text, err = m.payload(m.text, length); err != nil || !m.last {
		return err
	}
	var opened plaintexts
	defer opened.clear()
	text, err := m.e.service.subs.Message(m.text, opened.from(m.e.openNow))
	switch {
	case err != nil:
		return m.cut(injectFault(err))
	case m.e.vault.placeholders.Holds(text):
		return m.cut(misplaced("a WebSocket message"))
	}
	m.emit(frameFin|frameOfText, text)
	m.kind, m.text = 0, m.text[:0]
	return nil
}

// binary passes on what there is of a binary frame.
func (m *messageReplacer) binary() error {
	n := int(min(m.rest, 16<<10))
	held := len(m.out)
	m.out = append(m.out, make([]byte, n)...)
	n, err := m.src.Read(m.out[held:])
	m.out = m.out[:held+n]
	if err != nil {
		return torn(err)
	}
	masked := m.out[held:]
	m.rest -= uint64(n)
	ends := m.rest == 0 && m.last
	plain := append([]byte(nil), masked...)
	maskWith(plain, m.mask, m.at)
	m.at += n
	if m.find.Find(plain, ends) {
		m.out = nil
		return m.cut(misplaced("a WebSocket message"))
	}
	if ends {
		m.kind = 0
	}
	return nil
}

// emit makes a frame of a payload, under a mask of our own (RFC 6455 §5.3: a new
// one for each).
func (m *messageReplacer) emit(first byte, payload []byte) {
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails: crypto/rand ends the process instead
	m.emitHeader(first, uint64(len(payload)), mask)
	at := len(m.out)
	m.out = append(m.out, payload...)
	maskWith(m.out[at:], mask, 0)
}

func (m *messageReplacer) emitHeader(first byte, length uint64, mask [4]byte) {
	m.out = append(m.out, first)
	switch {
	case length <= maxControl:
		m.out = append(m.out, frameMasked|byte(length))
	case length <= 0xffff:
		m.out = binary.BigEndian.AppendUint16(append(m.out, frameMasked|126), uint16(length))
	default:
		m.out = binary.BigEndian.AppendUint64(append(m.out, frameMasked|127), length)
	}
	m.out = append(m.out, mask[:]...)
}
