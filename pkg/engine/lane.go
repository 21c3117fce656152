package engine

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/stock"
)

// lane is one destination's private path through the engine.
type lane struct {
	e    *Engine
	c    *LaneConfig
	j    *journal.Lane
	plan *destination.Plan
	caps []caps // of each of its actions
	opt  Options

	// Of the routing goroutine alone.
	cursor  journal.Mark // read up to here
	resumed *journal.State
	doubt   map[journal.DeliveryID]bool
	next    func() (*block, error, bool) // of a private reading
	endNext func()
	offered uint64 // events seen, those before the first mark included

	wakeRoute, wakeSend chan struct{} // of one element: something has changed
	crashes             atomic.Int64  // panics of Route
	grows               atomic.Uint64 // bits of how many bytes of items a byte of input becomes
	alike               *alike        // lanes that make the same of every event; nil: there are none

	mu          sync.Mutex
	blocks      []*laneBlock // routed and not passed by the mark, in order
	held        int64        // bytes of unsettled deliveries
	pinned      int64        // bytes of all that blocks hold, with what is settled of it
	budget      int64        // of held
	packer      *Packer[*work]
	seq         *sequencer // nil where order does not matter
	steps       []*work    // steps whose earlier step has just been delivered
	ready       []*batch
	later       retries
	flying      int                 // requests in flight
	apart       map[*batch]struct{} // batches in no queue: what they hold stays where it is in memory
	bodies      int                 // bytes of their bodies
	waiting     int                 // deliveries and batches that are in no queue: behind an earlier step, or behind probes
	pace        *pacer
	paced       time.Time // until when the rate keeps a batch that could go
	adapt       adaptive
	breaker     breaker
	mark        journal.Mark
	counts      journal.Counts // up to the mark
	live        journal.Counts // of everything settled
	base        journal.Counts // at the start
	sent        uint64         // deliveries that the partner accepted in this process
	routed      bool           // all input is routed
	stop        string         // why the lane ended early
	err         error          // of the machine
	panics      int
	refuses     int // batches in a row that the partner refused to the last probe
	bad         int // deliveries in a row without one accepted
	problem     string
	like        map[string]string // of each reason to reject, what was said of one event
	likeSkipped map[string]string // of each reason to skip, one event and what was said of it
	status      int               // of the last failure; 0: there was no answer
	saved       time.Time
	dirty       bool
	started     time.Time
	ended       time.Time

	finished   bool
	hung       bool // a call into partner code has not come back: memory it may look at is not reused
	heldEvents int  // in doubt, and to be held
}

// laneBlock is a block as one lane has routed it.
type laneBlock struct {
	end    journal.Mark
	object string // that it is of
	routed *routed
	works  []work
	events []laneEvent
	raw    []byte        // copies of the events whose deliveries are not settled yet
	marked marked        // deliveries that bear the stamp of this lane
	large  int           // bytes that it counts as, see ring.takeLarge
	text   *source.Chunk // holds them instead, when most of it is of use
	open   int           // events not settled
	size   int64         // bytes of all this, about
	held   int64         // bytes of deliveries that are not settled
	flying bool          // deliveries are in batches that are apart; of use to sweep
	lean   bool          // it has given its memory back: see sweep
	counts journal.Counts
}

// routed is what a destination made of a block's events. Lanes that make the
// same of every event share it, and the memory that it takes.
type routed struct {
	parts   [16]part
	n       int           // of them
	done    chan struct{} // closed when it is whole; nil: it is nobody else's
	holders atomic.Int32
	spoiled atomic.Bool // code that has not come back may still look at it
	home    stock.Stock[routed]
}

// routed takes memory for what is made of the block.
func (b *block) routed() *routed {
	r := b.routes.Take()
	r.home = b.routes
	return r
}

func (r *routed) release() {
	if r.holders.Add(-1) > 0 {
		return
	}
	size := 0
	for i := range r.parts {
		size += r.parts[i].list.Cap()
	}
	if size >= 6<<20 || r.spoiled.Load() {
		return
	}
	for i := range r.parts {
		p := &r.parts[i]
		p.list.Reset()
		p.events = p.events[:0]
	}
	r.done = nil
	if size < 3<<20 {
		r.home.Put(r)
	} else {
		r.home.PutLarge(r)
	}
}

// split says that the routing of so many records is done in parts, each of which
// a goroutine does by itself, and which is small enough for a processor's cache.
func (r *routed) split(records int) { r.n = min(max(records/shareable, 1), len(r.parts)) }

// part returns which of the records from one to before another are of part i.
func (r *routed) part(from, to, i int) (first, end int) {
	n := to - from
	return from + n*i/r.n, from + n*(i+1)/r.n
}

// part is a stretch of a block that one goroutine routes.
type part struct {
	list     destination.Deliveries
	stamp    string // that of the lane that routed it
	env      destination.Env
	events   []routedEvent
	filtered uint64
}

// routedEvent says how many of a part's deliveries are of an item of the block.
type routedEvent struct{ item, n int32 }

// laneEvent is one event of a block in this lane. There are as many as there are
// events under way, times the lanes: it is kept small.
type laneEvent struct {
	b        *laneBlock
	raw      []byte
	end      source.Position // of its record
	offset   int64           // where the record begins
	line     int64
	reason   string
	open     int32 // works not settled
	worst    journal.Outcome
	doubtful bool // in doubt since an earlier process, or once settled by one
	held     bool // one of its deliveries is in doubt and not sent again
}

// work is one delivery on its way.
type work struct {
	d        *destination.Delivery
	ev       *laneEvent
	id       journal.DeliveryID
	user     uint64
	parked   *work         // the next step, which waits for this one
	first    time.Duration // when it was first tried, since the engine started
	attempts int32
	outcome  journal.Outcome
	settled  bool
	moved    bool // out of its block: see sweep
	doubtful bool
}

// batch is what goes out in one request.
type batch struct {
	g      destination.Group
	works  []*work
	bytes  int       // of its body
	due    time.Time // not before
	bisect *bisect
	probe  bool
	again  bool // was sent before, if only to be told to wait
	number int  // see sequencer
	behind int  // users that have something in an earlier batch
}

func newLane(e *Engine, c *LaneConfig, share int64) *lane {
	l := &lane{e: e, c: c, j: e.c.Run.Lane(c.Name), plan: c.Sender.Plan(), opt: c.Options, budget: share,
		wakeRoute: make(chan struct{}, 1), wakeSend: make(chan struct{}, 1), apart: map[*batch]struct{}{}, seq: newSequencer(), started: e.c.Now(), saved: e.c.Now()}
	if l.opt.Timeout <= 0 {
		l.opt.Timeout = 30 * time.Second
	}
	if l.opt.Attempts <= 0 {
		l.opt.Attempts = 8
	}
	if l.opt.MaxTime <= 0 {
		l.opt.MaxTime = 15 * time.Minute
	}
	l.resumed = l.j.Resume()
	l.cursor, l.mark = l.resumed.Mark, l.resumed.Mark
	l.counts, l.base = l.resumed.Counts.Clone(), l.resumed.Counts.Clone()
	l.live = l.counts.Clone()
	l.offered = selected(l.cursor)
	l.doubt = map[journal.DeliveryID]bool{}
	for _, r := range l.resumed.InDoubt {
		for _, id := range r.IDs {
			l.doubt[id] = true
		}
	}
	for i := range l.plan.Actions {
		l.caps = append(l.caps, capsOf(&l.plan.Actions[i]))
	}
	l.pace = newPacer(c, limitsOf(l.plan, l.opt), l.resumed.Pace, e.c.Now())
	l.adapt = newAdaptive(concurrencyOf(l.plan, l.opt))
	l.packer = NewPacker(l.plan, PackOptions{Concurrency: concurrencyOf(l.plan, l.opt), Memory: share}, l.closed)
	e.ring.want(l, l.cursor.Ordinal)
	l.logResume()
	return l
}

// signal wakes both of the lane's goroutines, to look again.
func (l *lane) signal() {
	for _, ch := range [...]chan struct{}{l.wakeRoute, l.wakeSend} {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// run works until the lane is done or stopped.
func (l *lane) run(ctx context.Context) {
	defer func() {
		l.e.ring.want(l, done)
		l.mu.Lock()
		l.ended = l.e.c.Now()
		l.mu.Unlock()
		if l.endNext != nil {
			l.endNext()
		}
	}()
	var sending sync.WaitGroup
	sending.Go(func() { l.send(ctx) })
	l.route(ctx)
	sending.Wait()
}

// route reads blocks, routes their events and forms batches, as far as the
// lane's memory goes.
func (l *lane) route(ctx context.Context) {
	defer func() {
		l.mu.Lock()
		l.routed = true
		l.signal()
		l.mu.Unlock()
	}()
	for {
		if !l.room(ctx) {
			return
		}
		b, err := l.nextBlock(ctx)
		if err != nil {
			l.halt("", err)
			return
		}
		if b == nil {
			l.mu.Lock()
			l.finished = !l.e.stopped() && ctx.Err() == nil && l.stop == ""
			l.mu.Unlock()
			return
		}
		large := len(b.chunk.Data)
		if large < largeChunk {
			large = 0
		} else if !l.waitLarge(ctx, large) {
			b.release()
			return
		}
		isUrgent := l.gettingSomewhere()
		l.e.cpu.enter(isUrgent)
		lb := l.routeBlock(b, isUrgent)
		lb.large = large
		if isUrgent {
			l.e.cpu.leave(isUrgent)
		}
		l.cursor = b.end
		b.release()
		l.e.ring.want(l, l.cursor.Ordinal)
		ok := l.bury(lb, isUrgent) && l.accept(lb)
		if !isUrgent { // burying what is rejected is most of the work
			l.e.cpu.leave(isUrgent)
		}
		if !ok {
			return
		}
	}
}

// waitLarge waits for the lane's turn at a large chunk.
func (l *lane) waitLarge(ctx context.Context, n int) bool {
	for {
		wait, again := l.e.ring.takeLarge(l, n, l.e.c.Now())
		if wait == nil {
			return true
		}
		timer := time.NewTimer(again)
		select {
		case <-wait:
			timer.Stop()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-l.e.c.Stop:
			timer.Stop()
			return false
		}
	}
}

// room waits until the lane may take more.
func (l *lane) room(ctx context.Context) bool {
	for {
		l.mu.Lock()
		if l.stop != "" || l.err != nil {
			l.mu.Unlock()
			return false
		}
		if l.held-l.packer.Held() < l.budget && l.pinned < pinnedMost*l.budget {
			why := busy
			if l.bad >= 1000 {
				why = nowhere
			}
			l.mu.Unlock()
			l.e.ring.rest(l, why)
			return ctx.Err() == nil && !l.e.stopped()
		}
		why := awaits
		if l.bad >= 1000 {
			why = nowhere
		}
		l.mu.Unlock()
		l.e.ring.rest(l, why)
		select {
		case <-l.wakeRoute:
		case <-ctx.Done():
			return false
		case <-l.e.c.Stop:
			return false
		}
	}
}

// nextBlock returns the block that the cursor stands in or before: from the
// ring, or from a reading of the lane's own when it has fallen off the tail.
func (l *lane) nextBlock(ctx context.Context) (*block, error) {
	for {
		b, behind, wait := l.e.ring.get(l.cursor.Ordinal)
		switch {
		case b != nil:
			if l.endNext != nil { // caught up
				l.endNext()
				l.next, l.endNext = nil, nil
			}
			return b, nil
		case behind:
			if l.next == nil {
				from := l.cursor
				l.next, l.endNext = iter.Pull2(func(yield func(*block, error) bool) {
					// One goroutine: a lane that lags is not waited for.
					if err := l.e.readLean(ctx, l, from, func(b *block) bool { return yield(b, nil) }); err != nil {
						yield(nil, err)
					}
				})
			}
			b, err, ok := l.next()
			if !ok || err != nil {
				return nil, err
			}
			return b, nil
		case wait == nil:
			return nil, nil
		}
		// Nothing to read just now. When that lasts, what is in the open
		// batches need not wait for more.
		linger := time.NewTimer(l.e.c.Linger)
		select {
		case <-wait:
		case <-linger.C:
			l.mu.Lock()
			l.closeBatches()
			l.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
			case <-l.e.c.Stop:
			case <-l.wakeRoute:
			}
		case <-ctx.Done():
		case <-l.e.c.Stop:
		case <-l.wakeRoute:
		}
		linger.Stop()
		l.mu.Lock()
		over := l.stop != "" || l.err != nil
		l.mu.Unlock()
		if over || ctx.Err() != nil || l.e.stopped() {
			return nil, nil
		}
	}
}

// gettingSomewhere says whether the lane deserves a processor before others:
// one whose partner takes nothing does not.
func (l *lane) gettingSomewhere() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bad < 1000
}

// routeBlock asks the destination what becomes of each event from the cursor
// on.
func (l *lane) routeBlock(b *block, isUrgent bool) *laneBlock {
	lb := l.e.stockLaneBlocks.Take()
	lb.end, lb.object = b.end, b.chunk.Name
	lb.counts = journal.Counts{}
	lb.routed = l.routedBlock(b, isUrgent)
	parts := lb.routed.parts[:lb.routed.n]
	// The slices are sized first, since works and events point into them.
	events, works := 0, 0
	for i := range parts {
		p := &parts[i]
		events += len(p.events)
		works += len(p.list.List)
		lb.counts.Filtered += p.filtered
		l.offered += uint64(len(p.events)) + p.filtered
	}
	if cap(lb.events) < events {
		lb.events = make([]laneEvent, 0, events+events/8)
	}
	if cap(lb.works) < works {
		lb.works = make([]work, 0, works+works/8)
	}
	return l.prepare(b, lb)
}

// routedBlock routes a block's events from the cursor on, or takes what a lane
// that makes the same of them has routed.
func (l *lane) routedBlock(b *block, isUrgent bool) *routed {
	from := 0
	if l.cursor.Ordinal > b.start.Ordinal {
		from = int(l.cursor.Ordinal - b.start.Ordinal)
	}
	// A processor that nobody wants, or only work that may wait, takes parts of
	// it, too.
	r := (*routed)(nil)
	if l.alike != nil && from == 0 && (isUrgent || l.e.ahead != nil) {
		var mine bool
		if r, mine = b.share(l.alike); !mine {
			select {
			case <-r.done:
			default: // it takes a place to do the work, none to wait for it
				l.e.cpu.leave(isUrgent)
				<-r.done
				l.e.cpu.enter(isUrgent)
			}
			return r
		}
		defer close(r.done)
	} else {
		r = b.routed()
		r.holders.Store(1)
	}
	r.split(len(b.items) - from)
	n := r.n
	route := func(i int) {
		first, end := r.part(from, len(b.items), i)
		l.routePart(b, first, end, &r.parts[i], isUrgent)
	}
	if n > 1 && isUrgent && l.e.cpu.another() {
		next := new(atomic.Int32) // not of lb: who comes late finds nothing, whatever that is used for then
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
			l.e.cpu.enter(isUrgent)
			defer l.e.cpu.leave(isUrgent)
			work()
		}()
		work()
		left.Wait()
	} else {
		for i := range n {
			route(i)
		}
	}
	return r
}

// prepare makes the lane's own notes of a routed block.
func (l *lane) prepare(b *block, lb *laneBlock) *laneBlock {
	keep := 0
	for i := range lb.routed.n {
		p := &lb.routed.parts[i]
		deliveries := p.list.List
		for _, re := range p.events {
			at := int(re.item)
			rec := &b.chunk.Records[at]
			lb.events = append(lb.events, laneEvent{b: lb, end: rec.End, offset: startOf(b.chunk, at), line: rec.Line, open: re.n})
			le := &lb.events[len(lb.events)-1]
			var user uint64
			if l.plan.Order {
				of := b.items[at].ev
				if l.c.Event != nil {
					of = l.c.Event(of)
				}
				user = UserKey(of)
			}
			undecided := false
			for k := range re.n {
				d := &deliveries[k]
				lb.works = append(lb.works, work{d: d, ev: le, id: journal.DeliveryID{Ordinal: b.start.Ordinal + uint64(at), K: uint32(k)}, user: user})
				undecided = undecided || d.Settled == nil || d.Settled.Outcome == destination.Rejected
			}
			deliveries = deliveries[re.n:]
			if undecided {
				le.raw = rec.Raw
				keep += len(le.raw)
			}
		}
	}
	lb.size = l.stamp(lb) + int64(len(lb.works))*workBytes + int64(len(lb.events))*eventBytes
	for i := range lb.routed.n {
		lb.size += int64(lb.routed.parts[i].list.Size())
	}
	// Events that may still become dead letters are kept: all lanes share the
	// text that was read, without its index. Only few of them are copied, so
	// that the rest can go.
	if keep > len(b.chunk.Data)/2 {
		b.chunk.Retain()
		lb.text = b.chunk
		lb.size += int64(len(b.chunk.Data))
		return lb
	}
	lb.size += int64(keep)
	if cap(lb.raw) < keep {
		lb.raw = make([]byte, 0, keep+keep/8)
	}
	for i := range lb.events {
		if le := &lb.events[i]; le.raw != nil {
			at := len(lb.raw)
			lb.raw = append(lb.raw, le.raw...)
			le.raw = lb.raw[at:len(lb.raw):len(lb.raw)]
		}
	}
	return lb
}

// shareable is the least number of records in a part of a block that a
// goroutine routes by itself.
const shareable = 64

// routePart routes the records of a block from one index to before another.
func (l *lane) routePart(b *block, from, to int, p *part, isUrgent bool) {
	p.env.Now = l.e.c.Now()
	p.stamp, p.filtered = l.plan.Stamp, 0
	n, size := 0, 0
	for i := from; i < to; i++ {
		if b.items[i].ev != nil {
			n++
			size += len(b.chunk.Records[i].Raw)
		}
	}
	grows := math.Float64frombits(l.grows.Load())
	p.list.Reserve(int(float64(size) * grows * 1.05))
	var t turn
	if cap(p.events) < n {
		p.events = make([]routedEvent, 0, n+n/8)
	}
	for i := from; i < to; i++ {
		ev := b.items[i].ev
		if ev == nil {
			continue
		}
		if !isUrgent && i&15 == 0 {
			l.e.cpu.yield()
		}
		if i&3 == 0 {
			t.over()
		}
		if !l.c.Filter.Match(ev.Root()) {
			p.filtered++
			continue
		}
		rec := &b.chunk.Records[i]
		first := len(p.list.List)
		p.env.Fallback = ""
		if l.plan.Positions || destination.NeedsFallback(ev) {
			p.env.Fallback = l.e.c.Source.Manifest().At(int(rec.End.Object)).ID() + "-" + strconv.FormatInt(rec.End.Offset, 10)
			if rec.End.Element > 0 {
				p.env.Fallback += "-" + strconv.Itoa(int(rec.End.Element))
			}
		}
		l.routeEvent(ev, &p.env, &p.list)
		p.events = append(p.events, routedEvent{int32(i), int32(len(p.list.List) - first)})
	}
	p.list.Rest()
	if size > 0 {
		// Parts are much like each other: the largest of late.
		l.grows.Store(math.Float64bits(max(grows*0.99, float64(p.list.Len())/float64(size))))
	}
}

// turn lets goroutines run that wait for a processor, in between of what takes
// long: those of lanes that send small requests one after the other compute for
// microseconds, and would wait each time for the ten milliseconds after which the
// scheduler takes a processor away. Beside four lanes that map heavily such a lane
// took fifteen times as long without (BenchmarkSmallRequests).
type turn struct{ since time.Time }

const turnTime = 100 * time.Microsecond

// over gives way when the turn has taken long enough.
func (t *turn) over() {
	now := time.Now()
	if now.Sub(t.since) < turnTime {
		return
	}
	if !t.since.IsZero() {
		runtime.Gosched()
		now = time.Now()
	}
	t.since = now
}

// routeEvent is Route behind recover: a panic rejects the event, nothing else.
func (l *lane) routeEvent(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	n := len(out.List)
	defer func() {
		if p := recover(); p != nil {
			detail := ""
			if l.crashes.Add(1) <= maxStacks {
				detail = panicText(p)
			} else { // a stack costs more than most events
				detail = destination.Cut(fmt.Sprint(p), 200) + " (the stack stands with the lane's first dead letters)"
			}
			out.Cut(n)
			out.List = append(out.List, destination.Delivery{Settled: &destination.Result{Outcome: destination.Rejected, Reason: destination.Panicked, Detail: detail}})
		}
	}()
	l.c.Sender.Route(ev, env, out)
}

// maxStacks is how many panics of a lane's routing are described with their
// stack.
const maxStacks = 10

func panicText(p any) string {
	return destination.Cut(fmt.Sprintf("%v\n%s", p, debug.Stack()), 2000)
}

// bury tells the journal what Route has rejected. That is most of the work of a
// lane that gets nowhere, so others may go first in between.
func (l *lane) bury(lb *laneBlock, isUrgent bool) bool {
	var verdicts []journal.Verdict
	var dead []journal.DeadLetter
	size := 0
	settle := func() bool {
		if len(dead) == 0 {
			return true
		}
		if err := l.j.Settle(verdicts, dead); err != nil {
			l.halt("", err)
			return false
		}
		verdicts, dead = verdicts[:0], dead[:0]
		return true
	}
	for i := range lb.works {
		w := &lb.works[i]
		if w.d.Settled == nil || w.d.Settled.Outcome != destination.Rejected {
			continue
		}
		if _, ok := l.resumed.Settled(w.id); ok && w.id.Ordinal >= l.resumed.Mark.Ordinal {
			continue
		}
		reason := string(w.d.Settled.Reason)
		verdicts = append(verdicts, journal.Verdict{ID: w.id, Outcome: journal.Rejected, Reason: reason})
		dead = append(dead, l.letter(w, *w.d.Settled))
		// Steps are short, so that those who may go first need not wait.
		if size += len(w.ev.raw); size >= 48<<10 || len(dead) == 200 {
			if size = 0; !settle() {
				return false
			}
			if !isUrgent {
				l.e.cpu.yield()
			}
		}
	}
	return settle()
}

// accept settles what Route has decided and puts the rest into batches.
func (l *lane) accept(lb *laneBlock) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks = append(l.blocks, lb)
	l.pinned += lb.size
	lb.open = len(lb.events)
	l.live.Filtered += lb.counts.Filtered
	for i := range lb.events {
		le := &lb.events[i]
		if le.open == 0 { // a destination that says nothing of an event
			l.noteSkipped(le, destination.Unsupported, "")
			l.settleEvent(le, journal.Skipped, string(destination.Unsupported))
		}
	}
	for i := range lb.works {
		w := &lb.works[i]
		if v, ok := l.resumed.Settled(w.id); ok && w.id.Ordinal >= l.resumed.Mark.Ordinal {
			if v.Outcome == journal.Delivered {
				l.sent++ // by an earlier process
			}
			if l.resumed.Doubted(w.id) {
				l.noteDoubt(w)
			}
			l.settle(w, v.Outcome, v.Reason)
			continue
		}
		if r := w.d.Settled; r != nil {
			if r.Outcome == destination.Rejected {
				l.settle(w, journal.Rejected, string(r.Reason)) // bury has told the journal
				l.bad++
				l.noteRejected(*r)
			} else {
				l.noteSkipped(w.ev, r.Reason, r.Detail)
				l.settle(w, journal.Skipped, string(r.Reason))
			}
			continue
		}
		if l.doubt[w.id] {
			w.doubtful = true
			l.noteDoubt(w)
			if l.opt.Hold {
				if !w.ev.held {
					w.ev.held = true
					l.heldEvents++
				}
				continue // stays open: pending, and listed
			}
		}
		l.hold(w, 1)
		if w.d.Wait && w.id.K > 0 {
			if prev := &lb.works[i-1]; prev.ev == w.ev && !prev.settled {
				prev.parked = w
				l.waiting++
				continue
			} else if prev.ev == w.ev && prev.outcome == journal.Rejected {
				l.block(w)
				continue
			}
		}
		l.offer(w)
	}
	l.passBlocks()
	l.signal()
	return true
}

// letter makes the dead letter of a delivery.
func (l *lane) letter(w *work, r destination.Result) journal.DeadLetter {
	slug := ""
	if int(w.d.Action) < len(l.plan.Actions) {
		slug = l.plan.Actions[w.d.Action].Slug
	}
	d := journal.DeadLetter{Raw: w.ev.raw, Valid: true, Destination: l.c.Name, Type: l.c.Type, Action: slug, Step: int(w.d.Step), K: w.id.K, Reason: string(r.Reason), Detail: destination.Cut(r.Detail, 2000), Status: r.Status,
		Attempts: int(w.attempts), Position: w.ev.end, Object: w.ev.b.object, Offset: w.ev.offset, Line: w.ev.line, Ordinal: w.id.Ordinal, InsertID: w.d.InsertID}
	if w.attempts > 0 {
		d.Last = l.e.c.Now()
		d.First = d.Last.Add(w.first - d.Last.Sub(l.e.start)) // as the clock stands now
	}
	if l.c.Letter != nil {
		l.c.Letter(&d)
	}
	l.logRejected(&d)
	return d
}

// noteDoubt counts the event of a delivery that was in doubt at the end of an earlier
// process, once. The caller holds mu.
func (l *lane) noteDoubt(w *work) {
	if w.ev.doubtful {
		return
	}
	w.ev.doubtful = true
	l.live.InDoubt++
	w.ev.b.counts.InDoubt++
}

// noteSkipped keeps where one of the skipped events is, and why it was skipped, for
// each reason. The caller holds mu.
func (l *lane) noteSkipped(le *laneEvent, reason destination.Reason, detail string) {
	if l.likeSkipped[string(reason)] != "" {
		return
	}
	what := fmt.Sprintf("%s, offset %d", le.b.object, le.offset)
	if le.line > 0 {
		what = fmt.Sprintf("%s, line %d", le.b.object, le.line)
	}
	if detail != "" {
		what += ": " + destination.Cut(detail, 200)
	}
	if l.likeSkipped == nil {
		l.likeSkipped = map[string]string{}
	}
	l.likeSkipped[string(reason)] = what
}

// noteRejected keeps what was said of a rejected event, one for each reason. The
// caller holds mu.
func (l *lane) noteRejected(r destination.Result) {
	reason := string(r.Reason)
	if l.like[reason] != "" {
		return
	}
	what := destination.Cut(r.Detail, 200)
	if r.Status != 0 {
		what = strings.TrimSuffix(fmt.Sprintf("status %d: %s", r.Status, what), ": ")
	}
	if l.like == nil {
		l.like = map[string]string{}
	}
	l.like[reason] = what
}

// settle notes the verdict on a delivery. The caller holds mu.
func (l *lane) settle(w *work, o journal.Outcome, reason string) {
	if w.settled {
		return
	}
	w.settled, w.outcome = true, o
	le := w.ev
	if o == journal.Delivered {
		l.live.Deliveries++
		le.b.counts.Deliveries++
	}
	le.worst, le.reason = worse(le.worst, le.reason, o, reason)
	if p := w.parked; p != nil {
		w.parked = nil
		l.waiting--
		if o == journal.Rejected {
			l.block(p)
		} else {
			l.steps = append(l.steps, p) // see finish
		}
	}
	if le.open--; le.open == 0 {
		l.settleEvent(le, le.worst, le.reason)
	}
}

// worse keeps the worst outcome of an event's deliveries: rejected, then
// delivered, then skipped.
func worse(a journal.Outcome, ar string, b journal.Outcome, br string) (journal.Outcome, string) {
	rank := [...]int{journal.Requeued: 0, journal.Skipped: 1, journal.Delivered: 2, journal.Rejected: 3}
	if rank[b] > rank[a] {
		return b, br
	}
	return a, ar
}

// block rejects a step whose earlier step was rejected.
func (l *lane) block(w *work) {
	r := destination.Result{Outcome: destination.Rejected, Reason: destination.Blocked, Detail: "an earlier step of the same event was rejected"}
	l.noteRejected(r)
	if err := l.j.Settle([]journal.Verdict{{ID: w.id, Outcome: journal.Rejected, Reason: string(r.Reason)}}, []journal.DeadLetter{l.letter(w, r)}); err != nil {
		l.err = err
	}
	l.drop(w)
	l.settle(w, journal.Rejected, string(r.Reason))
}

// drop gives back the memory that a delivery held.
func (l *lane) drop(w *work) { l.hold(w, -1) }

// hold counts the memory of a delivery, or with -1 counts it no more.
func (l *lane) hold(w *work, sign int64) {
	n := sign * int64(len(w.d.Item)+len(w.ev.raw))
	l.held += n
	w.ev.b.held += n
}

func (l *lane) settleEvent(le *laneEvent, o journal.Outcome, reason string) {
	if o == journal.Delivered && l.c.Delivered != nil {
		l.c.Delivered(le.raw)
	}
	for _, c := range []*journal.Counts{&l.live, &le.b.counts} {
		switch o {
		case journal.Delivered:
			c.Delivered++
		case journal.Skipped:
			if c.Skipped == nil {
				c.Skipped = map[string]uint64{}
			}
			c.Skipped[reason]++
		case journal.Rejected:
			if c.Rejected == nil {
				c.Rejected = map[string]uint64{}
			}
			c.Rejected[reason]++
		}
	}
	le.b.open--
}

// passBlocks moves the mark over the blocks that are settled. The caller holds
// mu.
func (l *lane) passBlocks() {
	for len(l.blocks) > 0 && l.blocks[0].open == 0 {
		lb := l.blocks[0]
		l.blocks[0] = nil
		l.blocks = l.blocks[1:]
		l.mark = lb.end
		add(&l.counts, lb.counts)
		l.dirty = true
		if lb.large > 0 {
			l.e.ring.giveLarge(l, lb.large)
			lb.large = 0
		}
		if !lb.lean {
			l.shed(lb)
		}
		lb.lean, lb.held = false, 0
		l.e.stockLaneBlocks.Put(lb)
	}
	if sweepDue(l.pinned, l.budget) {
		l.sweep()
	}
	l.saveDue(l.e.c.Now())
}

// saveEvery is how often the checkpoint moves.
const saveEvery = 100 * time.Millisecond

// saveDue saves the checkpoint if that is due, or says when it will be; 0: there
// is nothing to save. The caller holds mu.
func (l *lane) saveDue(now time.Time) time.Duration {
	if !l.dirty {
		return 0
	}
	if since := now.Sub(l.saved); since >= 0 && since < saveEvery {
		return saveEvery - since
	}
	l.saved = now
	l.advance()
	return 0
}

func (l *lane) advance() {
	l.dirty = false
	if t := l.e.c.Transform; t != nil && t.Ordered() {
		// What a step has noted of the events before the mark has to outlive
		// the checkpoint that passes them.
		if err := t.Sync(); err != nil && l.err == nil {
			l.err = err
			l.signal()
			return
		}
	}
	c := l.counts.Clone()
	// Requests are not of one event: the totals stand beside the mark.
	c.Requests, c.Retries, c.Bytes, c.Released = l.live.Requests, l.live.Retries, l.live.Bytes, l.live.Released
	if err := l.j.Advance(l.mark, c, l.pace.save(l.e.c.Now())); err != nil && l.err == nil {
		l.err = err
		l.signal()
	}
}

// save writes the last checkpoint of a run.
func (l *lane) save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil // reported by itself
	}
	l.passBlocks()
	l.advance()
	return l.err
}

func add(to *journal.Counts, c journal.Counts) {
	to.Filtered += c.Filtered
	to.Delivered += c.Delivered
	to.Deliveries += c.Deliveries
	to.InDoubt += c.InDoubt
	for k, v := range c.Skipped {
		if to.Skipped == nil {
			to.Skipped = map[string]uint64{}
		}
		to.Skipped[k] += v
	}
	for k, v := range c.Rejected {
		if to.Rejected == nil {
			to.Rejected = map[string]uint64{}
		}
		to.Rejected[k] += v
	}
}

// halt ends the lane: for a reason of the partner's, or an error of the
// machine. What is in flight is finished; the rest stays pending.
func (l *lane) halt(why string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.haltLocked(why, err)
}

func (l *lane) haltLocked(why string, err error) {
	if l.stop == "" && l.err == nil {
		l.stop, l.err = why, err
		if err == nil { // else the run ends with it, and says so once
			l.log(slog.LevelError, LogStop, slog.String("why", why))
		}
	}
	l.signal()
	l.e.ring.rest(l, nowhere)
	l.e.ring.want(l, done)
}

func (l *lane) summary(events uint64) LaneSummary {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.live.Clone()
	s := LaneSummary{Name: l.c.Name, Type: l.c.Type, Filtered: c.Filtered, Skipped: c.Skipped, Delivered: c.Delivered, Rejected: c.Rejected, InDoubt: c.InDoubt,
		Deliveries: c.Deliveries, Requests: c.Requests, Retries: c.Retries, Bytes: c.Bytes, Stopped: l.stop, Problem: l.problem, Examples: maps.Clone(l.like), SkippedExamples: maps.Clone(l.likeSkipped), Released: c.Released}
	if s.Skipped == nil {
		s.Skipped = map[string]uint64{}
	}
	if s.Rejected == nil {
		s.Rejected = map[string]uint64{}
	}
	if settled := c.Filtered + sum(c.Skipped) + c.Delivered + sum(c.Rejected); settled <= events {
		s.Pending = events - settled
	}
	end := l.ended
	if end.IsZero() {
		end = l.e.c.Now()
	}
	s.Seconds = max(end.Sub(l.started).Seconds(), 0)
	if s.Seconds > 0 {
		s.Rate = math.Round(float64(c.Delivered-l.base.Delivered)/s.Seconds*10) / 10
	}
	if n, path := l.j.DeadLetters(); n > 0 {
		s.DeadLetters, s.Letters = path, n
	}
	return s
}

func (l *lane) progress() Progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := Progress{Name: l.c.Name, Delivered: l.live.Delivered, Rejected: sum(l.live.Rejected), Retries: l.live.Retries, InFlight: l.flying, State: "running", Stopped: l.stop != "" || l.err != nil, Position: l.mark.Position}
	p.Done = l.live.Filtered + sum(l.live.Skipped) + l.live.Delivered + p.Rejected
	now := l.e.c.Now()
	switch {
	case l.err != nil:
		p.State = "failed: " + l.err.Error()
	case l.stop != "":
		p.State = "stopped: " + l.stop
	case l.breaker.open(now):
		why := "no answer"
		if l.status != 0 {
			why = "status " + strconv.Itoa(l.status)
		}
		p.State = "partner fails (" + why + "), next probe in " + l.breaker.until.Sub(now).Round(time.Second).String()
	case l.pace.paused.After(now) && l.ended.IsZero():
		p.State = "paused by the partner for " + l.pace.paused.Sub(now).Round(time.Second).String()
	case l.paced.After(now) && l.ended.IsZero():
		p.State = "keeps to its rate limit"
	case !l.ended.IsZero() && p.Done < selected(l.cursor):
		p.State = "stopped"
	case !l.ended.IsZero():
		p.State = "done"
	}
	return p
}
