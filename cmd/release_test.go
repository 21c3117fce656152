package cmd

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// TestFullSpool has standard input use up its disk because of a destination
// that refuses the credentials: the other one gets everything all the same, and
// the same command with the same input delivers what is pending.
func TestFullSpool(t *testing.T) {
	t.Parallel()
	const n = 8000
	bin, input := build(t), noise(n, 600)
	p, refused := newPartner(t), newPartner(t)
	refused.answers(func(w http.ResponseWriter, _ *http.Request, _ []string) bool { w.WriteHeader(401); return true })
	conf := file(t, "fanfold.yaml", fmt.Sprintf("destinations:\n  a: {type: webhook, settings: {url: %q}}\n"+
		"  b: {type: webhook, settings: {url: %q}}\n", p.URL, refused.URL))
	state := t.TempDir()
	forward := func(stdin string) ended {
		c := exec.Command(bin, "forward", "--from", "-", "--config", conf, "--state-dir", state, "--spool", "1MB",
			"-o", "json", "--progress", "never")
		c.Stdin = strings.NewReader(stdin)
		var out, errOut strings.Builder
		c.Stdout, c.Stderr = &out, &errOut
		_ = c.Run() // the exit code says it
		return ended{c.ProcessState.ExitCode(), out.String(), errOut.String()}
	}
	e := forward(input)
	if e.code != 4 || !strings.Contains(e.errOut, "with the same standard input") {
		t.Fatalf("exit code %d: %s%s", e.code, e.out, e.errOut)
	}
	s := summaryOf(t, e.out)
	if a, b := s.Destinations[0], s.Destinations[1]; a.Delivered != n || b.Pending != n || b.Delivered != 0 {
		t.Errorf("summary %s", e.out)
	}
	p.once(t, n)
	refused.answers(nil)
	// What was copied anew by one of them must not be taken for all by the next.
	others := map[string]string{"empty": "", "another": noise(n, 300), "shorter": input[:len(input)/8]}
	for _, name := range []string{"empty", "shorter", "empty", "another", "shorter", "another", "empty"} {
		if e := forward(others[name]); e.code != 1 || !strings.Contains(e.errOut, "standard input") {
			t.Errorf("%s input: exit code %d: %s%s", name, e.code, e.out, e.errOut)
		}
	}
	e = forward(input)
	if e.code != 0 {
		t.Fatalf("exit code %d: %s%s", e.code, e.out, e.errOut)
	}
	s = summaryOf(t, e.out)
	if a, b := s.Destinations[0], s.Destinations[1]; a.Delivered != n || b.Delivered != n {
		t.Errorf("summary %s", e.out)
	}
	p.once(t, n)
	refused.once(t, n)
	// It is done: the input is not even looked at.
	if e := forward(""); e.code != 0 {
		t.Errorf("exit code %d: %s%s", e.code, e.out, e.errOut)
	}
}
