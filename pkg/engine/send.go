package engine

import (
	"container/heap"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
)

// Defaults where neither the partner nor the user says.
const (
	defaultBatchEvents = 500
	defaultBatchBytes  = 1 << 20
	maxOpenGroups      = 1000 // open batches of different groups
	maxUserQueue       = 1000 // deliveries that wait behind their user
	oldBatch           = 128  // blocks after which a batch that is not full is closed
	maxPanics          = 10   // in a row, before the lane stops
)

// user is the state of one user in a lane that keeps order: how many of the
// user's deliveries are on their way, and what waits behind them.
type user struct {
	out   int
	in    *batch // the open batch that holds them all, if one does
	queue []*work
}

// offer puts a delivery into a batch, or behind its user's earlier ones. The
// caller holds mu.
func (l *lane) offer(w *work, now time.Time) {
	if l.plan.Order && w.user != 0 {
		u := l.users[w.user]
		if u == nil {
			u = &user{}
			l.users[w.user] = u
		}
		// One batch may hold many of a user's deliveries, in order.
		g := w.d.Group()
		if u.out > 0 && (len(u.queue) > 0 || u.in == nil || l.open[g] != u.in || !l.fits(u.in, w)) {
			u.queue = append(u.queue, w)
			l.waiting++
			if len(u.queue) > maxUserQueue {
				// A user so busy would hold up the lane: the queue goes out
				// as it is, and is counted.
				l.live.Released += uint64(len(u.queue))
				q := u.queue
				u.queue = nil
				for _, w := range q {
					l.waiting--
					u.out++
					l.put(w, now)
				}
				u.in = nil
			}
			return
		}
		u.out++
		u.in = l.put(w, now)
		return
	}
	l.put(w, now)
}

// landed tells a user's queue that a delivery is settled.
func (l *lane) landed(w *work, now time.Time) {
	if !l.plan.Order || w.user == 0 {
		return
	}
	u := l.users[w.user]
	if u == nil {
		return
	}
	if u.out--; u.out > 0 {
		return
	}
	u.in = nil
	q := u.queue
	u.queue = nil
	if len(q) == 0 {
		delete(l.users, w.user)
		return
	}
	l.waiting -= len(q)
	for _, w := range q {
		l.offer(w, now)
	}
}

// caps are what a request of an action may hold.
type caps struct {
	events, bytes int
	overhead, per int // bytes around and between items
}

func capsOf(p *destination.ActionPlan) caps {
	c := caps{p.Limits.BatchEvents.N, p.Limits.BatchBytes.N, p.Overhead, p.PerItem}
	if c.events <= 0 {
		c.events = defaultBatchEvents
	}
	if c.bytes <= 0 {
		c.bytes = defaultBatchBytes
	}
	return c
}

func (l *lane) fits(b *batch, w *work) bool {
	c := &l.caps[b.g.Action]
	return len(b.works) < c.events && b.bytes+len(w.d.Item)+c.per <= c.bytes
}

// put adds a delivery to the open batch of its group.
func (l *lane) put(w *work, now time.Time) *batch {
	c := &l.caps[w.d.Action]
	b := l.recent // nearly always the one: to look for it takes longer than all the rest
	if b == nil || b.g.Action != w.d.Action || b.to != w.d.To {
		b = l.open[w.d.Group()]
	}
	if b != nil && !l.fits(b, w) {
		l.close(b)
		b = nil
	}
	if b == nil {
		b = &batch{g: w.d.Group(), to: w.d.To, bytes: c.overhead, born: now, block: l.taken}
		if c.events > 1 {
			l.open[b.g] = b
			l.order = append(l.order, b)
			if len(l.open) > maxOpenGroups {
				l.close(l.oldest())
			}
		}
	}
	b.works = append(b.works, w)
	b.bytes += len(w.d.Item) + c.per
	if len(b.works) >= c.events {
		l.close(b)
	} else {
		l.recent = b
	}
	return b
}

// close makes a batch ready to go.
func (l *lane) close(b *batch) {
	l.shut(b)
	l.ready = append(l.ready, b)
}

// shut takes a batch out of the open ones, if it is one.
func (l *lane) shut(b *batch) {
	if l.recent == b {
		l.recent = nil
	}
	if l.open[b.g] == b {
		delete(l.open, b.g)
	}
}

// oldest returns the batch that has been open for longest; nil: none is open.
func (l *lane) oldest() *batch {
	for len(l.order) > 0 {
		if b := l.order[0]; l.open[b.g] == b {
			return b
		}
		l.order[0] = nil
		l.order = l.order[1:]
	}
	return nil
}

// closeOld closes the batches that have been open for many blocks, so that the
// checkpoint does not stay behind for the sake of a few events of a rare kind.
// The caller holds mu.
func (l *lane) closeOld() {
	for b := l.oldest(); b != nil && l.taken-b.block > oldBatch; b = l.oldest() {
		l.close(b)
	}
}

// closeBatches makes all open batches ready, for the sending goroutine to look
// at. The caller holds mu.
func (l *lane) closeBatches() {
	l.readyAll()
	l.wake()
}

// wake wakes the sending goroutine.
func (l *lane) wake() {
	select {
	case l.wakeSend <- struct{}{}:
	default:
	}
}

func (l *lane) readyAll() {
	for b := l.oldest(); b != nil; b = l.oldest() {
		l.close(b)
	}
}

// retries is a heap of batches by the time before which they must not go.
type retries []*batch

func (r retries) Len() int           { return len(r) }
func (r retries) Less(i, j int) bool { return r[i].due.Before(r[j].due) }
func (r retries) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *retries) Push(x any)        { *r = append(*r, x.(*batch)) }
func (r *retries) Pop() any {
	b := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return b
}

// send takes batches as the pace, the partner and the breaker allow, and sends
// each in a goroutine of its own.
func (l *lane) send(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l.mu.Lock()
		ending := l.stop != "" || l.err != nil || ctx.Err() != nil || l.e.stopped()
		if ending {
			if l.flying == 0 {
				l.pace.want(false)
				l.mu.Unlock()
				return
			}
			l.mu.Unlock()
			<-l.wakeSend // an answer, or a deadline, will come
			continue
		}
		if l.routed {
			l.readyAll()
			if len(l.ready) == 0 && len(l.later) == 0 && l.flying == 0 && l.waiting == 0 {
				l.pace.want(false)
				l.mu.Unlock()
				return
			}
		}
		now := l.e.c.Now()
		l.pace.want(len(l.ready)+len(l.later)+l.flying > 0)
		b, wait := l.take(now)
		// No answer may come for long: what is settled has to be saved all
		// the same, since input is released, and perhaps read on, only then.
		if d := l.saveDue(now); d > 0 && (wait <= 0 || d < wait) {
			wait = d
		}
		l.mu.Unlock()
		if b != nil {
			go l.attempt(ctx, b)
			continue
		}
		if wait <= 0 {
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

// take returns the next batch that may go out now, or how long to wait for one
// (0: for a signal). The caller holds mu.
func (l *lane) take(now time.Time) (*batch, time.Duration) {
	var b *batch
	retry := len(l.later) > 0 && !l.later[0].due.After(now)
	switch {
	case retry:
		b = l.later[0]
	case len(l.ready) > 0:
		b = l.ready[0]
	case l.full && len(l.open) > 0:
		// Nothing can join them before something goes: the largest one frees
		// most. While others are ready or the pace forbids they stay open, since
		// fuller batches are fewer requests.
		for _, o := range l.open {
			if b == nil || o.bytes > b.bytes || o.bytes == b.bytes && o.born.Before(b.born) {
				b = o
			}
		}
	case len(l.later) > 0:
		return nil, l.later[0].due.Sub(now)
	default:
		return nil, 0
	}
	limit := l.adapt.allowed()
	if l.breaker.probing() {
		limit = 1
		if l.breaker.open(now) {
			return nil, l.breaker.until.Sub(now)
		}
	}
	// The bodies are copies of what the lane holds, and as bounded.
	if l.flying >= limit || l.flying > 0 && int64(l.bodies+b.bytes) > l.budget {
		return nil, 0
	}
	if d := l.pace.wait(now, b.g.Action, len(b.works), b.bytes); d > 0 {
		l.paced = now.Add(d)
		return nil, d
	}
	switch {
	case retry:
		heap.Pop(&l.later)
	case l.open[b.g] == b:
		l.shut(b)
	default:
		l.ready[0] = nil
		l.ready = l.ready[1:]
	}
	l.flying++
	l.bodies += b.bytes
	l.apart[b] = struct{}{}
	if l.breaker.probing() {
		l.logProbe(b)
	}
	return b, 0
}

// attempt sends one batch and acts on the verdicts.
func (l *lane) attempt(ctx context.Context, b *batch) {
	defer l.signal()
	action := l.plan.Actions[b.g.Action].Slug
	ids := make([]journal.DeliveryID, len(b.works))
	for i, w := range b.works {
		ids[i] = w.id
	}
	req, err := l.j.Begin(action, ids)
	if err != nil {
		l.mu.Lock()
		l.flying--
		l.bodies -= b.bytes
		l.haltLocked("", err)
		l.mu.Unlock()
		return
	}
	start := l.e.c.Now()
	results, err := l.call(ctx, b, start)
	now := l.e.c.Now()

	if !l.gettingSomewhere() { // what follows is mostly burying
		l.e.cpu.enter(false)
		defer l.e.cpu.leave(false)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.apart, b)
	size := b.bytes
	defer func() { l.flying--; l.bodies -= size }()
	l.live.Requests++
	l.live.Bytes += uint64(b.bytes)
	if b.again || b.works[0].attempts > 0 {
		l.live.Retries++
	}
	if err != nil && ctx.Err() != nil {
		return // stopped in the middle: in doubt until the next start
	}
	var crash *panicError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &crash):
		results = destination.Same(destination.Result{Outcome: destination.Rejected, Reason: destination.Panicked, Detail: crash.text}, len(b.works))
		if l.panics++; l.panics >= maxPanics {
			l.haltLocked("its code panicked "+fmt.Sprint(l.panics)+" times in a row", nil)
		}
	case errors.As(err, &cert):
		// Nothing was sent, and asking again does not mend it: as with refused
		// credentials the events stay pending, for when somebody has.
		l.haltLocked("the partner's certificate does not verify: "+destination.Cut(cert.Err.Error(), 200), nil)
		results = destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Unauthorized, Detail: err.Error()}, len(b.works))
	case err != nil:
		results = destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Detail: err.Error()}, len(b.works))
	default:
		l.panics = 0
	}
	l.learn(results, now, now.Sub(start))
	if len(b.works) > 1 && crash == nil && l.refusedWhole(b, results) {
		if err := l.j.End(req, journal.Requeued, "", nil, nil); err != nil {
			l.haltLocked("", err)
			return
		}
		l.split(b, results[0], now)
		l.passBlocks()
		return
	}
	l.apply(req, b, results, now)
	l.passBlocks()
}

type panicError struct{ text string }

func (e *panicError) Error() string { return "panic in partner code" }

// call runs the destination's Send behind recover and a deadline. A call that
// does not come back after its deadline is given up; it keeps the memory it
// may still look at.
func (l *lane) call(ctx context.Context, b *batch, now time.Time) ([]destination.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, l.opt.Timeout)
	defer cancel()
	batch := &destination.Batch{Now: now, Deliveries: make([]*destination.Delivery, len(b.works))}
	for i, w := range b.works {
		batch.Deliveries[i] = w.d
	}
	type answer struct {
		rs  []destination.Result
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				ch <- answer{err: &panicError{panicText(p)}}
			}
		}()
		rs, err := l.c.Sender.Send(ctx, l.c.Transport, batch)
		ch <- answer{rs, err}
	}()
	var a answer
	select {
	case a = <-ch:
	case <-ctx.Done():
		// The transport ends with the context; only code that ignores it
		// takes longer.
		grace := time.NewTimer(5 * time.Second)
		defer grace.Stop()
		select {
		case a = <-ch:
		case <-grace.C:
			l.mu.Lock()
			l.hung = true
			l.mu.Unlock()
			return nil, fmt.Errorf("the destination's code hangs past its deadline of %s", l.opt.Timeout)
		}
	}
	if a.err == nil && len(a.rs) != len(b.works) {
		return nil, fmt.Errorf("%d results for %d deliveries: a mistake in the destination", len(a.rs), len(b.works))
	}
	return a.rs, a.err
}

// learn adapts concurrency, pause and breaker to what the partner answered.
func (l *lane) learn(rs []destination.Result, now time.Time, rtt time.Duration) {
	pushed, failed, accepted := false, false, false
	var wait time.Duration
	for i := range rs {
		r := &rs[i]
		if r.Outcome == destination.Retry || r.Outcome == destination.Rejected {
			l.status = r.Status
			if what := destination.Cut(r.Detail, 200); what != "" {
				l.problem = what
				if r.Status != 0 {
					l.problem = fmt.Sprintf("status %d: %s", r.Status, what)
				}
			}
		}
		switch {
		case r.Outcome == destination.Delivered, r.Outcome == destination.Skipped:
			accepted = true
		case r.Outcome != destination.Retry:
			l.bad++
		case r.Reason == destination.Unauthorized:
			what := destination.Cut(r.Detail, 200) // a local destination's own words
			if r.Status != 0 || what == "" {
				what = "the partner refused the credentials"
				if r.Status != 0 {
					what += fmt.Sprintf(" (status %d)", r.Status)
				}
				if r.Detail != "" {
					what += ": " + destination.Cut(r.Detail, 200)
				}
			}
			l.haltLocked(what, nil)
		default:
			pushed = true
			if r.Reason == destination.RateLimited {
				wait = max(wait, r.RetryAfter, time.Millisecond)
			} else {
				failed = true
				wait = max(wait, r.RetryAfter)
			}
		}
	}
	if accepted {
		l.bad = 0
	}
	if wait > 0 {
		l.pace.pause(now.Add(wait))
		l.logPause(wait)
	}
	before := l.breaker
	if failed && !accepted {
		l.breaker.fail(now, l.e.c.Rand())
	} else if !failed {
		l.breaker.succeed()
	}
	l.logBreaker(before, l.breaker, now)
	l.adapt.done(now, rtt, pushed, l.flying)
}

// apply settles what is settled, and puts the rest back.
func (l *lane) apply(req uint64, b *batch, rs []destination.Result, now time.Time) {
	def := journal.Requeued
	for i := range rs {
		if rs[i].Outcome == destination.Delivered {
			def = journal.Delivered
			break
		}
	}
	var except []journal.Verdict
	var dead []journal.DeadLetter
	var again []*work
	var due time.Time
	for i, w := range b.works {
		r := &rs[i]
		if w.attempts == 0 {
			w.first = now.Sub(l.e.start)
		}
		if !(r.Outcome == destination.Retry && (r.Reason == destination.RateLimited || r.Reason == destination.Unauthorized)) {
			w.attempts++ // waiting one's turn is no attempt
		}
		outcome, reason := journal.Requeued, ""
		switch r.Outcome {
		case destination.Delivered:
			outcome = journal.Delivered
			l.sent++
		case destination.Skipped:
			outcome, reason = journal.Skipped, string(r.Reason)
		case destination.Rejected:
			outcome, reason = journal.Rejected, string(r.Reason)
			l.noteRejected(*r)
			dead = append(dead, l.letter(w, *r))
		default:
			if r.Reason == destination.Unauthorized {
				again = append(again, w)
				break
			}
			if l.exhausted(w, now) {
				outcome, reason = journal.Rejected, string(destination.Exhausted)
				last := *r
				last.Reason = destination.Exhausted
				last.Detail = fmt.Sprintf("given up after %s in %s; the last: %s", attempts(int(w.attempts)), (now.Sub(l.e.start) - w.first).Round(time.Millisecond), r.Detail)
				l.noteRejected(last)
				dead = append(dead, l.letter(w, last))
				break
			}
			again = append(again, w)
			if d := now.Add(max(backoff(int(w.attempts), l.e.c.Rand()), r.RetryAfter)); d.After(due) {
				due = d
			}
		}
		if outcome != def {
			except = append(except, journal.Verdict{ID: w.id, Outcome: outcome, Reason: reason})
		}
		if outcome != journal.Requeued {
			l.drop(w)
			l.settle(w, outcome, reason)
			l.landed(w, now)
		}
	}
	if b.bisect != nil {
		l.bisected(b, rs)
	}
	if err := l.j.End(req, def, "", except, dead); err != nil {
		l.haltLocked("", err)
		return
	}
	if len(again) > 0 {
		n := l.rebatch(b, again)
		n.due, n.again = due, true
		l.logRetry(again, rs, due, now)
		heap.Push(&l.later, n)
	}
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}

// exhausted says that a delivery's budget is used up. When the partner has
// failed everything for as long as one delivery may be tried, the next ones
// get one attempt each.
func (l *lane) exhausted(w *work, now time.Time) bool {
	return int(w.attempts) >= l.opt.Attempts || now.Sub(l.e.start)-w.first >= l.opt.MaxTime ||
		l.breaker.failures >= breakAfter+l.opt.Attempts && now.Sub(l.breaker.since) >= min(patienceOf(l.opt.Attempts), l.opt.MaxTime)
}

// rebatch makes a batch of some of another's deliveries.
func (l *lane) rebatch(b *batch, ws []*work) *batch {
	c := &l.caps[b.g.Action]
	n := &batch{g: b.g, works: ws, bytes: c.overhead, born: b.born, bisect: b.bisect}
	for _, w := range ws {
		n.bytes += len(w.d.Item) + c.per
	}
	return n
}
