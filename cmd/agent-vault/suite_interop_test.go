package main_test

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// interopCases are those that need no account of a cloud.
var interopCases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server",
	"cancel_after_begin", "cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata",
	"unimplemented_method", "unimplemented_service", "pick_first_unary",
}

// TestInterop: gRPC's own client and server understand each other through the
// vault in every case in which they do without it.
func TestInterop(t *testing.T) {
	client, server := suiteProgram(t, "client"), suiteProgram(t, "server")
	w := newSuiteWorld(t, injected)
	startUpstream(t, upstreamAt(w.ports[0]), server,
		"-use_tls", "-tls_cert_file", w.certFile, "-tls_key_file", w.keyFile, "-port", strconv.Itoa(w.ports[0]))
	try := func(test, host string, port int, caFile string) error {
		ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
		defer stop()
		cmd := exec.CommandContext(ctx, client, "-use_tls", "-use_test_ca", "-ca_file", caFile, "-server_host", host, "-server_port", strconv.Itoa(port), "-test_case", test)
		cmd.Env = w.env("HTTPS_PROXY=" + w.proxyURL())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	direct, through := 0, 0
	for _, test := range interopCases {
		without := try(test, "localhost", w.ports[0], w.originCAFile) // no proxy is asked for it
		with := try(test, suiteHost, 443, w.caFile)
		if without == nil {
			direct++
		} else {
			t.Logf("%s fails without the vault too: %v", test, without)
		}
		if with == nil {
			through++
		} else if without == nil {
			t.Errorf("%s: %v", test, with)
		}
	}
	t.Logf("of %d cases %d pass directly, and %d through the vault", len(interopCases), direct, through)
	if direct < len(interopCases)-1 {
		t.Errorf("only %d cases pass directly: they say nothing about the vault", direct)
	}
}
