//go:build unix

package shell

import (
	"os/exec"
	"syscall"
)

// together has the end of a command be that of all it has started.
func together(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}
