package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"

	"agentvault/broker/upstream"
	"agentvault/vault"
)

// errUnpinned ends a handshake: the chain was verified against the roots, and
// holds none of the service's pins.
var errUnpinned = errors.New("certificate: matches no pin of the service")

func isUnpinned(err error) bool { return errors.Is(err, errUnpinned) }

// pinned are the transports of a session for services with pins, or with a client
// certificate. A transport never lends a connection to another, so what carries a
// request was held against exactly the pins of its service, and shows exactly its
// certificate, however often it is used again; and who changes the pins begins
// with none. Sets of pins that are not in use any more are few, since people make
// them, and keep no connection; for certificates see forgetShown.
type pinned struct {
	mu sync.Mutex
	by map[transportKey]*pinnedTransports
}

type pinnedTransports struct {
	usual, upgrades *upstream.Transport
	forget          func() bool // the end of the session
}

func (t *pinnedTransports) close() {
	t.forget()
	t.closeBoth()
}

func (t *pinnedTransports) closeBoth() {
	t.usual.Close()
	t.upgrades.Close()
}

// transport is what carries the exchange.
func (e *exchange) transport(upgrades bool) *upstream.Transport {
	switch {
	case e.service.pins != "" || e.service.certifier != nil:
		t := e.session.live.pinnedTo(e.Broker, e.vault, e.service)
		if upgrades {
			return t.upgrades
		}
		return t.usual
	case upgrades:
		return e.upgrades
	}
	return e.session.live.upstreams(e.Broker)
}

// pinnedTo returns the session's transports for a service's pins and certificate.
func (lv *live) pinnedTo(b *Broker, v *vaultView, s *service) *pinnedTransports {
	key := v.transportKey(s)
	lv.pinned.mu.Lock()
	defer lv.pinned.mu.Unlock()
	t := lv.pinned.by[key]
	if t == nil {
		conf := b.tls
		if s.pins != "" {
			conf = pinTo(conf, s.pins)
		}
		if s.certifier != nil {
			conf = v.showTo(conf, s, b.now)
		}
		t = &pinnedTransports{usual: b.newTransport(conf, false), upgrades: b.newTransport(conf, true)}
		t.forget = context.AfterFunc(lv.ctx, t.closeBoth)
		if lv.pinned.by == nil {
			lv.pinned.by = make(map[transportKey]*pinnedTransports)
		}
		lv.pinned.by[key] = t
	}
	return t
}

// pinTo returns a configuration that demands a pin of every connection, besides
// all that conf does. VerifyConnection is asked on resumption too, when no
// certificate is sent (VerifyPeerCertificate is not), and before anything is
// written to the connection.
func pinTo(conf *tls.Config, pins string) *tls.Config {
	wanted := strings.Fields(pins)
	conf = conf.Clone()
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		// RFC 7469 §2.6: of the chain that was verified, not of what the server
		// sent along.
		for _, chain := range cs.VerifiedChains {
			for _, cert := range chain {
				if slices.Contains(wanted, vault.PinOf(cert.RawSubjectPublicKeyInfo)) {
					return nil
				}
			}
		}
		return errUnpinned
	}
	return conf
}
