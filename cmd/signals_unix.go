//go:build unix

package cmd

import (
	"os/signal"
	"syscall"
)

// noCores keeps the memory of a process that dies, with the secrets in it, off the
// disk.
func noCores() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &l) == nil {
		l.Cur = 0
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &l) // lowering it is always allowed
	}
}

// ignoreLimits has a write beyond the process's limit for files fail, like any
// other that finds no room, instead of ending the process.
func ignoreLimits() { signal.Ignore(syscall.SIGXFSZ) }
