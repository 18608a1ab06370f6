package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentvault/vault/seal"
)

// A Holder keeps requests that wait for a person, for the broker, which has
// admitted whoever asks. Nothing that it does changes what decisions depend on. It
// is safe for use by many goroutines.
type Holder struct {
	store Store
	key   seal.Key
	clock func() time.Time
}

// NewHolder returns a Holder on a store. now is the clock; nil means time.Now.
func NewHolder(s Store, key seal.Key, now func() time.Time) *Holder {
	if now == nil {
		now = time.Now
	}
	return &Holder{store: s, key: key, clock: now}
}

// now is the time that is stored.
func (d *Holder) now() time.Time { return storedTime(d.clock()) }

// Hold holds a request, or finds the question that it is already.
func (d *Holder) Hold(ctx context.Context, h Held, c HeldContent) (Held, error) {
	h.Digest = digestHeld(d.key, h, c)
	found := false
	find := func(tx Tx) (err error) {
		found, err = d.findHeld(tx, &h)
		return err
	}
	// One that is held already does not take the one writer, nor does one too many.
	err := d.store.Read(ctx, func(tx Tx) error {
		if err := find(tx); err != nil || found {
			return err
		}
		return d.heldFits(tx, h)
	})
	if err == nil && !found {
		_, err = d.store.Write(ctx, func(tx Tx) error {
			if err := find(tx); err != nil || found {
				return err
			}
			if err := d.heldFits(tx, h); err != nil {
				return err
			}
			return d.putNewHeld(tx, &h, c)
		})
	}
	h.Status = h.StatusAt(d.now())
	return h, err
}

// findHeld finds the question that a request is already.
func (d *Holder) findHeld(tx Tx, h *Held) (found bool, err error) {
	was, err := tx.HeldByDigest(h.VaultID, h.Digest)
	if errors.Is(err, ErrNotFound) || err == nil && !d.now().Before(was.Until) {
		return false, nil
	}
	if err == nil {
		*h = was
	}
	return err == nil, err
}

// FindHeld finds the question that a request is already, and holds none.
func (d *Holder) FindHeld(ctx context.Context, h Held, c HeldContent) (_ Held, found bool, err error) {
	h.Digest = digestHeld(d.key, h, c)
	err = d.store.Read(ctx, func(tx Tx) error {
		found, err = d.findHeld(tx, &h)
		return err
	})
	h.Status = h.StatusAt(d.now())
	return h, found, err
}

func (d *Holder) putNewHeld(tx Tx, h *Held, c HeldContent) (err error) {
	if h.Number, err = tx.NextHeld(h.VaultID); err != nil {
		return err
	}
	h.ID, h.Status, h.CreatedAt = newID(), HeldPending, d.now()
	h.Until = h.CreatedAt.Add(heldLife)
	c.Header = hideOwn(c.Header)
	if err := tx.PutHeld(*h); err != nil {
		return err
	}
	return sealHeld(tx, d.key, *h, boxRequest, c)
}

// heldFits refuses a question too many.
func (d *Holder) heldFits(tx Tx, h Held) error {
	pending, err := tx.ListHeld(HeldFilter{VaultID: h.VaultID, Pending: d.now()})
	if err != nil {
		return err
	}
	own := 0
	for _, p := range pending {
		if p.AskerID == h.AskerID {
			own++
		}
	}
	switch {
	case own >= maxHeldOfOne:
		return TooManyHeldError(fmt.Sprintf("%d requests of this session wait for a person already; wait until some have been decided", maxHeldOfOne))
	case len(pending) >= maxHeld:
		return TooManyHeldError(fmt.Sprintf("%d requests wait for a person in this vault already; wait until some have been decided", maxHeld))
	}
	return nil
}

// A TooManyHeldError is that a request is not held, since too many are. It says so
// to whoever asks.
type TooManyHeldError string

func (e TooManyHeldError) Error() string { return string(e) }

// Wait returns a held request once its state is another one, the time is over
// or ctx has ended, which is no error.
func (d *Holder) Wait(ctx context.Context, h Held, wait time.Duration) (Held, error) {
	changed, unsubscribe := d.store.Changes()
	defer unsubscribe()
	look := time.NewTicker(time.Second) // what ends by itself, and commits that were not signalled
	defer look.Stop()
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		now, err := d.heldNow(ctx, h)
		if err != nil || now.Status != h.Status {
			return now, err
		}
		select {
		case <-ctx.Done():
			return now, nil
		case <-end.C:
			return now, nil
		case <-changed:
			pause(ctx, waitPause)
		case <-look.C:
		}
	}
}

func (d *Holder) heldNow(ctx context.Context, h Held) (now Held, err error) {
	err = d.store.Read(ctx, func(tx Tx) error {
		now, err = tx.HeldByID(h.ID)
		return err
	})
	if ctx.Err() != nil {
		return h, nil
	}
	if errors.Is(err, ErrNotFound) { // with its vault
		h.Status = HeldExpired
		return h, nil
	}
	now.Status = now.StatusAt(d.now())
	return now, err
}

// Send makes an approved request one that is sent, by the exchange of that id,
// and reports whether it may: the first that asks, once. Nothing may leave the
// vault before.
func (d *Holder) Send(ctx context.Context, h Held, request string) (sends bool, err error) {
	_, err = d.store.Write(ctx, func(tx Tx) error {
		sends = false
		now, err := tx.HeldByID(h.ID)
		if errors.Is(err, ErrNotFound) || err == nil && now.StatusAt(d.now()) != HeldApproved {
			return nil
		}
		if err != nil {
			return err
		}
		now.Status, now.Request, now.SentAt = HeldSent, request, d.now()
		now.BeatAt, now.Until = now.SentAt, now.SentAt.Add(heldLife)
		sends = true
		return errors.Join(tx.PutHeld(now), d.noteHeld(tx, now, "sent", "request "+request))
	})
	return sends && err == nil, err
}

// noteHeld records a step that a held request's own asker has made.
func (d *Holder) noteHeld(tx Tx, h Held, what, more string) error {
	v, err := tx.VaultRefByID(h.VaultID)
	if err != nil {
		return err
	}
	return tx.PutEvent(Event{
		Time: d.now(), ActorKind: h.AskerKind, ActorID: h.AskerID, ActorName: h.AskerName,
		Action: "approval.send", VaultID: v.ID, Vault: v.Name, Object: h.object(what) + " " + more,
	})
}

// object says in the record of changes what was decided, without the query.
func (h *Held) object(what string) string {
	return fmt.Sprintf("%s %d: %s %s%s digest %x", what, h.Number, h.Method, h.Target, h.Path, h.Digest)
}

// A HeldEnd is what came of sending a held request.
type HeldEnd struct {
	// Answered says that there was an answer; Answer is nil where it cannot be given
	// again.
	Answered bool
	Answer   *HeldAnswer

	// Unsent says that nothing has left the vault, so that it is approved still.
	Unsent bool

	// Again says that the same request is a new question at once.
	Again bool
}

// End says what came of a request that the exchange of that id has sent. With
// neither an answer nor Unsent nobody will ever know.
func (d *Holder) End(ctx context.Context, h Held, request string, end HeldEnd) error {
	return d.ofSender(ctx, h, request, func(tx Tx, now *Held) error {
		switch {
		case end.Unsent:
			now.Status, now.Request, now.SentAt = HeldApproved, "", time.Time{}
			now.Until = now.DecidedAt.Add(heldLife)
		case end.Answered:
			now.Status, now.AnsweredAt, now.Kept = HeldAnswered, d.now(), end.Answer != nil
			now.Until = now.AnsweredAt.Add(heldLife)
		}
		now.BeatAt = time.Time{}
		if end.Again {
			now.Until = d.now()
		}
		if end.Answer != nil {
			return sealHeld(tx, d.key, *now, boxAnswer, end.Answer)
		}
		return nil
	})
}

// Beat says that the exchange of that id still waits for the answer.
func (d *Holder) Beat(ctx context.Context, h Held, request string) error {
	return d.ofSender(ctx, h, request, func(_ Tx, now *Held) error {
		now.BeatAt = d.now()
		now.Until = now.BeatAt.Add(heldLife)
		return nil
	})
}

// ofSender changes what an exchange has sent, as long as it is that.
func (d *Holder) ofSender(ctx context.Context, h Held, request string, f func(Tx, *Held) error) error {
	_, err := d.store.Write(ctx, func(tx Tx) error {
		now, err := tx.HeldByID(h.ID)
		if errors.Is(err, ErrNotFound) || err == nil && (now.Status != HeldSent || now.Request != request) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(tx, &now); err != nil {
			return err
		}
		return tx.PutHeld(now)
	})
	return err
}

// Answer returns the answer that was kept, or nil.
func (d *Holder) Answer(ctx context.Context, h Held) (*HeldAnswer, error) {
	a := new(HeldAnswer)
	err := d.store.Read(ctx, func(tx Tx) error { return openHeld(tx, d.key, h, boxAnswer, a) })
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// forgetHeld deletes what held requests and their answers said, once that is over,
// and after a week that they were there.
func (r *Registry) forgetHeld(ctx context.Context) error {
	boxes := r.now()
	rows := boxes.Add(-heldKept)
	some := false
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		some, err = tx.HeldToForget(boxes, rows)
		return err
	})
	if err != nil || !some {
		return err
	}
	_, err = r.store.Write(ctx, func(tx Tx) error { return tx.ForgetHeld(boxes, rows) })
	return err
}
