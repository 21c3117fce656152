package engine

import (
	"cmp"
	"math"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
)

// Defaults for what neither the partner nor the user limits. A destination that declares no limit takes whatever
// it is given (a webhook, a file), so these only bound memory and the cost of one failed request: they are not
// limits of a partner.
const (
	defaultBatchEvents = 500
	defaultBatchBytes  = 1 << 20
)

const (
	// maxOpen is how many batches may be open at a time: a destination can have as many groups as there are
	// events.
	maxOpen = 1000
	// oldBatch is the number of records after which a batch is closed although it is not full, so that a few
	// events of a rare kind do not hold back the checkpoint.
	oldBatch = 1 << 16
	// maxDeferred is how many deliveries may wait for a later batch at a time.
	maxDeferred = 10_000
)

// PackOptions are the limits of a Packer that do not come from the plan.
type PackOptions struct {
	// Concurrency is the largest number of requests in flight. Where order matters, that many batches in a row
	// have no user in common.
	Concurrency int
	// Memory is how many bytes open batches and deferred deliveries may hold; 0: no bound.
	Memory int64

	rates []limit // a request is no larger than what they let through in their time
}

// PackOptionsOf returns the options for a lane of a run with this memory (Config.Memory) and this many lanes.
func PackOptionsOf(plan *destination.Plan, o Options, memory int64, lanes int) PackOptions {
	o.NoRates = false // a rehearsal makes the same requests
	rates := limitsOf(plan, o)
	for i := range rates {
		rates[i].rate.N *= 1 - o.Reserve
	}
	return PackOptions{Concurrency: concurrencyOf(plan, o), Memory: laneMemory(plan, memory, lanes), rates: rates}
}

// Parcel is one delivery to be packed, with a value that its owner attaches to it.
type Parcel[T any] struct {
	Delivery *destination.Delivery
	Value    T
	User     uint64 // [UserKey] of the event; needed if Plan.Order is set
	Record   uint64 // number of the event's record in the input
	Held     int    // bytes that are kept for it: its item, and the record as it was read
	// Apart, if not 0, is the number of a request that an earlier process has begun and whose result is unknown.
	// Such a delivery is packed only with the Of deliveries of that request, so that the same request is made
	// again.
	Apart, Of int32
}

// parcel is a delivery that may wait. It copies what it needs, because the memory of the delivery may be reused
// before it is packed.
type parcel[T any] struct {
	value  T
	to     *destination.Address
	user   uint64
	record uint64
	held   int
	size   int // bytes of its item
	action int32

	apart, of int32 // see Parcel

	name string // value that may occur only once in a request; "": none
}

func (it *parcel[T]) group() destination.Group {
	if it.to == nil {
		return destination.Group{Action: it.action}
	}
	return destination.Group{Action: it.action, Address: *it.to}
}

// belongs says whether the delivery is of a batch's group.
func (it *parcel[T]) belongs(b *Packed[T]) bool {
	return b.Group.Action == it.action && b.apart == it.apart && (b.To == it.to || b.Group == it.group())
}

// key is how an open batch is looked up.
func (it *parcel[T]) key() openKey { return openKey{it.group(), it.apart} }

type openKey struct {
	destination.Group
	apart int32
}

// Packed is the content of one request.
type Packed[T any] struct {
	Group  destination.Group
	To     *destination.Address // address of its first delivery
	Values []T
	Bytes  int // of the body

	record uint64 // the record at which it was opened
	// records are those of Values, if users may have waited: see inOrder.
	records []uint64
	mixed   bool // they are not in input order
	held    int64
	apart   int32
	opened  int // its number in the order of opening
	closed  int // its number in the order of closing, from 1; 0: it is open
	users   []*packUser[T]
	names   map[string]bool // values of its deliveries that may occur only once in a request
}

// Packer packs a lane's deliveries into requests. It owns the open batches. What goes into a request depends only
// on the order of the deliveries and on the limits (events, bytes, group, memory), never on time or on the
// partner's answers. So a Packer that is given the same deliveries makes the same requests, also without a
// network. Only Flush, which closes batches before they are full, is left to the caller.
//
// Where the order of each user's events matters, a user's deliveries have to be in one batch, or in batches that
// are sent one after the other. So that several batches can be in flight, a delivery whose user is in one of the
// last batches is deferred to a later one. When too many are deferred, the oldest go into the next batch anyway.
// The sender must send batches with a user in common in the order in which they were closed.
//
// A Packer is not safe for concurrent use.
type Packer[T any] struct {
	caps   []caps
	order  bool
	window int
	most   int64
	done   func(*Packed[T])

	open     map[openKey]*Packed[T]
	recent   *Packed[T]   // the open batch that was added to last; nil: none, or it is closed
	opened   []*Packed[T] // oldest first; some may be closed
	nOpened  int
	nClosed  int
	last     []*Packed[T] // the window of the last closed batches
	leaving  []*Packed[T] // batches that have left the window and are still to be handled
	flushing bool

	users    map[uint64]*packUser[T]
	late     []*packUser[T] // users with deferred deliveries, oldest first; some may have none any more
	deferred int
	held     int64 // bytes of open batches and deferred deliveries
}

// packUser is one user: the batches with its deliveries, and its deferred deliveries.
type packUser[T any] struct {
	key   uint64
	in    []*Packed[T] // open batches with deliveries of the user
	last  *Packed[T]   // the batch with its last delivery; nil: it has left the window
	queue []parcel[T]
}

// NewPacker makes a Packer for the requests of a plan. done is called with each batch when it is closed.
func NewPacker[T any](plan *destination.Plan, o PackOptions, done func(*Packed[T])) *Packer[T] {
	p := &Packer[T]{order: plan.Order, window: max(o.Concurrency, 1), most: o.Memory, done: done,
		open: map[openKey]*Packed[T]{}, users: map[uint64]*packUser[T]{}}
	for i := range plan.Actions {
		c := capsOf(&plan.Actions[i])
		for _, l := range o.rates {
			if l.action == wholeLane || l.action == int32(i) {
				c.within(l.rate)
			}
		}
		p.caps = append(p.caps, c)
	}
	return p
}

// caps are the limits of a request of an action.
type caps struct {
	events, bytes int
	overhead, per int // bytes around and between items

	overheadFor func(key string) int // nil: overhead is the same for every group

	plan  *destination.ActionPlan
	usual int // deliveries in the largest of the last batches: the next one's memory is made for as many, or
	// for less if others are open, of which there may be a thousand
}

// within keeps a request within what a rate lets through in its time: all of a larger one would go at once.
func (c *caps) within(r destination.Rate) {
	most := max(1, int(min(r.N, math.MaxInt32)))
	switch r.Of {
	case destination.Events:
		c.events = min(c.events, most)
	case destination.Bytes:
		c.bytes = min(c.bytes, most)
	}
}

// around is the number of bytes around the items in a group's requests.
func (c *caps) around(g *destination.Group) int {
	if c.overheadFor != nil {
		return c.overheadFor(g.Key)
	}
	return c.overhead
}

func capsOf(p *destination.ActionPlan) caps {
	c := caps{events: p.Limits.BatchEvents.N, bytes: p.Limits.BatchBytes.N, overhead: p.Overhead, per: p.PerItem,
		overheadFor: p.OverheadFor, plan: p}
	if c.events <= 0 {
		c.events = defaultBatchEvents
	}
	if c.bytes <= 0 {
		c.bytes = defaultBatchBytes
	}
	return c
}

// size is the size of a body with one more item.
func (c *caps) size(items, bytes, item int) int {
	if items > 0 {
		item += c.per
	}
	return bytes + item
}

func (c *caps) fits(items, bytes, item int) bool {
	return items < c.events && c.size(items, bytes, item) <= c.bytes
}

// UserKey identifies an event's user: by userId, else anonymousId; 0: there is neither.
func UserKey(ev *event.Event) uint64 {
	for _, v := range []event.Value{ev.UserID(), ev.AnonymousID()} {
		if !v.Nullish() && !v.IsEmptyText() {
			if b, ok := v.Plain(); ok {
				return xxh3.Hash(b) | 1
			}
			return xxh3.HashString(v.Text()) | 1
		}
	}
	return 0
}

// Add packs a delivery. Deliveries have to be added in input order.
func (p *Packer[T]) Add(it Parcel[T]) {
	for b := p.oldest(); b != nil && it.Record > b.record+oldBatch; b = p.oldest() {
		p.close(b)
	}
	d := it.Delivery
	p.place(parcel[T]{it.Value, d.To, it.User, it.Record, it.Held, len(d.Item), d.Action, it.Apart, it.Of,
		p.caps[d.Action].plan.Name(d)}, false)
	p.releaseUsers()
	p.makeRoom()
}

// Flush closes all batches, full or not.
func (p *Packer[T]) Flush() {
	p.flushing = true // nothing more comes that could go in between
	for u := p.firstLate(); u != nil; u = p.firstLate() {
		p.undefer(u)
		p.releaseUsers()
	}
	for b := p.oldest(); b != nil; b = p.oldest() {
		p.close(b)
	}
	p.releaseUsers()
	p.flushing = false
}

// Empty says whether the Packer holds no delivery.
func (p *Packer[T]) Empty() bool { return len(p.open) == 0 && p.deferred == 0 }

// Held is how many bytes are kept for what is in the Packer.
func (p *Packer[T]) Held() int64 { return p.held }

// Each calls f with every list of values in the Packer. f may replace the values.
func (p *Packer[T]) Each(f func(values []T)) {
	for _, b := range p.open {
		f(b.Values)
	}
	one := make([]T, 1)
	for _, u := range p.late {
		for i := range u.queue {
			one[0] = u.queue[i].value
			f(one)
			u.queue[i].value = one[0]
		}
	}
}

// place puts a delivery into the open batch of its group, or defers it because of its user.
func (p *Packer[T]) place(it parcel[T], now bool) {
	c := &p.caps[it.action]
	if !p.order || it.user == 0 {
		p.put(it, c)
		return
	}
	u := p.users[it.user]
	if u == nil {
		u = &packUser[T]{key: it.user}
		p.users[it.user] = u
	}
	if !now && (len(u.queue) > 0 || c.events > 1 && p.isRecent(u, &it, c)) {
		if len(u.queue) == 0 {
			p.late = append(p.late, u)
		}
		u.queue = append(u.queue, it)
		p.deferred++
		p.held += int64(it.held)
		return
	}
	// Batches are sent in the order in which they are closed. A batch with earlier deliveries of the user must not
	// stay open beside the one that this delivery goes into.
	for len(u.in) > 1 || len(u.in) == 1 && !it.belongs(u.in[0]) {
		p.close(u.in[0])
	}
	b := p.put(it, c)
	if u.last != b {
		u.last = b
		b.users = append(b.users, u)
		if b.closed == 0 {
			u.in = append(u.in, b)
		}
	}
}

// isRecent says whether a user's last batch may still be in flight when the next one is sent, and the delivery
// does not fit into that batch.
func (p *Packer[T]) isRecent(u *packUser[T], it *parcel[T], c *caps) bool {
	switch b := u.last; {
	case p.flushing || b == nil:
		return false
	case b.closed == 0:
		return !it.belongs(b) || !c.fits(len(b.Values), b.Bytes, it.size) || b.names[it.name]
	default:
		return p.nClosed-b.closed < p.window-1
	}
}

// put adds a delivery to the open batch of its group.
func (p *Packer[T]) put(it parcel[T], c *caps) *Packed[T] {
	b := p.recent // nearly always the right one, and looking it up would take longer than all the rest
	if b == nil || b.Group.Action != it.action || b.apart != it.apart || b.To != it.to {
		b = p.open[it.key()]
	}
	if b != nil && (!c.fits(len(b.Values), b.Bytes, it.size) || it.apart == 0 && b.names[it.name]) {
		p.close(b)
		b = nil
	}
	if b == nil {
		b = &Packed[T]{Group: it.group(), To: it.to, record: it.record, apart: it.apart, opened: p.nOpened}
		b.Bytes, b.Values = c.around(&b.Group), make([]T, 0, c.usual/(1+len(p.open)))
		p.nOpened++
		p.open[it.key()] = b
		p.opened = append(p.opened, b)
		if len(p.open) > maxOpen {
			p.close(p.oldest())
		}
	}
	b.Bytes = c.size(len(b.Values), b.Bytes, it.size)
	b.Values = append(b.Values, it.value)
	if p.order {
		if n := len(b.records); n > 0 && it.record < b.records[n-1] {
			b.mixed = true
		}
		b.records = append(b.records, it.record)
	}
	if it.name != "" {
		if b.names == nil {
			b.names = map[string]bool{}
		}
		b.names[it.name] = true
	}
	b.held += int64(it.held)
	p.held += int64(it.held)
	if len(b.Values) >= c.events || it.apart != 0 && len(b.Values) >= int(it.of) {
		p.close(b)
	} else {
		p.recent = b
	}
	return b
}

// inOrder sorts the deliveries into input order, because users may have waited for different times. So a request
// that is repeated after a kill is the same to the byte.
func (b *Packed[T]) inOrder() {
	if !b.mixed {
		return
	}
	at := make([]int, len(b.Values))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(x, y int) int { return cmp.Compare(b.records[x], b.records[y]) })
	values := make([]T, len(at))
	for i, from := range at {
		values[i] = b.Values[from]
	}
	b.Values, b.records, b.mixed = values, nil, false
}

// close closes a batch.
func (p *Packer[T]) close(b *Packed[T]) {
	if p.recent == b {
		p.recent = nil
	}
	b.inOrder()
	delete(p.open, openKey{b.Group, b.apart})
	p.nClosed++
	b.closed = p.nClosed
	p.held -= b.held
	c := &p.caps[b.Group.Action]
	c.usual = max(len(b.Values), c.usual*3/4)
	if p.order {
		for _, u := range b.users {
			for i, other := range u.in {
				if other == b {
					u.in = append(u.in[:i], u.in[i+1:]...)
					break
				}
			}
		}
		if p.last = append(p.last, b); len(p.last) >= p.window {
			p.leaving = append(p.leaving, p.last[0])
			p.last[0] = nil
			p.last = p.last[1:]
		}
	}
	p.done(b)
}

// releaseUsers handles the users of batches that have left the window: their deferred deliveries go into the next
// batch.
func (p *Packer[T]) releaseUsers() {
	for len(p.leaving) > 0 {
		b := p.leaving[0]
		p.leaving[0] = nil
		p.leaving = p.leaving[1:]
		for _, u := range b.users {
			if u.last != b {
				continue
			}
			u.last = nil
			if len(u.queue) > 0 {
				p.takeUp(u, false)
			} else {
				delete(p.users, u.key)
			}
		}
		b.users = nil
	}
}

// takeUp places the deferred deliveries of a user.
func (p *Packer[T]) takeUp(u *packUser[T], now bool) {
	queue := u.queue
	u.queue = nil
	for _, it := range queue {
		p.deferred--
		p.held -= int64(it.held)
		p.place(it, now)
	}
}

// undefer places a user's deferred deliveries, even if its last batch is recent.
func (p *Packer[T]) undefer(u *packUser[T]) { p.takeUp(u, true) }

// firstLate returns the user whose deliveries have been deferred longest.
func (p *Packer[T]) firstLate() *packUser[T] {
	for len(p.late) > 0 {
		if u := p.late[0]; len(u.queue) > 0 {
			return u
		}
		p.late[0] = nil
		p.late = p.late[1:]
	}
	return nil
}

// makeRoom closes batches while more memory is held than allowed.
func (p *Packer[T]) makeRoom() {
	for p.deferred > maxDeferred || p.deferred > 0 && p.most > 0 && p.held > p.most {
		p.undefer(p.firstLate())
		p.releaseUsers()
	}
	for p.most > 0 && p.held > p.most && len(p.open) > 0 {
		p.close(p.largest())
		p.releaseUsers()
	}
}

// largest returns the open batch that holds most, the oldest if there are several.
func (p *Packer[T]) largest() *Packed[T] {
	var most *Packed[T]
	for _, b := range p.open {
		if most == nil || b.held > most.held || b.held == most.held && b.opened < most.opened {
			most = b
		}
	}
	return most
}

// oldest returns the batch that has been open longest; nil: none is open.
func (p *Packer[T]) oldest() *Packed[T] {
	for len(p.opened) > 0 {
		if b := p.opened[0]; b.closed == 0 {
			return b
		}
		p.opened[0] = nil
		p.opened = p.opened[1:]
	}
	return nil
}
