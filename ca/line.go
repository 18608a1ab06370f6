package ca

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"time"
)

// Certify returns a certificate by this root for another root's key, until an hour
// after a time, for clocks that are ahead. With it, who trusts this root only
// takes what the other one signs.
//
// In a rotation the next root certifies the one that it will replace. The other
// way round would need the old root to have certificates below it, and roots
// that were made before there were intermediates say that they have none.
func (a *Authority) Certify(other *Authority, until time.Time) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            other.cert.RawSubject,
		NotBefore:             latest(a.cert.NotBefore, other.cert.NotBefore),
		NotAfter:              earliest(until.UTC().Add(leafBackdate), earliest(a.cert.NotAfter, other.cert.NotAfter)),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            min(other.cert.MaxPathLen, rootDepth-1),
		MaxPathLenZero:        other.cert.MaxPathLen == 0,
		SubjectKeyId:          other.cert.SubjectKeyId,
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, other.cert.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("cross-certificate: %w", err)
	}
	return der, nil
}

// A Line is the root of an instance, and during a rotation the one that comes
// after it. It is safe for use by many goroutines.
type Line struct {
	now   func() time.Time
	state atomic.Pointer[Succession]
}

// A Succession is who signs when.
type Succession struct {
	Current *Authority
	Next    *Authority // signs from Until on; nil: there is no rotation
	Since   time.Time  // when the rotation began
	Until   time.Time
}

// NewLine returns a Line. A nil clock is time.Now.
func NewLine(s Succession, now func() time.Time) *Line {
	if now == nil {
		now = time.Now
	}
	l := &Line{now: now}
	l.Set(s)
	return l
}

// Set makes all leaves from now on those of another succession. Certificates
// that connections have are good for as long as they say.
func (l *Line) Set(s Succession) { l.state.Store(&s) }

// Succession returns what holds now: a rotation that is over is none.
func (l *Line) Succession() Succession {
	s := l.state.Load()
	if s.Next != nil && !l.now().Before(s.Until) {
		return Succession{Current: s.Next}
	}
	return *s
}

// LeafIn is the LeafIn of whoever signs now.
func (l *Line) LeafIn(ctx context.Context, vaultID, host string) (*tls.Certificate, error) {
	return l.Succession().Current.LeafIn(ctx, vaultID, host)
}

// PEM returns what to trust: in a rotation both roots, the next one first.
func (l *Line) PEM() []byte {
	s := l.Succession()
	if s.Next == nil {
		return s.Current.PEM()
	}
	return append(s.Next.PEM(), s.Current.PEM()...)
}
