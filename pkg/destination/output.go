package destination

import (
	"sync"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
)

// Deliveries collects the deliveries that Route makes, in memory that is reused. It is not safe for concurrent
// use: each goroutine needs its own.
type Deliveries struct {
	List []Delivery
	// Stamps are the places in items of the list where Plan.Stamp stands, in
	// their order.
	Stamps []Stamp
	arena  []byte
	last   *Address  // address of the previous delivery: most go to the same one
	unused []Address // room for further ones, each of which is used once: deliveries that wait keep theirs
	before *Result   // of the previous delivery that is not sent; nobody changes it
	out    Output
	joint  joint
	*scratch
}

// Stamp is a place where Plan.Stamp stands.
type Stamp struct {
	Delivery int32 // index in the list
	At       int32 // where it begins in the item, in bytes
}

// scratch is the memory that routing needs while it works, as opposed to that of its result.
type scratch struct {
	mapped  [4]mapped  // by actions' programs, of the event of this turn
	judged  [24]judged // by triggers
	turn    uint64
	body    body.Scratch
	bodyIn  body.Input
	items   itemWriter
	joined  []byte
	results [64]*Result // recent ones of deliveries that are not sent
	routed  int
	in      Input
}

// Scratch memory is pooled apart from the lists: there are many lists, and most of them only wait for their
// deliveries to be sent; few are being routed into at a time.
var scratches = sync.Pool{New: func() any { return new(scratch) }}

// begin makes sure that there is scratch memory.
func (d *Deliveries) begin() {
	if d.scratch == nil {
		d.scratch = scratches.Get().(*scratch)
		d.turn++
	}
}

// interpret switches between interpreted (plain) and compiled bodies.
func (d *Deliveries) interpret(plain bool) { d.body.Plain = plain }

// Rest gives the scratch memory back to the pool, unless it is that of the list which this one has joined. Routing
// into the list again takes new scratch memory.
func (d *Deliveries) Rest() {
	if d.scratch != nil && d.joint != follows {
		d.in, d.bodyIn, d.items = Input{}, body.Input{}, itemWriter{}
		d.interpret(false)
		scratches.Put(d.scratch)
	}
	d.scratch, d.joint = nil, apart
}

// Reset forgets the list and makes its memory available again. The items of
// earlier deliveries must not be used any more.
func (d *Deliveries) Reset() {
	clear(d.List)
	d.List, d.Stamps, d.arena, d.last = d.List[:0], d.Stamps[:0], d.arena[:0], nil
}

// Cut removes all deliveries from the nth on, and one that is unfinished.
func (d *Deliveries) Cut(n int) {
	d.List = d.List[:n]
	d.unstamp(n, 0)
}

// Detach empties the list but leaves the items' memory to the deliveries that were made: later deliveries get new
// memory.
func (d *Deliveries) Detach() {
	d.List, d.Stamps, d.arena = nil, nil, nil
}

// Use has the items of later deliveries appended to the given memory, which is empty. What does not fit goes on in
// memory of the list's own.
func (d *Deliveries) Use(items []byte) { d.arena = items }

// Memory is what the items lie in, up to the last one's end: the memory that was given, or, if they did not fit
// into that, the list's own.
func (d *Deliveries) Memory() []byte { return d.arena }

// Size is how much memory the deliveries and their items take, in bytes.
func (d *Deliveries) Size() int { return len(d.arena) + len(d.List)*int(unsafe.Sizeof(Delivery{})) }

// Len is the length of all items, in bytes.
func (d *Deliveries) Len() int { return len(d.arena) }

// Output is where an action's Item writes. What is appended and ended by Emit is one delivery; an unfinished one is
// emitted when Item returns. Path, Method, Group (added to the batch key) and Wait apply to the next delivery and stay
// set until they are changed.
type Output struct {
	buf                 []byte // the list's memory, and from base on the delivery being written
	base                int
	Path, Method, Group string
	Wait                bool

	header string // further headers, as in Address
	live   bool   // see Delivery

	d       *Deliveries
	action  int32
	id      string
	step    int32
	max     int
	settled bool
}

func (d *Deliveries) output(action int, id string, maxBytes int) *Output {
	o := &d.out
	o.d, o.action, o.id, o.step, o.max, o.settled = d, int32(action), id, 0, maxBytes, false
	o.Path, o.Method, o.Group, o.Wait, o.header, o.live = "", "", "", false, "", false
	o.reset(d.arena)
	return o
}

func (o *Output) reset(buf []byte) { o.buf, o.base = buf, len(buf) }

// Append adds to the delivery being written what f appends: a part of its JSON.
func (o *Output) Append(f func(dst []byte) []byte) { o.buf = f(o.buf) }

// unstamp forgets the stamps of a delivery from an offset in its item on, and those of all later deliveries.
func (d *Deliveries) unstamp(delivery, at int) {
	n := len(d.Stamps)
	for n > 0 && (int(d.Stamps[n-1].Delivery) > delivery || int(d.Stamps[n-1].Delivery) == delivery && int(
		d.Stamps[n-1].At) >= at) {
		n--
	}
	d.Stamps = d.Stamps[:n]
}

// Truncate cuts the delivery being written to n bytes, and forgets the stamps that were cut off.
func (o *Output) Truncate(n int) {
	o.d.unstamp(len(o.d.List), n)
	o.buf = o.buf[:o.base+n]
}

// InsertID is the insert id of the delivery being written: the input's id for the first delivery, and that id with
// the step appended for further ones.
func (o *Output) InsertID() string {
	if o.step == 0 {
		return o.id
	}
	o.d.joined = body.AppendStepID(o.d.joined[:0], o.id, int(o.step))
	return o.d.body.Same(o.d.joined)
}

// Emit ends the delivery being written.
func (o *Output) Emit() {
	o.d.emit(o.delivery(), o.buf, len(o.buf)-o.base, o.max)
	o.step++
	o.reset(o.d.arena)
}

// end returns where to write a delivery that emit gets: append to buf, which already has base bytes.
func (o *Output) end() (buf []byte, base int) { return o.buf, len(o.buf) }

// emit ends a delivery whose item is buf from base on. marks are the offsets of the stamp in it.
func (o *Output) emit(buf []byte, base int, marks []int) {
	for _, at := range marks {
		o.d.Stamps = append(o.d.Stamps, Stamp{int32(len(o.d.List)), int32(at)})
	}
	o.d.emit(o.delivery(), buf, len(buf)-base, o.max)
	o.step++
	o.reset(o.d.arena)
}

// oversized rejects the item, buf from base on, when one of its parts is too large.
func (o *Output) oversized(parts []part, buf []byte, base int) bool {
	for i := range parts {
		p := &parts[i]
		if len(buf)-base <= p.most {
			continue // the usual case
		}
		v, err := event.ParseValue(buf[base:])
		if err == nil && at(v, p.path).Size() > p.most {
			o.reset(buf[:base])
			o.Reject(TooLarge, p.detail)
			return true
		}
	}
	return false
}

// delivery makes the next delivery, still without its item.
func (o *Output) delivery() Delivery {
	return Delivery{
		Action: o.action, Step: o.step, Wait: o.Wait && o.step > 0, Live: o.live, InsertID: o.InsertID(),
		To: o.d.address(Address{o.Method, o.Path, o.Group, o.header}),
	}
}

// key joins the parts of a key. Most keys are those of other events, too: they share their memory.
func (d *Deliveries) key(s *body.Scratch, parts ...string) string {
	d.joined = d.joined[:0]
	for _, p := range parts {
		d.joined = append(d.joined, p...)
	}
	return s.Same(d.joined)
}

// addressesAtOnce is how many addresses share a piece of memory. Any of them keeps all.
const addressesAtOnce = 16

// address returns one shared Address for equal addresses.
func (d *Deliveries) address(a Address) *Address {
	if a == (Address{}) {
		return nil
	}
	if d.last == nil || *d.last != a {
		if len(d.unused) == 0 {
			d.unused = make([]Address, addressesAtOnce)
		}
		d.last, d.unused = &d.unused[0], d.unused[1:]
		*d.last = a
	}
	return d.last
}

// emit adds a delivery whose item is the last n bytes of buf, which extends the list's memory. A comma is put after
// it, so that items which lie next to each other lie as they stand in most bodies: see joined.
func (d *Deliveries) emit(del Delivery, buf []byte, n, limit int) {
	del.Item = buf[len(buf)-n:]
	if limit > 0 && n > limit {
		del.Settled = &Result{Outcome: Rejected, Reason: TooLarge, Detail: "the item has " + itoa(
			n) + " bytes; the partner takes " + itoa(limit)}
	}
	d.List = append(d.List, del)
	d.arena = append(buf, ',')
}

// settled is the result of a delivery that is not sent. There are few different ones, which many deliveries share.
func (d *Deliveries) settled(outcome Outcome, reason Reason, detail string) *Result {
	is := func(r *Result) bool {
		return r != nil && r.Outcome == outcome && r.Reason == reason && r.Detail == detail
	}
	if !is(d.before) { // that of the delivery before is so most often
		at := &d.results[xxh3.HashString(detail)%uint64(len(d.results))]
		if !is(*at) {
			*at = &Result{Outcome: outcome, Reason: reason, Detail: detail}
		}
		d.before = *at
	}
	return d.before
}

// Reject settles the delivery being written: the partner would never accept it.
func (o *Output) Reject(reason Reason, detail string) { o.settle(Rejected, reason, detail) }

// Skip settles the delivery being written: it is rightly not sent.
func (o *Output) Skip(reason Reason, detail string) { o.settle(Skipped, reason, detail) }

func (o *Output) settle(outcome Outcome, reason Reason, detail string) {
	o.Truncate(0)
	o.settled = true
	del := Delivery{Action: o.action, Step: o.step, Settled: o.d.settled(outcome, reason, detail)}
	del.InsertID = o.InsertID()
	o.d.List = append(o.d.List, del)
	o.step++
}

// finish emits a delivery that Item left unfinished. If Item wrote nothing at all, there was nothing to send.
func (o *Output) finish() {
	if len(o.buf) > o.base {
		o.Emit()
	} else if o.step == 0 && !o.settled {
		o.Skip(Unneeded, "the action has nothing to send for it")
	}
}

// Add appends a delivery made by a Sender without a Spec. Its item is copied into the list's memory.
func (d *Deliveries) Add(del Delivery) {
	from := len(d.arena)
	d.arena = append(d.arena, del.Item...)
	del.Item = d.arena[from:len(d.arena):len(d.arena)]
	del.To = d.address(del.Address())
	d.List = append(d.List, del)
}
