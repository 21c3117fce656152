package run

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transport"
)

// Shown is one entry of a preview: a request, an item for a local destination (file, S3, standard output), a
// delivery that is not sent, or a bad record.
type Shown struct {
	Destination string
	Action      string
	// Events are the messageIds of the events, or the positions of events without one.
	Events  []string
	Request *transport.Captured // nil: there is no request
	Item    []byte              // of a local destination
	Settled *destination.Result // why the delivery of Events[0] is not sent
	Bad     *source.RecordError // why a record is not sent
	// Live is what one of the old events would start at the partner; "": nothing. Unless it is Asked for, a run
	// stops before it.
	Live  string
	Asked bool
}

// Preview calls show with every request that a run of the job would make, and with everything that it would not
// send. It sends nothing. The requests of a destination come in the order in which their batches are closed. dir
// is a folder for what does not fit in memory; the caller removes it. Preview ends with the first error of show.
// The result tells what was read, and what of it was not shown.
func (w *World) Preview(ctx context.Context, j *Job, dir string, show func(Shown) error) (*Previewed, error) {
	out := &Previewed{Dropped: map[string]uint64{}, Filtered: make([]uint64, len(j.Destinations))}
	err := w.dryRun(ctx, j, dir, func(src source.Source) (ps []*dryLane) {
		out.Input, _ = src.(Described)
		for i, d := range j.Destinations {
			p := w.dryLane(j, d, src)
			w.shows(ctx, p, show)
			p.routed = func(_ *selection.Record, _ []destination.Delivery, filtered bool) {
				if filtered {
					out.Filtered[i]++
				}
			}
			ps = append(ps, p)
		}
		return ps
	}, func(r *selection.Record) error {
		out.Read++
		switch {
		case r.Dropped != "":
			out.Dropped[r.Dropped]++
		case r.Bad != nil:
			out.Bad++
			return show(Shown{Bad: r.Bad})
		}
		return nil
	})
	return out, err
}

// Previewed is what a preview has read, and what of it was not shown: dropped events, and those that the filter of a
// destination keeps from it, in the order of the job's destinations.
type Previewed struct {
	Input     Described // nil: the input is a stream
	Read, Bad uint64
	Dropped   map[string]uint64 // by reason
	Filtered  []uint64
}

// PreviewEvent is Preview for one event at one destination, without the destination's filter. fallback is used if
// the event has no messageId.
func (w *World) PreviewEvent(
	ctx context.Context, d *config.Opened, it selection.Item, fallback string, show func(Shown) error,
) error {
	p := w.dryLane(&Job{Destinations: []*config.Opened{d}}, d, nil)
	w.shows(ctx, p, show)
	if err := p.pass(&selection.Record{Item: it}, fallback, fallback); err != nil {
		return err
	}
	return p.flush()
}

// dryRun reads the input of a job, calls see with every record, and passes the events to lanes that send nothing.
func (w *World) dryRun(
	ctx context.Context, j *Job, dir string, lanes func(source.Source) []*dryLane, see func(*selection.Record) error,
) error {
	var ps []*dryLane
	begin := func(src source.Source, _ *selection.Selection) { ps = lanes(src) }
	err := w.dryRead(ctx, j, dir, begin, func(r *selection.Record) error {
		if err := see(r); err != nil || r.Event == nil {
			return err
		}
		for _, p := range ps {
			if err := p.event(r); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		for _, p := range ps {
			if err := p.flush(); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// dryRead opens the input of a job and what else a reading needs, calls each with every record, and closes
// everything again. begin may change the selection.
func (w *World) dryRead(ctx context.Context, j *Job, dir string, begin func(source.Source, *selection.Selection),
	each func(*selection.Record) error, last ...func() error,
) (err error) {
	var open closers
	defer func() { err = errors.Join(err, open.close()) }()
	src, selected, err := w.dryOpen(ctx, j, dir, &open)
	if err != nil {
		return err
	}
	begin(src, selected)
	for r, err := range selected.Records(ctx, src, journal.Mark{}) {
		if err != nil {
			return err
		}
		if err := each(&r); err != nil {
			return err
		}
	}
	for _, f := range last {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// dryOpen opens the input of a job and what else a reading needs.
func (w *World) dryOpen(ctx context.Context, j *Job, dir string, open *closers) (
	src source.Source, sel *selection.Selection, err error,
) {
	if src, err = j.Input.openOnce(ctx, filepath.Join(dir, "spool"), j.Spool, open); err != nil {
		return nil, nil, err
	}
	if j.Steps != nil {
		if err = j.Steps.Open(dir, false); err != nil {
			return nil, nil, err
		}
		open.add(j.Steps.Close)
	}
	selected := j.selection(j.Input.Bounds.Times)
	return src, &selected, nil
}

// shows makes a lane that sends nothing show what it would send.
func (w *World) shows(ctx context.Context, p *dryLane, show func(Shown) error) {
	net := &transport.Capture{}
	auth := p.plan.Auth.WithToken("a-token-that-is-asked-for")
	rt := transport.New(transport.Options{Network: net, Auth: auth, UserAgent: w.UserAgent})
	p.settled = func(r *selection.Record, place string, d *destination.Delivery) error {
		return show(Shown{Destination: p.d.Name, Action: p.action(d), Events: []string{eventName(r, place)},
			Settled: d.Settled})
	}
	p.shown = true
	p.packed = func(b *engine.Packed[*parcel]) error { return p.show(ctx, b, net, rt, show) }
}

// show shows the request that packed deliveries become.
func (p *dryLane) show(
	ctx context.Context, b *engine.Packed[*parcel], net *transport.Capture, rt http.RoundTripper, show func(Shown) error,
) error {
	batch := &destination.Batch{Now: p.env.Now}
	s := Shown{Destination: p.d.Name, Action: p.plan.Actions[b.Group.Action].Slug}
	for _, it := range b.Values {
		batch.Deliveries = append(batch.Deliveries, it.d)
		s.Events = append(s.Events, it.event)
		if s.Live == "" {
			s.Live, s.Asked = it.live, p.env.TriggerLive
		}
	}
	if p.plan.Local {
		for i, it := range b.Values {
			one := Shown{Destination: s.Destination, Action: s.Action, Events: s.Events[i : i+1], Item: it.d.Item}
			if err := show(one); err != nil {
				return err
			}
		}
		return nil
	}
	if _, err := p.d.Sender.Send(ctx, rt, batch); err != nil && !errors.Is(err, destination.ErrNotSent) {
		return err
	}
	for _, r := range net.Take() {
		s.Request, s.Events = &r, slices.Clone(s.Events)
		if err := show(s); err != nil {
			return err
		}
	}
	return nil
}

// ForeignTypes are the first types found in the events, if none of them is a type of the spec.
func (j *Job) ForeignTypes() []string { return j.seen.Foreign() }

// selection decides which events of the input go to the destinations.
func (j *Job) selection(t Times) selection.Selection {
	if j.seen == nil {
		j.seen = &selection.Seen{}
	}
	return selection.Selection{
		Seen:  j.seen,
		Rules: &normalize.Rules{Order: j.Input.DateOrder, Undated: t.Undated}, SkipUndated: j.Input.Undated == UndatedSkip,
		Since: t.Since, Until: t.Until, Filter: j.Filter, Steps: j.Steps, Suppress: j.Suppress, Limit: j.Limit,
	}
}
