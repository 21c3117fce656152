//go:build unix

package cmd

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// atTheStart runs fanfold up to where it reads a setting from a named pipe, before
// anything of the run is there, sends it a signal, and has it go on when it says
// that it is stopping, or has ended. It returns how the process ended and what it has printed.
func atTheStart(t *testing.T, sig syscall.Signal) (
	status syscall.WaitStatus, said, summary string, requests int64,
) {
	t.Helper()
	dir := t.TempDir()
	in, pipe := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "url")
	err := errors.Join(os.WriteFile(in, []byte(events(3)), 0o600), syscall.Mkfifo(pipe, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1) }))
	defer server.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "forward", "--from", in, "--to", "webhook", "--set", "webhook.url=file:"+pipe, "-o", "json")
	var printed strings.Builder
	c.Stdout = &printed
	c.Env = append(os.Environ(), "FANFOLD_TEST_MAIN=1", "XDG_STATE_HOME="+dir)
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = c.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns when it is opened for reading
	if err != nil {
		t.Fatal(err)
	}
	if err = c.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if sig == syscall.SIGQUIT { // the process is gone, and its stacks may say anything
		defer w.Close()
	}
	lines := bufio.NewScanner(stderr)
	var b strings.Builder
	for lines.Scan() {
		b.WriteString(lines.Text() + "\n")
		if w != nil && sig != syscall.SIGQUIT && strings.Contains(lines.Text(), "stopping") {
			_, wrong := w.WriteString(server.URL)
			if err = errors.Join(wrong, w.Close()); err != nil {
				t.Fatal(err)
			}
			w = nil
		}
	}
	var exit *exec.ExitError
	if err = c.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.Sys().(syscall.WaitStatus), b.String(), printed.String(), asked.Load()
}

// TestStopBeforeTheRunBegins: a signal that comes while the command line is still
// being read stops the run that it begins, and nothing is sent.
func TestStopBeforeTheRunBegins(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(sig) { // as under nohup: it stays ignored
			t.Logf("SKIPPED: %s is ignored where the tests run", sig)
			continue
		}
		status, said, summary, requests := atTheStart(t, sig)
		if status.ExitStatus() != exitIncomplete || requests > 0 {
			t.Errorf("%s: it ended with %#x after %d requests and said:\n%s", sig, status, requests, said)
		}
		const want = `{"run":"","status":"incomplete","read":0,"bad_records":0,"dropped":{},"destinations":[]}` + "\n"
		if summary != want {
			t.Errorf("%s: the summary is %q, want %q", sig, summary, want)
		}
	}
}

// TestFatalErrorIsNoUsage: when Go's runtime gives up, as it does when there is no
// memory left or when it is asked to with SIGQUIT, the code is not the one that
// says that nothing was sent.
func TestFatalErrorIsNoUsage(t *testing.T) {
	t.Parallel()
	status, said, _, _ := atTheStart(t, syscall.SIGQUIT)
	if !status.Signaled() || !strings.Contains(said, "goroutine") {
		t.Errorf("it ended with %#x and said:\n%s", status, said)
	}
}
