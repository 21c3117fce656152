package engine

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/source"
)

// Blocks are routed while they are prepared, a part of a block at a time for one lane after the other, while the
// text and index of the part are in the processor's cache. A lane that routes a block later finds them in no
// cache, and takes a third longer. Lanes that have mappings in common take turns with every event.
//
// So that no lane waits for another, this is done only for lanes that will need the block soon and whose code has
// caused no trouble. A lane that lags, makes no progress, or whose code has panicked or hung, routes the block
// itself when it gets there.

// toRoute is a lane for which a block is routed; the result is shared by its whole group.
type toRoute struct {
	*lane
	out *routed
}

// madeOfBlock is roughly how many bytes a lane makes of a block: as much as its text.
const madeOfBlock = source.ChunkBytes

// nearBlocks is how many unread blocks a lane may have in the ring and still count as one that needs the next
// block soon.
const nearBlocks = 2

// goAhead returns the lanes for which a block is to be routed now. all says that no other lane will read its
// events later.
func (e *Engine) goAhead(b *block, only *lane) (todo []toRoute, all bool) {
	if !e.ahead {
		return nil, false
	}
	all = e.forgets
	for _, g := range e.groups {
		if only != nil && only.router.group != g {
			continue
		}
		i := slices.IndexFunc(g.lanes, func(l *lane) bool {
			return b.chunk.End.Compare(l.ledger.resumed.Mark.Position) > 0 &&
				(only == l || only == nil && (len(e.groups) == 1 || l.wantsAhead()))
		})
		if i < 0 {
			all = false
			continue
		}
		r := b.routed()
		r.split(len(b.chunk.Records))
		r.room.inTurn = true
		todo = append(todo, toRoute{g.lanes[i], r})
	}
	return todo, all
}

// wantsAhead says whether the lane needs the next blocks soon and its code has caused no trouble.
func (l *lane) wantsAhead() bool {
	return !l.router.stuck.Load() && l.router.crashes.Load() == 0 && l.router.hangs.Load() == 0 &&
		l.e.ring.ahead(l.reader) <= nearBlocks && l.getsSomewhere()
}

// routeAhead indexes and routes a block, part by part.
func (e *Engine) routeAhead(b *block, todo []toRoute, all, isUrgent, hasPlace bool) {
	records := len(b.chunk.Records)
	first := todo[0].out
	for i := range first.n {
		from, to := first.part(0, records, i)
		e.index(b, to)
		if len(todo) == 1 && len(e.groups) == 1 || !isUrgent || hasPlace {
			todo[0].router.part(b, from, to, first, i, isUrgent, hasPlace) // no other lane waits for this
		} else {
			todo = e.routePart(b, from, to, todo, i)
		}
		if all {
			e.forget(b, from, to)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range todo {
		for _, p := range t.out.parts[:t.out.n] {
			b.bytes += int64(p.list.Size())
		}
		t.out.done = e.hands.none
		t.out.holders.Store(1) // the block itself is the holder
		b.shared = append(b.shared, sharedRoute{t.router.group, t.out})
	}
}

// stuckTicks times slowEvent is how long a lane's code may work on one event while other lanes wait for it.
const stuckTicks = 5

// routePart routes the records [from, to) of a block, which are its part i, for one lane after the other, and
// returns the lanes that are done. A lane whose code is stuck at an event is left out from then on: it routes the
// block itself later, and what becomes of the event is decided there.
func (e *Engine) routePart(b *block, from, to int, todo []toRoute, i int) []toRoute {
	for first := 0; first < len(todo); {
		rest := todo[first:]
		at := new(atomic.Int32) // index in rest of the lane whose code is at work, or one of the two below
		at.Store(nobodys)
		done := make(chan struct{})
		e.hands.do(func() {
			defer close(done)
			w := ahead{b: b, from: from, to: to, part: i, rest: rest, at: at, now: nobodys}
			for k := 0; k < len(rest); {
				_, end := alike(rest, k)
				if !w.route(k, end) {
					return
				}
				k = end
			}
		})
		k, ok := watchAhead(rest, i, at, done)
		if ok {
			return todo
		}
		b.spoiled.Store(true)
		rest[k].out.spoiled.Store(true)
		rest[k].router.stuck.Store(true)
		// Those that were routed together with it begin this part again.
		begun, end := alike(rest, k)
		for j := begun; j < end; j++ {
			if j != k {
				rest[j].out.parts[i] = new(part)
			}
		}
		todo = slices.Concat(todo[:first+k], todo[first+k+1:]) // a copy: the other goroutine may still read the old one
		first += begun
	}
	return todo
}

// alike returns which lanes around the kth have mappings in common with it.
func alike(lanes []toRoute, k int) (from, end int) {
	maps := lanes[k].router.group.maps
	for from = k; from > 0 && lanes[from-1].router.group.maps == maps; {
		from--
	}
	for end = k + 1; end < len(lanes) && lanes[end].router.group.maps == maps; {
		end++
	}
	return from, end
}

// What stands in the place of a lane whose code is at work.
const (
	givenUp = -1 // nobody waits any more for the lane whose turn it was
	nobodys = -2 // no lane's code is at work, so that nobody is given up
)

// ahead routes a part of a block for lanes.
type ahead struct {
	b              *block
	from, to, part int
	rest           []toRoute
	at             *atomic.Int32 // see routePart
	now            int32         // what at is, unless the wait was given up
}

// turn notes whose turn it is; false: the wait was given up, and what the lanes had is not theirs any more.
func (w *ahead) turn(k int) bool {
	was := w.now
	w.now = int32(k)
	return w.at.CompareAndSwap(was, w.now)
}

// route routes the part for the lanes [k, end), which have mappings in common: each event for all of them before the
// next one, so that it is mapped once for all, and its text and index lie in the nearest cache. false: the wait was
// given up.
func (w *ahead) route(k, end int) bool {
	items := w.b.items // more are added, perhaps, by who has given this up
	lanes := w.rest[k:end]
	sizes := make([]int, len(lanes))
	lead := &lanes[0].out.parts[w.part].list
	for j, t := range lanes {
		p := t.out.parts[w.part]
		sizes[j] = t.router.begin(w.b, w.from, w.to, p, &t.out.room)
		if j > 0 {
			p.list.Join(lead)
		}
	}
	s := slice{now: lanes[0].router.now}
	for i := w.from; i < w.to; i++ {
		if !w.turn(k) { // before anything is read that others may have made new
			return false
		}
		if items[i].Event == nil {
			continue
		}
		if i&15 == 0 {
			s.over()
		}
		lead.Next()
		for j, t := range lanes {
			if j > 0 && !w.turn(k+j) {
				return false
			}
			t.router.record(w.b, i, &items[i], t.out.parts[w.part], false)
		}
	}
	if !w.turn(nobodys) {
		return false
	}
	for j, t := range slices.Backward(lanes) { // the first one has what the others use
		t.router.end(t.out.parts[w.part], &t.out.room, sizes[j])
	}
	return true
}

// watchAhead waits until a part is routed for all lanes. If a lane's code takes too long with one event, it stops
// waiting and returns that lane's index.
func watchAhead(rest []toRoute, i int, at *atomic.Int32, done <-chan struct{}) (stuck int, ok bool) {
	timer := time.NewTimer(slowEvent)
	defer timer.Stop()
	lane, event, ticks := int32(nobodys), int64(-1), 0
	for {
		select {
		case <-done:
			return 0, true
		case <-timer.C:
		}
		timer.Reset(slowEvent)
		k := at.Load()
		if k == nobodys {
			lane = nobodys
			continue
		}
		now := rest[k].out.parts[i].at.Load()
		if k != lane || now != event {
			lane, event, ticks = k, now, 0
			continue
		}
		if ticks++; ticks >= stuckTicks && at.CompareAndSwap(k, givenUp) {
			return int(k), false
		}
	}
}
