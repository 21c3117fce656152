package engine

import (
	"container/heap"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
)

const maxPanics = 10 // in a row, before the lane stops

// offer packs a delivery. The caller holds mu.
func (l *lane) offer(w *work) {
	l.packer.Add(Parcel[*work]{Delivery: w.d, Value: w, User: w.user, Record: w.id.Ordinal, Held: len(w.d.Item) + len(w.ev.raw)})
}

// closed takes a batch that the packer has closed.
func (l *lane) closed(p *Packed[*work]) {
	l.enqueue(&batch{g: p.Group, works: p.Values, bytes: p.Bytes})
}

// enqueue takes a batch that may go as soon as those before it allow.
func (l *lane) enqueue(b *batch) {
	if !l.plan.Order {
		l.ready = append(l.ready, b)
		return
	}
	ok, released := l.seq.enter(b)
	if ok {
		l.makeReady([]*batch{b})
	}
	l.live.Released += uint64(len(released))
	for _, r := range l.repack(released) {
		l.enqueue(r)
	}
}

// makeReady takes batches that nothing is in front of any more.
func (l *lane) makeReady(bs []*batch) {
	for _, b := range bs {
		if len(b.works) > 0 {
			l.weigh(b)
			l.ready = append(l.ready, b)
		}
	}
}

// repack packs deliveries that have already been in a batch, or wait for another.
func (l *lane) repack(ws []*work) (bs []*batch) {
	open := map[destination.Group]*batch{}
	for _, w := range ws {
		g := w.d.Group()
		c := &l.caps[g.Action]
		b := open[g]
		if b == nil || !c.fits(len(b.works), b.bytes, len(w.d.Item)) {
			b = &batch{g: g, bytes: c.overhead}
			open[g] = b
			bs = append(bs, b)
		}
		b.bytes = c.size(len(b.works), b.bytes, len(w.d.Item))
		b.works = append(b.works, w)
	}
	return bs
}

// weigh counts the bytes of a batch's body.
func (l *lane) weigh(b *batch) {
	c := &l.caps[b.g.Action]
	b.bytes = c.overhead
	for i, w := range b.works {
		b.bytes = c.size(i, b.bytes, len(w.d.Item))
	}
}

// finish tells those that wait that a batch is settled but for what goes on as
// again, and sends the next steps of its events on their way. ws are all that it held.
func (l *lane) finish(b, again *batch, ws []*work) {
	next := l.repack(l.steps)
	l.steps = l.steps[:0]
	if !l.plan.Order {
		l.ready = append(l.ready, next...)
		return
	}
	for _, n := range next {
		l.seq.follow(n, b)
		if n.behind == 0 {
			l.makeReady([]*batch{n})
		}
	}
	ready, free := l.seq.done(b, again, ws)
	l.makeReady(ready)
	for _, f := range l.repack(free) {
		l.enqueue(f)
	}
}

// closeBatches makes all open batches ready, for the sending goroutine to look
// at. The caller holds mu.
func (l *lane) closeBatches() {
	l.packer.Flush()
	l.wake()
}

// wake wakes the sending goroutine.
func (l *lane) wake() {
	select {
	case l.wakeSend <- struct{}{}:
	default:
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
			l.packer.Flush()
			if len(l.ready) == 0 && len(l.later) == 0 && l.flying == 0 && l.waiting == 0 && l.seq.idle() {
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
	due := len(l.later) > 0 && !l.later[0].due.After(now)
	var wait time.Duration
	if !due && len(l.later) > 0 {
		wait = l.later[0].due.Sub(now)
	}
	if !due && len(l.ready) == 0 {
		return nil, wait
	}
	limit := l.adapt.allowed()
	if l.breaker.probing() {
		limit = 1
		if l.breaker.open(now) {
			return nil, l.breaker.until.Sub(now)
		}
	}
	if l.flying >= limit {
		return nil, 0
	}
	var b *batch
	if due && l.may(l.later[0], now, &wait) {
		b = heap.Pop(&l.later).(*batch)
	} else if i := l.firstReady(now, &wait); i >= 0 {
		b = l.ready[i]
		if i == 0 {
			l.ready[0] = nil
			l.ready = l.ready[1:]
		} else {
			l.ready = slices.Delete(l.ready, i, i+1)
		}
	} else {
		return nil, wait
	}
	l.flying++
	l.bodies += b.bytes
	l.apart[b] = struct{}{}
	if l.breaker.probing() {
		l.logProbe(b)
	}
	return b, 0
}

// firstReady returns the first batch that may go now, of whichever action; -1: none.
func (l *lane) firstReady(now time.Time, wait *time.Duration) int {
	var tried []int32 // actions whose rate lets nothing through
	for i, b := range l.ready {
		if slices.Contains(tried, b.g.Action) {
			continue
		}
		if l.may(b, now, wait) {
			return i
		}
		if tried = append(tried, b.g.Action); len(tried) == len(l.plan.Actions) {
			break
		}
	}
	return -1
}

// may says whether a batch may go now, as far as memory and rates are concerned; if
// not, it brings down how long to wait.
func (l *lane) may(b *batch, now time.Time, wait *time.Duration) bool {
	// The bodies are copies of what the lane holds, and as bounded.
	if l.flying > 0 && int64(l.bodies+b.bytes) > l.budget {
		return false
	}
	d := l.pace.wait(now, b.g.Action, len(b.works), b.bytes)
	if d <= 0 {
		return true
	}
	if l.paced = now.Add(d); *wait <= 0 || d < *wait {
		*wait = d
	}
	return false
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
		}
	}
	if b.bisect != nil {
		l.bisected(b, rs)
	}
	if err := l.j.End(req, def, "", except, dead); err != nil {
		l.haltLocked("", err)
		return
	}
	var rest *batch
	if len(again) > 0 {
		rest = l.rebatch(b, again)
		rest.due, rest.again = due, true
		l.logRetry(again, rs, due, now)
		heap.Push(&l.later, rest)
	}
	l.finish(b, rest, b.works)
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
	n := &batch{g: b.g, works: ws, bisect: b.bisect}
	l.weigh(n)
	return n
}
