package engine_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
)

// TestMaxErrors: a lane of which so many events in a row are rejected with the same
// answer stops, exact to the event, whichever way they are rejected; the rest is pending,
// and arrives when somebody has mended the cause.
func TestMaxErrors(t *testing.T) {
	const n = 5000
	refuse := destination.Result{
		Outcome: destination.Rejected,
		Reason:  destination.Refused,
		Status:  302,
		Detail:  "moved",
	}
	fail := destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 500, Detail: "down"}
	each := func(r func(id int) destination.Result) func(*partner, time.Time, []int) ([]destination.Result, error) {
		return func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			rs := ok(len(ids))
			for i, id := range ids {
				rs[i] = r(id)
			}
			return rs, nil
		}
	}
	for name, c := range map[string]struct {
		batch     int
		order     bool
		maxErrors int
		answer    func(*partner, time.Time, []int) ([]destination.Result, error)
		rejected  uint64
	}{
		"refused whole":      {500, false, 0, each(func(int) destination.Result { return refuse }), 1000},
		"refused one by one": {1, false, 0, each(func(int) destination.Result { return refuse }), 1000},
		"with order":         {500, true, 777, each(func(int) destination.Result { return refuse }), 777},
		"in their own words": {300, false, 50,
			each(func(id int) destination.Result { r := refuse; r.Detail = fmt.Sprint("no ", id); return r }), 50},
		"given up":   {100, false, 30, each(func(int) destination.Result { return fail }), 30},
		"one":        {100, false, 1, each(func(int) destination.Result { return refuse }), 1},
		"any number": {100, false, -1, each(func(int) destination.Result { return refuse }), n},
		"some are accepted": {100, false, 50,
			each(func(id int) destination.Result { return pick(id%50 == 0, ok(1)[0], refuse) }), n - n/50},
		"for various reasons": {100, false, 50,
			each(func(id int) destination.Result { r := refuse; r.Status = 400 + id%2; return r }), n},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, well := newPartner(c.batch), newPartner(100)
				p.answer, p.plan.Order = c.answer, c.order
				p.delay = time.Millisecond
				s := setup{
					path:  input(t, n, func(i int) string { return fmt.Sprint(i % 7) }),
					dir:   t.TempDir(),
					lanes: []engine.LaneConfig{lane("a", p), lane("well", well)},
				}
				s.lanes[0].Options.MaxErrors, s.lanes[0].Options.Attempts = c.maxErrors, 3
				sum := s.mustRun(t)
				d := sum.Destinations[0]
				got := d.Rejected["refused"] + d.Rejected["exhausted"]
				if got != c.rejected || d.Delivered+got+d.Pending != n || d.Letters != got {
					t.Errorf("%d are rejected, want %d: %+v", got, c.rejected, d)
				}
				once(t, well, n)
				if c.rejected >= n-n/50 {
					return
				}
				if !strings.Contains(d.Stopped, fmt.Sprint(c.rejected, " events in a row")) ||
					sum.Status != "incomplete" {
					t.Errorf("stopped: %q", d.Stopped)
				}
				p.answer = nil
				if d := s.mustRun(t).Destinations[0]; d.Delivered != n-c.rejected || d.Pending != 0 {
					t.Errorf("after the resume %+v", d)
				}
				once(t, p, int(n-c.rejected))
			})
		})
	}
}

func pick(yes bool, a, b destination.Result) destination.Result {
	if yes {
		return a
	}
	return b
}

// TestPoisonInABatch: one event at which the partner fails, or that is in conflict with
// something, costs itself and nothing else; a partner that fails everything is not asked
// about each event.
func TestPoisonInABatch(t *testing.T) {
	conflict := destination.Result{
		Outcome: destination.Retry,
		Reason:  destination.Conflict,
		Status:  http.StatusConflict,
		Detail:  "exists",
	}
	fail := destination.Result{
		Outcome: destination.Retry,
		Reason:  destination.Unavailable,
		Status:  500,
		Detail:  "internal error",
	}
	type answer = func(*partner, time.Time, []int) ([]destination.Result, error)
	whole := func(r destination.Result, bad func(ids []int) bool) answer {
		return func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			if bad(ids) {
				return destination.Same(r, len(ids)), nil
			}
			return ok(len(ids)), nil
		}
	}
	has := func(bad ...int) func(ids []int) bool {
		return func(ids []int) bool {
			for _, id := range ids {
				for _, b := range bad {
					if id == b {
						return true
					}
				}
			}
			return false
		}
	}
	both := func(ids []int) bool { return has(7)(ids) && has(475)(ids) } // of the same person
	const all = 1 << 30
	for name, c := range map[string]struct {
		answer   func(*partner, time.Time, []int) ([]destination.Result, error)
		lost     uint64
		requests int // at most
	}{
		"fails at one":          {whole(fail, has(1080)), 1, 60},
		"fails at some":         {whole(fail, has(17, 450, 1080)), 3, 150},
		"fails at all":          {whole(fail, func([]int) bool { return true }), all, 100},
		"conflict with one":     {whole(conflict, has(123)), 1, 60},
		"conflict of two":       {whole(conflict, both), 0, 30},
		"conflict of all":       {whole(conflict, func([]int) bool { return true }), all, 3000},
		"conflict with several": {whole(conflict, has(1, 150, 300, 1499)), 4, 200},
	} {
		for _, order := range []bool{false, true} {
			n, requests := 1500, c.requests
			switch {
			case c.lost == all && order:
				n, requests = 300, math.MaxInt // an event each: who has been asked before goes alone
			case c.lost == all:
				n = 6000 // more than the partner may be asked
			}
			lost := min(c.lost, uint64(n))
			t.Run(fmt.Sprint(name, " order ", order), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPartner(n / 3)
					p.answer, p.plan.Order, p.delay = c.answer, order, time.Millisecond
					s := setup{
						path:  input(t, n, func(i int) string { return fmt.Sprint(i % (n/3 - 1)) }),
						dir:   t.TempDir(),
						lanes: []engine.LaneConfig{lane("a", p)},
					}
					s.lanes[0].Options.MaxErrors = -1
					d := s.mustRun(t).Destinations[0]
					if d.Rejected["exhausted"] != lost || d.Delivered != uint64(n)-lost || d.Pending != 0 {
						t.Errorf("lost %d, want %d: %+v", d.Rejected["exhausted"], lost, d)
					}
					if p.requests > requests {
						t.Errorf("%d requests", p.requests)
					}
					once(t, p, n-int(lost))
				})
			})
		}
	}
}

// TestPoisonInEveryBatch: batches that all fail at the same time, since each holds an event
// at which the partner fails, lose these events and no other, however few attempts there
// are, and although the partner takes nothing until parts are sent.
func TestPoisonInEveryBatch(t *testing.T) {
	const n, batch = 500, 100
	for _, attempts := range []int{1, 2, 3, 8} {
		for _, parallel := range []int{1, 5} {
			for name, each := range map[string]int{"one": 1, "two, one in each half": 2} {
				t.Run(fmt.Sprint(name, " attempts ", attempts, " in flight ", parallel), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPartner(batch)
						p.plan.Limits.Concurrency.N, p.delay = parallel, time.Millisecond
						p.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
							for _, id := range ids {
								if id%(batch/each) == 37 {
									return destination.Same(destination.Result{
										Outcome: destination.Retry, Reason: destination.Unavailable, Status: 500, Detail: "internal error",
									}, len(ids)), nil
								}
							}
							return ok(len(ids)), nil
						}
						s := setup{path: input(t, n, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}
						s.lanes[0].Options.Attempts = attempts
						d := s.mustRun(t).Destinations[0]
						lost := uint64(n / batch * each)
						if d.Rejected["exhausted"] != lost || d.Delivered != n-lost || d.Pending != 0 {
							t.Errorf("lost %d, want %d: %+v", d.Rejected["exhausted"], lost, d)
						}
						once(t, p, int(n-lost))
					})
				})
			}
		}
	}
}
