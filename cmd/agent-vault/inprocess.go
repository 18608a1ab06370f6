package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// An inProcess carries requests to a handler of this process, as if they came
// from an address. Answers stream: a read of the body returns what the handler
// wrote, and closing it ends the handler's context and waits for its return.
type inProcess struct {
	handler    http.Handler
	remoteAddr string // "IP:port"
}

// RoundTrip returns when the handler has written its header, or returned.
func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	r := req.Clone(ctx)
	r.RemoteAddr, r.RequestURI, r.Host = p.remoteAddr, req.URL.RequestURI(), req.URL.Host
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, written := io.Pipe()
	w := &inProcessWriter{header: make(http.Header), body: written, begun: make(chan struct{})}
	done := make(chan struct{})
	go func() { // Close, or the error below, waits for it
		defer close(done)
		err := io.EOF
		defer func() {
			if recover() != nil {
				err = errors.New("the answer was broken off")
			}
			w.begin(http.StatusOK)
			_ = written.CloseWithError(err) // never fails
		}()
		p.handler.ServeHTTP(w, r)
	}()
	answer := &inProcessBody{PipeReader: body, cancel: cancel, done: done}
	select {
	case <-w.begun:
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil { // a handler writes nothing to those who gave up
		_ = answer.Close() // a pipe closes without an error
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: answer, ContentLength: -1, Request: req,
	}, nil
}

// inProcessBody is the body of an answer.
type inProcessBody struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

func (b *inProcessBody) Close() error {
	b.cancel()
	err := b.PipeReader.Close()
	<-b.done
	return err
}

// An inProcessWriter is the handler's end. Only the handler's goroutine uses it;
// status and sent do not change once begun is closed.
type inProcessWriter struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{}
	status int
	sent   http.Header
}

func (w *inProcessWriter) begin(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	})
}

func (w *inProcessWriter) Header() http.Header    { return w.header }
func (w *inProcessWriter) WriteHeader(status int) { w.begin(status) }
func (w *inProcessWriter) Flush()                 { w.begin(http.StatusOK) }

func (w *inProcessWriter) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	return w.body.Write(p)
}
