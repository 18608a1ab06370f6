package main

// nameHosts names the scenario that needs many hosts.
const nameHosts = "hosts-500"

// scenarios is all that can be measured, in order. What leaves many connections
// to the origin open comes late.
func scenarios() []scenario {
	return append(exchanges(), append(flows(), variants()...)...)
}

var (
	latency50  = measure{name: "p50", unit: "µs", title: "p50"}
	latency99  = measure{name: "p99", unit: "µs", title: "p99"}
	added50    = measure{name: "p50", unit: "µs", title: "p50", against: beyondDirect}
	added99    = measure{name: "p99", unit: "µs", title: "p99", against: beyondDirect}
	throughput = measure{name: "rate", unit: "/s", title: "requests"}
	opened     = measure{name: "opened", title: "origin connections per 1,000 requests", noDirect: true}
)

// cpu is CPU time held against the reference's.
func cpu(title, unit, goal string) measure {
	return measure{name: "cpu", unit: unit, title: title, against: ratioToReference, noDirect: true, goal: goal}
}

// exchanges are requests and answers.
func exchanges() []scenario {
	kept := func(goal string) []measure {
		return []measure{cpu("CPU per request", "µs", goal), latency50, latency99, throughput, opened}
	}
	none := opened
	none.goal = "0"
	return []scenario{
		{name: "keepalive-1", title: "Keep-alive, 1 connection", requests: 4000, turn: keepalive(1), measures: kept("")},
		{name: "keepalive-16", title: "Keep-alive, 16 connections", requests: 20000, turn: keepalive(16), measures: kept("1.1×")},
		{name: "keepalive-64", title: "Keep-alive, 64 connections", requests: 20000, turn: keepalive(64),
			measures: []measure{cpu("CPU per request", "µs", ""), latency50, latency99, throughput, none}},
		{name: "paced-400", title: "400 requests per second, 16 connections", requests: 2000, turn: paced,
			measures: []measure{added50, added99, cpu("CPU per request", "µs", "")}},
		{name: "post-32k", title: "POST of 32 KiB, 16 connections", requests: 8000, turn: post, measures: kept("1.2×")},
		{name: "h2-16", title: "HTTP/2, 16 streams in one connection or tunnel", requests: 20000, turn: streams, fits: multiplexed,
			measures: []measure{cpu("CPU per request", "µs", "1.2×"), throughput}},
		{name: "new-tunnel", title: "A new connection or tunnel for each request", requests: 2000, turn: perTunnel,
			measures: []measure{cpu("CPU per request", "µs", "1.2×")}},
	}
}

// flows are what lasts, or is large or many.
func flows() []scenario {
	moved := []measure{cpu("CPU per GiB", "ms", "1.5×"), {name: "rate", unit: "MiB/s", title: "throughput"}}
	delay := added50
	delay.goal = "300 µs more than direct"
	first, again := cpu("CPU per request, first", "µs", "1.2×"), cpu("again", "µs", "1.2×")
	first.name, again.name = "first", "again"
	return []scenario{
		{name: "sse", title: "Delay of server-sent events, one every 20 ms, without the first", requests: 100, noun: "events", turn: delays,
			measures: []measure{delay, added99}},
		{name: "websocket", title: "WebSocket messages of 256 bytes and back, 16 connections", requests: 20000, noun: "messages", turn: messages,
			measures: []measure{cpu("CPU per message and back", "µs", ""), latency50}},
		{name: "down-1g", title: "1 GiB down", requests: 1024, noun: "MiB", turn: bulk(false), measures: moved},
		{name: "up-1g", title: "1 GiB up", requests: 1024, noun: "MiB", turn: bulk(true), measures: moved},
		{name: "idle-2000", title: "2,000 idle connections or tunnels, after one request on each", requests: 2000, noun: "connections", turn: idle, fits: proxied,
			measures: []measure{{name: "memory", unit: "KiB", title: "memory of each", against: ratioToReference, goal: "40 KiB"}}},
		{name: nameHosts, title: "A new connection or tunnel to each of 500 hosts, and again", requests: manyHosts, noun: "hosts", turn: hosts, fits: wide,
			measures: []measure{first, again}},
	}
}

// variants are the same with more of something.
func variants() []scenario {
	measures := func(goal string) []measure {
		return []measure{cpu("CPU per request", "µs", goal), latency50, throughput}
	}
	return []scenario{
		{name: "services-1000", title: "Keep-alive, 16 connections, 1,000 services", requests: 20000, turn: keepalive(16), measures: measures("1.05×"),
			variants: []variant{{"10 services", 10, 1}, {"1,000 services", 1000, 1}}},
		{name: "sessions-100", title: "Keep-alive, 100 connections, a session for each", requests: 20000, turn: keepalive(100), measures: measures(""),
			variants: []variant{{"1 session", 10, 1}, {"100 sessions", 10, 100}}},
	}
}

func proxied(t *target) bool     { return t.pid != 0 }
func wide(t *target) bool        { return t.wide }
func multiplexed(t *target) bool { return t.http2 }
