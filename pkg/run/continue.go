package run

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/transform"
)

// continuedKey is the journal key for the configurations with which a run was continued.
const continuedKey = "continued"

// continuations are the changes of a run's configuration, in order.
type continuations struct {
	Changes []engine.Continued `json:"changes"`
	Hash    string             `json:"hash"`          // of the configuration after the last change
	Cut     uint64             `json:"cut,omitempty"` // ordinal up to which other steps were in force
}

// goOn lets the run continue with the job's configuration if that has changed, and stores which one it is. All
// changes in the journal are one commit. Files beside the journal are written later: after a kill in between, the
// user is asked again.
func (r *Run) goOn(context.Context) error {
	if r.redrive != nil {
		return nil
	}
	now := r.w.keep(r.job.identity(), r.picked.kept.salt())
	if r.picked.kept != nil {
		now = now.with(r.picked.kept)
	}
	var all continuations
	if _, err := r.journal.Get(continuedKey, &all); err != nil {
		return err
	}
	hash := hashOf([]any{now.Transform, now.Destinations})
	r.recount()
	if len(r.picked.differs) > 0 && hash != all.Hash {
		if err := r.canChange(); err != nil {
			return err
		}
		amendments := r.change(&all)
		all.Hash = hash
		if err := r.journal.Amend(continuedKey, all, amendments); err != nil {
			return err
		}
	}
	r.changed, r.cut = all.Changes, all.Cut
	if len(r.picked.differs) > 0 {
		r.notice(Continuing{r.journal.Name(), r.picked.differs})
	}
	if r.resumed && len(r.picked.added) > 0 {
		r.notice(Added{r.journal.Name(), r.picked.added})
	}
	return writeIdentity(r.dir, now)
}

// recount takes what the destinations that differ have delivered from the journal: a process that was killed had not
// noted all of it elsewhere.
func (r *Run) recount() {
	lanes := r.journal.Lanes()
	for i := range r.picked.differs {
		d := &r.picked.differs[i]
		if !slices.Contains(lanes, d.Destination) {
			continue
		}
		l := r.journal.Lane(d.Destination)
		d.Delivered, d.AtLeast = l.Resume().Counts.Delivered, false
		wholes, _ := l.Above()
		for _, w := range wholes {
			if w.Outcome == journal.Delivered {
				d.Delivered++
			}
		}
	}
}

// canChange refuses a change after which the settled deliveries above the checkpoint could not be identified:
// where only some deliveries of an event are settled.
func (r *Run) canChange() error {
	lanes := r.journal.Lanes()
	for _, d := range r.picked.differs {
		if !d.recounted || !slices.Contains(lanes, d.Destination) {
			continue
		}
		wholes, parts := r.journal.Lane(d.Destination).Above()
		if len(parts) > 0 {
			return &MistakeError{&UnfinishedError{r.journal.Name(), d.Destination, d.Keys, len(parts), false}}
		}
		i := slices.IndexFunc(r.job.Destinations, func(o *config.Opened) bool { return o.Name == d.Destination })
		held := 0
		for _, w := range wholes {
			if w.Doubted {
				held++
			}
		}
		if held > 0 && r.job.Destinations[i].Options.Hold {
			return &MistakeError{&UnfinishedError{r.journal.Name(), d.Destination, d.Keys, held, true}}
		}
	}
	return nil
}

// change notes what has changed, and returns the amendments to the lanes.
func (r *Run) change(all *continuations) (amendments []journal.Amendment) {
	lanes := map[string]*journal.Amendment{}
	for _, name := range r.journal.Lanes() {
		s := r.journal.Lane(name).Resume()
		lanes[name] = &journal.Amendment{Lane: name, Mark: s.Mark, Counts: s.Counts}
		if r.picked.steps {
			all.Cut = max(all.Cut, s.Mark.Ordinal)
		}
	}
	for _, d := range r.picked.differs {
		c := engine.Continued{Destination: d.Destination, At: r.w.Now().UTC().Truncate(time.Second), Changed: d.Keys,
			Delivered: d.Delivered}
		if l := lanes[d.Destination]; l != nil {
			c.After = l.Mark.Ordinal
			if d.recounted {
				l.Forget = true
				l.Wholes, _ = r.journal.Lane(d.Destination).Above()
			}
			if r.picked.steps { // settled events keep their counts, whatever today's steps make of them
				for ordinal := range l.Wholes {
					all.Cut = max(all.Cut, ordinal+1)
				}
			}
		}
		all.Changes = append(all.Changes, c)
	}
	if n := len(all.Changes); n > mostChanges {
		all.Changes = all.Changes[n-mostChanges:]
	}
	for _, l := range lanes {
		if r.picked.steps { // from now on each lane counts for itself what the steps drop
			l.Counts.Filtered += l.Mark.Dropped[transform.Dropped]
			delete(l.Mark.Dropped, transform.Dropped)
		}
		amendments = append(amendments, *l)
	}
	return amendments
}

// mostChanges bounds how many changes a run stores.
const mostChanges = 100

// otherSettings is the notice that a run of the same input has different destinations under the same names.
func (r *Run) otherSettings(o *knownRun) OtherSettings {
	n := OtherSettings{Run: filepath.Base(o.dir)}
	meta := r.job.identity()
	seen := r.w.see(o.kept, meta)
	sum, err := Standing(o.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n
	}
	for i, d := range meta.Destinations {
		local := func(o *config.Opened) bool { return o.Name == d.Name && o.Sender.Plan().Local }
		if slices.ContainsFunc(r.job.Destinations, local) {
			continue // sending to new files again does no harm
		}
		old, ok := o.kept.destination(d.Name)
		if !ok {
			continue
		}
		keys, _ := keysThatDiffer(old.who(), seen.Destinations[i].who())
		if len(keys) == 0 {
			keys = []string{fromElsewhere}
		}
		k := slices.IndexFunc(sum.Destinations, func(l engine.LaneSummary) bool { return l.Name == d.Name })
		if k >= 0 {
			n.Differences = append(n.Differences, Difference{Destination: d.Name, Keys: keys,
				Delivered: sum.Destinations[k].Delivered})
		}
	}
	return n
}
