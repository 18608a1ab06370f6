package broker

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"agentvault/broker/readahead"
)

// An EgressError says that the egress proxy gave no connection. It holds no
// byte of what the proxy sent, and wraps nothing.
type EgressError struct {
	Message string // one sentence for the agent

	cause   string // for the operator's log
	timeout bool
	perhaps bool // another address of the same name could fare better
}

func (e *EgressError) Error() string { return "egress: " + e.cause }

// code is the fault's.
func (e *EgressError) code() string {
	if e.timeout {
		return CodeUpstreamTimeout
	}
	return CodeUpstreamError
}

const (
	egressNoProxy     = "the egress proxy does not answer as a proxy does; a person can check egress.proxy"
	egressNoLogin     = "the egress proxy asks for credentials, or for others than it was given; a person can set a user in egress.proxy and egress.password"
	egressNotAllowed  = "the egress proxy does not allow this host or port; whoever runs it can, and if it knows hosts by name only, a person can set egress.resolve: proxy"
	egressUnreachable = "the egress proxy could not reach the host"
)

// egressFailed is for what went wrong before the proxy had answered.
func egressFailed(message string, err error) *EgressError {
	e := &EgressError{Message: message}
	var record tls.RecordHeaderError
	switch {
	case isTimeout(err):
		e.Message, e.cause, e.timeout = "the egress proxy did not answer in time", "timeout", true
		e.perhaps = true // it waits for the upstream, perhaps
	case errors.As(err, &record):
		e.cause = "the proxy does not speak TLS"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.cause = "the proxy closed the connection"
	default:
		e.cause = upstreamCause(err).Error()
	}
	return e
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout() || errors.Is(err, os.ErrDeadlineExceeded)
}

// connect makes c, a connection to the proxy, one to address. What it returns
// knows how to close one half, as c does.
func (e *Egress) connect(ctx context.Context, c net.Conn, address string) (net.Conn, error) {
	switch e.Scheme {
	case "socks5":
		return c, e.connectSOCKS(ctx, c, address)
	case "https":
		secure := tls.Client(c, &tls.Config{ServerName: e.Host, RootCAs: e.Roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, egressFailed("there is no verified TLS connection to the egress proxy; a person can check egress.proxy and upstream.ca_file", err)
		}
		c = secure
	}
	return e.connectHTTP(ctx, c, address)
}

// maxConnectAnswer bounds the header of a proxy's answer.
const maxConnectAnswer = 16 << 10 // bytes

// connectHTTP sends a CONNECT (RFC 9110 §9.3.6).
func (e *Egress) connectHTTP(ctx context.Context, c net.Conn, address string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // what fails has ended anyway
	status, through, err := e.exchangeCONNECT(c, address)
	if !stop() {
		err = ctx.Err() // the deadline above stands, or is about to
	}
	switch {
	case err != nil:
		return nil, egressFailed(egressNoProxy, err)
	case status/100 != 2:
		return nil, egressRefused(status)
	}
	return through, nil
}

func (e *Egress) exchangeCONNECT(c net.Conn, address string) (int, net.Conn, error) {
	if _, err := io.WriteString(c, e.connectRequest(address)); err != nil {
		return 0, nil, err
	}
	return readConnectAnswer(c)
}

func (e *Egress) connectRequest(address string) string {
	var b strings.Builder
	b.WriteString("CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n")
	if e.User != "" {
		login := append([]byte(e.User+":"), e.Password.Bytes()...)
		b.WriteString("Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString(login) + "\r\n")
		clear(login)
	}
	b.WriteString("\r\n")
	return b.String()
}

// readConnectAnswer reads the answer to a CONNECT and returns its status, and a
// connection that begins with the first byte behind its header. That is what
// follows a status of 2xx, whatever the header says of a body.
func readConnectAnswer(c net.Conn) (int, net.Conn, error) {
	br := bufio.NewReader(io.LimitReader(c, maxConnectAnswer))
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect}) // reads nothing of a body by itself
	if err != nil {
		return 0, nil, err
	}
	if n := br.Buffered(); n > 0 {
		rest, err := br.Peek(n)
		return resp.StatusCode, &readahead.Conn{Conn: c, Rest: rest}, err
	}
	return resp.StatusCode, c, nil
}

// egressRefused is for an answer other than 2xx.
func egressRefused(status int) *EgressError {
	e := &EgressError{Message: egressNoProxy, cause: fmt.Sprintf("the proxy answered %d", status)}
	switch {
	case status == http.StatusProxyAuthRequired, status == http.StatusUnauthorized:
		e.Message = egressNoLogin
	case status/100 == 4:
		e.Message = egressNotAllowed
	case status/100 == 5:
		e.Message, e.perhaps = egressUnreachable, true
	}
	return e
}

// already is a proxy.ContextDialer that has dialed.
type already struct{ net.Conn }

func (a already) Dial(string, string) (net.Conn, error) { return a.Conn, nil }
func (a already) DialContext(context.Context, string, string) (net.Conn, error) {
	return a.Conn, nil
}

// connectSOCKS speaks SOCKS5 (RFC 1928, RFC 1929) on c. The dialer's own
// connection is not used: it hides that one half can be closed.
func (e *Egress) connectSOCKS(ctx context.Context, c net.Conn, address string) error {
	var login *proxy.Auth
	if e.User != "" {
		login = &proxy.Auth{User: e.User, Password: string(e.Password.Bytes())}
	}
	dialer, err := proxy.SOCKS5("tcp", e.Address(), login, already{c})
	if err != nil {
		return egressFailed(egressNoProxy, err)
	}
	contextual, ok := dialer.(proxy.ContextDialer)
	if !ok {
		return egressFailed(egressNoProxy, errors.ErrUnsupported)
	}
	if _, err = contextual.DialContext(ctx, "tcp", address); err != nil {
		return socksFailed(err)
	}
	return nil
}

// socksReplies are the replies of RFC 1928 §6 and what can become of a login, in
// the words that x/net has for them; its errors have no types.
var socksReplies = map[string]EgressError{
	"no acceptable authentication methods":            {Message: egressNoLogin},
	"username/password authentication failed":         {Message: egressNoLogin},
	"unknown error connection not allowed by ruleset": {Message: egressNotAllowed},
	"unknown error general SOCKS server failure":      {Message: egressUnreachable, perhaps: true},
	"unknown error network unreachable":               {Message: egressUnreachable, perhaps: true},
	"unknown error host unreachable":                  {Message: egressUnreachable, perhaps: true},
	"unknown error connection refused":                {Message: egressUnreachable, perhaps: true},
	"unknown error TTL expired":                       {Message: egressUnreachable, perhaps: true},
	"unknown error address type not supported":        {Message: egressUnreachable, perhaps: true},
}

func socksFailed(err error) *EgressError {
	var op *net.OpError
	if errors.As(err, &op) {
		if e, ok := socksReplies[op.Err.Error()]; ok {
			e.cause = "the proxy: " + strings.TrimPrefix(op.Err.Error(), "unknown error ")
			return &e
		}
	}
	return egressFailed(egressNoProxy, err)
}
