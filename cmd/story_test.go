package cmd

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
)

// counting is a stand-in that counts what a report is held against.
type counting struct {
	*partner
	mu       sync.Mutex
	requests int            // that have come
	events   map[string]int // how often each event has come, taken or not
	refused  map[string]int // deliveries that were refused, by the name of the event's id
	again    int            // requests with something that had come before
}

func newCounting(t *testing.T) *counting {
	return &counting{partner: newPartner(t), events: map[string]int{}, refused: map[string]int{}}
}

// does has the stand-in answer so, and counts.
func (c *counting) does(answer func(w http.ResponseWriter, r *http.Request, ids []string, n int) bool) {
	c.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
		c.mu.Lock()
		c.requests++
		n, again := c.requests, 0
		for _, id := range ids {
			if c.events[id]++; c.events[id] > 1 {
				again = 1
			}
		}
		c.again += again
		c.mu.Unlock()
		return answer(w, r, ids, n)
	})
}

// refuses answers 400 where one of the events is such: the others come again in parts.
func (c *counting) refuses(w http.ResponseWriter, ids []string, prefix string) bool {
	i := slices.IndexFunc(ids, func(id string) bool { return strings.HasPrefix(id, prefix) })
	if i < 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[ids[i]]++
	http.Error(w, `{"param":"email","message":"is no address"}`, http.StatusBadRequest)
	return true
}

// hardRun is a run with a crash, two resumes, a pause of an hour that a partner asks for, and three redrives.
type hardRun struct {
	t     *testing.T
	hook  *counting
	later time.Duration // what the clock of fanfold is ahead
	args  []string
	env   map[string]string
}

// do runs a command, with the clock ahead. begun is told of its app.
func (h *hardRun) do(want int, begun func(*app), args ...string) string {
	h.t.Helper()
	a := testApp(h.env)
	a.now = func() time.Time { return time.Now().Add(h.later) }
	if begun != nil {
		begun(a)
	}
	if code := a.execute(h.t.Context(), args); code != want {
		h.t.Fatalf("%v: exit code %d: %s%s", args, code, a.out, a.err)
	}
	return fmt.Sprint(a.out)
}

// crash has the real binary killed while its fifth request is on its way.
func (h *hardRun) crash() {
	p := exec.Command(build(h.t), h.args...)
	for k, v := range h.env {
		p.Env = append(p.Env, k+"="+v)
	}
	started := make(chan struct{})
	h.hook.does(func(w http.ResponseWriter, r *http.Request, ids []string, n int) bool {
		if n < 5 {
			return h.hook.refuses(w, ids, "bad")
		}
		<-started
		if err := p.Process.Signal(syscall.SIGKILL); err != nil {
			h.t.Error(err)
		}
		<-r.Context().Done()
		return true
	})
	if err := p.Start(); err != nil {
		h.t.Fatal(err)
	}
	close(started)
	if err := p.Wait(); err == nil || p.ProcessState.ExitCode() != -1 {
		h.t.Fatalf("it was not killed: %v", err)
	}
}

// pause has the partner ask for an hour, and the run be stopped while it waits; an hour later it goes on.
func (h *hardRun) pause() {
	stop := make(chan os.Signal, 1)
	h.hook.does(func(w http.ResponseWriter, _ *http.Request, ids []string, n int) bool {
		if n < 12 {
			return h.hook.refuses(w, ids, "bad")
		}
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "an hour, please", http.StatusTooManyRequests)
		stop <- os.Interrupt
		return true
	})
	h.do(exitIncomplete, func(a *app) { a.interrupts = &interrupts{stop} }, h.args...)
	h.later = time.Hour + 2*time.Second
}

// TestReportOfAHardRun: the numbers of the report of a run that was killed, resumed, told to wait for an hour,
// stopped, resumed and redriven three times are those that the stand-in has counted.
func TestReportOfAHardRun(t *testing.T) {
	t.Parallel()
	h := &hardRun{t: t, hook: newCounting(t), env: map[string]string{"XDG_STATE_HOME": t.TempDir()}}
	var lines strings.Builder
	bad := 0
	for i := range 600 {
		id := fmt.Sprintf("good-%d", i)
		if i%40 == 7 {
			id = fmt.Sprintf("bad-%d", bad%3) + fmt.Sprintf("-%d", i)
			bad++
		}
		fmt.Fprintf(&lines, `{"type":"track","event":"E%d","userId":"u","messageId":%q,"timestamp":"2026-0%d-01T00:00:00Z"}`+
			"\n",
			i%3, id, 1+i/100)
	}
	in, dir := file(t, "in.jsonl", lines.String()+"no event\n"), t.TempDir()
	conf := []string{"--config", filepath.Join(dir, "fanfold.yaml")}
	text := "destinations:\n  hook: {type: webhook, settings: {url: '" + h.hook.URL +
		"'}, batch_events: 20, concurrency: 1}\n"
	if err := os.WriteFile(conf[1], []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := filepath.Join(dir, "plan.json")
	h.do(exitRejected, nil, append([]string{"plan", "--from", in, "--save", plan}, conf...)...)
	h.args = append([]string{"forward", "--from", in, "--plan", plan, "-o", "json", "--progress", "never"}, conf...)
	h.crash()
	h.pause()
	h.hook.does(func(w http.ResponseWriter, _ *http.Request, ids []string, _ int) bool {
		return h.hook.refuses(w, ids, "bad")
	})
	s := summaryOf(t, h.do(exitRejected, nil, h.args...))
	h.hook.mu.Lock()
	requests, again := h.hook.requests, h.hook.again
	h.hook.mu.Unlock()
	story := h.story(s.Run)
	h.same("requests", story.Summary.Destinations[0].Requests, uint64(requests))
	// Of what an earlier process was told to send later, the next one does not know that it came before.
	h.same("retries", story.Summary.Destinations[0].Retries, uint64(again-1))
	h.same("rejected events", engine.Total(story.Summary.Destinations[0].Rejected), uint64(bad))
	h.same("delivered events", story.Summary.Destinations[0].Delivered, uint64(600-bad))
	if n := story.Summary.Destinations[0].InDoubt; n == 0 || n > 20 {
		t.Errorf("%d events were in doubt, of a request of at most 20", n)
	}

	redriven := h.redrives(s.Run, conf)
	story = h.story(s.Run)
	if want := fmt.Sprintf("%d + %d redriven = %d of 600 arrived", 600-bad, redriven,
		600-bad+redriven); story.Headline != want {
		t.Errorf("the headline is %q, want %q", story.Headline, want)
	}
	h.told(story, s.Run)
}

// redrives sends the dead letters again in three redrives, of which the second is refused again, and returns how
// many arrive.
func (h *hardRun) redrives(run string, conf []string) (redriven int) {
	is := func(i int) string { return fmt.Sprintf("bad-%d", i) }
	h.hook.does(func(w http.ResponseWriter, _ *http.Request, ids []string, _ int) bool {
		return h.hook.refuses(w, ids, is(1))
	})
	for i := range 3 {
		h.later += time.Minute
		want := exitOK
		if i == 1 {
			want = exitRejected
		}
		args := append([]string{"redrive", run, "--filter", `match(messageId, "` + is(i) + `*")`, "-o", "json", "--opt",
			"hook.batch_events=1"}, conf...)
		redriven += int(summaryOf(h.t, h.do(want, nil, args...)).Destinations[0].Delivered)
	}
	return redriven
}

// told is what a report tells, as its document.
type told struct {
	Headline string
	Summary  engine.Summary
	History  struct {
		Processes []struct{ Status string }
		Courses   map[string]*engine.Course
	}
	Redrives []struct{ Delivered, Rejected, Pending uint64 }
	Groups   map[string][]struct {
		Key               string
		Letters, Redriven uint64
	} `json:"dead_letter_groups"`
}

func (h *hardRun) story(run string) (s told) {
	h.t.Helper()
	if err := json.Unmarshal([]byte(h.do(exitOK, nil, "report", run, "-o", "json")), &s); err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *hardRun) same(what string, told, counted uint64) {
	h.t.Helper()
	if told != counted {
		h.t.Errorf("%s: the report says %d, the stand-in has counted %d", what, told, counted)
	}
}

// told compares what is told of the run's time, of its dead letters and redrives with what the stand-in knows.
func (h *hardRun) told(s told, run string) {
	t := h.t
	h.hook.partner.mu.Lock()
	arrived, taken := uint64(len(h.hook.seen)), 0
	for _, n := range h.hook.seen {
		taken += n
	}
	h.hook.partner.mu.Unlock()
	d := s.Summary.Destinations[0]
	h.same("events that have arrived", d.Delivered+engine.Total(d.Redriven), arrived)
	h.same("events that have arrived twice", 0, uint64(taken)-arrived)
	var statuses []string
	for _, p := range s.History.Processes {
		statuses = append(statuses, p.Status)
	}
	if want := []string{"killed", "incomplete", "complete"}; !slices.Equal(statuses, want) {
		t.Errorf("the processes were %v, want %v", statuses, want)
	}
	c := s.History.Courses["hook"]
	var paused engine.Seconds
	var answered, retries uint64
	for _, slot := range c.Slots {
		paused, answered, retries = paused+slot.Paused, answered+slot.Requests, retries+slot.Retries
	}
	if paused < 3600 || paused > 3605 {
		t.Errorf("the partner asked for 3600 s, the report says %.0f", paused)
	}
	// What the process that was killed had not written down yet is missing of the course: at most its requests.
	if answered > d.Requests || d.Requests-answered > 5 || retries > d.Retries {
		t.Errorf("%d requests over time, %d of them retries; in all %d and %d", answered, retries, d.Requests, d.Retries)
	}
	redriven, refused := uint64(0), uint64(0)
	for _, r := range s.Redrives {
		redriven, refused = redriven+r.Delivered, refused+r.Rejected
	}
	h.same("redrives", uint64(len(s.Redrives)), 3)
	h.same("events that redrives have delivered", redriven, engine.Total(d.Redriven))
	h.same("events that were refused again", refused, engine.Total(d.Rejected)-redriven)
	letters := uint64(0)
	for _, g := range s.Groups["reason"] {
		if g.Key == "refused, status 400" {
			letters = g.Letters
			h.same("dead letters that are redriven", g.Redriven, redriven)
		}
	}
	h.hook.mu.Lock()
	h.same("dead letters", letters, uint64(len(slices.Collect(maps.Keys(h.hook.refused)))))
	h.hook.mu.Unlock()
	page := h.do(exitOK, nil, "report", run)
	checkPage(t, page)
	for _, want := range []string{"Its process was killed", "It was resumed, with 39 delivered", "it was incomplete",
		"it was complete", "Redrive ",
		"paused for 1h", "Plan and outcome"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if dir := os.Getenv("FANFOLD_PAGES"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "hard.html"), []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
