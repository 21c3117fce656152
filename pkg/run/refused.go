package run

import (
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

// voidKey is where a run keeps which entries of its manifest are not read any more, and how
// much of each was.
const voidKey = "void"

// voids are those entries.
func (r *Run) voids() (of map[int]int64, err error) {
	_, err = r.journal.Get(voidKey, &of)
	if of == nil {
		of = map[int]int64{}
	}
	return of, err
}

// voided notes that an entry which nobody has begun to read is not read any more.
func (r *Run) voided(entry int) error {
	for _, name := range r.journal.Lanes() {
		if at := r.journal.Lane(name).Durable(); int(at.Position.Object) > entry {
			return mistakef("%s has read what others cannot read any more: start over with --fresh", name)
		}
	}
	of, err := r.voids()
	if err != nil {
		return err
	}
	of[entry] = 0
	return r.journal.Put(voidKey, of)
}

// passRefused has the destinations pass the entries whose objects are not what they were, as
// far as that is possible: what is behind them goes on. The places of records are the same
// for all, so a destination that stands before such an object while another one is behind it
// has to stop, alone.
func (r *Run) passRefused(refused map[int]error) error {
	of, err := r.voids()
	if err != nil {
		return err
	}
	var entries []int
	for i := range refused {
		if _, is := of[i]; !is {
			entries = append(entries, i)
		}
	}
	slices.Sort(entries)
	for _, i := range entries {
		if err := r.passEntry(i, refused[i], of); err != nil {
			return err
		}
	}
	for _, i := range slices.Sorted(maps.Keys(refused)) {
		if _, is := of[i]; is { // something was never read
			r.left = append(r.left, refused[i])
		}
	}
	return nil
}

func (r *Run) passEntry(entry int, why error, of map[int]int64) error {
	var far journal.Mark
	for _, name := range r.journal.Lanes() {
		if m := r.journal.Lane(name).Resume().Mark; m.Ordinal >= far.Ordinal && m.Position.Compare(far.Position) >= 0 {
			far = m
		}
	}
	of[entry] = 0
	object, inside := int(far.Position.Object), far.Position.Offset > 0 || far.Position.Element > 0
	if object < entry || object == entry && !inside {
		return r.journal.Put(voidKey, of) // nobody has begun it
	}
	begins, behind, err := r.around(entry, far)
	if err != nil {
		return err
	}
	of[entry] = far.Position.Offset
	var late []string
	var amendments []journal.Amendment
	needed := false
	for _, l := range r.journalLanes() {
		m := l.Resume().Mark
		if int(m.Position.Object) > entry {
			continue
		}
		needed = true
		switch {
		case behind != nil && (int(m.Position.Object) == entry || begins != nil && m.Ordinal >= begins.Ordinal):
			amendments = append(amendments, jump(l, *behind, entry))
		case l.Name != "_source":
			late = append(late, l.Name)
		}
	}
	if err := r.leave(late, why); err != nil || !needed {
		return err
	}
	if object > entry { // somebody has had all of it
		of[entry] = r.input.Manifest().At(entry).Size
	}
	return r.journal.Amend(voidKey, of, amendments)
}

// around are the marks at which an entry begins, and at which what is behind it does, as
// far as they are known. far is the furthest mark.
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

// jump has a lane go on behind an entry in which it stands, as if all of it had been read that
// anybody has read. What of that it has not settled is lost.
func jump(l *journal.Lane, far journal.Mark, entry int) journal.Amendment {
	s := l.Resume()
	c := s.Counts.Clone()
	events := far.Ordinal - s.Mark.Ordinal - (far.Bad - s.Mark.Bad)
	for reason, n := range far.Dropped {
		events -= n - s.Mark.Dropped[reason]
	}
	worst := map[uint64]journal.Verdict{}
	for _, v := range s.Before(far.Ordinal) {
		if v.Outcome == journal.Delivered {
			c.Deliveries++
		}
		if w, ok := worst[v.ID.Ordinal]; !ok || v.Outcome > w.Outcome {
			worst[v.ID.Ordinal] = v
		}
	}
	for _, v := range worst {
		switch {
		case l.Name == "_source":
			continue // its counts are of what was read
		case v.Outcome == journal.Delivered:
			c.Delivered++
		case v.Outcome == journal.Skipped:
			c.Skipped = more(c.Skipped, v.Reason)
		default:
			c.Rejected = more(c.Rejected, v.Reason)
		}
		events--
	}
	if l.Name != "_source" {
		c.Lost += events
	}
	far.Position = source.Position{Object: uint32(entry) + 1}
	return journal.Amendment{Lane: l.Name, Mark: far, Counts: c, Jumps: true}
}

func more(m map[string]uint64, reason string) map[string]uint64 {
	if m == nil {
		m = map[string]uint64{}
	}
	m[reason]++
	return m
}

// leave has destinations take no part: they would have to read what is not there any more.
func (r *Run) leave(names []string, why error) error {
	if len(names) == 0 {
		return nil
	}
	r.w.Log.Error("stop", "run", r.journal.Name(), "destinations", strings.Join(names, ", "), "why", why)
	j := *r.job
	j.Destinations = slices.DeleteFunc(slices.Clone(j.Destinations),
		func(d *config.Opened) bool { return slices.Contains(names, d.Name) })
	r.job = &j
	r.left = append(r.left, fmt.Errorf("%s has not had all of it, and was left as it was: %w",
		strings.Join(names, ", "), why))
	if len(j.Destinations) == 0 {
		return r.left[len(r.left)-1]
	}
	return nil
}
