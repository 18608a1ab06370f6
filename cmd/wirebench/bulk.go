package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// bulk is one body of n MiB, down or up.
func bulk(up bool) func(context.Context, *bench, *target, int) (sample, error) {
	return func(ctx context.Context, _ *bench, t *target, n int) (sample, error) {
		c, err := t.dial(ctx, hostH1, 0)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		var took time.Duration
		cpu, err := cpuPer(ctx, t, n, func() error {
			begin := time.Now()
			if err := c.SetDeadline(begin.Add(patience + time.Duration(n)*time.Second/4)); err != nil {
				return err
			}
			move := fetch
			if up {
				move = upload
			}
			err := move(c, t, n<<20)
			took = time.Since(begin)
			return err
		})
		// What n MiB took, as milliseconds per GiB.
		return sample{"cpu": cpu * 1024 / 1000, "rate": float64(n) / took.Seconds()}, err
	}
}

func fetch(c *client, t *target, n int) error {
	if _, err := c.Write(t.request("GET", hostH1, pathDown+"?bytes="+strconv.Itoa(n), 0, nil)); err != nil {
		return err
	}
	status, length, _, err := readHead(c.r)
	if err != nil {
		return err
	}
	if status != 200 {
		return fmt.Errorf("answered %d", status)
	}
	block, body := bytes.Repeat(answerJSON, 64), c.body(length)
	buf := make([]byte, len(block))
	for got := 0; ; {
		k, err := io.ReadFull(body, buf)
		if !bytes.Equal(buf[:k], block[:k]) {
			return fmt.Errorf("another block than the origin's after %d bytes", got)
		}
		switch got += k; {
		case err == nil:
		case (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && got == n:
			return nil
		default:
			return fmt.Errorf("%d of %d bytes: %w", got, n, err)
		}
	}
}

func upload(c *client, t *target, n int) error {
	block := bytes.Repeat(answerJSON, 64)
	head := t.request("POST", hostH1, pathUp, 0, nil, "Content-Type: application/octet-stream", "Content-Length: "+strconv.Itoa(n))
	if _, err := c.Write(head); err != nil {
		return err
	}
	for left := n; left > 0; {
		part := block[:min(left, len(block))]
		if _, err := c.Write(part); err != nil {
			return err
		}
		left -= len(part)
	}
	want := strconv.Itoa(n)
	return c.receive([]byte(want), make([]byte, len(want)+1))
}
