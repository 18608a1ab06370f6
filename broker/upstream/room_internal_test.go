package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"
)

// When there are as many connections as may wait, those that have waited longest
// make room: a host that is used now is not dialed again and again for the sake of
// those that are not.
func TestOldConnectionsMakeRoom(t *testing.T) {
	tr := New(Options{
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }, TLS: &tls.Config{}, HTTP1: true,
		HandshakeTimeout: time.Minute, HeaderTimeout: time.Minute, BodyIdle: time.Minute,
	})
	defer tr.Close()
	now := time.Now()
	var conns []*conn
	for n := range maxIdle + maxIdle/2 {
		ours, theirs := net.Pipe()
		defer theirs.Close() // always nil
		s := newSocket(ours)
		c := newConn(tr, key{address: fmt.Sprintf("h%d.example:80", n)}, s, s)
		c.since = now.Add(time.Duration(n) * time.Microsecond)
		conns = append(conns, c)
		tr.put(c)
	}
	idle := 0
	for _, h := range tr.hosts {
		idle += len(h.idle)
	}
	if idle != tr.idle || idle > maxIdle || idle < maxIdle*3/4 {
		t.Errorf("%d connections wait, %d are counted, at most %d may", idle, tr.idle, maxIdle)
	}
	waits := func(c *conn) bool { h := tr.hosts[c.key]; return h != nil && len(h.idle) == 1 }
	for n, c := range conns {
		if want := n >= len(conns)-idle; waits(c) != want {
			t.Fatalf("connection %d waits: %v", n, !want)
		}
		if err := c.stream.SetDeadline(time.Time{}); (err == nil) != waits(c) { // of one that is closed there is an error
			t.Fatalf("connection %d: %v", n, err)
		}
	}
}
