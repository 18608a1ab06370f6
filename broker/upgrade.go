package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"agentvault/broker/scrub"
	"agentvault/policy/inject"
)

const websocket = "websocket"

// maxUpgradeBody bounds, in bytes, the body of a request that asks to switch. It
// is read before the request goes: afterwards the connection is the protocol's.
const maxUpgradeBody = 64 << 10

// asksUpgrade returns the protocol that the request asks to switch to, if it is
// one that goes upstream: WebSocket (RFC 6455 §4.1), and what a person allows on
// the service. Others are dropped as hop-by-hop, and so are lists of several.
func (e *exchange) asksUpgrade() string {
	asked := e.r.Header["Upgrade"]
	// RFC 9110 §7.8: HTTP/1.0 has none. Nor has HTTP/2.
	if e.r.ProtoMajor != 1 || e.r.ProtoMinor == 0 || len(asked) != 1 || !httpguts.HeaderValuesContainsToken(e.r.Header["Connection"], "upgrade") {
		return ""
	}
	switch protocol := textproto.TrimString(asked[0]); {
	case strings.EqualFold(protocol, websocket):
		if e.r.Method == http.MethodGet && e.r.ContentLength == 0 {
			return websocket
		}
	case 0 <= e.r.ContentLength && e.r.ContentLength <= maxUpgradeBody && slices.Contains(strings.Fields(e.service.upgrades), strings.ToLower(protocol)):
		return protocol
	}
	return ""
}

// readAhead reads the body of a request that asks to switch.
func (e *exchange) readAhead() *Fault {
	body, err := io.ReadAll(e.body) // of at most maxUpgradeBody: its length was checked
	if f := e.use.cutBy(); f != nil {
		return f
	}
	if err != nil {
		return e.agentGone()
	}
	e.out.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// switched joins the agent's connection and the upstream's after a 101, until
// they end, nothing moves for ten minutes, or the exchange is cut.
func (e *exchange) switched(resp *http.Response) *Fault {
	upstream, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || e.upgrade == "" || e.upgrade != websocket && !strings.EqualFold(resp.Header.Get("Upgrade"), e.upgrade) {
		f := NewFault(CodeUpstreamError)
		f.Message = brokeOff
		f.Err = errors.New("upstream switched protocols without being asked")
		return f
	}
	if e.upgrade == websocket && e.readsMessages() && resp.Header["Sec-Websocket-Extensions"] != nil {
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
	header["Connection"], header["Upgrade"] = []string{"Upgrade"}, []string{e.upgrade}
	e.status = resp.StatusCode
	if err := writeSwitch(buffered.Writer, header); err != nil {
		return nil
	}
	// net/http's reader would end the request's context with what the agent sends.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered()) // of what is there: no error
	err = e.join(agent, io.MultiReader(bytes.NewReader(early), agent), upstream)
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

// join copies both ways and returns how that ended. Of a WebSocket, messages are
// looked into, and either side ends both. Of what else there is nothing is known
// but its bytes: tokens of the vault do not go up, what comes back passes as it
// is, and each side may end before the other.
func (e *exchange) join(agent net.Conn, fromAgent io.Reader, upstream io.ReadWriteCloser) (err error) {
	var once sync.Once
	end := func() {
		once.Do(func() {
			_ = agent.Close()    // both ends go, whichever was first
			_ = upstream.Close() // likewise
		})
	}
	defer end()
	idle := time.AfterFunc(streamIdle, end)
	defer idle.Stop()
	stop := e.ctx.AfterFunc(end)
	defer stop()
	moves := func() { idle.Reset(streamIdle) }
	ended := func(to io.Closer, err error) {
		if err == nil && e.upgrade != websocket {
			closeWrite(to)
			return
		}
		end()
	}

	if e.passed.up != nil {
		fromAgent = &gaugedReader{fromAgent, e, e.passed.up}
	}
	up := io.Reader(&guardedStream{src: fromAgent, refuse: e.use.cut, find: e.finder()})
	switch {
	case e.upgrade == websocket && e.service.subs.In(inject.SurfaceWebSocket):
		up = e.replaceInMessages(e.guardFrames(fromAgent, func() *scrub.Finder { return nil }))
	case e.upgrade == websocket:
		up = e.guardFrames(fromAgent, e.finder)
	}
	var back sync.WaitGroup
	back.Go(func() {
		n, err := io.Copy(upstream, &moving{up, moves})
		e.bytesIn = n
		ended(upstream, err)
	})
	from := io.Reader(upstream)
	if e.passed.down != nil {
		from = &gaugedReader{upstream, e, e.passed.down}
	}
	down := io.Reader(&uncut{src: &moving{from, moves}, use: &e.use})
	if e.upgrade == websocket && e.values != nil {
		frames := e.values.Frames(down)
		frames.Follow(e.valuesNow)
		defer func() { e.scrubbed += frames.Places() }()
		down = frames
	}
	e.bytesOut, err = io.Copy(agent, down)
	ended(agent, err)
	back.Wait()
	return err
}

// A guardedStream is what an agent sends after an upgrade. A token in it, or a
// placeholder, cuts the exchange.
type guardedStream struct {
	src    io.Reader
	guard  tokenGuard
	find   *scrub.Finder // of placeholders; nil where there are none
	refuse func(why *Fault)
}

func (g *guardedStream) Read(p []byte) (int, error) {
	n, err := g.guard.read(g.src, p)
	if errors.Is(err, errToken) {
		g.refuse(tokenFault("the stream"))
	}
	if g.find != nil && g.find.Find(p[:n], err != nil) {
		g.refuse(misplaced("the stream"))
		return 0, errMisplaced
	}
	return n, err
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
