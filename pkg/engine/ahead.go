package engine

import (
	"slices"
	"sync/atomic"
	"time"
)

// Blocks are routed when they are prepared, a part of a block at a time for one lane after the
// other, while text and index of the part are in the processor's cache: a lane that comes to a
// block later finds them in no cache, which takes it a third longer.
//
// So that nobody waits for anybody, that is done for lanes only that want the block soon and
// of whose code nothing bad is known. A lane that lags, gets nowhere, or whose code has
// panicked or hung, routes for itself when it gets there.

// toRoute is a lane that a block is routed for, for its whole group.
type toRoute struct {
	*lane
	out *routed
}

// madeOfBlock is how many bytes a lane makes of a block, about: as much as its text.
const madeOfBlock = 512 << 10

// nearBlocks is how many blocks a lane may still have to read in the ring to be one that wants
// the next one soon.
const nearBlocks = 2

// goAhead returns whom a block is to be routed for; all says that nobody else will look at its
// events.
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
		todo = append(todo, toRoute{g.lanes[i], r})
	}
	return todo, all
}

// wantsAhead says that a lane wants the next blocks soon, and that nothing bad is known of its
// code.
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
			todo[0].router.part(b, from, to, first, i, isUrgent, hasPlace) // nobody else waits
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
		t.out.holders.Store(1) // the block
		b.shared = append(b.shared, sharedRoute{t.router.group, t.out})
	}
}

// stuckTicks is for how many times slowEvent one event of a lane may keep the others waiting.
const stuckTicks = 5

// routePart routes the records of a block from one to before another, which are its part i,
// for one lane after the other, and returns those that are done. A lane that is stuck with an
// event is left to itself from then on: it comes to the event once more, and what becomes of
// that is decided there.
func (e *Engine) routePart(b *block, from, to int, todo []toRoute, i int) []toRoute {
	for first := 0; first < len(todo); {
		rest := todo[first:]
		at := new(atomic.Int32) // which of rest is being routed; -1: nobody waits for it any more
		done := make(chan struct{})
		rest[0].out.parts[i].at.Store(int64(from) - 1)
		e.hands.do(func() {
			defer close(done)
			for k := range rest {
				if k > 0 && !at.CompareAndSwap(int32(k-1), int32(k)) {
					return
				}
				rest[k].router.events(b, from, to, rest[k].out.parts[i], nil, true)
			}
		})
		k, ok := watchAhead(rest, i, at, done)
		if ok {
			return todo
		}
		b.spoiled.Store(true)
		rest[k].out.spoiled.Store(true)
		rest[k].router.stuck.Store(true)
		first += k
		todo = slices.Concat(todo[:first], todo[first+1:]) // the other goroutine may look at the old one
	}
	return todo
}

// watchAhead waits until a part is routed for all, or says who has been with one event for too
// long, which is not waited for any more.
func watchAhead(rest []toRoute, i int, at *atomic.Int32, done <-chan struct{}) (stuck int, ok bool) {
	timer := time.NewTimer(slowEvent)
	defer timer.Stop()
	lane, event, ticks := int32(-1), int64(-1), 0
	for {
		select {
		case <-done:
			return 0, true
		case <-timer.C:
		}
		timer.Reset(slowEvent)
		k := at.Load()
		now := rest[k].out.parts[i].at.Load()
		if k != lane || now != event {
			lane, event, ticks = k, now, 0
			continue
		}
		if ticks++; ticks >= stuckTicks && at.CompareAndSwap(k, -1) {
			return int(k), false
		}
	}
}
