package broker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"agentvault/broker"
	"agentvault/broker/http1"
)

// speakHTTP2 answers the first request on a connection with these lengths, and
// "hello".
func speakHTTP2(t *testing.T, c net.Conn, lengths []string) {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(c, c)
	_ = framer.WriteSettings() // who has gone is found by the next read
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		headers, ok := frame.(*http2.HeadersFrame)
		if !ok {
			continue
		}
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		fields := []hpack.HeaderField{{Name: ":status", Value: "200"}}
		for _, length := range lengths {
			fields = append(fields, hpack.HeaderField{Name: "content-length", Value: length})
		}
		for _, field := range fields {
			if err := enc.WriteField(field); err != nil {
				t.Error(err)
			}
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: headers.StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
		_ = framer.WriteData(headers.StreamID, true, []byte("hello"))
	}
}

// HTTP/2 does not live by Content-Length, and its upstream may say anything in it.
// HTTP/1.1 gets one length that is right, or none.
func TestLengthsOfHTTP2(t *testing.T) {
	for _, lengths := range [][]string{nil, {"5"}, {"5", "7"}, {"5", "5"}, {"+5"}, {"-5"}, {"5, 5"}, {"0x5"}, {"5 "}, {"99999999999999999999"}} {
		srv := httptest.NewUnstartedServer(nil)
		srv.TLS = &tls.Config{NextProtos: []string{"h2"}}
		srv.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
			"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) { speakHTTP2(t, c, lengths) },
		}
		srv.StartTLS()
		k := newKit(t, nil, func(o *broker.Options) {
			at := netip.MustParseAddrPort(srv.Listener.Addr().String())
			o.Dialer.Hosts = map[string]broker.HostAddress{"example.com": {Addr: at.Addr(), Port: at.Port()}}
			o.Roots.AddCert(srv.Certificate())
		})
		handler := &http.Server{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			k.Serve(w, r, k.request(t, "example.com", "/"))
		})}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		plain, rest := http1.Front(handler, ln, nil, nil)
		go handler.Serve(rest)
		for _, head := range []string{"GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"} { // the latter is net/http's
			got := string(rawExchange(t, addr, head+"Host: x\r\nConnection: close\r\n\r\n"+"0\r\n\r\n"[:5*strings.Count(head, "chunked")]))
			header, body, _ := strings.Cut(got, "\r\n\r\n")
			header += "\r\n"
			n := strings.Count(strings.ToLower(header), "content-length:")
			framings := n + strings.Count(header, "Transfer-Encoding: chunked")
			well := strings.HasPrefix(got, "HTTP/1.1 200 ") && framings == 1 && (n == 0 && body == "5\r\nhello\r\n0\r\n\r\n" || strings.Contains(header, "Content-Length: 5\r\n") && body == "hello")
			if refused := strings.HasPrefix(got, "HTTP/1.1 502 "); !well && !refused {
				t.Errorf("%q, %.30q: %q", lengths, head, got)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // what is open is cut
		_ = handler.Close()
		_ = plain.Shutdown(ctx)
		srv.CloseClientConnections()
		srv.Close()
	}
}
