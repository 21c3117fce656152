package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
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

// TestTooMuchOfOne: the time for which an event waits because it is itself too much, while the partner takes others,
// does not count towards its max time.
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

// TestWhenFirstSent: what is given up, or taken late, says when it was sent first, and for how long it was tried: also
// where its batch was divided since, and whatever its max time does not count.
func TestWhenFirstSent(t *testing.T) {
	const delay = time.Second
	bad := destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400}
	down := destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503}
	minute := destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: 429,
		RetryAfter: time.Minute}
	fails := func(n int, ids []int) destination.Result {
		switch {
		case n < 4:
			return down
		case len(ids) > 1 || ids[0]%2 == 1:
			return bad
		}
		return destination.Result{Outcome: destination.Delivered}
	}
	byTurns := func(n int, _ []int) destination.Result { return []destination.Result{minute, down}[n%2] }
	for name, c := range map[string]struct {
		batch, users  int
		order         bool
		answer        func(request int, ids []int) destination.Result
		letters, late int
	}{
		"divided":                     {8, 8, false, fails, 4, 4},
		"divided, one user":           {8, 1, false, fails, 4, 4},
		"divided, in order":           {8, 8, true, fails, 4, 4},
		"divided, one user, in order": {8, 1, true, fails, 4, 4},
		"failed and too much":         {1, 1, false, byTurns, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				p := newPartner(c.batch)
				p.plan.Order, p.delay = c.order, delay
				p.answer = func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
					return destination.Same(c.answer(p.requests, ids), len(ids)), nil
				}
				l := lane("a", p)
				l.Options.Concurrency, l.Course = 1, &engine.Course{}
				letters := 0
				l.Letter = func(d *journal.DeadLetter) {
					letters++
					if d.First.Sub(begin) > time.Millisecond {
						t.Errorf("letter %d was first sent after %s, %d attempts", d.Ordinal, d.First.Sub(begin), d.Attempts)
					}
					took := " in " + d.Last.Sub(d.First).Round(time.Millisecond).String()
					if d.Reason == "exhausted" && !strings.Contains(d.Detail, took) {
						t.Errorf("the letter of what was given up%s says: %s", took, d.Detail)
					}
				}
				user := func(i int) string { return fmt.Sprint("u", i%c.users) }
				setup{path: input(t, c.batch, user), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}.mustRun(t)
				late := 0
				for _, x := range l.Course.Late {
					late += int(x.Deliveries)
					if x.First.Sub(begin) > time.Millisecond || x.Attempts < 5 {
						t.Errorf("what was taken late was first sent after %s, in %d attempts", x.First.Sub(begin), x.Attempts)
					}
				}
				if letters != c.letters || late != c.late {
					t.Errorf("%d letters and %d late, want %d and %d", letters, late, c.letters, c.late)
				}
			})
		})
	}
}
