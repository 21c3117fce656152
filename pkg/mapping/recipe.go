package mapping

import (
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/event"
)

// Recipe is how a text was written for one event, so that the same can be written
// for others of its form without working it out again: constant text, the event's
// own values, and what has to be computed for each. It is good for events that the
// conditions of the trace hold for which stood behind the writing.
//
// Recipes are immutable and safe for concurrent use.
type Recipe struct {
	text []byte // all that is constant
	ops  []op
}

// op is constant text, up to a place in the recipe's, and what follows it.
type op struct {
	lit  int32
	at   int32 // copy: of the event's values, the first; field, compute: a ref
	to   int32 // copy: the last
	what opKind
	f    Compute
}

type opKind uint8

const (
	opNothing opKind = iota
	opCopy
	opField
	opCompute
	opMark
)

// Compute writes what has to be worked out for every event: a function of v, of
// what l says, and of nothing else that differs from event to event. It is called
// by many goroutines.
type Compute func(w *Writer, v event.Value, l *Late)

// Late is what differs from delivery to delivery beside the event itself.
type Late struct {
	Now  time.Time
	ID   string // insert id of the first delivery
	Step int    // number of the delivery
	r    *Resolver
}

// NewLate makes a Late that uses a resolver's memory.
func NewLate(r *Resolver, now time.Time, id string, step int) Late { return Late{now, id, step, r} }

// InsertID is the insert id of the delivery.
func (l *Late) InsertID() string {
	if l.Step == 0 {
		return l.ID
	}
	return l.ID + ":" + strconv.Itoa(l.Step)
}

// Memo is f of a value's text, see [Resolver.Memo].
func (l *Late) Memo(v event.Value, f func(text string) (a, b string)) (a, b string) {
	return l.r.Memo(v, f)
}

// A ref says where a value comes from: a value of the event, or a field of the
// payload that was computed.
const (
	refNone  = -1
	refField = -2 // and below: that of field 0, 1, …
)

// Recorder notes what a [Writer] writes and what a [Resolver] runs. It is of one
// goroutine.
type Recorder struct {
	Trace *event.Trace
	ops   []op
	spans []span // of what each op wrote, in the buffer
	text  []byte
	marks int
	start int // in the buffer: where the text begins
	from  int // what follows is not noted yet

	made   []Made
	isMade map[uint16]bool
	parts  map[uint16][]int32 // of fields put together: what each value was copied from
}

// Made is a field of a payload that is computed for every event: which one, and
// what it has to be for what was recorded to be of use.
type Made struct {
	member int
	kind   event.Kind
}

// Record makes w tell rec what it writes; nil: nobody.
func (w *Writer) Record(rec *Recorder) {
	w.rec = rec
	if rec != nil {
		rec.start, rec.from = len(w.buf), len(w.buf)
	}
}

// Record makes r tell rec what it runs; nil: nobody.
func (r *Resolver) Record(rec *Recorder) { r.rec = rec }

// begin notes the constant text before an op.
func (rec *Recorder) begin(w *Writer, o op) {
	rec.text = append(rec.text, w.buf[rec.from:]...)
	o.lit = int32(len(rec.text))
	rec.ops = append(rec.ops, o)
	rec.spans = append(rec.spans, span{len(w.buf), len(w.buf)})
}

// end notes that the op has written what it does.
func (rec *Recorder) end(w *Writer) {
	rec.from = len(w.buf)
	rec.spans[len(rec.spans)-1].end = rec.from
}

// value writes a value and notes where it came from.
func (rec *Recorder) value(w *Writer, v event.Value) {
	ref, ok := rec.Trace.Source(v)
	switch {
	case !ok: // not of the event, or what it was made from has been noted
		w.buf = append(w.buf, v.Raw()...)
	case ref != refNone:
		what := opCopy
		if ref <= refField {
			what = opField
		}
		rec.begin(w, op{what: what, at: ref, to: ref})
		w.buf = append(w.buf, rec.Trace.Raw(v)...)
		rec.end(w)
	case v.Kind() == event.Object:
		sep := byte('{')
		for k, m := range v.Members() {
			w.buf = append(append(append(w.buf, sep), k.Raw()...), ':')
			rec.value(w, m)
			sep = ','
		}
		if sep == '{' {
			w.buf = append(w.buf, '{')
		}
		w.buf = append(w.buf, '}')
	case v.Kind() == event.Array:
		sep := byte('[')
		for m := range v.Elements() {
			w.buf = append(w.buf, sep)
			rec.value(w, m)
			sep = ','
		}
		if sep == '[' {
			w.buf = append(w.buf, '[')
		}
		w.buf = append(w.buf, ']')
	default:
		w.buf = append(w.buf, rec.Trace.Raw(v)...)
	}
}

// Compute writes f of v, which may be missing. A [Recipe] calls f for every event.
func (w *Writer) Compute(v event.Value, l *Late, f Compute) {
	rec := w.rec
	if rec == nil {
		f(w, v, l)
		return
	}
	ref := int32(refNone)
	if v.Exists() {
		var ok bool
		if ref, ok = rec.Trace.Source(v); !ok || ref == refNone {
			rec.Trace.Void() // made of several values: it could not be found again
		}
	}
	rec.begin(w, op{what: opCompute, at: ref, f: f})
	w.rec = nil
	rec.Trace.Pause()
	f(w, v, l)
	rec.Trace.Resume()
	w.rec = rec
	rec.end(w)
}

// Mark notes a place, for [Recipe.Play] to tell where it is then.
func (w *Writer) Mark() {
	if w.rec != nil {
		w.rec.marks++
		w.rec.begin(w, op{what: opMark})
		w.rec.end(w)
	}
}

// truncate takes back what was written behind the buffer's end.
func (rec *Recorder) truncate(w *Writer) {
	n := len(w.buf)
	if n < rec.start {
		rec.Trace.Void()
	}
	for len(rec.ops) > 0 && n < rec.from {
		last := len(rec.ops) - 1
		if rec.spans[last].start < n {
			rec.Trace.Void() // a value was cut in two
		}
		if rec.ops[last].what == opMark {
			rec.marks--
		}
		rec.ops, rec.spans = rec.ops[:last], rec.spans[:last]
		if rec.text, rec.from = rec.text[:0], rec.start; last > 0 {
			rec.text, rec.from = rec.text[:rec.ops[last-1].lit], rec.spans[last-1].end
		}
	}
}

// Cut ends a text: it returns the recipe of what w has written since the last
// one.
func (rec *Recorder) Cut(w *Writer) Recipe {
	rec.begin(w, op{})
	// Values that are copied with what stands between them are copied at once:
	// most of an event's own properties.
	var out Recipe
	at := int32(0)
	for _, o := range rec.ops {
		text := rec.text[at:o.lit]
		at = o.lit
		if n := len(out.ops); n > 0 && o.what == opCopy {
			if last := &out.ops[n-1]; last.what == opCopy && rec.Trace.Follows(last.to, o.at, text) {
				last.to = o.to
				continue
			}
		}
		out.text = append(out.text, text...)
		o.lit = int32(len(out.text))
		out.ops = append(out.ops, o)
	}
	out.text, out.ops = slices.Clip(out.text), slices.Clip(out.ops)
	rec.text, rec.ops, rec.spans, rec.marks = nil, nil, nil, 0
	rec.start, rec.from = len(w.buf), len(w.buf)
	return out
}

// Play writes for an event what the recipe says. Of the payload it needs the
// fields that [Program.Make] has made. It appends the places of the marks, in
// bytes since w was reset.
func (c *Recipe) Play(w *Writer, e *event.Event, r *Resolver, l *Late, marks []int) []int {
	at := int32(0)
	for i := range c.ops {
		o := &c.ops[i]
		w.buf = append(w.buf, c.text[at:o.lit]...)
		at = o.lit
		switch o.what {
		case opCopy:
			w.buf = e.Append(w.buf, o.at, o.to)
		case opField:
			w.buf = append(w.buf, r.now.raw(uint16(refField-o.at))...)
		case opCompute:
			o.f(w, Origin{o.at}.Value(e, r), l)
		case opMark:
			marks = append(marks, len(w.buf)-w.base)
		}
	}
	return marks
}

// record is [Program.member] of all members, and tells r's recorder what it does.
// What follows from the form, and from conditions that the trace notes, is done
// once and for all; what takes more than that is computed for every event.
func (p *Program) record(r *Resolver, in event.Value) {
	rec, s := r.rec, &r.now
	rec.parts, rec.isMade = map[uint16][]int32{}, map[uint16]bool{}
	if len(p.schema.rules) > 0 {
		rec.Trace.Void() // conditions look at all that was given
		for i := range p.members {
			p.member(r, &p.members[i], in)
		}
		return
	}
	bools := 0
	for i := range p.members {
		m := &p.members[i]
		quiet := func() {
			rec.Trace.Pause()
			p.member(r, m, in)
			rec.Trace.Resume()
		}
		switch v, how := pick(r, m.n); {
		case m.shape != nil && p.object(r, m):
		case how == constant, m.bound && p.nothing(r, m):
			quiet()
		case m.bound && bools < maxBools && p.onlyBools(r, m):
			bools++ // they are noted: there are two of each
			p.member(r, m, in)
		case how == picked && m.s != nil && p.take(r, m.s, v):
		default:
			problems := len(s.problems)
			quiet()
			if r.err != nil || len(s.problems) > problems {
				rec.Trace.Void() // what is wrong may be said in the event's words
				continue
			}
			if m.s == nil { // it is computed for what can go wrong
				rec.made = append(rec.made, Made{member: i})
				continue
			}
			f := uint16(m.s.number)
			if s.state[f] == taken { // which value it is may differ
				start := len(s.out)
				s.out = append(s.out, rec.Trace.Raw(s.vals[f])...)
				s.spans[f], s.state[f] = span{start, len(s.out)}, written
			}
			made := Made{member: i}
			if s.state[f] != absent {
				made.kind = kindOf(s.raw(f))
				rec.isMade[f] = true
			}
			rec.made = append(rec.made, made)
		}
	}
}

// nothing says that none of what a member is made of is there.
func (p *Program) nothing(r *Resolver, m *member) bool {
	for _, slot := range m.slots {
		if r.slots[slot].Exists() {
			return false
		}
	}
	return true
}

// maxBools is for how many members of a payload each way that their values can be
// has a recipe of its own.
const maxBools = 3

// onlyBools says that what a member is made of are true and false.
func (p *Program) onlyBools(r *Resolver, m *member) bool {
	for _, slot := range m.slots {
		if k := r.slots[slot].Kind(); k > event.Bool {
			return false
		}
	}
	return true
}

// pickKind is what is known of a node's value without computing it.
type pickKind uint8

const (
	unknown  pickKind = iota
	picked            // a value of the event, or missing
	constant          // always the same
)

// pick finds the value of a node that only chooses, by what is there.
func pick(r *Resolver, n node) (event.Value, pickKind) {
	switch n := n.(type) {
	case *literalNode:
		return event.Value{}, constant
	case undefinedNode:
		return event.Value{}, picked
	case *pathNode:
		if n.slot > 0 {
			return r.slots[n.slot-1], picked
		}
	case *ifNode:
		v, how := pick(r, n.cond)
		if n.blank || how != picked {
			return event.Value{}, unknown
		}
		if v.Nullish() {
			return pick(r, n.els)
		}
		return pick(r, n.then)
	case *firstNode:
		for _, c := range n.vals {
			v, how := pick(r, c)
			if how != picked {
				return event.Value{}, unknown
			}
			if !v.Nullish() && !v.IsEmptyText() && (v.Kind() < event.Array || v.Len() > 0) {
				return v, picked
			}
		}
		return event.Value{}, picked
	}
	return event.Value{}, unknown
}

// take makes a value of the event a field of the payload, or finds that it is left
// out. It reports false when the value has to be coerced or checked.
func (p *Program) take(r *Resolver, f *schema, v event.Value) bool {
	k := v.Kind()
	switch {
	case k == event.Missing, k == event.Null && !f.nullable:
		return true
	case k == event.String && (!p.batch || f.Multiple || !f.str && f.Type != TypeDatetime) && v.IsEmptyText():
		return true
	case f.keeps(v):
		r.now.take(f, v)
		return true
	}
	return false
}

// Made returns the fields that have to be computed for every event, those of the
// last run.
func (rec *Recorder) Made() []Made { return rec.made }

// Make computes fields of an event's payload. It says whether they are what they
// were when they were recorded.
func (p *Program) Make(r *Resolver, in event.Value, fields []Made) bool {
	r.reset()
	s := &r.now
	s.reset(len(p.schema.props))
	s.payload = Payload{r: r, root: p.schema}
	if len(fields) == 0 {
		return true
	}
	for i := range fields {
		m := &p.members[fields[i].member]
		r.slots = p.paths.LookupSome(in, r.slots, m.slots)
		p.member(r, m, in)
		if r.err != nil || len(s.problems) > 0 {
			return false
		}
		kind := event.Missing
		if m.s != nil && s.state[m.s.number] != absent {
			kind = kindOf(s.raw(uint16(m.s.number)))
		}
		if kind != fields[i].kind {
			return false
		}
	}
	return true
}

// Origin says where a value of a payload comes from, for [Origin.Value] to find
// that of another event. Not ok: it cannot be found again.
func (rec *Recorder) Origin(v event.Value) (o Origin, ok bool) {
	if !v.Exists() {
		return Origin{refNone}, true
	}
	ref, ok := rec.Trace.Source(v)
	return Origin{ref}, ok && ref != refNone
}

// Origin is a place in events of a form, or a field made of them.
type Origin struct{ ref int32 }

// Value returns the value there.
func (o Origin) Value(e *event.Event, r *Resolver) event.Value {
	switch {
	case o.ref >= 0:
		return e.Value(o.ref)
	case o.ref <= refField:
		return r.now.payload.value(uint16(refField - o.ref))
	}
	return event.Value{}
}

// Size is about how many bytes of memory the recipe takes.
func (c *Recipe) Size() int { return cap(c.text) + cap(c.ops)*int(unsafe.Sizeof(op{})) }
