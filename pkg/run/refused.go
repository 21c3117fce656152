package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transform"
)

// voidKey is the journal key for the entries of the manifest that are not read to their end, and where reading
// ends in each.
const voidKey = "void"

// barrenKey is the journal key for the entries that are damaged from the start, so that nothing of them could be
// read.
const barrenKey = "barren"

// endedKey is the journal key for the end of the entry that was last read to its end.
const endedKey = "ended"

// tailsKey is the journal key for the entries that ended in the middle of a record.
const tailsKey = "cut"

// lostKey is the journal key for the entries that some destinations have read and others could not.
const lostKey = "lost"

// missedKey is the journal key for the entries behind which destinations went on without having had all of them.
const missedKey = "missed"

// ends returns where the reading of entries ends.
func (r *Run) ends(key string) (of map[int]source.Place, err error) {
	_, err = r.journal.Get(key, &of)
	if of == nil {
		of = map[int]source.Place{}
	}
	return of, err
}

// barren returns the entries that are damaged from the start.
func (r *Run) barren() (entries []int, err error) {
	_, err = r.journal.Get(barrenKey, &entries)
	return entries, err
}

// notedBarren stores such an entry, no later than with the checkpoint that passes it.
func (r *Run) notedBarren(entry int) error {
	entries, err := r.barren()
	if err != nil || slices.Contains(entries, entry) {
		return err
	}
	if entries = append(entries, entry); len(entries) > mostBarren {
		entries = entries[len(entries)-mostBarren:]
	}
	return r.journal.Note(barrenKey, entries)
}

// tails returns how entries have ended whose files may grow.
func (r *Run) tails() (of map[int]source.Tail, err error) {
	_, err = r.journal.Get(tailsKey, &of)
	if of == nil {
		of = map[int]source.Tail{}
	}
	return of, err
}

// notedTail stores such an entry, no later than with the checkpoint that passes it.
func (r *Run) notedTail(entry int, tail source.Tail) error {
	of, err := r.tails()
	if err != nil {
		return err
	}
	if after := r.input.Manifest().At(entry).After; after > 0 {
		delete(of, int(after)-1) // only how the last entry of a file has ended matters
	}
	if of[entry] = tail; len(of) > mostTails {
		delete(of, slices.Min(slices.Collect(maps.Keys(of))))
	}
	return r.journal.Note(tailsKey, of)
}

// mostTails bounds how many are stored.
const mostTails = 1000

// mostBarren bounds how many are stored. An older one that has been repaired is refused, like any file that has
// changed.
const mostBarren = 10000

// voided stores that an entry is read only up to a place. If a destination has read more of it already, the
// destinations that have not are stopped; in the next process they continue after the entry, if they can.
func (r *Run) voided(entry int, at source.Place, why error) error {
	key := voidKey
	if far := r.journal.Furthest(); far.Position.Compare(at.In(entry)) > 0 {
		key = lostKey
	}
	of, err := r.ends(key)
	if err != nil {
		return err
	}
	of[entry] = at
	if err = r.journal.Put(key, of); err != nil || key == voidKey {
		return err
	}
	lost := &source.LostError{Entry: entry, Err: fmt.Errorf("%w; %s; %s", why, goesOnBehind, ofItsOwn)}
	var ended source.Position
	if _, err = r.journal.Get(endedKey, &ended); err == nil && int(ended.Object) == entry {
		lost.End = ended
	}
	return errors.Join(err, lost)
}

// goesOnBehind is what becomes of what can be put back.
const goesOnBehind = "put it back before this command runs again: the next one goes on behind it, without what is " +
	"pending of it"

// ofItsOwn is what to do for destinations that would have to read what others have read, and is not there.
const ofItsOwn = "for the destinations that have not had it, --to NAME --fresh begins a run of their own " +
	"with what is there, and sends nothing to the others"

// refused returns the entries whose objects have changed, together with those that were found to have changed when
// they were read.
func (r *Run) refused(ctx context.Context) (map[int]error, error) {
	refused := r.input.Refused()
	if refused == nil {
		refused = map[int]error{}
	}
	lost, err := r.ends(lostKey)
	if err != nil {
		return nil, err
	}
	for entry, from := range lost {
		if why := r.input.Lost(ctx, entry, from); why != nil {
			refused[entry] = why
		}
	}
	if len(lost) > 0 { // what is not refused is read
		err = r.journal.Put(lostKey, map[int]source.Place{})
	}
	return refused, err
}

// passRefused makes the destinations skip entries whose objects have changed, as far as that is possible, and
// continue after them. The positions of records are the same for all destinations. So if one destination is past
// such an object and another is not, the other one has to stop.
func (r *Run) passRefused(ctx context.Context) error {
	refused, err := r.refused(ctx)
	if err != nil {
		return err
	}
	of, err := r.ends(voidKey)
	if err != nil {
		return err
	}
	for _, i := range slices.Sorted(maps.Keys(refused)) {
		needed, err := r.passEntry(i, refused[i], of)
		if err != nil {
			return err
		}
		var changed *source.ChangedError
		if needed || !errors.As(refused[i], &changed) || !changed.Gone {
			r.left = append(r.left, refused[i]) // something of it was never read
		}
	}
	return r.missed()
}

// missed says, in every process, which events destinations have not had because they went on behind an entry.
func (r *Run) missed() error {
	of := map[string][]int{}
	if _, err := r.journal.Get(missedKey, &of); err != nil {
		return err
	}
	for _, d := range r.job.Destinations {
		n := r.journal.Lane(d.Name).Resume().Counts.Lost
		if n == 0 {
			continue
		}
		var files []string
		for _, i := range of[d.Name] {
			if o := r.input.Manifest().At(i); o.Name != "" && !slices.Contains(files, o.Name) {
				files = append(files, o.Name)
			}
		}
		if len(files) == 0 { // an older version has not noted it, or it was long ago
			files = []string{"input that is not there any more"}
		}
		r.left = append(r.left, fmt.Errorf("%s: %d pending events of %s were not sent before it was changed or gone, and "+
			"the run has gone on behind it: this command does not send them, also when it is back; a copy of it under "+
			"another name, with --from and --fresh, is a run of its own that sends all of it",
			d.Name, n, strings.Join(files, ", ")))
	}
	return nil
}

// notedMissed stores that destinations go on behind an entry.
func (r *Run) notedMissed(entry int, amendments []journal.Amendment) error {
	of := map[string][]int{}
	if _, err := r.journal.Get(missedKey, &of); err != nil {
		return err
	}
	for _, a := range amendments {
		if a.Counts.Lost == 0 || slices.Contains(of[a.Lane], entry) {
			continue
		}
		if of[a.Lane] = append(of[a.Lane], entry); len(of[a.Lane]) > mostMissed {
			of[a.Lane] = of[a.Lane][1:]
		}
	}
	return r.journal.Note(missedKey, of)
}

// mostMissed bounds how many are stored.
const mostMissed = 100

// passEntry makes the destinations skip an entry, and says whether any of them needed it.
func (r *Run) passEntry(entry int, why error, of map[int]source.Place) (needed bool, err error) {
	far := r.journal.Furthest()
	begin := r.input.Manifest().At(entry).Begin.In(entry)
	if far.Position.Compare(begin) <= 0 || int(far.Position.Object) < entry { // nobody has begun it
		of[entry] = source.Place{}
		r.input.End(entry, of[entry])
		return true, r.journal.Put(voidKey, of)
	}
	begins, behind, err := r.around(entry, far)
	if err != nil {
		return false, err
	}
	at, known := of[entry]
	switch {
	case int(far.Position.Object) == entry:
		at = far.Position.Place()
	case !known: // somebody has had all of it
		at = source.Everything
	}
	of[entry] = at
	var late []string
	var amendments []journal.Amendment
	lasting := errors.As(why, new(*source.ChangedError)) // any other error may pass
	for _, l := range r.journalLanes() {
		m := l.Resume().Mark
		if int(m.Position.Object) > entry || at.In(entry).Compare(m.Position) <= 0 {
			continue
		}
		needed = true
		switch {
		case lasting && behind != nil && (int(m.Position.Object) == entry || begins != nil && m.Ordinal >= begins.Ordinal):
			amendments = append(amendments, jump(l, *behind, entry))
		case l.Name != "_source":
			late = append(late, l.Name)
		}
	}
	if err := r.leave(late, why); err != nil || !needed && known {
		return needed, err
	}
	r.input.End(entry, at)
	if err := r.notedMissed(entry, amendments); err != nil {
		return needed, err
	}
	return needed, r.journal.Amend(voidKey, of, amendments)
}

// around returns the marks at which an entry begins and at which the next one begins, as far as they are known.
// far is the furthest mark.
func (r *Run) around(entry int, far journal.Mark) (begins, behind *journal.Mark, err error) {
	var starts engine.Starts
	if _, err := r.journal.Get(engine.StartsKey, &starts); err != nil {
		return nil, nil, err
	}
	for _, i := range slices.Sorted(maps.Keys(starts)) {
		m := starts[i]
		if m.Ordinal < r.cut {
			delete(m.Dropped, transform.Dropped)
		}
		if int(i) == entry {
			begins = &m
		}
		if int(i) > entry {
			behind = &m
			break
		}
	}
	if int(far.Position.Object) == entry {
		behind = &far
	}
	return begins, behind, nil
}

// jump makes a lane that stands in an entry continue after it, as if it had read everything that any lane has read
// of it. What it has not settled of that is lost.
func jump(l *journal.Lane, far journal.Mark, entry int) journal.Amendment {
	s := l.Resume()
	c := s.Counts.Clone()
	events := far.Ordinal - s.Mark.Ordinal - (far.Bad - s.Mark.Bad)
	for reason, n := range far.Dropped {
		events -= n - s.Mark.Dropped[reason]
	}
	if l.Name != "_source" { // its counts are of what was read
		ahead := s.Ahead(s.Mark.Ordinal, far.Ordinal)
		c.Add(ahead)
		c.Lost += events - min(ahead.Settled(), events)
	}
	far.Position = source.Position{Object: uint32(entry) + 1}
	return journal.Amendment{Lane: l.Name, Mark: far, Counts: c, Jumps: true}
}

// leave excludes destinations that would have to read what no longer exists.
func (r *Run) leave(names []string, why error) error {
	if len(names) == 0 {
		return nil
	}
	r.w.Log.Error("stop", "run", r.journal.Name(), "destinations", strings.Join(names, ", "), "why", why)
	j := *r.job
	j.Destinations = slices.DeleteFunc(slices.Clone(j.Destinations),
		func(d *config.Opened) bool { return slices.Contains(names, d.Name) })
	r.job = &j
	r.left = append(r.left, fmt.Errorf("%s has not had all of it, and was left as it was: %w; %s",
		strings.Join(names, ", "), why, ofItsOwn))
	if len(j.Destinations) == 0 {
		return r.left[len(r.left)-1]
	}
	return nil
}
