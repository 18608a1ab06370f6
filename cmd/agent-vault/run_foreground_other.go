//go:build !linux

package main

// foregroundOf does nothing where there are no PID namespaces.
func foregroundOf(stdio) (back func()) { return func() {} }
