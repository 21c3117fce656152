package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transport"
)

// Shown is one line of a preview: a request, an item for a destination that is no
// partner, a delivery that is not sent, or a record that is no event.
type Shown struct {
	Destination string
	Action      string
	// Events are the messageIds of the events, or the positions of those without one.
	Events  []string
	Request *transport.Captured // nil: it is none
	Item    []byte              // of a local destination
	Settled *destination.Result // why the delivery of Events[0] is not sent
	Bad     *source.RecordError // why a record goes nowhere
}

// Preview calls show with every request that a run of the job would make, and with
// everything that it would not send, and sends nothing. The requests of a destination
// come in the order in which their batches are closed. dir is a folder for what cannot
// be held in memory; the caller removes it. Preview ends with the first error of show.
func (w *World) Preview(ctx context.Context, j *Job, dir string, show func(Shown) error) (err error) {
	var open closers
	defer func() { err = errors.Join(err, open.close()) }()
	src, err := j.Input.openOnce(ctx, filepath.Join(dir, "spool"), j.Spool, &open)
	if err != nil {
		return err
	}
	if j.Steps != nil {
		if err = j.Steps.Open(dir, false); err != nil {
			return err
		}
		open.add(j.Steps.Close)
	}
	var ps []*previewer
	for _, d := range j.Destinations {
		ps = append(ps, w.previewer(ctx, j, d, src, show))
	}
	selected := j.selection(j.Input.Bounds.Times)
	for r, err := range selected.Records(ctx, src, journal.Mark{}) {
		if err != nil {
			return err
		}
		if r.Bad != nil {
			if err := show(Shown{Bad: r.Bad}); err != nil {
				return err
			}
		}
		if r.Event == nil {
			continue
		}
		for _, p := range ps {
			if err := p.event(&r); err != nil {
				return err
			}
		}
	}
	for _, p := range ps {
		if err := p.flush(); err != nil {
			return err
		}
	}
	return nil
}

// PreviewEvent is Preview for one event at one destination, whose filter is not asked.
// fallback stands for a messageId that it may lack.
func (w *World) PreviewEvent(
	ctx context.Context, d *config.Opened, ev *event.Event, fallback string, show func(Shown) error,
) error {
	p := w.previewer(ctx, &Job{Destinations: []*config.Opened{d}}, d, nil, show)
	if err := p.pass(ev, fallback, fallback, parcel{}); err != nil {
		return err
	}
	return p.flush()
}

// selection is what of the input goes to the destinations.
func (j *Job) selection(t Times) selection.Selection {
	return selection.Selection{
		Rules: &normalize.Rules{Order: j.Input.DateOrder, Undated: t.Undated}, SkipUndated: j.Input.Undated == UndatedSkip,
		Since: t.Since, Until: t.Until, Filter: j.Filter, Steps: j.Steps, Suppress: j.Suppress, Limit: j.Limit,
	}
}

// previewer packs one destination's deliveries into requests and shows them.
type previewer struct {
	d      *config.Opened
	plan   *destination.Plan
	src    source.Source
	env    destination.Env
	list   destination.Deliveries
	packer *engine.Packer[*parcel]
	ready  []*parcel // steps whose earlier step has gone out
	net    *transport.Capture
	rt     http.RoundTripper
	show   func(Shown) error
	err    error // of show, or of the destination
}

// parcel is one delivery on its way into a request.
type parcel struct {
	d      *destination.Delivery
	event  string // messageId or position
	user   uint64
	record uint64
	held   int
	next   *parcel // the next step of the same event, which waits for this one
}

func (w *World) previewer(
	ctx context.Context, j *Job, d *config.Opened, src source.Source, show func(Shown) error,
) *previewer {
	p := &previewer{d: d, plan: d.Sender.Plan(), src: src, env: destination.Env{Now: w.Now()},
		net: &transport.Capture{}, show: show}
	auth := p.plan.Auth.WithToken("a-token-that-is-asked-for")
	p.rt = transport.New(transport.Options{Network: p.net, Auth: auth, UserAgent: w.UserAgent})
	p.packer = engine.NewPacker(p.plan, engine.PackOptionsOf(p.plan, d.Options, j.MemoryNeeded(),
		len(j.Destinations)), func(b *engine.Packed[*parcel]) { p.request(ctx, b) })
	return p
}

// event routes an event and packs what is made of it.
func (p *previewer) event(r *selection.Record) error {
	if !p.d.Filter.Match(r.Event.Root()) {
		return nil
	}
	fallback := ""
	if p.plan.Positions || destination.NeedsFallback(r.Event) {
		fallback = selection.Fallback(p.src.Manifest(), r.End)
	}
	p.env.Suppressed = r.Suppressed
	return p.pass(r.Event, r.End.String(), fallback, parcel{record: r.Ordinal, held: len(r.Raw)})
}

// pass routes an event that the filter has let through, and packs what is made of it.
// place says where it lies, and like what its parcels have in common.
func (p *previewer) pass(ev *event.Event, place, fallback string, like parcel) error {
	like.event, like.user = ev.MessageID().Text(), engine.UserKey(ev)
	if like.event == "" || like.event == "null" {
		like.event = place
	}
	p.env.Fallback, p.env.Consent = fallback, p.d.Consent
	p.list.Detach() // what was made of earlier events waits for its request
	p.route(ev)
	var last *parcel
	for k := range p.list.List {
		d := &p.list.List[k]
		if d.Settled != nil {
			s := Shown{Destination: p.d.Name, Action: p.action(d), Events: []string{like.event}, Settled: d.Settled}
			if err := p.show(s); err != nil {
				return err
			}
			continue
		}
		it := like
		it.d, it.held = d, like.held+len(d.Item)
		if d.Wait && k > 0 && last != nil {
			last.next = &it
		} else {
			p.add(&it)
		}
		last = &it
	}
	return p.err
}

// route is the destination's Route; a panic of it rejects the event, as in a run.
func (p *previewer) route(ev *event.Event) {
	defer func() {
		if cause := recover(); cause != nil {
			p.list.Cut(0)
			p.list.List = append(p.list.List, destination.Delivery{Settled: &destination.Result{
				Outcome: destination.Rejected, Reason: destination.Panicked, Detail: destination.Cut(fmt.Sprint(cause), 200)}})
		}
	}()
	if verdict, ok := p.env.Admit(ev); !ok {
		p.list.List = append(p.list.List, destination.Delivery{Settled: &verdict})
		return
	}
	p.d.Sender.Route(ev, &p.env, &p.list)
}

// action is the slug of a delivery's action; "": it is of none.
func (p *previewer) action(d *destination.Delivery) string {
	if int(d.Action) < len(p.plan.Actions) && d.InsertID != "" {
		return p.plan.Actions[d.Action].Slug
	}
	return ""
}

// add packs a delivery, and then the steps that waited for those that went out.
func (p *previewer) add(it *parcel) {
	p.pack(it)
	for len(p.ready) > 0 && p.err == nil {
		next := p.ready[0]
		p.ready = p.ready[1:]
		p.pack(next)
	}
}

func (p *previewer) pack(it *parcel) {
	p.packer.Add(engine.Parcel[*parcel]{Delivery: it.d, Value: it, User: it.user, Record: it.record, Held: it.held})
}

// flush shows what is not full.
func (p *previewer) flush() error {
	for {
		p.packer.Flush()
		if len(p.ready) == 0 || p.err != nil {
			return p.err
		}
		next := p.ready
		p.ready = nil
		for _, it := range next {
			p.add(it)
		}
	}
}

// request shows what a packed request becomes.
func (p *previewer) request(ctx context.Context, b *engine.Packed[*parcel]) {
	if p.err != nil {
		return
	}
	batch := &destination.Batch{Now: p.env.Now}
	s := Shown{Destination: p.d.Name, Action: p.plan.Actions[b.Group.Action].Slug}
	for _, it := range b.Values {
		batch.Deliveries = append(batch.Deliveries, it.d)
		s.Events = append(s.Events, it.event)
		if it.next != nil {
			p.ready = append(p.ready, it.next)
		}
	}
	if p.plan.Local {
		for i, it := range b.Values {
			if p.err = p.show(Shown{Destination: s.Destination, Action: s.Action, Events: s.Events[i : i+1],
				Item: it.d.Item}); p.err != nil {
				return
			}
		}
		return
	}
	if _, err := p.d.Sender.Send(ctx, p.rt, batch); err != nil && !errors.Is(err, destination.ErrNotSent) {
		p.err = err
		return
	}
	for _, r := range p.net.Take() {
		s.Request, s.Events = &r, slices.Clone(s.Events)
		if p.err = p.show(s); p.err != nil {
			return
		}
	}
}
