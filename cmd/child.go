package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/progress"
)

// child runs a program with more in its environment, and returns its exit code.
// Signals that reach us are passed on to it.
func (a *app) child(ctx context.Context, args []string, env []string) (int, error) {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Env = append(os.Environ(), env...)
	c.Stdin, c.Stdout, c.Stderr = a.in, printable.Under(a.out), printable.Under(a.err)
	if f, ok := a.in.(*os.File); ok {
		c.Stdin = f
	}
	if s, ok := c.Stderr.(*progress.Screen); ok {
		c.Stderr = s.Under() // the terminal itself, as the child would have without us
	}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	if err := c.Start(); err != nil {
		return 0, usagef("running %s: %w", args[0], err)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-hangups:
				_ = c.Process.Signal(s) // it may be gone
			case s := <-a.interrupts.taken():
				// A terminal sends its Ctrl-C to all of the group, so to the
				// child as well.
				if s == os.Interrupt && term.IsTerminal(0) {
					continue
				}
				_ = c.Process.Signal(s) // it may be gone
			case <-done:
				return
			}
		}
	}()
	err := c.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil // as a shell says it
		}
		return exit.ExitCode(), nil
	case err != nil:
		return 0, fmt.Errorf("running %s: %w", args[0], err)
	}
	return 0, nil
}

// isOurs tells whether a command is fanfold itself: it runs in this process,
// where its traffic is recorded above the credentials.
func isOurs(args []string) bool {
	if strings.TrimSuffix(filepath.Base(args[0]), ".exe") == "fanfold" {
		return true
	}
	self, err1 := os.Executable()
	path, err2 := exec.LookPath(args[0])
	if err1 != nil || err2 != nil {
		return false
	}
	s1, err1 := os.Stat(self)
	s2, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(s1, s2)
}
