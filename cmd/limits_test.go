package cmd

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
)

// TestEveryLimitIsKept asks of each number that a destination of the catalogue declares
// who keeps it. Rates, concurrency and sizes of requests: the engine says so itself, of
// what its parts read. A size or an age of events: the catalogue's walker demands a case
// in which such an event does not go out. A new kind of limit fails here until somebody
// keeps it.
func TestEveryLimitIsKept(t *testing.T) {
	byRoute := map[string]bool{"EventBytes": true, "Window": true}
	told := map[string]bool{"Dedupe": true, "Gzip": true} // what a partner offers, no limit
	whats := map[string]string{"Concurrency": "concurrency", "BatchEvents": "batch events", "BatchBytes": "batch bytes"}
	for _, d := range testApp(nil).catalogue() {
		s, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: "all"})
		if err != nil {
			t.Errorf("%s: %v", d.Info.Slug, err)
			continue
		}
		plan := s.Plan()
		kept := engine.Keeps(plan, engine.Options{})
		ask := func(action, what string, n float64, per time.Duration, docs string) {
			if n > 0 && !slices.Contains(kept, engine.Kept{Action: action, What: what, N: n, Per: per, Docs: docs}) {
				t.Errorf("%s: %s: nobody keeps %v %s in %s (%s)", d.Info.Slug, action, n, what, per, docs)
			}
		}
		walk := func(action string, limits any) {
			v := reflect.ValueOf(limits)
			for i := range v.NumField() {
				name := v.Type().Field(i).Name
				switch x := v.Field(i).Interface().(type) {
				case []destination.Rate:
					for _, r := range x {
						ask(action, r.Of.String(), r.N, r.Per, r.Docs)
					}
				case destination.Cap:
					if what := whats[name]; what != "" {
						ask(action, what, float64(x.N), 0, x.Docs)
					} else if !byRoute[name] && !told[name] {
						t.Errorf("%s: who keeps %s?", d.Info.Slug, name)
					}
				default:
					if !byRoute[name] && !told[name] {
						t.Errorf("%s: who keeps %s?", d.Info.Slug, name)
					}
				}
			}
		}
		walk("", d.Limits.Lane())
		for i, a := range d.Actions {
			limits := a.Limits
			// One event a request is more than a partner demands of an action that cannot
			// send several.
			if limits.BatchEvents.N > plan.Actions[i].Limits.BatchEvents.N {
				limits.BatchEvents = plan.Actions[i].Limits.BatchEvents
			}
			walk(a.Slug, limits)
		}
	}
}
