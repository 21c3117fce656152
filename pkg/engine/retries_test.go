package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
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
		"attempts":         {declared: destination.Retries{Attempts: 3, Docs: docs}, answer: down, requests: [2]int{3, 3}, rejected: 1},
		"fewer of the user": {declared: destination.Retries{Attempts: 3, Docs: docs}, user: engine.VerdictOptions{Attempts: 2},
			answer: down, requests: [2]int{2, 2}, rejected: 1},
		"more of the user": {declared: destination.Retries{Attempts: 3, Docs: docs}, user: engine.VerdictOptions{Attempts: 5},
			answer: down, requests: [2]int{5, 5}, rejected: 1},
		"time": {declared: destination.Retries{Attempts: 1000, MaxTime: time.Minute, Longest: time.Second, Docs: docs},
			answer: down, requests: [2]int{10, 100}, rejected: 1},
		"intervals": {declared: destination.Retries{First: 2 * time.Second, Longest: 5 * time.Second, Docs: docs},
			answer: down, requests: [2]int{8, 8}, gaps: seconds(2, 4, 5, 5, 5, 5, 5), rejected: 1},
		"too many, at the partner's intervals": {
			declared: destination.Retries{Attempts: 3, MaxTime: time.Minute, First: 2 * time.Second, Longest: time.Minute, Docs: docs},
			answer:   tooMany, before: 5 * time.Minute, requests: [2]int{8, 10}, gaps: seconds(2, 4, 8, 16, 32, 60)},
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

// TestDeclaredRetriesAndOutage: a partner that is down for three hours does not cost followed input what its own policy
// would give up; an event at which alone it fails does. Its first attempt may have been the beginning of such a time, so
// that does not count.
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
