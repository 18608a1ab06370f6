package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
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
	o    FillerOptions
	tail vault.LogTail
	in   *audit.Reader // nil: not open
	anew bool          // begin at the oldest record
	sick bool          // the last attempt failed; said once
	dec  decoder
	busy bool // the last look found many records

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
	b := vault.RequestBatch{Uses: make(map[vault.CredentialUse]time.Time), Tail: f.tail, Again: f.tail.Again}
	at := make(map[string]int) // by request id: index into b.Requests
	var oldest time.Time
	if f.o.Retention > 0 {
		oldest = f.o.Now().Add(-f.o.Retention)
	}
	if fits, err := f.in.Fits(); err != nil || !fits {
		return b, 0, errors.Join(errAnotherLog, err)
	}
	n := 0
	for ; n < fillBatch; n++ {
		rec, err := f.next()
		var bad *audit.BadLineError
		switch {
		case errors.Is(err, io.EOF):
			b.Tail.Again = false
			return b, n, nil
		case errors.As(err, &bad):
			f.o.Log.Error("a line of the audit log is left out of the request log", "err", err)
		case err != nil:
			return b, n, err
		case f.o.Safe != nil && rec.Seq > f.o.Safe():
			f.in.Unread()
			b.Tail.Again = false
			return b, n, nil
		default:
			b.Tail.Seq = rec.Seq
			f.add(&b, at, rec, oldest)
		}
		p := f.in.Position()
		b.Tail.Segment, b.Tail.Offset, b.Tail.MAC = p.Segment, p.Offset, p.MAC
	}
	return b, n, nil
}

// next returns the next record, of whatever kind.
func (f *Filler) next() (rec Record, err error) {
	line, err := f.in.Next()
	if err != nil {
		return rec, err
	}
	if rec, err = f.dec.record(line); err != nil {
		p := f.in.Position()
		err = &audit.BadLineError{Segment: p.Segment, Offset: p.Offset - int64(len(line)), Err: err}
		return rec, err
	}
	return rec, nil
}

// add puts a record into a batch, where an outcome takes the place of its
// intent.
func (f *Filler) add(b *vault.RequestBatch, at map[string]int, rec Record, oldest time.Time) {
	if rec.Kind == "intent" {
		for _, key := range rec.Credentials {
			use := vault.CredentialUse{VaultID: rec.VaultID, Key: key}
			if rec.Time.After(b.Uses[use]) {
				b.Uses[use] = rec.Time
			}
		}
	}
	r := rec.request()
	if rec.Kind != "intent" && rec.Kind != "outcome" || rec.Request == "" || r.Time.Before(oldest) {
		return
	}
	i, ok := at[r.ID]
	if !ok {
		at[r.ID] = len(b.Requests)
		b.Requests, b.Fresh = append(b.Requests, r), append(b.Fresh, r.Status == nil)
	} else if r.Status != nil && b.Requests[i].Status == nil {
		r.Time = b.Requests[i].Time
		b.Requests[i] = r
	}
}

// request is the record as a row of the request log.
func (r *Record) request() vault.Request {
	began := r.Time
	var status *int
	if r.Kind == "outcome" {
		began = began.Add(-time.Duration(r.Micros) * time.Microsecond)
		status = &r.Status
	}
	_, host, _ := strings.Cut(r.Target, "://")
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return vault.Request{
		ID: r.Request, Time: began.UTC().Truncate(time.Millisecond), Entrance: r.Entrance, SessionID: r.Session, Agent: r.Agent, AgentKind: r.AgentKind,
		VaultID: r.VaultID, Vault: r.Vault, Service: r.Service, Target: r.Target, Host: host, Method: r.Method, Path: r.Path,
		Credentials: r.Credentials, Status: status, Fault: r.Fault, BytesIn: r.BytesIn, BytesOut: r.BytesOut,
		Micros: r.Micros, Scrubbed: r.Scrubbed, Seq: r.Seq,
	}
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
