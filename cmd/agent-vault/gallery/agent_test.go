package gallery_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// hang is how long anything may take before it is taken to hang. The vault's
// own limits of ten seconds are within it.
const hang = 20 * time.Second

// flood is how much one agent reads. Nothing here is meant to send as much.
const flood = 32 << 20

// bounded reads until so much has come. It remembers a deadline that passed:
// parsers hide that from their callers when half a line has come.
type bounded struct {
	io.Reader
	n    int
	late bool // it hangs, or floods
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.n += n; b.n > flood {
		err = os.ErrDeadlineExceeded
	}
	b.late = b.late || errors.Is(err, os.ErrDeadlineExceeded)
	return n, err
}

// An outcome is all that an agent saw of one case.
type outcome struct {
	answers []got
	wire    bytes.Buffer // every byte, below HTTP and above the tunnel's TLS
	decoded bytes.Buffer // bodies without their content codings, header blocks, messages
	err     error        // why there was no further answer
}

// A got is one final answer.
type got struct {
	status int
	header http.Header
	body   []byte
	broken bool // it began, and was torn
}

// fault is the code that the vault gave, "" if it was not the vault who
// answered.
func (g got) fault() string {
	if g.header.Get("X-Agent-Vault-Proxy-Error") != "true" {
		return ""
	}
	var f struct{ Error, Message string }
	if json.Unmarshal(g.body, &f) != nil || f.Message == "" {
		return "no JSON"
	}
	return f.Error
}

func (o *outcome) String() string {
	var b strings.Builder
	for _, g := range o.answers {
		fmt.Fprintf(&b, "%d %s broken=%t %v %.300q\n", g.status, g.fault(), g.broken, g.header, g.body)
	}
	return fmt.Sprintf("%serror: %v\nbytes: %.600q", b.String(), o.err, o.wire.Bytes())
}

// A refusedConnect is the answer to a CONNECT that opened no tunnel.
type refusedConnect struct{ got }

func (refusedConnect) Error() string { return "no tunnel" }

// dial opens what an agent's request goes over.
func (w *world) dial(c *testcase, o *outcome) (net.Conn, error) {
	addr := w.proxy
	if c.entrance == "path" {
		addr = w.api
	}
	conn, err := net.DialTimeout("tcp", addr, hang)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(hang))
	if c.entrance != "connect" && c.entrance != "http2" {
		return conn, nil
	}
	secure, err := w.tunnel(c, conn, o)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

func (w *world) tunnel(c *testcase, conn net.Conn, o *outcome) (net.Conn, error) {
	authority := c.field("connect")
	if authority == "" {
		authority = c.vars["host"]
		if !strings.Contains(authority, ":") {
			authority += ":443"
		}
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Bearer %s\r\n\r\n", authority, authority, w.token)
	br := bufio.NewReader(io.TeeReader(conn, &o.wire))
	resp, err := http.ReadResponse(br, &http.Request{Method: "CONNECT"})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(resp.Body)
		return nil, refusedConnect{got{resp.StatusCode, resp.Header, body, err != nil}}
	}
	name := c.field("sni")
	if name == "" {
		name, _, _ = net.SplitHostPort(authority)
	}
	protocol := "http/1.1"
	if c.entrance == "http2" {
		protocol = "h2"
	}
	config := &tls.Config{ServerName: name, RootCAs: w.roots, NextProtos: []string{protocol}}
	if c.field("sni") != "" {
		// The certificate is for the tunnel's host, or there is none; what
		// counts is what the vault does.
		config.InsecureSkipVerify = true
	}
	secure := tls.Client(conn, config)
	return secure, secure.Handshake()
}

// run sends a case and returns what came of it.
func (w *world) run(c *testcase) *outcome {
	o := new(outcome)
	conn, err := w.dial(c, o)
	var refused refusedConnect
	switch {
	case errors.As(err, &refused):
		o.answers = []got{refused.got}
	case err != nil:
		o.err = err
	case c.entrance == "http2":
		defer conn.Close()
		exchangeFrames(c, conn, o)
	default:
		defer conn.Close()
		exchangeBytes(c, conn, o)
	}
	for _, g := range o.answers {
		o.decoded.Write(decode(strings.Join(g.header["Content-Encoding"], ","), g.body))
		if len(g.body) > 5 && g.body[0] == 1 { // a compressed message of gRPC
			o.decoded.Write(decode("gzip", g.body[5:]))
		}
	}
	return o
}

// exchangeBytes writes the request and reads answers: as many as requests were
// sent, and then whatever else there is until the vault closes.
func exchangeBytes(c *testcase, conn net.Conn, o *outcome) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, piece := range strings.Split(c.request, splitMark) {
			if _, err := io.WriteString(conn, piece); err != nil {
				return // the answer says why
			}
		}
		if c.fields["finish"] == "close" {
			closeWrite(conn)
		}
	}()
	from := &bounded{Reader: io.TeeReader(conn, &o.wire)}
	br := bufio.NewReader(from)
	method, _, _ := strings.Cut(c.request, " ")
	wanted := c.requests()
	for {
		if len(o.answers) == wanted && o.err == nil {
			// All is answered. Whoever still has something to say does it now.
			closeWrite(conn)
			conn.SetReadDeadline(time.Now().Add(hang))
		}
		g, err := readAnswer(br, method)
		if err != nil {
			if len(o.answers) < wanted {
				o.err = err
			}
			break
		}
		if g.status >= 200 || g.status == http.StatusSwitchingProtocols {
			o.answers = append(o.answers, g)
		}
		if g.broken {
			break
		}
	}
	if from.late {
		o.err = os.ErrDeadlineExceeded
	}
	conn.Close()
	<-written
	if n := len(o.answers); n > 0 && o.answers[n-1].status == http.StatusSwitchingProtocols {
		o.decoded.Write(messages(o.answers[n-1].body))
	}
}

func (c *testcase) requests() int {
	n := 1
	if v := c.field("requests"); v != "" {
		fmt.Sscan(v, &n)
	}
	return n
}

func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

func readAnswer(br *bufio.Reader, method string) (got, error) {
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		return got{}, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		body, err := io.ReadAll(br)
		return got{resp.StatusCode, resp.Header, body, errors.Is(err, os.ErrDeadlineExceeded)}, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	for name, values := range resp.Trailer {
		resp.Header["Trailer:"+name] = values
	}
	return got{resp.StatusCode, resp.Header, body, err != nil}, nil
}
