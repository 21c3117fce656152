package run

import (
	"maps"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// Completed is why a record is dropped that was the cut-off end of a file: it is read once more,
// whole, now that the file has grown.
const Completed = "completed"

// takeBack has lines that were cut off when they were read count as no mistakes any more, once the
// run was complete and they are there whole.
func (r *Run) takeBack(lines int) error {
	if lines == 0 || !r.wasComplete() {
		return nil
	}
	bad := r.journal.Lane("_source").Resume().Counts.Rejected[string(source.Truncated)]
	n := min(uint64(lines), bad)
	if n == 0 {
		return nil
	}
	var amendments []journal.Amendment
	for _, name := range r.journal.Lanes() {
		s := r.journal.Lane(name).Resume()
		a := journal.Amendment{Lane: name, Mark: s.Mark, Counts: s.Counts.Clone()}
		if s.Mark.Bad < n { // a destination that was left out, and has not come to it
			continue
		}
		a.Mark.Bad -= n
		if a.Mark.Dropped = maps.Clone(a.Mark.Dropped); a.Mark.Dropped == nil {
			a.Mark.Dropped = map[string]uint64{}
		}
		a.Mark.Dropped[Completed] += n
		if name == "_source" {
			if a.Counts.Rejected[string(source.Truncated)] -= n; n == bad {
				delete(a.Counts.Rejected, string(source.Truncated))
			}
		}
		amendments = append(amendments, a)
	}
	return r.journal.Amend(Completed, n, amendments)
}
