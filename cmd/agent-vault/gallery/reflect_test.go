package gallery_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
)

// reflection makes an answer that hands a credential back. Arguments:
//
//	of=injected|stored|stored-token  which one
//	as=ENCODING                      how it is spelled
//	place=PLACE                      where it stands
//	in=CODING[,CODING]               how the body is coded, first coding first
//	split=every                      it comes once for each place at which it can be torn
func reflection(c *testcase, args map[string]string) (*answer, error) {
	value, ok := c.vars[args["of"]]
	if !ok {
		return nil, fmt.Errorf("reflect: no such credential: of=%q", args["of"])
	}
	text, err := spell(args["as"], value)
	if err != nil {
		return nil, err
	}
	copies := [][]string{{text}}
	if args["split"] == "every" {
		for i := 1; i < len(text); i++ {
			copies = append(copies, []string{text[:i], text[i:]})
		}
	}
	a, err := placed(args["place"], copies)
	if err != nil {
		return nil, err
	}
	if a.code() != http.StatusSwitchingProtocols {
		c.length = len(strings.Join(a.body, "")) // masking keeps it
	}
	if args["place"] == "grpc-coded" {
		c.length = len("\x00\x00\x00\x00\x00" + text) // the message comes plain
	}
	if args["in"] == "" {
		return a, nil
	}
	c.length = 0
	var names []string
	for coding := range strings.SplitSeq(args["in"], ",") {
		encode, ok := codings[coding]
		if !ok {
			return nil, fmt.Errorf("reflect: in=%q", coding)
		}
		a.body = encode(a.body)
		names = append(names, nameOfCoding(coding))
	}
	a.header = append(a.header, plainField("Content-Encoding", strings.Join(names, ", ")))
	return a, nil
}

// spell encodes a credential as it would stand in a longer text.
func spell(name, value string) (string, error) {
	encode, ok := encodings[name]
	if !ok {
		return "", fmt.Errorf("no such encoding: %q", name)
	}
	if base, shift, ok := strings.Cut(name, "-"); ok && strings.HasPrefix(base, "base64") {
		enc := base64.RawStdEncoding // "=" belongs into no field name
		if base == "base64url" {
			enc = base64.RawURLEncoding
		}
		return enc.EncodeToString([]byte("abc"[:shift[0]-'0'] + value + "end")), nil
	}
	return encode(value), nil
}

// placed puts the copies, each in its pieces, into an answer.
func placed(place string, copies [][]string) (*answer, error) {
	var body []string
	for _, c := range copies {
		body = append(append(append(body, "["), c...), "]\n")
	}
	text := []field{plainField("Content-Type", "text/plain")}
	fields := func(before string) (list []field) {
		for i, c := range copies {
			list = append(list, plainField(fmt.Sprintf("X-R-%d", i), append([]string{before}, c...)...))
		}
		return list
	}
	names := func() (list []field) {
		for i, c := range copies {
			list = append(list, field{append([]string{fmt.Sprintf("X-R%d-", i)}, c...), []string{"v"}})
		}
		return list
	}
	switch place {
	case "body":
		return &answer{header: text, body: body}, nil
	case "chunked", "close":
		return &answer{header: text, body: body, framing: place}, nil
	case "error":
		return &answer{status: 500, header: text, body: body}, nil
	case "sse":
		var events []string
		for _, c := range copies {
			events = append(append(append(events, "data: {\"key\":\""), c...), "\"}\n\n")
		}
		return &answer{header: []field{plainField("Content-Type", "text/event-stream")}, body: events, framing: "chunked"}, nil
	case "field":
		return &answer{header: fields(""), body: []string{"ok"}}, nil
	case "field-name":
		return &answer{header: names(), body: []string{"ok"}}, nil
	case "cookie", "location":
		a := &answer{body: []string{"ok"}}
		for _, c := range copies {
			if place == "cookie" {
				a.header = append(a.header, plainField("Set-Cookie", append(append([]string{"k="}, c...), "; Path=/")...))
				continue
			}
			a.status = 302
			a.header = append(a.header, plainField("Location", append([]string{"https://elsewhere.test/?k="}, c...)...))
		}
		return a, nil
	case "reason":
		return &answer{reason: copies[len(copies)-1], body: []string{"ok"}}, nil
	case "interim":
		return &answer{interim: append(fields(""), names()...), body: []string{"ok"}}, nil
	case "interim-value":
		return &answer{interim: fields(""), body: []string{"ok"}}, nil
	case "trailer":
		return &answer{header: text, body: []string{"ok"}, trailer: fields("")}, nil
	case "trailer-name":
		return &answer{header: text, body: []string{"ok"}, trailer: names()}, nil
	case "grpc":
		trailer := append([]field{plainField("Grpc-Status", "13")}, plainField("Grpc-Message", strings.Join(copies[0], "")))
		return &answer{header: []field{plainField("Content-Type", "application/grpc")}, body: []string{"\x00\x00\x00\x00\x02ok"}, trailer: trailer}, nil
	case "grpc-coded": // a message with the flag that says that it is compressed (gRPC over HTTP/2, "Length-Prefixed-Message")
		message := strings.Join(codings["gzip"](copies[0]), "")
		head := binary.BigEndian.AppendUint32([]byte{1}, uint32(len(message)))
		return &answer{header: []field{plainField("Content-Type", "application/grpc"), plainField("Grpc-Encoding", "gzip")},
			body: []string{string(head) + message}, trailer: []field{plainField("Grpc-Status", "0")}}, nil
	case "grpc-only":
		return &answer{header: []field{plainField("Content-Type", "application/grpc"), plainField("Grpc-Status", "13"),
			plainField("Grpc-Message", strings.Join(copies[0], ""))}}, nil
	}
	return webSocket(place, copies)
}

// webSocket answers a handshake and sends each copy as a text message.
func webSocket(place string, copies [][]string) (*answer, error) {
	a := &answer{status: 101, header: []field{plainField("Connection", "Upgrade"), plainField("Upgrade", "websocket"),
		plainField("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")}}
	const text, continuation, binaryFrame, ping, pong, end = 0x1, 0x0, 0x2, 0x9, 0xa, 0x8
	const fin, deflated = 0x80, 0x40
	for _, c := range copies {
		whole := strings.Join(c, "")
		switch place {
		case "ws": // one frame, torn where the copy is
			f := frame(fin|text, whole)
			at := len(f) - len(whole) + len(c[0])
			a.body = append(a.body, f[:at], f[at:])
		case "ws-binary":
			a.body = append(a.body, frame(fin|binaryFrame, whole))
		case "ws-ping", "ws-pong":
			op := byte(ping)
			if place == "ws-pong" {
				op = pong
			}
			a.body = append(a.body, frame(fin|op, whole[:min(len(whole), 125)]))
		case "ws-fragments", "ws-fragments-ping":
			if len(c) == 1 {
				c = []string{whole, ""}
			}
			a.body = append(a.body, frame(text, c[0]))
			if place == "ws-fragments-ping" {
				a.body = append(a.body, frame(fin|ping, "between"))
			}
			a.body = append(a.body, frame(fin|continuation, c[1]))
		case "ws-bytes": // a frame for each byte
			for i := range len(whole) {
				op := byte(continuation)
				if i == 0 {
					op = text
				}
				if i == len(whole)-1 {
					op |= fin
				}
				a.body = append(a.body, frame(op, whole[i:i+1]))
			}
		case "ws-close":
			a.body = append(a.body, frame(fin|end, "\x03\xe8"+whole))
			return a, nil
		case "ws-deflate":
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, 6)
			w.Write([]byte(whole))
			w.Flush()
			a.body = append(a.body, frame(fin|deflated|text, strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")))
		default:
			return nil, fmt.Errorf("reflect: no such place: %q", place)
		}
	}
	if place == "ws-deflate" {
		a.header = append(a.header, plainField("Sec-WebSocket-Extensions", "permessage-deflate"))
	}
	a.body = append(a.body, frame(fin|end, "\x03\xe8"))
	return a, nil
}

// frame makes a WebSocket frame as servers send it, unmasked (RFC 6455 §5.2).
func frame(first byte, payload string) string {
	b := []byte{first}
	if len(payload) < 126 {
		b = append(b, byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(len(payload)))
	}
	return string(b) + payload
}

// messages joins the payloads of a WebSocket's frames, as far as they are
// whole: messages that came in fragments are one text again, what was deflated
// is inflated.
func messages(wire []byte) []byte {
	var data, control []byte
	for len(wire) >= 2 {
		first, n, head := wire[0], int(wire[1]&0x7f), 2
		if n == 126 && len(wire) >= 4 {
			n, head = int(binary.BigEndian.Uint16(wire[2:])), 4
		}
		if len(wire) < head+n {
			break
		}
		payload := wire[head : head+n]
		wire = wire[head+n:]
		switch {
		case first&0x8 != 0:
			control = append(append(control, payload...), '\n')
		case first&0x40 != 0:
			data = append(data, decode("deflate", append(bytes.Clone(payload), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff))...)
		default:
			data = append(data, payload...)
		}
		if first&0x88 == 0x80 {
			data = append(data, '\n')
		}
	}
	return append(append(data, '\n'), control...)
}
