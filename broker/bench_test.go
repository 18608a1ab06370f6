package broker_test

import (
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
