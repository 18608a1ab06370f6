package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// upgrade joins the agent's connection and the upstream's after a 101, until
// either ends, nothing moves for ten minutes, or the exchange is cut.
func (e *exchange) upgrade(resp *http.Response) *Fault {
	upstream, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || !e.wantsWebSocket() {
		f := NewFault(CodeUpstreamError)
		f.Err = errors.New("upstream switched protocols without being asked")
		return f
	}
	agent, buffered, err := http.NewResponseController(e.w).Hijack()
	if err != nil {
		f := NewFault(CodeInternal)
		f.Err = fmt.Errorf("agent's connection cannot be upgraded: %w", err)
		return f
	}
	defer agent.Close()
	header := make(http.Header, len(resp.Header))
	e.responseHeader(header, resp.Header)
	delete(header, "Content-Type")
	header["Connection"], header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	e.status = resp.StatusCode
	if err := writeSwitch(buffered.Writer, header); err != nil {
		return nil
	}
	// Masking keeps lengths, so WebSocket frames stay whole.
	e.bytesOut, e.scrubbed = e.join(agent, buffered.Reader, upstream)
	e.fault = e.use.cutBy()
	return nil
}

func writeSwitch(w *bufio.Writer, header http.Header) error {
	if _, err := w.WriteString("HTTP/1.1 101 Switching Protocols\r\n"); err != nil {
		return err
	}
	if err := header.Write(w); err != nil {
		return err
	}
	if _, err := w.WriteString("\r\n"); err != nil {
		return err
	}
	return w.Flush()
}

// join copies both ways and returns what went to the agent.
func (e *exchange) join(agent net.Conn, fromAgent io.Reader, upstream io.ReadWriteCloser) (out int64, scrubbed int) {
	var once sync.Once
	end := func() {
		once.Do(func() {
			_ = agent.Close()    // both ends go, whichever was first
			_ = upstream.Close() // likewise
		})
	}
	idle := time.AfterFunc(streamIdle, end)
	defer idle.Stop()
	stop := context.AfterFunc(e.ctx, end)
	defer stop()

	var back sync.WaitGroup
	back.Go(func() {
		defer end()
		_, _ = io.Copy(upstream, &touched{Reader: fromAgent, idle: idle})
	})
	var src io.Reader = upstream
	s := newScrubber(upstream, e.needles)
	if len(e.needles) > 0 {
		src = s
	}
	out, _ = io.Copy(agent, &touched{Reader: src, idle: idle})
	end()
	back.Wait()
	return out, s.hits
}

// touched puts off an idle timer at every read that brings something.
type touched struct {
	io.Reader
	idle *time.Timer
}

func (t *touched) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if n > 0 {
		t.idle.Reset(streamIdle)
	}
	return n, err
}
