package mapping

import (
	"reflect"
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
	at   int32 // copy: the event's value that it begins with; field, compute: a ref
	to   int32 // copy: the one that it ends with
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
// what l says, and of nothing else that differs from event to event: it must not
// capture a value, a text or a payload of the event that it was made for. It is
// called by many goroutines.
type Compute func(w *Writer, v event.Value, l *Late)

// WriteText is a [Compute] that writes a value's text.
func WriteText(w *Writer, v event.Value, _ *Late) {
	if b, ok := v.Plain(); ok {
		w.TextBytes(b)
	} else {
		w.Text(v.Text())
	}
}

// WriteInsertID is a [Compute] that writes the insert id of the delivery.
func WriteInsertID(w *Writer, _ event.Value, l *Late) { w.Text(l.InsertID()) }

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

// Recall is f of a value's text, from memory when that was asked for lately: user
// agents and the like are few, and reading one takes longer than most events
// do. f has to be a pure function at the top level of its package; what it makes must
// not be changed.
func Recall[T any](l *Late, v event.Value, f func(text string) *T) *T {
	text, ok := v.Plain()
	if !ok || len(text) > maxMemo {
		return f(v.Text())
	}
	m, known := l.r.memo.of(reflect.ValueOf(f).Pointer(), text)
	if !known {
		m.made = f(m.text)
	}
	return m.made.(*T)
}

// A ref says where a value comes from: a value of the event, or a field of the
// payload that was computed.
const (
	refNone    = -1
	refField   = -2       // and below: that of field 0, 1, …
	refCoerced = -1 << 20 // and below: what a value of the event is coerced to, see coercion
)

// coercion is a value of the event that a field's type makes another of.
type coercion struct {
	f  *schema
	at int32 // the value
}

// compute is g of what the value is coerced to, for [Recipe.Play].
func (c coercion) compute(g Compute) Compute {
	return func(w *Writer, v event.Value, l *Late) {
		r := l.r
		r.coerced.Reset()
		text, ok := c.f.scalar(r.temp(), v.Raw(), v.Kind())
		if made, err := r.coerced.ParseValue(text); ok && err == nil {
			g(w, made, l)
		}
		r.done(text)
	}
}

func (c coercion) write(w *Writer, v event.Value, _ *Late) {
	w.buf, _ = c.f.scalar(w.buf, v.Raw(), v.Kind())
}

// coerced notes that a field's type makes a value of a kind of one of the event.
func (rec *Recorder) coerced(f *schema, v event.Value, kind event.Kind) (ref int32) {
	at, ok := rec.Trace.Source(v)
	if !ok || at < 0 {
		rec.Trace.Void()
	}
	if !f.str { // all scalars can be texts
		v.Test(func(v event.Value) bool {
			var buf [32]byte
			text, ok := f.scalar(buf[:0], v.Raw(), v.Kind())
			return ok && kindOf(text) == kind
		})
	}
	rec.coercions = append(rec.coercions, coercion{f, at})
	return refCoerced - int32(len(rec.coercions)-1)
}

// Recorder notes what a [Writer] writes and what a [Resolver] runs. It is of one
// goroutine.
type Recorder struct {
	Trace *event.Trace
	ops   []op
	spans []span // of what each op wrote, in the buffer
	text  []byte
	start int // in the buffer: where the text begins
	from  int // what follows is not noted yet

	made      []Made
	isMade    map[uint16]bool
	parts     map[uint16][]int32 // of fields put together: what each value was copied from
	coercions []coercion
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
	case ref <= refCoerced:
		c := rec.coercions[refCoerced-ref]
		rec.begin(w, op{what: opCompute, at: c.at, f: c.write})
		w.buf = append(w.buf, rec.Trace.Raw(v)...)
		rec.end(w)
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
		ref, ok = rec.Trace.Source(v)
		switch {
		case !ok || ref == refNone && v.Kind() < event.Array: // always the same, see value
			own, err := event.ParseValue(slices.Clone(rec.Trace.Raw(v)))
			if err != nil {
				rec.Trace.Void()
			}
			of := f
			v, ref, f = own, refNone, func(w *Writer, _ event.Value, l *Late) { of(w, own, l) }
		case ref == refNone:
			rec.Trace.Void() // made of several values: it could not be found again
		}
	}
	play := f
	if ref <= refCoerced {
		c := rec.coercions[refCoerced-ref]
		ref, play = c.at, c.compute(f)
	}
	rec.begin(w, op{what: opCompute, at: ref, f: play})
	w.rec = nil
	rec.Trace.Pause()
	f(w, v, l)
	rec.Trace.Resume()
	w.rec = rec
	rec.end(w)
	if sp := rec.spans[len(rec.spans)-1]; sp.end == sp.start {
		rec.Trace.Void() // whether a comma follows depends on it
	}
}

// Mark notes a place, for [Recipe.Play] to tell where it is then.
func (w *Writer) Mark() {
	if w.rec != nil {
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
	rec.text, rec.ops, rec.spans = nil, nil, nil
	rec.start, rec.from = len(w.buf), len(w.buf)
	return out
}

// Play writes for an event what the recipe says. Of the payload it needs the
// fields that [Program.Make] has made. It appends the places of the marks, in
// bytes since w was reset. It reports false when the event is none for the recipe
// after all: something that was computed for it is nothing, or all is too large.
func (c *Recipe) Play(w *Writer, e *event.Event, r *Resolver, l *Late, marks []int) ([]int, bool) {
	// The buffer is w's only while others write: to put it there with every piece
	// costs a tenth.
	buf, texts := w.buf, e.Texts()
	at := int32(0)
	for i := range c.ops {
		o := &c.ops[i]
		buf = append(buf, c.text[at:o.lit]...)
		at = o.lit
		switch o.what {
		case opCopy:
			buf = texts.Append(buf, o.at, o.to)
		case opField:
			buf = append(buf, r.now.raw(uint16(refField-o.at))...)
		case opCompute:
			w.buf = buf
			o.f(w, Origin{o.at}.Value(e, r), l)
			if len(w.buf) == len(buf) {
				return marks, false
			}
			buf = w.buf
		case opMark:
			marks = append(marks, len(buf)-w.base)
		}
	}
	w.buf = buf
	return marks, len(buf)-w.base <= maxOutput
}

// record is [Program.member] of all members, and tells r's recorder what it does.
// What follows from the form, and from conditions that the trace notes, is done
// once and for all; what takes more than that is computed for every event.
func (p *Program) record(r *Resolver, in event.Value) {
	rec, s := r.rec, &r.now
	rec.parts, rec.isMade = map[uint16][]int32{}, map[uint16]bool{}
	bools := 0
	for i := range p.members {
		m := &p.members[i]
		given := len(s.given)
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
		case how == picked && m.s != nil && (p.take(r, m.s, v) || p.follow(r, m.s, v)):
			if m.tested && s.state[m.s.number] != absent {
				p.note(r, m.key, &result{raw: rec.Trace.Raw(v), kind: v.Kind()})
				for k := given; k < len(s.given); k++ {
					s.given[k].from = v
				}
			}
		case p.blind(r, m):
		default:
			problems := len(s.problems)
			quiet()
			for k := given; k < len(s.given); k++ {
				s.given[k].from, s.given[k].made = v, how != picked
			}
			if m.s == nil && m.tested {
				rec.Trace.Void() // whether it is there may differ
			}
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

// tests notes what a condition learns of a member that was given. Whether a field
// is there is known: it is in the form, noted, or looked at by [Program.Make].
func (rec *Recorder) tests(g *given, t *Test, several, nested bool) {
	v, absence := g.from, t.Value.IsZero()
	switch {
	case absence && several && !nested:
	case g.made || nested && v.Exists():
		rec.Trace.Void()
	case !v.Exists(): // always the same
	case absence:
		v.Test(isNullLike)
	default:
		switch want := t.Value.t.appendJSON(nil); {
		case kindOf(want) != v.Kind():
		case v.Kind() == event.String && isPlainASCII(want):
			v.IsText(string(want[1 : len(want)-1]))
		default:
			v.Raw()
		}
	}
}

func isNullLike(v event.Value) bool { return nullLike(v.Raw()) }

// isPlainASCII says that a JSON string has one way to be written, escapes apart.
func isPlainASCII(quoted []byte) bool {
	for _, c := range quoted {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
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
	case k == event.String && (!p.batch || f.dropsEmpty()) && v.IsEmptyText():
		return true
	case k == event.Null, f.keeps(v):
		r.now.take(f, v)
		return true
	}
	return false
}

// follow makes a field of a value of the event as coerce does, and notes where what
// is in it comes from. It reports false, with nothing made, when that does not follow
// from what can be noted.
func (p *Program) follow(r *Resolver, f *schema, v event.Value) bool {
	s := &r.now
	start, problems := len(s.out), len(s.problems)
	r.trail = append(r.trail[:0], f.path...)
	parts, ok := f.follow(r, nil, v, true, true)
	if !ok {
		s.out, s.problems = s.out[:start], s.problems[:problems]
		return false
	}
	s.made(f, start)
	r.rec.parts[uint16(f.number)] = parts
	return true
}

// follow is coerce of a value of the event; at the root, other values than arrays
// are wrapped.
func (f *schema) follow(r *Resolver, parts []int32, v event.Value, clean, root bool) ([]int32, bool) {
	k, s := v.Kind(), &r.now
	if !f.Multiple {
		return f.followOne(r, parts, v, clean)
	}
	if k == event.Object && !root {
		return parts, false
	}
	ok := true
	parts = append(parts, refNone)
	s.out = append(s.out, '[')
	if k != event.Array {
		parts, ok = f.followItem(r, parts, v, 0)
	}
	n := 0
	for e := range v.Elements() {
		if clean && (e.Kind() == event.Null || !f.str && f.Type != TypeDatetime && e.IsEmptyText()) {
			continue
		}
		if n > 0 {
			s.out = append(s.out, ',')
		}
		if parts, ok = f.followItem(r, parts, e, n); !ok {
			break
		}
		n++
	}
	s.out = append(s.out, ']')
	return parts, ok
}

func (f *schema) followItem(r *Resolver, parts []int32, v event.Value, n int) ([]int32, bool) {
	at := len(r.trail)
	r.trail = strconv.AppendInt(append(r.trail, '/'), int64(n), 10)
	parts, ok := f.followOne(r, parts, v, false)
	r.trail = r.trail[:at]
	return parts, ok
}

func (f *schema) followOne(r *Resolver, parts []int32, v event.Value, clean bool) ([]int32, bool) {
	k, s, trace := v.Kind(), &r.now, r.rec.Trace
	asIs := f.enum == nil && (f.str && k == event.String || f.Type == TypeNumber && k == event.Number || f.Type == TypeBoolean && k == event.Bool)
	switch {
	case f.Type == TypeObject && k == event.Object && !f.checked && f.props != nil:
		return f.followObject(r, parts, v, clean)
	case f.Type == TypeObject && k == event.Object && !f.checked, f.Multiple && asIs, f.keeps(v):
		s.out = append(s.out, trace.Raw(v)...)
		return trace.Sources(parts, v), true
	}
	ref, ok := f.coerced(r, v)
	return append(parts, ref), ok
}

func (f *schema) followObject(r *Resolver, parts []int32, v event.Value, clean bool) ([]int32, bool) {
	s, trace := &r.now, r.rec.Trace
	drops := func(f *schema, v event.Value) bool {
		switch k := v.Kind(); {
		case k == event.Missing:
			return true
		case !clean:
			return false
		case k == event.Null:
			return !f.nullable
		}
		return f.dropsEmpty() && v.IsEmptyText()
	}
	for _, c := range f.needed {
		if drops(c, v.Get(c.Key)) {
			f.lacks(r, c)
		}
	}
	parts = append(parts, refNone)
	s.out = append(s.out, '{')
	n := len(s.out)
	for k, m := range v.Members() {
		key := k.Text()
		c := f.byKey[key]
		switch {
		case v.Get(key) != m: // a key twice
			return parts, false
		case c == nil && !f.AdditionalProperties, c != nil && drops(c, m):
			continue
		}
		if len(s.out) > n {
			s.out = append(s.out, ',')
		}
		s.out = append(append(s.out, k.Raw()...), ':')
		if c == nil {
			s.out = append(s.out, trace.Raw(m)...)
			parts = trace.Sources(parts, m)
			continue
		}
		at := len(r.trail)
		r.trail = append(append(r.trail, '/'), c.Key...)
		var ok bool
		if parts, ok = c.follow(r, parts, m, clean, false); !ok {
			return parts, false
		}
		r.trail = r.trail[:at]
	}
	s.out = append(s.out, '}')
	return parts, true
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
	return Origin{ref}, ok && ref != refNone && ref > refCoerced
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
