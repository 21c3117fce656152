package run

import (
	"fmt"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
)

// dryLane does what a lane would do with events, without sending: it routes them, and packs the deliveries into
// the requests of a run.
type dryLane struct {
	d      *config.Opened
	plan   *destination.Plan
	src    source.Source
	env    destination.Env
	list   destination.Deliveries
	packer *engine.Packer[*parcel]
	ready  []*parcel // steps whose earlier step would have been sent
	// settled is called with each delivery that is not sent, and packed with every request.
	settled func(r *selection.Record, place string, d *destination.Delivery) error
	// routed, unless nil, is called with all deliveries of an event.
	routed func(r *selection.Record, list []destination.Delivery, filtered bool)
	packed func(b *engine.Packed[*parcel]) error
	err    error   // of settled or packed
	shown  bool    // what history starts is told with each request
	alone  *parcel // all of a plan that no other step waits for: of those nothing is asked
}

// parcel is one delivery on its way into a request.
type parcel struct {
	d      *destination.Delivery
	event  string // messageId or position
	user   uint64
	record uint64
	held   int
	live   string  // what an old event would start at the partner; "": nothing, or it is not shown
	next   *parcel // the next step of the same event, which waits for this one
}

func (w *World) dryLane(j *Job, d *config.Opened, src source.Source) *dryLane {
	p := &dryLane{d: d, alone: &parcel{}, plan: d.Sender.Plan(), src: src,
		env: destination.Env{Now: w.Now(), Consent: d.Consent, TriggerLive: d.Options.TriggerLive}}
	p.packer = engine.NewPacker(p.plan, engine.PackOptionsOf(p.plan, j.OptionsOf(d), j.MemoryNeeded(),
		len(j.Destinations)), p.request)
	return p
}

// event routes an event, unless the filter keeps it out, and packs what is made of it.
func (p *dryLane) event(r *selection.Record) error {
	if !p.d.Filter.Match(r.Event.Root()) {
		if p.routed != nil {
			p.routed(r, nil, true)
		}
		return nil
	}
	return p.pass(r, r.End.String(), p.fallback(r))
}

// fallback is the insert id of an event, where its messageId is not one.
func (p *dryLane) fallback(r *selection.Record) string {
	if p.plan.Positions || destination.NeedsFallback(r.Event) {
		return selection.Fallback(p.src.Manifest(), r.End)
	}
	return ""
}

// pass routes an event that the filter has let through, and packs what is made of it.
// place says where it lies.
func (p *dryLane) pass(r *selection.Record, place, fallback string) error {
	p.env.Fallback, p.env.Suppressed = fallback, r.Suppressed
	p.list.Detach() // deliveries of earlier events still wait for their request
	p.route(r.Event, &p.env, &p.list)
	return p.take(r, place, p.list.List)
}

// take packs what was made of an event.
func (p *dryLane) take(r *selection.Record, place string, made []destination.Delivery) error {
	if p.routed != nil {
		p.routed(r, made, false)
	}
	// Waiting steps are linked to those before them first, because a request may be full at once.
	var first []*parcel
	var last *parcel
	for k := range made {
		d := &made[k]
		if d.Settled != nil {
			if err := p.settled(r, place, d); err != nil {
				return err
			}
			continue
		}
		it := &parcel{d: d, event: eventName(r, place), user: engine.UserKey(r.Event), record: r.Ordinal,
			held: len(d.Item) + len(r.Raw)}
		if d.Live && p.shown {
			it.live = destination.Unasked(&p.plan.Actions[d.Action], r.Event, place)
		}
		if d.Wait && k > 0 && last != nil {
			last.next = it
		} else {
			first = append(first, it)
		}
		last = it
	}
	for _, it := range first {
		p.add(it)
	}
	return p.err
}

// route calls the destination's Route. A panic rejects the event, as in a run.
func (p *dryLane) route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	n := len(out.List)
	defer func() {
		if cause := recover(); cause != nil {
			out.Cut(n)
			out.List = append(out.List, destination.Delivery{Settled: &destination.Result{
				Outcome: destination.Rejected, Reason: destination.Panicked, Detail: destination.Cut(fmt.Sprint(cause), 200)}})
		}
	}()
	if verdict, ok := env.Admit(ev); !ok {
		settled := verdict // copied here so that verdict itself is not allocated on every call
		out.List = append(out.List, destination.Delivery{Settled: &settled})
		return
	}
	p.d.Sender.Route(ev, env, out)
}

// action is the slug of a delivery's action; "": it is of none.
func (p *dryLane) action(d *destination.Delivery) string {
	if int(d.Action) < len(p.plan.Actions) && d.InsertID != "" {
		return p.plan.Actions[d.Action].Slug
	}
	return ""
}

// add packs a delivery, and then the steps that waited for those that went out.
func (p *dryLane) add(it *parcel) {
	p.pack(it)
	for len(p.ready) > 0 && p.err == nil {
		next := p.ready[0]
		p.ready = p.ready[1:]
		p.pack(next)
	}
}

func (p *dryLane) pack(it *parcel) {
	p.packer.Add(engine.Parcel[*parcel]{Delivery: it.d, Value: it, User: it.user, Record: it.record, Held: it.held})
}

// flush closes the requests that are not full.
func (p *dryLane) flush() error {
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

// request passes a packed request on, and has the steps follow that waited for it.
func (p *dryLane) request(b *engine.Packed[*parcel]) {
	if p.err != nil {
		return
	}
	for _, it := range b.Values {
		if it.next != nil {
			p.ready = append(p.ready, it.next)
		}
	}
	p.err = p.packed(b)
}

// eventName is an event's messageId, or its place when it has none.
func eventName(r *selection.Record, place string) string {
	if id := r.Event.MessageID().Text(); id != "" && id != "null" {
		return id
	}
	return place
}
