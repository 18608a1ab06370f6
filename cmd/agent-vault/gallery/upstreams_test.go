package gallery_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// A software is a web server that others wrote, and how it is started with a
// configuration of testdata/upstreams. It writes method and path of each request
// that it reads into a log.
type software struct {
	name    string
	program string
	args    []string // in front of the configuration
	stdout  bool     // is its log
	behind  *software
}

var nginx = software{name: "nginx", program: "nginx", args: []string{"-c"}}

var softwares = []software{
	nginx,
	{name: "haproxy", program: "haproxy", args: []string{"-f"}, stdout: true, behind: &nginx},
	{name: "apache2", program: "apache2", args: []string{"-X", "-f"}},
	{name: "lighttpd", program: "lighttpd", args: []string{"-D", "-f"}},
	{name: "node", program: "node"},
}

// An upstream is such a server, running.
type upstream struct {
	Dir, Log, Cert    string
	TLS, HTTP2, Plain string // addresses: HTTP/1.1 over TLS, HTTP/2, HTTP/1.1 in clear text
	Behind            string // where the server behind it is, in clear text

	cmd   *exec.Cmd
	ended chan struct{}
	next  *upstream // behind it
}

// startUpstream runs a server with a certificate until the test ends.
func startUpstream(t *testing.T, s software, cert tls.Certificate) *upstream {
	t.Helper()
	u := &upstream{Dir: t.TempDir(), TLS: freeAddress(t), HTTP2: freeAddress(t), Plain: freeAddress(t), ended: make(chan struct{})}
	if s.behind != nil {
		u.next = startUpstream(t, *s.behind, cert)
		u.Behind = u.next.Plain
	}
	u.Log, u.Cert = filepath.Join(u.Dir, "access.log"), filepath.Join(u.Dir, "cert.pem")
	config := filepath.Join(u.Dir, s.name+".conf")
	conf, err := template.New(s.name + ".conf").Funcs(template.FuncMap{"port": portOf}).ParseFiles("testdata/upstreams/" + s.name + ".conf")
	var text bytes.Buffer
	if err == nil {
		err = conf.Execute(&text, u)
	}
	if err == nil {
		err = os.WriteFile(config, text.Bytes(), 0o600)
	}
	if err == nil {
		err = os.WriteFile(u.Cert, pemOf(t, cert), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	u.cmd = exec.Command(s.program, append(s.args, config)...)
	out := new(output)
	u.cmd.Stdout, u.cmd.Stderr = out, out
	if s.stdout {
		log, err := os.Create(u.Log)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close() // the server has its own
		u.cmd.Stdout = log
	}
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { u.cmd.Wait(); close(u.ended) }()
	t.Cleanup(u.stop)
	for _, address := range []string{u.TLS, u.HTTP2, u.Plain} {
		for {
			if conn, err := net.DialTimeout("tcp", address, hang); err == nil {
				conn.Close()
				break
			}
			select {
			case <-u.ended:
				t.Fatalf("%s ended:\n%s", s.name, out.Bytes())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return u
}

// stop ends the server, and so completes its log; it may be called again.
func (u *upstream) stop() {
	_ = u.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-u.ended:
	case <-time.After(hang):
		_ = u.cmd.Process.Kill()
		<-u.ended
	}
	if u.next != nil {
		u.next.stop()
	}
}

// requests are method and path of all that the server has read. Some note
// handshakes that came to nothing (ours, as they start, and those of a request
// that was cut; haproxy writes address and [time] then), or prefaces of HTTP/2.
func (u *upstream) requests(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(u.Log)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0]+words[1] != "PRI*" && words[1][0] != '[' {
			all = append(all, words[0]+" "+words[1])
		}
	}
	return all
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func portOf(address string) string {
	_, port, _ := strings.Cut(address, ":")
	return port
}

func pemOf(t *testing.T, cert tls.Certificate) []byte {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
}
