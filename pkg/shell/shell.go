// Package shell runs command lines that the user has written for the shell of the system.
package shell

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"time"
)

// Command is a command line for the shell. It is killed when the context ends; what it has
// started may hold its output open for a second longer.
func Command(ctx context.Context, line string) *exec.Cmd {
	shell := []string{"/bin/sh", "-c"}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C"}
	}
	c := exec.CommandContext(ctx, shell[0], shell[1], line)
	c.WaitDelay = time.Second
	return c
}

// Run runs it. A command that has ended well has, also when what it has started, such as an
// agent, goes on with its output.
func Run(c *exec.Cmd) error {
	if err := c.Run(); !errors.Is(err, exec.ErrWaitDelay) {
		return err
	}
	return nil
}
