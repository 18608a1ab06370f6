package broker

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"agentvault/broker/scrub"
)

// maxHeldFrames bounds, in bytes, what is held back while nothing comes that
// decides it, such as empty frames.
const maxHeldFrames = 4 << 10

// A frameGuard passes the frames of a WebSocket client on (RFC 6455 §5) unless
// their payload holds a token of the vault, also where one lies across the
// frames of a message. Clients mask what they send, so it is unmasked to look;
// what is passed on keeps every byte. Payload that an extension has compressed
// is passed on unread.
//
// Bytes that are no frames pass as what they would be if they were.
type frameGuard struct {
	src    io.Reader
	refuse func(why *Fault)
	finder func() *scrub.Finder // of placeholders; its nil finds nothing

	raw   []byte // read and not given out
	ready int    // bytes of raw that may be given out
	err   error  // of src, given out after the rest

	header  []byte // of the frame at hand, as far as it has come
	left    uint64 // payload of it that is to come
	mask    [4]byte
	at      int // which byte of mask is next
	control bool
	final   bool

	message, ping frameText
}

// A frameText is the payload of a message's frames, or of one control frame.
type frameText struct {
	match tokenMatcher
	from  int           // where in raw stands what the matcher holds; -1 for nothing
	find  *scrub.Finder // of placeholders; nil where there are none
}

// begin makes ready for a message, or a control frame.
func (g *frameGuard) begin() frameText { return frameText{from: -1, find: g.finder()} }

// guardFrames returns what the agent sends, to be read by the upstream. A token
// in it, or a placeholder, cuts the exchange.
func (e *exchange) guardFrames(src io.Reader, finder func() *scrub.Finder) io.Reader {
	g := &frameGuard{src: src, header: make([]byte, 0, 14), refuse: e.use.cut, finder: finder}
	g.message, g.ping = g.begin(), g.begin()
	return g
}

// Read implements io.Reader.
func (g *frameGuard) Read(p []byte) (int, error) {
	for g.ready == 0 && g.err == nil {
		held := len(g.raw)
		g.raw = slices.Grow(g.raw, len(p))[:held+len(p)]
		n, err := g.src.Read(g.raw[held:])
		g.raw, g.err = g.raw[:held+n], err
		if why := g.look(held); why != nil {
			g.refuse(why)
			g.raw, g.err = nil, errToken
			break
		}
		g.ready = len(g.raw)
		for _, text := range []*frameText{&g.message, &g.ping} {
			if text.from >= 0 {
				g.ready = min(g.ready, text.from)
			}
		}
		if errors.Is(err, io.EOF) {
			g.ready = len(g.raw) // it has not become a token
		}
		if len(g.raw)-g.ready > maxHeldFrames {
			g.refuse(badRequest("a WebSocket message could hold a token of the vault, and does not come to an end"))
			g.err = errToken
		}
	}
	n := copy(p, g.raw[:g.ready])
	g.raw = g.raw[:copy(g.raw, g.raw[n:])]
	g.ready -= n
	for _, text := range []*frameText{&g.message, &g.ping} {
		if text.from >= 0 {
			text.from = max(0, text.from-n)
		}
	}
	if g.ready == 0 && g.err != nil {
		return n, g.err
	}
	return n, nil
}

// look takes raw apart from an offset on and returns why it may not go on, or nil.
func (g *frameGuard) look(at int) (why *Fault) {
	for at < len(g.raw) {
		if g.left == 0 {
			g.addHeader(g.raw[at])
			at++
			continue
		}
		n := int(min(g.left, uint64(len(g.raw)-at)))
		g.left -= uint64(n)
		text := &g.message
		if g.control {
			text = &g.ping
		}
		if why := text.scan(g.raw[at:at+n], at, g.mask, &g.at); why != nil {
			return why
		}
		at += n
		if g.left == 0 {
			g.endFrame()
		}
	}
	return nil
}

// addHeader takes a byte of a frame's header (RFC 6455 §5.2).
func (g *frameGuard) addHeader(b byte) {
	g.header = append(g.header, b)
	if len(g.header) < 2 {
		return
	}
	size, length := 2, uint64(g.header[1]&0x7f)
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	masked := g.header[1]&0x80 != 0
	total := size
	if masked {
		total += 4
	}
	if len(g.header) < total {
		return
	}
	switch size {
	case 4:
		length = uint64(binary.BigEndian.Uint16(g.header[2:]))
	case 10:
		length = binary.BigEndian.Uint64(g.header[2:])
	}
	g.mask, g.at = [4]byte{}, 0
	if masked {
		copy(g.mask[:], g.header[size:])
	}
	g.final, g.control = g.header[0]&0x80 != 0, g.header[0]&0x08 != 0
	g.left, g.header = length, g.header[:0]
	if length == 0 {
		g.endFrame()
	}
}

// endFrame: messages and control frames stand for themselves, so nothing is held
// back at their ends.
func (g *frameGuard) endFrame() {
	switch {
	case g.control:
		g.ping = g.begin()
	case g.final:
		g.message = g.begin()
	}
}

// scan unmasks payload that stands at an offset of raw.
func (t *frameText) scan(payload []byte, offset int, mask [4]byte, at *int) (why *Fault) {
	var plain [512]byte
	for len(payload) > 0 {
		n := min(len(plain), len(payload))
		for i := range n {
			plain[i] = payload[i] ^ mask[*at&3]
			*at++
		}
		switch {
		case t.match.scan(plain[:n]):
			return tokenFault("a WebSocket message")
		case t.find != nil && t.find.Find(plain[:n], false):
			return misplaced("a WebSocket message")
		}
		offset += n
		switch held := len(t.match.held()); {
		case held == 0:
			t.from = -1
		case held <= n:
			t.from = offset - held
		}
		payload = payload[n:]
	}
	return nil
}
