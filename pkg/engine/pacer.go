package engine

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
)

// Limiter says which share of an account's limits this process may use. It is a seam: several processes that send to
// the same account could divide its limits through one. Today nobody implements it but alone, so each lane of each run
// has all of its partner's limits to itself. Lanes call it under their lock, one at a time, so it must not block.
type Limiter interface {
	// Share returns the fraction, from 0 to 1, of the account's rates that this process may use, and until which
	// time of the engine's clock. After that it is called again. The zero time: for ever.
	Share(account string) (share float64, until time.Time)
	// Want says whether the lane has something to send. It is called whenever that changes.
	Want(account string, wants bool)
	// Paused says that the partner has asked for a pause.
	Paused(account string, until time.Time)
}

// alone is the Limiter of a process that shares its accounts with no other.
type alone struct{}

func (alone) Share(string) (float64, time.Time) { return 1, time.Time{} }
func (alone) Want(string, bool)                 {}
func (alone) Paused(string, time.Time)          {}

// PaceOptions limit the load that a lane puts on its partner.
type PaceOptions struct {
	// Rate is the user's rate for the whole lane. It replaces the partner's rates of the same unit; nil: the
	// partner's apply. Rates of single actions still apply; with Override, those that are lower than Rate do not.
	Rate        *destination.Rate
	Override    bool
	NoRates     bool    // keep no rates at all
	Concurrency int     // requests in flight; 0: as declared
	Reserve     float64 // share of the partner's quota that is left to live traffic
}

// pacer decides when a lane's next request may go. It has one bucket for each rate of the lane or of
// an action, the share of the account that this process has, the pause that the partner asked for, the number of
// requests in flight, and the breaker. The lane's lock guards it.
type pacer struct {
	buckets []bucket
	paused  time.Time
	held    time.Time // time until which a rate limit delays a request that is ready
	adapt   adaptive
	waits   waits
	limited limited
	pauses  pauses
	breaker breaker

	plan    *destination.Plan
	limiter Limiter
	account string
	until   time.Time // when to ask for the share again; zero: never
	none    bool      // the share is zero
	wants   bool
}

// wholeLane stands for the action of a limit that all requests count towards.
const wholeLane = int32(-1)

// limit is one rate that the pacer keeps.
type limit struct {
	action int32 // wholeLane, or the index of the action in the plan
	rate   destination.Rate
}

// limitsOf returns the rates that a lane keeps: the partner's, for the lane and for each action, or the user's
// instead.
func limitsOf(plan *destination.Plan, o Options) []limit {
	var all []limit
	for _, r := range plan.Limits.Rates {
		if !o.replaces(r) {
			all = append(all, limit{wholeLane, r})
		}
	}
	if o.Rate != nil {
		all = append(all, limit{wholeLane, *o.Rate})
	}
	for i := range plan.Actions {
		for _, r := range plan.Actions[i].Limits.Rates {
			if !o.lifts(r) {
				all = append(all, limit{int32(i), r})
			}
		}
	}
	return slices.DeleteFunc(all, func(l limit) bool { return l.rate.N <= 0 || l.rate.Per <= 0 })
}

// replaces says whether the user's rate replaces one of the lane's rates.
func (o *Options) replaces(r destination.Rate) bool {
	return o.NoRates || o.Rate != nil && o.Rate.Of == r.Of
}

// lifts says whether the user's rate overrides a lower rate of an action, which the user has to ask for
// explicitly.
func (o *Options) lifts(r destination.Rate) bool {
	return o.NoRates || o.Override && o.Rate != nil && o.Rate.Of == r.Of && o.Rate.PerSecond() > r.PerSecond()
}

func newPacer(c *LaneConfig, limits []limit, saved []byte, now time.Time) *pacer {
	p := &pacer{limiter: c.Limiter, account: c.Account, plan: c.Sender.Plan()}
	if p.limiter == nil {
		p.limiter = alone{}
	}
	plan := p.plan
	for _, l := range limits {
		b := bucket{
			action: l.action,
			of:     l.rate.Of,
			per:    l.rate.Per,
			whole:  l.rate.N * (1 - c.Options.Reserve),
			at:     now,
		}
		b.key = b.of.String() + "/" + b.per.String()
		if l.action != wholeLane {
			b.key = plan.Actions[l.action].Slug + "/" + b.key
		}
		for i := range plan.Actions {
			b.several = b.several || b.counts(int32(i)) && plan.Actions[i].Requests > 1
		}
		b.share(1)
		b.tokens = b.size
		p.buckets = append(p.buckets, b)
	}
	p.load(saved, now)
	p.renew(now)
	return p
}

// renew asks for the share again when it is time.
func (p *pacer) renew(now time.Time) {
	share, until := p.limiter.Share(p.account)
	if p.none = share <= 0; p.none && until.IsZero() {
		until = now.Add(time.Second)
	}
	p.until = until
	for i := range p.buckets {
		p.buckets[i].fill(now)
		p.buckets[i].share(min(share, 1))
	}
}

// wait returns how long a request of an action has to wait. When it is 0, the request has been counted. A request
// larger than a bucket goes when the bucket is full, and leaves it in debt.
func (p *pacer) wait(now time.Time, action int32, events, bytes int) time.Duration {
	if !p.until.IsZero() && !now.Before(p.until) {
		p.renew(now)
	}
	d := p.paused.Sub(now)
	if p.none {
		return max(d, p.until.Sub(now), time.Millisecond)
	}
	for i := range p.buckets {
		if b := &p.buckets[i]; b.counts(action) {
			d = max(d, b.wait(now, b.cost(p.requests(action), events, bytes)))
		}
	}
	if d > 0 {
		p.held = now.Add(d)
		return d
	}
	for i := range p.buckets {
		if b := &p.buckets[i]; b.counts(action) {
			b.take(now, b.cost(p.requests(action), events, bytes))
		}
	}
	return 0
}

// requests is the largest number of requests that a batch of an action takes.
func (p *pacer) requests(action int32) int {
	if int(action) >= len(p.plan.Actions) {
		return 1
	}
	return max(p.plan.Actions[action].Requests, 1)
}

// pause stops the whole lane from sending.
func (p *pacer) pause(until time.Time) {
	if until.After(p.paused) {
		p.paused = until
		p.limiter.Paused(p.account, until)
	}
}

// want tells the limiter when the lane starts or stops having something to send.
func (p *pacer) want(wants bool) {
	if p.wants != wants {
		p.wants = wants
		p.limiter.Want(p.account, wants)
	}
}

// bucket keeps one limit of N in a rolling window. A partner counts whatever arrives in any span of the window's
// length, so a bucket as large as the window would let twice the limit through at the start. Bucket and refill
// together have to stay within the limit: the bucket is a twentieth of it, the refill nineteen twentieths.
//
// A request that is larger than the bucket (a batch of many events) could still exceed the limit by a part of one
// request. So what was sent in the last window is counted as well, in steps of a 64th of the window.
type bucket struct {
	action  int32
	of      destination.Unit
	per     time.Duration
	several bool    // one delivery may need more than one request
	key     string  // identifies the bucket when a run resumes
	whole   float64 // the limit of the whole account
	n       float64 // this process's share of it

	size   float64
	perSec float64
	tokens float64
	at     time.Time
	recent []spent // oldest first; only where a request can cost more than size
}

// spent is what was sent between two times.
type spent struct {
	from, to time.Time
	cost     float64
}

const (
	burst  = 1.0 / 20 // the part of a limit that may be sent at once
	margin = 1.0 / 20 // the window is taken this much longer, because requests do not all travel at the same speed
)

func (b *bucket) counts(action int32) bool { return b.action == wholeLane || b.action == action }

// cost is what a batch counts towards the limit. It panics for a unit that nobody counts: TestEveryUnitIsCounted.
func (b *bucket) cost(requests, events, bytes int) float64 {
	switch b.of {
	case destination.Requests:
		return float64(requests)
	case destination.Events:
		return float64(events)
	case destination.Bytes:
		return float64(bytes)
	}
	panic("engine: nobody counts " + b.of.String())
}

// share sets this process's part of the limit.
func (b *bucket) share(part float64) {
	b.n = b.whole * part
	b.size, b.perSec = max(b.n*burst, 1), b.n*(1-burst)/b.per.Seconds()
	b.tokens = min(b.tokens, b.size)
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.size, b.tokens+d.Seconds()*b.perSec)
	} else if d < 0 { // the clock went back
		for i := range b.recent {
			b.recent[i].from, b.recent[i].to = now, now
		}
	}
	b.at = now
}

// window is how long what was sent counts.
func (b *bucket) window() time.Duration { return b.per + time.Duration(float64(b.per)*margin) }

// wait returns how long it takes until this much may be sent.
func (b *bucket) wait(now time.Time, cost float64) time.Duration {
	b.fill(now)
	var d time.Duration
	if need := min(cost, b.size) - b.tokens; need > 1e-9 {
		d = time.Duration(math.Ceil(need / b.perSec * 1e9))
	}
	if cost <= b.size && len(b.recent) == 0 {
		return d
	}
	sum := cost
	for _, s := range b.recent {
		sum += s.cost
	}
	for _, s := range b.recent {
		if sum <= b.n+1e-9 {
			break
		}
		if left := s.to.Add(b.window()).Sub(now); left > 0 {
			d = max(d, left)
		}
		sum -= s.cost
	}
	return d
}

// take counts what is sent now.
func (b *bucket) take(now time.Time, cost float64) {
	b.tokens -= cost
	if b.of == destination.Requests && !b.several {
		return // never more than the size of the bucket
	}
	for len(b.recent) > 0 && !b.recent[0].to.Add(b.window()).After(now) {
		b.recent = b.recent[1:]
	}
	if n := len(b.recent); n > 0 && now.Sub(b.recent[n-1].from) < b.per/64 {
		b.recent[n-1].to = now
		b.recent[n-1].cost += cost
		return
	}
	b.recent = append(b.recent, spent{now, now, cost})
}

// spent returns what was sent in the window before now, in the form of rateState.
func (b *bucket) spent(now time.Time) (out [][2]float64) {
	var last time.Time
	for _, x := range b.recent {
		if !x.to.Add(b.window()).After(now) {
			continue
		}
		ago := float64(now.Sub(x.to)) / float64(time.Millisecond)
		if n := len(out); n > 0 && x.to.Sub(last) < b.window()/savedSteps {
			out[n-1] = [2]float64{ago, out[n-1][1] + x.cost}
			continue
		}
		last = x.to
		out = append(out, [2]float64{ago, x.cost})
	}
	return out
}

// paceState is what is kept of the pacer when a run resumes.
type paceState struct {
	At     time.Time            `json:"at"`
	Paused time.Time            `json:"paused,omitzero"`
	Rates  map[string]rateState `json:"rates,omitempty"`
}

// rateState is what is kept of a bucket: its content, and what was sent in the last window, as pairs of
// milliseconds before the state's time and cost. There are at most savedSteps pairs, because the state is written
// with every checkpoint.
type rateState struct {
	Tokens float64      `json:"tokens"`
	Spent  [][2]float64 `json:"spent,omitempty"`
}

const savedSteps = 8

// began counts the requests that were begun after the state was saved: a process that is killed has no time to save
// what it sent last.
func (p *pacer) began(list []journal.Begun, saved []byte, now time.Time) {
	var s paceState
	_ = json.Unmarshal(saved, &s)
	for _, x := range list {
		if !x.At.After(s.At) || x.At.After(now) {
			continue
		}
		action := slices.IndexFunc(p.plan.Actions, func(a destination.ActionPlan) bool { return a.Slug == x.Action })
		if action < 0 {
			continue
		}
		for i := range p.buckets {
			b := &p.buckets[i]
			if !b.counts(int32(action)) {
				continue
			}
			if b.at.After(x.At) { // nothing was saved, so it begins with the first request
				b.at = x.At
			}
			b.fill(x.At)
			b.take(x.At, b.cost(p.requests(int32(action)), x.Deliveries, x.Bytes))
		}
	}
}

func (p *pacer) load(saved []byte, now time.Time) {
	var s paceState
	if json.Unmarshal(saved, &s) != nil || s.At.IsZero() || s.At.After(now) {
		return // after a clock that went back, the buckets start as in a new run
	}
	p.paused = s.Paused
	for i := range p.buckets {
		b := &p.buckets[i]
		r, ok := s.Rates[b.key]
		if !ok {
			continue
		}
		b.tokens, b.at = min(r.Tokens, b.size), s.At
		for _, x := range r.Spent {
			at := s.At.Add(-time.Duration(x[0] * float64(time.Millisecond)))
			b.recent = append(b.recent, spent{at, at, x[1]})
		}
	}
}

func (p *pacer) save(now time.Time) []byte {
	s := paceState{At: now, Paused: p.paused}
	for i := range p.buckets {
		b := &p.buckets[i]
		b.fill(now)
		r := rateState{Tokens: b.tokens, Spent: b.spent(now)}
		if s.Rates == nil {
			s.Rates = map[string]rateState{}
		}
		s.Rates[b.key] = r
	}
	if len(s.Rates) == 0 && !s.Paused.After(now) {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // numbers and times cannot fail
	}
	return data
}
