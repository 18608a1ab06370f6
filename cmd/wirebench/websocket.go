package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// As much of WebSocket (RFC 6455) as a benchmark needs: whole messages of less
// than 64 KiB.

// accept is the answer to a Sec-WebSocket-Key (RFC 6455 §4.2.2).
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// echo sends every text message back.
func echo(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept(r.Header.Get("Sec-WebSocket-Key")))
	for rw.Flush() == nil {
		text, err := readFrame(rw.Reader, nil)
		if err != nil {
			return
		}
		if _, err := rw.Write(appendFrame(nil, text, false)); err != nil {
			return
		}
	}
}

// appendFrame appends one text message. Clients mask theirs.
func appendFrame(b, text []byte, masked bool) []byte {
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	b = append(b, 0x81) // FIN, text
	if len(text) < 126 {
		b = append(b, bit|byte(len(text)))
	} else {
		b = append(b, bit|126)
		b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	}
	if !masked {
		return append(b, text...)
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, mask[:]...)
	for i, c := range text {
		b = append(b, c^mask[i%4])
	}
	return b
}

// readFrame reads one message into buf, which it returns, longer if need be.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return nil, err
	}
	if head[0] != 0x81 {
		return nil, fmt.Errorf("a frame that begins with %#x is no text message", head[0])
	}
	masked, n := head[1]&0x80 != 0, int(head[1]&0x7f)
	switch n {
	case 126:
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(head[:2]))
	case 127:
		return nil, errors.New("a message of 64 KiB or more")
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return nil, err
		}
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	for i := range buf {
		buf[i] ^= mask[i%4]
	}
	return buf, nil
}
