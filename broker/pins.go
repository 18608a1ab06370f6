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

// pinned are the transports of a session for services with pins, by the pins.
// A transport never lends a connection to another, so what carries a request
// was held against exactly the pins of its service, however often it is used
// again; and who changes the pins begins with none. Sets that are not in use any
// more are few, since people make them, and keep no connection.
type pinned struct {
	mu sync.Mutex
	by map[string]*pinnedTransports
}

type pinnedTransports struct{ usual, upgrades *upstream.Transport }

// transport is what carries the exchange.
func (e *exchange) transport(upgrades bool) *upstream.Transport {
	switch {
	case e.service.pins != "":
		t := e.session.live.pinnedTo(e.Broker, e.service.pins)
		if upgrades {
			return t.upgrades
		}
		return t.usual
	case upgrades:
		return e.upgrades
	}
	return e.session.live.upstreams(e.Broker)
}

// pinnedTo returns the session's transports for one set of pins.
func (lv *live) pinnedTo(b *Broker, pins string) *pinnedTransports {
	lv.pinned.mu.Lock()
	defer lv.pinned.mu.Unlock()
	t := lv.pinned.by[pins]
	if t == nil {
		conf := pinTo(b.tls, pins)
		t = &pinnedTransports{b.newTransport(conf, false), b.newTransport(conf, true)}
		for _, one := range []*upstream.Transport{t.usual, t.upgrades} {
			context.AfterFunc(lv.ctx, one.Close)
		}
		if lv.pinned.by == nil {
			lv.pinned.by = make(map[string]*pinnedTransports)
		}
		lv.pinned.by[pins] = t
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
