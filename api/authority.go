package api

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"time"

	"agentvault/ca"
)

// CAInfo is what is to be known of the proxy entrance's roots. All of it is
// public.
type CAInfo struct {
	Roots    []RootInfo `json:"roots" doc:"What to trust: in a rotation two, of which either is enough; the newer one first."`
	Rotation *Rotation  `json:"rotation,omitempty" doc:"While one root takes the place of another."`
}

// RootInfo is one root certificate.
type RootInfo struct {
	Role          string    `json:"role" enum:"current,next" doc:"Whether it signs, or will once the rotation is over."`
	Subject       string    `json:"subject"`
	SHA256        string    `json:"sha256" doc:"Fingerprint of the certificate, in hex."`
	NotBefore     time.Time `json:"not_before"`
	NotAfter      time.Time `json:"not_after"`
	Intermediates bool      `json:"intermediates" doc:"Leaves are signed by intermediates that live for days and are good for the hosts of one vault only. False for roots that were made before there were any."`
	PEM           string    `json:"pem"`
}

// Rotation is the time in which both roots are good.
type Rotation struct {
	StartedAt time.Time `json:"started_at"`
	EndsAt    time.Time `json:"ends_at" doc:"From when on only the newer root is."`
}

// RotateCARequest begins a rotation.
type RotateCARequest struct {
	OverlapSeconds int64 `json:"overlap_seconds" minimum:"0" maximum:"31622400" doc:"For how long either root is enough; 0: the old one is good for nothing at once."`
}

type rotateCAIn struct{ Body RotateCARequest }

func (s *server) caInfo(context.Context, call[none]) (CAInfo, error) {
	if s.CA == nil {
		return CAInfo{Roots: []RootInfo{}}, nil
	}
	line := s.CA()
	info := CAInfo{Roots: []RootInfo{rootInfo("current", line.Current.Certificate())}}
	if line.Next != nil {
		info.Roots = append([]RootInfo{rootInfo("next", line.Next.Certificate())}, info.Roots...)
		info.Rotation = &Rotation{line.Since.UTC(), line.Until.UTC()}
	}
	return info, nil
}

func rootInfo(role string, c *x509.Certificate) RootInfo {
	sum := sha256.Sum256(c.Raw)
	return RootInfo{
		Role: role, Subject: c.Subject.String(), SHA256: hex.EncodeToString(sum[:]),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Intermediates: ca.Delegates(c),
		PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
	}
}

func (s *server) rotateCA(ctx context.Context, c call[rotateCAIn]) (CAInfo, error) {
	overlap := time.Duration(min(c.in.Body.OverlapSeconds, int64(time.Duration(1<<62)/time.Second))) * time.Second
	if err := s.Registry.RotateAuthority(ctx, c.caller, overlap); err != nil {
		return CAInfo{}, err
	}
	return s.caInfo(ctx, call[none]{})
}

func (s *server) finishCA(ctx context.Context, c call[none]) (CAInfo, error) {
	if err := s.Registry.FinishAuthority(ctx, c.caller); err != nil {
		return CAInfo{}, err
	}
	return s.caInfo(ctx, call[none]{})
}
