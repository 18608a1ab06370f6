package broker_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/vault"
)

// message spells one of gRPC's, gRPC-Web's or Connect's.
func message(flags byte, text string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(text)))) + text
}

// sayMessages answers with what a query says: a type, a field that names a
// coding, and a body, which has a length.
var sayMessages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	h := w.Header()
	h.Set("Content-Type", q.Get("type"))
	if name := q.Get("field"); name != "" {
		h.Set(name, q.Get("coding"))
	}
	h.Set("Content-Length", fmt.Sprint(len(q.Get("body"))))
	h.Set("Accept-Ranges", "bytes")
	_, _ = io.WriteString(w, q.Get("body"))
})

// Messages that are compressed come plain, masked, and without the length of
// what they were; others as they are.
func TestCompressedMessages(t *testing.T) {
	text := "a " + credential + " b"
	masked := "a " + stars() + " b"
	for _, row := range []struct {
		kind, field string
		in, want    string
		longer      bool // the body's length may change
	}{
		{"application/grpc", "Grpc-Encoding", message(1, gzipped(text)), message(0, masked), true},
		{"application/grpc+proto", "Grpc-Encoding", message(0, text) + message(1, gzipped(text)), message(0, masked) + message(0, masked), true},
		{"application/grpc-web+proto", "Grpc-Encoding", message(1, gzipped(text)) + message(0x81, gzipped(text)), message(0, masked) + message(0x80, masked), true},
		{"application/connect+json", "Connect-Content-Encoding", message(1, gzipped(text)) + message(3, gzipped(text)), message(0, masked) + message(2, masked), true},
		{"application/grpc", "Grpc-Encoding", message(0, text), message(0, masked), true},
		{"application/grpc", "", message(0, text), message(0, masked), false},
		{"application/connect+proto", "Grpc-Encoding", message(0, text), message(0, masked), false}, // it names no coding of these
	} {
		k := newKit(t, sayMessages, nil)
		w, _ := k.say(t, row.kind, row.field, "gzip", row.in)
		h := w.Result().Header
		if w.Code != 200 || w.Body.String() != row.want {
			t.Errorf("%+v: %d %q", row, w.Code, w.Body)
		}
		if row.field != "" && h.Get(row.field) != "gzip" {
			t.Errorf("%+v: %s is %q", row, row.field, h.Get(row.field))
		}
		if _, length := h["Content-Length"]; length == row.longer || h.Get("Accept-Ranges") == "" != row.longer {
			t.Errorf("%+v: %v", row, h)
		}
	}
}

// say asks for such an answer.
func (k *kit) say(t *testing.T, kind, field, coding, body string) (w *httptest.ResponseRecorder, broken bool) {
	t.Helper()
	q := url.Values{"type": {kind}, "field": {field}, "coding": {coding}, "body": {body}}
	return k.attempt(t, "example.com", "/?"+q.Encode())
}

// What of messages cannot be decoded breaks the answer off, or passes where a
// person said so; base64 of compressed ones is refused, or passes likewise.
func TestUndecodableMessages(t *testing.T) {
	for name, row := range map[string]struct {
		kind, coding, body string
		refused            bool // before the answer begins
	}{
		"unknown coding":   {"application/grpc", "lz4", message(1, "key"), false},
		"two codings":      {"application/grpc", "gzip, br", message(1, gzipped("key")), false},
		"no coding":        {"application/grpc", "identity", message(1, "key"), false},
		"broken":           {"application/grpc", "gzip", message(1, "key"), false},
		"cut":              {"application/grpc", "gzip", message(1, gzipped("key")[:12]), false},
		"too long":         {"application/grpc", "gzip", message(1, gzipped(strings.Repeat("\x00", 4<<20+1))), false},
		"not the protocol": {"application/connect+proto", "gzip", message(1, gzipped("key")), false},
		"base64":           {"application/grpc-web-text", "gzip", base64.StdEncoding.EncodeToString([]byte(message(1, gzipped("key")))), true},
	} {
		k := newKit(t, sayMessages, nil)
		w, broken := k.say(t, row.kind, "Grpc-Encoding", row.coding, row.body)
		if row.refused && code(t, w) != broker.CodeUndecodable || !row.refused && (!broken || w.Body.Len() > 0) {
			t.Errorf("%s: %d %q, broken %t", name, w.Code, w.Body, broken)
		}
		k.wantOutcome(t, broker.CodeUndecodable)

		k = newKit(t, sayMessages, nil)
		k.snapshot.Vaults[0].Services[0].Undecodable = vault.UndecodablePass
		k.source.set(k.snapshot, nil)
		if err := k.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w, _ := k.say(t, row.kind, "Grpc-Encoding", row.coding, row.body); w.Code != 200 || w.Body.String() != row.body {
			t.Errorf("%s, where it passes: %d %q", name, w.Code, w.Body)
		}
	}
}

// An upstream is asked for compressed messages only where they could be read.
func TestAsksForReadableMessages(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%q%q%q", r.Header["Grpc-Accept-Encoding"], r.Header["Connect-Accept-Encoding"], r.Header["Accept-Encoding"])
	}), nil)
	for _, row := range []struct{ kind, accept, codings, want string }{
		{"application/grpc", "", "identity, deflate,gzip", `["identity, deflate,gzip"]["identity, deflate,gzip"]["gzip, br"]`},
		{"application/grpc", "", "br,zstd,snappy", `["br,zstd,snappy"]["br,zstd,snappy"]["gzip, br"]`},
		{"application/grpc", "", "gzip,lz4", `[][]["gzip, br"]`},
		{"application/grpc-web-text+proto", "", "gzip", `[][]["gzip, br"]`},
		{"application/grpc-web", "*/*, application/GRPC-web-text", "gzip", `[][]["gzip, br"]`},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
		r.Header = http.Header{
			"Content-Type": {row.kind}, "Accept": {row.accept}, "Accept-Encoding": {"gzip, br"},
			"Grpc-Accept-Encoding": {row.codings}, "Connect-Accept-Encoding": {row.codings},
		}
		k.Serve(w, r, k.request(t, "example.com", "/"))
		if got := w.Body.String(); got != row.want {
			t.Errorf("%+v: %s", row, got)
		}
	}
}
