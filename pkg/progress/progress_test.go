package progress

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/printable"
)

// TestPlainProgress says nothing of a destination twice.
func TestPlainProgress(t *testing.T) {
	var out strings.Builder
	said := map[string]string{}
	done := engine.Progress{Name: "a", Done: 3, Total: 3, AllRead: true, State: "done"}
	p, now := newPainter(), time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	b := engine.Progress{Name: "b", Done: 1, Total: 30, State: "running"}
	p.plain(&out, []engine.Progress{done, b}, now, said)
	b.Done, b.AllRead, b.Waits, b.State, b.Last = 11, true, true, "keeps to its rate limit", "status 503: busy"
	p.plain(&out, []engine.Progress{done, b}, now.Add(10*time.Second), said)
	p.plain(&out, []engine.Progress{done, b}, now.Add(40*time.Second), said) // a limit that lets go once a minute
	want := `b: running, 1 of 30+ events, 0 in flight, 0 retries, 0 rejected
a: done, 3 of 3 events, 0 in flight, 0 retries, 0 rejected
b: keeps to its rate limit, 11 of 30 events, 1 events/s, 19s left, 0 in flight, 0 retries, 0 rejected; the last problem: status 503: busy
b: keeps to its rate limit, 11 of 30 events, 15 events/min, 1m16s left, 0 in flight, 0 retries, 0 rejected; the last problem: status 503: busy
`
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", out.String(), want)
	}
}

// TestLines shows what this process does, from where it resumes, and how much of
// all only when that is known.
func TestLines(t *testing.T) {
	p := newPainter()
	begin := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	// Nothing is read yet when a run resumes.
	s := engine.Progress{Name: "hook", Done: 89000, State: "running", Objects: 1}
	for _, step := range []struct {
		after  time.Duration
		change func()
		want   string
		narrow int
	}{
		{want: "hook  89000 events, 0 in flight"},
		{after: time.Second, change: func() { s.Done, s.Total, s.InFlight = 90000, 94000, 3 },
			want: "hook  90000 events, 1000 events/s, 3 in flight"},
		{after: 2 * time.Second, change: func() { s.Done, s.Objects, s.Position.Object = 91000, 7, 2 },
			want: "hook  91000 events, object 3 of 7, 1000 events/s, 3 in flight"},
		{after: 9 * time.Second, change: func() { s.Done, s.Total, s.About = 98000, 100000, 196987 },
			want: "hook  49% ███████········· (98000/~197000), 1000 events/s, 1m39s left, 3 in flight"},
		{after: 9 * time.Second, change: func() { s.Done, s.Total, s.AllRead = 98000, 196000, true },
			want: "hook  50% ████████········ (98000/196000), 1000 events/s, 1m38s left, 3 in flight"},
		{after: 9 * time.Second, narrow: 70, want: "hook  50% ████···· (98000/196000), 1000 events/s, 1m38s left"},
		{after: 9 * time.Second, narrow: 56, want: "hook  50% ████····, 1000 events/s, 1m38s left"},
		{after: 9 * time.Second, narrow: 44, want: "hook  50% (98000/196000)"},
		{after: 9 * time.Second, narrow: 40, want: "hook  50% (98000/196000)"},
		// What was long ago is no part of the rate.
		{after: 19 * time.Second, change: func() { s.Done, s.State = 98005, "keeps to its rate limit" },
			want: "hook  50% ████████········ (98005/196000), 30 events/min, 54h27m left, 3 in flight, keeps to its rate " +
				"limit"},
		{after: 29 * time.Second, want: "hook  50% ████████········ (98005/196000), 3 in flight, keeps to its rate limit"},
		// But where a limit holds it back for so long, what it does on the whole.
		{after: 30 * time.Second, change: func() { s.Waits = true },
			want: "hook  50% ████████········ (98005/196000), 300 events/s, 5m26s left, 3 in flight, keeps to its rate limit"},
		{after: 39 * time.Second, change: func() {
			s.Done, s.State, s.InFlight, s.Retries, s.Rejected = 196000, "done", 0, 2, 1
		}, want: "hook 100% ████████████████ (196000/196000), 0 in flight, 1 rejected, 2 retries, done"},
	} {
		if step.change != nil {
			step.change()
		}
		width := 140
		if step.narrow > 0 {
			width = step.narrow
		}
		if got := p.lines([]engine.Progress{s}, begin.Add(step.after), width, 24); len(got) != 1 || got[0] != step.want {
			t.Errorf("after %v\n%s\nwant\n%s", step.after, got, step.want)
		}
	}
	if got := p.lines([]engine.Progress{{Name: "none", AllRead: true, State: "done"}}, begin, 80,
		24); got[0] != "none  0 events, 0 in flight, done" {
		t.Error(got)
	}
}

// TestTrouble: what is wrong with a partner can be read while it is tried again, also on a
// narrow terminal, where the name and the counts give way; and nothing of it is obeyed.
func TestTrouble(t *testing.T) {
	const refused = "dial tcp 127.0.0.1:1: connect: connection refused"
	s := engine.Progress{Name: "product-analytics-of-europe", Done: 10, Total: 1000, AllRead: true, Retries: 5,
		State: "partner fails, next probe in 3s", Problem: refused}
	for _, c := range []struct {
		width   int
		problem string
		want    string
	}{
		{140, refused, "product-analytics-of-europe, 10 of 1000, 5 retries, partner fails, next probe in 3s: " + refused},
		{120, "it is busy",
			"product-analytics-of-europe, 10 of 1000, 5 retries, partner fails, next probe in 3s: it is busy"},
		{116, refused + "!", "product…rope, 5 retries, partner fails, next probe in 3s: " + refused + "!"},
		{80, refused, "product…rope, 5 retries: " + refused},
		{40, refused, "product…rope: …nect: connection refused"},
		{40, "status 503: come back when the moon is full", "product…rope: status 503: come back wh…"},
		{80, "\x1b[2Jstatus", `product…rope, 5 retries, partner fails, next probe in 3s: \u001b[2Jstatus`},
	} {
		s.Problem = c.problem
		got := newPainter().lines([]engine.Progress{s}, time.Time{}, c.width, 24)
		if len(got) != 1 || got[0] != c.want || len([]rune(got[0])) >= c.width {
			t.Errorf("%d columns:\n%s\nwant\n%s", c.width, got, c.want)
		}
	}
	var out strings.Builder
	newPainter().plain(&out, []engine.Progress{{Name: "a", State: "running", Retries: 2, Problem: refused}}, time.Time{},
		map[string]string{})
	if want := "2 retries, 0 rejected; the last problem: " + refused + "\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("printed %s", &out)
	}
}

// TestLag shows of input that has no end how far behind it a destination is, and no total, bar or time
// that is left, in bars, in plain lines and where something is wrong.
func TestLag(t *testing.T) {
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	const refused = "dial tcp 127.0.0.1:1: connect: connection refused"
	for _, c := range []struct {
		name         string
		s            engine.Progress
		bar, plainly string
	}{
		{"up to date", engine.Progress{Done: 100, Total: 100, State: "running"},
			"hook  100 events, up to date, 0 in flight", "hook: running, 100 events, up to date, 0 in flight"},
		{"just read", engine.Progress{Done: 100, Total: 103, State: "running", Oldest: now.Add(-400 * time.Millisecond)},
			"hook  100 events, 3 events behind, 0 in flight", "hook: running, 100 events, 3 events behind, 0 in flight"},
		{"hours behind", engine.Progress{Done: 100, Total: 5100, Unread: 12_345_678, Oldest: now.Add(-3 * time.Hour),
			State: "paused by the partner for 1m0s", Waits: true},
			"hook  100 events, lag 3h0m0s, 5000 events and 12.3 MB to read behind, 0 in flight, paused by the partner for 1m0s",
			"hook: paused by the partner for 1m0s, 100 events, lag 3h0m0s, 5000 events and 12.3 MB to read behind, 0 in flight"},
		{"nothing read yet", engine.Progress{Done: 100, Unread: 512, State: "running"},
			"hook  100 events, 512 B to read behind, 0 in flight",
			"hook: running, 100 events, 512 B to read behind, 0 in flight"},
		{"a clock that was set back", engine.Progress{Done: 1, Total: 2, State: "running", Oldest: now.Add(time.Hour)},
			"hook  1 event, 1 event behind, 0 in flight", "hook: running, 1 event, 1 event behind, 0 in flight"},
		{"trouble", engine.Progress{Done: 1, Total: 2, State: "partner fails, next probe in 3s", Retries: 2, Problem: refused,
			Oldest: now.Add(-time.Minute)},
			"hook, lag 1m0s, 1 event behind, 2 retries, partner fails, next probe in 3s: " + refused,
			"hook: partner fails, next probe in 3s, 1 event, lag 1m0s, 1 event behind, 0 in flight, 2 retries"},
	} {
		c.s.Name, c.s.Follows = "hook", true
		if got := newPainter().lines([]engine.Progress{c.s}, now, 140, 24); len(got) != 1 || got[0] != c.bar {
			t.Errorf("%s\n%q\nwant\n%s", c.name, got, c.bar)
		}
		var out strings.Builder
		newPainter().plain(&out, []engine.Progress{c.s}, now, map[string]string{})
		if !strings.HasPrefix(out.String(), c.plainly) {
			t.Errorf("%s\n%swant\n%s", c.name, &out, c.plainly)
		}
	}
	// The rate stands before it.
	p := newPainter()
	s := engine.Progress{Name: "hook", Follows: true, State: "running"}
	p.lines([]engine.Progress{s}, now, 140, 24)
	s.Done, s.Total = 100, 100
	if got := p.lines([]engine.Progress{s}, now.Add(2*time.Second), 140, 24); got[0] !=
		"hook  100 events, 50 events/s, up to date, 0 in flight" {
		t.Errorf("%q", got)
	}
}

// TestLinesFit shows those at work where there is not room for all.
func TestLinesFit(t *testing.T) {
	var ps []engine.Progress
	for i := range 30 {
		ps = append(ps, engine.Progress{Name: fmt.Sprintf("d%02d", i), State: "done"})
	}
	ps[29].State = "running"
	got := newPainter().lines(ps, time.Time{}, 80, 6)
	want := []string{"d29  0 events, 0 in flight", "d00  0 events, 0 in flight, done",
		"d01  0 events, 0 in flight, done", "d02  0 events, 0 in flight, done", "and 26 more"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got = newPainter().lines(ps[:5], time.Time{}, 80, 6); len(got) != 5 {
		t.Errorf("%q", got)
	}
	// What has failed comes first, and its news is whole where its name is not.
	long := strings.Repeat("warehouse-of-", 5)
	ps = append(ps, engine.Progress{Name: long + "a", State: "running", Problem: "status 500: oh no", Retries: 3},
		engine.Progress{Name: long + "b", State: "stopped: the credentials are refused", Stopped: true, Rejected: 12})
	got = newPainter().lines(ps, time.Time{}, 80, 24)
	if len(got) != 23 || !strings.HasPrefix(got[0], "warehou…of-b") ||
		!strings.HasSuffix(got[0], ", 12 rejected, stopped: the credentials are refused") ||
		!strings.HasSuffix(got[1], "3 retries: status 500: oh no") || got[2] != short("d29",
		len(long)+1)+"  0 events, 0 in flight" &&
		!strings.HasPrefix(got[2], "d29") {
		t.Errorf("%q", got)
	}
	for _, line := range got {
		if len([]rune(line)) >= 80 {
			t.Errorf("a line of %d columns: %s", len([]rune(line)), line)
		}
	}
}

// tty is as much of a terminal as the screen makes use of.
type tty struct {
	lines    [][]byte
	row, col int
}

var control = regexp.MustCompile(`^\x1b\[(\d*)([AKJ])`)

func (t *tty) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i++ {
		for t.row >= len(t.lines) {
			t.lines = append(t.lines, nil)
		}
		line := &t.lines[t.row]
		if m := control.FindSubmatch(p[i:]); m != nil {
			i += len(m[0]) - 1
			switch m[2][0] {
			case 'A':
				n, _ := strconv.Atoi(string(m[1]))
				t.row = max(t.row-n, 0)
			case 'J':
				t.lines = t.lines[:t.row+1]
				fallthrough
			case 'K':
				*line = (*line)[:min(t.col, len(*line))]
			}
			continue
		}
		switch c := p[i]; c {
		case '\r':
			t.col = 0
		case '\n':
			t.row, t.col = t.row+1, 0
		default:
			for len(*line) <= t.col {
				*line = append(*line, ' ')
			}
			(*line)[t.col] = c
			t.col++
		}
	}
	return len(p), nil
}

// TestScreen keeps the bars below what is written meanwhile.
func TestScreen(t *testing.T) {
	var out tty
	s := &Screen{w: &out}
	shows := func(want string) {
		t.Helper()
		if got := strings.TrimRight(string(bytes.Join(out.lines, []byte("\n"))), "\n"); got != want {
			t.Errorf("it shows\n%s\nwant\n%s", got, want)
		}
	}
	fmt.Fprintln(s, "resuming")
	s.draw([]string{"a 10", "b 10"})
	s.draw([]string{"a 2", "b 20"})
	shows("resuming\na 2\nb 20")
	fmt.Fprint(&out, "^C") // the terminal's
	fmt.Fprintln(s, "stopping")
	shows("resuming\nstopping\na 2\nb 20")
	fmt.Fprint(s, "one\nand a ")
	shows("resuming\nstopping\none\na 2\nb 20")
	s.draw([]string{"a 3"})
	shows("resuming\nstopping\none\na 3")
	fmt.Fprint(s, "half\n", "to be gone on with")
	shows("resuming\nstopping\none\nand a half\na 3")
	s.leave()
	fmt.Fprintln(s, "...\nrun complete")
	shows("resuming\nstopping\none\nand a half\na 3\nto be gone on with...\nrun complete")
}

// On a terminal of 80 columns there is room for a bar beside what a run of millions says of itself.
func TestBarOnEightyColumns(t *testing.T) {
	begin := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, change := range []func(*engine.Progress){
		func(*engine.Progress) {},
		func(s *engine.Progress) { s.Rejected, s.Retries = 1234, 56 },
		func(s *engine.Progress) { s.State, s.Waits = "keeps to its rate limit", true },
		func(s *engine.Progress) { s.AllRead = true },
	} {
		s := engine.Progress{Name: "product-analytics-of-europe", State: "running", InFlight: 16, Total: 4_600_000,
			About: 10_000_000}
		p := newPainter()
		p.lines([]engine.Progress{s}, begin, 80, 24)
		s.Done = 45_000
		change(&s)
		got := p.lines([]engine.Progress{s}, begin.Add(3*time.Second), 80, 24)[0]
		if len([]rune(got)) >= 80 || !strings.Contains(got, "%") || !strings.Contains(got, "·") ||
			!strings.Contains(got, "15000 events/s") || !strings.Contains(got, "left") {
			t.Errorf("%q", got)
		}
	}
}

// TestWideNames: no line is wider than the terminal, however wide its characters are.
func TestWideNames(t *testing.T) {
	wide := strings.Repeat("製品分析🛒", 12)
	ps := []engine.Progress{
		{Name: wide, State: "running", Done: 5, Total: 10}, {Name: "a", State: "running", Last: wide, Done: 5, Total: 10},
		{Name: wide, State: "running", Problem: "status 503: " + wide}, {Name: "b", State: "running", Problem: wide},
	}
	for width := 40; width < 120; width++ {
		for _, line := range newPainter().lines(ps, time.Time{}, width, 24) {
			if n := printable.Width(line); n >= width {
				t.Errorf("a line of %d columns in %d: %s", n, width, line)
			}
		}
	}
}
