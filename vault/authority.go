package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentvault/ca"
	"agentvault/vault/seal"
)

// MaxOverlap is how long two roots of the proxy entrance may be in use.
const MaxOverlap = 366 * 24 * time.Hour

// An Authority is the root of the proxy entrance, and the one that will replace
// it.
type Authority struct {
	Root
	Next *NextRoot // nil: there is none
}

// A Root is a certificate with its sealed key.
type Root struct {
	Certificate []byte
	KeyBox      []byte
	Version     int64 // of which the key's seal tells; grows with each root
}

// A NextRoot signs once the one before it no longer does.
type NextRoot struct {
	Root
	Cross     []byte // certificate of the current root's key by this root
	StartedAt time.Time
	EndsAt    time.Time // from when on this root signs
}

// ended reports whether the next root signs already.
func (a Authority) ended(now time.Time) bool { return a.Next != nil && !now.Before(a.Next.EndsAt) }

// keyContext is where a root's key is sealed.
func (r Root) keyContext() seal.Context {
	return seal.Context{Credential: "ca", Field: "key", Version: r.Version}
}

func storedAuthority(ctx context.Context, s Store) (a Authority, err error) {
	err = s.Read(ctx, func(tx Tx) error {
		a, err = tx.Authority()
		return err
	})
	return a, err
}

func firstAuthority(ctx context.Context, s Store, key seal.Key, opts ca.Options) (a Authority, err error) {
	now := time.Now
	if opts.Now != nil {
		now = opts.Now
	}
	root, err := ca.Create(now())
	if err != nil {
		return a, err
	}
	_, err = s.Write(ctx, func(tx Tx) error {
		if a, err = tx.Authority(); !errors.Is(err, ErrNotFound) {
			return err // another node was faster, or the store fails
		}
		if a.Root, err = sealRoot(key, root, 1); err != nil {
			return err
		}
		return tx.PutAuthority(a)
	})
	return a, err
}

func sealRoot(key seal.Key, root *ca.Authority, version int64) (r Root, err error) {
	p := seal.NewPlaintext(root.KeyPKCS8())
	defer p.Clear()
	r = Root{Certificate: root.CertificateDER(), Version: version}
	r.KeyBox, err = key.Seal(r.keyContext(), p)
	return r, err
}

func (r Root) open(key seal.Key, opts ca.Options) (*ca.Authority, error) {
	p, err := key.Open(r.keyContext(), r.KeyBox)
	if err != nil {
		return nil, err
	}
	defer p.Clear()
	return ca.Load(r.Certificate, p.Bytes(), opts)
}

// open makes signers of what is stored.
func (a Authority) open(key seal.Key, opts ca.Options) (s ca.Succession, err error) {
	if a.Next == nil {
		s.Current, err = a.Root.open(key, opts)
		return s, err
	}
	if s.Next, err = a.Next.open(key, opts); err != nil {
		return s, fmt.Errorf("the next root: %w", err)
	}
	s.Since, s.Until = a.Next.StartedAt, a.Next.EndsAt
	opts.Cross = a.Next.Cross
	s.Current, err = a.Root.open(key, opts)
	return s, err
}

// promoted is what is left once the next root has taken the place of the one
// before it.
func (a Authority) promoted() Authority { return Authority{Root: a.Next.Root} }

// RotateAuthority makes a new root and begins to replace the one in use by it.
// For the time of the overlap the old root signs, certified by the new one, so
// that either is enough; then the new one signs. An overlap of 0 replaces the
// root at once.
func (r *Registry) RotateAuthority(ctx context.Context, c Caller, overlap time.Duration) error {
	if err := r.allow(c, actRotate, nil); err != nil {
		return err
	}
	if overlap < 0 || overlap > MaxOverlap {
		return badRequest("overlap_seconds: from 0 to %d", int(MaxOverlap.Seconds()))
	}
	now := r.now()
	root, err := ca.Create(now)
	if err != nil {
		return err
	}
	return r.writeAsNow(ctx, c, actRotate, func(tx Tx, c Caller) error {
		a, err := tx.Authority()
		if err != nil {
			return err
		}
		if a.ended(now) {
			a = a.promoted()
		}
		if a.Next != nil {
			return refuse(CodeConflict, "the root is being replaced already, until %s; end that first: agent-vault ca rotate --finish", a.Next.EndsAt.Format(time.RFC3339))
		}
		if a, err = r.succeeded(a, root, now, overlap); err != nil {
			return err
		}
		return errors.Join(tx.PutAuthority(a), r.note(tx, c, actRotate, nil, fmt.Sprintf("root %s, overlap %s", root.Fingerprint(), overlap)))
	})
}

// succeeded is an authority with a next root, or one that has been replaced.
func (r *Registry) succeeded(a Authority, root *ca.Authority, now time.Time, overlap time.Duration) (Authority, error) {
	sealed, err := sealRoot(r.key, root, a.Version+1)
	if err != nil {
		return a, err
	}
	if overlap == 0 {
		return Authority{Root: sealed}, nil
	}
	current, err := a.Root.open(r.key, ca.Options{Now: r.clock})
	if err != nil {
		return a, err
	}
	next := &NextRoot{Root: sealed, StartedAt: now, EndsAt: now.Add(overlap)}
	if next.Cross, err = root.Certify(current, next.EndsAt); err != nil {
		return a, err
	}
	a.Next = next
	return a, nil
}

// FinishAuthority ends a rotation: from now on the new root signs, and the old
// one's key is gone.
func (r *Registry) FinishAuthority(ctx context.Context, c Caller) error {
	return r.writeAsNow(ctx, c, actRotate, func(tx Tx, c Caller) error {
		a, err := tx.Authority()
		if err != nil {
			return err
		}
		if a.Next == nil {
			return refuse(CodeConflict, "the root is not being replaced")
		}
		return errors.Join(tx.PutAuthority(a.promoted()), r.note(tx, c, actRotate, nil, "finish"))
	})
}

// endRotation forgets the key of a root whose rotation is over.
func (r *Registry) endRotation(ctx context.Context) error {
	a, err := storedAuthority(ctx, r.store)
	if errors.Is(err, ErrNotFound) || err == nil && !a.ended(r.now()) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.write(ctx, func(tx Tx) error {
		a, err := tx.Authority()
		if err != nil || !a.ended(r.now()) {
			return err
		}
		return errors.Join(tx.PutAuthority(a.promoted()), r.note(tx, Caller{}, actRotate, nil, "the overlap has ended"))
	})
}
