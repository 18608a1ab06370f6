package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// newSuffix is of the next segment until it takes the newest one's place.
const newSuffix = ".new"

// tidyEvery is how often Run looks at ages.
const tidyEvery = time.Minute

// Run begins segments and removes old ones as time goes by, until ctx ends.
func (l *Log) Run(ctx context.Context) {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		l.Tidy()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Tidy begins another segment when the newest is old enough, and removes those
// that are too old.
func (l *Log) Tidy() {
	l.mu.Lock()
	aged := l.o.SegmentAge > 0 && !l.fresh && l.end.size > 0 && l.o.Now().Sub(l.begun) >= l.o.SegmentAge
	l.mu.Unlock()
	if aged {
		l.rotate(true)
	}
	if l.o.Retention > 0 {
		if err := l.remove(l.o.Now().Add(-l.o.Retention)); err != nil {
			l.o.Log.Error("old segments of the audit log could not be removed", "err", err)
		}
	}
}

// rotate begins another segment if one is due, or anyway. When that fails, the
// newest goes on for a while.
func (l *Log) rotate(anyway bool) {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	due := l.due() || anyway && l.full > 0
	power := l.o.Power && l.end != l.durable
	l.mu.Unlock()
	if !due {
		return
	}
	if power {
		if err := l.flush(); err != nil {
			l.o.Log.Error("the audit log could not begin another segment", "err", err)
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		return // the next record sees to it
	}
	if err := l.replace(); err != nil {
		l.full = max(l.full, l.end.size) + l.o.SegmentSize/16 + 1
		l.o.Log.Error("the audit log could not begin another segment, and goes on in the last one", "err", err)
		return
	}
	l.countSegments()
}

// replace gives the newest segment its number and puts another in its place.
// Wherever a crash ends it, Open goes on. Its caller holds both locks.
func (l *Log) replace() error {
	if l.o.Power && l.end != l.durable { // written since flush
		if err := l.file.Sync(); err != nil {
			l.takeBack()
			return err
		}
		l.durable = l.end
		l.confirm(len(l.unsure))
	}
	next, begin, err := l.create(l.number + 1)
	if err != nil {
		return err
	}
	undo := func(err error) error {
		return errors.Join(err, next.Close(), os.Remove(l.o.Path+newSuffix))
	}
	full := sealedPath(l.o.Path, l.number)
	if _, err := os.Lstat(full); !errors.Is(err, fs.ErrNotExist) {
		return undo(errors.Join(err, fmt.Errorf("%s is there already", full)))
	}
	if err := os.Rename(l.o.Path, full); err != nil {
		return undo(err)
	}
	if err := os.Rename(l.o.Path+newSuffix, l.o.Path); err != nil {
		return undo(errors.Join(err, os.Rename(full, l.o.Path)))
	}
	was := l.file
	l.enter(next, l.number+1, begin)
	_ = was.Close() // nothing is written to it any more
	return nil
}

// create makes the next segment, under a name that Open takes for nothing, with
// its header in it. The mark is behind that.
func (l *Log) create(number uint64) (f *os.File, m mark, err error) {
	path := l.o.Path + newSuffix
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, m, err
	}
	f, _, err = openFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, m, err
	}
	rest, err := encodeOwn(l.header(number))
	if err == nil {
		m = mark{seq: l.end.seq + 1, event: l.end.event}
		var line []byte
		line, m.mac = l.chain.line(nil, l.end.mac, m.seq, rest)
		m.size = int64(len(line))
		_, err = f.Write(line)
	}
	if err == nil && l.o.Power {
		err = f.Sync()
	}
	if err != nil {
		return nil, m, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, m, nil
}

// begin is replace where there is no newest segment.
func (l *Log) begin(number uint64) error {
	f, m, err := l.create(number)
	if err != nil {
		return err
	}
	if err := os.Rename(l.o.Path+newSuffix, l.o.Path); err != nil {
		return errors.Join(err, f.Close())
	}
	l.enter(f, number, m)
	return l.settle()
}

// enter goes on in a segment that has its header.
func (l *Log) enter(f *os.File, number uint64, begin mark) {
	l.file, l.number, l.end, l.durable = f, number, begin, begin
	l.begun, l.fresh, l.full, l.renamed = l.o.Now(), true, l.o.SegmentSize, true
}

// header is the record that a segment begins with.
func (l *Log) header(number uint64) segmentRecord {
	return segmentRecord{
		header: header{Time: l.now(), Kind: KindSegment}, Segment: number,
		PreviousSeq: l.end.seq, PreviousMAC: l.end.mac.String(), Event: l.end.event,
	}
}

// remove removes the segments that were full before a time. First it is recorded
// which, so that nobody takes them for stolen.
func (l *Log) remove(before time.Time) error {
	full, err := sealed(l.o.Path)
	if err != nil {
		return err
	}
	var old []uint64
	var last removedRecord
	for _, n := range full {
		next, err := l.headerOf(n + 1)
		if err != nil {
			return err // what cannot be read is for a person to look at
		}
		if !next.Time.Before(before) {
			break
		}
		old = append(old, n)
		last = removedRecord{header: header{Time: l.now(), Kind: KindRemoved}, Segment: n, ToSeq: next.PreviousSeq}
	}
	if len(old) == 0 {
		return nil
	}
	if err := l.Append(last); err != nil {
		return err
	}
	for _, n := range old { // oldest first: a crash leaves no gap
		if err := os.Remove(sealedPath(l.o.Path, n)); err != nil {
			return err
		}
	}
	l.countSegments()
	l.o.Log.Info("old segments of the audit log were removed", "segments", len(old), "to_seq", last.ToSeq)
	return nil
}

// headerOf is the header of a segment. All that the segment before holds was
// written before it; records have times of their own, which may be older.
func (l *Log) headerOf(number uint64) (e entry, err error) {
	path := sealedPath(l.o.Path, number)
	f, err := openSegment(path)
	if errors.Is(err, fs.ErrNotExist) {
		path = l.o.Path
		f, err = openSegment(path)
	}
	if err != nil {
		return e, err
	}
	defer f.Close()
	e, _, err = firstEntry(f)
	if err == nil && (e.Kind != KindSegment || e.Segment != number) {
		err = fmt.Errorf("it is not segment %d", number)
	}
	if err != nil {
		return e, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

func (l *Log) countSegments() {
	if full, err := sealed(l.o.Path); err == nil {
		l.metrics.segments.Set(float64(len(full) + 1))
	}
}
