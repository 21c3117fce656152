package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
)

// TestForecast: how long a lane takes at the limits that it keeps is what the forecast
// said, within 15 %, in simulated time.
func TestForecast(t *testing.T) {
	for name, c := range map[string]struct {
		rates   []destination.Rate
		batch   int
		options engine.PaceOptions
		binds   string
	}{
		"events": {[]destination.Rate{{N: 100, Per: time.Second, Of: destination.Events}}, 10, engine.PaceOptions{},
			"events"},
		"requests": {[]destination.Rate{{N: 5, Per: time.Second, Of: destination.Requests}}, 10, engine.PaceOptions{},
			"requests"},
		"bytes": {[]destination.Rate{{N: 2000, Per: time.Second, Of: destination.Bytes}}, 10, engine.PaceOptions{},
			"bytes"},
		"a minute": {[]destination.Rate{{N: 60, Per: time.Minute, Of: destination.Requests}}, 10, engine.PaceOptions{},
			"requests"},
		"reserve": {[]destination.Rate{{N: 100, Per: time.Second, Of: destination.Events}}, 10,
			engine.PaceOptions{Reserve: 0.5}, "events"},
		"the user's rate": {[]destination.Rate{{N: 100, Per: time.Second, Of: destination.Events}}, 10,
			engine.PaceOptions{Rate: &destination.Rate{N: 20, Per: time.Second, Of: destination.Events}}, "events"},
		"two": {[]destination.Rate{{N: 1000, Per: time.Second, Of: destination.Events},
			{N: 3, Per: time.Second, Of: destination.Requests}}, 10, engine.PaceOptions{}, "requests"},
		"none": {nil, 10, engine.PaceOptions{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const events = 1500
				p := newPartner(c.batch)
				p.plan.Limits.Rates = c.rates
				s := setup{path: input(t, events, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}
				s.lanes[0].Options.Rate, s.lanes[0].Options.Reserve = c.options.Rate, c.options.Reserve
				start := time.Now()
				sum := s.mustRun(t)
				took := time.Since(start)
				once(t, p, events)

				f := engine.NewForecast(p, engine.Options{PaceOptions: c.options})
				d := sum.Destinations[0]
				for range d.Requests {
					f.Request(0, c.batch, int(d.Bytes/d.Requests))
				}
				if span := f.Span(); took > span*115/100+100*time.Millisecond || took < span*85/100 {
					t.Errorf("it took %s, and %s was forecast", took, span)
				}
				if k, ok := f.Binding(); k.What != c.binds || ok != (c.binds != "") {
					t.Errorf("%q is said to bind, not %q", k.What, c.binds)
				}
			})
		})
	}
}
