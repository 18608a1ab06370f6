package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"time"

	"agentvault/broker/audit"
	"agentvault/vault"
)

// A RequestLog is where a [Filler] puts what it reads.
type RequestLog interface {
	// LogTail returns how far the audit log has been taken in, and whether there
	// are any rows.
	LogTail(ctx context.Context) (tail vault.LogTail, rows bool, err error)
	// AppendRequests takes a stretch in, with its tail, whole or not at all.
	AppendRequests(ctx context.Context, b vault.RequestBatch) error
	// ForgetRequests deletes some of what began before a time, and returns how
	// many: limit or more, unless that is all.
	ForgetRequests(ctx context.Context, before time.Time, limit int) (int64, error)
}

// FillerOptions say how a Filler works.
type FillerOptions struct {
	// Path of the audit log. Required.
	Path string

	// Appended signals that the audit log has grown. Nil: it is looked at at
	// every pace.
	Appended <-chan struct{}

	// Safe returns the seq of the last record that will not be taken back; those
	// behind it are left for later. Nil: all are safe.
	Safe func() uint64

	// Anew begins at the oldest record, whatever has been taken in: rows that were
	// lost come back, and the others stay as they are.
	Anew bool

	// Into is required.
	Into RequestLog

	// Retention is how long requests stay. Zero keeps them.
	Retention time.Duration

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// Log receives operational messages. Nil discards them.
	Log *slog.Logger
}

// Bounds of a Filler's work.
const (
	fillPace    = 200 * time.Millisecond // least time between two looks at the log
	fillMany    = 64                     // records of a look, from which on the next one waits longer:
	fillBusy    = time.Second            // so that a transaction has as much as can wait
	fillBatch   = 10_000                 // records of one transaction
	forgetBatch = 10_000                 // rows of one transaction
	forgetEvery = time.Hour
	fillLast    = 5 * time.Second // for what is left at the end
)

// A Filler copies the audit log of this node into the request log, behind the
// exchanges. What it has copied and how far it has come are stored together, so
// that a killed one goes on where it was. What it copies anew, over rows that are
// there, changes nothing.
type Filler struct {
	o     FillerOptions
	tail  vault.LogTail
	in    *audit.Reader // nil: not open
	anew  bool          // begin at the oldest record
	sick  bool          // the last attempt failed; said once
	dec   decoder
	busy  bool // the last look found many records
	taken int  // requests of the batch before

	asked chan chan struct{} // for what there is now; answered by closing
}

// NewFiller returns a Filler. It opens nothing yet. The error names the option
// that is missing.
func NewFiller(o FillerOptions) (*Filler, error) {
	switch {
	case o.Path == "":
		return nil, errors.New("broker: FillerOptions.Path is required")
	case o.Into == nil:
		return nil, errors.New("broker: FillerOptions.Into is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Filler{o: o, anew: o.Anew, asked: make(chan chan struct{})}, nil
}

// Run fills until ctx ends, and then takes in what there still is.
func (f *Filler) Run(ctx context.Context) {
	defer f.close()
	var forgotten time.Time
	var asked chan struct{}
	for ctx.Err() == nil {
		f.attempt(ctx)
		if asked != nil {
			close(asked)
		}
		if now := f.o.Now(); f.o.Retention > 0 && now.Sub(forgotten) >= forgetEvery {
			forgotten = now
			f.forget(ctx)
		}
		asked = f.wait(ctx)
	}
	if asked != nil {
		close(asked)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), fillLast)
	defer cancel()
	f.attempt(last)
}

// CatchUp returns when Run has taken in all that the audit log had when it was
// called, or when ctx ends.
func (f *Filler) CatchUp(ctx context.Context) {
	done := make(chan struct{})
	select {
	case f.asked <- done:
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// wait returns after a pause, when there is something to read, or to forget; or
// at once, when somebody asks for what there is now.
func (f *Filler) wait(ctx context.Context) (asked chan struct{}) {
	pace := fillPace
	if f.busy {
		pace = fillBusy
	}
	pause := time.NewTimer(pace)
	defer pause.Stop()
	select {
	case <-pause.C:
	case asked = <-f.asked:
		return asked
	case <-ctx.Done():
		return nil
	}
	if f.o.Appended == nil || f.sick {
		return nil
	}
	pause.Reset(forgetEvery)
	select {
	case <-pause.C:
	case <-f.o.Appended:
	case asked = <-f.asked:
	case <-ctx.Done():
	}
	return asked
}

func (f *Filler) attempt(ctx context.Context) {
	err := f.Fill(ctx)
	switch {
	case err == nil:
		f.sick = false
	case ctx.Err() == nil && !f.sick:
		f.sick = true
		f.o.Log.Error("the request log is not filled for now; the audit log goes on", "err", err)
	}
}

// errAnotherLog is that the log is not the one that was read so far: it was cut,
// or replaced.
var errAnotherLog = errors.New("the audit log does not go on where it was read to")

// Fill takes in all that there is.
func (f *Filler) Fill(ctx context.Context) error {
	if err := f.open(ctx); err != nil {
		return err
	}
	taken := 0
	for {
		b, n, err := f.read()
		taken += n
		f.busy = taken >= fillMany
		if errors.Is(err, errAnotherLog) {
			f.o.Log.Error("the request log is filled anew from the oldest record", "err", err)
			f.anew = true
			if err := errors.Join(f.close(), f.open(ctx)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return errors.Join(err, f.close())
		}
		if n == 0 {
			return nil
		}
		if err := f.o.Into.AppendRequests(ctx, b); err != nil {
			return errors.Join(err, f.close()) // and begin again behind what is stored
		}
		if f.tail = b.Tail; n < fillBatch {
			return nil // what came meanwhile is for the next look
		}
	}
}

// open finds the place to go on at.
func (f *Filler) open(ctx context.Context) error {
	if f.in != nil {
		return nil
	}
	tail, rows, err := f.o.Into.LogTail(ctx)
	if err != nil {
		return err
	}
	if f.anew || !rows {
		tail = vault.LogTail{Again: rows}
	}
	in := audit.NewReader(f.o.Path, audit.Position{Segment: tail.Segment, Offset: tail.Offset, MAC: tail.MAC})
	fits, err := in.Fits()
	if err != nil {
		return errors.Join(err, in.Close())
	}
	if !fits {
		if err := in.Close(); err != nil {
			return err
		}
		tail, in = vault.LogTail{Again: rows}, audit.NewReader(f.o.Path, audit.Position{})
	}
	f.tail, f.in, f.anew = tail, in, false
	return nil
}

func (f *Filler) close() error {
	if f.in == nil {
		return nil
	}
	err := f.in.Close()
	f.in = nil
	return err
}

// read makes a batch of the next records, and returns how many lines it is of:
// fillBatch, unless these are all there are for now.
func (f *Filler) read() (vault.RequestBatch, int, error) {
	if fits, err := f.in.Fits(); err != nil || !fits {
		return vault.RequestBatch{}, 0, errors.Join(errAnotherLog, err)
	}
	safe := uint64(math.MaxUint64)
	if f.o.Safe != nil {
		safe = f.o.Safe()
	}
	var oldest time.Time
	if f.o.Retention > 0 {
		oldest = f.o.Now().Add(-f.o.Retention)
	}
	s := newStretch(f.tail, oldest, safe, &f.dec, f.taken)
	n, err := f.lines(s)
	if err != nil {
		return s.b, n, err
	}
	s.b.Tail.Again = s.b.Again && n == fillBatch
	for _, err := range s.end() {
		f.leftOut(err)
	}
	p := f.in.Position()
	s.b.Tail.Segment, s.b.Tail.Offset, s.b.Tail.MAC = p.Segment, p.Offset, p.MAC
	f.taken = len(s.b.Requests)
	return s.b, n, nil
}

// lines adds the next ones to a stretch, and returns how many.
func (f *Filler) lines(s *stretch) (n int, err error) {
	for ; n < fillBatch; n++ {
		line, err := f.in.Next()
		if err == nil {
			err = s.add(line)
		}
		var bad *audit.BadLineError
		switch {
		case err == nil:
		case errors.Is(err, errNotSafe):
			f.in.Unread()
			return n, nil
		case errors.Is(err, io.EOF):
			return n, nil
		case line != nil || errors.As(err, &bad):
			f.leftOut(err)
		default:
			return n, err
		}
	}
	return n, nil
}

// leftOut says of a line that it is no record.
func (f *Filler) leftOut(err error) {
	f.o.Log.Error("a line of the audit log is left out of the request log", "err", err, "before", f.in.Position())
}

// forget deletes what is too old, a few rows at a time, so that other writers
// get their turn.
func (f *Filler) forget(ctx context.Context) {
	before := f.o.Now().Add(-f.o.Retention)
	for {
		n, err := f.o.Into.ForgetRequests(ctx, before, forgetBatch)
		if err != nil && ctx.Err() == nil {
			f.o.Log.Error("old requests could not be deleted", "err", err)
		}
		if err != nil || n < forgetBatch {
			return
		}
	}
}
