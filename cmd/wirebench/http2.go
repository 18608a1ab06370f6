package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// streams is requests on n streams of one HTTP/2 connection, and HTTP/2 to the
// origin.
func streams(ctx context.Context, _ *bench, t *target, n int) (sample, error) {
	const workers = 16
	c, err := t.dial(ctx, hostH2, 0, "h2")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	conns := make(chan *client, 1)
	conns <- c
	transport := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true,
		DialTLSContext: func(context.Context, string, string) (conn net.Conn, err error) {
			select {
			case c := <-conns:
				return c.Conn, nil // *tls.Conn: net/http looks for what was agreed
			default:
				return nil, errors.New("the connection did not stay open")
			}
		},
	}
	defer transport.CloseIdleConnections()
	one := func(_, _ int) error { return roundTrip(ctx, transport) }
	if err := one(0, 0); err != nil {
		return nil, err
	}
	if err := each(ctx, workers, max(n/10, workers), one); err != nil { // warm
		return nil, err
	}
	var took time.Duration
	cpu, err := cpuPer(ctx, t, n, func() error {
		begin := time.Now()
		err := each(ctx, workers, n, one)
		took = time.Since(begin)
		return err
	})
	return sample{"cpu": cpu, "rate": float64(n) / took.Seconds()}, err
}

func roundTrip(ctx context.Context, transport *http.Transport) error {
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+hostH2+pathJSON, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 || !bytes.Equal(body, answerJSON) {
		return fmt.Errorf("answered %s %d %.200q", resp.Proto, resp.StatusCode, body)
	}
	return nil
}
