package cmd

import (
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
)

// TestPlainProgress says nothing of a destination twice.
func TestPlainProgress(t *testing.T) {
	var out strings.Builder
	said := map[string]string{}
	done := engine.Progress{Name: "a", Done: 3, Total: 3, AllRead: true, State: "done"}
	plainProgress(&out, []engine.Progress{done, {Name: "b", Done: 1, Total: 3, State: "running"}}, said)
	plainProgress(&out, []engine.Progress{done, {Name: "b", Done: 2, Total: 3, State: "running"}}, said)
	want := `a: done, 3 of 3 events, 0 in flight, 0 retries, 0 rejected
b: running, 1 of 3+ events, 0 in flight, 0 retries, 0 rejected
b: running, 2 of 3+ events, 0 in flight, 0 retries, 0 rejected
`
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", out.String(), want)
	}
}

// TestLines shows what this process does, from where it resumes, and how much of
// all only when that is known.
func TestLines(t *testing.T) {
	p := newPainter(nil, 0)
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
		{after: time.Second, change: func() { s.Done, s.Total, s.InFlight = 90000, 94000, 3 }, want: "hook  90000 events, 1000 events/s, 3 in flight"},
		{after: 2 * time.Second, change: func() { s.Done, s.Objects, s.Position.Object = 91000, 7, 2 }, want: "hook  91000 events, object 3 of 7, 1000 events/s, 3 in flight"},
		{after: 9 * time.Second, change: func() { s.Done, s.Total, s.AllRead = 98000, 196000, true }, want: "hook  50% ████████········ (98000/196000), 1000 events/s, 1m38s left, 3 in flight"},
		{after: 9 * time.Second, narrow: 40, want: "hook  50% ████████········ (98000/19600"},
		// What was long ago is no part of the rate.
		{after: 19 * time.Second, change: func() { s.Done, s.State = 98005, "keeps to its rate limit" }, want: "hook  50% ████████········ (98005/196000), 30 events/min, 54h26m30s left, 3 in flight, keeps to its rate limit"},
		{after: 29 * time.Second, want: "hook  50% ████████········ (98005/196000), 3 in flight, keeps to its rate limit"},
		{after: 39 * time.Second, change: func() { s.Done, s.State, s.InFlight, s.Retries, s.Rejected = 196000, "done", 0, 2, 1 }, want: "hook 100% ████████████████ (196000/196000), 0 in flight, 2 retries, 1 rejected, done"},
	} {
		if step.change != nil {
			step.change()
		}
		width := 140
		if step.narrow > 0 {
			width = step.narrow
		}
		if got := p.lines([]engine.Progress{s}, begin.Add(step.after), width); len(got) != 1 || got[0] != step.want {
			t.Errorf("after %v\n%s\nwant\n%s", step.after, got, step.want)
		}
	}
	if got := p.lines([]engine.Progress{{Name: "none", AllRead: true, State: "done"}}, begin, 80); got[0] != "none  0 events, 0 in flight, done" {
		t.Error(got)
	}
}
