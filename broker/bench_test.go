package broker_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"agentvault/vault"
)

// BenchmarkView builds a View of one vault with 1,000 services and 1,000
// sessions, as each change of the store makes a node do.
func BenchmarkView(b *testing.B) {
	k := newKit(b, echo, nil)
	snap := k.snapshot
	v := snap.Vaults[0]
	for i := range 1000 {
		v.Services = append(v.Services, vault.Service{Name: fmt.Sprintf("service-%d", i), Host: fmt.Sprintf("host-%d.example.org", i), Enabled: true, Auth: v.Services[0].Auth})
		snap.Sessions = append(snap.Sessions, vault.Session{ID: fmt.Sprint(i), Digest: [32]byte{byte(i), byte(i >> 8), 1}, VaultID: v.ID, ExpiresAt: k.clock.Now().Add(time.Hour)})
	}
	snap.Vaults = []vault.Vault{v}
	b.ReportAllocs()
	for b.Loop() {
		k.source.set(snap, nil)
		if err := k.Refresh(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExchange is one GET over keep-alive connections: policy, audit,
// injection and scrubbing included, and the client and upstream of the test.
func BenchmarkExchange(b *testing.B) {
	k := newKit(b, echo, nil)
	url := "http://" + k.listen(b, k.request(b, "example.com", "/")) + "/path"
	client := &http.Client{Transport: &http.Transport{}}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := client.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// BenchmarkEvent is the delay of one event of a stream, from the upstream's
// flush to the agent's read, scrubbing included.
func BenchmarkEvent(b *testing.B) {
	events := make(chan struct{})
	k := newKit(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		_ = rc.Flush() // the benchmark ends when this fails
		for range events {
			_, _ = io.WriteString(w, "data: {\"delta\":\"word\"}\n\n")
			_ = rc.Flush()
		}
	}), nil)
	defer close(events)
	for i := range 63 {
		k.withCredential(b, fmt.Sprintf("KEY_%d", i), fmt.Sprintf("sk_live_%036d", i*7919))
	}
	resp, err := http.Get("http://" + k.listen(b, k.request(b, "example.com", "/")) + "/path")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for b.Loop() {
		events <- struct{}{}
		for range 2 { // the event's line and the empty one
			if _, err := lines.ReadString('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
}
