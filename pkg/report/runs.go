package report

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/run"
)

// RunsJSON writes a line for each run in a list of folders.
func RunsJSON(ctx context.Context, w io.Writer, dirs []string) error {
	for _, dir := range dirs {
		err := JSON(w, struct {
			*engine.Summary
			LastUsed time.Time `json:"last_used"`
			Bytes    int64     `json:"state_bytes"`
		}{run.Listed(ctx, dir), run.LastUsed(dir), run.Size(dir)})
		if err != nil {
			return err
		}
	}
	return nil
}

// Runs writes a table of the runs in a list of folders.
func Runs(ctx context.Context, w io.Writer, dirs []string) error {
	t := &table{w: w, columns: []column{{"RUN", false, 0}, {"STATUS", false, 0}, {"READ", true, 0}, {"DELIVERED", true, 0},
		{"SKIPPED", true, 5}, {"REJECTED", true, 0}, {"PENDING", true, 1}, {"SIZE", true, 4}, {"DESTINATIONS", false, 3},
		{"LAST USED", false, 2}, {"", false, 6}}}
	for _, dir := range dirs {
		s := run.Listed(ctx, dir)
		var names []string
		var delivered, skipped, pending uint64
		for _, d := range s.Destinations {
			names = append(names, d.Name)
			delivered, skipped, pending = delivered+d.Delivered, skipped+engine.Total(d.Skipped), pending+d.Pending
		}
		t.row(slices.Concat([]string{filepath.Base(dir), s.Status}, numbers(s.Read, delivered, skipped, run.Rejected(s),
			pending), []string{printable.Size(run.Size(dir)), strings.Join(names, ","),
			run.LastUsed(dir).Format("2006-01-02 15:04:05"), remark(s)})...)
	}
	return t.flush()
}

// Removed says that a run was removed, or with done false that it would be, and how much its folder held.
func Removed(w io.Writer, form, id string, size int64, done bool) error {
	if form == "json" {
		return JSON(w, struct {
			Run     string `json:"run"`
			Removed bool   `json:"removed"`
			Bytes   int64  `json:"state_bytes"`
		}{id, done, size})
	}
	what := "removed"
	if !done {
		what = "would remove"
	}
	_, err := fmt.Fprintf(w, "%s %s (%s)\n", what, id, printable.Size(size))
	return err
}

// Kept says of runs that are not finished, or that are in use, why they were not removed.
func Kept(ctx context.Context, dirs []string) (notes []string) {
	for _, dir := range dirs {
		s := run.Listed(ctx, dir)
		if s.Status == run.Running {
			notes = append(notes, fmt.Sprintf("kept run %s: a process is working on it", filepath.Base(dir)))
			continue
		}
		var pending uint64
		for _, d := range s.Destinations {
			pending += d.Pending
		}
		why := s.Status
		if pending > 0 {
			why += fmt.Sprintf(", with %s pending", printable.Count(pending, "event"))
		}
		notes = append(notes, fmt.Sprintf("kept run %s: it is %s; --unfinished removes it, too", filepath.Base(dir), why))
	}
	return notes
}

// Origin says of a run that is not finished what it was begun with, so that its command
// can be found; "": it is complete, or nothing is known.
func Origin(s *engine.Summary) string {
	if s.Status == run.Complete {
		return ""
	}
	var parts []string
	if s.RedriveOf != "" {
		parts = append(parts, "redrive "+s.RedriveOf)
	} else {
		for _, from := range s.From {
			parts = append(parts, "--from "+from)
		}
	}
	if s.Config != "" {
		parts = append(parts, "--config "+s.Config)
	}
	if s.Profile != "" {
		parts = append(parts, "--profile "+s.Profile)
	}
	return strings.Join(parts, " ")
}

// remark is what a list of runs says of a run beside its counts.
func remark(s *engine.Summary) string {
	var notes []string
	if s.RedriveOf != "" && s.Status == run.Complete { // else Origin says so
		notes = append(notes, "redrive of "+s.RedriveOf)
	}
	if s.Rehearsal {
		notes = append(notes, "rehearsal")
	}
	var redriven uint64
	for _, d := range s.Destinations {
		redriven += engine.Total(d.Redriven)
	}
	if redriven > 0 {
		notes = append(notes, fmt.Sprintf("%d redriven since", redriven))
	}
	if from := Origin(s); from != "" {
		notes = append(notes, from)
	}
	return strings.Join(notes, " ")
}
