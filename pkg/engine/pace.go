package engine

import (
	"encoding/json"
	"math"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// pace is a lane's rate: one token bucket for each documented limit, each as
// large as its window, and the pause that the partner asked for. The lane's mu
// guards it.
type pace struct {
	buckets []bucket
	paused  time.Time
}

type bucket struct {
	of     destination.Unit
	size   float64
	perSec float64
	tokens float64
	at     time.Time
}

func newPace(rates []destination.Rate, reserve float64, saved []byte, now time.Time) *pace {
	p := &pace{}
	for _, r := range rates {
		if r.N <= 0 || r.Per <= 0 {
			continue
		}
		n := r.N * (1 - reserve)
		p.buckets = append(p.buckets, bucket{of: r.Of, size: max(n, 1), perSec: n / r.Per.Seconds(), tokens: max(n, 1), at: now})
	}
	var s paceState
	if json.Unmarshal(saved, &s) == nil && !s.At.IsZero() && !s.At.After(now) {
		// A clock that went backwards gives no credit: the buckets start
		// full, as in a new run.
		p.paused = s.Paused
		for i := range p.buckets {
			if i < len(s.Tokens) {
				b := &p.buckets[i]
				b.tokens, b.at = min(s.Tokens[i], b.size), s.At
			}
		}
	}
	return p
}

func (p *pace) save(now time.Time) []byte {
	s := paceState{At: now, Paused: p.paused}
	for i := range p.buckets {
		p.buckets[i].fill(now)
		s.Tokens = append(s.Tokens, p.buckets[i].tokens)
	}
	if len(s.Tokens) == 0 && !s.Paused.After(now) {
		return nil
	}
	return s.encode()
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.size, b.tokens+d.Seconds()*b.perSec)
		b.at = now
	} else if d < 0 {
		b.at = now // the clock went back
	}
}

// wait returns how long a request has to wait; 0 takes its tokens. A request
// larger than a bucket goes out when the bucket is full, and leaves a debt.
func (p *pace) wait(now time.Time, events, bytes int) time.Duration {
	d := p.paused.Sub(now)
	cost := func(b *bucket) float64 {
		switch b.of {
		case destination.Events:
			return float64(events)
		case destination.Bytes:
			return float64(bytes)
		}
		return 1
	}
	for i := range p.buckets {
		b := &p.buckets[i]
		b.fill(now)
		if need := min(cost(b), b.size) - b.tokens; need > 1e-9 {
			d = max(d, time.Duration(math.Ceil(need/b.perSec*1e9)))
		}
	}
	if d > 0 {
		return d
	}
	for i := range p.buckets {
		p.buckets[i].tokens -= cost(&p.buckets[i])
	}
	return 0
}

// pause keeps the whole lane from sending.
func (p *pace) pause(until time.Time) {
	if until.After(p.paused) {
		p.paused = until
	}
}

// adaptive is the number of requests in flight: one more for every interval
// without trouble in which the limit was reached, a tenth less on back-pressure
// or when the round trip leaves its mean by more than two and a half standard
// deviations.
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

func newAdaptive(limit int, plan *destination.Plan) adaptive {
	single := len(plan.Actions) > 0
	for _, a := range plan.Actions {
		single = single && a.Limits.BatchEvents.N == 1
	}
	switch {
	case limit > 0:
	case plan.Local:
		limit = 1
	case single:
		limit = 64
	default:
		limit = 8
	}
	return adaptive{limit: min(float64(limit), 4), cap: float64(limit)}
}

func (a *adaptive) allowed() int { return max(int(a.limit), 1) }

// done takes the round trip of one request, or its trouble.
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
	case a.trouble, a.seen && a.n > 1 && mean > a.mean+2.5*math.Sqrt(a.vari) && mean > 1.5*a.mean && mean-a.mean > 0.005:
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

// breaker keeps a lane from hammering a partner that fails: after enough
// failures in a row it opens for a while, and then lets single probes through
// until one succeeds.
type breaker struct {
	failures int
	times    int
	since    time.Time // of the first failure
	until    time.Time
}

const (
	breakAfter = 10
	breakMin   = time.Second
	breakMax   = 15 * time.Second
)

func (b *breaker) open(now time.Time) bool { return b.failures >= breakAfter && b.until.After(now) }

// probing says that only one request at a time may go out.
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
)

// backoff is exponential with full jitter.
func backoff(attempt int, jitter float64) time.Duration {
	return time.Duration(jitter * float64(min(backoffBase<<min(attempt, 20), backoffMost)))
}

// patienceOf is the longest that a delivery with so many attempts can take to
// use them up: how long a partner has to fail everything before the lane no
// longer spends all attempts on each delivery.
func patienceOf(attempts int) time.Duration {
	var d time.Duration
	for i := range attempts {
		d += min(backoffBase<<min(i, 20), backoffMost)
	}
	return d
}
