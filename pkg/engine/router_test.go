package engine_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
)

// TestRouteThatHangs: an event from which a destination's code does not come back is
// rejected after the deadline, and the rest of its block is routed; a destination that
// hangs again and again is given up alone. Nobody else notices, whether they share the
// routing or not.
func TestRouteThatHangs(t *testing.T) {
	for name, content := range map[string]string{"alone": "", "shared": "same", "mapped together": ""} {
		t.Run(name, func(t *testing.T) {
			const n = 3000
			path := input(t, n, nil)
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				defer close(end) // the bubble waits for those that hang
				hangs := func(at ...int) func(*event.Event, int, *destination.Deliveries) {
					return func(ev *event.Event, i int, out *destination.Deliveries) {
						for _, bad := range at {
							if i == bad {
								<-end
							}
						}
						out.Add(destination.Delivery{Item: ev.Raw(), InsertID: strconv.Itoa(i)})
					}
				}
				once1, always, well := newPartner(50), newPartner(50), newPartner(50)
				once1.route, always.route = hangs(1234), hangs(100, 200, 300, 400)
				once1.plan.Content, always.plan.Content, well.plan.Content = content, content+"2", content+"3"
				twin := newPartner(50)
				twin.route, twin.plan.Content = hangs(1234), content
				s := setup{
					path: path,
					dir:  t.TempDir(),
					lanes: []engine.LaneConfig{
						lane("once", once1),
						lane("twin", twin),
						lane("always", always),
						lane("well", well),
					},
				}
				if name == "mapped together" {
					s.made = (*engine.Engine).MapTogether
				}
				for i := range s.lanes {
					s.lanes[i].Options.Timeout = 10 * time.Second
				}
				sum := s.mustRun(t)
				for _, d := range sum.Destinations[:2] {
					if d.Delivered != n-1 || d.Rejected["panic"] != 1 ||
						!strings.Contains(d.Examples["panic"], "did not come back") {
						t.Errorf("%s: %+v", d.Name, d)
					}
				}
				if d := sum.Destinations[2]; !strings.Contains(d.Stopped, "did not come back from 3 events") ||
					d.Pending == 0 {
					t.Errorf("%+v", d)
				}
				once(t, once1, n-1)
				once(t, well, n)
				if d := sum.Destinations[3]; d.Seconds > 5 {
					t.Errorf("the healthy destination took %.1f s", d.Seconds)
				}
			})
		})
	}
}
