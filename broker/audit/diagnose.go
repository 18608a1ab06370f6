package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// diagnose says what is wrong with a record whose mac does not follow from the
// one before. Its seq is only what it claims.
func (w *walk) diagnose(e entry, at place) error {
	want := w.seq + 1
	add := func(problem, format string, args ...any) error {
		w.bad(at.path, at.line, at.offset, problem, fmt.Sprintf(format, args...))
		return nil
	}
	switch {
	case at.line == 1 && at.segment == w.first && e.Kind == KindSegment:
		w.seq = e.PreviousSeq // or what it claims
		return add(Changed, "its mac does not fit it")
	case e.Seq == want:
		return add(Changed, "its mac does not fit it and the record before")
	case e.Seq < want && w.report.Records > 0 && e.Seq >= w.report.FirstSeq:
		return add(Moved, "record %d stands here, which was there before", e.Seq)
	}
	where, err := w.seek(want, at)
	switch {
	case err != nil:
		return err
	case where != nil:
		return add(Moved, "record %d stands here; record %d stands in %s, line %d", e.Seq, want, where.path, where.line)
	case at.line == 1 && e.Kind == KindSegment && e.Segment == at.segment && e.PreviousSeq > w.seq && w.asWritten(e):
		at = w.end // of the segment before: what is wrong is there
		return add(Cut, "the segment ends with record %d, and the next one's header says with %d", w.seq, e.PreviousSeq)
	case e.Seq > want:
		return add(Missing, "record %d stands here, and those before it are gone", e.Seq)
	}
	return add(Changed, "its mac does not fit it, and it calls itself record %d", e.Seq)
}

// seek looks for a record behind a place; nil is nowhere.
func (w *walk) seek(seq uint64, at place) (*place, error) {
	for n := at.segment; n <= w.last; n++ {
		path, file, err := w.open(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, err := seekIn(w.ctx, file, seq)
		if file != w.newest {
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			return nil, err
		}
		if found != nil {
			found.path = filepath.Base(path)
			return found, nil
		}
	}
	return nil, nil
}

// seekIn looks for a record in one segment.
func seekIn(ctx context.Context, src io.ReaderAt, seq uint64) (*place, error) {
	in := newLines(src, 0)
	defer in.done()
	for ctx.Err() == nil {
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case errors.Is(err, errTooLong):
			continue
		case err != nil:
			return nil, err
		}
		if e, err := parse(line); err == nil && e.Seq == seq {
			return &place{line: in.number}, nil
		}
	}
	return nil, ctx.Err()
}
