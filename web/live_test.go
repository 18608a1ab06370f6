package web_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"agentvault/vault"
	"agentvault/web"
)

// An eventStream is what a browser that follows the log reads.
type eventStream struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Scanner
}

// follow opens the stream that the log page names.
func (b *browser) follow(t *testing.T, server *httptest.Server, query string) (*http.Response, *eventStream) {
	t.Helper()
	at := ""
	for _, n := range b.get("/vaults/default/traffic" + query).status(200).nodes() {
		if attr(n, "id") == "pause" {
			at = attr(n, "value")
		}
	}
	r := b.request("GET", at, "")
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", server.Listener.Addr().String()
	resp, err := server.Client().Do(r.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp, &eventStream{t, resp.Body, bufio.NewScanner(resp.Body)}
}

// next is an event's kind and data; "" at the end.
func (s *eventStream) next() (kind, data string) {
	s.t.Helper()
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch {
		case name == "event":
			kind = value
		case name == "data":
			data += value + "\n"
		case s.lines.Text() == "" && kind != "":
			return kind, data
		}
	}
	return "", data
}

func (f *fixture) serve(t *testing.T) *httptest.Server {
	server := httptest.NewServer(f.pages)
	t.Cleanup(server.Close)
	return server
}

// A request appears on an open stream as it begins and ends, escaped, and the
// stream ends with the sign-in.
func TestLive(t *testing.T) {
	f := newOwned(t)
	f.recorded(answered("before", "/before", 200))
	b := f.signedIn()
	resp, s := b.follow(t, f.serve(t), "?agent=robot")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Security-Policy") != policy {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	f.recorded(refusedTo("others", "https://other.test:443"))
	open := answered("a", "/<script>\u202e\r\ndata: x\n\nevent: end", 0)
	open.Status = nil
	f.recorded(open)
	kind, data := s.next()
	if kind != "request" || !strings.Contains(data, `<tr id="r-a"`) || !strings.Contains(data, "open") || !strings.Contains(data, `/&lt;script&gt;\u202e\x0d`) {
		t.Errorf("%q %s", kind, data)
	}
	f.recorded(answered("a", "/", 201))
	if kind, data = s.next(); kind != "request" || !strings.Contains(data, "201") {
		t.Errorf("%q %s", kind, data)
	}
	b.post("/sign-out").status(303)
	if kind, _ := s.next(); kind != "end" {
		t.Errorf("%q after signing out, want the end", kind)
	}
	if kind, data := s.next(); kind != "" {
		t.Errorf("%q %s behind the end", kind, data)
	}
}

// A browser that lost the stream goes on behind the last event that it has.
func TestLiveGoesOn(t *testing.T) {
	f := newOwned(t)
	server, b := f.serve(t), f.signedIn()
	f.recorded(answered("a", "/a", 200))
	f.recorded(answered("b", "/b", 200))
	r := b.request("GET", "/vaults/default/traffic/live?after=0", "")
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", server.Listener.Addr().String()
	r.Header.Set("Last-Event-ID", "1")
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s := &eventStream{t, resp.Body, bufio.NewScanner(resp.Body)}
	if _, data := s.next(); !strings.Contains(data, `"r-b"`) {
		t.Errorf("%s", data)
	}
}

// Three streams are one person's. A fourth ends the first.
func TestLiveIsBounded(t *testing.T) {
	f := newOwned(t)
	server, b := f.serve(t), f.signedIn()
	var all []*eventStream
	for range 4 {
		resp, s := b.follow(t, server, "")
		if resp.StatusCode != 200 {
			t.Fatalf("%d", resp.StatusCode)
		}
		all = append(all, s)
	}
	if kind, _ := all[0].next(); kind != "end" {
		t.Errorf("the first: %q, want its end", kind)
	}
	f.recorded(answered("a", "/", 200))
	for i, s := range all[1:] {
		if kind, _ := s.next(); kind != "request" {
			t.Errorf("stream %d: %q, want a request", i+1, kind)
		}
	}
}

// Of more than anybody could read, the newest is told.
func TestLiveCatchesUp(t *testing.T) {
	f := newOwned(t)
	_, s := f.signedIn().follow(t, f.serve(t), "")
	var all []vault.Request
	for i := range 250 {
		all = append(all, answered(fmt.Sprint("n", i), "/", 200))
	}
	f.recorded(all...)
	for i := 150; i < 250; i++ {
		if _, data := s.next(); !strings.Contains(data, fmt.Sprintf(`"r-n%d"`, i)) {
			t.Fatalf("%s, want n%d", data, i)
		}
	}
	f.recorded(answered("last", "/", 200))
	if _, data := s.next(); !strings.Contains(data, `"r-last"`) {
		t.Errorf("%s", data)
	}
}

// The server does not wait for those who follow.
func TestLiveEndsWithTheServer(t *testing.T) {
	f := newOwned(t)
	_, s := f.signedIn().follow(t, f.serve(t), "")
	close(f.stop)
	if kind, data := s.next(); kind != "" || s.lines.Err() != nil {
		t.Errorf("%q %s, %v", kind, data, s.lines.Err())
	}
}

// No words make more of a row, or another event of a part of one.
func TestLiveHostileWords(t *testing.T) {
	tags := func(words string) (list []string) {
		asked := 0
		answer := func(r *http.Request) (*http.Response, error) {
			if asked++; asked > 2 { // the first question is who it is
				return &http.Response{StatusCode: 401, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{}`)), Request: r}, nil
			}
			return liar{words: words}.RoundTrip(r)
		}
		pages, err := web.New(web.Options{API: func(string) http.RoundTripper { return roundTrip(answer) }, BaseURL: func() string { return "http://" + host }})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/vaults/default/traffic/live?after=1", nil)
		r.Host = host
		r.Header.Set("Cookie", "agent_vault_login=x")
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		body := w.Body.String()
		if strings.Count("\n"+body, "\nevent: request\n") != 2 || strings.Count("\n"+body, "\nevent: ") != 3 || strings.Count("\n"+body, "\nid: ") > 1 || strings.ContainsRune(body, '\r') {
			t.Errorf("%.60q: %s", words, body)
		}
		var rows strings.Builder
		for line := range strings.Lines(body) {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				rows.WriteString(data)
			}
		}
		p := page{t, 200, nil, "<table>" + rows.String() + "</table>"}
		for _, n := range p.nodes() {
			list = append(list, n.Data)
		}
		checkAttributes(t, p, words)
		return list
	}
	wanted := without(tags("x"))
	for _, words := range hostile {
		if got := without(tags(words)); !slices.Equal(wanted, got) {
			t.Errorf("%.60q has other elements:\n%q\nnot\n%q", words, got, wanted)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
