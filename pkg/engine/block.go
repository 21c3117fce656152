package engine

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

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

	mu     sync.Mutex
	shared []sharedRoute
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
// index are in the processor's cache: that halves what routing takes.
func (e *Engine) prepare(c *source.Chunk, isUrgent bool) *block {
	b := e.stockBlocks.Take()
	b.chunk, b.home, b.routes = c, e.stockBlocks, e.stockRouted
	b.parser.Forms = &e.forms
	b.refs.Store(1)
	// The index takes about half as much as the text.
	b.bytes = int64(cap(c.Data))*3/2 + int64(len(c.Records))*64
	l := e.ahead
	if l == nil || c.End.Compare(l.resumed.Mark.Position) <= 0 {
		e.index(b, len(c.Records))
		return b
	}
	r, _ := b.share(l.alike)
	defer r.release() // the block holds it
	defer close(r.done)
	r.split(len(c.Records))
	for i := range r.n {
		from, to := r.part(0, len(c.Records), i)
		e.index(b, to)
		l.routePart(b, from, to, &r.parts[i], isUrgent)
		b.bytes += int64(r.parts[i].list.Size())
	}
	return b
}

// index indexes and selects the records up to one.
func (e *Engine) index(b *block, to int) {
	c := b.chunk
	var t turn
	for i := len(b.items); i < to; i++ {
		if i&15 == 0 {
			t.over()
		}
		r := &c.Records[i]
		var it item
		if r.Err != nil {
			it.bad = r.Err
		} else if ev, err := b.parser.Parse(r.Raw); err != nil {
			it.bad = badRecord(c, i, err)
		} else if ev.TypeValue().Kind() != event.String || ev.TypeValue().IsEmptyText() {
			it.bad = &source.RecordError{Reason: source.NotEvent, Detail: `it has no "type", which every event of the Segment spec has`, Object: c.Name, Offset: startOf(c, i), Line: r.Line}
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
	bad := &source.RecordError{Reason: source.Syntax, Detail: err.Error(), Object: c.Name, Offset: startOf(c, i), Line: r.Line}
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

// overLimit says that what was read up to a mark is all that may be.
func (e *Engine) overLimit(from journal.Mark) bool {
	return e.c.Limit > 0 && int64(from.Ordinal-from.Bad-from.Dropped["filter"]-from.Dropped["time_range"]) >= e.c.Limit
}

// read yields finished blocks after a mark, in order, prepared in parallel by
// at most workers goroutines.
func (e *Engine) read(ctx context.Context, from journal.Mark, workers int, yield func(*block) bool) error {
	if e.overLimit(from) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type job struct {
		done chan *block
		err  error
	}
	jobs := make(chan job, workers)
	slots := make(chan struct{}, workers) // blocks under way or waiting to be taken
	go func() {
		defer close(jobs)
		for c, err := range e.c.Source.Chunks(ctx, from.Position) {
			j := job{err: err}
			if err == nil {
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				j.done = make(chan *block, 1)
				go func() { j.done <- e.prepare(c, true) }()
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		cancel()
		for j := range jobs {
			if j.done != nil {
				(<-j.done).release()
			}
		}
	}()
	w := new(transform.Worker)
	for j := range jobs {
		if j.err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return j.err
		}
		b := <-j.done
		<-slots
		end, err := e.finish(b, from, w)
		if err != nil {
			b.release()
			return err
		}
		from = b.end
		if !yield(b) || end {
			return nil
		}
	}
	return nil
}

// readLean reads one block after the other: the reading of a lane that lags,
// of which there may be many.
func (e *Engine) readLean(ctx context.Context, l *lane, from journal.Mark, yield func(*block) bool) error {
	if e.overLimit(from) {
		return nil
	}
	w := &transform.Worker{Again: true}
	for c, err := range e.c.Source.Chunks(source.Lean(ctx), from.Position) {
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		isUrgent := l.gettingSomewhere()
		e.cpu.enter(isUrgent)
		b := e.prepare(c, isUrgent)
		e.cpu.leave(isUrgent)
		end, err := e.finish(b, from, w)
		if err != nil {
			b.release()
			return err
		}
		from = b.end
		if !yield(b) || end {
			return nil
		}
	}
	return nil
}

// readFront reads for the ring, counts what is read, and buries bad records.
func (e *Engine) readFront(ctx context.Context, from journal.Mark, bad *journal.Lane) {
	known := bad.Resume()
	e.mu.Lock()
	e.front = e.furthest(from)
	e.badOnes, e.badFirst = maps.Clone(known.Counts.Rejected), map[string]string{}
	if e.badOnes == nil {
		e.badOnes = map[string]uint64{}
	}
	e.mu.Unlock()
	finished := true
	err := e.read(ctx, from, runtime.GOMAXPROCS(0), func(b *block) bool {
		var verdicts []journal.Verdict
		var dead []journal.DeadLetter
		for i := range b.items {
			it := &b.items[i]
			if it.bad == nil {
				continue
			}
			id := journal.DeliveryID{Ordinal: b.start.Ordinal + uint64(i)}
			if id.Ordinal < known.Mark.Ordinal {
				continue
			}
			e.noteBad(it.bad)
			if _, done := known.Settled(id); done {
				continue
			}
			e.logNoEvent(it.bad)
			rec := &b.chunk.Records[i]
			verdicts = append(verdicts, journal.Verdict{ID: id, Outcome: journal.Rejected, Reason: string(it.bad.Reason)})
			dead = append(dead, journal.DeadLetter{Raw: rec.Raw[:min(len(rec.Raw), 64<<10)], Reason: string(it.bad.Reason), Detail: it.bad.Detail, Position: rec.End, Object: it.bad.Object, Offset: it.bad.Offset, Line: it.bad.Line, Ordinal: id.Ordinal})
		}
		if len(dead) > 0 {
			if err := bad.Settle(verdicts, dead); err != nil {
				e.fail(err)
				return false
			}
		}
		if b.end.Ordinal > known.Mark.Ordinal {
			e.mu.Lock()
			counts := journal.Counts{Rejected: maps.Clone(e.badOnes)}
			e.mu.Unlock()
			if err := bad.Advance(b.end, counts, nil); err != nil {
				e.fail(err)
				return false
			}
		}
		passed := 0.0
		if m, ok := e.c.Source.(interface{ Passed() (bytes, all int64) }); ok && e.c.Limit == 0 {
			// The first megabyte says too little.
			if bytes, all := m.Passed(); all > 0 && bytes >= 1<<20 {
				passed = min(float64(bytes)/float64(all), 1)
			}
		}
		e.mu.Lock()
		if b.end.Ordinal > e.front.Ordinal {
			e.front = b.end
		}
		e.passed = passed
		e.mu.Unlock()
		if !e.ring.push(ctx, b, e.c.Stop) {
			finished = false
			return false
		}
		return true
	})
	if err != nil {
		e.fail(err)
	}
	e.mu.Lock()
	e.atEnd = finished && ctx.Err() == nil && e.frontErr == nil
	e.mu.Unlock()
	e.ring.finish()
}

// furthest is the highest mark of a lane, or from. A resume reads again from the lowest
// one on: until it has caught up, what faster lanes have settled is read all the same.
func (e *Engine) furthest(from journal.Mark) journal.Mark {
	marks := []journal.Mark{e.bad.Resume().Mark}
	for _, l := range e.lanes {
		marks = append(marks, l.resumed.Mark)
	}
	for _, m := range marks {
		if m.Ordinal > from.Ordinal {
			from = m
		}
	}
	return from
}

// noteBad counts a record that is no event.
func (e *Engine) noteBad(bad *source.RecordError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	reason := string(bad.Reason)
	e.badOnes[reason]++
	if e.badFirst[reason] == "" {
		e.badFirst[reason] = bad.Place() + ": " + bad.Detail
	}
}

func (e *Engine) fail(err error) {
	e.mu.Lock()
	if e.frontErr == nil {
		e.frontErr = err
	}
	e.mu.Unlock()
}

// ring holds the blocks between the slowest and the fastest lane, as far as the
// budget goes.
type ring struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	blocks  []*block
	bytes   int64
	budget  int64
	head    uint64 // ordinal behind the last block
	ended   bool   // no more blocks will come
	closed  bool
	cursors map[*lane]uint64    // ordinal each lane wants next
	rests   map[*lane]rest      // who rests is not waited for
	late    map[*lane]time.Time // when a lane was last waited for in vain
	most    int64               // bytes of large chunks that lanes may have taken out
	large   map[*lane]largeHold
}

func newRing(budget int64) *ring {
	return &ring{changed: make(chan struct{}), budget: budget, cursors: map[*lane]uint64{}, rests: map[*lane]rest{}, late: map[*lane]time.Time{}, large: map[*lane]largeHold{}}
}

func (r *ring) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// push adds a block. It waits while the ring is full and no lane has read all
// of it: the front follows the fastest lane, and whoever is too far behind
// falls off the tail.
func (r *ring) push(ctx context.Context, b *block, stop <-chan struct{}) bool {
	grace := true
	for {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			b.release()
			return false
		}
		hungry := false
		for _, at := range r.cursors {
			hungry = hungry || at >= r.head && at != done
		}
		r.trim(0, grace)
		if hungry {
			r.trim(b.bytes, grace)
		}
		if len(r.blocks) == 0 || r.bytes+b.bytes <= r.budget {
			r.blocks = append(r.blocks, b)
			r.bytes += b.bytes
			r.head = b.end.Ordinal
			r.signal()
			r.mu.Unlock()
			return true
		}
		ch := r.changed
		r.mu.Unlock()
		var over <-chan time.Time
		waits := hungry && grace
		if waits {
			over = time.After(tailGrace)
		}
		select {
		case <-ch:
		case <-over:
			grace = false
			r.mu.Lock()
			for l, at := range r.cursors {
				if len(r.blocks) > 0 && at < r.blocks[0].end.Ordinal && r.rests[l] == awaits {
					r.late[l] = time.Now()
				}
			}
			r.mu.Unlock()
		case <-ctx.Done():
			b.release()
			return false
		case <-stop:
			b.release()
			return false
		}
	}
}

// done is the cursor of a lane that wants nothing more.
const done = ^uint64(0)

// tailGrace is how long the front waits for lanes that stand at the ring's tail
// and wait for their partners: reading again what the others have just passed
// costs a lane far more. A lane that was waited for in vain is not waited for
// again for a while, so that all of this is less than a hundredth of the time.
const (
	tailGrace  = 30 * time.Millisecond
	graceAgain = 5 * time.Second
)

// rest is why a lane is not waited for.
type rest uint8

const (
	busy    rest = iota // with its events: lanes that share the processors go at about the same pace
	awaits              // its partner
	nowhere             // its partner takes nothing, or it has stopped
)

// trim drops the blocks that every lane has passed, and as many more of the
// oldest as room asks for.
func (r *ring) trim(room int64, grace bool) {
	least := uint64(done)
	for _, at := range r.cursors {
		least = min(least, at)
	}
	for len(r.blocks) > 0 {
		b := r.blocks[0]
		if b.end.Ordinal > least && (room == 0 || r.bytes+room <= r.budget || r.wanted(b, grace)) {
			return
		}
		r.blocks[0] = nil
		r.blocks = r.blocks[1:]
		r.bytes -= b.bytes
		b.release()
	}
}

// wanted says that a lane has still to read a block and is on its way to it: it
// waits for a processor, not for its partner. Lanes that share the processors
// go at about the same pace, and having each of them read for itself would
// cost them all more than a short wait does.
func (r *ring) wanted(b *block, grace bool) bool {
	for l, at := range r.cursors {
		if at < b.end.Ordinal && (r.rests[l] == busy || grace && at >= b.start.Ordinal && r.rests[l] == awaits && time.Since(r.late[l]) > graceAgain) {
			return true
		}
	}
	return false
}

// largeChunk is the length in bytes from which on a chunk is routed by few lanes
// at a time: what each of them copies would add up.
const largeChunk = 3 << 20

// takeLarge says whether a lane may take a large chunk now, or gives a channel
// to wait on, and how long to wait before asking again. Lanes together hold a
// quarter of the memory in what they made of large chunks. One that has held
// its part for so long that its partner must be slow does not count, so that
// nobody waits for it.
func (r *ring) takeLarge(l *lane, n int, now time.Time) (wait <-chan struct{}, again time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var used int64
	again = largePatience
	for other, h := range r.large {
		if left := largePatience - now.Sub(h.since); other != l && left > 0 {
			used += h.bytes
			again = min(again, left)
		}
	}
	if used > 0 && used+int64(n) > r.most && !r.closed {
		return r.changed, again
	}
	h := r.large[l]
	r.large[l] = largeHold{h.bytes + int64(n), now}
	return nil, 0
}

// largeHold is what a lane has made of large chunks, and since when.
type largeHold struct {
	bytes int64
	since time.Time
}

// largePatience is how long a lane may hold large chunks at the expense of
// others.
const largePatience = 2 * time.Second

func (r *ring) giveLarge(l *lane, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.large[l]
	if h.bytes -= int64(n); h.bytes <= 0 {
		delete(r.large, l)
	} else {
		r.large[l] = h
	}
	r.signal()
}

// rest notes whether a lane rests, and why.
func (r *ring) rest(l *lane, why rest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rests[l] != why {
		r.rests[l] = why
		r.signal()
	}
}

func (r *ring) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.signal()
}

func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.ended = true, true
	for _, b := range r.blocks {
		b.release()
	}
	r.blocks, r.bytes = nil, 0
	r.signal()
}

// want notes what a lane reads next.
func (r *ring) want(l *lane, at uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hungry := at >= r.head
	r.cursors[l] = at
	if hungry || len(r.blocks) > 0 && r.blocks[0].end.Ordinal <= at {
		r.trim(0, false)
		r.signal()
	}
}

// get returns the block that holds an ordinal, retained; or behind, when it has
// fallen off the tail; or a channel to wait on; or nothing at the end.
func (r *ring) get(at uint64) (b *block, behind bool, wait <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.blocks) > 0 && at < r.blocks[0].start.Ordinal || len(r.blocks) == 0 && at < r.head {
		return nil, true, nil
	}
	for _, b := range r.blocks {
		if at < b.end.Ordinal {
			b.retain()
			return b, false, nil
		}
	}
	if r.ended {
		return nil, false, nil
	}
	return nil, false, r.changed
}

// gate admits as many goroutines to CPU work as there are processors: those of
// lanes that get somewhere, and only while none of these is inside the others.
// So that nobody starves, one of the others gets in now and then, up to its next
// yield, for a small share of the time that the first ones take.
type gate struct {
	mu     sync.Mutex
	free   int
	inside [2]int
	queue  [2][]chan struct{}
	credit time.Duration // what lazy ones may still take while urgent ones want in
	at     time.Time     // when it was last counted
}

func newGate(n int) *gate { return &gate{free: n} }

// The two kinds of work: that of lanes that get somewhere, and the rest.
const (
	urgent = iota
	lazy
)

const (
	// lazyShare is the part of the time of urgent ones, as a divisor, that the
	// others get all the same. Counted in turns, not in time, a lane that panics at
	// every event took an eighth of two processors from a healthy one.
	lazyShare = 25
	// lazyBurst is the most that they can have saved up, or overdrawn.
	lazyBurst = 10 * time.Millisecond
)

// count brings the credit up to now. The caller holds mu.
func (g *gate) count() {
	now := time.Now()
	d := now.Sub(g.at)
	g.at = now
	if g.inside[urgent] == 0 && len(g.queue[urgent]) == 0 {
		return // they are in nobody's way
	}
	g.credit += time.Duration(g.inside[urgent]) * d / lazyShare
	g.credit -= time.Duration(g.inside[lazy]) * d
	g.credit = max(min(g.credit, lazyBurst), -lazyBurst)
}

func rank(isUrgent bool) int {
	if isUrgent {
		return urgent
	}
	return lazy
}

func (g *gate) enter(isUrgent bool) {
	g.mu.Lock()
	g.count()
	ch := make(chan struct{})
	r := rank(isUrgent)
	g.queue[r] = append(g.queue[r], ch)
	g.admit()
	g.mu.Unlock()
	<-ch
}

// admit lets in whom it may. The caller holds mu.
func (g *gate) admit() {
	for g.free > 0 {
		r := urgent
		turn := g.credit > 0 || g.inside[urgent] == 0 && len(g.queue[urgent]) == 0
		if turn && len(g.queue[lazy]) > 0 && (g.inside[lazy] == 0 || g.inside[urgent] == 0) {
			r = lazy
		} else if len(g.queue[urgent]) == 0 {
			return
		}
		close(g.queue[r][0])
		g.queue[r] = g.queue[r][1:]
		g.free--
		g.inside[r]++
	}
}

// another says whether a further urgent goroutine would find a place that
// nobody as urgent waits for: a free one, or one that is soon given up.
func (g *gate) another() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue[urgent]) == 0 && g.free+g.inside[lazy] > 0
}

// yield lets those go first that are urgent. The caller is inside and is not.
func (g *gate) yield() {
	g.mu.Lock()
	g.count()
	wanted := len(g.queue[urgent])+g.inside[urgent] > 0 && g.credit <= 0
	g.mu.Unlock()
	if wanted {
		g.leave(false)
		g.enter(false)
	}
}

func (g *gate) leave(wasUrgent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count()
	g.free++
	g.inside[rank(wasUrgent)]--
	g.admit()
}
