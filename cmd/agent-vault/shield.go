package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// forbidCores keeps memory out of core files, for this process and its
// children, whatever GOTRACEBACK and the system say. On Linux hideMemory does
// so already.
func forbidCores() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core files: %w", err)
	}
	return nil
}
