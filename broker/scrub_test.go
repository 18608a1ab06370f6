package broker_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/vault"
	"agentvault/vault/seal"
)

const otherCredential = "other-credential-5d41402abc4b2a76"

// withCredential puts one more credential into the kit's vault, which no service
// names.
func (k *kit) withCredential(t testing.TB, key, value string) {
	t.Helper()
	box, err := k.key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: key, Field: vault.FieldValue, Version: 1}, seal.NewPlaintext([]byte(value)))
	if err != nil {
		t.Fatal(err)
	}
	k.snapshot.Vaults[0].Credentials[key] = vault.Credential{Key: key, Version: 1, Box: box}
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.String()
}

// attempt is get, for answers that may be broken off.
func (k *kit) attempt(t testing.TB, host, path string) (w *httptest.ResponseRecorder, broken bool) {
	t.Helper()
	w = httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			broken = true
		}
	}()
	k.Serve(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil), k.request(t, host, path))
	return w, false
}

// A credential that was created is not read back: answers are scanned for every
// credential of the vault, whether it was injected or not.
func TestEveryCredentialOfTheVault(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", otherCredential)
		w.Header().Set("X-"+otherCredential, "name")
		w.Header().Set("Trailer", "X-Late")
		fmt.Fprintf(w, "%s %s %s %s", credential, otherCredential, hex.EncodeToString([]byte(otherCredential)), base64.StdEncoding.EncodeToString([]byte(otherCredential)))
		w.Header().Set("X-Late", otherCredential)
	}), nil)
	k.withCredential(t, "OTHER", otherCredential)
	w := k.get(t, "example.com", "/")
	all := fmt.Sprint(w.Result().Header, w.Result().Trailer, w.Body)
	for _, leak := range []string{credential, otherCredential, hex.EncodeToString([]byte(otherCredential)), "b3RoZXItY3JlZGVudGlhbC"} {
		if strings.Contains(strings.ToLower(all), strings.ToLower(leak)) {
			t.Errorf("%s came back:\n%s", leak, all)
		}
	}
	if want := stars() + " " + strings.Repeat("*", len(otherCredential)); !strings.HasPrefix(w.Body.String(), want) {
		t.Errorf("%q, want it to begin with %q", w.Body, want)
	}
}

// A new value is known at once, and one that was replaced as long as it is kept.
func TestChangedValue(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, otherCredential) }), nil)
	if w := k.get(t, "example.com", "/"); w.Body.String() != otherCredential {
		t.Fatalf("%q was masked before it was a credential", w.Body)
	}
	k.withCredential(t, "OTHER", otherCredential)
	if w := k.get(t, "example.com", "/"); strings.Contains(w.Body.String(), "other") {
		t.Errorf("%q", w.Body)
	}
	was := k.snapshot.Vaults[0].Credentials["OTHER"]
	k.snapshot.Earlier = map[string][]vault.CredentialVersion{"v1": {{Key: "OTHER", Version: was.Version, Box: was.Box}}}
	delete(k.snapshot.Vaults[0].Credentials, "OTHER")
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := k.get(t, "example.com", "/"); strings.Contains(w.Body.String(), "other") {
		t.Errorf("a value that was replaced and is kept: %q", w.Body)
	}
}

// A body in a content coding goes on without it, masked, and its header says so.
func TestCodedBody(t *testing.T) {
	text := "before " + credential + " after"
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Encoding", "gzip")
		h.Set("Etag", `"v1"`)
		h.Set("Content-Digest", "sha-256=:x:")
		h.Set("Content-Length", fmt.Sprint(len(gzipped(text))))
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, gzipped(text))
		}
	}), nil)
	w := k.get(t, "example.com", "/")
	h := w.Result().Header
	if want := "before " + stars() + " after"; w.Body.String() != want {
		t.Errorf("%q, want %q", w.Body, want)
	}
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Digest"} {
		if v, ok := h[name]; ok {
			t.Errorf("%s is still %q", name, v)
		}
	}
	if h.Get("Etag") != `"v1"` { // good for If-Match
		t.Errorf("Etag %q", h.Get("Etag"))
	}

	head := httptest.NewRecorder()
	k.Serve(head, httptest.NewRequestWithContext(t.Context(), "HEAD", "/", nil), k.request(t, "example.com", "/"))
	if h := head.Result().Header; h.Get("Content-Encoding") != "gzip" || h.Get("Content-Length") == "" {
		t.Errorf("an answer without a body lost what it says of one: %v", h)
	}
}

// What cannot be looked into is refused, or broken off, and none of it passes.
func TestUndecodable(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch r.URL.Path {
		case "/part":
			h.Set("Content-Encoding", "gzip")
			h.Set("Content-Range", "bytes 5-100/200")
			w.WriteHeader(http.StatusPartialContent)
		case "/grpc":
			h.Set("Content-Type", "application/grpc")
			h.Set("Grpc-Encoding", "gzip")
		default:
			h.Set("Content-Encoding", strings.TrimPrefix(r.URL.Path, "/"))
		}
		_, _ = io.WriteString(w, "key "+credential)
	}), nil)
	for path, refused := range map[string]bool{"/x-none": true, "/compress": true, "/part": true, "/grpc": false, "/gzip": false, "/br": false, "/zstd": false, "/deflate": false} {
		w, broken := k.attempt(t, "example.com", path)
		if strings.Contains(w.Body.String(), credential) {
			t.Errorf("%s: %s", path, w.Body)
		}
		if refused && (w.Code != 502 || code(t, w) != broker.CodeUndecodable) || !refused && !broken {
			t.Errorf("%s: %d %s, broken %t", path, w.Code, w.Body, broken)
		}
	}
	for _, name := range []string{"identity", "utf-8", "none", "aws-chunked"} {
		if w := k.get(t, "example.com", "/"+name); w.Code != 200 || w.Body.String() != "key "+stars() {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	// Nor does it where nothing is injected: another service's credential may be
	// in it.
	k.snapshot.Vaults[0].Services[0].Auth = auth(t, `{"type":"passthrough"}`)
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/x-none", "/part"} {
		if w := k.get(t, "example.com", path); code(t, w) != broker.CodeUndecodable {
			t.Errorf("%s, passed through: %d %s", path, w.Code, w.Body)
		}
	}
}

// Basic auth: the pair's base64, which is what the upstream sees.
func TestPairOfBasic(t *testing.T) {
	k := newKit(t, echo, nil)
	k.withCredential(t, "USER", "some-user")
	k.snapshot.Vaults[0].Services[0].Auth = auth(t, `{"type":"basic","username":"USER","password":"API_KEY"}`)
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	pair := base64.StdEncoding.EncodeToString([]byte("some-user:" + credential))
	w := k.get(t, "example.com", "/")
	if !strings.Contains(w.Body.String(), "Basic "+strings.Repeat("*", len(pair))) {
		t.Errorf("%s", w.Body)
	}
}

// A person may turn the search off for a service, and let pass what cannot be
// searched.
func TestSwitches(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if coding := strings.TrimPrefix(r.URL.Path, "/"); coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		w.Header().Set("X-Echo", credential)
		_, _ = io.WriteString(w, "key "+credential)
	}), nil)
	for _, row := range []struct {
		scrub, undecodable, path string
		code                     int
		header, body             string
	}{
		{"", "", "/", 200, stars(), "key " + stars()},
		{"", "", "/x-none", 502, "", ""},
		{"", vault.UndecodablePass, "/x-none", 200, stars(), "key " + stars()},
		{"", vault.UndecodablePass, "/", 200, stars(), "key " + stars()},
		{vault.ScrubOff, "", "/", 200, credential, "key " + credential},
		{vault.ScrubOff, "", "/x-none", 200, credential, "key " + credential},
	} {
		s := &k.snapshot.Vaults[0].Services[0]
		s.Scrub, s.Undecodable = row.scrub, row.undecodable
		k.source.set(k.snapshot, nil)
		if err := k.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := k.get(t, "example.com", row.path)
		if w.Code != row.code || row.code == 200 && (w.Header().Get("X-Echo") != row.header || w.Body.String() != row.body) {
			t.Errorf("%+v: %d %v %s", row, w.Code, w.Header(), w.Body)
		}
	}
}

// A stream that is open when a value is stored masks it too, and one that was
// not searched, since there was nothing to look for, ends.
func TestValuesThatComeLater(t *testing.T) {
	for _, blank := range []bool{false, true} {
		say := make(chan string)
		k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			for text := range say {
				_, _ = io.WriteString(w, text+"\n")
				_ = rc.Flush()
			}
		}), nil)
		if blank {
			clear(k.snapshot.Vaults[0].Credentials)
			k.snapshot.Vaults[0].Services[0].Auth = auth(t, `{"type":"passthrough"}`)
			k.source.set(k.snapshot, nil)
			if err := k.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		go func() { say <- "first" }()
		resp, err := http.Get("http://" + k.listen(t, k.request(t, "example.com", "/")))
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(resp.Body)
		if line, err := lines.ReadString('\n'); line != "first\n" {
			t.Fatalf("%q %v", line, err)
		}
		k.withCredential(t, "LATER", otherCredential)
		go func() {
			say <- "key " + otherCredential
			close(say)
		}()
		rest, err := io.ReadAll(lines)
		if want := "key " + strings.Repeat("*", len(otherCredential)) + "\n"; !blank && (err != nil || string(rest) != want) {
			t.Errorf("%q %v, want %q", rest, err, want)
		}
		if blank && (err == nil || len(rest) > 0) {
			t.Errorf("%q %v, want a torn answer", rest, err)
		}
		_ = resp.Body.Close() // read to its end
	}
}

// A credential that is a number does not come back as a length.
func TestLengthThatIsACredential(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "4839201765") }), nil)
	k.withCredential(t, "NUMBER", "4839201765")
	w := httptest.NewRecorder()
	k.Serve(w, httptest.NewRequestWithContext(t.Context(), "HEAD", "/", nil), k.request(t, "example.com", "/"))
	if got, ok := w.Header()["Content-Length"]; ok {
		t.Errorf("%q", got)
	}
}
