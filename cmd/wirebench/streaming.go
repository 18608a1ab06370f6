package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// delays is how long events of a stream take to arrive, without the first.
func delays(ctx context.Context, _ *bench, t *target, n int) (sample, error) {
	c, err := t.dial(ctx, hostH1, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience + time.Duration(n)*eventPause)); err != nil {
		return nil, err
	}
	path := pathSSE + "?events=" + strconv.Itoa(n+1)
	if _, err := c.Write(t.request("GET", hostH1, path, 0, nil)); err != nil {
		return nil, err
	}
	status, length, _, err := readHead(c.r)
	if err != nil {
		return nil, err
	}
	if status != 200 || length >= 0 {
		return nil, fmt.Errorf("events were answered %d with a length of %d", status, length)
	}
	took, err := arrivals(c.body(length))
	if err != nil || len(took) != n+1 {
		return nil, errors.Join(fmt.Errorf("%d events, want %d", len(took), n+1), err)
	}
	later := took[1:]
	return sample{"p50": micros(quantile(later, 0.5)), "p99": micros(quantile(later, 0.99))}, nil
}

// arrivals reads the origin's events: how long each was under way.
func arrivals(r io.Reader) ([]time.Duration, error) {
	var took []time.Duration
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		at := time.Now().UnixNano()
		if len(lines.Bytes()) == 0 {
			continue
		}
		rest, ok := bytes.CutPrefix(lines.Bytes(), []byte(`data: {"sent": `))
		stamp, _, _ := bytes.Cut(rest, []byte(","))
		sent, err := strconv.ParseInt(string(stamp), 10, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("%q is no event", lines.Bytes())
		}
		took = append(took, time.Duration(at-sent))
	}
	return took, lines.Err()
}

// messages is text messages of 256 bytes on WebSockets, sent back by the origin.
func messages(ctx context.Context, _ *bench, t *target, n int) (sample, error) {
	const connections = 16
	p, err := connect(ctx, t, connections, nil, func(session int) []byte {
		return t.request("GET", hostH1, pathEcho, session, nil, "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	})
	if err != nil {
		return nil, err
	}
	defer p.close()
	for i, c := range p.clients {
		if _, err := c.Write(p.requests[i]); err != nil {
			return nil, err
		}
		if status, _, _, err := readHead(c.r); err != nil || status != 101 {
			return nil, errors.Join(fmt.Errorf("WebSocket was answered %d", status), err)
		}
	}
	text := bytes.Repeat([]byte("a message of it."), 16)
	frame := appendFrame(nil, text, true)
	run := func(n int) error {
		p.forget()
		return each(ctx, connections, n, func(i, _ int) error { return p.message(i, frame, text) })
	}
	if err := run(max(n/10, 2*connections)); err != nil { // warm
		return nil, err
	}
	cpu, err := cpuPer(ctx, t, n, func() error { return run(n) })
	return sample{"cpu": cpu, "p50": micros(quantile(p.all(), 0.5))}, err
}

// message sends a message on one connection, and wants its text back.
func (p *pool) message(i int, frame, text []byte) (err error) {
	begin, c := time.Now(), p.clients[i]
	if err := c.SetDeadline(begin.Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(frame); err != nil {
		return err
	}
	if p.bufs[i], err = readFrame(c.r, p.bufs[i]); err != nil {
		return err
	}
	if !bytes.Equal(p.bufs[i], text) {
		return fmt.Errorf("the message came back as %.40q", p.bufs[i])
	}
	p.took[i] = append(p.took[i], time.Since(begin))
	return nil
}
