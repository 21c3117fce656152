package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
)

// TestDeclaredRetries: how often, for how long and at what intervals a partner is asked is what it declares. The user's
// own numbers go before. Where neither says anything the engine's hold.
func TestDeclaredRetries(t *testing.T) {
	const docs = "https://partner.example/retries"
	down := destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503}
	tooMany := destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: 429}
	seconds := func(list ...int) (all []time.Duration) {
		for _, n := range list {
			all = append(all, time.Duration(n)*time.Second)
		}
		return all
	}
	for name, c := range map[string]struct {
		declared destination.Retries
		user     engine.VerdictOptions
		answer   destination.Result
		before   time.Duration // when the partner is well again; 0: never
		requests [2]int        // least and most
		gaps     []time.Duration
		rejected uint64
	}{
		"nothing declared": {answer: down, requests: [2]int{8, 8}, rejected: 1},
		"attempts": {declared: destination.Retries{Attempts: 3, Docs: docs}, answer: down, requests: [2]int{3, 3},
			rejected: 1},
		"fewer of the user": {
			declared: destination.Retries{Attempts: 3, Docs: docs}, user: engine.VerdictOptions{Attempts: 2},
			answer: down, requests: [2]int{2, 2}, rejected: 1},
		"more of the user": {declared: destination.Retries{Attempts: 3, Docs: docs}, user: engine.VerdictOptions{Attempts: 5},
			answer: down, requests: [2]int{5, 5}, rejected: 1},
		"time": {declared: destination.Retries{Attempts: 1000, MaxTime: time.Minute, Longest: time.Second, Docs: docs},
			answer: down, requests: [2]int{10, 100}, rejected: 1},
		"intervals": {declared: destination.Retries{First: 2 * time.Second, Longest: 5 * time.Second, Docs: docs},
			answer: down, requests: [2]int{8, 8}, gaps: seconds(2, 4, 5, 5, 5, 5, 5), rejected: 1},
		"too many, at the partner's intervals": {
			declared: destination.Retries{Attempts: 3, MaxTime: time.Minute, First: 2 * time.Second, Longest: time.Minute,
				Docs: docs},
			answer: tooMany, before: 5 * time.Minute, requests: [2]int{8, 10}, gaps: seconds(2, 4, 8, 16, 32, 60)},
		"too many, for longer than declared": {declared: destination.Retries{Attempts: 3, MaxTime: time.Second, Docs: docs},
			answer: tooMany, before: time.Minute, requests: [2]int{8, 30}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPartner(1)
				p.plan.Limits.Retries = c.declared
				var times []time.Time
				begin := time.Now()
				p.answer = func(_ *partner, now time.Time, ids []int) ([]destination.Result, error) {
					times = append(times, now)
					if c.before > 0 && now.Sub(begin) > c.before {
						return ok(len(ids)), nil
					}
					return destination.Same(c.answer, len(ids)), nil
				}
				l := lane("a", p)
				l.Options.VerdictOptions = c.user
				d := setup{path: input(t, 1, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}.mustRun(t).Destinations[0]
				if p.requests < c.requests[0] || p.requests > c.requests[1] || d.Rejected["exhausted"] != c.rejected ||
					d.Delivered != 1-c.rejected {
					t.Errorf("%d requests, want %d to %d; %+v", p.requests, c.requests[0], c.requests[1], d)
				}
				for i, least := range c.gaps {
					if got := times[i+1].Sub(times[i]); got < least || got > least+least/2 {
						t.Errorf("attempt %d came %s after the one before, want %s to half as much more", i+2, got, least)
					}
				}
				if took := times[len(times)-1].Sub(begin); c.declared.MaxTime > 0 && c.rejected > 0 &&
					(took < c.declared.MaxTime || took > c.declared.MaxTime+20*time.Second) {
					t.Errorf("it was tried for %s", took)
				}
			})
		})
	}
}

// TestAskedForLater: a partner that asks for a longer wait than a delivery may be tried is sent it once more.
func TestAskedForLater(t *testing.T) {
	for _, fails := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			begin, last := time.Now(), time.Duration(0)
			p := newPartner(1)
			p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
				if last = now.Sub(begin); p.requests <= fails {
					return destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable,
						Status: 503, RetryAfter: time.Hour}, len(ids)), nil
				}
				return ok(len(ids)), nil
			}
			l := lane("a", p)
			l.Options.MaxTime = time.Minute
			d := setup{path: input(t, 1, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}.mustRun(t).Destinations[0]
			if taken := uint64(2 - fails); p.requests != 2 || last < time.Hour || d.Delivered != taken ||
				d.Rejected["exhausted"] != 1-taken {
				t.Errorf("%d failures: %d requests, the last after %s: %+v", fails, p.requests, last, d)
			}
		})
	}
}

// TestDeclaredRetriesAndOutage: a partner that is down for three hours does not cost followed input what its own
// policy would give up; an event at which alone it fails does. Its first attempt may have been the beginning of such
// a time, so that does not count.
func TestDeclaredRetriesAndOutage(t *testing.T) {
	const n = 50
	for _, alone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			p := newPartner(1)
			p.plan.Limits.Retries = destination.Retries{Attempts: 3, MaxTime: 2 * time.Minute, Docs: "https://partner.example"}
			p.answer = func(_ *partner, now time.Time, ids []int) ([]destination.Result, error) {
				if alone && slices.Contains(ids, 7) || !alone && now.Sub(begin) < 3*time.Hour {
					return destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable,
						Status: 503}, len(ids)), nil
				}
				return ok(len(ids)), nil
			}
			p.delay = time.Second
			l := lane("a", p)
			l.Options.Outage, l.Options.Concurrency = 24*time.Hour, 2
			d := setup{path: input(t, n, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}.mustRun(t).Destinations[0]
			want := uint64(0)
			if alone {
				want = 1
			}
			if d.Rejected["exhausted"] != want || d.Delivered != n-want || alone && p.tries[7] != 4 {
				t.Errorf("alone %v: event 7 was sent %d times; %+v", alone, p.tries[7], d)
			}
		})
	}
}

// TestTooManyIsNoFailure: what a partner does not take because there was too much is not given up for that, however
// long it says so, also when it has failed before. And the lane stops only where it has said nothing else for
// max_time: an answer that refuses an event shows that there was not too much.
func TestTooManyIsNoFailure(t *testing.T) {
	down := destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503}
	tooMany := destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: 429}
	hour := tooMany
	hour.RetryAfter = time.Hour
	bad := destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400}
	fine := destination.Result{Outcome: destination.Delivered}
	always := func(r destination.Result) func(int, time.Duration) destination.Result {
		return func(int, time.Duration) destination.Result { return r }
	}
	for name, c := range map[string]struct {
		answer    func(request int, since time.Duration) destination.Result
		events    int
		most      time.Duration // max_time of the user
		delivered uint64
		refused   uint64
		exhausted uint64
	}{
		"fails once, then too many for half an hour": {events: 1, delivered: 1,
			answer: func(n int, since time.Duration) destination.Result {
				return map[bool]destination.Result{n == 1: down, n > 1: tooMany, since > 30*time.Minute: fine}[true]
			}},
		"fails, is told to wait an hour, fails, is well": {events: 1, delivered: 1,
			answer: func(n int, _ time.Duration) destination.Result {
				return []destination.Result{down, hour, down, fine}[n-1]
			}},
		"fails every other time": {events: 1, exhausted: 1,
			answer: func(n int, _ time.Duration) destination.Result {
				return []destination.Result{down, tooMany}[n%2]
			}},
		"only refuses between two times of too many": {events: 200, most: time.Minute, refused: 200,
			answer: func(n int, _ time.Duration) destination.Result {
				if n == 1 || n == 150 {
					return tooMany
				}
				return bad
			}},
		"fails, waits an hour for another event, fails, is well": {events: 2, delivered: 2,
			answer: func(n int, _ time.Duration) destination.Result {
				return append([]destination.Result{down, hour, down}, fine, fine)[n-1]
			}},
		"fails": {events: 1, exhausted: 1, answer: always(down)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				p := newPartner(1)
				p.delay = time.Second
				p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
					return destination.Same(c.answer(p.requests, now.Sub(begin)), len(ids)), nil
				}
				l := lane("a", p)
				l.Course = &engine.Course{}
				l.Letter = func(d *journal.DeadLetter) {
					if d.Reason == "exhausted" && d.First.Sub(begin) > time.Millisecond {
						t.Errorf("the dead letter was first tried %s after the beginning", d.First.Sub(begin))
					}
				}
				l.Options.MaxTime, l.Options.MaxErrors, l.Options.Concurrency = c.most, -1, 1
				d := setup{path: input(t, c.events, nil), dir: t.TempDir(),
					lanes: []engine.LaneConfig{l}}.mustRun(t).Destinations[0]
				if d.Delivered != c.delivered || d.Rejected["refused"] != c.refused || d.Rejected["exhausted"] != c.exhausted ||
					d.Stopped != "" {
					t.Errorf("after %d requests: %+v", p.requests, d)
				}
				for _, late := range l.Course.Late {
					if late.First.Sub(begin) > time.Duration(late.From)*p.delay+time.Millisecond {
						t.Errorf("what was taken late was first tried %s after the beginning", late.First.Sub(begin))
					}
				}
			})
		})
	}
}

// TestRefusedAfterTooMany: a partner that has said a few times that there was too much, and then refuses what it
// gets, is sent as many requests at once as before.
func TestRefusedAfterTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartner(1)
		p.delay = time.Second
		p.answer = func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			r := destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400}
			if p.requests < 8 {
				r = destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: 429}
			}
			return destination.Same(r, len(ids)), nil
		}
		l := lane("a", p)
		l.Options.MaxErrors, l.Options.Concurrency = -1, 8
		d := setup{path: input(t, 300, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}.mustRun(t).Destinations[0]
		if d.Rejected["refused"] != 300 || d.Seconds > 120 {
			t.Errorf("300 refusals took %.0f s: %+v", d.Seconds, d)
		}
	})
}

// TestRetriesOfActions: what is to be sent again of one action does not wait for the rate of another.
func TestRetriesOfActions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 40
		p := newPartner(1)
		p.plan.Actions = append(p.plan.Actions, p.plan.Actions[0])
		p.plan.Actions[0].Slug = "slow"
		p.plan.Actions[0].Limits.Rates = []destination.Rate{{N: 1, Per: time.Minute, Of: destination.Requests}}
		p.route = func(ev *event.Event, i int, out *destination.Deliveries) {
			out.Add(destination.Delivery{Action: int32(i % 2), Item: ev.Raw(), InsertID: ev.MessageID().Text()})
		}
		begin, last := time.Now(), time.Duration(0)
		p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
			if i := ids[0]; i%2 == 0 && p.tries[i] < 5 || i%2 == 1 && p.tries[i] < 2 {
				return destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Conflict,
					Status: 409}, len(ids)), nil
			}
			if ids[0]%2 == 1 {
				last = now.Sub(begin)
			}
			return ok(len(ids)), nil
		}
		l := lane("a", p)
		l.Options.MaxTime, l.Options.Concurrency = 24*time.Hour, 2
		d := setup{path: input(t, n, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}.mustRun(t).Destinations[0]
		if d.Delivered != n || last > time.Minute {
			t.Errorf("what has no rate took %s: %+v", last, d)
		}
	})
}

// TestOneWaitsAlone: an event that the partner wants later, unlike others of the same request, waits alone. When it
// wants all of them later, or says that there was too much, the lane waits.
func TestOneWaitsAlone(t *testing.T) {
	const n = 100
	for name, c := range map[string]struct {
		reason  destination.Reason
		all     bool // it takes no event of the request
		waiting bool // for the others
	}{
		"locked": {reason: destination.Conflict}, "fails": {reason: destination.Unavailable},
		"too much":     {reason: destination.RateLimited, waiting: true},
		"all locked":   {reason: destination.Conflict, all: true, waiting: true},
		"all of it is": {reason: destination.Unavailable, all: true, waiting: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, one, others := time.Now(), time.Duration(0), time.Duration(0)
				p := newPartner(10)
				p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
					rs := ok(len(ids))
					for i, id := range ids {
						switch {
						case (id == 7 || c.all && slices.Contains(ids, 7)) && p.tries[id] == 1:
							rs[i] = destination.Result{Outcome: destination.Retry, Reason: c.reason, Status: 423, RetryAfter: time.Hour}
						case id == 7:
							one = now.Sub(begin)
						default:
							others = max(others, now.Sub(begin))
						}
					}
					return rs, nil
				}
				l := lane("a", p)
				l.Options.Concurrency = 1
				d := setup{path: input(t, n, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}.mustRun(t).Destinations[0]
				if d.Delivered != n || one < time.Hour || (others >= time.Hour) != c.waiting {
					t.Errorf("it was taken after %s, the others by %s: %+v", one, others, d)
				}
			})
		})
	}
}
