package mitm

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a tunnel never came to its first request: the closed set of the label
// "reason".
const (
	reasonTimeout     = "timeout"     // silent or slow for handshakeTimeout
	reasonClosed      = "closed"      // the client went away (Node does, when it does not trust us)
	reasonUntrusted   = "untrusted"   // the client says that it does not trust our certificate
	reasonClearText   = "clear_text"  // not TLS
	reasonServerName  = "server_name" // SNI names another host
	reasonCertificate = "certificate" // no leaf could be minted
	reasonShutdown    = "shutdown"    // the proxy is ending
	reasonProtocol    = "protocol"    // no version, cipher or protocol in common, or broken TLS
)

var reasons = []string{
	reasonTimeout, reasonClosed, reasonUntrusted, reasonClearText,
	reasonServerName, reasonCertificate, reasonShutdown, reasonProtocol,
}

type metrics struct {
	handshakeFailures *prometheus.CounterVec // reason
}

func newMetrics() *metrics {
	m := &metrics{handshakeFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "agent_vault_tunnel_handshake_failures_total",
		Help: "Tunnels that ended before their first request, by reason. Many that are untrusted or closed: a program does not trust the vault's CA.",
	}, []string{"reason"})}
	for _, r := range reasons {
		m.handshakeFailures.WithLabelValues(r) // shown at zero from the start
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	return r.Register(m.handshakeFailures)
}

func (m *metrics) handshakeFailed(err error) {
	m.handshakeFailures.WithLabelValues(handshakeReason(err)).Inc()
}

// handshakeReason sorts a handshake's error into the closed set.
func handshakeReason(err error) string {
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errServerName):
		return reasonServerName
	case errors.Is(err, errCertificate):
		return reasonCertificate
	case errors.As(err, &record) && record.Conn != nil:
		return reasonClearText
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return reasonTimeout
	case saysUntrusted(err):
		return reasonUntrusted
	case errors.Is(err, errShutdown):
		return reasonShutdown
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isConnError(err):
		return reasonClosed
	}
	return reasonProtocol
}

// saysUntrusted recognizes the alerts by which clients refuse a certificate.
// crypto/tls has no exported type for them outside of QUIC, so it goes by
// their text, which a test holds against the real thing.
func saysUntrusted(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Err == nil {
		return false
	}
	switch op.Op + ": " + op.Err.Error() {
	case "remote error: tls: bad certificate",
		"remote error: tls: unknown certificate",
		"remote error: tls: unknown certificate authority",
		"remote error: tls: certificate unknown",
		"local error: tls: bad record MAC": // OpenSSL alerts in clear when it aborts TLS 1.3
		return true
	}
	return false
}

// isConnError tells a broken connection from an alert: crypto/tls wraps both in
// a net.OpError.
func isConnError(err error) bool {
	var op *net.OpError
	return errors.Is(err, net.ErrClosed) ||
		errors.As(err, &op) && (op.Op == "read" || op.Op == "write")
}
