package engine

import (
	"cmp"
	"github.com/zeebo/xxh3"
	"slices"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
)

// Defaults where neither the partner nor the user says. A destination that declares no cap is
// one that takes what it is given (a webhook, a file), so that these only bound memory and what
// one failed request costs: they are no limit of a partner's.
const (
	defaultBatchEvents = 500
	defaultBatchBytes  = 1 << 20
)

const (
	// maxOpen is how many batches may be open at a time: destinations can have as many
	// groups as there are events.
	maxOpen = 1000
	// oldBatch is after how many records a batch that is not full is closed, so that
	// the checkpoint does not stay behind for the sake of a few events of a rare kind.
	oldBatch = 1 << 16
	// maxDeferred is how many deliveries may wait for a later batch at a time.
	maxDeferred = 10_000
)

// PackOptions are the caps of a Packer that do not come from the plan.
type PackOptions struct {
	// Concurrency is how many requests are in flight at most: where order matters, so
	// many batches in a row have no user in common.
	Concurrency int
	// Memory is how many bytes open batches and what is deferred may hold; 0: no bound.
	Memory int64
}

// PackOptionsOf are the caps of a lane of a run with so much memory (Config.Memory) and
// so many lanes.
func PackOptionsOf(plan *destination.Plan, o Options, memory int64, lanes int) PackOptions {
	return PackOptions{Concurrency: concurrencyOf(plan, o), Memory: laneMemory(plan, memory, lanes)}
}

// Parcel is one delivery to be packed, with what its owner knows of it.
type Parcel[T any] struct {
	Delivery *destination.Delivery
	Value    T
	User     uint64 // [UserKey] of the event; of interest where Plan.Order is set
	Record   uint64 // number of the event's record in the input
	Held     int    // bytes that are kept for it: its item, and the record as it was read
	// Apart, when it is not 0, is the number of a request that an earlier process has begun
	// and nobody knows the end of: it is packed with the Of deliveries of that one alone, so
	// that the request is made again as it was.
	Apart, Of int32
}

// parcel is a delivery that may wait: what it needs of it, since the memory of the
// delivery itself may be another's by the time that it is packed.
type parcel[T any] struct {
	value  T
	to     *destination.Address
	user   uint64
	record uint64
	held   int
	size   int // bytes of its item
	action int32

	apart, of int32 // see Parcel

	name string // what may stand in a request only once; "": nothing
}

func (it *parcel[T]) group() destination.Group {
	if it.to == nil {
		return destination.Group{Action: it.action}
	}
	return destination.Group{Action: it.action, Address: *it.to}
}

// belongs says that the delivery is of a batch's group.
func (it *parcel[T]) belongs(b *Packed[T]) bool {
	return b.Group.Action == it.action && b.apart == it.apart && (b.To == it.to || b.Group == it.group())
}

// key is what a batch that is open is found by.
func (it *parcel[T]) key() openKey { return openKey{it.group(), it.apart} }

type openKey struct {
	destination.Group
	apart int32
}

// Packed is what goes out in one request.
type Packed[T any] struct {
	Group  destination.Group
	To     *destination.Address // of the first of its deliveries
	Values []T
	Bytes  int // of the body

	record uint64 // at which it was opened
	// records are those of Values, where users may have waited: see inOrder.
	records []uint64
	mixed   bool // they are not in the order of the input
	held    int64
	apart   int32
	opened  int // its number among those opened
	closed  int // its number among those closed, from 1 on; 0: it is open
	users   []*packUser[T]
	names   map[string]bool // of its deliveries, of what may stand in a request only once
}

// Packer packs a lane's deliveries into requests. It owns the batches that are open.
// What goes into a request depends on the order of the deliveries and on the caps
// alone (events, bytes, group, memory), never on time or on what the partner answers:
// a Packer that is given the same deliveries makes the same requests, without a
// network, too. Only Flush, which ends a batch before it is full, is up to the caller.
//
// Where order within a user matters, a user's deliveries may be in one batch, or in
// batches that are sent one after the other. So that several can be in flight, a
// delivery whose user is in one of the last batches waits for a later one; when too
// many wait, the oldest go into the next batch all the same. Whoever sends has to
// see to it that batches with a user in common go in the order in which they were
// closed.
//
// A Packer is not safe for concurrent use.
type Packer[T any] struct {
	caps   []caps
	order  bool
	window int
	most   int64
	done   func(*Packed[T])

	open     map[openKey]*Packed[T]
	recent   *Packed[T]   // the open one that was put into last; nil: none, or it is closed
	opened   []*Packed[T] // oldest first; some of them are closed
	nOpened  int
	nClosed  int
	last     []*Packed[T] // the last ones that were closed, a window of them
	leaving  []*Packed[T] // those that have left the window, to be looked at
	flushing bool

	users    map[uint64]*packUser[T]
	late     []*packUser[T] // those with deferred deliveries, oldest first; some have none any more
	deferred int
	held     int64 // of open batches and deferred deliveries
}

// packUser is one user: where its deliveries are, and which wait for a later batch.
type packUser[T any] struct {
	key   uint64
	in    []*Packed[T] // open batches that hold some
	last  *Packed[T]   // that holds the last of them; nil: it has left the window
	queue []parcel[T]
}

// NewPacker makes a Packer for the requests of a plan. done is given each batch when
// it is closed.
func NewPacker[T any](plan *destination.Plan, o PackOptions, done func(*Packed[T])) *Packer[T] {
	p := &Packer[T]{order: plan.Order, window: max(o.Concurrency, 1), most: o.Memory, done: done,
		open: map[openKey]*Packed[T]{}, users: map[uint64]*packUser[T]{}}
	for i := range plan.Actions {
		p.caps = append(p.caps, capsOf(&plan.Actions[i]))
	}
	return p
}

// caps are what a request of an action may hold.
type caps struct {
	events, bytes int
	overhead, per int // bytes around and between items

	overheadFor func(key string) int // nil: overhead, for every group

	plan *destination.ActionPlan
}

// around is how many bytes stand around the items of a group's requests.
func (c *caps) around(g *destination.Group) int {
	if c.overheadFor != nil {
		return c.overheadFor(g.Key)
	}
	return c.overhead
}

func capsOf(p *destination.ActionPlan) caps {
	c := caps{p.Limits.BatchEvents.N, p.Limits.BatchBytes.N, p.Overhead, p.PerItem, p.OverheadFor, p}
	if c.events <= 0 {
		c.events = defaultBatchEvents
	}
	if c.bytes <= 0 {
		c.bytes = defaultBatchBytes
	}
	return c
}

// size is how long a body becomes with one more item.
func (c *caps) size(items, bytes, item int) int {
	if items > 0 {
		item += c.per
	}
	return bytes + item
}

func (c *caps) fits(items, bytes, item int) bool {
	return items < c.events && c.size(items, bytes, item) <= c.bytes
}

// UserKey is whose event it is: userId, else anonymousId; 0: nobody's.
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

// Add packs a delivery. Deliveries have to come in the order of the input.
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

// Flush closes all batches, whether they are full or not.
func (p *Packer[T]) Flush() {
	p.flushing = true // nothing will come to put between
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

// Empty says that no delivery is in the Packer.
func (p *Packer[T]) Empty() bool { return len(p.open) == 0 && p.deferred == 0 }

// Held is how many bytes are kept for what is in the Packer.
func (p *Packer[T]) Held() int64 { return p.held }

// Each calls f with every list of values in the Packer, which f may replace one by one.
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

// place puts a delivery into the open batch of its group, or has it wait for a later
// one because of its user.
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
	// Batches are sent in the order in which they are closed: one that holds earlier
	// deliveries of the user must not stay open beside the one that this goes into.
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

// isRecent says that a user's last batch may still be on its way when the next one
// goes, and that a delivery does not fit into it.
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
	b := p.recent // nearly always the one: to look for it takes longer than all the rest
	if b == nil || b.Group.Action != it.action || b.apart != it.apart || b.To != it.to {
		b = p.open[it.key()]
	}
	if b != nil && (!c.fits(len(b.Values), b.Bytes, it.size) || it.apart == 0 && b.names[it.name]) {
		p.close(b)
		b = nil
	}
	if b == nil {
		b = &Packed[T]{Group: it.group(), To: it.to, record: it.record, apart: it.apart, opened: p.nOpened}
		b.Bytes = c.around(&b.Group)
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

// inOrder puts the deliveries into the order of the input, whatever their users have waited
// for: so a request that is made again after a kill is the same to the byte.
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

// close ends a batch.
func (p *Packer[T]) close(b *Packed[T]) {
	if p.recent == b {
		p.recent = nil
	}
	b.inOrder()
	delete(p.open, openKey{b.Group, b.apart})
	p.nClosed++
	b.closed = p.nClosed
	p.held -= b.held
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

// releaseUsers looks after the users of batches that have left the window: what waited
// behind them goes into the next batch.
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

// takeUp places what a user's queue holds.
func (p *Packer[T]) takeUp(u *packUser[T], now bool) {
	queue := u.queue
	u.queue = nil
	for _, it := range queue {
		p.deferred--
		p.held -= int64(it.held)
		p.place(it, now)
	}
}

// undefer places a user's deferred deliveries, whatever its last batch is.
func (p *Packer[T]) undefer(u *packUser[T]) { p.takeUp(u, true) }

// firstLate returns the user whose deliveries have been deferred for longest.
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

// makeRoom ends batches while more is held than may be.
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

// largest returns the open batch that holds most, the oldest of several.
func (p *Packer[T]) largest() *Packed[T] {
	var most *Packed[T]
	for _, b := range p.open {
		if most == nil || b.held > most.held || b.held == most.held && b.opened < most.opened {
			most = b
		}
	}
	return most
}

// oldest returns the batch that has been open for longest; nil: none is open.
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
