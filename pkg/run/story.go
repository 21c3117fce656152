package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/secret"
	"github.com/fanfold/fanfold/pkg/source"
)

// Story is everything that is known about a run, for a report.
type Story struct {
	Summary  *engine.Summary // including what redrives have delivered since
	LastUsed time.Time
	History  *History
	Redrives []Redrive
	// Input is the list of what was read, or its beginning, and how many objects and bytes there are. Unknown: a
	// process is working on the run, so its journal cannot be opened.
	Input   []source.Object
	Objects int
	Bytes   int64
	Unknown bool
	Groups  map[string][]*DeadGroup // dead letters by reason, field and event
	Plan    json.RawMessage         // the run was started with it; nil: none
	Meta    json.RawMessage         // what is read and what is sent to whom, without secrets
}

// Redrive is a run that has sent dead letters of another run again.
type Redrive struct {
	Run       string    `json:"run"`
	Of        string    `json:"of"`
	Status    string    `json:"status"`
	Start     time.Time `json:"start,omitzero"` // zero: not known
	End       time.Time `json:"end,omitzero"`   // as well
	Delivered uint64    `json:"delivered"`
	Rejected  uint64    `json:"rejected"`
	Pending   uint64    `json:"pending"`
}

// Bounds for long lists in a story.
const (
	mostInput  = 500
	mostOfDead = 20
)

// Story collects what is known about the run in a folder.
func (w *World) Story(ctx context.Context, runs Folder, dir string) (*Story, error) {
	s, err := Standing(dir)
	if err != nil {
		return nil, err
	}
	if _, err = NoteRedriven(ctx, dir, s); err != nil {
		return nil, err
	}
	st := &Story{Summary: s, LastUsed: LastUsed(dir), History: readHistory(dir),
		Groups: map[string][]*DeadGroup{}}
	if n := len(st.History.Processes); n > 0 && s.Status != Running {
		st.History.Processes[n-1].killed(dir)
	}
	if st.Plan, err = readPlan(dir); err != nil {
		return nil, err
	}
	if st.Redrives, err = redrivesOf(runs, s.Run); err != nil {
		return nil, err
	}
	if st.Groups, err = GroupDead(ctx, dir, DeadChoice{}, "reason", "field", "event"); err != nil {
		return nil, err
	}
	for by, groups := range st.Groups {
		st.Groups[by] = groups[:min(len(groups), mostOfDead)]
	}
	return st, st.input(w, dir)
}

// input reads the run's journal.
func (st *Story) input(w *World, dir string) error {
	of, err := journal.Open(dir, nil, journal.Options{Now: w.Now, Redact: w.Redact})
	var busy *journal.BusyError
	if errors.As(err, &busy) {
		st.Unknown = true
		return nil
	}
	if err != nil {
		return err
	}
	st.Meta = sealedRE.ReplaceAll(of.Meta(), []byte(secret.Mask)) // reports are handed on: no print goes with them
	for _, o := range of.Manifest() {
		st.Objects, st.Bytes = st.Objects+1, st.Bytes+o.Size
		if len(st.Input) < mostInput {
			st.Input = append(st.Input, o)
		}
	}
	return of.Close()
}

// redrivesOf lists the redrives of a run's dead letters, oldest first.
func redrivesOf(runs Folder, id string) (list []Redrive, err error) {
	dirs, err := runs.Dirs()
	for _, dir := range dirs {
		s, wrong := Standing(dir)
		if wrong != nil || s.RedriveOf != id && s.Root != id {
			continue
		}
		r := Redrive{Run: filepath.Base(dir), Of: s.RedriveOf, Status: s.Status, End: LastUsed(dir), Rejected: Rejected(s)}
		for _, d := range s.Destinations {
			r.Delivered, r.Pending = r.Delivered+d.Delivered, r.Pending+d.Pending
		}
		if h := readHistory(dir); len(h.Processes) > 0 {
			r.Start, r.End = h.Processes[0].Start, h.Processes[len(h.Processes)-1].End
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Redrive) int { return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.Run, b.Run)) })
	return list, err
}
