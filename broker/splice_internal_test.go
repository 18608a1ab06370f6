package broker

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// tcpPair is a connection's two ends.
func tcpPair(t testing.TB) (ours, theirs *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialed.Close(), accepted.Close() })
	return accepted.(*net.TCPConn), dialed.(*net.TCPConn)
}

// A wrapped connection has bytes that were read already.
type wrappedConn struct {
	net.Conn
	early string
}

func (w *wrappedConn) Beneath() (net.Conn, []byte) { return w.Conn, []byte(w.early) }

type spliced struct{ in, out int64 }

// startSplice returns both far ends of a tunnel, of which the CONNECT was
// answered, and its count once it ends.
func startSplice(t *testing.T, ctx context.Context, standstill time.Duration) (agent, upstream *net.TCPConn, ended <-chan spliced) {
	t.Helper()
	ours, agent := tcpPair(t)
	toUpstream, upstream := tcpPair(t)
	done := make(chan spliced, 1)
	go func() {
		in, out := splice(ctx, &wrappedConn{&wrappedConn{ours, "ly "}, "ear"}, &wrappedConn{toUpstream, "late "}, []byte(ConnectEstablished), standstill)
		done <- spliced{in, out}
	}()
	for _, c := range []net.Conn{agent, upstream} {
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadFull(agent, make([]byte, len(ConnectEstablished))); err != nil {
		t.Fatal(err)
	}
	return agent, upstream, done
}

// What was read before comes first, every byte is counted, and each side may end
// before the other.
func TestSpliceCountsAndHalfCloses(t *testing.T) {
	agent, upstream, ended := startSplice(t, t.Context(), time.Minute)
	up := bytes.Repeat([]byte("up"), 1<<20)
	go func() {
		_, _ = agent.Write(up) // what is lost is found below
		_ = agent.CloseWrite()
	}()
	if got, err := io.ReadAll(upstream); err != nil || !bytes.Equal(got, append([]byte("early "), up...)) {
		t.Fatalf("the upstream got %d bytes that begin with %.10q, %v", len(got), got, err)
	}
	down := bytes.Repeat([]byte("down"), 1<<20)
	go func() {
		_, _ = upstream.Write(down)
		_ = upstream.CloseWrite()
	}()
	if got, err := io.ReadAll(agent); err != nil || !bytes.Equal(got, append([]byte("late "), down...)) {
		t.Fatalf("the agent got %d bytes, %v", len(got), err)
	}
	if s := <-ended; s.in != int64(len("early ")+len(up)) || s.out != int64(len("late ")+len(down)) {
		t.Errorf("%d in and %d out", s.in, s.out)
	}
}

// A tunnel lasts as long as something moves on either side, and ends when nothing
// does, also where bytes wait for somebody who does not read.
func TestSpliceEndsWhenNothingMoves(t *testing.T) {
	const standstill = 400 * time.Millisecond
	agent, upstream, ended := startSplice(t, t.Context(), standstill)
	began := time.Now()
	tick := time.NewTicker(standstill / 8)
	defer tick.Stop()
	for time.Since(began) < 2*standstill {
		<-tick.C
		if _, err := agent.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadFull(upstream, make([]byte, len("early ")+1)); err != nil {
		t.Fatal(err)
	}
	<-ended
	if took := time.Since(began); took < 2*standstill {
		t.Errorf("ended after %v", took)
	}

	agent, _, ended = startSplice(t, t.Context(), standstill)
	_, err := io.Copy(agent, &endless{}) // until both buffers are full, and the tunnel ends
	if err == nil {
		t.Error("it never ended")
	}
	<-ended
}

type endless struct{}

func (*endless) Read(p []byte) (int, error) { return len(p), nil }

// A cut ends both sides, whatever waits.
func TestSpliceIsCut(t *testing.T) {
	ctx, cut := context.WithCancel(t.Context())
	agent, upstream, ended := startSplice(t, ctx, time.Minute)
	cut()
	<-ended
	for _, c := range []net.Conn{agent, upstream} {
		_, _ = io.Copy(io.Discard, c) // returns: the connection is closed, in whatever way
	}
}

// Connections that are not the kernel's are copied.
func TestSpliceOfOtherConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, agent := net.Pipe()
		toUpstream, upstream := net.Pipe()
		done := make(chan spliced, 1)
		go func() {
			in, out := splice(t.Context(), ours, toUpstream, []byte(ConnectEstablished), time.Minute)
			done <- spliced{in, out}
		}()
		b := make([]byte, len(ConnectEstablished))
		_, _ = io.ReadFull(agent, b)
		go agent.Write([]byte("hello"))
		_, _ = io.ReadFull(upstream, b[:5])
		began := time.Now()
		if s := <-done; string(b[:5]) != "hello" || s.in != 5 || time.Since(began) != time.Minute {
			t.Errorf("%q, %+v after %v", b[:5], s, time.Since(began))
		}
	})
}
