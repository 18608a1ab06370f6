package main

import (
	"net/http"
	"testing"
	"time"
)

// The path entrance has the bounds of the proxy entrance: its header within ten
// seconds and 64 KiB, ninety seconds between requests, and none for a whole
// request, which would cut long uploads and streams.
func TestBoundsOfTheAPIsPort(t *testing.T) {
	s := newAPIServer(http.NotFoundHandler(), http.NotFoundHandler())
	if s.ReadHeaderTimeout != 10*time.Second || s.IdleTimeout != 90*time.Second || s.MaxHeaderBytes != 64<<10 || s.ReadTimeout != 0 || s.WriteTimeout != 0 ||
		s.HTTP2.MaxConcurrentStreams != 250 || !s.Protocols.UnencryptedHTTP2() {
		t.Errorf("%+v", s)
	}
}
