package scrub

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// ErrUndecodable is what cannot be looked into: an unknown content coding, one
// that is broken, too many of them, or one that expands beyond measure.
var ErrUndecodable = errors.New("content cannot be decoded")

// Bounds of decoding.
const (
	maxCodings = 3
	maxWindow  = 8 << 20  // bytes; RFC 9659 §3 allows zstd no more
	freeOutput = 4 << 20  // bytes that may come out at whatever ratio
	maxRatio   = 200      // decoded bytes for each that came in, beyond that
	maxBehind  = 64 << 10 // bytes that may stand behind a coded text
)

// identity are names that some upstreams give where nothing is coded.
var identity = map[string]bool{"": true, "identity": true, "none": true, "binary": true, "utf-8": true, "utf8": true, "aws-chunked": true}

// Codings returns the content codings of a Content-Encoding field's lines, in
// the order in which they were applied, without those that change nothing
// (RFC 9110 §8.4).
func Codings(lines []string) []string {
	var codings []string
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); !identity[name] {
				codings = append(codings, name)
			}
		}
	}
	return codings
}

// Decode takes codings off a body, of which it reads nothing yet. What
// [Codings] returned is understood if it is gzip, deflate, br or zstd. The
// error, also of a later Read, is ErrUndecodable. Closing the result frees what
// decoding took; the body stays open.
func Decode(body io.Reader, codings []string) (io.ReadCloser, error) {
	if len(codings) > maxCodings {
		return nil, fmt.Errorf("%w: %d codings", ErrUndecodable, len(codings))
	}
	in := &counted{src: body}
	d := &decoder{in: in, src: in}
	for i := len(codings) - 1; i >= 0; i-- {
		open := openers[codings[i]]
		if open == nil {
			return nil, fmt.Errorf("%w: unknown coding", ErrUndecodable)
		}
		layer := &lazy{src: d.src, open: open}
		d.src, d.layers = layer, append(d.layers, layer)
	}
	return d, nil
}

var openers = map[string]func(*bufio.Reader) (io.ReadCloser, error){
	"gzip":   openGzip,
	"x-gzip": openGzip,
	"deflate": func(r *bufio.Reader) (io.ReadCloser, error) {
		// RFC 9110 §8.4.1.2 means zlib; some servers send bare deflate.
		if head, err := r.Peek(2); err != nil || head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
			return zlib.NewReader(r)
		}
		return flate.NewReader(r), nil
	},
	"br": func(r *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(brotli.NewReader(r)), nil },
	"zstd": func(r *bufio.Reader) (io.ReadCloser, error) {
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	},
}

func openGzip(r *bufio.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

// A decoder is a body without its codings.
type decoder struct {
	in     *counted
	src    io.Reader // the last layer
	layers []*lazy
	out    int64
}

// Read implements io.Reader.
func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.src.Read(p)
	d.out += int64(n)
	if d.out > freeOutput && d.out/maxRatio > d.in.n {
		return 0, fmt.Errorf("%w: it expands too far", ErrUndecodable)
	}
	switch {
	case err == nil:
	case d.in.err != nil && !errors.Is(d.in.err, io.EOF):
		err = d.in.err // the body's own end comes before what decoding makes of it
	case errors.Is(err, io.EOF):
		err = d.drain()
	default:
		err = fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	return n, err
}

// drain reads on to where the body ends: it ends no sooner than that. What
// stands behind the coded text is dropped.
func (d *decoder) drain() error {
	if _, err := io.CopyN(io.Discard, d.in, maxBehind); err != nil {
		return err
	}
	return fmt.Errorf("%w: much stands behind it", ErrUndecodable)
}

// Close implements io.Closer.
func (d *decoder) Close() error {
	for _, l := range d.layers {
		if l.from != nil {
			_ = l.from.Close() // frees memory only
		}
	}
	return nil
}

// counted counts what is read, and remembers how it ended.
type counted struct {
	src io.Reader
	n   int64
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}

// lazy opens a decoder when it is first read: opening waits for the first bytes.
type lazy struct {
	src  io.Reader
	open func(*bufio.Reader) (io.ReadCloser, error)
	from io.ReadCloser
	err  error
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.from == nil && l.err == nil {
		buffered := bufio.NewReader(l.src)
		if _, err := buffered.Peek(1); err != nil {
			l.err = err // a body of no bytes decodes to one of none
		} else {
			from, err := l.open(buffered)
			if err == nil { // else it may be a nil of some type
				l.from = from
			}
			l.err = err
		}
	}
	if l.err != nil {
		return 0, l.err
	}
	return l.from.Read(p)
}
