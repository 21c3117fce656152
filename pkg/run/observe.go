package run

import (
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/source"
)

// Observation is the state of a run at one time, for display.
type Observation struct {
	Summary    *engine.Summary
	Progress   []engine.Progress
	Courses    map[string]*engine.Course // by destination
	Limits     map[string][]engine.Kept  // that the lanes keep, by destination
	Spooled    bool                      // the input is a stream that is copied to disk
	SpoolBytes int64
}

// Observe returns the state of the run. It may be called at any time after [World.Open], concurrently.
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
