package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptOrigin starts a TLS origin for hosts, and writes the configuration with
// which a server finds and trusts it into FILE.
func scriptOrigin(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: origin FILE HOST...")
		}
		ca := newAuthority(t, "Origin CA")
		o := startOrigin(t, ca.leaf(t, args[1:]...), true, originHandler())
		hosts := make(map[string]string)
		for _, h := range args[1:] {
			hosts[h] = o.Addr
		}
		ts.Check(os.WriteFile(ts.MkAbs("origin.pem"), ca.pem, 0o600))
		spelled, err := json.Marshal(hosts) // JSON is YAML
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), fmt.Appendf(nil,
			"upstream: {ca_file: %s, hosts: %s}\nnetwork: {allow: [127.0.0.0/8]}\n", ts.MkAbs("origin.pem"), spelled), 0o600))
	}
}

// A scriptStream is a request of an agent that is still being answered.
type scriptStream struct {
	ended chan struct{}
}

type streamKey struct{}

// scriptOpen sends an agent's request to the path entrance, and goes on when
// its first event has come.
func scriptOpen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: openstream TOKEN VAULT HOST/PATH")
	}
	req, err := http.NewRequest("GET", ts.Getenv("AGENT_VAULT_ADDR")+"/proxy/"+args[2], nil)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+args[0])
	req.Header.Set("X-Vault", args[1])
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	ts.Check(err)
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("the stream is answered with %s", resp.Status)
	}
	in := bufio.NewReader(resp.Body)
	line, err := in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "data: ") {
		ts.Fatalf("the stream begins with %q, %v", line, err)
	}
	s := ts.Value(streamKey{}).(*scriptStream)
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		defer resp.Body.Close()
		for {
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
		}
	}()
}

// scriptEnds holds that the stream ends within a second (R14), or with ! that
// it is still open.
func scriptEnds(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(streamKey{}).(*scriptStream)
	if len(args) != 0 || s.ended == nil {
		ts.Fatalf("usage: [!] streamends, after openstream")
	}
	wait := time.Second
	if neg {
		wait = 50 * time.Millisecond
	}
	select {
	case <-s.ended:
		if neg {
			ts.Fatalf("the stream has ended")
		}
	case <-time.After(wait):
		if !neg {
			ts.Fatalf("the stream is open a second later")
		}
	}
}

// scriptHeld goes on once the request of a number waits for a person. Each look is
// a process, which is pause enough.
func scriptHeld(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: held ID")
	}
	for end := time.Now().Add(20 * time.Second); ; {
		err := ts.Exec("agent-vault", "approval", "show", args[0])
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no request %s is held: %v", args[0], err)
		}
	}
}
