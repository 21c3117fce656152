package engine_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
)

// TestRoutedWhenPrepared: blocks are routed for all lanes as they are prepared, each event once
// for each lane. A lane that lags and one whose code panics keep nobody waiting, and miss
// nothing: they route for themselves. It is the same for lanes that have mappings in common.
func TestRoutedWhenPrepared(t *testing.T) {
	apart := func(*engine.Engine) {}
	t.Run("ahead", func(t *testing.T) { routedOnce(t, 0, apart) })
	t.Run("together", func(t *testing.T) { routedOnce(t, 0, (*engine.Engine).MapTogether) })
	t.Run("when there is little memory", func(t *testing.T) { routedOnce(t, 4<<20, apart) })
}

func routedOnce(t *testing.T, memory int64, made func(*engine.Engine)) {
	const n = 6000
	path := input(t, n, func(int) string { return strings.Repeat("u", 450) }) // several blocks of few events
	synctest.Test(t, func(t *testing.T) {
		var lanes []engine.LaneConfig
		partners := map[string]*partner{}
		calls := map[string]*atomic.Int64{}
		for _, name := range []string{"well", "too", "slow", "panics"} {
			p, routed := newPartner(500), new(atomic.Int64)
			p.route = func(ev *event.Event, i int, out *destination.Deliveries) {
				routed.Add(1)
				if name == "panics" && i%100 == 99 {
					panic("no such thing")
				}
				out.Add(destination.Delivery{Item: ev.Raw(), InsertID: strconv.Itoa(i)})
			}
			if name == "slow" {
				p.delay = time.Hour
			}
			partners[name], calls[name] = p, routed
			lanes = append(lanes, lane(name, p))
			lanes[len(lanes)-1].Options.Timeout = 2 * time.Hour
			lanes[len(lanes)-1].Options.Concurrency = 1
		}
		s := setup{path: path, dir: t.TempDir(), lanes: lanes, made: made,
			change: func(c *engine.Config) { c.Memory = memory }}
		sum := s.mustRun(t)
		for i, name := range []string{"well", "too", "slow", "panics"} {
			d, bad := sum.Destinations[i], 0
			if name == "panics" {
				bad = n / 100
			}
			if once(t, partners[name], n-bad); d.Delivered != uint64(n-bad) || d.Rejected["panic"] != uint64(bad) {
				t.Errorf("%s: %+v", name, d)
			}
			if quick := d.Seconds < 60; quick == (name == "slow") {
				t.Errorf("%s took %.0f s", name, d.Seconds)
			}
			if routed := calls[name].Load(); routed < n || routed > n && bad == 0 && name != "slow" {
				t.Errorf("%s routed %d events, some of %d more than once", name, routed, n)
			}
		}
	})
}
