package run

import (
	"maps"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// Completed is the reason for dropping a bad record that was the cut-off end of a file: now that the file has
// grown, the record is read again, whole.
const Completed = "completed"

// takeBack stops counting records as bad that were cut off when they were read, once the input contains them
// whole. They are counted as dropped then, for the reason Completed.
func (r *Run) takeBack(records map[source.Reason]int) error {
	if len(records) == 0 || !r.wasComplete() {
		return nil
	}
	bad := r.journal.Lane("_source").Resume().Counts.Rejected
	var n uint64
	for reason, k := range records {
		n += min(uint64(k), bad[string(reason)])
	}
	if n == 0 {
		return nil
	}
	var amendments []journal.Amendment
	for _, name := range r.journal.Lanes() {
		s := r.journal.Lane(name).Resume()
		a := journal.Amendment{Lane: name, Mark: s.Mark, Counts: s.Counts.Clone()}
		if s.Mark.Bad < n { // a destination that was left out, and has not reached it
			continue
		}
		a.Mark.Bad -= n
		if a.Mark.Dropped = maps.Clone(a.Mark.Dropped); a.Mark.Dropped == nil {
			a.Mark.Dropped = map[string]uint64{}
		}
		a.Mark.Dropped[Completed] += n
		if name == "_source" {
			for reason, k := range records {
				left := a.Counts.Rejected[string(reason)]
				if left -= min(uint64(k), left); left > 0 {
					a.Counts.Rejected[string(reason)] = left
				} else {
					delete(a.Counts.Rejected, string(reason))
				}
			}
		}
		amendments = append(amendments, a)
	}
	return r.journal.Amend(Completed, n, amendments)
}
