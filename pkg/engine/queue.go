package engine

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// queue owns the batches between routing and the partner: open ones (in the packer), ready ones, those that wait
// for a time or for other batches, and those in flight. The lane's lock guards it.
type queue struct {
	plan   *destination.Plan
	packer *Packer[*work]
	seq    *sequencer

	ready    []*batch
	later    retries
	flying   int     // requests in flight
	bodies   int     // bytes of their bodies
	waiting  int     // deliveries that wait for an earlier step, and batches that wait for probes
	steps    []*work // deliveries whose earlier step has just been delivered: see finish
	released *uint64 // counts deliveries that are sent out of their user's order
	// immovable are batches in flight, or waiting for probes: their deliveries must not be moved in memory.
	immovable map[*batch]struct{}
}

// batch is the content of one request.
type batch struct {
	g      destination.Group
	works  []*work
	bytes  int       // of its body
	due    time.Time // not to be sent before
	bisect *bisect
	probe  bool
	again  bool // it was sent before, even if the answer was only to wait
	number int  // see sequencer
	behind int  // number of its users that are in an earlier batch
	past
}

// past is how a batch, or what it is a part of, was sent before.
type past struct {
	tries int32         // how often it was in a request
	first time.Duration // when it was for the first time, since the engine started; also of a batch that is on its way
	said  string        // why it was not accepted the last time; "": it was not sent, or the reason is unknown
}

func newQueue(plan *destination.Plan, o PackOptions, released *uint64) *queue {
	q := &queue{plan: plan, released: released, seq: newSequencer(), immovable: map[*batch]struct{}{}}
	q.packer = NewPacker(plan, o, func(p *Packed[*work]) {
		q.enqueue(&batch{g: p.Group, works: p.Values, bytes: p.Bytes})
	})
	return q
}

// offer queues a delivery that has to be sent. in is the request that it was in when an earlier process ended.
func (q *queue) offer(w *work, in doubted) {
	held := len(w.d.Item) + len(w.ev.raw)
	q.packer.Add(Parcel[*work]{Delivery: w.d, Value: w, User: w.user, Record: w.id.Ordinal, Held: held,
		Apart: in.request, Of: in.of})
}

// flush closes all open batches, so that they can be sent.
func (q *queue) flush() { q.packer.Flush() }

// enqueue adds a batch that may go as soon as earlier ones allow.
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

// makeReady adds batches that wait for no other batch any more.
func (q *queue) makeReady(bs []*batch) {
	for _, b := range bs {
		if len(b.works) > 0 {
			q.weigh(b)
			q.ready = append(q.ready, b)
		}
	}
}

// repack packs deliveries that were in a batch before, or have to wait for another. Those that were sent in different
// requests, or never, are not put together: their batch tells how they were sent.
func (q *queue) repack(ws []*work) (bs []*batch) {
	type kind struct {
		destination.Group
		*past
	}
	open := map[kind]*batch{}
	names := map[*batch]map[string]bool{} // values that may occur only once in a request
	for _, w := range ws {
		g := w.d.Group()
		c := &q.packer.caps[g.Action]
		k := kind{g, w.past}
		b := open[k]
		name := c.plan.Name(w.d)
		if b == nil || !c.fits(len(b.works), b.bytes, len(w.d.Item)) || names[b][name] {
			b = &batch{g: g, bytes: c.around(&g)}
			if w.past != nil {
				b.past = *w.past
			}
			open[k] = b
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

// after is how a batch was sent before, once it is answered.
func (b *batch) after() past { return past{tries: b.tries + 1, first: b.first, said: b.said} }

// rebatch makes a batch of some deliveries of a batch that was sent.
func (q *queue) rebatch(b *batch, ws []*work) *batch {
	n := &batch{g: b.g, works: ws, bisect: b.bisect, past: b.after()}
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

// finish tells waiting batches that a batch is settled, except for the part that continues as again, and queues
// the next steps of its events. ws are all deliveries that it held.
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

// halve sends a batch again in two parts. Where order matters, a user's deliveries stay in the same part, and
// those of a single user are sent one after the other.
func (q *queue) halve(b *batch) {
	left, right := b.works[:len(b.works)/2:len(b.works)/2], b.works[len(b.works)/2:]
	if q.plan.Order {
		left, right = byUser(b.works)
	}
	if len(right) == 0 { // all are of one user
		first, rest := q.rebatch(b, left[:1:1]), b.after()
		for _, w := range left[1:] {
			w.past = &rest
		}
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

// readyPart makes a part of a batch ready: after other parts and before whole batches, so that what is learned
// about one batch is known before the next is sent.
func (q *queue) readyPart(b *batch) {
	at := slices.IndexFunc(q.ready, func(r *batch) bool { return r.bisect == nil })
	if at < 0 {
		at = len(q.ready)
	}
	q.ready = slices.Insert(q.ready, at, b)
}

// byUser splits deliveries so that each user's stay together. right is empty if there is only one user.
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

// pick returns the next batch that may go now, whatever its action, and counts it as in flight. Batches whose time
// has come go first. nil: none may go; then wait is how long until one may, or 0 if that depends on an answer.
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
		} else if i, soon := q.firstLater(now, ask); i >= 0 {
			b = heap.Remove(&q.later, i).(*batch)
		} else if d := soon.Sub(now); !soon.IsZero() && (wait <= 0 || d < wait) {
			wait = d
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
	q.immovable[b] = struct{}{}
	return b, 0
}

// firstLater returns the index of the batch that may go and has been due for longest; -1: none. A rate of one action
// holds up nothing of the others. soon is when the next of another action is due, if that is known; else zero.
func (q *queue) firstLater(now time.Time, ask func(*batch) bool) (at int, soon time.Time) {
	var tried []int32 // actions whose batches may not go now
	for {
		if ask(q.later[at]) {
			return at, time.Time{}
		}
		tried, at, soon = append(tried, q.later[at].g.Action), -1, time.Time{}
		if len(tried) == len(q.plan.Actions) {
			return -1, soon
		}
		for i, b := range q.later {
			switch {
			case slices.Contains(tried, b.g.Action):
			case b.due.After(now):
				if soon.IsZero() || b.due.Before(soon) {
					soon = b.due
				}
			case at < 0 || b.due.Before(q.later[at].due):
				at = i
			}
		}
		if at < 0 {
			return -1, soon
		}
	}
}

// firstReady returns the index of the first batch that may go, whatever its action; -1: none.
func (q *queue) firstReady(ask func(*batch) bool) int {
	var tried []int32 // actions whose batches may not go now
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

// returned stops counting a batch as in flight. size is the size of its body.
func (q *queue) returned(size int) { q.flying--; q.bodies -= size }

// sends says whether something is in flight, or can be sent now or later.
func (q *queue) sends() bool { return len(q.ready)+len(q.later)+q.flying > 0 }

// idle says whether nothing is left.
func (q *queue) idle() bool { return !q.sends() && q.waiting == 0 && q.seq.idle() && q.packer.Empty() }

// each calls f with every list of deliveries that is not in flight. f may replace the deliveries.
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

// retries is a heap of batches, ordered by the time before which they must not be sent.
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
