package audit

import (
	"bufio"
	"errors"
	"io"
	"sync"
)

var errTooLong = errors.New("it is too long")

// lines reads the lines of a file that another may go on writing.
type lines struct {
	src    io.ReaderAt
	buf    *bufio.Reader
	offset int64 // behind the last line that was read, in bytes
	number int   // of that line, from where the reading began
}

func newLines(src io.ReaderAt, offset int64) *lines {
	l := &lines{src: src, offset: offset, buf: readers.Get().(*bufio.Reader)}
	l.buf.Reset(l.rest())
	return l
}

// readers have room for the longest record.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, MaxLine) }}

// done gives the room back. Neither the lines nor what next returned may be
// used any more.
func (l *lines) done() {
	l.buf.Reset(nil)
	readers.Put(l.buf)
	l.buf = nil
}

func (l *lines) rest() io.Reader { return io.NewSectionReader(l.src, l.offset, 1<<62) }

// again reads on at an offset, which is 0 or stands behind a line.
func (l *lines) again(offset int64) {
	l.offset = offset
	l.buf.Reset(l.rest())
}

// next returns the next line, with its end; it is good until the call after.
// At the end, and before a line that has no end yet, it returns io.EOF; it may
// be called again when the file has grown. A line that is too long is passed,
// with errTooLong.
func (l *lines) next() ([]byte, error) {
	line, err := l.buf.ReadSlice('\n')
	if errors.Is(err, io.EOF) { // perhaps that of an earlier read, which the buffer kept
		l.buf.Reset(l.rest())
		line, err = l.buf.ReadSlice('\n')
	}
	switch {
	case errors.Is(err, io.EOF):
		l.buf.Reset(l.rest()) // half a line is read anew when it is whole
		return nil, io.EOF
	case errors.Is(err, bufio.ErrBufferFull):
		n := int64(len(line))
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = l.buf.ReadSlice('\n')
			n += int64(len(line))
		}
		if err != nil {
			l.buf.Reset(l.rest())
			return nil, err
		}
		l.offset += n
		l.number++
		return nil, errTooLong
	case err != nil:
		return nil, err
	}
	l.offset += int64(len(line))
	l.number++
	return line, nil
}
