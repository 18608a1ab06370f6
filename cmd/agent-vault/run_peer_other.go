//go:build !linux

package main

import "net"

// sameUser lets everybody in where the system does not tell whose a connection
// is.
func sameUser(net.Conn) error { return nil }
