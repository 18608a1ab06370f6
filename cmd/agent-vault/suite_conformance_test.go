package main_test

import (
	"bytes"
	"context"
	wire "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// conformanceFeatures are all that the suite knows and a tunnel with TLS can
// carry: no HTTP/3, no clear text and no certificates of clients.
const conformanceFeatures = `
features:
  versions: [HTTP_VERSION_1, HTTP_VERSION_2]
  protocols: [PROTOCOL_CONNECT, PROTOCOL_GRPC, PROTOCOL_GRPC_WEB]
  codecs: [CODEC_PROTO, CODEC_JSON]
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP, COMPRESSION_BR, COMPRESSION_ZSTD, COMPRESSION_DEFLATE, COMPRESSION_SNAPPY]
  supports_h2c: false
  supports_half_duplex_bidi_over_http1: true
exclude_cases:
  - use_tls: false
`

// TestConformance: the Connect project's reference client and server understand
// each other through the vault, with a credential that is looked for in every
// answer. It is not injected: the server answers with all that it was sent, and
// what is masked there would not be what the client expects.
func TestConformance(t *testing.T) {
	for name, service := range map[string]string{
		"what cannot be decoded is refused": "auth: {type: passthrough}",
		"what cannot be decoded passes":     "auth: {type: passthrough}, undecodable: pass",
	} {
		t.Run(name, func(t *testing.T) {
			runConformance(t, newSuiteWorld(t, service), 5258)
		})
	}
}

var conformanceTotal = regexp.MustCompile(`(?m)^Total cases: (\d+)\n(\d+) passed, (\d+) failed`)

// runConformance expects so many cases at least, all of which pass.
func runConformance(t *testing.T, w *suiteWorld, fewest int) {
	t.Helper()
	config := w.path("conformance.yaml")
	if err := os.WriteFile(config, []byte(conformanceFeatures), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	task, err := json.Marshal(conformanceTask{suiteProgram(t, "referenceserver"), w.certFile, w.keyFile, w.caFile, w.proxyURL(), w.ports})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, suiteProgram(t, "connectconformance"), "--mode", "server", "--conf", config, "--", self)
	cmd.Env = w.env(conformanceVariable + "=" + string(task))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with the servers under test
	out, err := cmd.CombinedOutput()
	total := conformanceTotal.FindSubmatch(out)
	if err != nil || total == nil {
		t.Fatalf("%v\n%.3000s\n%s\nserver: %s", err, out, out[max(0, len(out)-100):], w.stderr)
	}
	t.Logf("%s", total[0])
	if n, _ := strconv.Atoi(string(total[1])); n < fewest {
		t.Errorf("%d cases, want %d at least", n, fewest)
	}
}

// conformanceVariable makes this binary a server under test: it holds a
// conformanceTask.
const conformanceVariable = "AGENT_VAULT_TEST_CONFORMANCE"

// A conformanceTask says how a server under test is reached through the vault.
type conformanceTask struct {
	Server, CertFile, KeyFile, CAFile, ProxyURL string
	Ports                                       []int
}

// serveConformance is what the suite takes for a server: the reference server,
// which it is led to through a relay. It returns the exit status.
func serveConformance() int {
	var task conformanceTask
	err := json.Unmarshal([]byte(os.Getenv(conformanceVariable)), &task)
	if err == nil {
		err = task.serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "server under test:", err)
		return 1
	}
	return 0
}

func (task *conformanceTask) serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ca, err := os.ReadFile(task.CAFile)
	if err != nil {
		return err
	}
	ln, port, err := task.claim()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, task.Server, "-bind", "127.0.0.2", "-port", strconv.Itoa(port), "-cert", task.CertFile, "-key", task.KeyFile)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr // what the suite asks for
	ready, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	var relaying sync.WaitGroup
	relaying.Go(func() { relay(ln, task.ProxyURL) })
	if _, err = io.CopyN(io.Discard, ready, 4); err == nil { // it listens, and begins to say where
		_, err = os.Stdout.Write(conformanceAnswer(port, ca))
	}
	_, _ = io.Copy(io.Discard, ready) // until it ends
	ended := cmd.Wait()
	err = errors.Join(err, ln.Close())
	relaying.Wait()
	if ctx.Err() == nil {
		err = errors.Join(err, ended)
	}
	return err
}

// claim takes a port that no other server under test has.
func (task *conformanceTask) claim() (net.Listener, int, error) {
	for _, port := range task.Ports {
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return ln, port, nil
		}
	}
	return nil, 0, errors.New("no port is left")
}

// conformanceAnswer is a ServerCompatResponse with its length in front: host,
// port and roots.
func conformanceAnswer(port int, ca []byte) []byte {
	const host = "localhost"
	var b bytes.Buffer
	b.Write(wire.AppendUvarint([]byte{1<<3 | 2}, uint64(len(host))))
	b.WriteString(host)
	b.Write(wire.AppendUvarint([]byte{2 << 3}, uint64(port)))
	b.Write(wire.AppendUvarint([]byte{3<<3 | 2}, uint64(len(ca))))
	b.Write(ca)
	return append(wire.BigEndian.AppendUint32(nil, uint32(b.Len())), b.Bytes()...)
}
