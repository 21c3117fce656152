package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
)

// The values of a summary's status. A run in progress writes its counts to a file beside the place of the summary,
// so that other processes can show them: they cannot open its journal. At the end the summary replaces the counts.
// Counts that remain are from a killed run.
const (
	Complete   = "complete"
	Incomplete = "incomplete"
	Running    = "running"
	Killed     = "killed"
	Unreadable = "unreadable"
)

func summaryPath(dir string) string { return filepath.Join(dir, "summary.json") }

func countsPath(dir string) string { return filepath.Join(dir, "counts.json") }

// ReadSummary returns the summary in a run's folder. The error is an [fs.ErrNotExist] if no process has reached
// the run's end.
func ReadSummary(dir string) (*engine.Summary, error) { return readCounts(summaryPath(dir)) }

func readCounts(path string) (*engine.Summary, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := new(engine.Summary)
	return s, json.Unmarshal(data, s)
}

func writeSummary(dir string, s *engine.Summary) error { return writeJSON(summaryPath(dir), s) }

// ProgressOf is the state of the run in a folder: as reported by the process that works on it, or else from its
// counts.
func ProgressOf(dir string) (status string, ps []engine.Progress, err error) {
	s, err := Standing(dir)
	if err != nil {
		return "", nil, err
	}
	var of struct{ Progress []engine.Progress }
	if data, err := os.ReadFile(countsPath(dir)); err == nil && json.Unmarshal(data, &of) == nil && len(of.Progress) > 0 &&
		s.Status == Running {
		return s.Status, of.Progress, nil
	}
	for i := range s.Destinations {
		d := &s.Destinations[i]
		p := engine.Progress{Name: d.Name, Delivered: d.Delivered, Rejected: engine.Total(d.Rejected), Retries: d.Retries,
			State: "done", Last: d.Problem, AllRead: true}
		p.Done = d.Filtered + engine.Total(d.Skipped) + d.Delivered + p.Rejected
		if p.Total = p.Done + d.Pending; d.Pending > 0 {
			p.State, p.Stopped = s.Status, true
		}
		if d.Stopped != "" {
			p.State, p.Stopped = "stopped: "+d.Stopped, true
		}
		ps = append(ps, p)
	}
	return s.Status, ps, nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(path, append(data, '\n'))
}

// replaceFile replaces a file only once the new one is complete.
func replaceFile(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// finishedAt is the time a run was finished, as a text for people.
func finishedAt(dir string) string {
	if info, err := os.Stat(summaryPath(dir)); err == nil {
		return "on " + info.ModTime().Format("2006-01-02 15:04:05")
	}
	return "before"
}

// mostOld is how many errors of [destination.Aging.Age] are reported.
const mostOld = 10

// noteCounts writes the progress of the run every second until ended is called.
func (r *Run) noteCounts() (ended func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	notes := 0
	note := func() {
		s := r.engine.Summary()
		s.Status = Running
		r.finish(s)
		err := writeJSON(countsPath(r.dir), struct {
			*engine.Summary
			Progress []engine.Progress `json:"progress"`
		}{s, r.Progress()})
		if notes++; notes <= 10 || notes%5 == 0 {
			err = errors.Join(err, r.noteHistory(s))
		}
		if err != nil {
			r.w.Log.Debug("noting how far the run is", "run", s.Run, "why", err) // the journal will report a full disk, too
		}
	}
	go func() {
		defer close(done)
		note() // at once, so that a run that is killed early can be identified
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if errs := r.age(r.w.Now()); len(errs) > 0 && len(r.old) < mostOld {
				r.old = append(r.old, errs...)
			}
			note()
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// finish adds to a summary what the engine does not know, and what an earlier process knew, and redacts the
// partners' texts.
func (r *Run) finish(s *engine.Summary) {
	s.Rehearsal, s.Config, s.Profile = r.job.Rehearse, r.job.Config, r.job.Profile
	if r.redrive != nil {
		s.RedriveOf, s.Root = r.redrive.parent, r.redrive.root
	}
	before := r.before
	if before == nil {
		before = &engine.Summary{}
	}
	if n := r.engine.Overlap(); n > 0 {
		s.Overlap = &engine.Overlap{Run: filepath.Base(r.overlaps), Events: n}
	}
	s.Removed, s.Continued = r.removed(before), r.changed
	redact := r.w.Redact
	for _, from := range r.job.Input.From {
		s.From = append(s.From, redact(from))
	}
	s.BadExamples = examples(s.BadReasons, s.BadExamples, before.BadExamples, redact)
	for i := range s.Destinations { // the text comes from a partner, and may contain anything
		d := &s.Destinations[i]
		d.Stopped, d.Problem = redact(d.Stopped), redact(d.Problem)
		old := laneIn(before, d.Name)
		if r.before != nil {
			d.Behind(old)
		}
		d.Examples = examples(d.Rejected, d.Examples, old.Examples, redact)
		d.SkippedExamples = examples(d.Skipped, d.SkippedExamples, old.SkippedExamples, redact)
	}
}

// laneIn is what a summary says of a destination, also of one that its command no longer had.
func laneIn(s *engine.Summary, name string) *engine.LaneSummary {
	all := slices.Concat(s.Destinations, s.Removed)
	i := slices.IndexFunc(all, func(d engine.LaneSummary) bool { return d.Name == name })
	if i < 0 {
		return &engine.LaneSummary{}
	}
	return &all[i]
}

// removed lists destinations that an earlier command had and this one has not, without what a process says of itself.
func (r *Run) removed(before *engine.Summary) (left []engine.LaneSummary) {
	for _, b := range slices.Concat(before.Destinations, before.Removed) {
		if !slices.ContainsFunc(r.lanes, func(l engine.LaneConfig) bool { return l.Name == b.Name }) {
			b.ThisTime, b.Seconds, b.Rate, b.Lag = nil, 0, 0, 0 // of the process that sent to it
			left = append(left, b)
		}
	}
	return left
}

// examples merges the examples of now and of before, for the reasons that have a count.
func examples(counts map[string]uint64, now, before map[string]string, redact func(string) string) map[string]string {
	var out map[string]string
	for k := range counts {
		if v := cmp.Or(now[k], before[k]); v != "" {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = redact(v)
		}
	}
	return out
}

// Standing is what is known about the run in a folder: its summary, or its progress, now or when it was killed.
func Standing(dir string) (*engine.Summary, error) {
	status := Killed
	if journal.Busy(dir) {
		status = Running
	}
	for _, path := range []string{countsPath(dir), summaryPath(dir)} {
		s, err := readCounts(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if status == Running || path == countsPath(dir) {
			s.Status = status
		}
		return s, nil
	}
	return unknown(filepath.Base(dir), status), nil
}

// Listed is Standing with what redrives have delivered since, for lists. One damaged run must not end the list, so
// it is shown as [Unreadable].
func Listed(ctx context.Context, dir string) *engine.Summary {
	s, err := Standing(dir)
	if err == nil {
		_, err = NoteRedriven(ctx, dir, s)
	}
	if err != nil {
		return unknown(filepath.Base(dir), Unreadable)
	}
	return s
}

func unknown(id, status string) *engine.Summary {
	return &engine.Summary{Run: id, Status: status, Dropped: map[string]uint64{}, Destinations: []engine.LaneSummary{}}
}

// Rejected is how many events were rejected, over all destinations.
func Rejected(s *engine.Summary) (n uint64) {
	for _, d := range s.Destinations {
		n += engine.Total(d.Rejected)
	}
	return n
}

// sortedKeys are the keys of a map, sorted.
func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
