package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A world is an instance with an owner and a vault of services, all of whose
// hosts are one origin on loopback, but for those that are meant to fail.
type world struct {
	*instance
	origin *origin // HTTP/1.1, records bytes
	modern *origin // HTTP/2
	token  string
}

// The credentials of the world. None of them may ever be seen by an agent.
var worldCredentials = map[string]string{
	"API_KEY":  "sk-live-3f9a77c1e2d4b6a8",
	"USERNAME": "robot-account",
	"PASSWORD": "p4ss:w0rd/with+odd=bytes",
}

const worldDeclaration = `
vaults:
  - name: default
    services:
      - {name: api, host: api.test, auth: {type: bearer, token: API_KEY}}
      - {name: basic, host: basic.test, auth: {type: basic, username: USERNAME, password: PASSWORD}}
      - {name: key, host: key.test, auth: {type: api-key, key: API_KEY, header: X-Api-Key}}
      - {name: prefix, host: prefix.test, auth: {type: api-key, key: API_KEY, header: Authorization, prefix: "Token "}}
      - {name: query, host: query.test, auth: {type: query, key: API_KEY, parameter: api_key}}
      - {name: custom, host: custom.test, auth: {type: custom, headers: {X-Api-Key: "{{ API_KEY }}", X-User: "u={{ USERNAME }}"}}}
      - {name: open, host: open.test, auth: {type: passthrough}}
      - {name: wild, host: "*.wild.test", auth: {type: bearer, token: API_KEY}}
      - {name: port, host: "port.test:8443", auth: {type: bearer, token: API_KEY}}
      - {name: modern, host: modern.test, auth: {type: bearer, token: API_KEY}}
      - {name: off, host: off.test, enabled: false, auth: {type: bearer, token: API_KEY}}
      - name: rules
        host: rules.test
        auth: {type: bearer, token: API_KEY}
        rules:
          - {methods: [DELETE], paths: ["/v1/keep/*"], action: deny}
          - {methods: [GET, HEAD, DELETE], paths: ["/v1/*"]}
          - {methods: [POST], paths: ["/v1/charges"]}
      - {name: novalue, host: novalue.test, auth: {type: bearer, token: NOT_SET}}
      - {name: down, host: down.test, auth: {type: bearer, token: API_KEY}}
      - {name: badcert, host: badcert.test, auth: {type: bearer, token: API_KEY}}
      - {name: wrongname, host: wrongname.test, auth: {type: bearer, token: API_KEY}}
      - {name: private, host: private.test, auth: {type: bearer, token: API_KEY}}
      - {name: metadata, host: metadata.test, auth: {type: bearer, token: API_KEY}}
      - {name: plain, host: "plain.test:8080", scheme: http, auth: {type: bearer, token: API_KEY}}
    credentials:
      API_KEY: {from: "file:API_KEY"}
      USERNAME: {from: "file:USERNAME"}
      PASSWORD: {from: "file:PASSWORD"}
  - name: second
    services:
      - {name: other, host: other.test, auth: {type: passthrough}}
`

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, "")
}

func newWorldWith(t testing.TB, extra string) *world {
	t.Helper()
	ca, stranger := newAuthority(t, "Origin CA"), newAuthority(t, "Stranger CA")
	w := &world{}
	names := []string{"api.test", "basic.test", "key.test", "prefix.test", "query.test", "custom.test", "open.test",
		"a.wild.test", "port.test", "off.test", "rules.test", "novalue.test", "other.test", "private.test", "metadata.test"}
	w.origin = startOrigin(t, ca.leaf(t, names...), false, originHandler())
	w.modern = startOrigin(t, ca.leaf(t, "modern.test"), true, originHandler())
	badcert := startOrigin(t, stranger.leaf(t, "badcert.test"), false, originHandler())
	plain := startPlainOrigin(t)

	hosts := map[string]string{
		"modern.test": w.modern.Addr, "badcert.test": badcert.Addr, "wrongname.test": w.origin.Addr,
		"down.test": closedPort(t), "private.test": "10.1.2.3", "metadata.test": "169.254.169.254", "plain.test": plain,
	}
	for _, n := range names {
		if hosts[n] == "" {
			hosts[n] = w.origin.Addr
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/origin.pem", ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	spelled, err := json.Marshal(hosts) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	w.instance = newInstance(t, fmt.Sprintf("upstream: {ca_file: %s/origin.pem, hosts: %s}\nnetwork: {allow: [127.0.0.0/8, 169.254.0.0/16]}\n%s", dir, spelled, extra))
	w.register()
	w.apply(worldDeclaration, worldCredentials)
	w.token = w.instance.token()
	return w
}

func closedPort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func startPlainOrigin(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: originHandler()}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

// originHandler is an API that says what it was sent, and misbehaves on
// request.
func originHandler() http.Handler {
	var release sync.Map // id -> chan: /events waits on it
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/redirect":
			w.Header().Set("Location", "https://elsewhere.test/steal")
			w.WriteHeader(http.StatusFound)
		case r.URL.Path == "/midbody":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, strings.Repeat("x", 100))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/events": // one at once, and one for each /events/next
			gate, _ := release.LoadOrStore(r.URL.Query().Get("id"), make(chan struct{}, 64))
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano())
				w.(http.Flusher).Flush()
				select {
				case <-gate.(chan struct{}):
				case <-r.Context().Done():
					return
				}
			}
		case r.URL.Path == "/events/next":
			if gate, ok := release.Load(r.URL.Query().Get("id")); ok {
				gate.(chan struct{}) <- struct{}{}
			}
		case r.URL.Path == "/download":
			n, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
			if err != nil {
				http.Error(w, "bytes", http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
			io.CopyN(w, zeros{}, n)
		case r.URL.Path == "/upload":
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d %d %v", n, r.ContentLength, err)
		case r.URL.Path == "/hints":
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			io.WriteString(w, "after hints")
		case r.URL.Path == "/trailers":
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "announced")
			w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
		case r.URL.Path == "/websocket": // sends one text of five bytes, masked by zeros, back
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer c.Close()
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			frame := make([]byte, 2+4+5) // RFC 6455 §5.2
			io.ReadFull(rw, frame)
			io.WriteString(c, "\x81\x05"+string(frame[6:]))
			io.Copy(io.Discard, rw)
		case r.URL.Path == "/headers":
			w.Header().Set("Alt-Svc", `h3=":443"`)
			w.Header().Set("X-Agent-Vault-Proxy-Error", "true")
			w.Header().Set("X-Echo", r.Header.Get("Authorization"))
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "<html>")
		default:
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{
				"method": r.Method, "uri": r.RequestURI, "host": r.Host, "header": r.Header,
				"body": string(body), "length": r.ContentLength, "trailer": r.Trailer, "proto": r.Proto,
			})
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
