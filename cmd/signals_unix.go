//go:build unix

package cmd

import (
	"os/signal"
	"syscall"
)

// ignoreLimits has a write beyond the process's limit for files fail, like any
// other that finds no room, instead of ending the process.
func ignoreLimits() { signal.Ignore(syscall.SIGXFSZ) }
