package engine

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// queue owns the batches between routing and the partner: those that are open, in the
// packer, those that may go, those that wait for a time or for others, and those on
// their way. The lane's lock guards it.
type queue struct {
	plan   *destination.Plan
	packer *Packer[*work]
	seq    *sequencer

	ready    []*batch
	later    retries
	apart    map[*batch]struct{} // on their way, or waiting for probes: what they hold stays where it is in memory
	flying   int                 // requests on their way
	bodies   int                 // bytes of their bodies
	waiting  int                 // deliveries that wait for an earlier step, and batches that wait for probes
	steps    []*work             // whose earlier step has just been delivered: see finish
	released *uint64             // counts deliveries that are sent out of their user's order
}

// batch is what goes out in one request.
type batch struct {
	g      destination.Group
	works  []*work
	bytes  int       // of its body
	due    time.Time // not before
	bisect *bisect
	probe  bool
	again  bool   // was sent before, if only to be told to wait
	tries  int32  // requests that it was in before
	said   string // why it was not taken the last time; "": it was not sent, or nothing is known
	number int    // see sequencer
	behind int    // users that have something in an earlier batch
}

func newQueue(plan *destination.Plan, o PackOptions, released *uint64) *queue {
	q := &queue{plan: plan, released: released, seq: newSequencer(), apart: map[*batch]struct{}{}}
	q.packer = NewPacker(plan, o, func(p *Packed[*work]) {
		q.enqueue(&batch{g: p.Group, works: p.Values, bytes: p.Bytes})
	})
	return q
}

// offer takes a delivery that has to be sent. in is the request that it was in at the end of
// an earlier process.
func (q *queue) offer(w *work, in doubted) {
	held := len(w.d.Item) + len(w.ev.raw)
	q.packer.Add(Parcel[*work]{Delivery: w.d, Value: w, User: w.user, Record: w.id.Ordinal, Held: held,
		Apart: in.request, Of: in.of})
}

// flush makes all open batches ready.
func (q *queue) flush() { q.packer.Flush() }

// enqueue takes a batch that may go as soon as those before it allow.
func (q *queue) enqueue(b *batch) {
	if !q.plan.Order {
		q.ready = append(q.ready, b)
		return
	}
	ready, free, released := q.seq.enter(b)
	q.makeReady(ready)
	*q.released += uint64(released)
	for _, r := range q.repack(free) {
		q.enqueue(r)
	}
}

// makeReady takes batches that nothing is in front of any more.
func (q *queue) makeReady(bs []*batch) {
	for _, b := range bs {
		if len(b.works) > 0 {
			q.weigh(b)
			q.ready = append(q.ready, b)
		}
	}
}

// repack packs deliveries that have already been in a batch, or wait for another.
func (q *queue) repack(ws []*work) (bs []*batch) {
	open := map[destination.Group]*batch{}
	names := map[*batch]map[string]bool{} // of what may stand in a request only once
	for _, w := range ws {
		g := w.d.Group()
		c := &q.packer.caps[g.Action]
		b := open[g]
		name := c.plan.Name(w.d)
		if b == nil || !c.fits(len(b.works), b.bytes, len(w.d.Item)) || names[b][name] {
			b = &batch{g: g, bytes: c.around(&g)}
			open[g] = b
			bs = append(bs, b)
		}
		b.bytes = c.size(len(b.works), b.bytes, len(w.d.Item))
		b.works = append(b.works, w)
		if name != "" {
			if names[b] == nil {
				names[b] = map[string]bool{}
			}
			names[b][name] = true
		}
	}
	for _, b := range bs { // as the Packer does
		slices.SortStableFunc(b.works, func(x, y *work) int { return cmp.Compare(x.id.Ordinal, y.id.Ordinal) })
	}
	return bs
}

// weigh counts the bytes of a batch's body.
func (q *queue) weigh(b *batch) {
	c := &q.packer.caps[b.g.Action]
	b.bytes = c.around(&b.g)
	for i, w := range b.works {
		b.bytes = c.size(i, b.bytes, len(w.d.Item))
	}
}

// rebatch makes a batch of some deliveries of another one, which was sent.
func (q *queue) rebatch(b *batch, ws []*work) *batch {
	n := &batch{g: b.g, works: ws, bisect: b.bisect, tries: b.tries + 1, said: b.said}
	q.weigh(n)
	return n
}

// retry puts deliveries of a batch back, to be sent again at some time.
func (q *queue) retry(b *batch, ws []*work, due time.Time) *batch {
	n := q.rebatch(b, ws)
	n.due, n.again = due, true
	heap.Push(&q.later, n)
	return n
}

// finish tells those that wait that a batch is settled but for what goes on as
// again, and sends the next steps of its events on their way. ws are all that it held.
func (q *queue) finish(b, again *batch, ws []*work) {
	next := q.repack(q.steps)
	q.steps = q.steps[:0]
	if !q.plan.Order {
		q.ready = append(q.ready, next...)
		return
	}
	for _, n := range next {
		q.seq.follow(n, b)
		if n.behind == 0 {
			q.makeReady([]*batch{n})
		}
	}
	ready, free := q.seq.done(b, again, ws)
	q.makeReady(ready)
	for _, f := range q.repack(free) {
		q.enqueue(f)
	}
}

// halve sends a batch again in two parts. Where order counts, a user's deliveries stay
// in one of them, and those of a single user go one after the other.
func (q *queue) halve(b *batch) {
	left, right := b.works[:len(b.works)/2:len(b.works)/2], b.works[len(b.works)/2:]
	if q.plan.Order {
		left, right = byUser(b.works)
	}
	if len(right) == 0 { // one user
		first := q.rebatch(b, left[:1:1])
		ready := q.seq.split(b, first, left[1:])
		q.readyPart(first)
		q.makeReady(ready)
		return
	}
	for _, ws := range [][]*work{left, right} {
		n := q.rebatch(b, ws)
		q.seq.replace(b, n)
		q.readyPart(n)
	}
}

// readyPart makes a part of a batch ready: behind other parts, in front of whole batches,
// so that what is found out about one batch is known when the next is sent.
func (q *queue) readyPart(b *batch) {
	at := slices.IndexFunc(q.ready, func(r *batch) bool { return r.bisect == nil })
	if at < 0 {
		at = len(q.ready)
	}
	q.ready = slices.Insert(q.ready, at, b)
}

// byUser splits deliveries so that those of a user stay together; right is empty when
// there is only one.
func byUser(ws []*work) (left, right []*work) {
	sides := map[uint64]bool{}
	n := 0
	for _, w := range ws {
		side, ok := sides[w.user]
		if !ok || w.user == 0 {
			side = n%2 == 1
			n++
			sides[w.user] = side
		}
		if side {
			right = append(right, w)
		} else {
			left = append(left, w)
		}
	}
	return left, right
}

// pick returns the next batch that may go now, of whichever action, and counts it as on
// its way. Those whose time has come go first. nil: none may go; wait is how long until
// one may, 0 if that depends on an answer.
func (q *queue) pick(now time.Time, may func(*batch) (wait time.Duration, ok bool)) (b *batch, wait time.Duration) {
	ask := func(b *batch) bool {
		d, ok := may(b)
		if !ok && d > 0 && (wait <= 0 || d < wait) {
			wait = d
		}
		return ok
	}
	if len(q.later) > 0 {
		first := q.later[0]
		if d := first.due.Sub(now); d > 0 {
			wait = d
		} else if ask(first) {
			b = heap.Pop(&q.later).(*batch)
		}
	}
	if b == nil {
		i := q.firstReady(ask)
		switch {
		case i < 0:
			return nil, wait
		case i == 0:
			b = q.ready[0]
			q.ready[0] = nil
			q.ready = q.ready[1:]
		default:
			b = q.ready[i]
			q.ready = slices.Delete(q.ready, i, i+1)
		}
	}
	q.flying++
	q.bodies += b.bytes
	q.apart[b] = struct{}{}
	return b, 0
}

// firstReady returns the first batch that may go, of whichever action; -1: none.
func (q *queue) firstReady(ask func(*batch) bool) int {
	var tried []int32 // actions of which nothing may go
	for i, b := range q.ready {
		if slices.Contains(tried, b.g.Action) {
			continue
		}
		if ask(b) {
			return i
		}
		if tried = append(tried, b.g.Action); len(tried) == len(q.plan.Actions) {
			break
		}
	}
	return -1
}

// returned counts a batch as on its way no longer. size is how large its body was.
func (q *queue) returned(size int) { q.flying--; q.bodies -= size }

// sends says that something can be sent, now or later, or is on its way.
func (q *queue) sends() bool { return len(q.ready)+len(q.later)+q.flying > 0 }

// idle says that nothing is left.
func (q *queue) idle() bool { return !q.sends() && q.waiting == 0 && q.seq.idle() && q.packer.Empty() }

// each calls f with every list of deliveries that is not on its way; f may put others
// in their place.
func (q *queue) each(f func([]*work)) {
	q.packer.Each(f)
	for _, b := range q.ready {
		f(b.works)
	}
	for _, b := range q.later {
		f(b.works)
	}
	for b := range q.seq.behind {
		f(b.works)
	}
	for _, ln := range q.seq.users {
		f(ln.held)
	}
}

// retries is a heap of batches by the time before which they must not go.
type retries []*batch

func (r retries) Len() int           { return len(r) }
func (r retries) Less(i, j int) bool { return r[i].due.Before(r[j].due) }
func (r retries) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *retries) Push(x any)        { *r = append(*r, x.(*batch)) }
func (r *retries) Pop() any {
	b := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return b
}
