package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Hosts of the origin. Every name below domain is its own.
const (
	domain   = "bench.example"
	hostH1   = "api." + domain // offers HTTP/1.1 only
	hostH2   = "h2." + domain  // offers HTTP/2 too
	pathJSON = "/v1/items"
	pathUp   = "/v1/upload"
	pathDown = "/v1/download"
	pathSSE  = "/v1/events"
	pathEcho = "/v1/socket"
	pathAuth = "/v1/whoami"
)

// credential is what agent-vault keeps, puts on requests and looks for in
// answers.
const credential = "wb_live_7f1c0a52b96e4d83a1e5"

// answerJSON is what the origin answers most requests with: 1 KiB as of an API.
var answerJSON = func() []byte {
	const item = `{"id":"item_0000","object":"item","amount":1200,"currency":"eur","paid":true},`
	var b bytes.Buffer
	b.WriteString(`{"object":"list","data":[`)
	for b.Len()+len(item) < 1000 {
		b.WriteString(item)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString(`],"url":"`)
	for b.Len() < 1022 {
		b.WriteByte('x')
	}
	b.WriteString(`"}`)
	return b.Bytes()
}()

// originAddr is where the origin listens.
type originAddr struct{ H1, H2, Control string }

func serveOrigin() error {
	w, err := readWiring()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(w.Dir, leafFile), filepath.Join(w.Dir, leafKeyFile))
	if err != nil {
		return err
	}
	var connections atomic.Int64
	count := func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	h1, err := serve(&http.Server{Handler: originHandler(), ConnState: count, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}})
	if err != nil {
		return err
	}
	h2, err := serve(&http.Server{Handler: originHandler(), ConnState: count, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}})
	if err != nil {
		return err
	}
	control, err := serve(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, connections.Load())
	})})
	if err != nil {
		return err
	}
	return sayReady(originAddr{h1, h2, control})
}

// serve runs a server on a free port of loopback until the process ends, over
// TLS if it is configured.
func serve(s *http.Server) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.ErrorLog = log.New(io.Discard, "", 0)
	s.ReadHeaderTimeout = 10 * time.Second
	if s.TLSConfig == nil {
		go s.Serve(ln) // nothing but the end of the process ends it
		return ln.Addr().String(), nil
	}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(slices.Contains(s.TLSConfig.NextProtos, "h2"))
	go s.ServeTLS(ln, "", "") // likewise
	return ln.Addr().String(), nil
}

func originHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathJSON, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w) })
	mux.HandleFunc("POST "+pathJSON, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			writeJSON(w)
		}
	})
	mux.HandleFunc("GET "+pathAuth, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+credential {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		writeJSON(w)
	})
	mux.HandleFunc("POST "+pathUp, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			fmt.Fprint(w, n)
		}
	})
	mux.HandleFunc("GET "+pathDown, download)
	mux.HandleFunc("GET "+pathSSE, events)
	mux.HandleFunc("GET "+pathEcho, echo)
	return mux
}

func writeJSON(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(answerJSON)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", "req_4f8b2c91d0")
	_, _ = w.Write(answerJSON) // the client sees that it is short
}

// download sends as many bytes as are asked for, of text that nothing is found in.
func download(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	block := bytes.Repeat(answerJSON, 64)
	for n > 0 {
		part := block[:min(int64(len(block)), n)]
		if _, err := w.Write(part); err != nil {
			return
		}
		n -= int64(len(part))
	}
}

// events sends events that say when they were sent, in nanoseconds.
func events(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("events"))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	tick := time.NewTicker(eventPause)
	defer tick.Stop()
	for range n {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		if _, err := fmt.Fprintf(w, "data: {\"sent\": %d, \"delta\": \"a few words of an answer\"}\n\n", time.Now().UnixNano()); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
	}
}

const eventPause = 20 * time.Millisecond

// originConnections asks the origin how many connections it took so far.
func originConnections(ctx context.Context, control string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+control, nil)
	if err != nil {
		return 0, err
	}
	t := &http.Transport{DisableKeepAlives: true}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return 0, errors.New("the origin's count is no number")
	}
	return n, nil
}
