package cmd

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fanfold/fanfold/pkg/run"
)

// TestStanding: a run that is under way, one that was killed and one that has
// ended are told apart, with how far they are.
func TestStanding(t *testing.T) {
	t.Parallel()
	bin, p, state := build(t), newPartner(t), t.TempDir()
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	requests := 0
	p.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
		if requests++; requests == 11 {
			held <- struct{}{}
			<-hold
		}
		return false
	})
	args := []string{"forward", "--from", file(t, "in.jsonl", events(500)), "--to", "webhook",
		"--set", "webhook.url=" + p.URL, "--opt", "webhook.batch_events=10", "--opt", "webhook.concurrency=1", "--state-dir",
		state, "-o", "json"}
	c := exec.Command(bin, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-held
	folders, err := filepath.Glob(filepath.Join(state, "runs", "*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("%v %v", folders, err)
	}
	id := filepath.Base(folders[0])
	show := func() (string, uint64) {
		code, out, errOut := invoke(t, nil, "", "runs", "show", id, "--state-dir", state, "-o", "json")
		if code != 0 {
			t.Fatalf("runs show: %d %s%s", code, out, errOut)
		}
		s := summaryOf(t, out)
		if len(s.Destinations) == 0 {
			return s.Status, 0
		}
		return s.Status, s.Destinations[0].Delivered
	}
	for status, n := show(); n < 100; status, n = show() { // it is noted a little later
		if status != run.Running {
			t.Fatalf("a run under way is %s", status)
		}
	}
	if status, n := show(); status != run.Running || n != 100 {
		t.Errorf("a run with a request under way is %s, with %d events of 100", status, n)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // killed
	close(hold)
	if status, n := show(); status != run.Killed || n != 100 {
		t.Errorf("a killed run is %s, with %d events of 100", status, n)
	}
	if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("the resume: %v %s", err, out)
	}
	if status, n := show(); status != "complete" || n != 500 {
		t.Errorf("a run that has ended is %s, with %d events of 500", status, n)
	}
}
