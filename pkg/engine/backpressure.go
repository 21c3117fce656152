package engine

import (
	"cmp"
	"math"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// adaptive is the number of requests that may be in flight. It grows by one after every interval without trouble
// in which the limit was reached. It shrinks by a tenth on backpressure, or when the round trip differs from its
// mean by more than two and a half standard deviations.
type adaptive struct {
	limit, cap float64
	reached    bool
	trouble    bool
	n          int
	sum        float64
	since      time.Time
	mean, vari float64
	seen       bool
}

// concurrencyOf is how many requests of a lane may be in flight.
func concurrencyOf(plan *destination.Plan, o Options) int {
	single := len(plan.Actions) > 0
	for _, a := range plan.Actions {
		single = single && a.Limits.BatchEvents.N == 1
	}
	switch {
	case o.Concurrency > 0:
		return o.Concurrency
	case plan.Limits.Concurrency.N > 0:
		return plan.Limits.Concurrency.N
	case plan.Local:
		return 1
	case single:
		return 64
	}
	return 8
}

func newAdaptive(limit int) adaptive {
	return adaptive{limit: min(float64(limit), 4), cap: float64(limit)}
}

func (a *adaptive) allowed() int { return max(int(a.limit), 1) }

// done notes the round trip of one request, or that there was trouble with it.
func (a *adaptive) done(now time.Time, rtt time.Duration, trouble bool, flying int) {
	a.trouble = a.trouble || trouble
	a.reached = a.reached || flying >= a.allowed()
	if !trouble {
		a.n++
		a.sum += rtt.Seconds()
	}
	// An interval is the mean round trip, and at least as many answers as
	// there are requests in flight.
	interval := time.Duration(a.mean * float64(time.Second))
	if !a.trouble && (a.n < a.allowed() || now.Sub(a.since) < interval) {
		return
	}
	mean := a.mean
	if a.n > 0 {
		mean = a.sum / float64(a.n)
	}
	switch {
	case a.trouble,
		a.seen && a.n > 1 && mean > a.mean+2.5*math.Sqrt(a.vari) && mean > 1.5*a.mean && mean-a.mean > 0.005:
		a.limit = max(a.limit*0.9, 1)
	case a.reached && a.limit < a.cap:
		a.limit = min(a.limit+1, a.cap)
	}
	if a.n > 0 {
		if a.seen {
			diff := mean - a.mean
			a.mean += 0.4 * diff
			a.vari = 0.6 * (a.vari + 0.4*diff*diff)
		} else {
			a.mean, a.seen = mean, true
		}
	}
	a.n, a.sum, a.since, a.reached, a.trouble = 0, 0, now, false, false
}

// breaker stops a lane from flooding a partner that fails. After enough failures in a row it opens for a while,
// and then lets single probe requests through until one succeeds.
type breaker struct {
	failures int
	times    int
	since    time.Time     // time of the first failure
	paused   time.Duration // see pauses: how long in all, by then
	until    time.Time
}

const (
	breakAfter = 10
	breakMin   = time.Second
	breakMax   = 15 * time.Second
)

func (b *breaker) open(now time.Time) bool { return b.failures >= breakAfter && b.until.After(now) }

// probing says whether only one request at a time may go out.
func (b *breaker) probing() bool { return b.failures >= breakAfter }

func (b *breaker) fail(now time.Time, jitter float64) {
	if b.failures == 0 {
		b.since = now
	}
	if b.failures++; b.failures >= breakAfter && !b.until.After(now) {
		d := min(breakMin<<min(b.times, 10), breakMax)
		b.until = now.Add(d/2 + time.Duration(jitter*float64(d/2)))
		b.times++
	}
}

func (b *breaker) succeed() { *b = breaker{} }

const (
	backoffBase = 500 * time.Millisecond
	backoffMost = 60 * time.Second
	mostJitter  = 5 * time.Second // on top of a declared wait
)

// waits are how long to wait before something is sent again, as the partner declares it: the first time, and at most.
// Zero: it declares nothing of the kind. jitter is a random number below 1.
type waits struct{ first, longest time.Duration }

// doubled is a wait that is twice as long each time, from its n-th time on, but no longer than longest. Unless the
// partner has declared them, first and longest are the engine's.
func (w waits) doubled(n int, first, longest time.Duration) time.Duration {
	d := cmp.Or(w.first, first)
	longest = cmp.Or(w.longest, max(longest, w.first))
	for ; n > 0 && d < longest; n-- {
		d *= 2
	}
	return min(d, longest)
}

// backoff is the wait of a delivery after so many attempts. It is exponential, with full jitter: unless the partner has
// declared how long it is at least.
func (w waits) backoff(attempts int, jitter float64) time.Duration {
	if w.first > 0 {
		return w.atLeast(attempts-1, jitter)
	}
	return time.Duration(jitter * float64(w.doubled(attempts, backoffBase, backoffMost)))
}

// limited is the wait after a partner has said n times in a row, and once more, that there was too much.
func (w waits) limited(n int, jitter float64) time.Duration {
	if w.first > 0 {
		return w.atLeast(n, jitter)
	}
	d := w.doubled(n, limitedBase, limitedMost)
	return d/2 + time.Duration(jitter*float64(d/2))
}

// atLeast is a declared wait, and a bit more, so that not everybody comes back at the same time.
func (w waits) atLeast(n int, jitter float64) time.Duration {
	d := w.doubled(n, w.first, backoffMost)
	return d + time.Duration(jitter*float64(min(d/2, mostJitter)))
}

// patience is the longest time in which a delivery can use up its attempts. When the partner has failed everything for
// that long, the lane no longer spends all attempts on each delivery.
func (o *VerdictOptions) patience() (d time.Duration) {
	for i := range o.Attempts {
		if d += o.waits.doubled(i, backoffBase, backoffMost); d >= o.MaxTime {
			return o.MaxTime
		}
	}
	return d
}

// limited is how often in a row a partner has said that there are too many requests. Many do not say for how long: it
// is asked again later each time, and by one request only after the first times.
type limited struct {
	times int
	since time.Duration // see pauses: how long in all, when it said so for the first time; less, by the requests since
	at    time.Time     // of the last time
	until time.Time
}

// pauses are the times for which a lane sends nothing because its partner has said that there was too much. They count
// towards no max time of a delivery, whichever delivery the partner has said it to.
type pauses struct {
	before      time.Duration // all but the last, added up
	from, until time.Time     // the last
}

// add notes a pause that begins now. It may begin, and end, within one that is known.
func (p *pauses) add(now, until time.Time) {
	if !now.Before(p.until) {
		p.before, p.from, p.until = p.sum(now), now, now
	}
	if until.After(p.until) {
		p.until = until
	}
}

// sum is how long they have been until now, in all.
func (p *pauses) sum(now time.Time) time.Duration {
	if p.until.Before(now) {
		now = p.until
	}
	return p.before + max(now.Sub(p.from), 0)
}

const (
	limitedSome  = time.Millisecond // by then, what is in flight has been answered
	limitedBase  = 100 * time.Millisecond
	limitedMost  = time.Minute
	limitedOften = 4
)

// again returns how long to wait after an answer to a request that began at a time. paused is the sum of the pauses.
func (l *limited) again(now, began time.Time, paused time.Duration, w waits, jitter float64) time.Duration {
	if l.times > 0 && began.Before(l.at) {
		return l.until.Sub(now) // it was under way when the partner said so for the first time
	}
	if l.times == 0 {
		l.since = paused
	} else {
		l.since -= now.Sub(began)
	}
	d := w.limited(l.times, jitter)
	l.times, l.at, l.until = l.times+1, now, now.Add(d)
	return d
}

// hopeless says whether the partner has failed everything for as long as one delivery may be retried. Then each
// further delivery gets one attempt.
func (b *breaker) hopeless(now time.Time, o *VerdictOptions) bool {
	return b.failures >= breakAfter+o.Attempts && now.Sub(b.since) >= o.patience()
}

// reaction is what an answer means for the pace of the lane.
type reaction struct {
	accepted bool          // something was accepted
	pushed   bool          // something has to be sent again
	limited  bool          // there were too many
	failed   bool          // for another reason than that
	wait     time.Duration // how long the partner asks us to wait
}

// learn adjusts the number of requests in flight, the pause and the breaker after an answer.
func (p *pacer) learn(a reaction, now time.Time, rtt time.Duration, flying int, jitter func() float64) {
	switch {
	case a.accepted && a.limited: // some of what was sent was too much
		p.limited = limited{}
		a.wait = max(a.wait, limitedSome)
	case a.limited:
		a.wait = max(a.wait, p.limited.again(now, now.Add(-rtt), p.pauses.sum(now), p.waits, jitter()))
	case a.failed && !a.accepted: // a partner that says both by turns is still asked later each time
	default: // it has taken something, or has looked at it and refused it
		p.limited = limited{}
	}
	if a.wait > 0 {
		p.pause(now.Add(a.wait))
	}
	if a.limited {
		p.pauses.add(now, now.Add(a.wait))
	}
	if a.failed && !a.accepted {
		if p.breaker.failures == 0 {
			p.breaker.paused = p.pauses.sum(now)
		}
		p.breaker.fail(now, jitter())
	} else if !a.failed {
		p.breaker.succeed()
	}
	p.adapt.done(now, rtt, a.pushed, flying)
}

// refusedFor is how long the partner has said that there is too much, since it last took or refused something: the
// pauses after that and the requests that were answered so. What it says in between of failures of its own does not end
// that, and the time of those does not count.
func (p *pacer) refusedFor(now time.Time) time.Duration {
	if p.limited.times == 0 {
		return 0
	}
	return p.pauses.sum(now) - p.limited.since
}

// inFlight returns how many requests may be in flight, or how long to wait before starting one.
func (p *pacer) inFlight(now time.Time) (limit int, wait time.Duration) {
	switch {
	case p.breaker.open(now):
		return 1, p.breaker.until.Sub(now)
	case p.breaker.probing() || p.limited.times >= limitedOften:
		return 1, 0
	}
	return p.adapt.allowed(), 0
}
