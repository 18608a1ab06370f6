package gallery_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// followUp is the path of the good request behind each case. Every origin
// answers it well, whatever it does otherwise.
const followUp = "/follow-up"

// An origin is an upstream that records every byte it is sent and behaves as
// it is told.
type origin struct {
	name, addr string

	mu      sync.Mutex
	behave  behaviour
	conns   map[net.Conn]bool // true while open
	wire    bytes.Buffer
	got     []received
	running sync.WaitGroup
}

// A received is one request as an origin read it, by the letter of RFC 9112.
type received struct {
	head string // request line and fields, with their line ends
	body string
	bad  string // why another origin could read it differently, or ""
}

func (r received) method() string { m, _, _ := strings.Cut(r.head, " "); return m }

// target is the request target.
func (r received) target() string {
	_, rest, _ := strings.Cut(r.head, " ")
	t, _, _ := strings.Cut(rest, " ")
	return t
}

// field returns the first value of a field, "" if there is none.
func (r received) field(name string) string {
	for line := range strings.Lines(r.head) {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// startOrigin serves HTTP/1.1 that is read and written by hand; over TLS if a
// certificate is given.
func startOrigin(t testing.TB, name string, cert *tls.Certificate) *origin {
	t.Helper()
	o, ln := listenOrigin(t, name)
	var config *tls.Config
	if cert != nil {
		config = &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{"http/1.1"}}
	}
	go o.accept(ln, config)
	return o
}

func listenOrigin(t testing.TB, name string) (*origin, net.Listener) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{name: name, addr: ln.Addr().String(), conns: make(map[net.Conn]bool), behave: echo}
	t.Cleanup(func() {
		ln.Close()
		o.begin(echo)
		o.running.Wait()
	})
	return o, ln
}

// startModern serves HTTP/2.
func startModern(t testing.TB, name string, cert tls.Certificate) *origin {
	t.Helper()
	o, ln := listenOrigin(t, name)
	srv := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second,
		Handler:   http.HandlerFunc(o.serveModern),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.conns[c] = true
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	go srv.ServeTLS(ln, "", "")
	t.Cleanup(func() { srv.Close() })
	return o
}

// A connKey is of a request's connection, in its context.
type connKey struct{}

func (o *origin) serveModern(w http.ResponseWriter, r *http.Request) {
	dump, err := httputil.DumpRequest(r, true)
	o.mu.Lock()
	o.wire.Write(dump)
	head, body, _ := strings.Cut(string(dump), "\r\n\r\n")
	got := received{head: head + "\r\n", body: body}
	if err != nil {
		got.bad = err.Error()
	}
	behave := o.behave
	o.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, followUp) {
		behave = echo
	} else {
		o.note(r.Context().Value(connKey{}).(net.Conn), got)
	}
	behave.answer(got).writeModern(w)
}

// begin forgets what was recorded, closes what is open, and sets what is done
// from now on.
func (o *origin) begin(b behaviour) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.conns {
		c.Close()
	}
	clear(o.conns)
	o.wire.Reset()
	o.got = nil
	o.behave = b
}

// A record is what an origin was sent since begin.
type record struct {
	conns int
	wire  []byte
	got   []received
}

func (o *origin) record() record {
	o.mu.Lock()
	defer o.mu.Unlock()
	return record{len(o.conns), bytes.Clone(o.wire.Bytes()), append([]received(nil), o.got...)}
}

func (o *origin) accept(ln net.Listener, config *tls.Config) {
	for {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns[raw] = true
		o.running.Add(1)
		o.mu.Unlock()
		go func() {
			defer o.running.Done()
			defer raw.Close()
			o.mu.Lock()
			bare := o.behave.bare
			o.mu.Unlock()
			if bare != nil {
				bare(raw.(*net.TCPConn))
				return
			}
			conn := net.Conn(raw)
			if config != nil {
				secure := tls.Server(raw, config)
				raw.SetDeadline(time.Now().Add(20 * time.Second))
				if secure.Handshake() != nil {
					return
				}
				raw.SetDeadline(time.Time{})
				conn = secure
			}
			o.serve(&stream{Conn: conn, raw: raw.(*net.TCPConn)})
		}()
	}
}

// A stream is a connection to an origin, above TLS and below it.
type stream struct {
	net.Conn
	raw *net.TCPConn
}

func (o *origin) serve(s *stream) {
	br := bufio.NewReaderSize(tee{s, o}, 64<<10)
	for {
		head, bad, err := readHead(br)
		if err != nil {
			if head != "" { // what looks like no request is one too many
				o.note(s.raw, received{head: head, bad: "it is not whole"})
			}
			return
		}
		o.mu.Lock()
		behave := o.behave
		o.mu.Unlock()
		r := received{head: head, bad: bad}
		if strings.HasPrefix(r.target(), followUp) {
			behave = echo
		}
		if behave.early == nil {
			r.body, err = readBody(br, r)
			var odd framingError
			if errors.As(err, &odd) {
				r.bad = odd.Error()
			}
		}
		if !strings.HasPrefix(r.target(), followUp) {
			o.note(s.raw, r)
		}
		if err != nil || !behave.serve(s, r) {
			return
		}
	}
}

// note records a request, unless its connection is one from before begin: what a
// case had cut may be read while the next one is tried.
func (o *origin) note(c net.Conn, r received) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns[c] {
		o.got = append(o.got, r)
	}
}

type tee struct {
	net.Conn
	o *origin
}

func (t tee) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.o.mu.Lock()
	defer t.o.mu.Unlock()
	if _, current := t.o.conns[rawOf(t.Conn)]; current && t.o.wire.Len() < 8<<20 {
		t.o.wire.Write(p[:n])
	}
	return n, err
}

func rawOf(c net.Conn) net.Conn { return c.(*stream).raw }

const tokenBytes = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// readHead reads to the empty line, and says what in the head two readers
// could read differently.
func readHead(br *bufio.Reader) (head, bad string, err error) {
	var b strings.Builder
	lengths, codings := 0, 0
	for n := 0; ; n++ {
		line, err := br.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String(), bad, err
		}
		if line == "\r\n" {
			break
		}
		text, crlf := strings.CutSuffix(line, "\r\n")
		name, value, colon := strings.Cut(text, ":")
		switch {
		case !crlf || strings.ContainsAny(text, "\r\x00"):
			bad = fmt.Sprintf("%q ends, or contains, what is no line end", line)
		case n == 0 && len(strings.Split(text, " ")) != 3:
			bad = fmt.Sprintf("%q is no request line", line)
		case n == 0:
		case !colon || name == "" || strings.Trim(name, tokenBytes) != "":
			bad = fmt.Sprintf("%q is no field", line)
		}
		switch plain := strings.ToLower(strings.ReplaceAll(name, "_", "-")); {
		case n == 0:
		case plain == "content-length":
			lengths++
			if _, err := strconv.ParseUint(strings.TrimSpace(value), 10, 63); err != nil || strings.Contains(name, "_") {
				bad = fmt.Sprintf("%q is no length", line)
			}
		case plain == "transfer-encoding":
			codings++
			if strings.TrimSpace(value) != "chunked" || strings.Contains(name, "_") {
				bad = fmt.Sprintf("%q frames in an odd way", line)
			}
		}
	}
	if lengths+codings > 1 {
		bad = "the body's end is said twice"
	}
	return b.String(), bad, nil
}

func readBody(br *bufio.Reader, r received) (string, error) {
	if r.field("Transfer-Encoding") != "" {
		return readChunks(br)
	}
	n, err := strconv.Atoi("0" + r.field("Content-Length"))
	if err != nil {
		return "", err
	}
	var body bytes.Buffer
	_, err = io.CopyN(&body, br, int64(n))
	return body.String(), err
}

// A framingError is what is read where a chunk should begin or end.
type framingError string

func (e framingError) Error() string { return fmt.Sprintf("a chunk begins or ends with %q", string(e)) }

// readChunks takes only what every reader takes alike: no extensions, sizes of
// hexadecimal digits. Trailers are part of what it returns.
func readChunks(br *bufio.Reader) (string, error) {
	var body strings.Builder
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return body.String(), err
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(line, "\r\n"), 16, 31)
		if err != nil {
			return body.String(), framingError(line)
		}
		if n == 0 {
			break
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(br, chunk); err != nil {
			return body.String(), err
		}
		if !bytes.HasSuffix(chunk, []byte("\r\n")) {
			return body.String(), framingError(chunk[n:])
		}
		body.Write(chunk[:n])
	}
	for {
		line, err := br.ReadString('\n')
		if err != nil || line == "\r\n" {
			return body.String(), err
		}
		body.WriteString("\ntrailer " + line)
	}
}
