package scrub

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
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
// [Codings] returned is understood if it is gzip, deflate, br, zstd or snappy.
// The error, also of a later Read, is ErrUndecodable.
func Decode(body io.Reader, codings []string) (io.Reader, error) {
	if len(codings) > maxCodings {
		return nil, fmt.Errorf("%w: %d codings", ErrUndecodable, len(codings))
	}
	for _, coding := range codings {
		if !Decodes(coding) {
			return nil, fmt.Errorf("%w: unknown coding", ErrUndecodable)
		}
	}
	return newDecoder(body, codings...), nil
}

// Decodes reports whether a coding, as [Codings] spells it, is understood.
func Decodes(coding string) bool { return layers[coding] != nil }

// newDecoder returns a body without codings that are understood.
func newDecoder(body io.Reader, codings ...string) *decoder {
	in := &counted{src: body}
	d := &decoder{in: in, src: in}
	for _, coding := range slices.Backward(codings) {
		d.src = &lazy{src: d.src, pool: layers[coding]}
	}
	return d
}

// A decompressor takes a coding off one text after another. None has goroutines
// or other things that would have to be closed.
type decompressor interface {
	io.Reader
	// Reset makes it begin with a text that has at least one byte.
	Reset(io.Reader) error
}

// A layer is a decompressor with what it reads from.
type layer struct {
	in   *bufio.Reader
	text decompressor
}

// layers are those that have come to the end of a text, by coding.
var layers = map[string]*sync.Pool{
	"gzip":    layersOf(func() decompressor { return new(gzip.Reader) }),
	"x-gzip":  layersOf(func() decompressor { return new(gzip.Reader) }),
	"deflate": layersOf(func() decompressor { return new(inflater) }),
	"br":      layersOf(func() decompressor { return new(unbrotli) }),
	"zstd": layersOf(func() decompressor {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			panic(err) // an option is wrong
		}
		return d
	}),
	"snappy": layersOf(func() decompressor { return unsnapper{snappy.NewReader(nil)} }),
}

func layersOf(fresh func() decompressor) *sync.Pool {
	return &sync.Pool{New: func() any { return &layer{bufio.NewReader(nil), fresh()} }}
}

// An inflater reads deflate. RFC 9110 §8.4.1.2 means zlib; some servers send bare
// deflate.
type inflater struct {
	io.Reader            // one of the two
	zlib, bare io.Reader // nil before the first such text
}

// Reset implements decompressor.
func (f *inflater) Reset(src io.Reader) (err error) {
	r := bufio.NewReader(src) // src itself, when it is one
	head, err := r.Peek(2)
	if err != nil || head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		if f.zlib == nil {
			f.zlib, err = zlib.NewReader(r)
		} else {
			err = f.zlib.(zlib.Resetter).Reset(r, nil)
		}
		f.Reader = f.zlib
		return err
	}
	if f.bare == nil {
		f.bare = flate.NewReader(nil)
	}
	f.Reader = f.bare
	return f.bare.(flate.Resetter).Reset(r, nil)
}

// An unbrotli reads br. That something stands behind its text is no error here,
// and the library says so of texts, too, whose last bytes came one by one.
type unbrotli struct{ brotli.Reader }

// Read implements io.Reader.
func (u *unbrotli) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil && err.Error() == "brotli: excessive input" {
		err = io.EOF
	}
	return n, err
}

// An unsnapper reads snappy's framing format, which is what goes by that name in
// gRPC and Connect.
type unsnapper struct{ *snappy.Reader }

// Reset implements decompressor.
func (u unsnapper) Reset(src io.Reader) error {
	u.Reader.Reset(src)
	return nil
}

// A decoder is a body without its codings.
type decoder struct {
	in  *counted
	src io.Reader // the last layer
	out int64
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

// lazy begins with a layer when it is first read: beginning waits for the first
// bytes.
type lazy struct {
	src  io.Reader
	pool *sync.Pool
	from *layer // nil before and after
	err  error
}

func (l *lazy) Read(p []byte) (n int, err error) {
	if l.from == nil && l.err == nil {
		l.err = l.begin()
	}
	if l.err == nil {
		n, l.err = l.from.text.Read(p)
	}
	if l.from != nil && errors.Is(l.err, io.EOF) { // one that has failed is used no more
		l.from.in.Reset(nil)
		l.pool.Put(l.from)
		l.from = nil
	}
	return n, l.err
}

func (l *lazy) begin() error {
	l.from = l.pool.Get().(*layer)
	l.from.in.Reset(l.src)
	if _, err := l.from.in.Peek(1); err != nil {
		return err // a body of no bytes decodes to one of none
	}
	return l.from.text.Reset(l.from.in)
}
