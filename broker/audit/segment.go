package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The log's file is its newest segment. A segment that is full gets its number
// into its name: audit.log becomes audit.0000000001.log, and another audit.log
// goes on.

// numberLen is how many digits a segment's number has in its name at least.
const numberLen = 10

// sealedPath is the name of a full segment.
func sealedPath(path string, number uint64) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s.%0*d%s", strings.TrimSuffix(path, ext), numberLen, number, ext)
}

// sealed lists the numbers of the full segments, in their order.
func sealed(path string) ([]uint64, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	ext := filepath.Ext(path)
	prefix := strings.TrimSuffix(filepath.Base(path), ext) + "."
	var numbers []uint64
	for _, e := range entries {
		digits, found := strings.CutPrefix(e.Name(), prefix)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(digits, ext), 10, 64)
		if err == nil && e.Name() == filepath.Base(sealedPath(path, n)) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// An openError is a file that others may read or change.
type openError struct {
	path string
	mode fs.FileMode
}

func (e *openError) Error() string {
	return fmt.Sprintf("%s is open to others (mode %04o)", e.path, e.mode.Perm())
}

// Hint returns what to do about it.
func (e *openError) Hint() string { return "run: chmod go= " + e.path }

// openFile opens a file of the log, and refuses symlinks. What else is no
// regular file is the caller's to judge.
func openFile(path string, flag int) (*os.File, fs.FileInfo, error) {
	// O_NONBLOCK: to open a pipe would wait for its other end.
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, nil, fmt.Errorf("%s is a symbolic link; name the real place", path)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// openSegment opens a segment for reading.
func openSegment(path string) (*os.File, error) {
	f, info, err := openFile(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a file", path), f.Close())
	}
	return f, nil
}

// checkFile refuses what is no file of the log.
func checkFile(path string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; name the real place", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return &openError{path, info.Mode()}
	}
	return nil
}

// firstEntry is a segment's first record; ok is false while it has none.
func firstEntry(src io.ReaderAt) (e entry, ok bool, err error) {
	in := newLines(src, 0)
	defer in.done()
	line, err := in.next()
	if errors.Is(err, io.EOF) {
		return e, false, nil
	}
	if err == nil {
		e, err = parse(line)
		e.body = nil // goes with the line
	}
	return e, err == nil, err
}

// lastEntry is the last record before a size, and the place behind it: what
// follows has no end. At 0 there is no record.
func lastEntry(src io.ReaderAt, size int64) (e entry, end int64, err error) {
	start := max(0, size-2*MaxLine)
	tail, err := io.ReadAll(io.NewSectionReader(src, start, size-start))
	if err != nil {
		return e, 0, err
	}
	tail = tail[:strings.LastIndexByte(string(tail), '\n')+1]
	if len(tail) == 0 {
		if start > 0 {
			return e, 0, errors.New("its end is no record")
		}
		return e, 0, nil
	}
	line := tail[strings.LastIndexByte(string(tail[:len(tail)-1]), '\n')+1:]
	if e, err = parse(line); err != nil {
		return e, 0, fmt.Errorf("its last line: %w", err)
	}
	return e, start + int64(len(tail)), nil
}

// number is a segment's own, by its first record. One that does not begin with
// a header is the first.
func (e entry) number() uint64 {
	if e.Kind == KindSegment {
		return e.Segment
	}
	return 1
}
