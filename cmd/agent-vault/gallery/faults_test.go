package gallery_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A fault is a way in which an upstream breaks.
type fault struct {
	behaviour behaviour
	want      string // as in a row; "" is any fault of the vault, or a torn answer
	tls       bool   // it needs TLS upstream: absolute form is then for https://
	upload    bool   // the request has a body
}

const (
	anyFault = "502 upstream_error or broken or closed"
	badTLS   = "502 upstream_tls"
	headOK   = "HTTP/1.1 200 OK\r\n"
)

// sayAnd writes pieces once the request was read, and ends the connection.
func sayAnd(end func(*stream), pieces ...string) behaviour {
	return behaviour{raw: func(s *stream, _ received) bool {
		for _, p := range pieces {
			if _, err := io.WriteString(s, p); err != nil {
				return false
			}
		}
		end(s)
		return false
	}}
}

func closes(*stream)   {}
func resets(s *stream) { _ = s.raw.SetLinger(0) }

// halfCloses ends its own side, and reads on until the vault goes.
func halfCloses(s *stream) {
	closeWrite(s.Conn)
	_, _ = io.Copy(io.Discard, s)
}

func poured(of string, n int) behaviour {
	return behaviour{raw: func(s *stream, _ received) bool { return pours[of](s, n) == nil }}
}

func must(b behaviour, err error) behaviour {
	if err != nil {
		panic(err)
	}
	return b
}

// faults are the ways. The credential stands where it could get into an error's
// text.
func faults(t *testing.T, w *world) map[string]fault {
	bare := func(f func(c *net.TCPConn)) behaviour { return behaviour{bare: f} }
	withCertificate := func(cert tls.Certificate) behaviour {
		return bare(func(c *net.TCPConn) {
			_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
		})
	}
	return map[string]fault{
		"closed at once":            {behaviour: bare(func(*net.TCPConn) {}), want: "502"},
		"reset before the request":  {behaviour: bare(func(c *net.TCPConn) { _ = c.SetLinger(0) }), want: "502"},
		"reset after the request":   {behaviour: sayAnd(resets), want: "502 upstream_error"},
		"closed after the request":  {behaviour: sayAnd(closes), want: "502 upstream_error"},
		"half-closed":               {behaviour: sayAnd(halfCloses), want: "502 upstream_error"},
		"reset in the header":       {behaviour: sayAnd(resets, headOK+"X-Key: "+apiKey), want: "502 upstream_error"},
		"closed in the header":      {behaviour: sayAnd(closes, headOK+"Content-Length: 5\r\n"), want: "502 upstream_error"},
		"reset in the body":         {behaviour: sayAnd(resets, headOK+"Content-Length: 100\r\n\r\nhello"), want: anyFault},
		"half-closed in the body":   {behaviour: sayAnd(halfCloses, headOK+"Content-Length: 100\r\n\r\nhello"), want: "broken"},
		"truncated, with a length":  {behaviour: sayAnd(closes, headOK+"Content-Length: 100\r\n\r\nhello"), want: "broken"},
		"truncated, in chunks":      {behaviour: sayAnd(closes, headOK+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), want: "broken"},
		"longer than its length":    {behaviour: sayAnd(closes, headOK+"Content-Length: 5\r\n\r\nhello and more"), want: "200"},
		"a negative length":         {behaviour: sayAnd(closes, headOK+"Content-Length: -5\r\n\r\nhello"), want: "502 upstream_error"},
		"a wrong chunk size":        {behaviour: sayAnd(closes, headOK+"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"), want: anyFault},
		"endless fields":            {behaviour: poured("fields", 0), want: "502 upstream_error"},
		"one huge field":            {behaviour: poured("huge-field", 4096), want: "502 upstream_error"},
		"20,000 interim answers":    {behaviour: poured("interim", 20_000), want: "200 or " + anyFault},
		"20,000 times 100 Continue": {behaviour: poured("continue", 20_000), want: "200 or " + anyFault},
		"a garbage status line":     {behaviour: sayAnd(closes, apiKey+"\r\n\r\n"), want: "502 upstream_error"},
		"HTTP/0.9":                  {behaviour: sayAnd(closes, "<html>"+apiKey+"</html>"), want: "502 upstream_error"},
		"status 000":                {behaviour: sayAnd(closes, "HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n"), want: "502 upstream_error"},
		"status 1000":               {behaviour: sayAnd(closes, "HTTP/1.1 1000 No\r\nContent-Length: 0\r\n\r\n"), want: "502 upstream_error"},
		"garbage behind the answer": {behaviour: sayAnd(closes, headOK+"Content-Length: 2\r\n\r\nok"+apiKey), want: "200"},
		"a bomb of gzip":            {behaviour: must(bomb("gzip", "18")), want: "broken or 502 upstream_undecodable"},
		"a bomb of br":              {behaviour: must(bomb("br", "18")), want: "broken or 502 upstream_undecodable"},
		"a bomb of zstd":            {behaviour: must(bomb("zstd", "18")), want: "broken or 502 upstream_undecodable"},
		"garbage instead of TLS":    {behaviour: bare(func(c *net.TCPConn) { say(c, strings.Repeat("\x00\xff garbage "+apiKey, 100)) }), want: badTLS, tls: true},
		"an alert of TLS":           {behaviour: bare(func(c *net.TCPConn) { say(c, "\x15\x03\x03\x00\x02\x02\x28") }), want: badTLS, tls: true},
		"clear text instead of TLS": {behaviour: bare(func(c *net.TCPConn) { say(c, headOK+"Content-Length: 2\r\n\r\nok") }), want: badTLS, tls: true},
		"an expired certificate":    {behaviour: withCertificate(w.authority.leafFor(t, -time.Hour, "api.test")), want: badTLS, tls: true},
		"another's certificate":     {behaviour: withCertificate(w.authority.leaf(t, "other.test")), want: badTLS, tls: true},
		"an untrusted certificate":  {behaviour: withCertificate(newAuthority(t).leaf(t, "api.test")), want: badTLS, tls: true},
		"HTTP/2: going away":        {behaviour: w.modern(t, func(f *http2.Framer, id uint32) { _ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte(apiKey)) }), want: anyFault, tls: true},
		"HTTP/2: the stream reset":  {behaviour: w.modern(t, func(f *http2.Framer, id uint32) { _ = f.WriteRSTStream(id, http2.ErrCodeInternal) }), want: anyFault, tls: true},
		"HTTP/2: reset in the body": {behaviour: w.modern(t, tornBody), want: anyFault, tls: true},
		"HTTP/2: settings flood":    {behaviour: w.modern(t, settingsFlood), want: anyFault, tls: true},
		"HTTP/2: a garbage frame": {behaviour: w.modern(t, func(f *http2.Framer, id uint32) {
			_ = f.WriteRawFrame(http2.FrameHeaders, 0x4, id, []byte("\xff\xff"+apiKey))
		}), want: anyFault, tls: true},
		"HTTP/2: a frame too long": {behaviour: w.modern(t, func(f *http2.Framer, id uint32) {
			_ = f.WriteRawFrame(http2.FrameData, 0, id, []byte(strings.Repeat(apiKey, 100_000)))
		}), want: anyFault, tls: true},
		"HTTP/2: a trailer that is none": {behaviour: w.modern(t, oddTrailer), want: "200 or " + anyFault, tls: true},
		"an early answer":                {behaviour: early("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"), want: "403 or " + anyFault, upload: true},
		"an early answer and a reset": {behaviour: behaviour{early: func(s *stream, _ received) bool {
			say(s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			resets(s)
			return false
		}}, want: "403 or " + anyFault, upload: true},
		"reset in the upload": {behaviour: behaviour{early: func(s *stream, _ received) bool { resets(s); return false }}, want: anyFault, upload: true},
	}
}

func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) } // whoever reads it may have gone

// early answers before the body was read, which it never is.
func early(text string) behaviour {
	return behaviour{early: func(s *stream, _ received) bool { say(s, text); halfCloses(s); return false }}
}

// modern speaks HTTP/2 as far as the first request, and then does something.
func (w *world) modern(t *testing.T, then func(f *http2.Framer, stream uint32)) behaviour {
	config := &tls.Config{Certificates: []tls.Certificate{w.authority.leaf(t, "api.test")}, NextProtos: []string{"h2"}}
	return behaviour{bare: func(c *net.TCPConn) {
		conn := tls.Server(c, config)
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(conn, conn)
		f.AllowIllegalWrites = true
		_ = f.WriteSettings() // the read says if it failed
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if _, ok := frame.(*http2.HeadersFrame); ok {
				done := make(chan struct{})
				go func() { then(f, frame.Header().StreamID); close(done) }()
				c.SetDeadline(time.Now().Add(hang))
				_, _ = io.Copy(io.Discard, conn) // until the vault goes
				<-done
				return
			}
		}
	}}
}

func headersOf(pairs ...string) []byte {
	var b strings.Builder
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}) // to memory
	}
	return []byte(b.String())
}

func tornBody(f *http2.Framer, id uint32) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headersOf(":status", "200", "content-length", "100"), EndHeaders: true})
	_ = f.WriteData(id, false, []byte("hello"))
	_ = f.WriteRSTStream(id, http2.ErrCodeCancel)
}

func oddTrailer(f *http2.Framer, id uint32) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headersOf(":status", "200"), EndHeaders: true})
	_ = f.WriteData(id, false, []byte("hello"))
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headersOf("x=y", apiKey), EndHeaders: true, EndStream: true})
}

func settingsFlood(f *http2.Framer, id uint32) {
	for range 20_000 {
		if f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}) != nil {
			return
		}
	}
	_ = f.WriteRSTStream(id, http2.ErrCodeInternal) // a refused one would be tried again
}

// TestUpstreamFaults: however an upstream breaks, on whichever entrance, the
// request ends in time, with a fault or a torn answer and no credential, and
// the next one to a good upstream is fine.
func TestUpstreamFaults(t *testing.T) {
	w := newWorld(t)
	ways := faults(t, w)
	if len(ways) < 26 {
		t.Errorf("%d faults, want 26", len(ways))
	}
	for _, name := range slices.Sorted(maps.Keys(ways)) {
		for _, entrance := range []string{"path", "connect", "absolute"} {
			t.Run(name+"/"+entrance, func(t *testing.T) {
				if err := w.mint(); err != nil {
					t.Fatal(err)
				}
				way := ways[name]
				c := w.broken(entrance, way)
				for _, o := range w.origins {
					o.begin(echo)
				}
				w.origins[homes[c.vars["name"]]].begin(way.behaviour)
				o := w.run(c)
				if errors.Is(o.err, os.ErrDeadlineExceeded) {
					t.Errorf("it hangs: %v", o)
				}
				if !meets(way.want, o, 0) {
					t.Errorf("want %s, got %v", way.want, o)
				}
				for _, l := range append(w.judge.find(o.wire.Bytes()), w.judge.find(o.decoded.Bytes())...) {
					t.Errorf("the agent got %v", l)
				}
				if err := w.followUp(entrance, "other.test"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if leaks := w.judge.find(w.out.Bytes()); leaks != nil {
		t.Errorf("the server wrote %v", leaks)
	}
}

// broken makes the request that meets a fault.
func (w *world) broken(entrance string, way fault) *testcase {
	c := &testcase{row: &row{fields: map[string]string{}}, entrance: entrance, vars: w.vars(entrance, "api.test")}
	if way.tls && entrance == "absolute" {
		c.vars["name"] = "api.test"
		c.vars["base"] = "https://api.test"
	}
	c.request = "GET {{base}}/x HTTP/1.1\r\n{{auth}}\r\nAccept-Encoding: gzip, br, zstd\r\n\r\n"
	if way.upload {
		c.request = "POST {{base}}/x HTTP/1.1\r\n{{auth}}\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("x", 1<<20)
	}
	c.request = c.fill(c.request)
	return c
}

// TestUpstreamStalls: an upstream that stands still is let go of as soon as the
// agent goes; until then it may take its time.
func TestUpstreamStalls(t *testing.T) {
	w := newWorld(t)
	for name, head := range map[string]string{
		"after it accepted": "", "in the header": headOK + "X-A: ", "in the body": headOK + "Content-Length: 100\r\n\r\nhello",
		"in a chunk": headOK + "Transfer-Encoding: chunked\r\n\r\n5\r\nhe", "in an event stream": headOK + "Content-Type: text/event-stream\r\n\r\ndata: ",
	} {
		for _, entrance := range []string{"path", "connect", "absolute"} {
			t.Run(name+"/"+entrance, func(t *testing.T) {
				if err := w.mint(); err != nil {
					t.Fatal(err)
				}
				stalled, gone := make(chan struct{}), make(chan struct{})
				c := w.broken(entrance, fault{})
				w.origins[homes[c.vars["name"]]].begin(behaviour{raw: func(s *stream, _ received) bool {
					say(s, head)
					close(stalled)
					_, _ = io.Copy(io.Discard, s)
					close(gone)
					return false
				}})
				conn, err := w.dial(c, new(outcome))
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprint(conn, c.request)
				await(t, stalled, "the request did not arrive")
				conn.Close()
				await(t, gone, "the upstream is still held")
				if err := w.followUp(entrance, "other.test"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func await(t *testing.T, done <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(hang):
		t.Fatal(otherwise)
	}
}
