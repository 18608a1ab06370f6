package broker

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// An opaque connection is one that the kernel does not know.
type opaqueConn struct{ net.Conn }

// BenchmarkSplice carries 1 MiB at a time from an upstream to an agent, moved by
// the kernel, and copied. The processor time is that of the tunnel and of both
// its ends.
func BenchmarkSplice(b *testing.B) {
	for _, r := range []struct {
		name string
		wrap func(net.Conn) net.Conn
	}{
		{"moved", func(c net.Conn) net.Conn { return c }},
		{"copied", func(c net.Conn) net.Conn { return opaqueConn{c} }},
	} {
		b.Run(r.name, func(b *testing.B) {
			const size = 1 << 20
			ours, agent := tcpPair(b)
			toUpstream, upstream := tcpPair(b)
			ctx, cut := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() {
				splice(ctx, r.wrap(ours), r.wrap(toUpstream), []byte(ConnectEstablished), time.Minute)
				close(done)
			}()
			_, _ = io.ReadFull(agent, make([]byte, len(ConnectEstablished))) // fails below, if it does
			go func() {
				_, _ = io.CopyBuffer(struct{ io.Writer }{upstream}, &endless{}, make([]byte, 256<<10)) // until it is cut
			}()
			b.SetBytes(size)
			before := processorTime(b)
			buf := make([]byte, size)
			for b.Loop() {
				if _, err := io.ReadFull(agent, buf); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((processorTime(b)-before).Milliseconds())/float64(b.N)*1024, "cpu-ms/GiB")
			cut()
			<-done
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
