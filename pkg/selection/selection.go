// Package selection decides what of a source goes to the destinations: the range of
// event times, the filter, the limit, and the user's own steps, in this order: the limit
// counts what range and filter let through, whatever a step then makes of it.
//
// It is the one place that decides: whoever sends events, and whoever only says what
// would be sent, reads the same [Selection]. The engine calls its two halves by
// itself, since the first can be done by many goroutines: [Selection.Judge] looks at
// one record, whatever stands beside it, and [Selection.Order] goes through the
// judged records of a chunk one after the other, counts them, and ends at the limit.
// [Selection.Records] does both, for everybody else.
package selection

import (
	"bytes"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/suppress"
	"github.com/fanfold/fanfold/pkg/transform"
)

// Selection says which records of a source are events for the destinations. It is
// not changed once it is in use; many goroutines may use it.
type Selection struct {
	// Rules bring events to the spec's form, before anything is asked of them and after
	// the steps have changed them; nil: they are left as they are.
	Rules  *normalize.Rules
	Since  time.Time      // of the event, inclusive; zero: no bound
	Until  time.Time      // exclusive; zero: no bound
	Filter *filter.Filter // nil: everything
	// Steps are the user's own, for all destinations; nil: none. They may ask what
	// came before: Order sees the events in the order of the input.
	Steps *transform.Pipeline
	// Suppress are those who must not be sent anything; nil: nobody.
	Suppress *suppress.Set
	// SkipUndated drops events that nobody knows the time of.
	SkipUndated bool
	// Seen remembers what the events call themselves when that is nothing known; nil: nobody does.
	Seen *Seen
	// Watch, unless it is nil, is told what each step makes of an event, as it was read and
	// whose record ends at a position. What it is given is valid during the call.
	Watch func(ev *event.Event, end source.Position, a transform.Applied)
	Limit int64 // events that have passed range and filter; 0: all
	// Cut is the ordinal before which other steps were in force once: what today's drop of
	// the records before it is counted by each destination for itself ([Selection.Apart]),
	// since each has met the change at a place of its own.
	Cut uint64
}

// Apart says of a record that a step has dropped it, and that its marks do not count it.
func (s *Selection) Apart(it *Item, ordinal uint64) bool {
	return ordinal < s.Cut && it.Dropped == transform.Dropped
}

// Why a record is dropped, as the summary has it. Steps have reasons of their own.
const (
	TimeRange = "time_range"
	Filtered  = "filter"
	NoTime    = "no_time"
)

// Item is the verdict on one record: Event, Bad or Dropped is set, and no two of them.
type Item struct {
	Event   *event.Event        // goes to the destinations, as the steps have left it
	Bad     *source.RecordError // it is no event
	Dropped string              // for this reason it goes no further
	// Suppressed says of Event that it is of somebody who must not be sent anything.
	Suppressed bool
}

// Judge looks at record i of a chunk by itself. The event is in the memory of p and
// of the chunk.
func (s *Selection) Judge(p *event.Parser, c *source.Chunk, i int) Item {
	r := &c.Records[i]
	if r.Err != nil {
		return Item{Bad: r.Err}
	}
	ev, err := p.Parse(r.Raw)
	switch {
	case err != nil:
		return Item{Bad: badRecord(c, i, err)}
	case ev.TypeValue().Kind() != event.String || ev.TypeValue().IsEmptyText():
		return Item{Bad: foreign(c, i)}
	}
	if ev, err = s.Rules.Event(p, ev); err != nil {
		return Item{Bad: badRecord(c, i, err)}
	}
	s.Seen.note(ev)
	switch {
	case s.SkipUndated && !isDated(ev):
		return Item{Dropped: NoTime}
	case !s.inRange(ev):
		return Item{Dropped: TimeRange}
	case !s.Filter.Match(ev.Root()):
		return Item{Dropped: Filtered}
	}
	return Item{Event: ev, Suppressed: s.Suppress.Has(ev)}
}

// foreign is a record that is JSON, and no event.
func foreign(c *source.Chunk, i int) *source.RecordError {
	bad := &source.RecordError{Reason: source.NotEvent,
		Detail: `it has no "type", which every event of the Segment spec has`,
		Object: c.Name, Offset: StartOf(c, i), Line: c.Records[i].Line}
	if c.Foreign != "" {
		bad.Detail += "; " + c.Foreign
	}
	return bad
}

func badRecord(c *source.Chunk, i int, err error) *source.RecordError {
	r := &c.Records[i]
	bad := &source.RecordError{Reason: source.Syntax, Detail: err.Error(), Object: c.Name, Offset: StartOf(c, i),
		Line: r.Line}
	switch {
	case errors.Is(err, event.ErrNotObject):
		bad.Reason = source.NotEvent
	case r.Tail:
		bad.Reason, bad.Detail = source.Truncated, "the object ends in the middle of a record: "+err.Error()
	case c.Hint != "":
		bad.Detail += "; " + c.Hint
	}
	return bad
}

// StartOf is where record i of a chunk begins, in bytes: behind the one before it.
func StartOf(c *source.Chunk, i int) int64 {
	if i > 0 {
		return c.Records[i-1].End.Offset
	}
	return c.Start.Offset
}

func isDated(ev *event.Event) bool {
	_, ok := ev.Timestamp()
	return ok
}

func (s *Selection) inRange(ev *event.Event) bool {
	if s.Since.IsZero() && s.Until.IsZero() {
		return true
	}
	at, ok := ev.Timestamp()
	return ok && !at.Before(s.Since) && (s.Until.IsZero() || at.Before(s.Until))
}

// Order takes the judged records of a chunk in the order of the input: it shows the steps
// those that are left, and counts all of them. start is the mark before the chunk, end the
// mark behind the last record taken, of which there are n. Where the limit is reached full is
// set, and n may be less than len(items): reading ends there. The limit counts events as the
// steps are shown them, also those that a step then drops. p holds events that the steps have
// changed, w what the steps remember.
func (s *Selection) Order(
	p *event.Parser, w *transform.Worker, c *source.Chunk, items []Item, start journal.Mark,
) (end journal.Mark, n int, full bool, err error) {
	end = start
	end.Dropped = maps.Clone(start.Dropped)
	picked := s.picked(start)
	for i := range items {
		it := &items[i]
		rec := &c.Records[i]
		if it.Event != nil {
			picked++
			if err := s.step(p, w, it, rec.End); err != nil {
				return start, 0, false, err
			}
		}
		end.Ordinal++
		end.Position = rec.End
		switch {
		case it.Bad != nil:
			end.Bad++
		case it.Dropped != "" && !s.Apart(it, end.Ordinal-1):
			if end.Dropped == nil {
				end.Dropped = map[string]uint64{}
			}
			end.Dropped[it.Dropped]++
		}
		if s.Limit > 0 && picked >= s.Limit {
			return end, i + 1, true, nil
		}
	}
	return end, len(items), false, nil
}

// step has the user's steps change or drop an event.
func (s *Selection) step(p *event.Parser, w *transform.Worker, it *Item, end source.Position) error {
	if s.Steps.Empty() {
		return nil
	}
	if s.Watch != nil {
		read := it.Event
		w.Trace = func(a transform.Applied) { s.Watch(read, end, a) }
	}
	out, dropped, err := s.Steps.Apply(w, it.Event, end)
	switch {
	case err != nil:
		return err
	case dropped != "":
		it.Event, it.Dropped = nil, dropped
	case out != nil:
		if it.Event, err = p.Parse(bytes.Clone(out)); err == nil {
			it.Event, err = s.Rules.Event(p, it.Event)
		}
		if err == nil {
			it.Suppressed = it.Suppressed || s.Suppress.Has(it.Event)
		}
	}
	return err
}

// picked is how many records up to a mark have passed range and filter.
func (s *Selection) picked(m journal.Mark) int64 {
	return int64(m.Ordinal - m.Bad - m.Dropped[Filtered] - m.Dropped[TimeRange] - m.Dropped[NoTime])
}

// Full says that what was read up to a mark is all that may be.
func (s *Selection) Full(m journal.Mark) bool { return s.Limit > 0 && s.picked(m) >= s.Limit }

// Fallback is the insert id of an event without a usable messageId: where its record
// ends in the input, which is the same whenever it is read.
func Fallback(m *source.Manifest, end source.Position) string {
	id := m.At(int(end.Object)).ID() + "-" + strconv.FormatInt(end.Offset, 10)
	if end.Element > 0 {
		id += "-" + strconv.Itoa(int(end.Element))
	}
	return id
}
