package main

// scenarios is all that can be measured, in order.
func scenarios() []scenario {
	kept := []measure{cpuRequest, latency50, latency99, throughput, opened}
	return []scenario{
		{name: "keepalive-1", title: "Keep-alive, 1 connection", requests: 4000, measures: kept, turn: keepalive(1)},
		{name: "keepalive-16", title: "Keep-alive, 16 connections", requests: 20000, measures: kept, turn: keepalive(16)},
		{name: "keepalive-64", title: "Keep-alive, 64 connections", requests: 20000, measures: kept, turn: keepalive(64)},
		{name: "post-32k", title: "POST of 32 KiB, 16 connections", requests: 8000, measures: kept, turn: post},
		{name: "new-tunnel", title: "A new connection for each request", requests: 2000, measures: []measure{cpuRequest}, turn: perTunnel},
	}
}
