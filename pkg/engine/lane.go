package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
)

// lane is one destination's private path through the engine. It owns the two goroutines that drive its parts (one
// reads and routes, one sends), the lock of the parts that both use, and the state of having stopped, with the
// reason.
type lane struct {
	e    *Engine
	c    *LaneConfig
	plan *destination.Plan

	// Used only by the routing goroutine.
	reader *reader
	router *router
	seen   uint64                      // number of events, including those before the first mark
	shown  map[destination.Reason]bool // reasons to skip for which the text of one event was kept, as an example

	wakeRoute, wakeSend chan struct{} // of capacity one: something has changed
	sender              *sender

	mu       sync.Mutex
	queue    *queue
	pacer    *pacer
	ledger   *ledger
	verdicts *verdicts
	bisector *bisector
	memory   *memory
	notes    *notes
	course   *Course

	routed   bool   // all input has been routed
	finished bool   // and it ended because the input did
	stop     string // why the lane ended early
	until    string // what has to happen before it can go on, see LaneSummary
	err      error  // an error of the machine
	panics   int    // panics of Send in a row
	started  time.Time
	ended    time.Time
}

// Special values that next may return instead of a time to wait.
const (
	untilWoken  = time.Duration(0)
	onlyAnswers = time.Duration(-1)
)

const maxPanics = 10 // in a row, before the lane stops

// withDefaults fills in what the user has left open.
func (o Options) withDefaults(partner *destination.LaneLimits) Options {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	o.VerdictOptions = o.VerdictOptions.WithDefaults(partner.Retries)
	return o
}

func newLane(e *Engine, c *LaneConfig) *lane {
	now := e.c.Now
	plan := c.Sender.Plan()
	opt := c.Options.withDefaults(&plan.Limits)
	l := &lane{e: e, c: c, plan: plan, started: now(), wakeRoute: make(chan struct{}, 1), wakeSend: make(chan struct{}, 1)}
	user := UserKey
	if c.Event != nil {
		user = func(ev *event.Event) uint64 { return UserKey(c.Event(ev)) }
	}
	pack := PackOptionsOf(plan, opt, e.c.Memory, len(e.c.Lanes))
	l.ledger = newLedger(e.c.Run.Lane(c.Name), now)
	l.notes = &notes{slug: c.Type}
	if l.course = c.Course; l.course == nil {
		l.course = &Course{}
	}
	l.shown = map[destination.Reason]bool{}
	l.pacer = newPacer(c, limitsOf(plan, opt), l.ledger.resumed.Pace, now())
	l.pacer.began(l.ledger.resumed.Begun, l.ledger.resumed.Pace, now())
	l.pacer.adapt, l.pacer.waits = newAdaptive(pack.Concurrency), opt.waits
	l.queue = newQueue(plan, pack, &l.ledger.live.Released)
	l.reader = newReader(e.ring, l.ledger.mark, e.c.Linger)
	l.reader.told = func(err error, again time.Duration) {
		l.log(slog.LevelWarn, LogReadAgain, slog.String("why", err.Error()), slog.Duration("after", again))
	}
	l.reader.again = func(ctx context.Context, from journal.Mark, yield func(*block) bool) error {
		return e.readAlone(ctx, l, from, yield)
	}
	l.memory = &memory{
		budget: pack.Memory,
		policy: defaultCompaction(),
		large:  func(n int) { e.ring.giveLarge(l.reader, n) },
		rows:   e.stockRows,
		mover:  mover{free: e.stockPieces, shares: len(e.c.Lanes) > 1},
	}
	l.ledger.left = l.memory.mover.leave
	l.router = &router{
		sender:      c.Sender,
		plan:        plan,
		user:        user,
		filter:      c.Filter,
		consent:     c.Consent,
		triggerLive: c.Options.TriggerLive,
		about:       c.Event,
		fallback:    func(end source.Position) string { return selection.Fallback(e.c.Source.Manifest(), end) },
		timeout:     opt.Timeout,
		now:         now,
		cpu:         e.cpu,
		hands:       e.hands,
	}
	l.sender = &sender{to: c.Sender, plan: plan, transport: c.Transport, timeout: opt.Timeout, stop: e.c.Stop,
		atOnce: c.Harmless, trips: e.stockTrips}
	l.verdicts = newVerdicts(l, opt)
	l.bisector = &bisector{order: plan.Order, queue: l.queue, verdicts: l.verdicts}
	l.ledger.arrived = c.Delivered
	l.ledger.passed = func(lb *laneBlock) {
		l.course.arrived(&lb.days, lb.counts.Delivered)
		l.memory.pass(lb, l.sender.hung.Load())
		e.stockLaneBlocks.Put(lb)
	}
	l.ledger.state = func() []byte { return l.pacer.save(now()) }
	if t := e.c.Selection.Steps; t != nil && t.Ordered() {
		// What a step has noted about the events before the mark must be durable before the checkpoint that passes
		// them is.
		l.ledger.flush = t.Sync
	}
	l.notes.log = func(level slog.Level, what string, attrs ...slog.Attr) {
		if l.stop == "" && e.logs(level) { // else the next process does that
			l.log(level, what, attrs...)
		}
	}
	l.seen = selected(l.ledger.mark)
	l.logLimits(opt)
	l.logResume()
	return l
}

// newVerdicts makes the lane's verdicts, once the parts it works on exist.
func newVerdicts(l *lane, opt Options) *verdicts {
	e := l.e
	letter := letterOf(l.c, l.plan, e.start, e.c.Now)
	return &verdicts{
		opt:    opt,
		ledger: l.ledger,
		memory: l.memory,
		queue:  l.queue,
		notes:  l.notes,
		jitter: e.c.Rand,
		start:  e.start,
		pauses: &l.pacer.pauses,
		stop:   l.halted,
		late:   l.course.late,
		letter: func(w *work, r destination.Result, first time.Duration) journal.DeadLetter {
			d := letter(w, r, first)
			l.logRejected(&d)
			return d
		},
	}
}

// signal makes both of the lane's goroutines look again for work.
func (l *lane) signal() {
	for _, ch := range [...]chan struct{}{l.wakeRoute, l.wakeSend} {
		wake(ch)
	}
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run works until the lane is done or stopped.
func (l *lane) run(ctx context.Context) {
	defer func() {
		l.reader.close()
		l.mu.Lock()
		l.ended = l.e.c.Now()
		l.mu.Unlock()
	}()
	var sending sync.WaitGroup
	sending.Go(func() { l.send(ctx) })
	l.route(ctx)
	sending.Wait()
}

// over says whether the lane takes no more events. The caller holds mu.
func (l *lane) over(ctx context.Context) bool {
	return l.stop != "" || l.err != nil || ctx.Err() != nil || l.e.stopped()
}

// route reads blocks, routes their events and forms batches, while the lane's memory allows.
func (l *lane) route(ctx context.Context) {
	defer func() {
		l.mu.Lock()
		l.routed = true
		l.signal()
		l.mu.Unlock()
	}()
	waits := waiting{stop: l.e.c.Stop, wake: l.wakeRoute, idle: l.flush, over: func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.over(ctx)
	}}
	for l.room(ctx) {
		b, err := l.reader.read(ctx, waits)
		if err != nil {
			l.halt("", err)
			return
		}
		if b == nil {
			l.mu.Lock()
			l.finished = !l.over(ctx)
			l.mu.Unlock()
			return
		}
		large := len(b.chunk.Data)
		if large < largeChunk {
			large = 0
		} else if !l.reader.takeLarge(ctx, large, l.e.c.Stop) {
			b.release()
			return
		}
		if !l.take(b, large) {
			return
		}
	}
}

// take routes a block and queues its deliveries.
func (l *lane) take(b *block, large int) bool {
	isUrgent := l.getsSomewhere() // lanes that make no progress give way to others, see cpu.go
	l.e.cpu.enter(isUrgent)
	from := 0
	if at := l.reader.cursor.Ordinal; at > b.start.Ordinal {
		from = int(at - b.start.Ordinal)
	}
	lb := l.e.stockLaneBlocks.Take()
	lb.routed = l.router.block(b, from, isUrgent)
	if lb.routed.broken.Load() {
		l.e.cpu.leave(isUrgent)
		b.release()
		l.halt(fmt.Sprintf("its code did not come back from %d events within %s each", maxHangs, l.router.timeout), nil)
		return false
	}
	if l.asks(lb.routed) {
		l.e.cpu.leave(isUrgent)
		lb.routed.release()
		b.release()
		return false
	}
	l.record(b, lb)
	l.countDropped(b, lb, from)
	lb.large = large
	if isUrgent {
		l.e.cpu.leave(isUrgent)
	}
	l.e.ring.lighten(b, b.taken(l.router.group))
	l.reader.pass(b)
	l.e.front.reach(l.reader.cursor, l.e.c.Now())
	err := l.verdicts.deadLetter(lb, func() {
		if !isUrgent {
			l.e.cpu.yield()
		}
	})
	if err == nil {
		err = l.accept(lb)
	}
	if !isUrgent { // writing dead letters is most of the work
		l.e.cpu.leave(isUrgent)
	}
	if err != nil {
		l.halt("", err)
	}
	return err == nil
}

// asks stops the lane before old events that would start something at the partner without the user having asked
// for it.
func (l *lane) asks(r *routed) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range r.parts[:r.n] {
		if p.live == "" || l.notes.live != "" {
			continue
		}
		l.notes.live = p.live
		if !l.c.Harmless {
			l.halted(p.live, "the command says that this is meant: --trigger-live "+l.c.Name)
			return true
		}
	}
	return false
}

// flush closes all open batches, so that they can be sent.
func (l *lane) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue.flush()
	wake(l.wakeSend)
}

// room waits until the lane may take more.
func (l *lane) room(ctx context.Context) bool {
	for {
		l.mu.Lock()
		if l.over(ctx) {
			l.mu.Unlock()
			return false
		}
		hasRoom := l.memory.room(l.queue.packer.Held())
		why := awaits
		if hasRoom {
			why = busy
		}
		if l.notes.stuck() {
			why = nowhere
		}
		l.mu.Unlock()
		l.e.ring.stands(l.reader, why)
		if hasRoom {
			return true
		}
		select {
		case <-l.wakeRoute:
		case <-ctx.Done():
			return false
		case <-l.e.c.Stop:
			return false
		}
	}
}

// getsSomewhere says whether the lane should get a processor before others: not if its partner accepts nothing.
func (l *lane) getsSomewhere() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.notes.stuck()
}

// record makes laneEvents and works from the routing result of a block: what the lane has to know about its events
// and deliveries until they are settled.
func (l *lane) record(b *block, lb *laneBlock) {
	lb.end, lb.object, lb.days = b.end, b.chunk.Name, b.days
	lb.counts, lb.rows = journal.Counts{}, *l.memory.rows.Take()
	parts := lb.routed.parts[:lb.routed.n]
	// The slices get their full size first, because works and events point into them.
	events, works := 0, 0
	for _, p := range parts {
		events += len(p.events)
		works += len(p.list.List)
		lb.counts.Filtered += p.filtered
		l.seen += uint64(len(p.events)) + p.filtered
	}
	if cap(lb.events) < events {
		lb.events = make([]laneEvent, 0, events+events/8)
	}
	if cap(lb.works) < works {
		lb.works = make([]work, 0, works+works/8)
	}
	settled := l.wholes(b)
	if cap(lb.events) < events+len(settled) {
		lb.events = make([]laneEvent, 0, events+len(settled))
	}
	keep := 0
	for _, p := range parts {
		keep += l.recordPart(b, lb, p, settled)
	}
	for _, w := range settled { // today's filter or steps drop these events
		lb.events = append(lb.events, laneEvent{b: lb, worst: w.Outcome, reason: w.Reason})
		lb.counts.Deliveries += uint64(w.Deliveries)
		lb.counts.Filtered--
	}
	lb.size = l.stamp(lb) + int64(len(lb.works))*workBytes + int64(len(lb.events))*eventBytes
	for _, p := range parts {
		lb.size += int64(p.list.Size())
	}
	lb.keepText(b, keep)
}

// countDropped counts the records of a block, from an item on, that the steps have dropped, where each lane counts
// these for itself: see [selection.Selection].
func (l *lane) countDropped(b *block, lb *laneBlock, from int) {
	s := &l.e.c.Selection
	if b.start.Ordinal >= s.Cut {
		return
	}
	for i := from; i < len(b.items); i++ {
		if s.Apart(&b.items[i], b.start.Ordinal+uint64(i)) {
			lb.counts.Filtered++
			l.seen++
		}
	}
}

// recordPart does that for one part of a block. It returns how many bytes the events have whose text is kept.
func (l *lane) recordPart(b *block, lb *laneBlock, p *part, settled map[uint64]journal.Whole) (keep int) {
	deliveries := p.list.List
	for _, re := range p.events {
		at := int(re.item)
		rec := &b.chunk.Records[at]
		lb.events = append(
			lb.events,
			laneEvent{b: lb, end: rec.End, offset: selection.StartOf(b.chunk, at), line: rec.Line, open: re.n},
		)
		le := &lb.events[len(lb.events)-1]
		ordinal := b.start.Ordinal + uint64(at)
		if w, is := settled[ordinal]; is {
			delete(settled, ordinal)
			le.open, le.worst, le.reason = 0, w.Outcome, w.Reason
			lb.counts.Deliveries += uint64(w.Deliveries)
			deliveries = deliveries[re.n:]
			continue
		}
		undecided := l.isExample(deliveries[:re.n])
		of := toldOf(deliveries[:re.n])
		for k := range re.n {
			d := &deliveries[k]
			lb.works = append(
				lb.works,
				work{
					d:    d,
					ev:   le,
					id:   journal.DeliveryID{Ordinal: ordinal, K: uint32(k), Of: of},
					user: re.user,
				},
			)
			undecided = undecided || d.Settled == nil || d.Settled.Outcome == destination.Rejected
		}
		deliveries = deliveries[re.n:]
		if undecided {
			le.raw = rec.Raw
			keep += len(le.raw)
		}
	}
	return keep
}

// toldOf is how many of an event's deliveries the journal keeps. Skipped ones are left out: Route decides them
// again after a restart.
func toldOf(ds []destination.Delivery) (n uint32) {
	for i := range ds {
		if s := ds[i].Settled; s == nil || s.Outcome == destination.Rejected {
			n++
		}
	}
	return n
}

// wholes are the events of a block that were settled under another configuration, by ordinal. They keep their
// outcome, whatever today's configuration would make of them.
func (l *lane) wholes(b *block) map[uint64]journal.Whole {
	if !l.ledger.resumed.Wholes() {
		return nil
	}
	settled := map[uint64]journal.Whole{}
	for ordinal := max(b.start.Ordinal, l.reader.cursor.Ordinal); ordinal < b.end.Ordinal; ordinal++ {
		if w, is := l.ledger.whole(ordinal); is && w.Outcome != journal.Requeued {
			settled[ordinal] = w
		}
	}
	return settled
}

// isExample says whether an event with these deliveries is the first one skipped for some reason. Its text is
// kept, so that it can be shown as an example.
func (l *lane) isExample(ds []destination.Delivery) (is bool) {
	first := func(r destination.Reason) {
		is = is || !l.shown[r]
		l.shown[r] = true
	}
	if len(ds) == 0 {
		first(destination.Unsupported)
	}
	for i := range ds {
		if s := ds[i].Settled; s != nil && s.Outcome == destination.Skipped {
			first(s.Reason)
		}
	}
	return is
}

// keepText keeps the text of events that may still become dead letters, or are examples. If these are most of the
// block, all lanes share the text that was read, without its index. If they are few, they are copied, so that the
// rest can be freed.
func (lb *laneBlock) keepText(b *block, keep int) {
	if keep > len(b.chunk.Data)/2 {
		b.chunk.Retain()
		lb.text = b.chunk
		lb.size += int64(len(b.chunk.Data))
		return
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
}

// accept settles the deliveries that Route, or an earlier process, has settled, and queues the others.
func (l *lane) accept(lb *laneBlock) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ledger.add(lb)
	l.memory.take(lb)
	for i := range lb.events {
		le := &lb.events[i]
		if le.open == 0 && le.worst != journal.Requeued { // it was settled under another configuration
			l.ledger.past.Count(le.worst, le.reason)
			l.ledger.settleEvent(le, le.worst, le.reason)
		} else if le.open == 0 { // the destination made no delivery of the event
			l.notes.skipped(le, destination.Unsupported, "")
			l.ledger.settleEvent(le, journal.Skipped, string(destination.Unsupported))
		}
	}
	for i := range lb.works {
		w := &lb.works[i]
		if v, ok := l.ledger.earlier(w.id); ok {
			if v.Outcome == journal.Delivered {
				l.ledger.sent++
			}
			if l.ledger.resumed.Doubted(w.id) {
				l.ledger.suspect(w, true)
			}
			l.verdicts.settle(w, v.Outcome, v.Reason)
			continue
		}
		if l.verdicts.routed(w) {
			continue
		}
		in, doubtful := l.ledger.doubt[w.id.Name()]
		if whole, is := l.ledger.whole(w.id.Ordinal); is && whole.Doubted {
			doubtful = true
		}
		if doubtful {
			w.doubtful = true
			l.ledger.suspect(w, false)
			if l.c.Options.Hold {
				l.ledger.hold(w)
				continue // stays open: its event is pending, and listed
			}
		}
		l.memory.keep(w)
		if prev := previous(lb, i); prev == nil || prev.settled && prev.outcome != journal.Rejected {
			l.queue.offer(w, in)
		} else if prev.settled {
			l.verdicts.block(w)
		} else {
			prev.parked = w
			l.queue.waiting++
		}
	}
	l.ledger.again(lb)
	l.pass()
	l.signal()
	return l.notes.err
}

// previous is the delivery that must be settled before delivery i of a block may be sent; nil: there is none.
func previous(lb *laneBlock, i int) *work {
	w := &lb.works[i]
	if !w.d.Wait || w.id.K == 0 || i == 0 || lb.works[i-1].ev != w.ev {
		return nil
	}
	return &lb.works[i-1]
}

// pass moves the mark, and frees the memory of what it has passed. The caller holds mu.
func (l *lane) pass() {
	l.ledger.pass()
	l.memory.compact(l.ledger.blocks, l.queue, l.sender.hung.Load())
	if _, err := l.ledger.saveDue(); err != nil {
		l.haltLocked("", err)
	}
}

// send takes batches as the pace, the partner and the breaker allow, and sends each in a goroutine of its own.
func (l *lane) send(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		b, wait, done := l.next(ctx)
		switch {
		case done:
			return
		case b != nil:
			go l.attempt(ctx, b)
			continue
		case wait == onlyAnswers:
			<-l.wakeSend // an answer or a deadline will wake it
			continue
		case wait == untilWoken:
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-l.wakeSend:
		case <-timer.C:
		case <-ctx.Done():
		case <-l.e.c.Stop:
		}
	}
}

// next returns a batch to be sent now. If there is none, wait says how long to sleep, or until wakeSend if that is
// earlier. untilWoken: sleep until wakeSend or the end of the run. onlyAnswers: sleep until wakeSend whatever else
// happens, because the lane has ended and only requests in flight are awaited. done: there is nothing left to wait
// for.
func (l *lane) next(ctx context.Context) (b *batch, wait time.Duration, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over(ctx) {
		l.pacer.want(false)
		return nil, onlyAnswers, l.queue.flying == 0
	}
	if l.routed {
		l.queue.flush()
		if l.queue.idle() {
			l.pacer.want(false)
			return nil, untilWoken, true
		}
	}
	now := l.e.c.Now()
	l.pacer.want(l.queue.sends())
	if b, wait = l.pick(now); b != nil {
		l.verdicts.goes(b, now)
		if l.pacer.breaker.probing() {
			l.logProbe(b)
		}
		return b, 0, false
	}
	// No answer may come for a long time. What is settled has to be saved anyway, because input is released, and
	// perhaps read on, only then.
	d, err := l.ledger.saveDue()
	if err != nil {
		l.haltLocked("", err)
		return nil, untilWoken, false
	}
	if d > 0 && (wait <= 0 || d < wait) {
		wait = d
	}
	return nil, wait, false
}

// pick returns the next batch that may be sent now, or how long to wait for one (0: until a signal). The caller
// holds mu.
func (l *lane) pick(now time.Time) (*batch, time.Duration) {
	limit, wait := l.pacer.inFlight(now)
	if wait > 0 && (len(l.queue.ready) > 0 || len(l.queue.later) > 0) {
		return nil, wait
	}
	full := l.queue.flying >= limit
	return l.queue.pick(now, func(b *batch) (time.Duration, bool) {
		// The bodies are copies of what the lane holds, so they have the same bound.
		if full || l.queue.flying > 0 && int64(l.queue.bodies+b.bytes) > l.memory.budget {
			return 0, false
		}
		d := l.pacer.wait(now, b.g.Action, len(b.works), b.bytes)
		if d <= 0 && len(l.pacer.buckets) > 0 {
			l.ledger.dirty = true // the pace is saved even while an early event holds up the mark
		}
		return d, d <= 0
	})
}

// attempt sends one batch and acts on the verdicts.
func (l *lane) attempt(ctx context.Context, b *batch) {
	defer l.signal()
	again := b.again || b.tries > 0
	for _, w := range b.works {
		again = again || w.attempts > 0 || w.doubtful
	}
	trip := l.sender.trip(b.works)
	defer l.sender.back(trip)
	req, err := l.ledger.j.Begin(l.plan.Actions[b.g.Action].Slug, trip.ids, b.bytes, again)
	if err != nil {
		l.mu.Lock()
		l.queue.returned(b.bytes)
		l.haltLocked("", err)
		l.mu.Unlock()
		return
	}
	start := l.e.c.Now()
	if b.first == 0 {
		b.first = max(start.Sub(l.e.start), 1)
	}
	results, err := l.sender.send(ctx, trip, start)
	now := l.e.c.Now()

	if !l.getsSomewhere() { // what follows is mostly writing dead letters
		l.e.cpu.enter(false)
		defer l.e.cpu.leave(false)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.queue.immovable, b)
	defer l.queue.returned(b.bytes)
	live := &l.ledger.live
	live.Requests++
	live.Bytes += uint64(b.bytes)
	if again {
		live.Retries++
	}
	if err != nil && ctx.Err() != nil {
		return // interrupted: the batch is in doubt until the next start
	}
	results, crashed := l.orFailure(results, err, len(b.works))
	l.learn(results, now, now.Sub(start))
	delivered, rejected := live.Delivered, Total(live.Rejected)
	if err := l.act(req, b, results, crashed, now); err != nil {
		l.haltLocked("", err)
		return
	}
	l.course.request(now, now.Sub(start), again, l.notes.failing, live.Delivered-delivered, Total(live.Rejected)-rejected)
	if l.notes.err != nil {
		l.haltLocked("", l.notes.err)
	}
	l.pass()
	l.course.passed(now, l.ledger.mark.Ordinal)
}

// orFailure returns the results of a request. When Send has returned an error or has panicked (crashed), it
// returns what that means for each of its n deliveries.
func (l *lane) orFailure(results []destination.Result, err error, n int) (_ []destination.Result, crashed bool) {
	var crash *panicError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &crash):
		if l.panics++; l.panics >= maxPanics {
			l.haltLocked("its code panicked "+fmt.Sprint(l.panics)+" times in a row", nil)
		}
		return destination.Same(
			destination.Result{Outcome: destination.Rejected, Reason: destination.Panicked, Detail: crash.text},
			n,
		), true
	case errors.As(err, &cert):
		// Nothing was sent, and a retry does not help: as with refused credentials, the events stay pending until
		// somebody repairs this.
		l.halted("the partner's certificate does not verify: "+destination.Cut(cert.Err.Error(), 200),
			"the certificate is right")
		return destination.Same(
			destination.Result{Outcome: destination.Retry, Reason: destination.Unauthorized, Detail: err.Error()},
			n,
		), false
	case err != nil:
		return destination.Same(
			destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Detail: err.Error()},
			n,
		), false
	}
	l.panics = 0
	return results, false
}

// learn adapts concurrency, pause and breaker to the partner's answer.
func (l *lane) learn(rs []destination.Result, now time.Time, rtt time.Duration) {
	var a reaction
	each := time.Duration(math.MaxInt64) // how long every one of them waits, at least
	for i := range rs {
		r := &rs[i]
		each = min(each, r.RetryAfter)
		if r.Outcome == destination.Retry || r.Outcome == destination.Rejected {
			l.notes.heard(r)
		}
		switch {
		case r.Outcome == destination.Delivered, r.Outcome == destination.Skipped:
			a.accepted = true
		case r.Outcome != destination.Retry:
			l.notes.refused++
		case r.Reason == destination.Unauthorized:
			until := "the credentials are right"
			if r.Status == 0 && r.Detail != "" { // the error text of a local destination
				until = ""
			}
			l.halted(refusal(r), until)
		default:
			a.pushed = true
			switch r.Reason {
			case destination.RateLimited:
				a.limited, a.wait = true, max(a.wait, r.RetryAfter)
			case destination.Conflict: // with something else that it has: the partner is well
			default:
				a.failed = true
			}
		}
	}
	if a.pushed { // what only some of them wait for does not hold up others: see verdicts.answered
		a.wait = max(a.wait, each)
	}
	if a.accepted || a.pushed {
		l.notes.failing = !a.accepted
	}
	if a.accepted {
		l.notes.refused = 0
		l.bisector.accepted()
	}
	before := l.pacer.breaker
	l.pacer.learn(a, now, rtt, l.queue.flying, l.e.c.Rand)
	if wait := l.pacer.paused.Sub(now); wait > 0 && (a.wait > 0 || a.limited) {
		l.logPause(wait)
	}
	if most := l.verdicts.opt.later; most > 0 && a.limited && l.pacer.refusedFor(now) >= most {
		l.halted("the partner says that there are too many requests, for longer than max_time ("+most.String()+")",
			"the partner takes requests again")
	}
	until := l.pacer.paused
	if l.pacer.breaker.open(now) && l.pacer.breaker.until.After(until) {
		until = l.pacer.breaker.until
	}
	l.course.pauses(now, until)
	l.logBreaker(before, l.pacer.breaker, now)
}

// act settles a batch by its verdicts. If the partner has refused it as a whole, parts of it are sent again.
func (l *lane) act(req uint64, b *batch, results []destination.Result, crashed bool, now time.Time) error {
	opt := l.verdicts.opt
	broken := &l.pacer.breaker
	l.verdicts.down = outage{is: broken.failures > 0 && now.Sub(broken.since) < opt.Outage, sure: broken.probing(),
		since: broken.since.Sub(l.e.start) - broken.paused}
	hopeless := !l.verdicts.down.is && broken.hopeless(now, &opt.VerdictOptions)
	if !crashed && l.bisector.divides(b, results, hopeless, now) {
		if err := l.ledger.j.End(req, journal.Requeued, "", nil, nil); err != nil {
			return err
		}
		return l.bisector.split(b, results, now)
	}
	if err := l.verdicts.answered(req, b, results, hopeless, now); err != nil {
		return err
	}
	if b.bisect != nil {
		return l.bisector.answered(b, results, now)
	}
	return nil
}

// save writes the last checkpoint of a run.
func (l *lane) save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil // the error was reported already
	}
	l.ledger.pass()
	return l.ledger.save()
}

// halt ends the lane, for a reason at the partner or an error of the machine. Requests in flight are finished; the
// rest stays pending.
func (l *lane) halt(why string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.haltLocked(why, err)
}

// halted ends the lane for a reason that somebody has to repair. The caller holds mu.
func (l *lane) halted(why, until string) {
	if l.stop == "" && l.err == nil {
		l.until = until
	}
	l.haltLocked(why, nil)
}

func (l *lane) haltLocked(why string, err error) {
	if l.stop == "" && l.err == nil {
		l.stop, l.err = why, err
		if err == nil { // otherwise the run ends with the error and reports it once
			l.log(slog.LevelError, LogStop, slog.String("why", why))
		}
	}
	l.signal()
	l.e.ring.stands(l.reader, nowhere)
	l.e.ring.want(l.reader, done)
}
