package engine

import (
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// Forecast computes how long the requests of a lane take under its limits. It runs the lane's pacer with a
// simulated clock. It cannot know how fast the partner answers.
type Forecast struct {
	pacer  *pacer
	start  time.Time
	now    time.Time
	limits []limit
	waits  []time.Duration // for each of limits, how long that limit alone would have taken
	alone  []*pacer
	plan   *destination.Plan
}

// NewForecast returns the forecast of a lane that has sent nothing yet.
func NewForecast(s destination.Sender, o Options) *Forecast {
	f := &Forecast{start: time.Unix(0, 0), plan: s.Plan()}
	f.now = f.start
	f.limits = limitsOf(f.plan, o)
	c := &LaneConfig{Sender: s, Options: o}
	f.pacer = newPacer(c, f.limits, nil, f.start)
	for i := range f.limits {
		f.alone = append(f.alone, newPacer(c, f.limits[i:i+1], nil, f.start))
	}
	f.waits = make([]time.Duration, len(f.limits))
	return f
}

// Request adds a request of an action, after those before it.
func (f *Forecast) Request(action int32, events, bytes int) {
	f.now = send(f.pacer, f.now, action, events, bytes)
	for i, p := range f.alone {
		f.waits[i] = send(p, f.start.Add(f.waits[i]), action, events, bytes).Sub(f.start)
	}
}

// send returns when a request that is ready at a time goes out.
func send(p *pacer, at time.Time, action int32, events, bytes int) time.Time {
	for {
		d := p.wait(at, action, events, bytes)
		if d <= 0 {
			return at
		}
		at = at.Add(d)
	}
}

// Span is how long all requests take so far.
func (f *Forecast) Span() time.Duration { return f.now.Sub(f.start) }

// Binding is the limit that slows the requests down most; ok is false when none slows them down.
func (f *Forecast) Binding() (k Kept, ok bool) {
	most := -1
	for i, d := range f.waits {
		if d > 0 && (most < 0 || d > f.waits[most]) {
			most = i
		}
	}
	if most < 0 {
		return Kept{}, false
	}
	l := f.limits[most]
	k = Kept{What: l.rate.Of.String(), N: l.rate.N, Per: l.rate.Per, Docs: l.rate.Docs}
	if l.action != wholeLane {
		k.Action = f.plan.Actions[l.action].Slug
	}
	return k, true
}
