// Package shell runs command lines that the user has written for the shell of the system.
package shell

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Command is a command line for the shell. It is killed when the context ends, and, where the
// system can do that, what it has started, too; else that may hold its output open for a second
// longer. asks says that it may ask a person on the terminal: then only the shell is killed,
// because what is to end together would be a background job, and such jobs may not read there.
func Command(ctx context.Context, line string, asks bool) *exec.Cmd {
	shell := []string{"/bin/sh", "-c"}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C"}
	}
	c := exec.CommandContext(ctx, shell[0], shell[1], line)
	c.WaitDelay = time.Second
	if !asks {
		together(c)
	}
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

// Quote writes a text as one word of a command line for POSIX shells.
func Quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// Word is Quote for a text that needs quotes, and the text itself otherwise.
func Word(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%") == "" {
		return text
	}
	return Quote(text)
}
