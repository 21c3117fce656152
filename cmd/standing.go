package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
)

// A run that is under way notes its counts beside where the summary will be, so
// that `fanfold runs` can show them: nobody else may look into its journal. At the
// end the summary takes their place, so what is left of them is of a run that
// was killed.

const (
	running = "running"
	killed  = "killed"
)

func countsPath(dir string) string { return filepath.Join(dir, "counts.json") }

// noteCounts writes down how far a run is, every second until ended is called.
func (a *app) noteCounts(dir string, e *engine.Engine, finish func(*engine.Summary)) (ended func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			s := e.Summary()
			s.Status = running
			finish(s)
			if err := writeCounts(countsPath(dir), s); err != nil {
				a.log.Debug("noting how far the run is", "err", err) // the journal will say so louder
			}
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// finishSummary adds what an earlier process of the run knew, and takes out what
// partners say of secrets.
func (a *app) finishSummary(s, before *engine.Summary) {
	if before == nil {
		before = &engine.Summary{}
	}
	s.BadExamples = a.examples(s.BadReasons, s.BadExamples, before.BadExamples)
	for i := range s.Destinations { // a partner may say anything
		d := &s.Destinations[i]
		d.Stopped, d.Problem = a.secrets.redact(d.Stopped), a.secrets.redact(d.Problem)
		var old engine.LaneSummary
		for _, b := range before.Destinations {
			if b.Name == d.Name {
				old = b
			}
		}
		d.Examples = a.examples(d.Rejected, d.Examples, old.Examples)
		d.SkippedExamples = a.examples(d.Skipped, d.SkippedExamples, old.SkippedExamples)
	}
}

// examples are those of now and of before, for what there is.
func (a *app) examples(counts map[string]uint64, now, before map[string]string) map[string]string {
	var out map[string]string
	for k := range counts {
		if v := cmp.Or(now[k], before[k]); v != "" {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = a.secrets.redact(v)
		}
	}
	return out
}

// listed is what is known of a run, for a list that one damaged run must not end.
func listed(ctx context.Context, dir string) *engine.Summary {
	s, err := standing(dir)
	if err == nil {
		_, err = noteRedriven(ctx, dir, s)
	}
	if err != nil {
		return unknownRun(filepath.Base(dir), "unreadable")
	}
	return s
}

func unknownRun(id, status string) *engine.Summary {
	return &engine.Summary{Run: id, Status: status, Dropped: map[string]uint64{}, Destinations: []engine.LaneSummary{}}
}

// standing is what is known of a run: its summary, or how far it is, or was when
// it was killed.
func standing(dir string) (*engine.Summary, error) {
	status := killed
	if journal.Busy(dir) {
		status = running
	}
	for _, path := range []string{countsPath(dir), summaryPath(dir)} {
		s, err := readCounts(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if status == running || path == countsPath(dir) {
			s.Status = status
		}
		return s, nil
	}
	return unknownRun(filepath.Base(dir), status), nil
}
