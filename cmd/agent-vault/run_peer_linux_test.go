package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// TestPeer: rows of the kernel's table, as proc_net(5) has them, on a machine of
// little-endian words or not.
func TestPeer(t *testing.T) {
	theirs, ours := netip.MustParseAddrPort("127.0.0.1:56104"), netip.MustParseAddrPort("127.0.0.1:42271")
	if word := rowWord([]byte{127, 0, 0, 1}); word != "0100007F" && word != "7F000001" {
		t.Errorf("127.0.0.1 is %s", word)
	}
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	row := func(local, remote, state, uid, inode string) string {
		return "   0: " + local + " " + remote + " " + state + " 00000000:00000000 00:00000000 00000000  " + uid + "        0 " + inode + " 2 000000009b2a109b 100 0 0 10 0\n"
	}
	a, b := socketRow(theirs), socketRow(ours)
	for _, tt := range []struct {
		name, table string
		uid         int
		ok          bool
	}{
		{"theirs, behind ours", head + row(b, a, "01", "0", "7") + row(a, b, "01", "1000", "8"), 1000, true},
		{"closed for writing", head + row(a, b, "05", "1000", "8"), 1000, true},
		{"ours alone", head + row(b, a, "01", "1000", "7"), 0, false},
		{"left by its process", head + row(a, b, "05", "0", "0"), 0, false},
		{"waiting for late packets", head + row(a, b, "06", "0", "0"), 0, false},
		{"another that connects from there", head + row(a, b, "02", "1000", "9"), 0, false},
		{"a cut row", head + "   0: " + a + " " + b + " 01", 0, false},
		{"not a number", head + row(a, b, "01", "me", "8"), 0, false},
		{"empty", "", 0, false},
	} {
		path := filepath.Join(t.TempDir(), "tcp")
		if err := os.WriteFile(path, []byte(tt.table), 0o600); err != nil {
			t.Fatal(err)
		}
		if uid, err := ownerOfSocket(path, a, b); uid != tt.uid || (err == nil) != tt.ok {
			t.Errorf("%s: %d, %v", tt.name, uid, err)
		}
	}
	if _, err := ownerOfSocket(filepath.Join(t.TempDir(), "none"), a, b); err == nil {
		t.Error("a table that is not there")
	}

	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := sameUser(c); err != nil {
		t.Error(err)
	}
	if err := dialed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sameUser(c); err == nil {
		t.Error("one that was closed is let in")
	}
}
