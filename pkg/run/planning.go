package run

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
)

// planning reads the input of a plan on all processors. Records are prepared ahead, and the events of a batch are
// routed in parts, for each destination. Each destination then packs the results in input order.
type planning struct {
	plan  *Plan
	lanes []*dryLane
	names []*PlannedName // for the events of the batch; nil: not counted
	parts int            // in which a batch is routed for a destination
	works []*routing     // unused ones
	mu    sync.Mutex     // guards works
}

// stretch is how many records are routed before their deliveries are packed, so that both steps find them in the
// processor's cache.
const stretch = 64

// routing is what a destination made of some records of a batch.
type routing struct {
	env  destination.Env
	list destination.Deliveries
	of   []routedRecord
}

type routedRecord struct {
	item, n  int // index of the record in the batch, and number of its deliveries
	filtered bool
}

// read plans the whole input.
func (g *planning) read(ctx context.Context, src source.Source, sel *selection.Selection) error {
	procs := runtime.GOMAXPROCS(0)
	g.parts = max(1, 2*procs/max(len(g.lanes), 1))
	var sets []*event.PathSet
	for _, p := range g.lanes {
		sets = append(sets, p.plan.Paths...)
	}
	var follow *event.PathSet
	if len(sets) > 0 {
		follow = event.Join(sets...)
	}
	for b, err := range sel.Batches(ctx, src, journal.Mark{}, procs, follow) {
		if err != nil {
			return err
		}
		g.batch(b, procs)
	}
	for _, p := range g.lanes {
		if err := p.flush(); err != nil {
			return err
		}
	}
	return nil
}

// batch plans the records of a batch.
func (g *planning) batch(b *selection.Batch, procs int) {
	g.names = g.names[:0]
	for i := range b.Items {
		r := b.Record(i)
		name := g.plan.record(&r)
		if name != nil && sampled(r.Ordinal, g.plan.Sample) {
			name.Routed++
		}
		g.names = append(g.names, name)
	}
	n := len(b.Items)
	if g.parts == 1 {
		parallel(procs, len(g.lanes), func(k int) {
			w := g.work()
			for from := 0; from < n; from += stretch {
				g.lanes[k].routes(b, from, min(from+stretch, n), w, g.plan.Sample)
				g.take(k, b, w)
			}
			g.rest(w)
		})
		return
	}
	works := make([]*routing, len(g.lanes)*g.parts)
	parallel(procs, len(works), func(i int) {
		k, part := i/g.parts, i%g.parts
		works[i] = g.work()
		g.lanes[k].routes(b, n*part/g.parts, n*(part+1)/g.parts, works[i], g.plan.Sample)
	})
	parallel(procs, len(g.lanes), func(k int) {
		for _, w := range works[k*g.parts : (k+1)*g.parts] {
			g.take(k, b, w)
			g.rest(w)
		}
	})
}

// parallel calls do n times, at most workers at the same time.
func parallel(workers, n int, do func(i int)) {
	var next atomic.Int64
	var done sync.WaitGroup
	for range min(workers, n) {
		done.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	done.Wait()
}

func (g *planning) work() *routing {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.works); n > 0 {
		w := g.works[n-1]
		g.works = g.works[:n-1]
		return w
	}
	return new(routing)
}

func (g *planning) rest(w *routing) {
	w.list.Rest()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.works = append(g.works, w)
}

// routes routes some records of a batch. It may run concurrently for the same lane.
func (p *dryLane) routes(b *selection.Batch, from, to int, w *routing, sample float64) {
	w.env = p.env
	w.of = w.of[:0]
	for i := from; i < to; i++ {
		it := &b.Items[i]
		if it.Event == nil {
			continue
		}
		r := b.Record(i)
		if !sampled(r.Ordinal, sample) {
			continue
		}
		if !p.d.Filter.Match(it.Event.Root()) {
			w.of = append(w.of, routedRecord{item: i, filtered: true})
			continue
		}
		w.env.Fallback, w.env.Suppressed = p.fallback(&r), it.Suppressed
		n := len(w.list.List)
		p.route(it.Event, &w.env, &w.list)
		w.of = append(w.of, routedRecord{item: i, n: len(w.list.List) - n})
	}
}

// take counts and packs for a lane what was made of some records of a batch.
func (g *planning) take(k int, b *selection.Batch, w *routing) {
	p, made := g.lanes[k], w.list.List
	for _, of := range w.of {
		r := b.Record(of.item)
		lane := g.plan.Destinations[k]
		before := lane.Deliveries
		p.counts(&r, made[:of.n:of.n], of.filtered)
		made = made[of.n:]
		if name := g.names[of.item]; name != nil && lane.Deliveries > before {
			name.To[k]++
		}
	}
	w.list.Reset()
}

// counts packs the deliveries of an event when only the sizes of requests are needed. It keeps nothing of them,
// unless some deliveries wait for others.
func (p *dryLane) counts(r *selection.Record, made []destination.Delivery, filtered bool) {
	if filtered || !slices.ContainsFunc(made, func(d destination.Delivery) bool { return d.Wait }) {
		p.routed(r, made, filtered)
		var user uint64
		if p.plan.Order {
			user = engine.UserKey(r.Event)
		}
		for i := range made {
			if d := &made[i]; d.Settled == nil {
				p.packer.Add(engine.Parcel[*parcel]{Delivery: d, Value: p.alone, User: user, Record: r.Ordinal,
					Held: len(d.Item) + len(r.Raw)})
			}
		}
		return
	}
	own := slices.Clone(made)
	for i := range own {
		own[i].Item = bytes.Clone(own[i].Item)
	}
	if err := p.take(r, r.End.String(), own); err != nil && p.err == nil {
		p.err = err
	}
}
