package cmd

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/engine"
)

// forwarder is a command of these tests: the same input to the same partner.
type forwarder struct {
	t     *testing.T
	p     *partner
	state string
	args  []string
}

func newForwarder(t *testing.T, n int) *forwarder {
	t.Helper()
	f := &forwarder{t: t, p: newPartner(t), state: t.TempDir()}
	f.args = []string{"--from", file(t, "in.jsonl", events(n)), "--to", "webhook", "--set", "webhook.url=" + f.p.URL, "--opt", "webhook.batch_events=10", "--opt", "webhook.concurrency=1"}
	return f
}

// forward runs it, and checks the exit code.
func (f *forwarder) forward(code int, more ...string) (s engine.Summary, errOut string) {
	f.t.Helper()
	args := append(append([]string{"forward"}, f.args...), more...)
	got, out, errOut := run(f.t, nil, "", append(args, "--state-dir", f.state, "-o", "json", "--progress", "never")...)
	if got != code {
		f.t.Fatalf("exit code %d, want %d: %s%s", got, code, out, errOut)
	}
	if out != "" {
		s = summaryOf(f.t, out)
	}
	return s, errOut
}

// other runs another command on the same state.
func (f *forwarder) other(code int, args ...string) (out, errOut string) {
	f.t.Helper()
	got, out, errOut := run(f.t, nil, "", append(args, "--state-dir", f.state)...)
	if got != code {
		f.t.Fatalf("%v: exit code %d, want %d: %s%s", args, got, code, out, errOut)
	}
	return out, errOut
}

func (f *forwarder) redrive(code int, run string) (s engine.Summary, errOut string) {
	f.t.Helper()
	out, errOut := f.other(code, "redrive", run, "--set", "webhook.url="+f.p.URL, "-o", "json", "--progress", "never")
	if out != "" {
		s = summaryOf(f.t, out)
	}
	return s, errOut
}

// refuses has the partner reject the events with these numbers.
func (f *forwarder) refuses(bad func(id string) bool) {
	f.p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		for _, id := range ids {
			if bad(id) {
				http.Error(w, "no", http.StatusBadRequest)
				return true
			}
		}
		return false
	})
}

// TestOlderRunsMayGo removes older runs of a command: the newest is still the one that
// it goes on with.
func TestOlderRunsMayGo(t *testing.T) {
	f := newForwarder(t, 50)
	first, _ := f.forward(0)
	f.p.answers(func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return true
	})
	second, _ := f.forward(4, "--fresh")
	f.other(0, "runs", "rm", first.Run)
	f.p.answers(nil)
	if s, errOut := f.forward(0); s.Run != second.Run || !strings.Contains(errOut, "resuming run "+second.Run) {
		t.Errorf("run %s, not %s: %s", s.Run, second.Run, errOut)
	}
	f.forward(0) // nothing is new
	f.p.mu.Lock()
	for id, n := range f.p.seen {
		if n != 2 {
			t.Errorf("%s arrived %d times", id, n)
		}
	}
	f.p.mu.Unlock()
	if s, _ := f.forward(0, "--fresh"); s.Run == second.Run || s.Run == first.Run {
		t.Errorf("a new run has the name %s of an old one", s.Run)
	}
}

// TestNothingIsLeft redrives what a run has rejected, in two steps: when all is
// delivered, the run is a success.
func TestNothingIsLeft(t *testing.T) {
	f := newForwarder(t, 100)
	f.refuses(func(id string) bool { return strings.HasSuffix(id, "7") || strings.HasSuffix(id, "8") })
	first, _ := f.forward(3)
	if total(first.Destinations[0].Rejected) != 20 {
		t.Fatalf("%+v", first)
	}
	f.refuses(func(id string) bool { return strings.HasSuffix(id, "8") })
	half, _ := f.redrive(3, first.Run)
	if _, errOut := f.forward(3); !strings.Contains(errOut, "10 were rejected: `fanfold redrive "+first.Run+"`") {
		t.Errorf("when a half is left: %s", errOut)
	}
	f.p.answers(nil)
	rest, _ := f.redrive(0, half.Run)
	s, errOut := f.forward(0)
	if !strings.Contains(errOut, "the 20 rejected events by redrives since") {
		t.Errorf("when nothing is left: %s", errOut)
	}
	if d := s.Destinations[0]; total(d.Rejected) != 20 || d.Redriven[half.Run] != 10 || d.Redriven[rest.Run] != 10 {
		t.Errorf("summary %+v", d)
	}
	out, errOut := f.other(0, "runs", "show", first.Run)
	if want := fmt.Sprintf("20 of the rejected were delivered by a redrive since (10 by run %s, 10 by run %s)", min(half.Run, rest.Run), max(half.Run, rest.Run)); !strings.Contains(out, want) {
		t.Errorf("runs show: %s", out)
	}
	if !strings.Contains(errOut, "every rejected event was delivered by a redrive since") {
		t.Errorf("runs show says %s", errOut)
	}
	if out, _ := f.other(0, "runs", "list"); !strings.Contains(out, "20 redriven since") {
		t.Errorf("runs list: %s", out)
	}
	// What the first redrive could not send, the second has sent.
	if _, errOut := f.redrive(0, first.Run); strings.Contains(errOut, "sends those that were refused") {
		t.Errorf("the first redrive again: %s", errOut)
	}
	f.p.once(t, 100)
}

// TestSeveralLettersOfAnEvent: an event is redriven when all of its letters are.
func TestSeveralLettersOfAnEvent(t *testing.T) {
	var letters strings.Builder
	for _, l := range []letterName{{1, 0}, {1, 1}, {2, 0}, {3, 0}, {3, 1}, {4, 1}} {
		fmt.Fprintf(&letters, `{"dead_letter":1,"run":"r","destination":"d","ordinal":%d,"k":%d,"insert_id":"","event":{}}`+"\n", l.ordinal, l.k)
	}
	d := &engine.LaneSummary{Rejected: map[string]uint64{"refused": 4}, Letters: 6, DeadLetters: file(t, "d.jsonl", letters.String())}
	known := map[letterName]string{{1, 0}: "a", {2, 0}: "a", {3, 0}: "a", {3, 1}: "b"}
	if got, err := redrivenEvents(context.Background(), d, known); err != nil || fmt.Sprint(got) != "map[a:1 b:1]" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestNotesOfRedrives: lines that are damaged or not whole count for nothing, those of
// older versions do.
func TestNotesOfRedrives(t *testing.T) {
	whole := noteText(letterName{12, 3}, "run-2")
	for line, want := range map[string]bool{
		whole: true, strings.TrimSuffix(whole, "\n"): false, strings.Replace(whole, "12", "13", 1): false,
		"7 0 run\n": true, "7 0 r": false, "7 0\n": false, "\n": false, "x y z\n": false, "3" + whole[1:]: false,
	} {
		if l, by, ok := parseNote(line); ok != want || ok && by == "" {
			t.Errorf("%q: %v %q %v", line, l, by, ok)
		}
	}
}

// TestDamagedLetters flips each of some bytes of a run's dead letters: a redrive sends
// nothing and says why.
func TestDamagedLetters(t *testing.T) {
	f := newForwarder(t, 300)
	f.refuses(func(string) bool { return true })
	first, _ := f.forward(3)
	path := first.Destinations[0].DeadLetters
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f.p.answers(nil)
	for at := 3; at < len(whole); at += 1 + len(whole)/7 {
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 0x10
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, errOut := f.redrive(1, first.Run); !strings.Contains(errOut, "of the 300 dead letters in "+path) {
			t.Errorf("byte %d: %s", at, errOut)
		}
	}
	f.p.once(t, 0)
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	f.redrive(0, first.Run)
	f.p.once(t, 300)
}

// TestEverythingSkipped: a run that has sent nothing says why.
func TestEverythingSkipped(t *testing.T) {
	f := newForwarder(t, 20)
	conf := file(t, "fanfold.yaml", fmt.Sprintf("destinations:\n  hook: {type: webhook, settings: {url: %q}, actions: [{action: send, subscribe: 'type = \"identify\"'}]}\n", f.p.URL))
	f.args = []string{"--from", f.args[1], "--config", conf}
	s, errOut := f.forward(0)
	if d := s.Destinations[0]; d.Skipped["unsupported"] != 20 || !strings.Contains(d.SkippedExamples["unsupported"], "in.jsonl, line 1") {
		t.Errorf("summary %+v", d)
	}
	if !strings.Contains(errOut, "warning: hook was sent nothing: all of its 20 events were skipped: unsupported 20, like ") {
		t.Errorf("it says %s", errOut)
	}
}

// TestStatePaths keeps state in folders whose names mean something in URIs and globs.
func TestStatePaths(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("such names are not allowed there")
	}
	for _, name := range []string{"a#b", "a?b=c", "100%", "a%41b", "[ab]", "a*", "{a,b}", "a b&c", "a\\b"} {
		t.Run(name, func(t *testing.T) {
			f := newForwarder(t, 30)
			f.state = filepath.Join(f.state, name)
			f.refuses(func(id string) bool { return id == "m7" })
			first, _ := f.forward(3)
			if _, err := os.Stat(filepath.Join(f.state, "runs", first.Run, "journal.db")); err != nil {
				t.Error(err)
			}
			if again, _ := f.forward(3); again.Run != first.Run {
				t.Errorf("the same command made run %s", again.Run)
			}
			f.p.answers(nil)
			f.redrive(0, first.Run)
			f.forward(0)
			f.p.once(t, 30)
		})
	}
}

// TestNoPlaceForState: without a home the state does not land where one happens to be.
func TestNoPlaceForState(t *testing.T) {
	in := file(t, "in.jsonl", events(3))
	t.Chdir(t.TempDir())
	for _, env := range []map[string]string{nil, {"HOME": ""}, {"HOME": "relative"}, {"XDG_STATE_HOME": "relative"}} {
		for _, args := range [][]string{{"forward", "--from", in, "--to", "stdout"}, {"runs", "list"}, {"runs", "show", "x"}, {"redrive", "x"}} {
			if code, _, errOut := run(t, env, "", args...); code != 2 || !strings.Contains(errOut, "--state-dir") {
				t.Errorf("%v %v: exit code %d: %s", env, args, code, errOut)
			}
		}
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}
