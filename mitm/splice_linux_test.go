package mitm_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// bytesRead is how many bytes this process has taken from its connections and
// files; those that the kernel moves from one to another do not count.
func bytesRead(t *testing.T) (n int64) {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("needs /proc/self/io: %v", err)
	}
	if _, err := fmt.Sscanf(string(raw), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// The kernel moves the bytes of a blind tunnel: what its ends read, in this very
// process, is all that is read.
func TestBlindTunnelsAreSpliced(t *testing.T) {
	const size = 32 << 20
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if r.Method == "GET" {
			n = size
		}
		_, _ = io.Copy(w, io.LimitReader(&counter{}, n*int64(len(r.URL.Path)-1)))
	})})
	blind := k.connect(t, k.loose, "unmatched.example.com:443")
	secure := tls.Client(blind.Conn, &tls.Config{RootCAs: k.origin, ServerName: "unmatched.example.com"})
	client := http.Client{Transport: overConn(secure)}
	for _, way := range []string{"down", "up"} {
		before := bytesRead(t)
		var n int64
		if way == "down" {
			resp, err := client.Get("http://unmatched.example.com/x")
			must(t, err)
			n, err = io.Copy(io.Discard, resp.Body)
			must(t, err)
		} else {
			resp, err := client.Post("http://unmatched.example.com/", "", io.LimitReader(&counter{}, size))
			must(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			must(t, err)
			n = size
		}
		read := bytesRead(t) - before
		t.Logf("%s: %d bytes, %d read", way, n, read)
		if n != size || read > size*5/4 {
			t.Errorf("%s: of %d bytes %d were read: by the tunnel too", way, n, read)
		}
	}
	must(t, secure.Close())
	if r := k.outcome(t, 1); !strings.HasPrefix(r.Target, "tunnel://") || r.BytesIn < size || r.BytesOut < size {
		t.Errorf("%+v", r)
	}
}
