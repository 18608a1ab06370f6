package main_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// clientHosts are the origins of the matrix of clients, each behind a service.
// What services name is the vault's; the agent has none of it.
var clientHosts = map[string]string{
	"api.test": "bearer, token: CLIENT_KEY", "modern.test": "bearer, token: CLIENT_KEY",
	"api.openai.com": "bearer, token: CLIENT_KEY", "api.github.com": "bearer, token: CLIENT_KEY", "uploads.github.com": "bearer, token: CLIENT_KEY",
	"api.stripe.com": "bearer, token: CLIENT_KEY", "files.stripe.com": "bearer, token: CLIENT_KEY",
	"api.anthropic.com":          "api-key, key: CLIENT_KEY, header: X-Api-Key",
	"s3.us-east-1.amazonaws.com": "aws-sigv4, access_key_id: CLIENT_ID, secret_access_key: CLIENT_KEY",
	"git.test":                   "basic, username: CLIENT_ID, password: CLIENT_KEY", "apt.test": "basic, username: CLIENT_ID, password: CLIENT_KEY",
	"pypi.test": "basic, username: CLIENT_ID, password: CLIENT_KEY", "registry.test": "basic, username: CLIENT_ID, password: CLIENT_KEY",
	"npm.test": "bearer, token: CLIENT_KEY", "goproxy.test": "bearer, token: CLIENT_KEY", "kube.test": "bearer, token: CLIENT_KEY",
	"crates.test": "api-key, key: CLIENT_KEY, header: Authorization",
}

const (
	clientID  = "CLIENTID7B1E3F9A2D5C"
	clientKey = "sk-client-9b27d1f0c35e8a64"
)

// A clientOrigin is what every client's requests come to. It remembers what they
// were, and hands out content that is known nowhere else.
type clientOrigin struct {
	nonce   string // in each plain answer
	content []byte // of each streamed answer, and in each package
	digest  string // SHA-256 of content, in hex
	repos   string // folder of git's repositories

	mu      sync.Mutex
	seen    []clientRequest
	stored  map[string]bool   // SHA-256, in hex, of each body that came, and of what was in it
	objects map[string][]byte // by path: what was pushed, to be had again
	next    chan struct{}     // one for each event but the first
	done    chan struct{}     // one when a page's script has ended
}

type clientRequest struct {
	what    string // method, host and path
	proto   string
	carries bool // the credential
}

func newClientOrigin(repos string) *clientOrigin {
	o := &clientOrigin{nonce: "answer-" + rand.Text(), content: make([]byte, 4<<20), repos: repos, stored: make(map[string]bool), objects: make(map[string][]byte), next: make(chan struct{}, 1), done: make(chan struct{}, 1)}
	rand.Read(o.content)
	o.digest = hexDigest(o.content)
	return o
}

func hexDigest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// forget begins another client's turn.
func (o *clientOrigin) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen, o.stored = nil, make(map[string]bool)
	for _, c := range []chan struct{}{o.next, o.done} {
		select {
		case <-c:
		default:
		}
	}
}

func (o *clientOrigin) requests() []clientRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen
}

func (o *clientOrigin) store(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stored[hexDigest(b)] = true
}

func (o *clientOrigin) has(digest string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stored[digest]
}

// carriesCredential reports whether the vault has put its credential on.
func carriesCredential(h http.Header) bool {
	user, password, _ := (&http.Request{Header: h}).BasicAuth()
	if user == clientID && password == clientKey {
		return true
	}
	auth := h.Get("Authorization")
	return auth == "Bearer "+clientKey || auth == clientKey || h.Get("X-Api-Key") == clientKey || strings.Contains(auth, "Credential="+clientID+"/")
}

func (o *clientOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	o.mu.Lock()
	o.seen = append(o.seen, clientRequest{r.Method + " " + host + r.URL.Path, r.Proto, carriesCredential(r.Header)})
	o.mu.Unlock()
	if !carriesCredential(r.Header) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	body, err := o.read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if host == "git.test" || strings.HasPrefix(r.URL.Path, "/repo.git") {
		o.git(w, r)
		return
	}
	switch host {
	case "api.test", "modern.test", "kube.test":
		o.api(w, r, body)
	case "registry.test":
		o.images(w, r, body)
	case "npm.test", "pypi.test", "crates.test", "goproxy.test", "apt.test":
		o.packages(w, r, host, body)
	case "s3.us-east-1.amazonaws.com":
		o.s3(w, r, body)
	default:
		o.vendors(w, r, host, body)
	}
}

// read reads the body, and stores it and what is in it: the parts of a form, and
// what S3's clients send in chunks of their own.
func (o *clientOrigin) read(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil || len(body) == 0 {
		return body, err
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	o.store(body)
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // most have none
	if kind == "multipart/form-data" {
		for parts := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
			part, err := parts.NextPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			content, err := io.ReadAll(part)
			if err != nil {
				return nil, err
			}
			o.store(content)
		}
	}
	if strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		// Chunks are signed in what looks like an extension of HTTP's.
		if body, err = io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body))); err != nil {
			return nil, err
		}
		o.store(body)
	}
	return body, nil
}

// api is an API of no particular make.
func (o *clientOrigin) api(w http.ResponseWriter, r *http.Request, body []byte) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/api"):
		o.cluster(w, r)
	case r.URL.Path == "/stream":
		o.stream(w)
	case r.URL.Path == "/events":
		o.events(w, func(n string) string { return "data: event " + n + "\n\n" })
	case r.URL.Path == "/websocket":
		websocket.Server{Handler: func(c *websocket.Conn) {
			var text string
			if err := websocket.Message.Receive(c, &text); err == nil {
				_ = websocket.Message.Send(c, o.nonce+" "+text) // or the client says that it got none
			}
			c.Close()
		}}.ServeHTTP(w, r)
	case r.URL.Path == "/page":
		http.ServeFile(w, r, "testdata/clients/page.html")
	case r.URL.Path == "/seen": // the first event, by a client that writes nothing before its end
		signalOnce(o.next)
	case r.URL.Path == "/done":
		signalOnce(o.done)
	case r.URL.Path == "/hold": // what keeps a page from being done before its script
		select {
		case <-o.done:
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
		}
	case r.URL.Path == "/state": // of terraform
		o.state(w, r, body)
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"answer": %q, "login": %[1]q}`, o.nonce)
	}
}

// stream sends the content in pieces, without saying how long it is.
func (o *clientOrigin) stream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/octet-stream")
	for piece := o.content; len(piece) > 0; {
		n := min(len(piece), 300_000)
		if _, err := w.Write(piece[:n]); err != nil {
			return // the client's digest tells
		}
		w.(http.Flusher).Flush()
		piece = piece[n:]
	}
}

// events sends a first event, and the second once somebody has seen the first.
func (o *clientOrigin) events(w http.ResponseWriter, spell func(string) string) {
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, spell("one"))
	w.(http.Flusher).Flush()
	select {
	case <-o.next:
		io.WriteString(w, spell("two"))
	case <-time.After(20 * time.Second): // it is held back on the way
	}
}

// signalOnce leaves a signal, or the one that is there.
func signalOnce(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// state keeps what terraform stores, as its HTTP backend expects.
func (o *clientOrigin) state(w http.ResponseWriter, r *http.Request, body []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Method == http.MethodPost {
		o.objects["state"] = body
		return
	}
	if _, ok := o.objects["state"]; !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Write(o.objects["state"])
}

// cluster is one with a pod, in which a command can be run.
func (o *clientOrigin) cluster(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/exec") {
		websocket.Server{
			Handshake: func(c *websocket.Config, _ *http.Request) error {
				c.Protocol = []string{"v5.channel.k8s.io"}
				return nil
			},
			Handler: func(c *websocket.Conn) {
				c.PayloadType = websocket.BinaryFrame
				io.WriteString(c, "\x01"+o.nonce+" hello\n")     // standard output
				io.WriteString(c, "\x03"+`{"status":"Success"}`) // how it ended
				c.Close()
			},
		}.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, map[string]string{
		"/api":                              `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":                             `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
		"/api/v1":                           `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get"]}]}`,
		"/api/v1/namespaces/default/pods/p": `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"default"},"spec":{"containers":[{"name":"c"}]},"status":{"phase":"Running"}}`,
	}[r.URL.Path])
}
