package broker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"agentvault/broker/audit"
	"agentvault/vault"
)

// A ChangeLog is where a [Mirror] reads: the record of changes of the control
// plane, each of which was stored in the transaction of its change.
type ChangeLog interface {
	// EventsAfter returns events above an ID in their order.
	EventsAfter(ctx context.Context, id int64, limit int) ([]vault.Event, error)
	// LastEvent returns the highest ID that was ever given.
	LastEvent(ctx context.Context) (int64, error)
	// ForgetEvents deletes some from before a time, of those up to an ID, and
	// returns how many.
	ForgetEvents(ctx context.Context, before time.Time, upTo int64, limit int) (int64, error)
	// Changes signals after commits.
	Changes() (<-chan struct{}, func())
}

// MirrorOptions say how a Mirror works.
type MirrorOptions struct {
	// From and Into are required.
	From ChangeLog
	Into *audit.Log

	// Retention is how long events stay in From once they are in Into. Zero keeps
	// them.
	Retention time.Duration

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// Log receives operational messages. Nil discards them.
	Log *slog.Logger
}

// Bounds of a Mirror's work.
const (
	mirrorBatch = 200
	mirrorRetry = time.Second // after a failure, and to notice what was not signalled
)

// A Mirror copies the record of changes into the audit log, so that changes and
// uses stand in one chain. The store's transaction is the truth and the chain
// follows it; how far it has come stands in the chain itself, which has the id
// of each event. So a killed one loses no event and writes none twice.
type Mirror struct {
	o    MirrorOptions
	at   int64 // the last event that was copied
	seen bool  // at is known
	sick bool  // the last attempt failed; said once
}

// NewMirror returns a Mirror. The error names the option that is missing.
func NewMirror(o MirrorOptions) (*Mirror, error) {
	switch {
	case o.From == nil:
		return nil, errors.New("broker: MirrorOptions.From is required")
	case o.Into == nil:
		return nil, errors.New("broker: MirrorOptions.Into is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Mirror{o: o}, nil
}

// Run copies until ctx ends, and then what there still is.
func (m *Mirror) Run(ctx context.Context) {
	changes, unsubscribe := m.o.From.Changes()
	defer unsubscribe()
	retry := time.NewTicker(mirrorRetry)
	defer retry.Stop()
	var forgotten time.Time
	for ctx.Err() == nil {
		m.attempt(ctx)
		if now := m.o.Now(); m.o.Retention > 0 && now.Sub(forgotten) >= forgetEvery {
			forgotten = now
			m.forget(ctx)
		}
		select {
		case <-changes:
		case <-retry.C:
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), fillLast)
	defer cancel()
	m.attempt(last)
}

func (m *Mirror) attempt(ctx context.Context) {
	err := m.Copy(ctx)
	switch {
	case err == nil:
		m.sick = false
	case ctx.Err() == nil && !m.sick:
		m.sick = true
		m.o.Log.Error("changes are not copied into the audit log for now; they are in the record of changes", "err", err)
	}
}

// Copy copies all that there is.
func (m *Mirror) Copy(ctx context.Context) error {
	if !m.seen {
		given, err := m.o.From.LastEvent(ctx)
		if err != nil {
			return err
		}
		// A store that was restored from a backup gives ids again that the chain
		// has already: they are other events.
		m.at, m.seen = min(m.o.Into.LastEvent(), given), true
	}
	for {
		events, err := m.o.From.EventsAfter(ctx, m.at, mirrorBatch)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := m.o.Into.AppendChange(changeRecord(e), e.ID); err != nil {
				return err
			}
			m.at = e.ID
		}
		if len(events) == 0 {
			return nil
		}
	}
}

// maxObject bounds what a record says was changed, in bytes: six times that fit
// a line.
const maxObject = 32 << 10

func changeRecord(e vault.Event) *ChangeRecord {
	return &ChangeRecord{
		Time: e.Time.UTC(), Kind: audit.KindChange, Event: e.ID, ActorKind: e.ActorKind, ActorID: e.ActorID, Actor: clip(e.ActorName, maxTarget),
		Action: e.Action, VaultID: e.VaultID, Vault: e.Vault, Object: clip(e.Object, maxObject),
	}
}

// forget deletes what is too old and stands in the chain.
func (m *Mirror) forget(ctx context.Context) {
	before := m.o.Now().Add(-m.o.Retention)
	for {
		n, err := m.o.From.ForgetEvents(ctx, before, m.at, forgetBatch)
		if err != nil && ctx.Err() == nil {
			m.o.Log.Error("old events could not be deleted", "err", err)
		}
		if err != nil || n < forgetBatch {
			return
		}
	}
}
