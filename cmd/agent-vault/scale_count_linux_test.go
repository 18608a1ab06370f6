//go:build !race

package main_test

const idleTunnels = 2000
