package run

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/engine"
)

// Again is the run whose redrive sends the dead letters that a run still has. That is the run itself, unless a
// finished redrive has sent all of them. What was refused then is a dead letter of that redrive; redriving the
// first run again would only report that its letters were sent already.
func (f Folder) Again(id string) string {
	dirs, err := f.Dirs()
	if err != nil {
		return id
	}
	redrives := map[string][]*engine.Summary{}
	for _, dir := range dirs { // most recently used first
		if s, wrong := ReadSummary(dir); wrong == nil && s.RedriveOf != "" {
			redrives[s.RedriveOf] = append(redrives[s.RedriveOf], s)
		}
	}
	for range len(dirs) {
		of, err := ReadSummary(filepath.Join(string(f), id))
		if err != nil {
			return id
		}
		i := slices.IndexFunc(redrives[id], func(s *engine.Summary) bool { return resent(s, of) })
		if i < 0 {
			return id
		}
		id = redrives[id][i].Run
	}
	return id
}

// resent says whether a redrive has sent all dead letters that a run has by now, and some of them were refused
// again.
func resent(redrive, of *engine.Summary) bool {
	if redrive.Status != Complete || redrive.Rehearsal || Rejected(redrive) == 0 || len(redrive.From) == 0 {
		return false
	}
	chosen, whole := strings.CutPrefix(redrive.From[0], "redrive://"+of.Run+"?reason=&since=")
	if !whole || chosen != "" && !strings.HasPrefix(chosen, "&transform=") {
		return false
	}
	for _, d := range of.Destinations {
		there := slices.ContainsFunc(redrive.Destinations, func(r engine.LaneSummary) bool { return r.Name == d.Name })
		if engine.Total(d.Rejected) > 0 && !there {
			return false
		}
	}
	return !slices.ContainsFunc(redrive.From[1:], func(file string) bool {
		path, size := file[:max(strings.LastIndexByte(file, ':'), 0)], file[strings.LastIndexByte(file, ':')+1:]
		info, err := os.Stat(path)
		return err != nil || strconv.FormatInt(info.Size(), 10) != size
	})
}

// again is [Folder.Again] for this run.
func (r *Run) again() string { return Folder(filepath.Dir(r.dir)).Again(r.journal.Name()) }
