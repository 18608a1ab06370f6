package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// Open opens or creates the log (files of mode 0600) and takes up its chain. A
// last line that a crash cut short is removed: its record had not been
// acknowledged to anyone. Symlinks, and files that others may read or write,
// are refused.
func Open(o Options) (*Log, error) {
	switch {
	case o.Path == "":
		return nil, errors.New("audit log: Options.Path is required")
	case len(o.Key) < sha256.Size:
		return nil, errors.New("audit log: Options.Key is required")
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{o: o, chain: newChain(o.Key), appended: make(chan struct{}, 1)}
	l.later.write = l.writeLater
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	l.metrics = newMetrics(o.Registerer)
	l.countSegments()
	l.rotate(false)
	return l, nil
}

// open finds the end of the chain, and opens the segment that goes on there.
func (l *Log) open() error {
	if err := os.Remove(l.o.Path + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // of a rotation that a crash ended
	}
	full, err := sealed(l.o.Path)
	if err != nil {
		return err
	}
	for _, n := range full {
		path := sealedPath(l.o.Path, n)
		info, err := os.Lstat(path)
		if err == nil {
			err = checkFile(path, info)
		}
		if err != nil {
			return err
		}
	}
	var last uint64
	if len(full) > 0 {
		last = full[len(full)-1]
	}
	f, info, err := openFile(l.o.Path, os.O_RDWR|os.O_APPEND)
	if errors.Is(err, fs.ErrNotExist) {
		if last > 0 { // a crash in the middle of a rotation, or somebody took it away
			if err := l.follow(last); err != nil {
				return err
			}
			return l.begin(last + 1)
		}
		f, info, err = openFile(l.o.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL)
	}
	if err != nil {
		return err
	}
	if err := l.resume(f, info, last); err != nil {
		return errors.Join(err, f.Close())
	}
	if l.o.Power {
		if err := errors.Join(f.Sync(), l.syncNames()); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	l.durable = l.end
	return nil
}

// follow takes up the end of the chain in the last full segment, behind which a
// segment without a header goes on.
func (l *Log) follow(last uint64) error {
	path := sealedPath(l.o.Path, last)
	f, err := openSegment(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	e, end, err := lastEntry(f, info.Size())
	if err == nil && end == 0 {
		err = errNoRecord
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	event, err := lastEvent(f, 0)
	l.end = mark{seq: e.Seq, mac: e.mac, event: event}
	return err
}

// resume takes up the newest segment behind the number of the last full one.
func (l *Log) resume(f *os.File, info fs.FileInfo, last uint64) error {
	l.file, l.number, l.full = f, last+1, l.o.SegmentSize
	if info.Mode()&os.ModeCharDevice != 0 {
		l.full, l.o.SegmentAge, l.o.Retention = 0, 0, 0
		return nil // nothing to take up
	}
	if err := checkFile(f.Name(), info); err != nil {
		return err
	}
	e, end, err := lastEntry(f, info.Size())
	if err != nil {
		return hintedError{fmt.Errorf("%s: %w", f.Name(), err), "look at it with: agent-vault audit verify; a server that finds the file moved away begins another, and records what is lost"}
	}
	if end < info.Size() {
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	l.begun = l.o.Now()
	if end == 0 { // new, or a crash left no whole record in it
		l.fresh = true
		if last > 0 {
			if err := l.follow(last); err != nil {
				return err
			}
			if err := l.writeOwn(l.end.seq+1, l.header(l.number)); err != nil {
				return err
			}
			l.fresh = true
		}
		return l.settle()
	}
	first, _, err := firstEntry(f)
	if err != nil {
		return err
	}
	if first.number() != last+1 {
		return fmt.Errorf("%s is segment %d, and the newest beside it is %d; one of them is missing or of another log", f.Name(), first.number(), last)
	}
	l.begun, l.fresh = first.Time, e.Seq == first.Seq && first.Kind == KindSegment
	event, err := lastEvent(f, 0)
	if err != nil {
		return err
	}
	l.end = mark{e.Seq, e.mac, end, event}
	return l.settle()
}

// settle puts down what is lost: records that had been seen, and are behind the
// end of the chain. Their seqs are not used again.
func (l *Log) settle() error {
	head, from := l.o.Head, l.end.seq+1
	if head.Seq < from {
		return nil
	}
	l.o.Log.Error("records of the audit log are missing at its end: it was cut, or the machine lost power", "from", from, "to", head.Seq)
	l.lost = &Loss{FromSeq: from, ToSeq: head.Seq, Noticed: l.now()}
	return l.writeOwn(head.Seq+1, lostRecord{header: header{Time: l.lost.Noticed, Kind: KindLost}, FromSeq: from, ToSeq: head.Seq, ToMAC: head.MAC})
}

func (l *Log) now() time.Time { return l.o.Now().UTC() }

// writeOwn writes a record of the log's own.
func (l *Log) writeOwn(seq uint64, record any) error {
	rest, err := encodeOwn(record)
	if err != nil {
		return err
	}
	at := l.end
	at.seq = seq - 1
	l.line = l.line[:0]
	return l.put(l.add(at, rest, 0))
}

// changeMark begins a change record behind its seq and time.
var changeMark = []byte(`"kind":"` + KindChange + `"`)

// lastEvent is the newest "event" of a segment, from an offset.
func lastEvent(src io.ReaderAt, from int64) (event int64, err error) {
	in := newLines(src, from)
	defer in.done()
	for first := true; ; first = false {
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return event, nil
		case errors.Is(err, errTooLong):
			continue
		case err != nil:
			return 0, err
		case !first && !bytes.Contains(line, changeMark):
			continue
		}
		if e, err := parse(line); err == nil {
			event = e.Event
		}
	}
}

// A hintedError says what to do.
type hintedError struct {
	error
	hint string
}

func (e hintedError) Hint() string { return e.hint }

func (e hintedError) Unwrap() error { return e.error }
