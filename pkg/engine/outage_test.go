package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
)

// TestOutage: a lane that may wait for its partner gives up nothing while that accepts nothing,
// whether it says so or is not there, for three hours, but for longer than it may; one event at which
// a partner fails costs itself, as ever. A lane that may not wait gives up what it has tried.
func TestOutage(t *testing.T) {
	const n, batch = 600, 10
	fails := destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503, Detail: "down"}
	for _, c := range []struct {
		name      string
		may       time.Duration
		down      time.Duration // from the first request on
		poison    []int
		exhausted uint64
		some      bool // at least
	}{
		{name: "waits", may: 24 * time.Hour, down: 3 * time.Hour},
		{name: "waits, and one is poison", may: 24 * time.Hour, down: 3 * time.Hour, poison: []int{57}, exhausted: 1},
		{name: "one is poison", may: time.Hour, poison: []int{57}, exhausted: 1},
		{name: "for too long", may: time.Hour, down: 3 * time.Hour, exhausted: 10, some: true},
		{name: "does not wait", down: 3 * time.Hour, exhausted: 10, some: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				p := newPartner(batch)
				p.delay = 10 * time.Millisecond
				p.answer = func(_ *partner, now time.Time, ids []int) ([]destination.Result, error) {
					if now.Sub(begin) < c.down || slices.ContainsFunc(ids, func(id int) bool {
						return slices.Contains(c.poison, id)
					}) {
						return destination.Same(fails, len(ids)), nil
					}
					return ok(len(ids)), nil
				}
				l := lane("a", p)
				l.Options.Outage, l.Options.Concurrency = c.may, 2
				s := setup{path: input(t, n, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}
				d := s.mustRun(t).Destinations[0]
				got := d.Rejected["exhausted"]
				if got != c.exhausted && !(c.some && got > c.exhausted) || d.Delivered+got != n {
					t.Errorf("%d were given up, want %d: %+v", got, c.exhausted, d)
				}
			})
		})
	}
}
