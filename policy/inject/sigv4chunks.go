package inject

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"
)

// chunkSigner signs the chunks of a body of S3 again, each of which bears a
// signature over its data and the signature before it; the first follows that of
// the header.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
type chunkSigner struct {
	key      []byte
	scope    string // time and scope, as they stand in what is signed
	before   string // signature
	trailers bool
}

func (s *awsSigning) chunks(signature string) *chunkSigner {
	day := s.at.Format("20060102")
	key := []byte("AWS4" + s.credentials.SecretAccessKey)
	for _, word := range []string{day, s.region, s.service, "aws4_request"} {
		key = mac(key, word)
	}
	return &chunkSigner{
		key: key, before: signature, trailers: s.payload == signedTrailer,
		scope: s.at.Format("20060102T150405Z") + "\n" + day + "/" + s.region + "/" + s.service + "/aws4_request",
	}
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, text) // never fails
	return h.Sum(nil)
}

// sign returns the next signature in hex. What is hashed depends on the algorithm.
func (c *chunkSigner) sign(algorithm string, hashed ...[]byte) string {
	text := algorithm + "\n" + c.scope + "\n" + c.before
	for _, b := range hashed {
		sum := sha256.Sum256(b)
		text += "\n" + hex.EncodeToString(sum[:])
	}
	c.before = hex.EncodeToString(mac(c.key, text))
	return c.before
}

// over returns a body with the signatures replaced: as many bytes. It holds one
// chunk at a time.
func (c *chunkSigner) over(body io.Reader) io.Reader {
	return &chunkReader{signer: c, from: bufio.NewReaderSize(body, 32<<10)}
}

type chunkReader struct {
	signer *chunkSigner
	from   *bufio.Reader
	ready  bytes.Buffer // signed
	err    error        // once ready is empty
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for r.ready.Len() == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.ready.Reset()
		if r.err = r.chunk(); r.err != nil && !errors.Is(r.err, io.EOF) {
			r.ready.Reset() // of a chunk, all or nothing
		}
	}
	return r.ready.Read(p)
}

const (
	chunkSignature   = ";chunk-signature="
	trailerSignature = "x-amz-trailer-signature:"
	maxChunkLine     = 4 << 10

	// maxChunk is how long a chunk may be, in bytes. It is held until it is signed;
	// AWS's clients make them of 64 to 128 KiB.
	maxChunk = 1 << 20
)

var (
	errChunked   = &RequestError{"the body is not in signed chunks, though X-Amz-Content-Sha256 says so"}
	errLongChunk = &RequestError{"a signed chunk of the body is longer than " + strconv.Itoa(maxChunk>>20) + " MiB"}
)

// chunk makes the next chunk ready, or the last with all that follows it; then the
// error is io.EOF.
func (r *chunkReader) chunk() error {
	line, err := r.line()
	if err != nil {
		return err
	}
	size, rest, ok := strings.Cut(line, chunkSignature)
	n, err := strconv.ParseUint(size, 16, 63)
	switch {
	case !ok, err != nil, len(rest) != 2*sha256.Size+len("\r\n"), !strings.HasSuffix(rest, "\r\n"):
		return errChunked
	case n > maxChunk:
		return errLongChunk
	}
	// The signature goes before the data: its place is kept.
	r.ready.WriteString(size + chunkSignature)
	at := r.ready.Len()
	r.ready.WriteString(rest)
	start := r.ready.Len()
	if _, err := io.CopyN(&r.ready, r.from, int64(n)); err != nil {
		return broken(err)
	}
	data := r.ready.Bytes()[start:]
	copy(r.ready.Bytes()[at:], r.signer.sign(sigV4Algorithm+"-PAYLOAD", nil, data))
	if n == 0 {
		return r.end()
	}
	return r.lineEnd()
}

// end makes ready what follows the last chunk: trailers, and the empty line.
func (r *chunkReader) end() error {
	for signed := new(bytes.Buffer); r.signer.trailers; {
		line, err := r.line()
		if err != nil {
			return err
		}
		name, value, ok := strings.Cut(line, ":")
		switch {
		case strings.TrimSpace(line) == "" && signed.Len() > 0: // some clients part the signature so
			r.ready.WriteString(line)
			continue
		case !ok || signed.Len() > maxChunkLine:
			return errChunked
		case !strings.HasPrefix(strings.ToLower(line), trailerSignature):
			signed.WriteString(strings.ToLower(name) + ":" + strings.TrimSpace(value) + "\n")
			r.ready.WriteString(line)
			continue
		}
		mark := strings.TrimSpace(value)
		if len(mark) != 2*sha256.Size {
			return errChunked
		}
		r.ready.WriteString(strings.Replace(line, mark, r.signer.sign(sigV4Algorithm+"-TRAILER", signed.Bytes()), 1))
		break
	}
	if err := r.lineEnd(); err != nil {
		return err
	}
	if _, err := r.from.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errChunked
		}
		return err
	}
	return io.EOF
}

// line reads a line with its end.
func (r *chunkReader) line() (string, error) {
	line, err := r.from.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull), len(line) > maxChunkLine:
		return "", errChunked
	case err != nil:
		return "", broken(err)
	}
	return string(line), nil
}

func (r *chunkReader) lineEnd() error {
	line, err := r.line()
	if err == nil && line != "\r\n" {
		err = errChunked
	}
	r.ready.WriteString(line)
	return err
}

// broken: a body that ends within a chunk was not in chunks.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return errChunked
	}
	return err
}
