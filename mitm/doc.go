// Package mitm answers one question about a connection to the proxy port: which
// target does the agent want, and is what comes through it meant for that
// target?
//
// goproxy dispatches CONNECT. What it hands over by its hijack becomes a
// tunnel: TLS with a leaf for the pinned host, served by one http.Server that
// all tunnels share. Each request inside is compared with the tunnel's target
// and given to the broker; absolute-form requests go there directly. SOCKS5 on
// the same port is another spelling of CONNECT. The package decides nothing,
// dials nothing and opens no credential.
//
// goproxy's own authority, transport and interception are not used and cannot
// be reached: every CONNECT ends in a rejection or in our tunnel.
package mitm
