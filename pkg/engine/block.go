package engine

import (
	"sync"
	"sync/atomic"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/stock"
	"github.com/fanfold/fanfold/pkg/transform"
)

// block is a chunk of the input, indexed and selected once for all lanes. It is
// immutable after that.
type block struct {
	chunk  *source.Chunk
	parser event.Parser
	items  []selection.Item
	start  journal.Mark
	end    journal.Mark
	bytes  int64 // of all that it holds
	own    int64 // of its text and index
	days   days
	refs   atomic.Int32
	home   stock.Stock[block]
	routes stock.Stock[routed]

	mu      sync.Mutex
	shared  []sharedRoute
	index   func()      // indexes the events again; nil: they are indexed
	spoiled atomic.Bool // code that has not come back may still look at it: it is not used again
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
		b.index = nil
		b.days = days{}
		b.start, b.end = journal.Mark{}, journal.Mark{}
		if b.own < 4<<20 {
			b.home.Put(b)
		} else if b.own < 8<<20 {
			b.home.PutLarge(b)
		}
	}
}

// prepare indexes and selects the chunk's records. It is a pure function of
// the chunk, so blocks are prepared in parallel. It routes the records for the lanes, too,
// part by part, as long as their text and index are in the processor's cache: see ahead.go.
// only: for this lane alone; nil: for all. hasPlace: the caller has a processor's place.
func (e *Engine) prepare(c *source.Chunk, only *lane, isUrgent, hasPlace bool) *block {
	b := e.stockBlocks.Take()
	b.chunk, b.home, b.routes = c, e.stockBlocks, e.stockRouted
	b.parser.Follow = e.paths
	b.refs.Store(1)
	// The index takes about half as much as the text.
	b.own = int64(cap(c.Data))*3/2 + int64(len(c.Records))*64
	b.bytes = b.own
	if todo, all := e.goAhead(b, only); len(todo) == 0 {
		e.index(b, len(c.Records))
	} else {
		e.routeAhead(b, todo, all, isUrgent, hasPlace)
	}
	return b
}

// forget gives back the memory of the index of events that all lanes have been routed:
// the next ones are indexed there, so that it stays in the processor's cache. Who needs
// them after all has them judged again.
func (e *Engine) forget(b *block, from, to int) {
	if b.spoiled.Load() {
		return // somebody may still look at it
	}
	b.parser.Reset()
	for i := from; i < to; i++ {
		if it := &b.items[i]; it.Event != nil {
			it.Event = e.gone
		}
	}
	b.index = func() {
		b.parser.Reset()
		for i := range b.items {
			if it := &b.items[i]; it.Event != nil {
				it.Event = e.c.Selection.Judge(&b.parser, b.chunk, i).Event
			}
		}
	}
}

// indexed sees to it that there is an index of the block's events.
func (b *block) indexed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.index != nil {
		b.index()
		b.index = nil
	}
}

// index indexes and selects the records up to one.
func (e *Engine) index(b *block, to int) {
	c := b.chunk
	s := slice{now: e.c.Now}
	for i := len(b.items); i < to; i++ {
		if i&15 == 0 {
			s.over()
		}
		it := e.c.Selection.Judge(&b.parser, c, i)
		if b.items = append(b.items, it); it.Event != nil {
			b.days.see(it.Event)
		}
	}
}

// finish gives a prepared block its place in the reading: ordinals, counts, the
// limit and the user's own steps, which see the events in order. It says
// whether the limit was reached.
func (e *Engine) finish(b *block, start journal.Mark, w *transform.Worker) (end bool, err error) {
	b.start = start
	var n int
	if b.end, n, end, err = e.c.Selection.Order(&b.parser, w, b.chunk, b.items, start); err != nil {
		return false, err
	}
	clear(b.items[n:])
	b.items = b.items[:n]
	return end, nil
}
