package main

import (
	"net/http"
	"testing"
	"time"

	"agentvault/web"
)

// The path entrance has the bounds of the proxy entrance: its header within ten
// seconds and 64 KiB, ninety seconds between requests, and none for a whole
// request, which would cut long uploads and streams.
func TestBoundsOfTheAPIsPort(t *testing.T) {
	pages, err := web.New(web.Options{API: func(string) http.RoundTripper { return nil }, BaseURL: func() string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	s := newAPIServer(http.NotFoundHandler(), http.NotFoundHandler(), pages)
	if s.ReadHeaderTimeout != 10*time.Second || s.IdleTimeout != 90*time.Second || s.MaxHeaderBytes != 64<<10 || s.ReadTimeout != 0 || s.WriteTimeout != 0 ||
		s.HTTP2.MaxConcurrentStreams != 250 || !s.Protocols.UnencryptedHTTP2() {
		t.Errorf("%+v", s)
	}
}
