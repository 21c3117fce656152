package cmd

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// running is a fanfold that goes on until it is ended.
type running struct {
	*exec.Cmd
	t     *testing.T
	in    io.WriteCloser // its standard input
	out   strings.Builder
	done  sync.WaitGroup
	mu    sync.Mutex
	lines []string // of its standard error
	more  *sync.Cond
	gone  bool
}

// begin starts the real binary.
func begin(t *testing.T, args ...string) *running {
	t.Helper()
	return beginIn(t, nil, args...)
}

// beginIn starts the real binary with more in its environment.
func beginIn(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	r := &running{Cmd: exec.Command(build(t), args...), t: t}
	r.Env = append(os.Environ(), env...)
	r.more = sync.NewCond(&r.mu)
	var err error
	if r.in, err = r.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r.Stdout = &r.out
	said, err := r.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Process.Kill() }) // it may have ended
	r.done.Go(func() {
		for s := bufio.NewScanner(said); s.Scan(); {
			r.mu.Lock()
			r.lines = append(r.lines, s.Text())
			r.more.Broadcast()
			r.mu.Unlock()
		}
		r.mu.Lock()
		r.gone = true
		r.more.Broadcast()
		r.mu.Unlock()
	})
	return r
}

// says waits until a line with a text has been said.
func (r *running) says(text string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for at := 0; ; r.more.Wait() {
		for ; at < len(r.lines); at++ {
			if strings.Contains(r.lines[at], text) {
				return
			}
		}
		if r.gone {
			r.t.Fatalf("it has ended, and not said %q:\n%s", text, strings.Join(r.lines, "\n"))
		}
	}
}

// gives writes to its standard input.
func (r *running) gives(text string) {
	r.t.Helper()
	if _, err := io.WriteString(r.in, text); err != nil {
		r.t.Fatal(err)
	}
}

// ends sends a signal and returns the exit code, and what was said.
func (r *running) ends(sig os.Signal) (code int, out, said string) {
	r.t.Helper()
	if sig != nil {
		if err := r.Process.Signal(sig); err != nil {
			r.t.Fatal(err)
		}
	}
	r.done.Wait()
	_ = r.Wait() // the exit code says it
	return r.ProcessState.ExitCode(), r.out.String(), strings.Join(r.lines, "\n")
}

// tracks are events with numbers.
func tracks(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, `{"type":"track","event":"E","messageId":"m%d","userId":"u%d"}`+"\n", i, i%7)
	}
	return b.String()
}

// onceBut fails unless n events have arrived, each once but those from one number to another,
// which may have arrived twice.
func (p *partner) onceBut(t *testing.T, n, from, to int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range n {
		times := p.seen[fmt.Sprintf("m%d", i)]
		if times != 1 && (i < from || i >= to || times != 2) {
			t.Errorf("event m%d has arrived %d times", i, times)
		}
	}
	if len(p.seen) != n {
		t.Errorf("%d events have arrived, not %d", len(p.seen), n)
	}
}

// TestLiveStream ends a run of a stream that has no end, in all ways, and gives the same
// command another pipe: what was pending goes out, and then what the pipe brings.
func TestLiveStream(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	args := []string{"forward", "--from", "-", "--to", "webhook", "--set", "webhook.url=" + p.URL, "--state-dir",
		t.TempDir(),
		"--progress", "never", "-o", "json"}
	r := begin(t, args...)
	r.gives(tracks(0, 10))
	p.await(10)
	if code, _, said := r.ends(syscall.SIGTERM); code != 4 ||
		!strings.Contains(said, "is incomplete: the same command goes on") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	// A partner that is down, and kill -9 with events on the disk.
	p.answers(func(w http.ResponseWriter, _ *http.Request, _ []string) bool { w.WriteHeader(503); return true })
	r = begin(t, args...)
	r.gives(tracks(0, 10))
	r.says("standard input begins as it did: it goes on behind")
	r.gives(tracks(10, 20))
	asked := make(chan struct{})
	var once sync.Once
	p.answers(func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
		once.Do(func() { close(asked) })
		w.WriteHeader(503)
		return true
	})
	<-asked
	r.ends(syscall.SIGKILL)
	p.answers(nil)
	// Another pipe, that brings nothing at first: what is on the disk does not wait for it.
	r = begin(t, args...)
	p.await(20)
	r.gives(tracks(20, 30))
	r.says("standard input is a new stream")
	p.await(30)
	if err := r.in.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out, said := r.ends(nil); code != 0 || summaryOf(t, out).Destinations[0].Delivered != 30 {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	p.once(t, 30)
	// With --follow, a stop is the end that was expected.
	r = begin(t, append(args, "--follow")...)
	r.gives(tracks(30, 40))
	p.await(40)
	if code, out, said := r.ends(syscall.SIGINT); code != 0 || !strings.Contains(said, "nothing is pending") {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	p.once(t, 40)
}

// TestLiveTables stops a pipe that brings a table, in all ways and also in the middle of a row, and gives the same
// command another one: what was pending goes out, and the new one is read for itself, whatever stands in it.
func TestLiveTables(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	rows := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "track,E,u%d,m%d\n", i%7, i)
		}
		return b.String()
	}
	const head = "type,event,userId,messageId\n"
	args := []string{"forward", "--from", "-", "--to", "webhook", "--set", "webhook.url=" + p.URL, "--state-dir",
		t.TempDir(), "--progress", "never", "-o", "json", "--follow"}
	r := begin(t, args...)
	r.gives(head + rows(0, 10))
	p.await(10)
	if code, out, said := r.ends(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	r = begin(t, args...)
	r.gives(head + rows(10, 20))
	r.says("standard input is a new stream: it follows the")
	p.await(20)
	asked := make(chan struct{})
	var once sync.Once
	p.answers(func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
		once.Do(func() { close(asked) })
		w.WriteHeader(503)
		return true
	})
	r.gives(rows(20, 25) + "track,E,u")
	<-asked
	r.ends(syscall.SIGKILL)
	p.answers(nil)
	r = begin(t, args...)
	p.await(25) // does not wait for the pipe
	r.gives(rows(25, 30))
	r.says("it has no header, so that its columns are those of the one before")
	p.await(30)
	if code, out, said := r.ends(syscall.SIGINT); code != 3 || summaryOf(t, out).BadReasons["truncated"] != 1 {
		t.Fatalf("exit code %d: %s%s", code, out, said) // for the row that was torn
	}
	r = begin(t, args[:len(args)-1]...)
	r.gives("[" + strings.ReplaceAll(strings.TrimSpace(tracks(30, 40)), "\n", ",") + "]")
	r.says("it is one JSON array of Segment-spec events")
	r.in.Close()
	code, out, said := r.ends(nil)
	if s := summaryOf(t, out); code != 3 || s.Read != 41 || s.Destinations[0].Delivered != 40 {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	p.onceBut(t, 40, 10, 25)
}

// TestFollow follows a folder: files that grow, that are new, that are rotated, also between
// two processes, of which one is killed.
func TestFollow(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	adds := func(name, text string) {
		t.Helper()
		f, err := os.OpenFile(path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	moves := func(from, to string) {
		t.Helper()
		if err := os.Rename(path(from), path(to)); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"forward", "--from", dir, "--to", "webhook", "--set", "webhook.url=" + p.URL, "--state-dir",
		t.TempDir(),
		"--progress", "never", "-o", "json", "--follow", "--poll", "1s"}
	r := begin(t, args...)
	adds("app.log", tracks(0, 10))
	p.await(10)
	torn := tracks(10, 20)
	adds("app.log", torn[:len(torn)-20]) // the last line is not whole yet
	p.await(19)
	adds("app.log", torn[len(torn)-20:]+tracks(20, 25))
	p.await(25)
	moves("app.log", "app.log.1")
	adds("app.log.1", tracks(25, 30)) // by who had it open
	adds("app.log", tracks(30, 40))
	p.await(40)
	if err := os.Mkdir(path("more"), 0o700); err != nil {
		t.Fatal(err)
	}
	adds("more/b.jsonl", tracks(40, 50))
	p.await(50)
	r.ends(syscall.SIGKILL)
	adds("app.log", tracks(50, 60))
	moves("app.log.1", "app.log.2")
	moves("app.log", "app.log.1")
	adds("app.log", tracks(60, 70))
	r = begin(t, args...)
	p.await(70)
	adds("app.log", tracks(70, 80))
	p.await(80)
	code, out, said := r.ends(syscall.SIGTERM)
	if code != 0 || !strings.Contains(said, "nothing is pending") {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	p.onceBut(t, 80, 40, 50) // what may have been in flight at the kill
	if s := summaryOf(t, out); s.Read != 80 || s.BadRecords != 0 || s.Destinations[0].Delivered != 80 {
		t.Errorf("summary %s", out)
	}
	// Without --follow the same command has nothing to do.
	r = begin(t, args[:len(args)-3]...)
	if code, _, said := r.ends(nil); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	p.onceBut(t, 80, 40, 50)
}

// TestRedriveOfDays redrives a followed run whose dead letters are of several days: all of them go out, once.
func TestRedriveOfDays(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	dir, state := t.TempDir(), t.TempDir()
	p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		refused := ids[0] == "m1" || ids[0] == "m6" || ids[0] == "m7"
		if refused {
			http.Error(w, "no", http.StatusBadRequest)
		}
		return refused
	})
	partner := []string{"--to", "webhook", "--set", "webhook.url=" + p.URL, "--opt", "webhook.batch_events=1",
		"--state-dir", state, "--progress", "never", "-o", "json"}
	args := append([]string{"forward", "--from", dir, "--follow", "--poll", "1s"}, partner...)
	for day, until := range []int{5, 10} {
		r := begin(t, args...)
		name := filepath.Join(dir, fmt.Sprintf("%d.jsonl", day))
		if err := os.WriteFile(name, []byte(tracks(until-5, until)), 0o600); err != nil {
			t.Fatal(err)
		}
		p.await([]int{4, 7}[day])
		if code, out, said := r.ends(syscall.SIGTERM); code != 3 {
			t.Fatalf("exit code %d: %s%s", code, out, said)
		}
		if day == 0 { // these letters are of an earlier day
			days, err := filepath.Glob(filepath.Join(state, "runs", "*", "dead", "*-*-*"))
			if err != nil || len(days) != 1 {
				t.Fatal(days, err)
			}
			if err := os.Rename(days[0], filepath.Join(filepath.Dir(days[0]), "2024-05-30")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if days, err := filepath.Glob(filepath.Join(state, "runs", "*", "dead", "*-*-*")); err != nil || len(days) != 2 {
		t.Fatalf("the folders of days: %v, %v", days, err)
	}
	p.answers(nil)
	again := append([]string{"redrive", "latest"}, partner...)
	for _, want := range []string{`"delivered":3`, "sent again already"} {
		if code, out, said := begin(t, again...).ends(nil); code != 0 || !strings.Contains(out+said, want) {
			t.Fatalf("exit code %d, want %s: %s%s", code, want, out, said)
		}
	}
	p.once(t, 10)
	args = append([]string{"forward", "--from", dir}, partner...)
	if code, out, said := begin(t, args...).ends(nil); code != 0 { // all that was refused has been redriven
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
}

// TestKilledBehindTheEnd kills the process that reads what a finished run has grown by: the next one does not say that
// all is delivered, and delivers it. While it works, prune says why it keeps the run.
func TestKilledBehindTheEnd(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	dir, state := t.TempDir(), t.TempDir()
	args := []string{"forward", "--from", dir, "--to", "webhook", "--set", "webhook.url=" + p.URL, "--state-dir", state,
		"--progress", "never", "-o", "json"}
	write := func(name string, from, to int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(tracks(from, to)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.jsonl", 0, 5)
	if code, out, said := begin(t, args...).ends(nil); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	write("b.jsonl", 5, 10)
	asked := make(chan struct{})
	var once sync.Once
	p.answers(func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
		once.Do(func() { close(asked) })
		w.WriteHeader(503)
		return true
	})
	r := begin(t, args...)
	<-asked
	prune := begin(t, "runs", "prune", "--older-than", "0s", "--unfinished", "--state-dir", state)
	if code, out, said := prune.ends(nil); code != 0 || out != "" ||
		!strings.Contains(said, "a process is working on it") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	r.ends(syscall.SIGKILL)
	p.answers(nil)
	code, out, said := begin(t, args...).ends(nil)
	if code != 0 || strings.Contains(said, "everything was delivered already") ||
		summaryOf(t, out).Destinations[0].Delivered != 10 {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	p.once(t, 10)
}
