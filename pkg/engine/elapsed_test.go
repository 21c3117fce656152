package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
)

// TestMaxTimeEnds: however a partner that takes nothing mixes its failures with words of too much, the user's max_time
// ends it: what fails for that long is given up, and the lane stops where that much was waited because of too much.
func TestMaxTimeEnds(t *testing.T) {
	const most = 10 * time.Minute
	down := destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503}
	tooMany := destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: 429}
	minute := tooMany
	minute.RetryAfter = time.Minute
	for name, c := range map[string]struct {
		answer  func(request int) destination.Result
		stopped bool
		within  time.Duration
	}{
		"fails, and says too much now and then": {within: most + most/2, answer: func(n int) destination.Result {
			if n%8 == 7 {
				return tooMany
			}
			return down
		}},
		"says both by turns": {within: 3 * most, answer: func(n int) destination.Result {
			return []destination.Result{tooMany, down}[n%2]
		}},
		"says wait a minute, mostly": {within: 2 * most, stopped: true, answer: func(n int) destination.Result {
			if n%8 == 1 {
				return down
			}
			return minute
		}},
		"says nothing but too much": {within: most + 2*time.Minute, stopped: true,
			answer: func(int) destination.Result { return tooMany }},
	} {
		for _, events := range []int{1, 20} {
			t.Run(fmt.Sprint(name, ", ", events), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					begin, last := time.Now(), time.Now()
					p := newPartner(1)
					p.delay = time.Second
					p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
						if last = now; now.Sub(begin) > 48*time.Hour {
							return ok(len(ids)), nil
						}
						return destination.Same(c.answer(p.requests), len(ids)), nil
					}
					l := lane("a", p)
					l.Options.Attempts, l.Options.MaxTime, l.Options.Concurrency = 1_000_000, most, 1
					d := setup{path: input(t, events, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}.mustRun(t).Destinations[0]
					took := last.Sub(begin)
					if took < most || took > c.within || events == 1 && (d.Stopped != "") != c.stopped || d.Delivered > 0 {
						t.Errorf("it ended after %s, want %s to %s: %+v", took, most, c.within, d)
					}
				})
			})
		}
	}
}

// TestTooMuchOfOne: the time for which an event waits because it is itself too much, while the partner takes others, does not
// count towards its max time.
func TestTooMuchOfOne(t *testing.T) {
	const n = 400
	down := destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503}
	tooMany := destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: 429}
	synctest.Test(t, func(t *testing.T) {
		begin, fails := time.Now(), 0
		p := newPartner(1)
		p.plan.Limits.Retries = destination.Retries{MaxTime: 4 * time.Minute, Docs: "https://partner.example"}
		p.delay = time.Second
		p.answer = func(_ *partner, now time.Time, ids []int) ([]destination.Result, error) {
			switch long := now.Sub(begin) > 6*time.Minute; {
			case ids[0] != 0 || fails == 2:
				return ok(1), nil
			case fails == 0 || long:
				fails++
				return destination.Same(down, 1), nil
			}
			return destination.Same(tooMany, 1), nil
		}
		l := lane("a", p)
		l.Options.Concurrency = 1
		d := setup{path: input(t, n, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}.mustRun(t).Destinations[0]
		if d.Delivered != n || fails != 2 {
			t.Errorf("after %d failures: %+v", fails, d)
		}
	})
}
