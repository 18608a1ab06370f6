package mitm

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"agentvault/broker"
)

var (
	errServerName  = errors.New("SNI names another host than the tunnel")
	errCertificate = errors.New("no certificate for the tunnel's host")
)

// newTLSConfig returns the one configuration of all tunnels. Which host it
// speaks for is the connection's affair: what CONNECT pinned.
func newTLSConfig(a Authority, log *slog.Logger) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		// Without X25519MLKEM768, which costs a quarter of a handshake on
		// loopback, where nobody records traffic for a later quantum computer.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
		// Small records first help pages that are drawn while they come from far.
		// Here they would cut short answers of new connections in two.
		DynamicRecordSizingDisabled: true,
		// Asked for every handshake. GetCertificate is not: a resumed session
		// has no certificate message.
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			t, err := pinned(hello)
			if err == nil && !agrees(hello.ServerName, t.target) {
				err = errServerName
			}
			return nil, err // nil: the shared configuration
		},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			t, err := pinned(hello)
			if err != nil {
				return nil, err
			}
			leaf, err := a.LeafIn(hello.Context(), t.VaultID(), t.target.Host)
			if err != nil {
				log.Error("no certificate for a tunnel", "host", t.target.Host, "err", err)
				return nil, errCertificate
			}
			return leaf, nil
		},
	}
}

// pinned returns the tunnel that a handshake belongs to, with its target.
func pinned(hello *tls.ClientHelloInfo) (*tunnel, error) {
	conn, ok := hello.Conn.(*tunnelConn)
	if !ok {
		return nil, fmt.Errorf("handshake on a %T, which is no tunnel", hello.Conn)
	}
	return conn.tunnel, nil
}

// agrees reports whether SNI is absent, as it is for IP targets (RFC 6066 §3),
// or the target's host.
func agrees(serverName string, t broker.Target) bool {
	if serverName == "" || serverName == t.Host {
		return true
	}
	if strings.Contains(serverName, ":") {
		return false // a port is no part of a server name
	}
	other, f := broker.Pin("https", serverName) // upper case
	return f == nil && other.Host == t.Host
}
