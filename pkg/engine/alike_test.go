package engine_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
)

// TestAlike: lanes that make the same of every event share the work, and each
// has its own verdicts all the same.
func TestAlike(t *testing.T) {
	const n = 20000
	path := input(t, n, nil)
	synctest.Test(t, func(t *testing.T) {
		var calls, alone atomic.Int64
		make := func(content string, calls *atomic.Int64) *partner {
			p := newPartner(100)
			p.plan.Content = content
			p.route = func(ev *event.Event, i int, out *destination.Deliveries) {
				calls.Add(1)
				if i%10 == 3 {
					out.Add(destination.Delivery{Result: destination.Result{Outcome: destination.Skipped, Reason: destination.Unneeded}})
					return
				}
				out.Add(destination.Delivery{Item: ev.Raw(), InsertID: ev.MessageID().Text()})
			}
			return p
		}
		a, slow, refuses, other := make("same", &calls), make("same", &calls), make("same", &calls), make("other", &alone)
		slow.delay = 50 * time.Millisecond
		refuses.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			rs := ok(len(ids))
			for i, id := range ids {
				if id%7 == 0 {
					rs[i] = destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400}
				}
			}
			return rs, nil
		}
		s := setup{path: path, dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", a), lane("slow", slow), lane("refuses", refuses), lane("other", other)}}
		sum := s.mustRun(t)
		once(t, a, n-n/10)
		once(t, slow, n-n/10)
		once(t, other, n-n/10)
		for _, d := range sum.Destinations {
			if d.Skipped["unneeded"] != n/10 || d.Pending != 0 {
				t.Errorf("%s ended as %+v", d.Name, d)
			}
		}
		if d := sum.Destinations[2]; d.Delivered+d.Rejected["refused"] != n-n/10 || d.Rejected["refused"] == 0 {
			t.Errorf("refuses ended as %+v", d)
		}
		if calls.Load() >= 2*n || alone.Load() != n {
			t.Errorf("three that are alike routed %d times, one alone %d times", calls.Load(), alone.Load())
		}
	})
}
