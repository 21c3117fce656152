package run

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
)

// Plan is what a run of a job would do, counted as a run counts: see [engine.Summary].
type Plan struct {
	Run     string // its id
	Earlier *Earlier
	Objects int
	Read    uint64
	Bad     map[string]Planned // bad records, by reason
	Dropped map[string]uint64
	Undated uint64 // events without a known time
	// First and Last are the range of the events' times; zero: no event has one.
	First, Last  time.Time
	Destinations []*PlannedLane
	Names        []*PlannedName // the names of events, most frequent first
	// Sample is the fraction of the events that was routed, if it was not all of them: the counts of destinations
	// are then extrapolated.
	Sample float64

	named map[string]*PlannedName
}

// Redact takes secrets out of what the plan quotes of events.
func (p *Plan) Redact(redact func(string) string) {
	quotes := []map[string]Planned{p.Bad}
	for _, l := range p.Destinations {
		quotes = append(quotes, l.Skipped, l.Rejected)
		for k, c := range l.Live {
			c.Example.redact(redact)
			l.Live[k] = c
		}
	}
	for _, by := range quotes {
		for k, c := range by {
			c.Example.redact(redact)
			by[k] = c
		}
	}
	for _, n := range p.Names {
		n.Name = redact(n.Name)
	}
}

// Earlier is an earlier run of the same command. What it has delivered is not sent again.
type Earlier struct {
	Run    string `json:"run"`
	Status string `json:"status,omitempty"` // as in the summary; "": it has no summary yet
	// Redrive is, for a redrive, the run whose redrive would send what was refused then.
	Redrive string `json:"-"`
	// Left is how many of the planned events that run has not settled, by destination; nil: it is not known, since the
	// plan is a sample, the configuration has changed, or that run has read what the plan has not, or may have: it has
	// followed its input and forgotten what of it is gone.
	Left map[string]uint64 `json:"left,omitempty"`
	// Differences are changes of the configuration since then: the user has to say whether to continue.
	Differences []Difference `json:"-"`
}

// Planned is a number of events that have something in common, with an example.
type Planned struct {
	N       uint64
	Example Example
}

// Example is one event of many.
type Example struct {
	Object string `json:"object,omitempty"`
	Line   int64  `json:"line,omitempty"`
	Event  string `json:"event,omitempty"` // its messageId, or position
	Name   string `json:"name,omitempty"`  // of a track call; otherwise its type
	Detail string `json:"detail,omitempty"`
}

func (e *Example) redact(redact func(string) string) {
	e.Object, e.Event, e.Name, e.Detail = redact(e.Object), redact(e.Event), redact(e.Name), redact(e.Detail)
}

// PlannedLane is what a destination would be sent.
type PlannedLane struct {
	Name, Type, Backfill string

	Filtered   uint64
	Events     uint64 // events that are sent and of which nothing is rejected
	Deliveries uint64
	Skipped    map[string]Planned
	Rejected   map[string]Planned
	// Live are deliveries of old events that would start something at the partner, by action. Asked says that the
	// user allows this; without that, the run stops before the first.
	Live     map[string]PlannedLive
	Asked    bool
	Requests uint64
	Bytes    uint64 // of bodies, before compression
	// Depends says that the number of requests depends on the partner's answers, and may be lower.
	Depends bool
	// Span is the time that the partner's limits require; Limit is the one that determines it.
	Span  time.Duration
	Limit *engine.Kept

	// Windows are the time windows that the partner accepts, if any events were outside.
	Windows []destination.Window

	forecast *engine.Forecast
	plan     *destination.Plan
	example  func(r *selection.Record) Example // without a detail
}

// PlannedLive is what an action would start for old events.
type PlannedLive struct {
	Planned
	Does, Docs string
}

// PlannedName is how many events have a name.
type PlannedName struct {
	Name   string
	N      uint64
	Routed uint64   // those of them that were routed: all, unless the plan is a sample
	To     []uint64 // those of which something is sent, by destination, in the order of the plan
}

// mostNames bounds the names that a plan counts, because names may come from data.
const mostNames = 10_000

// Plan reads the input of a job once, routes and packs it as a run would, and sends nothing. dir is a folder for
// what does not fit in memory; the caller removes it. sample, if less than 1, is the fraction of the events that
// is routed, for a quick look.
func (w *World) Plan(ctx context.Context, runs Folder, j *Job, dir string, sample float64) (*Plan, error) {
	p := &Plan{Bad: map[string]Planned{}, Dropped: map[string]uint64{}, named: map[string]*PlannedName{}, Sample: sample}
	if err := p.earlier(w, runs, j); err != nil {
		return nil, err
	}
	var open closers
	input, sel, err := w.dryOpen(ctx, j, dir, &open)
	if err == nil {
		g := &planning{plan: p}
		for _, d := range j.Destinations {
			g.lanes = append(g.lanes, p.lane(w, j, d, input))
		}
		err = g.read(ctx, input, sel)
	}
	if err = errors.Join(err, open.close()); err != nil {
		return nil, err
	}
	p.Objects = input.Manifest().Len()
	p.spans()
	p.left(runs, input.Manifest().Objects())
	for _, n := range p.named {
		p.Names = append(p.Names, n)
	}
	p.scale()
	return p, nil
}

// sampled says whether a record is in the sample. The choice looks random, but is the same every time.
func sampled(ordinal uint64, share float64) bool {
	x := (ordinal + 1) * 0x9e3779b97f4a7c15 // as in splitmix64, https://prng.di.unimi.it/splitmix64.c
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return share >= 1 || float64(x>>11)/(1<<53) < share
}

// scale extrapolates the counts of a sample to all events.
func (p *Plan) scale() {
	if p.Sample >= 1 || p.Sample <= 0 {
		return
	}
	up := func(n *uint64) { *n = uint64(math.Round(float64(*n) / p.Sample)) }
	all := func(by map[string]Planned) {
		for k, c := range by {
			up(&c.N)
			by[k] = c
		}
	}
	for _, l := range p.Destinations {
		for _, n := range []*uint64{&l.Filtered, &l.Events, &l.Deliveries, &l.Requests, &l.Bytes} {
			up(n)
		}
		all(l.Skipped)
		all(l.Rejected)
		for k, c := range l.Live {
			up(&c.N)
			l.Live[k] = c
		}
		l.Span = time.Duration(float64(l.Span) / p.Sample)
	}
	for _, n := range p.Names {
		for i := range n.To {
			up(&n.To[i])
		}
	}
}

// spans computes how long each destination takes.
func (p *Plan) spans() {
	for _, l := range p.Destinations {
		l.Span = l.forecast.Span()
		if k, ok := l.forecast.Binding(); ok {
			l.Limit = &k
		}
	}
}

// earlier finds an earlier run of the same command.
func (p *Plan) earlier(w *World, runs Folder, j *Job) error {
	at, err := runs.pick(w, j)
	if p.Run = filepath.Base(at.dir); err != nil || !at.resumed {
		return err
	}
	p.Earlier = &Earlier{Run: p.Run, Differences: at.differs}
	if s, err := ReadSummary(at.dir); err == nil {
		p.Earlier.Status = s.Status
		if s.Status == Complete && !j.done(s) {
			p.Earlier.Status = Incomplete
		}
	}
	return nil
}

// left finds what an earlier run of the command has left of what is planned, which is of these objects. Of one that was
// killed the counts are those of a second before.
func (p *Plan) left(runs Folder, objects []source.Object) {
	if p.Earlier == nil || p.Sample < 1 || len(p.Earlier.Differences) > 0 {
		return
	}
	dir := filepath.Join(string(runs), p.Earlier.Run)
	had, err := journal.ReadManifest(dir)
	if err != nil || !among(had, objects) {
		return
	}
	s, err := Standing(dir)
	if err != nil {
		return
	}
	p.Earlier.Left = map[string]uint64{}
	for _, l := range p.Destinations {
		n := l.Filtered + l.Events
		for _, by := range []map[string]Planned{l.Skipped, l.Rejected} {
			for _, c := range by {
				n += c.N
			}
		}
		for _, d := range slices.Concat(s.Destinations, s.Removed) {
			if d.Name == l.Name {
				n -= min(n, d.Filtered+engine.Total(d.Skipped)+d.Delivered+engine.Total(d.Rejected))
				break
			}
		}
		p.Earlier.Left[l.Name] = n
	}
}

// among says whether all that a run has read, by its manifest, is certainly a part of these objects: what was settled
// of another one is no part of what is planned.
func among(had, objects []source.Object) bool {
	known, named := map[string]bool{}, map[string]source.Object{}
	for _, o := range objects {
		known[o.Fingerprint], named[o.Name] = true, o
	}
	continued := map[int]bool{} // by entries of which that holds
	for i, o := range slices.Backward(had) {
		if o.Name == "" {
			return false // it was forgotten
		}
		if now, is := named[o.Name]; !known[o.Fingerprint] && !continued[i] && !(is && o.Grown(now)) {
			return false
		}
		continued[int(o.After)-1] = true
	}
	return true
}

// record counts one record of the input, and returns the name it is counted under; nil: none.
func (p *Plan) record(r *selection.Record) *PlannedName {
	p.Read++
	switch {
	case r.Bad != nil:
		b := p.Bad[string(r.Bad.Reason)]
		if b.N++; b.N == 1 {
			b.Example = Example{Object: r.Object, Line: r.Line, Detail: r.Bad.Detail}
		}
		p.Bad[string(r.Bad.Reason)] = b
		return nil
	case r.Event == nil:
		p.Dropped[r.Dropped]++
		return nil
	}
	if at, ok := r.Event.Timestamp(); !ok {
		p.Undated++
	} else {
		if p.First.IsZero() || at.Before(p.First) {
			p.First = at
		}
		if at.After(p.Last) {
			p.Last = at
		}
	}
	var n *PlannedName
	if text, plain := r.Event.Name().Plain(); plain && len(text) > 0 {
		n = p.named[string(text)]
	}
	if n == nil {
		name := nameIn(r.Event)
		if n = p.named[name]; n == nil && len(p.named) < mostNames {
			n = &PlannedName{Name: name, To: make([]uint64, len(p.Destinations))}
			p.named[name] = n
		}
	}
	if n != nil {
		n.N++
	}
	return n
}

// lane makes the lane that plans what a destination is sent.
func (p *Plan) lane(w *World, j *Job, d *config.Opened, src source.Source) *dryLane {
	o := j.OptionsOf(d)
	l := &PlannedLane{Name: d.Name, Type: d.Slug, Backfill: d.Spec.Info.Backfill, Depends: d.Spec.Rung() == 5,
		Skipped: map[string]Planned{}, Rejected: map[string]Planned{}, Live: map[string]PlannedLive{},
		Asked: o.TriggerLive, forecast: engine.NewForecast(d.Sender, o), example: exampleOf}
	p.Destinations = append(p.Destinations, l)
	dry := w.dryLane(j, d, src)
	dry.settled = func(*selection.Record, string, *destination.Delivery) error { return nil }
	dry.routed = l.event
	l.windows(d)
	l.plan = dry.plan
	dry.packed = func(b *engine.Packed[*parcel]) error {
		l.Requests++
		l.Bytes += uint64(b.Bytes)
		l.forecast.Request(int32(b.Group.Action), len(b.Values), b.Bytes)
		return nil
	}
	return dry
}

// windows notes the time windows of the partner.
func (l *PlannedLane) windows(d *config.Opened) {
	for _, a := range d.Spec.Actions {
		if w := a.Limits.Window; (w.Past > 0 || w.Future > 0) && !slices.Contains(l.Windows, w) {
			l.Windows = append(l.Windows, w)
		}
	}
}

// event counts an event under the worst outcome of its deliveries, as a run does.
func (l *PlannedLane) event(r *selection.Record, list []destination.Delivery, filtered bool) {
	if filtered {
		l.Filtered++
		return
	}
	var worst *destination.Result
	sent := false
	for i := range list {
		switch v := list[i].Settled; {
		case v == nil:
			sent = true
			l.Deliveries++
			if list[i].Live {
				l.lives(r, &list[i])
			}
		case worst == nil, v.Outcome == destination.Rejected && worst.Outcome != destination.Rejected:
			worst = v
		}
	}
	switch {
	case worst != nil && worst.Outcome == destination.Rejected:
		l.count(l.Rejected, r, worst)
	case sent || worst == nil:
		l.Events++
	default:
		l.count(l.Skipped, r, worst)
	}
}

// lives counts a delivery that would start something at the partner.
func (l *PlannedLane) lives(r *selection.Record, d *destination.Delivery) {
	a := &l.plan.Actions[d.Action]
	c := l.Live[a.Slug]
	if c.N++; c.N == 1 {
		c.Does, c.Docs = a.Live.Does, a.Live.Docs
		c.Example = l.example(r)
		c.Example.Detail = destination.Unasked(a, r.Event, r.End.String())
	}
	l.Live[a.Slug] = c
}

// exampleOf is an event as an example.
func exampleOf(r *selection.Record) Example {
	return Example{Object: r.Object, Line: r.Line, Event: eventName(r, r.End.String()), Name: nameIn(r.Event)}
}

// exampleOfLetter is the event of a dead letter as an example, with the place where the run read it.
func exampleOfLetter(r *selection.Record) Example {
	letter := letterOf(innermost(r.Event.Root()))
	e := Example{Object: letter.Object, Line: letter.Line}
	if ev, err := event.Parse(textOf(innermost(r.Event.Root()))); err == nil {
		e.Event, e.Name = ev.MessageID().Text(), nameIn(ev)
	}
	return e
}

func (l *PlannedLane) count(by map[string]Planned, r *selection.Record, v *destination.Result) {
	c := by[string(v.Reason)]
	if c.N++; c.N == 1 {
		c.Example = l.example(r)
		c.Example.Detail = v.Detail
	}
	by[string(v.Reason)] = c
}
