package run

import (
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/source"
)

// Observation is a run at one instant, for who watches it.
type Observation struct {
	Summary    *engine.Summary
	Progress   []engine.Progress
	Courses    map[string]*engine.Course // by destination
	Limits     map[string][]engine.Kept  // that are kept, by destination
	Spooled    bool                      // the input is a stream, of which there is a copy
	SpoolBytes int64
}

// Observe looks at the run. It may be called at any time after [World.Open], by many goroutines.
func (r *Run) Observe() Observation {
	o := Observation{Summary: r.engine.Summary(), Progress: r.Progress(), Courses: r.engine.Courses(),
		Limits: map[string][]engine.Kept{}}
	for i := range r.lanes {
		l := &r.lanes[i]
		o.Limits[l.Name] = engine.Keeps(l.Sender.Plan(), l.Options)
	}
	if s, ok := r.source.(*source.Spool); ok {
		o.Spooled, o.SpoolBytes = true, s.OnDisk()
	}
	return o
}
