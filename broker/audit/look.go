package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// lookBack is how many bytes of the log's end Look reads. One record at least is
// whole in them.
const lookBack = 2 * MaxLine

// A State is what a Log finds of itself at little cost. Verify walks the whole
// chain.
type State struct {
	Seq      uint64    // of the last record; 0: there is none
	Time     time.Time // of that record
	Segments int       // files that there are
	Checked  int       // records at the end that are as they were written
	Problem  string    // what is wrong with the files, in words; "": nothing was found
	Lost     *Loss     // what was put down as lost when the log was opened; nil: nothing
}

// Look reads the end of the log: whether each segment has its file, and whether
// the newest ends with the record that was written last, behind others that the
// chain ties to it. The error is of reading.
func (l *Log) Look() (State, error) {
	l.syncing.Lock() // meanwhile no segment begins, and no record is taken back
	defer l.syncing.Unlock()
	l.mu.Lock()
	end, number := l.end, l.number
	l.mu.Unlock()
	full, err := sealed(l.o.Path)
	if err != nil {
		return State{}, fmt.Errorf("audit log: %w", err)
	}
	s := State{Seq: end.seq, Segments: len(full) + 1, Lost: l.lost, Problem: gap(full, number)}
	f, err := openSegment(l.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		s.Segments--
		s.Problem = "the file of the newest segment is gone"
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	if err := s.readEnd(f, end, newChain(l.o.Key)); err != nil {
		return s, fmt.Errorf("audit log: %w", err)
	}
	return s, nil
}

// gap says which segment has no file, of those up to the newest.
func gap(full []uint64, newest uint64) string {
	for i, n := range append(full, newest) {
		if i > 0 && n != full[i-1]+1 {
			return fmt.Sprintf("the file of segment %d is gone", full[i-1]+1)
		}
	}
	return ""
}

// readEnd follows the chain to the log's end. The first record that it reads
// ties the others, and is itself tied to what stands before it by Verify.
func (s *State) readEnd(f *os.File, end mark, c *chain) error {
	if end.size == 0 {
		return nil
	}
	b := make([]byte, min(end.size, lookBack))
	n, err := f.ReadAt(b, end.size-int64(len(b)))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n < len(b) {
		s.Problem = "records are gone from its end"
		return nil
	}
	if int64(len(b)) < end.size {
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	var last []byte
	var prev mac
	for line := range bytes.Lines(b) {
		body, m, ok := split(line)
		if !ok || last != nil && c.next(prev, body) != m {
			s.Problem = "a record near its end is not as it was written"
			return nil
		}
		if last != nil {
			s.Checked++
		}
		last, prev = line, m
	}
	if last == nil || prev != end.mac {
		s.Problem = "its last record is not the one that was written last"
		return nil
	}
	e, err := parse(last)
	s.Time = e.Time
	return err
}
