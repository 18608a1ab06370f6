package mitm_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"agentvault/broker"
	"agentvault/broker/http1"
	"agentvault/pathproxy"
)

// An ask is a request as an agent that knows every trick would send it. Nothing
// of it is checked or completed but what the way that it goes adds.
type ask struct {
	method  string // "" is GET
	host    string // "" is api.example.com
	target  string // "" is "/"
	header  []string
	body    string
	trailer []string // announced if header announces them
}

func (a ask) filled() ask {
	if a.method == "" {
		a.method = "GET"
	}
	if a.host == "" {
		a.host = "api.example.com"
	}
	if a.target == "" {
		a.target = "/"
	}
	return a
}

// A got is what the agent got; status 0 when the answer broke off or none came.
type got struct {
	status int
	code   string // of a fault
	header http.Header
	body   string
}

// A way is one of the ways by which a request can reach the vault.
type way struct {
	name string
	h2   bool
	send func(t testing.TB, k *kit, a ask) got
}

var ways = []way{
	{"path", false, func(t testing.TB, k *kit, a ask) got {
		t.Helper()
		return sendHTTP1(t, k.dialPath(t), a, "/proxy/"+a.host+a.target, "vault.test", "Authorization: Bearer "+k.token)
	}},
	{"absolute", false, func(t testing.TB, k *kit, a ask) got {
		t.Helper()
		return sendHTTP1(t, k.dial(t), a, "https://"+a.host+a.target, a.host, "Proxy-Authorization: Bearer "+k.token)
	}},
	{"connect", false, func(t testing.TB, k *kit, a ask) got {
		t.Helper()
		c := k.open(t, a.host+":443", nil)
		return sendHTTP1(t, &wire{Conn: c, r: bufio.NewReader(c)}, a, a.target, a.host)
	}},
	{"socks", false, func(t testing.TB, k *kit, a ask) got {
		t.Helper()
		c := k.openSOCKS(t, k.token, a.host)
		return sendHTTP1(t, &wire{Conn: c, r: bufio.NewReader(c)}, a, a.target, a.host)
	}},
	{"http2", true, func(t testing.TB, k *kit, a ask) got {
		t.Helper()
		return sendHTTP2(t, k.open(t, a.host+":443", func(c *tls.Config) { c.NextProtos = []string{"h2"} }), a, "https", a.target, a.host)
	}},
	{"path http2", true, func(t testing.TB, k *kit, a ask) got {
		t.Helper()
		return sendHTTP2(t, k.dialPath(t), a, "http", "/proxy/"+a.host+a.target, "vault.test", "Authorization: Bearer "+k.token)
	}},
}

// dialPath connects to the path entrance of the kit's broker.
func (k *kit) dialPath(t testing.TB) *wire {
	t.Helper()
	if k.pathAddr == "" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		srv := &http.Server{
			Handler: broker.BoundUploads(pathproxy.New(pathproxy.Options{Broker: k.broker})), DisableGeneralOptionsHandler: true,
			ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 90 * time.Second, MaxHeaderBytes: 64 << 10,
		}
		broker.ClearHTTP2(srv)
		plain, rest := http1.Front(srv, k.broker.Share(srv, ln), pathproxy.ServesTarget, nil)
		shared := broker.PlainErrors(srv, rest, broker.Path)
		go srv.Serve(shared)
		t.Cleanup(func() {
			_ = srv.Close()
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // stragglers are cut
			_ = plain.Shutdown(ctx)
		})
		k.pathAddr = ln.Addr().String()
	}
	c, err := net.Dial("tcp", k.pathAddr)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return &wire{Conn: c, r: bufio.NewReader(c)}
}

func sendHTTP1(t testing.TB, w *wire, a ask, target, host string, more ...string) got {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", a.method, target, host)
	for _, line := range append(more, a.header...) {
		b.WriteString(line + "\r\n")
	}
	if a.body == "" && a.trailer == nil {
		b.WriteString("\r\n")
	} else {
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for rest := a.body; rest != ""; {
			n := min(len(rest), 1000)
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		b.WriteString("0\r\n")
		for _, line := range a.trailer {
			b.WriteString(line + "\r\n")
		}
		b.WriteString("\r\n")
	}
	go io.WriteString(w, b.String()) // the vault may answer, and close, before all of it
	resp, err := http.ReadResponse(w.r, &http.Request{Method: a.method})
	if err != nil {
		return got{}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return got{header: resp.Header, body: string(body)}
	}
	return got{resp.StatusCode, fault(t, resp, string(body)), resp.Header, string(body)}
}

func sendHTTP2(t testing.TB, c net.Conn, a ask, scheme, target, authority string, more ...string) got {
	t.Helper()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err := io.WriteString(c, http2.ClientPreface)
	must(t, err)
	framer := http2.NewFramer(c, c)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	must(t, framer.WriteSettings())
	must(t, framer.WriteWindowUpdate(0, 1<<20))
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields := func(lines []string) []byte {
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ":")
			must(t, encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(name), Value: strings.TrimSpace(value)}))
		}
		defer block.Reset()
		return bytes.Clone(block.Bytes())
	}
	for _, f := range [][2]string{{":method", a.method}, {":scheme", scheme}, {":path", target}, {":authority", authority}} {
		must(t, encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	last := a.body == "" && a.trailer == nil
	must(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(append(more, a.header...)), EndStream: last, EndHeaders: true}))
	for rest := a.body; rest != ""; {
		n := min(len(rest), 1000)
		if framer.WriteData(1, a.trailer == nil && n == len(rest), []byte(rest[:n])) != nil {
			break
		}
		rest = rest[n:]
	}
	if a.trailer != nil {
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(a.trailer), EndStream: true, EndHeaders: true})
	}
	return readHTTP2(t, framer)
}

// readHTTP2 reads the answer on stream 1.
func readHTTP2(t testing.TB, framer *http2.Framer) (g got) {
	t.Helper()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return got{}
		}
		ended := false
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if g.status == 0 {
				g.header = http.Header{}
				_, _ = fmt.Sscan(frame.PseudoValue("status"), &g.status)
				for _, f := range frame.RegularFields() {
					g.header.Add(f.Name, f.Value)
				}
			}
			ended = frame.StreamEnded()
		case *http2.DataFrame:
			g.body += string(frame.Data())
			ended = frame.StreamEnded()
		case *http2.RSTStreamFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return got{}
			}
		case *http2.GoAwayFrame:
			return got{}
		}
		if ended {
			g.code = fault(t, &http.Response{Header: g.header}, g.body)
			return g
		}
	}
}

// A witness is an upstream that remembers what it was sent last, also of what
// broke off.
type witness struct {
	mu      sync.Mutex
	running int
	seen    []*seen
}

// all returns what has come, when nothing comes any more.
func (w *witness) all(t *testing.T, k *kit) []*seen {
	t.Helper()
	k.upstream.Close()
	eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.running == 0
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

type seen struct {
	method, target, host string
	header, trailer      http.Header
	body                 string
	whole                bool
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.running++
	w.mu.Unlock()
	s := &seen{method: r.Method, target: r.RequestURI, host: r.Host, header: r.Header.Clone()}
	var body bytes.Buffer
	_, err := io.Copy(&body, r.Body)
	s.body, s.whole, s.trailer = body.String(), err == nil, r.Trailer.Clone()
	w.mu.Lock()
	w.seen = append(w.seen, s)
	w.running--
	w.mu.Unlock()
	_, _ = io.WriteString(rw, "seen")
}

// of returns the last request that carries a mark, and how many do. What broke
// off may still be on its way to the upstream when the agent has its answer.
func (w *witness) of(mark string) (last *seen, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.seen {
		if s.header.Get("X-Mark") == mark {
			last = s
			n++
		}
	}
	return last, n
}

// marked is the ask with a mark of its own.
func (a ask) marked() (ask, string) {
	mark := rand.Text()
	a = a.filled()
	a.header = append(slices.Clone(a.header), "X-Mark: "+mark)
	return a, mark
}

// all is everything that the upstream was sent, in one text.
func (s *seen) all() string {
	if s == nil {
		return ""
	}
	return fmt.Sprint(s.method, s.target, s.host, s.header, s.trailer, s.body)
}

// outcome returns the last outcome in the audit log, once there are n of them.
func (k *kit) outcome(t *testing.T, n int) broker.Record {
	t.Helper()
	var last broker.Record
	eventually(t, func() bool {
		raw, err := os.ReadFile(k.audit)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		found := 0
		for line := range strings.Lines(string(raw)) {
			var r broker.Record
			if json.Unmarshal([]byte(line), &r) == nil && r.Kind == "outcome" {
				last = r
				found++
			}
		}
		return found >= n
	})
	return last
}
