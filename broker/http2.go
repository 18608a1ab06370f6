package broker

import (
	"net/http"
	"time"
)

// HTTP2 bounds HTTP/2 to agents, on every entrance.
func HTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          250,
		MaxReceiveBufferPerConnection: 1 << 20,
		MaxReceiveBufferPerStream:     1 << 20,
		SendPingTimeout:               30 * time.Second,
		PingTimeout:                   15 * time.Second,
	}
}

// ClearHTTP2 makes srv speak HTTP/2 beside HTTP/1 on a listener without TLS, to
// clients that know that it does (RFC 9113 §3.3), as gRPC does on a plaintext
// channel. An upgrade to it is not spoken.
func ClearHTTP2(srv *http.Server) {
	srv.HTTP2 = HTTP2()
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
}
