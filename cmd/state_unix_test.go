//go:build unix

package cmd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRunsThatCannotBeSearched: a folder of runs that may be read but not entered, or
// neither, ends in an error and not in a search without end.
func TestRunsThatCannotBeSearched(t *testing.T) {
	t.Parallel()
	bin, in, state := build(t), file(t, "in.jsonl", events(1)), t.TempDir()
	runs := filepath.Join(state, "runs")
	if err := os.Mkdir(runs, 0o700); err != nil {
		t.Fatal(err)
	}
	// The administrator may enter any folder: the process is somebody else's then.
	nobody := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		nobody.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		if err := os.Chown(runs, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{filepath.Dir(bin), bin, in, state} {
			for ; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
				if err := os.Chmod(path, 0o755); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o100, 0} {
		if err := os.Chmod(runs, mode); err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), bin, "forward", "--from", in, "--to", "stdout", "--state-dir", state)
		var out, errOut bytes.Buffer
		c.SysProcAttr, c.Stdout, c.Stderr, c.Dir = nobody, &out, &errOut, "/"
		if err := c.Run(); err == nil || c.ProcessState.ExitCode() != 1 || !strings.Contains(errOut.String(),
			"permission denied") {
			t.Errorf("mode %o: %v: %s%s", mode, err, out.String(), errOut.String())
		}
	}
	if err := os.Chmod(runs, 0o700); err != nil {
		t.Fatal(err)
	}
}
