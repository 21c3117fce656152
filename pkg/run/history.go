package run

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
)

// History is the course of a run over all processes that have worked on it. It is for reports only: it is a file
// beside the journal, nothing depends on it, and after a crash the last seconds are missing.
type History struct {
	Version   int                       `json:"version"`
	Processes []Process                 `json:"processes"`
	Left      int                       `json:"processes_left_out,omitempty"` // of the middle, when there were many
	Courses   map[string]*engine.Course `json:"courses"`                      // by destination
}

// Process is one process that has worked on a run.
type Process struct {
	Fanfold string    `json:"fanfold"` // version
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`    // last sign of life
	Status  string    `json:"status"` // as in a summary; running: it was killed, or is at work
	// Delivered and Rejected count events over all destinations, from the start of the run to the end of the
	// process.
	Delivered uint64 `json:"delivered"`
	Rejected  uint64 `json:"rejected"`
	Pending   uint64 `json:"pending"`
}

const (
	historyVersion = 1
	mostProcesses  = 100
)

func historyPath(dir string) string { return filepath.Join(dir, "history.json") }

// readHistory returns the history of the run in a folder, or an empty one.
func readHistory(dir string) *History {
	h := &History{Version: historyVersion, Courses: map[string]*engine.Course{}}
	data, err := os.ReadFile(historyPath(dir))
	if err != nil {
		return h
	}
	var read History
	if json.Unmarshal(data, &read) != nil || read.Version != historyVersion || read.Courses == nil {
		return h // of another version of fanfold, or damaged: the run does not depend on it
	}
	return &read
}

// openHistory loads the history of the run, and adds this process.
func (r *Run) openHistory() {
	r.history = readHistory(r.dir)
	if n := len(r.history.Processes); n >= mostProcesses {
		r.history.Processes = append(r.history.Processes[:n/2], r.history.Processes[n/2+1:]...)
		r.history.Left++
	}
	if n := len(r.history.Processes); n > 0 {
		r.history.Processes[n-1].killed(r.dir)
	}
	now := r.w.Now()
	r.history.Processes = append(r.history.Processes, Process{Fanfold: r.w.UserAgent, Start: now, End: now,
		Status: Running})
}

// whole says whether no process was killed: of a killed process, the last seconds are missing.
func (h *History) whole() bool {
	return h.Left == 0 && !slices.ContainsFunc(h.Processes, func(p Process) bool { return p.Status == Killed })
}

// killed completes the entry of a process that was killed, from what it wrote last.
func (p *Process) killed(dir string) {
	if p.Status != Running {
		return
	}
	p.Status = Killed
	info, err := os.Stat(countsPath(dir))
	if err != nil {
		return
	}
	if s, err := readCounts(countsPath(dir)); err == nil {
		p.End = info.ModTime()
		p.count(s)
	}
}

// count copies the counts of a summary.
func (p *Process) count(s *engine.Summary) {
	p.Delivered, p.Rejected, p.Pending = 0, Rejected(s), 0
	for _, d := range s.Destinations {
		p.Delivered, p.Pending = p.Delivered+d.Delivered, p.Pending+d.Pending
	}
}

// noteHistory writes the history of the run so far.
func (r *Run) noteHistory(s *engine.Summary) error {
	p := &r.history.Processes[len(r.history.Processes)-1]
	p.End, p.Status = r.w.Now(), s.Status
	p.count(s)
	for name, c := range r.engine.Courses() {
		for i := range c.Late { // the text comes from a partner, and may contain anything
			c.Late[i].Said = r.w.Redact(c.Late[i].Said)
		}
		r.history.Courses[name] = c
	}
	data, err := json.Marshal(r.history)
	if err != nil {
		return err
	}
	return replaceFile(historyPath(r.dir), data)
}

// planPath is the path of the plan that a run was started with.
func planPath(dir string) string { return filepath.Join(dir, "plan.json") }

// readPlan returns the plan that the run in a folder was started with; nil: none.
func readPlan(dir string) (json.RawMessage, error) {
	data, err := os.ReadFile(planPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
