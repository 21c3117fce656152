package engine

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/stock"
)

// router turns events into deliveries, before any network: it calls the destination's Route, behind recover and a
// deadline.
type router struct {
	sender  destination.Sender
	plan    *destination.Plan
	user    func(*event.Event) uint64 // see UserKey
	filter  *filter.Filter
	consent []string
	// triggerLive: the user allows old events to start what new ones start.
	triggerLive bool
	about       func(*event.Event) *event.Event // the event inside a record; nil: the record is the event
	fallback    func(source.Position) string    // insert id of an event without messageId
	timeout     time.Duration                   // for one event
	now         func() time.Time
	cpu         *processors
	hands       *hands
	group       *group // lanes that make the same deliveries of every event; nil: there are none

	crashes atomic.Int64 // panics
	hangs   atomic.Int64 // calls that did not return in time
	stuck   atomic.Bool  // was stuck while other lanes waited for it: see routePart
	grows   growth
}

const (
	// maxStacks is how many panics of a lane's routing are logged with their stack: printing one costs more than
	// routing most events.
	maxStacks = 10
	// maxHangs is the number of calls that never returned after which a lane is given up: each of them may occupy
	// a processor for ever.
	maxHangs = 3
	// shareable is the least number of records in a part of a block that is routed by one goroutine.
	shareable = 64
)

// routed is what a destination made of a block's events. Lanes that make the same deliveries of every event share
// it, and its memory.
type routed struct {
	parts   [16]*part
	n       int // number of parts
	room    room
	done    chan struct{} // closed when it is complete; nil: it is not shared
	holders atomic.Int32
	spoiled atomic.Bool // a call that never returned may still read it
	broken  atomic.Bool // the destination hangs, so it is incomplete
	home    stock.Stock[routed]
}

// part is the part of a block that one goroutine routes.
type part struct {
	list     destination.Deliveries
	stamp    string // the stamp of the lane that routed it
	env      destination.Env
	events   []routedEvent
	filtered uint64
	live     string // what its first old event would start without being allowed to; "": nothing

	at      atomic.Int64 // index of the record that is being routed
	mu      sync.Mutex   // held while it yields to others
	outside bool         // its waiter has no place on a processor to give up
	gone    bool         // given up: nobody waits for it any more
}

// routedEvent is how many deliveries a part has for an item of the block, and the user whose order they keep.
type routedEvent struct {
	item, n int32
	user    uint64
}

// routed takes memory for the routing result of the block.
func (b *block) routed() *routed {
	r := b.routes.Take()
	r.home = b.routes
	return r
}

func (r *routed) release() {
	if r.holders.Add(-1) > 0 {
		return
	}
	size := cap(r.room.buf)
	if size >= 6<<20 || r.spoiled.Load() {
		return
	}
	r.room.buf = r.room.buf[:0]
	for _, p := range r.parts {
		if p != nil {
			p.list.Reset()
			p.list.Use(nil)
			p.events = p.events[:0]
		}
	}
	r.done = nil
	r.broken.Store(false)
	if size < 3<<20 {
		r.home.Put(r)
	} else {
		r.home.PutLarge(r)
	}
}

// split divides the routing of this many records into parts, each of which is routed by one goroutine and fits
// into a processor's cache.
func (r *routed) split(records int) {
	r.n = min(max(records/shareable, 1), len(r.parts))
	for i := range r.n {
		if r.parts[i] == nil {
			r.parts[i] = new(part)
		}
	}
}

// part returns which of the records [from, to) are in part i.
func (r *routed) part(from, to, i int) (first, end int) {
	n := to - from
	return from + n*i/r.n, from + n*(i+1)/r.n
}

// block routes a block's events from one on. If they were routed for its group already, when the block was
// prepared or by another lane, it returns that result.
func (r *router) block(b *block, from int, isUrgent bool) *routed {
	if r.group == nil || from > 0 || (!isUrgent || len(r.group.lanes) == 1) && b.routedFor(r.group) == nil {
		b.indexed()
		out := b.routed()
		out.holders.Store(1)
		r.parts(b, from, out, isUrgent)
		return out
	}
	out, mine := b.share(r.group)
	if mine {
		b.indexed()
		defer close(out.done)
		r.parts(b, from, out, isUrgent)
		return out
	}
	select {
	case <-out.done:
	default: // it takes a place to do the work, none to wait for it
		r.cpu.leave(isUrgent)
		<-out.done
		r.cpu.enter(isUrgent)
	}
	return out
}

// parts routes part after part. Processors that are idle, or busy only with work that may wait, help.
func (r *router) parts(b *block, from int, out *routed, isUrgent bool) {
	out.split(len(b.items) - from)
	route := func(i int) {
		first, end := out.part(from, len(b.items), i)
		r.part(b, first, end, out, i, isUrgent, true)
	}
	n := out.n
	if out.room.inTurn = n == 1 || !isUrgent || !r.cpu.another(); out.room.inTurn {
		for i := range n {
			route(i)
		}
		return
	}
	next := new(atomic.Int32) // not in out: a goroutine that comes late finds no work, whatever out is reused for by then
	var left sync.WaitGroup
	left.Add(n)
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			route(i)
			left.Done()
		}
	}
	go func() {
		r.cpu.enter(isUrgent)
		defer r.cpu.leave(isUrgent)
		work()
	}()
	work()
	left.Wait()
}

// part routes the records [from, to) of a block in another goroutine. If one event takes too long, the part is
// given up together with the memory that it may still write to, and another goroutine routes the part again
// without that event. hasPlace: the caller has a place on a processor.
func (r *router) part(b *block, from, to int, out *routed, i int, isUrgent, hasPlace bool) {
	var hung map[int]bool
	for {
		p := out.parts[i]
		p.at.Store(int64(from) - 1)
		p.outside = !hasPlace
		done := make(chan struct{})
		r.hands.do(func() {
			defer close(done)
			r.events(b, from, to, p, &out.room, hung, isUrgent)
		})
		at, ok := r.watch(p, done, isUrgent)
		if ok {
			return
		}
		b.spoiled.Store(true)
		out.spoiled.Store(true)
		out.parts[i] = new(part)
		if r.hangs.Add(1) >= maxHangs {
			out.broken.Store(true)
			return
		}
		was := hung
		hung = map[int]bool{at: true}
		for k := range was {
			hung[k] = true
		}
	}
}

// slowEvent is how long a part may take for one event before it gives up its place on a processor.
const slowEvent = 100 * time.Millisecond

// watch waits until a part is routed. If one record takes longer than the deadline, it gives the part up and
// returns the index of that record.
func (r *router) watch(p *part, done <-chan struct{}, isUrgent bool) (at int, ok bool) {
	timer := time.NewTimer(slowEvent)
	defer timer.Stop()
	last, with := p.at.Load(), time.Duration(0)
	left := false // the place on a processor
	defer func() {
		if left {
			r.cpu.enter(isUrgent)
		}
	}()
	for {
		select {
		case <-done:
			return 0, true
		case <-timer.C:
		}
		timer.Reset(slowEvent)
		now := p.at.Load()
		if now != last {
			last, with = now, 0
			continue
		}
		if with += slowEvent; !p.mu.TryLock() { // not when it yields to others
			with = 0
			continue
		}
		if !p.outside {
			p.outside, left = true, true
			r.cpu.leave(isUrgent)
		}
		p.gone = with >= r.timeout
		p.mu.Unlock()
		if p.gone {
			return int(now), false
		}
	}
}

// yield lets urgent work go first; false: the part was given up in the meantime.
func (p *part) yield(cpu *processors) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone && !p.outside {
		cpu.yield()
	}
	return !p.gone
}

// events routes the records of a block from one to before another. Those in hung are
// rejected: the destination's code did not come back from them. The items lie in memory of the room.
func (r *router) events(b *block, from, to int, p *part, room *room, hung map[int]bool, isUrgent bool) {
	size := r.begin(b, from, to, p, room)
	items := b.items // more are added, perhaps, by who has given this up
	s := slice{now: r.now}
	for i := from; i < to; i++ {
		ev := items[i].Event
		if ev == nil {
			continue
		}
		if !isUrgent && i&15 == 0 && !p.yield(r.cpu) {
			return
		}
		if i&15 == 0 {
			s.over()
		}
		r.record(b, i, &items[i], p, hung[i])
	}
	r.end(p, room, size)
}

// begin prepares a part for the records of a block from one to before another, and returns the length of their text.
func (r *router) begin(b *block, from, to int, p *part, room *room) (size int) {
	p.env.Now, p.env.Consent, p.env.TriggerLive = r.now(), r.consent, r.triggerLive
	p.stamp, p.filtered, p.live = r.plan.Stamp, 0, ""
	n := 0
	for i, it := range b.items[from:to] {
		if it.Event != nil {
			n++
			size += len(b.chunk.Records[from+i].Raw)
		}
	}
	p.list.Use(room.lend(r.grows.of(size), float64(len(b.chunk.Records)-from)/float64(max(to-from, 1))))
	if cap(p.events) < n {
		p.events = make([]routedEvent, 0, n+n/8)
	}
	return size
}

// end gives back what a part does not need once it is routed.
func (r *router) end(p *part, room *room, size int) {
	p.list.Rest()
	room.back(p.list.Memory())
	r.grows.learn(size, p.list.Len())
}

// record routes the record with an index in its block.
func (r *router) record(b *block, i int, it *selection.Item, p *part, isHung bool) {
	ev := it.Event
	p.at.Store(int64(i))
	if !r.filter.Match(ev.Root()) {
		p.filtered++
		return
	}
	first := len(p.list.List)
	if isHung {
		p.list.List = append(
			p.list.List,
			rejected("the destination's code did not come back from it within "+r.timeout.String()),
		)
	} else {
		p.env.Fallback, p.env.Suppressed = "", it.Suppressed
		if r.plan.Positions || destination.NeedsFallback(ev) {
			p.env.Fallback = r.fallback(b.chunk.Records[i].End)
		}
		r.event(ev, &p.env, &p.list)
		if p.live == "" && !r.triggerLive {
			p.live = r.live(ev, p.list.List[first:], b.chunk.Records[i].End)
		}
	}
	re := routedEvent{item: int32(i), n: int32(len(p.list.List) - first)}
	if r.plan.Order {
		re.user = r.user(ev)
	}
	p.events = append(p.events, re)
}

// live says what an old event would start at the partner; "": nothing.
func (r *router) live(ev *event.Event, made []destination.Delivery, at source.Position) string {
	for i := range made {
		if d := &made[i]; d.Live && d.Settled == nil {
			if r.about != nil {
				ev = r.about(ev)
			}
			return destination.Unasked(&r.plan.Actions[d.Action], ev, at.String())
		}
	}
	return ""
}

// rejected is a delivery for an event that the destination's code could not route.
func rejected(detail string) destination.Delivery {
	return destination.Delivery{
		Settled: &destination.Result{Outcome: destination.Rejected, Reason: destination.Panicked, Detail: detail},
	}
}

// event calls Route behind recover: a panic rejects only this event.
func (r *router) event(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	n := len(out.List)
	defer func() {
		if p := recover(); p != nil {
			detail := ""
			if r.crashes.Add(1) <= maxStacks {
				detail = panicText(p)
			} else {
				detail = destination.Cut(fmt.Sprint(p), 200) + " (the stack stands with the lane's first dead letters)"
			}
			out.Cut(n)
			out.List = append(out.List, rejected(detail))
		}
	}()
	if verdict, ok := env.Admit(ev); !ok {
		settled := verdict // copied here so that verdict itself is not allocated on every call
		out.List = append(out.List, destination.Delivery{Settled: &settled})
		return
	}
	r.sender.Route(ev, env, out)
}

func panicText(p any) string {
	return destination.Cut(fmt.Sprintf("%v\n%s", p, debug.Stack()), 2000)
}
