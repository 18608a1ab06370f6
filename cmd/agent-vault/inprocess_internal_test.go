package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
)

// get asks a handler in this process.
func get(t *testing.T, ctx context.Context, h http.HandlerFunc) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://127.0.0.1/path?x=y", nil)
	if err != nil {
		t.Fatal(err)
	}
	return inProcess{h, "192.0.2.1:5"}.RoundTrip(req)
}

func TestInProcess(t *testing.T) {
	resp, err := get(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-From", r.RemoteAddr+" "+r.Host+" "+r.RequestURI)
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("X-Late", "yes")
		io.WriteString(w, "some words")
	})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.Body.Close() != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusTeapot || string(body) != "some words" || resp.Header.Get("X-From") != "192.0.2.1:5 127.0.0.1 /path?x=y" || resp.Header.Get("X-Late") != "" {
		t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
	}
}

// A stream arrives piece by piece, and its handler ends when nobody reads on.
func TestInProcessStreams(t *testing.T) {
	next, ended := make(chan bool), make(chan struct{})
	resp, err := get(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.(http.Flusher).Flush()
		<-next
		io.WriteString(w, "one")
		<-r.Context().Done()
		if _, err := io.WriteString(w, "two"); err == nil {
			t.Error("a write after the end")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	next <- true // the header is here before a byte of the body is
	piece := make([]byte, 3)
	if _, err := io.ReadFull(resp.Body, piece); err != nil || string(piece) != "one" {
		t.Fatalf("%q %v", piece, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	default:
		t.Error("Close returned before the handler")
	}
}

// Who gave up gets no answer, and a handler that breaks off no whole one.
func TestInProcessBrokenOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := get(t, ctx, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	resp, err := get(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q was whole", body)
	}
}
