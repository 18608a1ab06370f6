package broker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// An AuditReader reads the records of an audit log, in their order. It does not
// look at the chain. Only one goroutine may use it; another process may go on
// writing.
type AuditReader struct {
	src    io.ReaderAt
	buf    *bufio.Reader
	offset int64
}

// A BadRecordError is a line of an audit log that is no record.
type BadRecordError struct {
	Offset int64 // of the line, in bytes
	Err    error
}

func (e *BadRecordError) Error() string {
	return fmt.Sprintf("audit log: the line at byte %d is no record: %v", e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *BadRecordError) Unwrap() error { return e.Err }

// NewAuditReader returns a reader that begins at an offset in bytes, which is
// 0 or stands behind a record.
func NewAuditReader(src io.ReaderAt, offset int64) *AuditReader {
	r := &AuditReader{src: src, offset: offset}
	r.buf = bufio.NewReaderSize(r.rest(), maxAuditLine)
	return r
}

func (r *AuditReader) rest() io.Reader { return io.NewSectionReader(r.src, r.offset, 1<<62) }

// Offset is the place behind the last line that was read, in bytes.
func (r *AuditReader) Offset() int64 { return r.offset }

// Next returns the next record. At the end, and before a line that has no end
// yet, it returns io.EOF; it may be called again when the file has grown. A
// *BadRecordError has passed its line.
func (r *AuditReader) Next() (Record, error) {
	line, err := r.buf.ReadSlice('\n')
	if errors.Is(err, io.EOF) { // perhaps that of an earlier read, which the buffer kept
		r.buf.Reset(r.rest())
		line, err = r.buf.ReadSlice('\n')
	}
	start := r.offset
	switch {
	case errors.Is(err, io.EOF):
		r.buf.Reset(r.rest()) // half a line is read anew when it is whole
		return Record{}, io.EOF
	case errors.Is(err, bufio.ErrBufferFull):
		n, err := r.skipLine()
		if err != nil {
			r.buf.Reset(r.rest())
			return Record{}, err
		}
		r.offset += int64(len(line)) + n
		return Record{}, &BadRecordError{start, errors.New("it is too long")}
	case err != nil:
		return Record{}, fmt.Errorf("audit log: %w", err)
	}
	r.offset += int64(len(line))
	var rec Record
	if err := json.Unmarshal(line, &rec); err != nil {
		return Record{}, &BadRecordError{start, err}
	}
	return rec, nil
}

// skipLine passes the rest of a line, and returns its bytes.
func (r *AuditReader) skipLine() (n int64, err error) {
	for {
		part, err := r.buf.ReadSlice('\n')
		n += int64(len(part))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
	}
}

// auditIdentity is what tells one audit log from another: the mac of its first
// record, "" while it has none.
func auditIdentity(src io.ReaderAt) (string, error) {
	line, err := bufio.NewReaderSize(io.NewSectionReader(src, 0, maxAuditLine), maxAuditLine).ReadSlice('\n')
	if errors.Is(err, io.EOF) && bytes.IndexByte(line, '\n') < 0 {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("audit log: %w", err)
	}
	var first struct {
		MAC string `json:"mac"`
	}
	if err := json.Unmarshal(line, &first); err != nil {
		return "", &BadRecordError{0, err}
	}
	return first.MAC, nil
}
