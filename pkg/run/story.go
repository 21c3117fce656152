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
	"github.com/fanfold/fanfold/pkg/source"
)

// Story is all that is known of a run, for a report.
type Story struct {
	Summary  *engine.Summary // with what redrives have delivered since
	LastUsed time.Time
	History  *History
	Redrives []Redrive
	// Input is what was read, or the beginning of it, of so many objects and bytes; Unknown: a process works on
	// the run, and nobody else may look into its journal.
	Input   []source.Object
	Objects int
	Bytes   int64
	Unknown bool
	Groups  map[string][]*DeadGroup // of dead letters, by reason, field and event
	Plan    json.RawMessage         // with which it was started; nil: none
	Meta    json.RawMessage         // what is read and what is sent to whom, without secrets
}

// Redrive is a run that has sent dead letters of another one again.
type Redrive struct {
	Run, Of, Status              string
	Start, End                   time.Time // zero: not known
	Delivered, Rejected, Pending uint64
}

// What a story holds of lists that may be long.
const (
	mostInput  = 500
	mostOfDead = 20
)

// Story gathers what is known of the run in a folder.
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

// input looks into the run's journal.
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
	st.Meta = of.Meta()
	for _, o := range of.Manifest() {
		st.Objects, st.Bytes = st.Objects+1, st.Bytes+o.Size
		if len(st.Input) < mostInput {
			st.Input = append(st.Input, o)
		}
	}
	return of.Close()
}

// redrivesOf are the runs that have sent dead letters of a run again, the oldest first.
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
