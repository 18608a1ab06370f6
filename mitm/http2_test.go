package mitm_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Clients' libraries do not send these; an agent can. The names of a stream
// must agree whichever of them a reader prefers.
func TestRawHTTP2Names(t *testing.T) {
	k := newKit(t, kitOptions{})
	pseudo := func(method, authority string) []hpack.HeaderField {
		return []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: authority}}
	}
	host := func(h string) hpack.HeaderField { return hpack.HeaderField{Name: "host", Value: h} }
	for _, tt := range []struct {
		name   string
		fields []hpack.HeaderField
		want   string // "" when the stream must be refused without reaching a handler
	}{
		{"authority", pseudo("GET", "api.example.com"), "200"},
		{"both, agreeing", append(pseudo("GET", "api.example.com"), host("api.example.com:443")), "200"},
		{"host only", append(pseudo("GET", "api.example.com")[:3:3], host("api.example.com")), "200"},
		{"another authority", pseudo("GET", "other.example.com"), "421"},
		{"another host beside authority", append(pseudo("GET", "api.example.com"), host("other.example.com")), "421"},
		{"another host only", append(pseudo("GET", "api.example.com")[:3:3], host("other.example.com")), "421"},
		{"another authority beside host", append(pseudo("GET", "other.example.com"), host("api.example.com")), "421"},
		{"CONNECT", []hpack.HeaderField{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: "api.example.com:443"}}, "400"},
		{"extended CONNECT", append(pseudo("CONNECT", "api.example.com"), hpack.HeaderField{Name: ":protocol", Value: "websocket"}), ""},
	} {
		c := k.open(t, "api.example.com:443", func(c *tls.Config) { c.NextProtos = []string{"h2"} })
		if got := oneStream(t, c, tt.fields); got != tt.want {
			t.Errorf("%s: status %q, want %q", tt.name, got, tt.want)
		}
	}
}

// oneStream sends one request without a body and returns the status of the
// answer, "" if the stream or the connection was refused.
func oneStream(t *testing.T, c *tls.Conn, fields []hpack.HeaderField) string {
	t.Helper()
	_, err := io.WriteString(c, http2.ClientPreface)
	must(t, err)
	framer := http2.NewFramer(c, c)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	must(t, framer.WriteSettings())
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		must(t, encoder.WriteField(f))
	}
	must(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return ""
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}
