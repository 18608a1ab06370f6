package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// What is wrong with a bad record.
const (
	Changed   = "changed" // the record, or its mac, is not what was written
	Missing   = "missing" // records before it are gone
	Moved     = "moved"   // it stands at another place than it was written at
	Cut       = "cut"     // the records from here on are gone
	NoSegment = "segment missing"
)

// A BadRecord is the first record of a log that is not as it was written, or
// the place where one should be.
type BadRecord struct {
	Segment string `json:"segment"` // name of the file
	Line    int    `json:"line"`    // in it, from 1
	Offset  int64  `json:"offset"`  // in it, in bytes
	Seq     uint64 `json:"seq"`     // that belongs there
	Problem string `json:"problem"` // one of the constants above
	Detail  string `json:"detail"`
}

func (b *BadRecord) Error() string {
	return fmt.Sprintf("%s line %d (byte %d), record %d: %s: %s", b.Segment, b.Line, b.Offset, b.Seq, b.Problem, b.Detail)
}

// A Loss is a stretch of records that were gone when a server started, and that
// the log has put down as lost.
type Loss struct {
	FromSeq uint64    `json:"from_seq"`
	ToSeq   uint64    `json:"to_seq"`
	Noticed time.Time `json:"noticed"`
}

// A Report is what Verify found.
type Report struct {
	Segments int    `json:"segments"`
	Records  uint64 `json:"records"` // that are whole and in their place
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	LastMAC  string `json:"last_mac"`

	// RemovedTo is the last record that was removed because it was old.
	RemovedTo uint64 `json:"removed_to"`

	// Torn is the length of the half record at the end, in bytes. A crash leaves
	// one, and nobody was told that it was written.
	Torn int64 `json:"torn"`

	Lost []Loss     `json:"lost"`
	Bad  *BadRecord `json:"bad"` // nil: all is well
}

// VerifyOptions say what Verify holds against what.
type VerifyOptions struct {
	// Path and Key are the Log's. Required.
	Path string
	Key  []byte

	// Known are records that are known to have been there: the store's, and
	// those of checkpoints. Only by them a cut at the end is noticed: what is
	// left of the chain is whole.
	Known []KnownRecord

	// Each, if it is not nil, is called with every line that is as it was written.
	// An error ends the walk.
	Each func(line []byte) error
}

// A KnownRecord is a Head, and who knows it.
type KnownRecord struct {
	Head
	By string // as in "the store"

	// MayBeLost says that the record is not missed where the log has put it down
	// as lost.
	MayBeLost bool
}

// errRemoved is that the walk was overtaken by the removal of old segments.
var errRemoved = errors.New("segments were removed meanwhile")

// Verify walks the chain over all segments, up to the first bad record. The log
// may be written to meanwhile. The error is of reading; what is wrong with the
// log stands in the Report.
func Verify(ctx context.Context, o VerifyOptions) (Report, error) {
	for tries := 1; ; tries++ {
		w := &walk{VerifyOptions: o, ctx: ctx, chain: newChain(o.Key)}
		err := w.run()
		if errors.Is(err, errRemoved) && tries < 3 && o.Each == nil {
			continue
		}
		if err != nil {
			err = fmt.Errorf("audit log: %w", err)
		}
		return w.report, err
	}
}

// A walk goes along the chain once.
type walk struct {
	VerifyOptions
	ctx    context.Context
	chain  *chain
	report Report

	seq     uint64 // of the last record
	mac     mac
	newest  *os.File
	first   uint64 // number of the first segment
	last    uint64 // of the newest one
	removed uint64 // number of the last segment that was removed
	end     place  // behind the last line
}

func (w *walk) run() error {
	w.report.Lost = []Loss{}
	newest, number, full, err := w.snapshot()
	if err != nil {
		return err
	}
	defer func() { _ = closeAny(newest) }() // only read from
	w.newest, w.last = newest, number
	if newest == nil && len(full) > 0 {
		w.last = full[len(full)-1]
	}
	w.first = w.last
	if len(full) > 0 {
		w.first = full[0]
	}
	for n := w.first; n <= w.last && w.last > 0; n++ {
		if err := w.segment(n); err != nil || w.report.Bad != nil {
			return err
		}
	}
	w.finish()
	return nil
}

// snapshot is the newest segment, nil if there is none, its number, and those of
// the full ones at that time.
func (w *walk) snapshot() (newest *os.File, number uint64, full []uint64, err error) {
	path := w.Path
	for {
		newest, number, err = openNewest(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoRecord) {
			return nil, 0, nil, err
		}
		unknown := errors.Is(err, errNoRecord) || newest != nil && number == 0
		if full, err = sealed(path); err != nil {
			return nil, 0, nil, errors.Join(err, closeAny(newest))
		}
		var before uint64
		if len(full) > 0 {
			before = full[len(full)-1]
		}
		if newest == nil {
			return nil, 0, full, nil
		}
		if number > before+1 && !w.signedHeader(newest) || (unknown || number <= before) && stillNewest(path, newest) {
			number, unknown = before+1, false // it has no header, or it was changed
		}
		if number > before && !unknown {
			return newest, number, full, nil
		}
		if err := newest.Close(); err != nil { // it got its number meanwhile
			return nil, 0, nil, err
		}
	}
}

// signedHeader reports whether a segment begins with a header that was written
// with the key.
func (w *walk) signedHeader(src io.ReaderAt) bool {
	in := newLines(src, 0)
	defer in.done()
	line, err := in.next()
	if err != nil {
		return false
	}
	e, err := parse(line)
	return err == nil && w.asWritten(e)
}

// asWritten reports whether a header is what was written, whatever stands
// before it.
func (w *walk) asWritten(e entry) bool {
	prev, ok := parseMAC(e.PreviousMAC)
	return ok && w.chain.next(prev, e.body) == e.mac
}

// open opens a segment. The newest is open already, and stays so.
func (w *walk) open(n uint64) (path string, file *os.File, err error) {
	if n == w.last && w.newest != nil {
		return w.Path, w.newest, nil
	}
	path = sealedPath(w.Path, n)
	file, err = openSegment(path)
	return path, file, err
}

// segment walks along one segment.
func (w *walk) segment(n uint64) error {
	path, file, err := w.open(n)
	if errors.Is(err, fs.ErrNotExist) {
		if now, err := sealed(w.Path); err == nil && (len(now) == 0 || now[0] > n) {
			return errRemoved
		}
		w.bad(path, 1, 0, NoSegment, fmt.Sprintf("the file is not there, and segment %d is", w.last))
		return nil
	}
	if err != nil {
		return err
	}
	if file != w.newest {
		defer file.Close()
	}
	w.report.Segments++
	in := newLines(file, 0)
	defer in.done()
	for w.report.Bad == nil {
		start := in.offset
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return w.tail(file, path, n < w.last, in)
		case errors.Is(err, errTooLong):
			w.bad(path, in.number, start, Changed, "the line is longer than any record")
		case err != nil:
			return err
		default:
			if err := w.line(line, place{path, in.number, start, n}); err != nil {
				return err
			}
		}
	}
	return nil
}

// A place is where a line stands.
type place struct {
	path    string
	line    int
	offset  int64
	segment uint64 // by the name of the file
}

// line looks at the next record.
func (w *walk) line(line []byte, at place) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	e, err := parse(line)
	if err != nil {
		w.bad(at.path, at.line, at.offset, Changed, "the line is no record")
		return nil
	}
	prev, prevSeq := w.mac, w.seq
	if at.line == 1 && at.segment == w.first && e.Kind == KindSegment {
		// The first that is kept: what was before is in its header, which has a mac
		// of its own.
		var ok bool
		if prev, ok = parseMAC(e.PreviousMAC); !ok {
			w.bad(at.path, at.line, at.offset, Changed, "its header names no record before it")
			return nil
		}
		prevSeq = e.PreviousSeq
	}
	if w.chain.next(prev, e.body) != e.mac {
		return w.diagnose(e, at)
	}
	// Whoever wrote this record has the key; what follows are mistakes of ours,
	// or whole files in each other's place.
	switch {
	case (e.Kind == KindSegment) != (at.line == 1 && at.segment > 1):
		w.bad(at.path, at.line, at.offset, Moved, "a header stands where none belongs, or none where one does")
	case e.Kind == KindSegment && e.Segment != at.segment:
		w.bad(at.path, at.line, at.offset, Moved, fmt.Sprintf("it is the header of segment %d", e.Segment))
	case e.Kind == KindLost && e.FromSeq == prevSeq+1 && e.Seq == e.ToSeq+1:
		w.lost(e, at)
	case e.Seq != prevSeq+1:
		w.bad(at.path, at.line, at.offset, Missing, fmt.Sprintf("it is record %d", e.Seq))
	case e.Kind == KindRemoved:
		w.removed, w.report.RemovedTo = e.Segment, e.ToSeq
	}
	if w.report.Bad != nil || !w.known(e, at) {
		return nil
	}
	if w.report.Records == 0 {
		w.report.FirstSeq = e.Seq
	}
	w.seq, w.mac = e.Seq, e.mac
	w.report.Records++
	w.report.LastSeq, w.report.LastMAC = e.Seq, e.mac.String()
	if w.Each != nil {
		return w.Each(line)
	}
	return nil
}

// lost puts down a loss.
func (w *walk) lost(e entry, at place) {
	for _, k := range w.Known {
		if !k.MayBeLost && k.Seq >= e.FromSeq && k.Seq <= e.ToSeq {
			w.bad(at.path, at.line, at.offset, Cut, fmt.Sprintf("%s knows record %d, and it is lost", k.By, k.Seq))
			return
		}
	}
	w.report.Lost = append(w.report.Lost, Loss{e.FromSeq, e.ToSeq, e.Time})
}

// known holds a record against what is known of it.
func (w *walk) known(e entry, at place) bool {
	for _, k := range w.Known {
		if k.Seq == e.Seq && k.MAC != "" && k.MAC != e.mac.String() {
			w.bad(at.path, at.line, at.offset, Changed, fmt.Sprintf("%s knows another record of this number; the log was written anew from here or before", k.By))
			return false
		}
	}
	return true
}

// bad puts down what is wrong, at the record that belongs there next.
func (w *walk) bad(path string, line int, offset int64, problem, detail string) {
	w.report.Bad = &BadRecord{filepath.Base(path), line, offset, w.seq + 1, problem, detail}
}

// tail looks at the end of a segment.
func (w *walk) tail(file *os.File, path string, full bool, in *lines) error {
	w.end = place{path: path, line: in.number + 1, offset: in.offset}
	rest, err := io.ReadAll(io.NewSectionReader(file, in.offset, MaxLine))
	if err != nil || len(rest) == 0 || bytes.IndexByte(rest, '\n') >= 0 { // it grows
		return err
	}
	switch {
	case full:
		w.bad(path, in.number+1, in.offset, Cut, "the segment ends within a record")
	case wholeWithoutEnd(rest):
		w.bad(path, in.number+1, in.offset, Changed, "the end of the line is not what was written")
	default:
		w.report.Torn = int64(len(rest))
	}
	return nil
}

// wholeWithoutEnd reports whether there is a whole record in what should be the
// half of one: no crash leaves that.
func wholeWithoutEnd(rest []byte) bool {
	_, _, ok := split(append(rest[:len(rest)-1:len(rest)-1], '\n'))
	return ok
}

// finish looks for what is missing at both ends.
func (w *walk) finish() {
	if w.first > w.removed+1 && w.report.Records > 0 {
		w.report.Bad = &BadRecord{
			filepath.Base(sealedPath(w.Path, w.removed+1)), 1, 0, w.report.RemovedTo + 1, NoSegment,
			"the file is not there, and no record says that it was removed",
		}
		return
	}
	for _, k := range w.Known {
		if k.Seq <= w.seq {
			continue
		}
		end := w.end
		if end.path == "" { // there is no segment at all
			end = place{path: w.Path, line: 1}
		}
		w.bad(end.path, end.line, end.offset, Cut, fmt.Sprintf("%s knows of records up to %d, and the log ends before", k.By, k.Seq))
		return
	}
}
