package gallery_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A framer writes the frames of a row. Nothing is checked: malformed ones are
// the point.
type framer struct {
	*http2.Framer
	w     io.Writer
	block bytes.Buffer
	enc   *hpack.Encoder
	mu    sync.Mutex // of the connection's writing side
}

// exchangeFrames writes the row's frames and reads until the stream that is
// watched has its answer, or the connection ends.
func exchangeFrames(c *testcase, conn net.Conn, o *outcome) {
	f := &framer{Framer: http2.NewFramer(conn, io.TeeReader(conn, &o.wire)), w: conn}
	f.AllowIllegalWrites = true
	f.enc = hpack.NewEncoder(&f.block)
	f.ReadMetaHeaders = hpack.NewDecoder(64<<10, nil)
	if o.err = f.open(); o.err != nil {
		return
	}
	written := make(chan error, 1)
	go func() { written <- f.write(c) }()
	watch := uint32(1)
	if v := c.field("watch"); v != "" {
		n, _ := strconv.ParseUint(v, 10, 32)
		watch = uint32(n)
	}
	g, err := f.read(watch, o)
	if g.status != 0 {
		g.broken = g.broken || err != nil
		o.answers = append(o.answers, g)
	} else {
		o.err = err
		if err == nil {
			o.err = errors.New("stream reset")
		}
	}
	conn.Close()
	if err := <-written; err != nil && o.err == nil && len(o.answers) == 0 {
		o.err = err
	}
}

// open sends the preface and settings, before anything else is written.
func (f *framer) open() error {
	_, err := io.WriteString(f.w, http2.ClientPreface)
	return errors.Join(err, f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8 << 20}), f.WriteWindowUpdate(0, 8<<20))
}

// write sends the row's frames. Those between "repeat N" and "done", or the end,
// are sent N times, each time on further streams.
func (f *framer) write(c *testcase) (err error) {
	for i := 0; i < len(c.frames) && err == nil; {
		rest, again := strings.CutPrefix(c.frames[i], "repeat ")
		if !again {
			i, err = f.frame(c.frames, i, 0)
			continue
		}
		times, bad := strconv.Atoi(rest)
		if bad != nil {
			return bad
		}
		block := c.frames[i+1:]
		if end := slices.Index(block, "done"); end >= 0 {
			block = block[:end]
		}
		for n := range times {
			for k := 0; k < len(block) && err == nil; {
				k, err = f.frame(block, k, uint32(2*n))
			}
		}
		i = min(len(c.frames), i+len(block)+2)
	}
	return err
}

// frame sends the i-th line, with the fields that follow it, and returns where
// the next frame begins. Streams are numbered from shift on.
func (f *framer) frame(lines []string, i int, shift uint32) (next int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	words := strings.SplitN(lines[i], " ", 3)
	words = append(words, "", "")
	number, _ := strconv.ParseUint(words[1], 10, 32) // not every frame has one
	stream := uint32(number)
	if stream > 0 {
		stream += shift
	}
	flags := words[2]
	switch next = i + 1; words[0] {
	case "headers", "continuation":
		for ; next < len(lines) && strings.HasPrefix(lines[next], " "); next++ {
			name, value, _ := strings.Cut(lines[next][2:], " = ")
			err = errors.Join(err, f.enc.WriteField(hpack.HeaderField{Name: name, Value: value}))
		}
		err = errors.Join(err, f.headers(words[0], stream, flags))
		f.block.Reset()
		return next, err
	case "data":
		text, end := strings.CutPrefix(flags, "end")
		return next, f.WriteData(stream, end, []byte(strings.TrimPrefix(text, " ")))
	case "rst":
		return next, f.WriteRSTStream(stream, http2.ErrCodeCancel)
	case "ping":
		return next, f.WritePing(false, [8]byte{1, 2, 3})
	case "settings":
		name, value, _ := strings.Cut(lines[i][len("settings "):], "=")
		id, e1 := strconv.ParseUint(name, 10, 16)
		v, e2 := strconv.ParseUint(value, 10, 32)
		return next, errors.Join(e1, e2, f.WriteSettings(http2.Setting{ID: http2.SettingID(id), Val: uint32(v)}))
	case "window":
		n, err := strconv.ParseUint(flags, 10, 32)
		return next, errors.Join(err, f.WriteWindowUpdate(stream, uint32(n)))
	case "raw":
		b, err := hex.DecodeString(strings.ReplaceAll(lines[i][len("raw "):], " ", ""))
		if err == nil {
			_, err = f.w.Write(b)
		}
		return next, err
	}
	return next, fmt.Errorf("no such frame: %q", lines[i])
}

// headers writes what is in the block. Blocks that are too long for one frame
// go on in others.
func (f *framer) headers(kind string, stream uint32, flags string) error {
	const most = 16 << 10
	block := f.block.Bytes()
	first := block[:min(len(block), most)]
	rest := block[len(first):]
	ends := len(rest) == 0 && !strings.Contains(flags, "open")
	var err error
	if kind == "headers" {
		err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: strings.Contains(flags, "end"), EndHeaders: ends})
	} else {
		err = f.WriteContinuation(stream, ends, first)
	}
	for err == nil && len(rest) > 0 {
		n := min(len(rest), most)
		err = f.WriteContinuation(stream, n == len(rest) && !strings.Contains(flags, "open"), rest[:n])
		rest = rest[n:]
	}
	return err
}

// read collects the answer on one stream, and what comes on any. The error is
// why the stream had no clean end.
func (f *framer) read(watch uint32, o *outcome) (got, error) {
	g := got{header: http.Header{}}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				o.err = err
			}
			return g, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.mu.Lock()
				_ = f.WriteSettingsAck()
				f.mu.Unlock()
			}
		case *http2.MetaHeadersFrame:
			for _, h := range frame.Fields {
				fmt.Fprintf(&o.decoded, "%s: %s\n", h.Name, h.Value)
			}
			if frame.StreamID != watch {
				continue
			}
			status, _ := strconv.Atoi(frame.PseudoValue("status"))
			if status >= 200 || status == 0 {
				if status > 0 {
					g.status = status
				}
				for _, h := range frame.RegularFields() {
					g.header.Add(h.Name, h.Value)
				}
			}
			if frame.StreamEnded() {
				return g, nil
			}
		case *http2.DataFrame:
			o.decoded.Write(frame.Data())
			if frame.StreamID == watch {
				g.body = append(g.body, frame.Data()...)
				if frame.StreamEnded() {
					return g, nil
				}
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == watch && (g.status == 0 || frame.ErrCode != http2.ErrCodeNo) {
				return g, fmt.Errorf("stream reset: %v", frame.ErrCode)
			}
		case *http2.GoAwayFrame:
			o.decoded.Write(frame.DebugData())
			if frame.ErrCode != http2.ErrCodeNo {
				return g, fmt.Errorf("connection ended: %v", frame.ErrCode)
			}
		}
	}
}
