//go:build race

package main_test

// The server is built without the race detector; so many clients with it take
// minutes.
const idleTunnels = 200
