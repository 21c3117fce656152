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
	bytes  int64 // of everything it holds
	own    int64 // of its text and index
	days   days
	refs   atomic.Int32
	home   stock.Stock[block]
	routes stock.Stock[routed]

	mu      sync.Mutex
	shared  []sharedRoute
	index   func()      // indexes the events again, after forget; nil: they are indexed
	spoiled atomic.Bool // a call that never returned may still read it, so its memory is not reused
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

// prepare indexes and selects the chunk's records. It is a pure function of the chunk, so blocks are prepared in
// parallel. It also routes the records for the lanes, part by part, while their text and index are in the
// processor's cache: see ahead.go. only: the one lane it is for; nil: all. hasPlace: the caller already has a
// place on a processor.
func (e *Engine) prepare(c *source.Chunk, only *lane, isUrgent, hasPlace bool) *block {
	b := e.stockBlocks.Take()
	b.chunk, b.home, b.routes = c, e.stockBlocks, e.stockRouted
	b.parser.Follow = e.paths
	b.refs.Store(1)
	// The index takes about half as much as the text. What records have inherited from an envelope does not lie in
	// the chunk's data.
	text := 0
	for i := range c.Records {
		text += len(c.Records[i].Raw)
	}
	b.own = int64(max(cap(c.Data), text))*3/2 + int64(len(c.Records))*64
	b.bytes = b.own
	if todo, all := e.goAhead(b, only); len(todo) == 0 {
		e.index(b, len(c.Records))
	} else {
		e.routeAhead(b, todo, all, isUrgent, hasPlace)
	}
	return b
}

// forget frees the index memory of events that have been routed for all lanes. The next events are indexed in the
// same memory, so that it stays in the processor's cache. If an index is needed again, it is rebuilt.
func (e *Engine) forget(b *block, from, to int) {
	if b.spoiled.Load() {
		return // a call that never returned may still read it
	}
	b.parser.Reset()
	for i := from; i < to; i++ {
		if it := &b.items[i]; it.Event != nil {
			it.Event = e.gone
		}
	}
	b.index = func() {
		if b.spoiled.Load() { // since then: the call may read the memory of any event of the block
			b.parser = event.Parser{Limits: b.parser.Limits, Follow: b.parser.Follow}
		}
		b.parser.Reset()
		for i := range b.items {
			if it := &b.items[i]; it.Event != nil {
				it.Event = e.c.Selection.Judge(&b.parser, b.chunk, i).Event
			}
		}
	}
}

// indexed makes sure that the block's events are indexed.
func (b *block) indexed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.index != nil {
		b.index()
		b.index = nil
	}
}

// index indexes and selects the records before one.
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

// finish gives a prepared block its place in the input: ordinals, counts, the limit, and the user's own transform
// steps, which see the events in order. end says that the limit was reached.
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
