package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// A Position is a place in the log, behind a record. The zero Position is the
// beginning of what is kept.
type Position struct {
	Segment uint64 // number
	Offset  int64  // in it, in bytes
	MAC     string // of the record before, hex; "" at offset 0
}

// A Reader reads the lines of a log in their order, over all its segments. It
// does not look at the chain. Only one goroutine may use it; another, or
// another process, may go on writing.
type Reader struct {
	path   string
	at     cursor
	last   cursor // of the line before
	behind cursor // the last line
	file   *os.File
	in     *lines
	full   bool // the segment has its number in its name, and will not grow
}

// A cursor is a Position that costs nothing to move.
type cursor struct {
	segment uint64
	offset  int64
	mac     [macLen]byte // of the record before, hex; zero: there is none
}

func (p *cursor) position() Position {
	if p.mac[0] == 0 {
		return Position{Segment: p.segment, Offset: p.offset}
	}
	return Position{Segment: p.segment, Offset: p.offset, MAC: string(p.mac[:])}
}

// A BadLineError is a line of the log that is no record.
type BadLineError struct {
	Segment uint64
	Offset  int64 // of the line, in bytes
	Err     error
}

func (e *BadLineError) Error() string {
	return fmt.Sprintf("audit log: the line at byte %d of segment %d: %v", e.Offset, e.Segment, e.Err)
}

// Unwrap returns the cause.
func (e *BadLineError) Unwrap() error { return e.Err }

// NewReader returns a Reader of the log at path that begins at a position. It
// opens nothing yet.
func NewReader(path string, at Position) *Reader {
	p := cursor{segment: at.Segment, offset: at.Offset}
	copy(p.mac[:], at.MAC)
	return &Reader{path: path, at: p, behind: p}
}

// Position is the place behind the last line that was read.
func (r *Reader) Position() Position { return r.behind.position() }

// Next returns the next line, which is good until the call after. At the end it
// returns io.EOF; it may be called again when the log has grown. A
// *BadLineError has passed its line.
func (r *Reader) Next() ([]byte, error) {
	for {
		if r.file == nil {
			if err := r.open(); err != nil {
				return nil, err
			}
		}
		line, err := r.in.next()
		switch {
		case err == nil, errors.Is(err, errTooLong):
			return r.passed(line, err)
		case !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("audit log: %w", err)
		case r.full:
			if err := r.advance(); err != nil {
				return nil, err
			}
		default:
			// It may have been written to until it got its number: to its end once
			// more then.
			_, err := os.Lstat(sealedPath(r.path, r.at.segment))
			if err != nil {
				return nil, io.EOF
			}
			r.full = true
		}
	}
}

// passed moves on behind a line, which is no record if there is an error.
func (r *Reader) passed(line []byte, err error) ([]byte, error) {
	r.last, r.at = r.at, cursor{segment: r.at.segment, offset: r.in.offset}
	if err == nil {
		_, mac, ok := splitHex(line)
		if !ok {
			err = errNoRecord
		}
		copy(r.at.mac[:], mac)
	}
	r.behind = r.at
	if err != nil {
		return nil, &BadLineError{r.last.segment, r.last.offset, err}
	}
	return line, nil
}

// Unread makes the next call of Next return the last line again.
func (r *Reader) Unread() {
	r.at, r.behind = r.last, r.last
	r.in.again(r.at.offset)
}

// Close closes what the Reader has open. It may be used again.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	r.in.done()
	err := r.file.Close()
	r.file, r.in, r.full = nil, nil, false
	return err
}

// Fits reports whether the log has, at the Reader's position, the record that
// the position names: it is the same log, and was not cut. It has not read
// anything then.
func (r *Reader) Fits() (bool, error) {
	if r.at.offset == 0 {
		return true, nil // there is none
	}
	segment := r.at.segment
	if r.file == nil {
		if err := r.open(); errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	if r.at.segment != segment {
		return false, nil
	}
	want := "\n" // behind a line that is no record
	if r.at.mac[0] != 0 {
		want = string(r.at.mac[:]) + macEnd
	}
	got := make([]byte, len(want))
	if r.at.offset < int64(len(want)) {
		return false, nil
	}
	_, err := r.file.ReadAt(got, r.at.offset-int64(len(want)))
	return err == nil && string(got) == want, nil
}

// advance goes on in the next segment.
func (r *Reader) advance() error {
	next := r.at.segment + 1
	if err := r.Close(); err != nil {
		return err
	}
	r.at = cursor{segment: next}
	return nil
}

// open opens the position's segment, or the next one that is there. It returns
// io.EOF where there is none yet.
func (r *Reader) open() error {
	for range 5 { // segments may get their numbers meanwhile
		file, first, newestErr := openNewest(r.path)
		if newestErr != nil && !errors.Is(newestErr, fs.ErrNotExist) && !errors.Is(newestErr, errNoRecord) {
			return newestErr
		}
		there, err := sealed(r.path)
		if err != nil {
			return errors.Join(err, closeAny(file))
		}
		n := len(there)
		if n > 0 && first > 0 && first <= there[n-1] && stillNewest(r.path, file) {
			first = there[n-1] + 1 // its header was changed
		}
		i, _ := slices.BinarySearch(there, r.at.segment)
		if i == n { // none of the full ones
			if n > 0 && first > 0 && first <= there[n-1] {
				if err := closeAny(file); err != nil {
					return err
				}
				continue // it got its number meanwhile
			}
			if file == nil || first == 0 || first < r.at.segment {
				return errors.Join(io.EOF, closeAny(file))
			}
			r.start(file, first, false)
			return nil
		}
		if err := closeAny(file); err != nil {
			return err
		}
		file, err = openSegment(sealedPath(r.path, there[i]))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed
		}
		if err != nil {
			return err
		}
		r.start(file, there[i], true)
		return nil
	}
	return io.EOF
}

func (r *Reader) start(file *os.File, number uint64, full bool) {
	if number != r.at.segment {
		r.at = cursor{segment: number}
	}
	r.file, r.in, r.full = file, newLines(file, r.at.offset), full
}

// openNewest opens the newest segment. Its number is 0 while it has no record.
// When its first line is none, it returns the file and errNoRecord.
func openNewest(path string) (*os.File, uint64, error) {
	file, err := openSegment(path)
	if err != nil {
		return nil, 0, err
	}
	first, ok, err := firstEntry(file)
	switch {
	case errors.Is(err, errNoRecord), errors.Is(err, errTooLong):
		return file, 1, errNoRecord
	case err != nil:
		return nil, 0, errors.Join(err, file.Close())
	case !ok:
		return file, 0, nil
	}
	return file, first.number(), nil
}

// stillNewest reports whether a file has not got its number yet.
func stillNewest(path string, f *os.File) bool {
	now, err1 := os.Lstat(path)
	was, err2 := f.Stat()
	return err1 == nil && err2 == nil && os.SameFile(now, was)
}

func closeAny(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}
