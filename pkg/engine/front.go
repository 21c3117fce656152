package engine

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// front is the shared reading of the input for all lanes: how far it has come, and the bad records, which become
// dead letters of the run, once for all lanes.
type front struct {
	bad    *journal.Lane
	starts Starts // used only by the goroutine that reads

	mu       sync.Mutex
	mark     journal.Mark      // what has been read
	began    journal.Mark      // what earlier processes had read
	passed   float64           // the fraction of the input's bytes that has been read; 0: not known
	badOnes  map[string]uint64 // bad records by reason
	badFirst map[string]string // an example of each
	err      error
	atEnd    bool
	overlap  uint64 // events of objects that another run has read, too
	arrived  arrivals
	noted    time.Time // when arrived was last written to the journal
}

// overlaps counts the events of a block if its object was read by another run.
func (f *front) overlaps(b *block) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.overlap += selected(b.end) - selected(b.start)
}

// Overlap is how many events were selected from objects that are Known.
func (e *Engine) Overlap() uint64 {
	e.front.mu.Lock()
	defer e.front.mu.Unlock()
	return e.front.overlap
}

// StartsKey is the journal key under which a run keeps the marks at which the last objects of its manifest begin
// ([Starts]).
const StartsKey = "starts"

// Starts maps entries of the manifest to the marks at which they begin. An object without records has none.
type Starts map[uint32]journal.Mark

// mostStarts is how many marks are kept. As a rule that covers the objects between the front reading and the
// slowest destination.
const mostStarts = 64

// begins notes the mark at which an object begins. It is written to the journal with the checkpoint of the block
// that begins there.
func (f *front) begins(run *journal.Run, b *block) error {
	object := b.chunk.End.Object
	if f.starts == nil {
		if _, err := run.Get(StartsKey, &f.starts); err != nil {
			return err
		}
		if f.starts == nil {
			f.starts = Starts{}
		}
	}
	if _, known := f.starts[object]; known || object == b.start.Position.Object && b.start.Ordinal > 0 {
		return nil
	}
	f.starts[object] = b.start
	for len(f.starts) > mostStarts {
		delete(f.starts, slices.Min(slices.Collect(maps.Keys(f.starts))))
	}
	return run.Note(StartsKey, f.starts)
}

// ArrivalsKey is the journal key under which a followed run keeps when its input was read (a list of [Arrival]),
// so that the lag of a destination is still known after a restart.
const ArrivalsKey = "arrivals"

// noteArrivals is how often the arrivals are written.
const noteArrivals = 10 * time.Second

// start sets the place where the reading begins, and loads when the input before it was read.
func (f *front) start(mark journal.Mark, run *journal.Run, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mark, f.began = mark, mark
	if found, err := run.Get(ArrivalsKey, &f.arrived); !found || err != nil {
		f.arrived = nil // nothing depends on the reading times, so they may be lost
	}
	f.arrived.note(mark.Ordinal, now)
	f.badOnes, f.badFirst = maps.Clone(f.bad.Resume().Counts.Rejected), map[string]string{}
	if f.badOnes == nil {
		f.badOnes = map[string]uint64{}
	}
}

// at returns how far the reading is.
func (f *front) at() (mark journal.Mark, passed float64, atEnd bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mark, f.passed, f.atEnd
}

// before returns what earlier processes had read; the zero mark: nothing.
func (f *front) before() journal.Mark {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.began
}

// reasons returns how many bad records there are by reason, and an example of each.
func (f *front) reasons() (n map[string]uint64, first map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.badOnes), maps.Clone(f.badFirst)
}

// move notes that the reading has reached a mark. After a resume it begins before marks that faster lanes have
// already settled; those records count as read.
func (f *front) move(to journal.Mark, passed float64, now time.Time) {
	f.reach(to, now)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passed = passed
}

// reach notes that the reading has reached a mark. A lane that reads by itself, and may be further ahead, calls
// it, too.
func (f *front) reach(to journal.Mark, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if to.Ordinal > f.mark.Ordinal {
		f.mark = to
		f.arrived.note(to.Ordinal, now)
	}
}

// keepArrivals writes the arrivals to the journal now and then.
func (f *front) keepArrivals(run *journal.Run, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := now.Sub(f.noted); d >= 0 && d < noteArrivals {
		return nil
	}
	f.noted = now
	return run.Note(ArrivalsKey, f.arrived)
}

// waits returns since when the first record that a lane has not settled has been waiting. settled is the ordinal
// of that record. The zero time: nothing waits.
func (f *front) waits(settled uint64) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if settled >= f.mark.Ordinal {
		return time.Time{}
	}
	return f.arrived.of(settled)
}

// settled forgets the arrivals of records that all lanes have settled.
func (f *front) settled(ordinal uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.arrived.passed(ordinal)
}

// note counts a bad record.
func (f *front) note(bad *source.RecordError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reason := string(bad.Reason)
	f.badOnes[reason]++
	if f.badFirst[reason] == "" {
		f.badFirst[reason] = bad.Place() + ": " + bad.Detail
	}
}

func (f *front) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = errors.Join(f.err, err)
}

// end notes that nothing more will be read. finished: the end of the input was reached.
func (f *front) end(finished bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.atEnd = finished && f.err == nil
}

// reject makes dead letters of a block's bad records, and moves their checkpoint past the block.
func (f *front) reject(b *block, log func(*source.RecordError)) error {
	known := f.bad.Resume()
	var verdicts []journal.Verdict
	var dead []journal.DeadLetter
	for i := range b.items {
		bad := b.items[i].Bad
		id := journal.DeliveryID{Ordinal: b.start.Ordinal + uint64(i)}
		if bad == nil || id.Ordinal < known.Mark.Ordinal {
			continue
		}
		f.note(bad)
		if _, done := known.Settled(id); done {
			continue
		}
		log(bad)
		rec := &b.chunk.Records[i]
		verdicts = append(verdicts, journal.Verdict{ID: id, Outcome: journal.Rejected, Reason: string(bad.Reason)})
		dead = append(
			dead,
			journal.DeadLetter{Raw: rec.Raw[:min(len(rec.Raw), 64<<10)], Reason: string(bad.Reason), Detail: bad.Detail,
				Position: rec.End, Object: bad.Object, Offset: bad.Offset, Line: bad.Line, Ordinal: id.Ordinal},
		)
	}
	if len(dead) > 0 {
		if err := f.bad.Settle(verdicts, dead); err != nil {
			return err
		}
	}
	if b.end.Ordinal <= known.Mark.Ordinal {
		return nil
	}
	f.mu.Lock()
	counts := journal.Counts{Rejected: maps.Clone(f.badOnes)}
	f.mu.Unlock()
	return f.bad.Advance(b.end, counts, nil)
}

// readFront reads blocks into the ring, from a mark on.
func (e *Engine) readFront(ctx context.Context, from journal.Mark) {
	e.front.start(e.furthest(from), e.c.Run, e.c.Now())
	finished := true
	take := func(b *block) bool {
		err := e.front.begins(e.c.Run, b)
		if err == nil {
			err = e.front.reject(b, e.logNoEvent)
		}
		if err != nil {
			e.front.fail(err)
			return false
		}
		e.front.move(b.end, e.passed(), e.c.Now())
		if e.c.Follows {
			if err := e.front.keepArrivals(e.c.Run, e.c.Now()); err != nil {
				e.front.fail(err)
				return false
			}
		}
		if e.c.Known != nil && e.c.Known(b.chunk.End.Object) {
			e.front.overlaps(b)
		}
		if !e.ring.push(ctx, b, e.c.Stop) {
			finished = false
			return false
		}
		return true
	}
	for {
		err := e.read(ctx, from, runtime.GOMAXPROCS(0), take)
		if err == nil {
			break
		}
		e.front.fail(err)
		var lost *source.LostError
		if !errors.As(err, &lost) {
			break
		}
		var goesOn bool
		if from, goesOn = e.pass(lost); !goesOn {
			break
		}
	}
	e.front.end(finished && ctx.Err() == nil)
	e.ring.finish()
}

// pass stops the lanes that still need an object which cannot be read any more, and returns the mark from which
// the others go on; false: there are no others.
func (e *Engine) pass(lost *source.LostError) (from journal.Mark, goesOn bool) {
	for _, l := range e.lanes {
		m := l.ledger.resumed.Mark
		behind := int(m.Position.Object) > lost.Entry || lost.End != source.Position{} && m.Position.Compare(lost.End) >= 0
		if !behind {
			l.mu.Lock()
			l.halted(lost.Error(), "what it read is there again, as it was")
			l.mu.Unlock()
		} else if !goesOn || m.Ordinal < from.Ordinal {
			from, goesOn = m, true
		}
	}
	return from, goesOn
}

// passed is the fraction of the input's bytes that has been read; 0: not known.
func (e *Engine) passed() float64 {
	m, ok := e.c.Source.(interface{ Passed() (bytes, all int64) })
	if !ok || e.c.Selection.Limit != 0 {
		return 0
	}
	bytes, all := m.Passed()
	if all <= 0 || bytes < 1<<20 { // the first megabyte says too little
		return 0
	}
	return min(float64(bytes)/float64(all), 1)
}

// furthest returns the highest mark of a lane, or from if that is higher. A resumed run reads again from the
// lowest mark on; up to the highest one, its records count as read already.
func (e *Engine) furthest(from journal.Mark) journal.Mark {
	marks := []journal.Mark{e.front.bad.Resume().Mark}
	for _, l := range e.lanes {
		marks = append(marks, l.ledger.resumed.Mark)
	}
	for _, m := range marks {
		if m.Ordinal > from.Ordinal {
			from = m
		}
	}
	return from
}
