package cmd

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/source"
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
	f.args = []string{"--from", file(t, "in.jsonl", events(n)), "--to", "webhook", "--set", "webhook.url=" + f.p.URL,
		"--opt", "webhook.batch_events=10", "--opt", "webhook.concurrency=1"}
	return f
}

// forward runs it, and checks the exit code.
func (f *forwarder) forward(code int, more ...string) (s engine.Summary, errOut string) {
	f.t.Helper()
	args := append(append([]string{"forward"}, f.args...), more...)
	got, out, errOut := invoke(f.t, nil, "", append(args, "--state-dir", f.state, "-o", "json", "--progress", "never")...)
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
	got, out, errOut := invoke(f.t, nil, "", append(args, "--state-dir", f.state)...)
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
	if engine.Total(first.Destinations[0].Rejected) != 20 {
		t.Fatalf("%+v", first)
	}
	f.refuses(func(id string) bool { return strings.HasSuffix(id, "8") })
	half, _ := f.redrive(3, first.Run)
	if _, errOut := f.forward(3); !strings.Contains(errOut, "10 were rejected: `fanfold redrive "+half.Run+"`") {
		t.Errorf("when a half is left: %s", errOut)
	}
	f.p.answers(nil)
	rest, _ := f.redrive(0, half.Run)
	s, errOut := f.forward(0)
	if !strings.Contains(errOut, "the 20 rejected events by redrives since") {
		t.Errorf("when nothing is left: %s", errOut)
	}
	if d := s.Destinations[0]; engine.Total(d.Rejected) != 20 || d.Redriven[half.Run] != 10 || d.Redriven[rest.Run] != 10 {
		t.Errorf("summary %+v", d)
	}
	out, errOut := f.other(0, "runs", "show", first.Run)
	if want := fmt.Sprintf("20 of the rejected were delivered by a redrive since (10 by run %s, 10 by run %s)",
		min(half.Run, rest.Run), max(half.Run, rest.Run)); !strings.Contains(out, want) {
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

// TestThisTime stops a command in the middle, again and again: each time the summary says what this one has done, as
// the partner has seen it, and its note which events were rejected before.
func TestThisTime(t *testing.T) {
	f := newForwarder(t, 200) // of E0, E1 and E2
	f.args = []string{"--from", f.args[1], "--config", file(t, "fanfold.yaml", fmt.Sprintf("destinations:\n  w: {type: "+
		"webhook, settings: {url: %q}, batch_events: 1, concurrency: 1, filter: 'event != \"E2\"'}\n", f.p.URL)),
		"--filter", "event != \"E1\""}
	var all engine.ThisTime
	var read, dropped, rejected uint64
	for _, end := range []int{20, 30, 0} {
		sent, refused := 0, 0
		f.p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
			switch {
			case sent+refused == end && end > 0:
				http.Error(w, "who are you?", http.StatusUnauthorized)
			case ids[0] == "m9" || ids[0] == "m99":
				refused++
				http.Error(w, "no", http.StatusBadRequest)
			default:
				sent++
				return false
			}
			return true
		})
		code := exitIncomplete
		if end == 0 {
			code = exitRejected
		}
		s, errOut := f.forward(code)
		d := &s.Destinations[0]
		if s.ThisTime == nil { // the first: all of it
			s.ThisTime = &engine.ReadThisTime{Read: s.Read, Dropped: s.Dropped}
			d.ThisTime = &engine.ThisTime{Filtered: d.Filtered, Delivered: d.Delivered, Rejected: d.Rejected}
		}
		now := d.ThisTime
		if now.Delivered != uint64(sent) || engine.Total(now.Rejected) != uint64(refused) {
			t.Errorf("%d were sent and %d refused; this time %+v", sent, refused, now)
		}
		want := []string{"once the cause", "1 event was rejected by an earlier", "2 events were rejected by"}[rejected]
		if !strings.Contains(errOut, want) {
			t.Errorf("%d were rejected before: %s", rejected, errOut)
		}
		all.Delivered, all.Filtered = all.Delivered+now.Delivered, all.Filtered+now.Filtered
		read, dropped = read+s.ThisTime.Read, dropped+engine.Total(s.ThisTime.Dropped)
		if rejected += engine.Total(now.Rejected); all.Delivered != d.Delivered || all.Filtered != d.Filtered ||
			rejected != engine.Total(d.Rejected) || read != s.Read || dropped != engine.Total(s.Dropped) {
			t.Errorf("%+v together, read %d, dropped %d: %+v", all, read, dropped, s)
		}
	}
	if all.Delivered != 65 || rejected != 2 || all.Filtered != 66 || dropped != 67 {
		t.Errorf("%+v, %d rejected, %d dropped", all, rejected, dropped)
	}
}

// TestRemovedSayNothingOfNow leaves out a destination: it stays in the summary, but not what a process says of itself.
func TestRemovedSayNothingOfNow(t *testing.T) {
	f := newForwarder(t, 20)
	out := []string{"--set", "file.path=" + t.TempDir()}
	f.args = append(f.args[:2:2], "--to", "webhook,file", "--set", "webhook.url="+f.p.URL)
	f.forward(0, out...)
	if err := os.WriteFile(f.args[1], []byte(events(30)), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, _ := f.forward(0, out...); s.Destinations[1].ThisTime == nil || s.Destinations[1].Rate == 0 {
		t.Fatalf("%+v", s)
	}
	f.args[3] = "webhook"
	s, _ := f.forward(0)
	if len(s.Removed) != 1 || s.Removed[0].Delivered != 30 || s.Removed[0].ThisTime != nil || s.Removed[0].Rate > 0 {
		t.Errorf("%+v", s.Removed)
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
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	text, err := dec.DecodeAll(whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	for at := 3; at < len(whole); at += 1 + len(whole)/7 {
		var damaged []byte
		for ; ; at++ {
			damaged = bytes.Clone(whole)
			damaged[at] ^= 0x10
			// The bit that a frame's header does not use, or the size of its window: what is
			// read stays the same, and nothing is damaged.
			if same, err := dec.DecodeAll(damaged, nil); err != nil || !bytes.Equal(same, text) {
				break
			}
		}
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
	conf := file(t, "fanfold.yaml", fmt.Sprintf("destinations:\n  hook: {type: webhook, settings: {url: %q}, actions: "+
		"[{action: send, subscribe: 'type = \"identify\"'}]}\n", f.p.URL))
	f.args = []string{"--from", f.args[1], "--config", conf}
	s, errOut := f.forward(0)
	if d := s.Destinations[0]; d.Skipped["unsupported"] != 20 || !strings.Contains(d.SkippedExamples["unsupported"],
		"in.jsonl, line 1") {
		t.Errorf("summary %+v", d)
	}
	if !strings.Contains(errOut,
		"warning: hook was sent nothing: all of its 20 events were skipped: unsupported 20, like ") {
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
		for _, args := range [][]string{{"forward", "--from", in, "--to", "stdout"}, {"runs", "list"}, {"runs", "show",
			"x"}, {"redrive", "x"}} {
			if code, _, errOut := invoke(t, env, "", args...); code != 2 || !strings.Contains(errOut, "--state-dir") {
				t.Errorf("%v %v: exit code %d: %s", env, args, code, errOut)
			}
		}
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}

// TestMemoryLimit: a limit in the environment is the user's.
func TestMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(1 << 40)
	defer debug.SetMemoryLimit(before)
	in := file(t, "in.jsonl", events(1))
	for _, c := range []struct {
		env  map[string]string
		want int64
	}{{map[string]string{"GOGC": "100", "GOMEMLIMIT": "1TiB"}, 1 << 40}, {map[string]string{"GOGC": "100"}, 64 << 20}} {
		a := testApp(nil)
		a.env = func(k string) (string, bool) { v, ok := c.env[k]; return v, ok }
		if code := a.execute(t.Context(), []string{"forward", "--from", in, "--to", "stdout", "--memory", "64MiB",
			"--state-dir", t.TempDir()}); code != 0 {
			t.Fatal(a.err)
		}
		if got := debug.SetMemoryLimit(-1); got != c.want {
			t.Errorf("%v: the limit is %d", c.env, got)
		}
	}
}

// TestVersion1 goes on with a run of a fanfold before its journal had versions, which was
// killed with requests in flight: the same command finds it, and sends what is left.
func TestVersion1(t *testing.T) {
	f := newForwarder(t, 60)
	// The fixture's events are those of events(60), but for their names.
	in := strings.NewReplacer("T00:00:00Z", "T00:00:00Z", `"E0"`, `"E"`, `"E1"`, `"E"`, `"E2"`, `"E"`, ":", ": ", ",",
		", ").Replace(events(60))
	if err := os.WriteFile(f.args[1], []byte(in), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := file(t, "fanfold.yaml", fmt.Sprintf("destinations:\n  a: {type: webhook, settings: {url: %q}, "+
		"batch_events: 5}\n  b: {type: webhook, settings: {url: %q}, batch_events: 5}\n", f.p.URL+"/a", f.p.URL+"/b"))
	f.args = []string{"--from", f.args[1], "--config", conf}
	_, name := runNames(t, conf, f.args[1])
	dir := filepath.Join(f.state, "runs", name)
	if err := os.CopyFS(dir, os.DirFS("../pkg/journal/testdata/version1/killed")); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE manifest SET object = replace(object, '/tmp/fixture/in.jsonl', ?)`,
		f.args[1]); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, errOut := f.forward(3)
	if a, b := s.Destinations[0], s.Destinations[1]; !strings.Contains(errOut, "resuming run "+s.Run) ||
		a.Delivered != 58 || engine.Total(a.Rejected) != 2 || a.Requests != 0 || b.Delivered != 60 || b.InDoubt != 10 {
		t.Errorf("%+v: %s", s, errOut)
	}
	f.p.once(t, 45) // b had fifteen
	f.other(0, "redrive", s.Run, "--config", conf, "--progress", "never")
	f.forward(0)
}

// TestRunsKeepTheirNames: a command has the name that it has always had, so that what older
// versions have begun is found. Who changes what makes the name sends everything again.
func TestRunsKeepTheirNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths are other ones there")
	}
	conf := file(t, "fanfold.yaml", `destinations:
  a: {type: webhook, settings: {url: "http://127.0.0.1:18181/a"}, batch_events: 5, concurrency: 2}
  b: {type: webhook, settings: {url: "http://127.0.0.1:18181/b"}, batch_events: 5, concurrency: 2}
`)
	if id, before := runNames(t, conf, "/tmp/fixture/in.jsonl"); id != "hmuxy5ekr3" || before != "z3kcn2bvb4" {
		t.Errorf("the command is run %s, and was %s", id, before)
	}
}

// runNames are how a command calls its run, and how older versions called it.
func runNames(t *testing.T, conf, from string) (id, before string) {
	t.Helper()
	a := testApp(nil)
	root := a.root()
	for _, c := range root.Commands() {
		if c.Name() == "forward" {
			c.RunE = func(*cobra.Command, []string) error {
				s := &selection{from: []string{from}, format: "auto", schemes: source.Known()}
				j, err := a.prepareJob(s, &runOptions{}, nil)
				if err != nil {
					return err
				}
				id, before = j.Names()
				return nil
			}
		}
	}
	root.SetArgs([]string{"forward", "--config", conf})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return id, before
}

// TestManyDestinations kills a run with more destinations than a byte can number, in the
// middle, and goes on with it.
func TestManyDestinations(t *testing.T) {
	t.Parallel()
	const destinations, n = 300, 6
	var mu sync.Mutex
	seen, taken, half := map[string]int{}, 0, make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got []struct{ MessageID string }
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		mu.Lock()
		for _, e := range got {
			seen[r.URL.Path+" "+e.MessageID]++
		}
		if taken++; taken == destinations*n/2 {
			close(half)
		}
		mu.Unlock()
	}))
	defer server.Close()
	var conf strings.Builder
	conf.WriteString("destinations:\n")
	for i := range destinations {
		fmt.Fprintf(&conf, "  d%d: {type: webhook, settings: {url: %q}, batch_events: 1, concurrency: 1}\n", i,
			fmt.Sprint(server.URL, "/", i))
	}
	args := []string{"forward", "--from", file(t, "in.jsonl", events(n)), "--config", file(t, "fanfold.yaml",
		conf.String()), "--state-dir", t.TempDir(), "-o", "json", "--progress", "never"}
	bin := build(t)
	c := exec.Command(bin, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-half
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // killed
	e := fanfold(bin, nil, args...)
	if e.code != 0 {
		t.Fatalf("the resume: exit code %d: %s", e.code, e.errOut)
	}
	for _, d := range summaryOf(t, e.out).Destinations {
		if d.Delivered != n {
			t.Errorf("%+v", d)
		}
	}
	if again := fanfold(bin, nil, args...); again.code != 0 || !strings.Contains(again.errOut,
		"everything was delivered already") {
		t.Errorf("once more: exit code %d: %s", again.code, again.errOut)
	}
	mu.Lock()
	defer mu.Unlock()
	repeats := 0
	for _, times := range seen {
		repeats += times - 1
	}
	if len(seen) != destinations*n || repeats > destinations {
		t.Errorf("%d events arrived, %d of them twice", len(seen), repeats)
	}
}

// TestHousekeeping names runs by their beginnings, lists and removes them.
func TestHousekeeping(t *testing.T) {
	f := newForwarder(t, 20)
	first, _ := f.forward(0)
	f.p.answers(func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return true
	})
	second, _ := f.forward(4, "--fresh")
	age := func(run string, days int) {
		t.Helper()
		then := time.Now().Add(-time.Duration(days) * 24 * time.Hour)
		for _, name := range []string{"", "summary.json"} {
			if err := os.Chtimes(filepath.Join(f.state, "runs", run, name), then, then); err != nil {
				t.Fatal(err)
			}
		}
	}
	age(first.Run, 40)
	age(second.Run, 35)
	if out, _ := f.other(0, "runs", "show", "latest", "-o", "json"); summaryOf(t, out).Run != second.Run {
		t.Errorf("the latest is %s", out)
	}
	// To look at a run is not to use it.
	f.other(0, append([]string{"explain", "--limit", "1", "--where", `type = "track"`, "--run", first.Run}, f.args...)...)
	f.other(0, "report", first.Run)
	if out, _ := f.other(0, "runs", "show", "latest", "-o", "json"); summaryOf(t, out).Run != second.Run {
		t.Errorf("once the first was looked at, the latest is %s", out)
	}
	if out, _ := f.other(0, "runs", "show", second.Run[:len(second.Run)-1], "-o", "json"); summaryOf(t,
		out).Run != second.Run {
		t.Errorf("%s is of %s", second.Run[:len(second.Run)-1], out)
	}
	if out, _ := f.other(0, "runs", "show", first.Run, "-o", "json"); summaryOf(t, out).Run != first.Run {
		t.Errorf("%s, which another name begins with, is of %s", first.Run, out)
	}
	if _, errOut := f.other(2, "runs", "show", first.Run[:3]); !strings.Contains(errOut, "several runs begin with") {
		t.Errorf("a beginning of two: %s", errOut)
	}
	if _, errOut := f.other(2, "runs", "show", "x"+first.Run[1:]); !strings.Contains(errOut, "did you mean "+first.Run) {
		t.Errorf("a name of none: %s", errOut)
	}
	out, _ := f.other(0, "runs", "list")
	if !strings.Contains(out, "SKIPPED") || !strings.Contains(out, "kB") ||
		strings.Index(out, second.Run) > strings.LastIndex(out, first.Run+" ") {
		t.Errorf("the list:\n%s", out)
	}
	out, _ = f.other(0, "runs", "list", "-o", "json")
	for line := range strings.Lines(out) {
		var run struct {
			Run         string    `json:"run"`
			LastUsed    time.Time `json:"last_used"`
			Bytes       int64     `json:"state_bytes"`
			Destination []any     `json:"destinations"`
		}
		if err := json.Unmarshal([]byte(line), &run); err != nil || run.Bytes < 1000 || run.Bytes > 1e6 ||
			time.Since(run.LastUsed) < 30*24*time.Hour || len(run.Destination) != 1 {
			t.Errorf("%s: %+v, %v", line, run, err)
		}
	}
	dry := "would remove " + first.Run + " ("
	for _, c := range []struct{ args, want string }{
		{"--older-than 36d --dry-run", dry},
		{"--older-than 5w --keep-incomplete --dry-run", dry},
		{"--older-than 41d --dry-run", ""},
		{"--older-than 1000h --dry-run -o json", ""},
		{"--older-than 959h --dry-run -o json", `{"run":"` + first.Run + `","removed":false,"state_bytes":`},
		{"--older-than 30d --keep-incomplete -o json", `{"run":"` + first.Run + `","removed":true,"state_bytes":`},
		{"--older-than 30d --keep-incomplete", ""},
		{"--older-than 30d", ""},
		{"--older-than 30d --unfinished --dry-run", "would remove " + second.Run + " ("},
		{"--older-than 30d --unfinished", "removed " + second.Run + " ("},
	} {
		out, _ := f.other(0, append([]string{"runs", "prune"}, strings.Fields(c.args)...)...)
		if !strings.HasPrefix(out, c.want) || c.want == "" && out != "" {
			t.Errorf("prune %s: %s, want %s", c.args, out, c.want)
		}
	}
	if out, _ := f.other(0, "runs", "list", "-o", "json"); out != "" {
		t.Errorf("left: %s", out)
	}
	for _, args := range [][]string{{}, {"--older-than", "x"}, {"--older-than", "-3d"}, {"--older-than", "d"}} {
		f.other(2, append([]string{"runs", "prune"}, args...)...)
	}
}

// TestLostState takes away parts of what a run has left: the command does not take it for
// a new run, and sends nothing.
func TestLostState(t *testing.T) {
	f := newForwarder(t, 50)
	f.refuses(func(id string) bool { return id == "m7" })
	first, _ := f.forward(3)
	dir := filepath.Join(f.state, "runs", first.Run)
	kept := t.TempDir()
	if err := os.CopyFS(kept, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	f.p.once(t, 49)
	for name, damage := range map[string]func() error{
		"the journal emptied": func() error { return os.Truncate(filepath.Join(dir, "journal.db"), 0) },
		"the journal removed": func() error { return os.Remove(filepath.Join(dir, "journal.db")) },
		"all but the summary": func() error { return onlyKeep(dir, "summary.json") },
		"all but the letters": func() error { return onlyKeep(dir, "dead") },
		"the letters":         func() error { return os.RemoveAll(filepath.Join(dir, "dead")) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, errOut := f.forward(1); !strings.Contains(errOut, "is damaged") || !strings.Contains(errOut, "runs rm") {
			t.Errorf("%s: %s", name, errOut)
		}
		if name != "all but the letters" { // there is nothing to redrive without a summary
			if _, errOut := f.redrive(1, first.Run); !strings.Contains(errOut, "is damaged") {
				t.Errorf("%s, a redrive: %s", name, errOut)
			}
		}
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(kept))); err != nil {
			t.Fatal(err)
		}
	}
	f.p.once(t, 49)
	if _, errOut := f.forward(3); !strings.Contains(errOut, "nothing is new") {
		t.Errorf("when all is there again: %s", errOut)
	}
}

// onlyKeep removes everything in a folder but one entry.
func onlyKeep(dir, name string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != name {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
