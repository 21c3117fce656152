package engine

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/stock"
	"github.com/fanfold/fanfold/pkg/transform"
)

// block is a chunk of the input, indexed and selected once for all lanes. It is
// immutable after that.
type block struct {
	chunk  *source.Chunk
	parser event.Parser
	items  []item
	start  journal.Mark
	end    journal.Mark
	bytes  int64
	refs   atomic.Int32
	home   stock.Stock[block]
	routes stock.Stock[routed]

	mu      sync.Mutex
	shared  []sharedRoute
	spoiled atomic.Bool // code that has not come back may still look at it: it is not used again
}

// item is one record of a block.
type item struct {
	ev      *event.Event        // nil: nothing for the lanes
	bad     *source.RecordError // not an event
	dropped string              // by the selection or a transform step
}

func (b *block) retain() { b.refs.Add(1) }

func (b *block) release() {
	if b.refs.Add(-1) == 0 {
		for i := range b.shared {
			b.shared[i].r.release()
		}
		clear(b.shared)
		b.shared = b.shared[:0]
		if b.spoiled.Load() {
			return
		}
		b.chunk.Release()
		b.chunk = nil
		clear(b.items)
		b.items = b.items[:0]
		b.parser.Reset()
		b.parser.Forms = nil
		b.start, b.end = journal.Mark{}, journal.Mark{}
		if b.bytes < 4<<20 {
			b.home.Put(b)
		} else if b.bytes < 8<<20 {
			b.home.PutLarge(b)
		}
	}
}

// prepare indexes and selects the chunk's records. It is a pure function of
// the chunk, so blocks are prepared in parallel. Where all lanes make the same of
// every event it routes the records, too, part by part, as long as their text and
// index are in the processor's cache: that halves what routing takes. gated: the caller
// has a processor's place.
func (e *Engine) prepare(c *source.Chunk, isUrgent, gated bool) *block {
	b := e.stockBlocks.Take()
	b.chunk, b.home, b.routes = c, e.stockBlocks, e.stockRouted
	b.parser.Forms = &e.forms
	b.refs.Store(1)
	// The index takes about half as much as the text.
	b.bytes = int64(cap(c.Data))*3/2 + int64(len(c.Records))*64
	l := e.ahead
	if l == nil || c.End.Compare(l.ledger.resumed.Mark.Position) <= 0 {
		e.index(b, len(c.Records))
		return b
	}
	r, _ := b.share(l.router.group)
	defer r.release() // the block holds it
	defer close(r.done)
	r.split(len(c.Records))
	for i := range r.n {
		from, to := r.part(0, len(c.Records), i)
		e.index(b, to)
		l.router.part(b, from, to, r, i, isUrgent, gated)
		b.bytes += int64(r.parts[i].list.Size())
	}
	return b
}

// index indexes and selects the records up to one.
func (e *Engine) index(b *block, to int) {
	c := b.chunk
	s := slice{now: e.c.Now}
	for i := len(b.items); i < to; i++ {
		if i&15 == 0 {
			s.over()
		}
		r := &c.Records[i]
		var it item
		if r.Err != nil {
			it.bad = r.Err
		} else if ev, err := b.parser.Parse(r.Raw); err != nil {
			it.bad = badRecord(c, i, err)
		} else if ev.TypeValue().Kind() != event.String || ev.TypeValue().IsEmptyText() {
			it.bad = &source.RecordError{Reason: source.NotEvent, Object: c.Name, Offset: startOf(c, i), Line: r.Line,
				Detail: `it has no "type", which every event of the Segment spec has`}
		} else if !e.inRange(ev) {
			it.dropped = "time_range"
		} else if !e.c.Filter.Match(ev.Root()) {
			it.dropped = "filter"
		} else {
			it.ev = ev
		}
		b.items = append(b.items, it)
	}
}

func badRecord(c *source.Chunk, i int, err error) *source.RecordError {
	r := &c.Records[i]
	bad := &source.RecordError{
		Reason: source.Syntax,
		Detail: err.Error(),
		Object: c.Name,
		Offset: startOf(c, i),
		Line:   r.Line,
	}
	switch {
	case errors.Is(err, event.ErrNotObject):
		bad.Reason = source.NotEvent
	case r.Tail:
		bad.Reason, bad.Detail = source.Truncated, "the object ends in the middle of a record: "+err.Error()
	}
	return bad
}

// startOf is where record i begins: behind the one before it.
func startOf(c *source.Chunk, i int) int64 {
	if i > 0 {
		return c.Records[i-1].End.Offset
	}
	return c.Start.Offset
}

func (e *Engine) inRange(ev *event.Event) bool {
	if e.c.Since.IsZero() && e.c.Until.IsZero() {
		return true
	}
	at, ok := ev.Timestamp()
	return ok && !at.Before(e.c.Since) && (e.c.Until.IsZero() || at.Before(e.c.Until))
}

// finish gives a prepared block its place in the reading: ordinals, counts, the
// limit and the user's own steps, which see the events in order. It says
// whether the limit was reached.
func (e *Engine) finish(b *block, start journal.Mark, w *transform.Worker) (end bool, err error) {
	b.start = start
	m := start
	m.Dropped = maps.Clone(start.Dropped)
	picked := int64(selected(start))
	for _, d := range start.Dropped {
		picked += int64(d)
	}
	for k, d := range start.Dropped {
		if k == "filter" || k == "time_range" {
			picked -= int64(d)
		}
	}
	for i := range b.items {
		it := &b.items[i]
		rec := &b.chunk.Records[i]
		if it.ev != nil {
			picked++
			if e.c.Transform != nil {
				out, dropped, err := e.c.Transform.Apply(w, it.ev, rec.End)
				if err != nil {
					return false, err
				}
				if dropped != "" {
					it.ev, it.dropped = nil, dropped
				} else if out != nil {
					ev, err := b.parser.Parse(append([]byte(nil), out...))
					if err != nil {
						return false, err
					}
					it.ev = ev
				}
			}
		}
		m.Ordinal++
		m.Position = rec.End
		switch {
		case it.bad != nil:
			m.Bad++
		case it.dropped != "":
			if m.Dropped == nil {
				m.Dropped = map[string]uint64{}
			}
			m.Dropped[it.dropped]++
		}
		if e.c.Limit > 0 && picked >= e.c.Limit {
			clear(b.items[i+1:])
			b.items = b.items[:i+1]
			end = true
			break
		}
	}
	b.end = m
	return end, nil
}
