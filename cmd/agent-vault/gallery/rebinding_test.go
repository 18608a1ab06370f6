package gallery_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"agentvault/broker"
)

// TestRebinding: names whose addresses change between look-ups, or that have a
// good and a bad one, never lead to a bad one. The dialer is asked itself: a
// server takes the machine's resolver.
func TestRebinding(t *testing.T) {
	trap, err := net.Listen("tcp", "127.0.0.1:0") // what must not be reached
	if err != nil {
		t.Fatal(err)
	}
	defer trap.Close()
	var reached atomic.Int32
	go func() {
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			c.Close()
		}
	}()
	_, port, err := net.SplitHostPort(trap.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	loopback, public := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1") // TEST-NET-1: nobody answers, and it is not public either
	for name, answers := range map[string][][]netip.Addr{
		"always bad":               {{loopback}},
		"good first, bad later":    {{public}, {loopback}},
		"bad beside good":          {{public, loopback}},
		"bad in front of good":     {{loopback, public}},
		"mapped":                   {{netip.MustParseAddr("::ffff:127.0.0.1")}},
		"NAT64 of loopback":        {{netip.MustParseAddr("64:ff9b::7f00:1")}},
		"6to4 of loopback":         {{netip.MustParseAddr("2002:7f00:1::1")}},
		"unspecified":              {{netip.MustParseAddr("0.0.0.0")}, {netip.MustParseAddr("::")}},
		"metadata":                 {{netip.MustParseAddr("169.254.169.254")}},
		"metadata behind a public": {{public, netip.MustParseAddr("169.254.169.254")}},
	} {
		t.Run(name, func(t *testing.T) {
			d := broker.Dialer{Resolver: resolver(t, answers)}
			for range 4 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				c, err := d.DialContext(ctx, "tcp", "rebinding.example.com:"+port)
				cancel()
				var blocked *broker.BlockedError
				if err == nil || !errors.As(err, &blocked) {
					t.Errorf("dial: %v %v, want it blocked", c, err)
				}
			}
		})
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("loopback was reached %d times", n)
	}
}

// resolver asks a name server that gives one answer after the other, and the
// last for good.
func resolver(t *testing.T, answers [][]netip.Addr) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		query := make([]byte, 1500)
		for asked := 0; ; asked++ {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			if reply, err := reply(query[:n], answers[min(asked/2, len(answers)-1)]); err == nil { // A and AAAA are asked for
				_, _ = server.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func reply(query []byte, addrs []netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	for _, q := range m.Questions {
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 0}
		for _, a := range addrs {
			switch {
			case q.Type == dnsmessage.TypeA && a.Is4():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
			case q.Type == dnsmessage.TypeAAAA && a.Is6():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
			}
		}
	}
	return m.Pack()
}
