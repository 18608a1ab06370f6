package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"agentvault/broker/upstream"
)

// upstreamCause says what went wrong with an upstream in words of ours. The
// texts of net/http's errors hold what the upstream sent, and that may be the
// credential (R17). The error wraps nothing, so that nobody prints more.
func upstreamCause(err error) error {
	if cause := knownCause(err); cause != nil || err == nil {
		return cause
	}
	return fmt.Errorf("protocol error (%T)", err)
}

// knownCause is upstreamCause where it has words for an error, nil otherwise.
func knownCause(err error) error {
	var blocked *BlockedError
	var egress *EgressError
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var op *net.OpError
	var errno syscall.Errno
	var netErr net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &blocked):
		return blocked
	case errors.As(err, &egress):
		return egress
	case errors.Is(err, upstream.ErrInterim):
		return upstream.ErrInterim
	case errors.Is(err, context.Canceled):
		return errors.New("canceled")
	case errors.As(err, &dns):
		switch {
		case dns.IsNotFound:
			return errors.New("DNS knows no such host")
		case dns.IsTimeout:
			return errors.New("DNS did not answer in time")
		}
		return errors.New("DNS failed")
	case errors.As(err, &record):
		return errors.New("the upstream does not speak TLS")
	case errors.As(err, &alert):
		return fmt.Errorf("TLS alert %d", uint8(alert))
	}
	if isUnpinned(err) {
		return errUnpinned
	}
	if reason := certificateCause(err); reason != nil {
		return reason
	}
	switch {
	case errors.As(err, &op) && op.Op == "dial" && errors.As(err, &errno):
		return fmt.Errorf("dial %v: %w", op.Addr, errno)
	case errors.As(err, &netErr) && netErr.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("timeout")
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the upstream closed the connection")
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"):
		return errors.New("TLS handshake refused")
	}
	return nil
}

// certificateCause says why a certificate was not accepted, or returns nil.
func certificateCause(err error) error {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return errors.New("certificate: of an unknown authority")
	case errors.As(err, &name):
		return errors.New("certificate: for another name")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("certificate: expired or not yet valid")
	case errors.As(err, &invalid), errors.As(err, &verify):
		return errors.New("certificate: not valid")
	}
	return nil
}
