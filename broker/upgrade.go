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

	"agentvault/broker/scrub"
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
	if e.values != nil && resp.Header["Sec-Websocket-Extensions"] != nil {
		return undecodable(errors.New("upstream chose an extension of WebSockets that was not asked for"))
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
	e.bytesOut, err = e.join(agent, buffered.Reader, upstream)
	switch e.fault = e.use.cutBy(); {
	case e.fault == nil && errors.Is(err, scrub.ErrFrame):
		e.fault = undecodable(err)
	}
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

// join copies both ways. It returns how many bytes went to the agent, and how
// that ended.
func (e *exchange) join(agent net.Conn, fromAgent io.Reader, upstream io.ReadWriteCloser) (out int64, err error) {
	var once sync.Once
	end := func() {
		once.Do(func() {
			_ = agent.Close()    // both ends go, whichever was first
			_ = upstream.Close() // likewise
		})
	}
	idle := time.AfterFunc(streamIdle, end)
	defer idle.Stop()
	moves := func() { idle.Reset(streamIdle) }
	stop := context.AfterFunc(e.ctx, end)
	defer stop()

	var back sync.WaitGroup
	back.Go(func() {
		defer end()
		_, _ = io.Copy(upstream, &moving{e.guardFrames(fromAgent), moves})
	})
	src := io.Reader(&uncut{src: &moving{upstream, moves}, use: &e.use})
	if e.values != nil {
		frames := e.values.Frames(src)
		frames.Follow(e.valuesNow)
		defer func() { e.scrubbed += frames.Places() }()
		src = frames
	}
	out, err = io.Copy(agent, src)
	end()
	back.Wait()
	return out, err
}

// uncut reads until the use is cut: nothing that came after goes on.
type uncut struct {
	src io.Reader
	use *use
}

func (u *uncut) Read(p []byte) (int, error) {
	n, err := u.src.Read(p)
	if u.use.cutBy() != nil {
		return 0, errors.New("cut")
	}
	return n, err
}
