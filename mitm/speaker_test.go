package mitm_test

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A speaker is an upstream that speaks whatever is spoken over HTTP.
type speaker struct {
	next chan struct{} // a piece of a stream was read, and the next may go
}

func (s *speaker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Saw", fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.ContentLength, " ", r.ProtoMajor))
	rc := http.NewResponseController(w)
	kind, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch kind {
	case "status":
		code, _ := strconv.Atoi(rest)
		w.WriteHeader(code)
	case "grpc":
		speakGRPC(w, r, rest)
	case "grpc-web":
		speakWeb(w, r)
	case "stream":
		s.stream(w, r.URL.Query().Get("type"), r.Context().Done())
	case "trailers":
		speakTrailers(w, r)
	case "interim":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "after hints")
	case "unread":
		if c, rw, err := rc.Hijack(); err == nil { // net/http would wait for the body
			defer c.Close()
			_, _ = io.WriteString(rw, "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 8\r\n\r\nnot read")
			_ = rw.Flush()
			_, _ = io.Copy(io.Discard, rw) // as closing at once would reset the connection
			return
		}
		w.Header().Set("Content-Length", "8")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "not read")
	case "file":
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "file.txt", time.Time{}, strings.NewReader("0123456789"))
	case "to-the-end":
		if c, rw, err := rc.Hijack(); err == nil {
			defer c.Close()
			_, _ = io.WriteString(rw, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end")
			_ = rw.Flush()
			return
		}
		_, _ = io.WriteString(w, "to the end") // HTTP/2 always says where an answer ends
	case "ws":
		speakWebSocket(rc)
	default:
		echoAsItComes(w, rc, r)
	}
}

func echoAsItComes(w http.ResponseWriter, rc *http.ResponseController, r *http.Request) {
	_ = rc.EnableFullDuplex() // HTTP/2 is
	if r.ContentLength > 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = rc.Flush()
		}
		if err != nil {
			return
		}
	}
}

// message spells one of gRPC's.
func message(flags byte, text string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(text)))) + text
}

// gzipped is a text in gzip.
func gzipped(text string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text) // a strings.Builder takes everything
	_ = w.Close()
	return b.String()
}

// readMessage reads one.
func readMessage(r io.Reader) (flags byte, text string, err error) {
	var prefix [5]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return 0, "", err
	}
	b := make([]byte, binary.BigEndian.Uint32(prefix[1:]))
	_, err = io.ReadFull(r, b)
	return prefix[0], string(b), err
}

// speakGRPC answers calls of the four types, and refuses one.
func speakGRPC(w http.ResponseWriter, r *http.Request, method string) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	if r.Header.Get("Te") != "trailers" || method == "Denied" {
		h.Set("Grpc-Status", "7")
		h.Set("Grpc-Message", "denied")
		return
	}
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // HTTP/2 is
	h.Set("Trailer", "Grpc-Status")
	flag, code := byte(0), func(text string) string { return text }
	if method == "Coded" {
		h.Set("Grpc-Encoding", "gzip")
		flag, code = 1, gzipped
	}
	w.WriteHeader(http.StatusOK)
	_ = rc.Flush()
	say := func(text string) {
		_, _ = io.WriteString(w, message(flag, code(text)))
		_ = rc.Flush()
	}
	var all []string
	for {
		_, text, err := readMessage(r.Body)
		if err != nil {
			break
		}
		all = append(all, text)
		if method == "Bidi" || method == "Coded" {
			say("re: " + text)
		}
	}
	switch method {
	case "Server":
		for n := range 3 {
			say(fmt.Sprintf("%v%d", all, n))
		}
	case "Unary", "Client":
		say(fmt.Sprint(all))
	}
	h.Set("Grpc-Status", "0")
	h.Set(http.TrailerPrefix+"Grpc-Message", "fine")
}

// speakWeb answers in gRPC-Web, whose trailers stand in the body.
func speakWeb(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	text := strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc-web-text")
	if text {
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	_, said, err := readMessage(body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	for _, part := range []string{message(0, "re: "+said), message(0x80, "grpc-status: 0\r\n")} {
		if text {
			part = base64.StdEncoding.EncodeToString([]byte(part))
		}
		_, _ = io.WriteString(w, part)
		_ = http.NewResponseController(w).Flush()
	}
}

// pieces are what streams of these types consist of.
var pieces = map[string][]string{
	"text/event-stream":                  {"data: one\n\n", ": comment\n\n", "event: x\ndata: two\n\n"},
	"application/x-ndjson":               {`{"n":1}` + "\n", `{"n":2}` + "\n", `{"n":3}` + "\n"},
	"application/vnd.amazon.eventstream": {amazonEvent("one"), amazonEvent(""), amazonEvent("three")},
}

// amazonEvent spells an event without headers. It ends with four letters where
// the checksum stands, so that it could be the beginning of anything.
func amazonEvent(text string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(text)))
	b = binary.BigEndian.AppendUint32(b, 0)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))) + text + "abcd"
}

// stream sends a piece, and the next once that was read.
func (s *speaker) stream(w http.ResponseWriter, kind string, ended <-chan struct{}) {
	w.Header().Set("Content-Type", kind)
	for _, piece := range pieces[kind] {
		_, _ = io.WriteString(w, piece)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-s.next:
		case <-ended:
			return
		}
	}
}

// speakTrailers tells what trailers came, and sends some.
func speakTrailers(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Trailer", "X-Announced")
	_, _ = fmt.Fprint(w, r.Trailer.Get("X-Sum"))
	w.Header().Set("X-Announced", "yes")
	w.Header().Set(http.TrailerPrefix+"X-Unannounced", "yes")
}

// speakWebSocket sends a message directly behind its answer, and what came back.
func speakWebSocket(rc *http.ResponseController) {
	c, rw, err := rc.Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s\r\n\r\n\x82\x02hi")
	_ = rw.Flush()
	echoFrame(rw.Reader, c)
}

// echoFrame sends a short masked text frame back.
func echoFrame(r *bufio.Reader, w io.Writer) {
	var frame [6]byte
	if _, err := io.ReadFull(r, frame[:]); err != nil {
		return
	}
	text := make([]byte, frame[1]&0x7f)
	_, _ = io.ReadFull(r, text)
	for i := range text {
		text[i] ^= frame[2+i%4]
	}
	_, _ = w.Write(append([]byte{frame[0], byte(len(text))}, text...))
}
