package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"agentvault/api"
)

// A browser that brings the answer to another question, or none, does not end the
// waiting; the one that brings ours does.
func TestAwaitCode(t *testing.T) {
	for _, row := range []struct{ query, code, err string }{
		{"code=the-code&state=ours", "the-code", ""},
		{"error=access_denied&state=ours", "", "the authorization server refused: access_denied"},
		{"state=ours", "", "the authorization server sent no code"},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := "http://" + ln.Addr().String()
		type answer struct {
			code string
			err  error
		}
		came := make(chan answer, 1)
		go func() {
			code, err := awaitCode(t.Context(), ln, api.Connection{State: "ours", RedirectURI: at + "/callback/login.test", ExpiresAt: time.Now().Add(time.Minute)})
			came <- answer{code, err}
		}()
		visit := func(address string) int {
			resp, err := http.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || strings.Contains(string(body), "the-code") {
				t.Errorf("%s %v", body, err)
			}
			return resp.StatusCode
		}
		for _, stray := range []string{"/", "/callback", "/callback/login.test?code=a&state=another", "/callback?code=a&state=ours", "/callback/evil.test?code=a&state=ours", "/favicon.ico?state=ours"} {
			if status := visit(at + stray); status != http.StatusBadRequest {
				t.Errorf("%s got %d", stray, status)
			}
		}
		if status := visit(at + "/callback/login.test?" + row.query); status != http.StatusOK {
			t.Errorf("%s got %d", row.query, status)
		}
		a := <-came
		text := ""
		if a.err != nil {
			text = a.err.Error()
		}
		if a.code != row.code || text != row.err {
			t.Errorf("%s: %q %q, want %q %q", row.query, a.code, text, row.code, row.err)
		}
	}
}

func TestAwaitCodeEnds(t *testing.T) {
	for name, begun := range map[string]api.Connection{"late": {State: "ours", ExpiresAt: time.Now().Add(-time.Second)}, "stopped": {State: "ours", ExpiresAt: time.Now().Add(time.Minute)}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if name == "stopped" {
			cancel()
		}
		if _, err := awaitCode(ctx, ln, begun); err == nil {
			t.Errorf("%s: it did not end", name)
		}
		cancel()
	}
}

func TestCodeOf(t *testing.T) {
	for query, want := range map[string]string{
		"code=a&state=ours": "", "code=a&state=other": "that is the answer to another question", "code=a": "that is the answer to another question",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := codeOf(q, "ours"); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
}
