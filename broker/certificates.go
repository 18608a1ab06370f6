package broker

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentvault/policy/inject"
)

// A transportKey is what a session has a transport of its own for: the pins of a
// service, and the client certificate, which is one service's in one version.
type transportKey struct {
	pins                 string
	vault, service, auth string // of a client certificate; "" without one
	shown                string
}

// transportKey is that of the requests of a service; the zero one where they may go
// over the session's usual connections.
func (v *vaultView) transportKey(s *service) transportKey {
	k := transportKey{pins: s.pins}
	if s.certifier != nil {
		k.vault, k.service, k.auth, k.shown = v.id, s.name, s.auth, v.shown(s)
	}
	return k
}

// shown says which client certificate requests of a service show: the credentials
// and their versions. It is "" for none.
func (v *vaultView) shown(s *service) string {
	if s == nil || s.certifier == nil {
		return ""
	}
	var b strings.Builder
	for _, key := range s.certifier.CertificateKeys() {
		b.WriteString(key + " " + strconv.FormatInt(v.boxes[key].version, 10) + "\n")
	}
	return b.String()
}

// showTo returns a configuration that shows a service's client certificate, besides
// all that conf does. The boxes are opened for each handshake, and no longer than
// that. A session that was resumed would be the one of whoever began it, so tickets
// are not shared.
func (v *vaultView) showTo(conf *tls.Config, s *service, now func() time.Time) *tls.Config {
	part := &vaultView{id: v.id, opener: v.opener, boxes: make(map[string]box)} // not all of the View
	for _, key := range s.certifier.CertificateKeys() {
		if b, ok := v.boxes[key]; ok {
			part.boxes[key] = b
		}
	}
	certifier := s.certifier
	conf = conf.Clone()
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(16)
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		var opened plaintexts
		defer opened.clear()
		return certifier.ClientCertificate(opened.from(part.open), now())
	}
	return conf
}

// forgetShown closes the transports for client certificates that the session shows
// no more.
func (lv *live) forgetShown(now *session) {
	lv.pinned.mu.Lock()
	defer lv.pinned.mu.Unlock()
	for key, t := range lv.pinned.by {
		if key.shown == "" {
			continue
		}
		vv := now.in(key.vault)
		if vv == nil || !slices.ContainsFunc(vv.services, func(s service) bool { return vv.transportKey(&s) == key }) {
			t.close()
			delete(lv.pinned.by, key)
		}
	}
}

// certificateFault is what a person must do about a client certificate, or nil.
func (e *exchange) certificateFault(err error) *Fault {
	var unfit *inject.UnfitError
	var missing *missingError
	var alert *net.OpError // crypto/tls spells alerts so
	switch {
	case e.service.certifier == nil:
		return nil
	case errors.As(err, &unfit), errors.As(err, &missing):
		return injectFault(err)
	case errors.As(err, &alert) && alert.Op == "remote error":
		return e.perhapsCertificate(CodeUpstreamTLS, err)
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return e.perhapsCertificate(CodeUpstreamError, err)
	}
	return nil
}

// perhapsCertificate is a fault that an upstream causes, among others, by refusing
// the certificate. In TLS 1.3 its word for that comes after the handshake, and is
// lost when the request still goes out meanwhile.
func (e *exchange) perhapsCertificate(code string, err error) *Fault {
	f := NewFault(code)
	f.Err = upstreamCause(err)
	f.Message = "the upstream broke the connection off, perhaps since it does not take the client certificate of the service; a person can look at the credential " + e.service.certifier.CertificateKeys()[0]
	return f
}
