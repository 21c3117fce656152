package body

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
	"github.com/fanfold/fanfold/pkg/payload"
)

// A body is compiled when a destination is opened: names become indices of fields, paths are parsed, whatever
// depends only on settings is decided, and whatever is always the same becomes text that is copied. For each
// event, only a few flat lists have to be processed.

// op writes one node; false: nothing was written.
type op interface{ put(w *writing) bool }

// test is a condition.
type test interface{ holds(w *writing) bool }

// compiler compiles a body in its scope.
type compiler struct {
	p      *Program
	fields []payload.Field
	places *Places
	inside int
}

// verdict is what is known about a condition before there is an event.
type verdict uint8

const (
	unknown verdict = iota
	holds
	fails
)

// nothing is a node that never writes.
type nothing struct{}

func (nothing) put(*writing) bool { return false }

// constant is text that is always the same.
type constant []byte

func (c constant) put(w *writing) bool {
	w.sep()
	w.buf = append(w.buf, c...)
	return true
}

// stamped is the setting that is the stamp.
type stamped []byte

func (c stamped) put(w *writing) bool {
	w.sep()
	w.marks = append(w.marks, len(w.buf)-w.base)
	w.buf = append(w.buf, c...)
	return true
}

// copied is a field that is copied unchanged.
type copied int16

func (f copied) put(w *writing) bool {
	raw := w.in.Payload.RawAt(int16(f))
	if raw == nil {
		return false
	}
	w.sep()
	w.buf = append(w.buf, raw...)
	return true
}

// candidate is one possible place of a value.
type candidate struct {
	field int16      // of the payload; -1: the event or the element
	path  event.Path // below the field
	root  bool       // there is no path
	part  int16      // the path is a declared member; -1: it is not
	deep  int16      // index among the places looked up beforehand; -1: none
}

// valueOp is a value that has to be found or computed.
type valueOp struct {
	src        source
	candidates []candidate
	fixed      item // for constants and settings
	pieces     []pieceOp
	steps      []step
	tail       *step // the last step, if a function writes the value; nil: none
}

type pieceOp struct {
	text  string
	value *valueOp // nil: text
}

// value is the value at the place.
func (c *candidate) value(w *writing, src source) (v event.Value) {
	if ref, known := c.ref(w); known {
		_, index := w.in.Payload.Index()
		return index.Value(ref)
	}
	switch {
	case c.field >= 0:
		v = w.in.Payload.At(c.field)
	case src == fromEvent:
		v = w.in.Event
	default:
		v = w.element
	}
	if !c.root {
		v = v.Find(c.path)
	}
	return v
}

// ref is value as a reference into the index, if it is known.
func (c *candidate) ref(w *writing) (ref event.Ref, known bool) {
	switch {
	case c.part >= 0:
		if ref, known = w.in.Payload.Part(c.field, c.part); known || c.deep < 0 {
			return ref, known
		}
		return w.in.Payload.Deep(c.deep)
	case c.deep >= 0:
		return w.in.Payload.Deep(c.deep)
	}
	return 0, false
}

// yes is the value of History.
var yes = []byte("true")

// find finds the value and applies its steps.
func (v *valueOp) find(w *writing, it *item) bool {
	switch v.src {
	case fromConst:
		*it = v.fixed
	case fromSetting:
		if *it = v.fixed; !it.v.Exists() {
			return false
		}
	case fromInsertID:
		*it = item{state: asText, bytes: w.text(w.in.ID)}
		if w.in.Step > 0 {
			at := len(w.tmp)
			w.tmp = AppendStepID(w.tmp, w.in.ID, w.in.Step)
			it.bytes = w.tmp[at:len(w.tmp):len(w.tmp)]
		}
	case fromEventID:
		*it = item{state: asText, bytes: w.text(w.in.ID)}
	case fromNow:
		*it = item{state: asAt, at: w.in.Now}
	case fromHistory:
		if !w.in.History {
			return false
		}
		*it = item{state: asRaw, bytes: yes}
	case fromIndex:
		at := len(w.tmp)
		w.tmp = strconv.AppendInt(w.tmp, int64(w.index), 10)
		*it = item{state: asRaw, bytes: w.tmp[at:]}
	case fromFormat:
		if !v.format(w, it) {
			return false
		}
	default:
		for i := range v.candidates {
			c := &v.candidates[i]
			it.state = asIs
			it.v = c.value(w, v.src)
			if it.v.Exists() && (len(v.steps) == 0 || w.through(v.steps, it)) {
				return true
			}
		}
		return false
	}
	return len(v.steps) == 0 || w.through(v.steps, it)
}

// text is a string as bytes, without copying it.
func (w *writing) text(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

func (v *valueOp) format(w *writing, it *item) bool {
	var made [128]byte
	out := made[:0]
	for i := range v.pieces {
		p := &v.pieces[i]
		if p.value == nil {
			out = append(out, p.text...)
			continue
		}
		var part item
		if !p.value.find(w, &part) || part.kind() == event.Null {
			return false
		}
		out = append(out, w.textOf(&part)...)
	}
	at := len(w.tmp)
	w.tmp = append(w.tmp, out...)
	*it = item{state: asText, bytes: w.tmp[at:len(w.tmp):len(w.tmp)]}
	return true
}

func (v *valueOp) put(w *writing) bool {
	var it item
	if !v.find(w, &it) {
		return false
	}
	if v.tail != nil {
		return v.putTail(w, w.valueOf(&it))
	}
	w.sep()
	w.buf = appendItem(w.buf, &it)
	return true
}

// putTail lets the function of the last step write directly into the body.
func (v *valueOp) putTail(w *writing, of event.Value) bool {
	before := len(w.buf)
	w.sep()
	at := len(w.buf)
	w.context.w = w
	if w.buf = v.tail.f(w.buf, of, &w.context); len(w.buf) == at {
		w.buf = w.buf[:before]
		return false
	}
	return true
}

// direct makes the last step, if it is a function of the only place, write directly into the body. Such a value
// can only be written, not read.
func (v *valueOp) direct() *valueOp {
	n := len(v.steps) - 1
	if n < 0 || v.steps[n].do != as || len(v.candidates) != 1 {
		return v
	}
	d := *v
	d.steps, d.tail = v.steps[:n], &v.steps[n]
	return &d
}

func (v *valueOp) holds(w *writing) bool {
	var it item
	return v.find(w, &it)
}

// present holds when a field exists.
type present int16

func (f present) holds(w *writing) bool { return w.in.Payload.RawAt(int16(f)) != nil }

// someOp are conditions that are checked until one decides: with until false, one that does not hold (all must
// hold); with until true, one that does (any may hold).
type someOp struct {
	tests []test
	until bool
}

func (o *someOp) holds(w *writing) bool {
	for _, t := range o.tests {
		if t.holds(w) == o.until {
			return o.until
		}
	}
	return !o.until
}

type notOp struct{ t test }

func (n notOp) holds(w *writing) bool { return !n.t.holds(w) }

type fixedTest bool

func (f fixedTest) holds(*writing) bool { return bool(f) }

type whenOp struct {
	t test
	n op
}

func (o *whenOp) put(w *writing) bool { return o.t.holds(w) && o.n.put(w) }

type firstOp []op

func (o firstOp) put(w *writing) bool {
	for _, n := range o {
		if n.put(w) {
			return true
		}
	}
	return false
}

type alwaysOp struct{ n op }

func (o alwaysOp) put(w *writing) bool {
	if !o.n.put(w) {
		w.sep()
		w.buf = append(w.buf, "null"...)
	}
	return true
}

// close ends a container. It began at one place in buf, and its first byte is at another.
func (w *writing) close(from, start int, end byte, always bool) bool {
	if len(w.buf) == start && !always {
		w.cut(from)
		return false
	}
	w.buf = append(w.buf, end)
	return true
}

type listOp struct {
	nodes  []op
	always bool
}

func (o *listOp) put(w *writing) bool {
	from := len(w.buf)
	w.sep()
	w.buf = append(w.buf, '[')
	start := len(w.buf)
	for _, n := range o.nodes {
		n.put(w)
	}
	return w.close(from, start, ']', o.always)
}

type eachOp struct {
	of     valueOp
	n      op
	always bool
}

func (o *eachOp) put(w *writing) bool {
	var of item
	if !o.of.find(w, &of) || of.kind() != event.Array {
		if o.always {
			w.sep()
			w.buf = append(w.buf, "[]"...)
		}
		return o.always
	}
	from := len(w.buf)
	w.sep()
	w.buf = append(w.buf, '[')
	start := len(w.buf)
	w.each(w.valueOf(&of), func() { o.n.put(w) })
	return w.close(from, start, ']', o.always)
}

// each calls f for every element of a list.
func (w *writing) each(of event.Value, f func()) {
	element, inside, index := w.element, w.inside, w.index
	n := 0
	for e := range of.Elements() {
		w.element, w.inside, w.index = e, true, n
		f()
		n++
	}
	w.element, w.inside, w.index = element, inside, index
}

type itemsOp struct {
	frame       *frame
	open, close op // nil: the frame is the same for all events
}

func (o itemsOp) put(w *writing) bool {
	if o.open == nil {
		w.items(o.frame)
		return true
	}
	return w.around(func() bool { return o.open.put(w) }, func() bool { return o.close.put(w) })
}

// items writes what is around items, and notes where they go.
func (w *writing) items(f *frame) {
	if f != nil {
		w.buf = append(w.buf, f.open...)
		w.hole = len(w.buf) - w.base
		w.buf = append(w.buf, f.close...)
		return
	}
	w.sep()
	w.buf = append(w.buf, '[')
	w.hole = len(w.buf) - w.base
	w.buf = append(w.buf, ']')
}

// around is items for text with values in it, or nothing.
func (w *writing) around(open, close func() bool) bool {
	from := len(w.buf)
	if !open() {
		return false
	}
	hole := len(w.buf) - w.base
	if !close() {
		w.cut(from)
		return false
	}
	w.hole = hole
	return true
}

// lineOp writes an item on one line.
type lineOp struct{ n op }

func (o lineOp) put(w *writing) bool {
	from := len(w.buf)
	ok := o.n.put(w)
	w.unwrap(from)
	return ok
}

// aboveOp writes a line before an item.
type aboveOp struct{ line, n op }

func (o aboveOp) put(w *writing) bool {
	return w.above(func() bool { return o.line.put(w) }, func() bool { return o.n.put(w) })
}

// above writes two values, each on a line of its own, or nothing.
func (w *writing) above(line, n func() bool) bool {
	from := len(w.buf)
	if !line() {
		return false
	}
	w.unwrap(from)
	w.buf = append(w.buf, '\n')
	second := len(w.buf)
	if !n() {
		w.cut(from)
		return false
	}
	w.unwrap(second)
	return true
}

// unwrap takes line ends and other blanks between values out of what was written from a place in buf on. It has them
// where an event has them.
func (w *writing) unwrap(from int) {
	if bytes.IndexByte(w.buf[from:], '\n') < 0 && bytes.IndexByte(w.buf[from:], '\r') < 0 {
		return
	}
	to, quoted, escaped := from, false, false
	marks, holes := w.marks, w.holes
	for i := from; i < len(w.buf); i++ {
		for len(marks) > 0 && marks[0]+w.base <= i {
			if marks[0]+w.base == i {
				marks[0] = to - w.base
			}
			marks = marks[1:]
		}
		for len(holes) > 0 && holes[0].At+w.base <= i {
			if holes[0].At+w.base == i {
				holes[0].At = to - w.base
			}
			holes = holes[1:]
		}
		c := w.buf[i]
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\n' || c == '\r' || c == '\t'):
			continue
		}
		w.buf[to] = c
		to++
	}
	w.buf = w.buf[:to]
}

type answerOp struct{ answer }

func (o answerOp) put(w *writing) bool {
	w.sep()
	w.holes = append(w.holes, Hole{At: len(w.buf) - w.base, Step: o.step, Path: o.path, Maybe: o.maybe})
	w.buf = append(w.buf, "null"...)
	return true
}

// value compiles a value.
func (c *compiler) value(v *Value) valueOp {
	o := valueOp{src: v.src, steps: remembering(v.steps)}
	switch v.src {
	case fromConst:
		o.fixed = item{state: asRaw, bytes: v.konst}
	case fromSetting:
		o.fixed = item{v: c.p.settings[v.at[0]]}
	case fromFormat:
		for _, p := range v.parts {
			po := pieceOp{text: p.text}
			if p.value != nil {
				of := c.value(p.value)
				po.value = &of
			}
			o.pieces = append(o.pieces, po)
		}
	case fromField, fromElement, fromEvent:
		if v.src == fromField && c.inside > 0 && !v.outer {
			o.src = fromElement
		}
		for _, path := range v.at {
			cand := candidate{field: -1, part: -1, deep: -1}
			rest := path
			if o.src == fromField {
				var key string
				key, rest, _ = strings.Cut(path, ".")
				i := slices.IndexFunc(c.fields, func(f payload.Field) bool { return f.Key == key })
				cand.field = int16(i)
				if i >= 0 && c.fields[i].Type == payload.TypeObject && !c.fields[i].Multiple {
					cand.part = int16(
						slices.IndexFunc(c.fields[i].Properties, func(f payload.Field) bool { return f.Key == rest }),
					)
				}
			}
			if cand.root = rest == ""; !cand.root {
				cand.path = event.Keys(strings.Split(rest, ".")...)
				if o.src == fromEvent || cand.field >= 0 {
					cand.deep = int16(c.places.add(int(cand.field), rest))
				}
			}
			o.candidates = append(o.candidates, cand)
		}
	}
	return o
}

// remembering are the steps, of which those that rewrite remember their results.
func remembering(steps []step) []step {
	if !slices.ContainsFunc(steps, func(s step) bool { return s.do == rewrite }) {
		return steps
	}
	steps = slices.Clone(steps)
	for i := range steps {
		if steps[i].do == rewrite {
			steps[i].known = new(rewritings)
		}
	}
	return steps
}

// known is what is known about a condition.
func (c *compiler) known(cond Cond) verdict {
	switch cond := cond.(type) {
	case nil:
		return holds
	case Value:
		if cond.src != fromConst && cond.src != fromSetting {
			return unknown
		}
		if cond.src == fromSetting && !c.p.settings[cond.at[0]].Exists() {
			return fails
		}
		for i := range cond.steps {
			if d := cond.steps[i].do; d == as || d == where {
				return unknown // it may need a context
			}
		}
		o := c.value(&cond)
		var w writing
		w.begin(&Input{}, nil)
		if !o.holds(&w) {
			return fails
		}
		return holds
	case all:
		out := holds
		for _, one := range cond.conds {
			switch c.known(one) {
			case fails:
				return fails
			case unknown:
				out = unknown
			}
		}
		return out
	case anyOf:
		out := fails
		for _, one := range cond.conds {
			switch c.known(one) {
			case holds:
				return holds
			case unknown:
				out = unknown
			}
		}
		return out
	case not:
		switch c.known(cond.cond) {
		case holds:
			return fails
		case fails:
			return holds
		}
	}
	return unknown
}

// test compiles a condition; nil: it always holds.
func (c *compiler) test(cond Cond) test {
	switch c.known(cond) {
	case holds:
		return nil
	case fails:
		return fixedTest(false)
	}
	some := func(conds []Cond) (out []test) {
		for _, one := range conds {
			t := c.test(one)
			if t == nil {
				t = fixedTest(true)
			}
			out = append(out, t)
		}
		return out
	}
	switch cond := cond.(type) {
	case Value:
		v := c.value(&cond)
		if f, ok := v.whole(); ok {
			return present(f)
		}
		return &v
	case all:
		return &someOp{some(cond.conds), false}
	case anyOf:
		return &someOp{some(cond.conds), true}
	case not:
		return notOp{some([]Cond{cond.cond})[0]}
	case writes:
		return writesOp{c.node(cond.node)}
	}
	return fixedTest(false)
}

// writesOp writes a node to see whether it writes something.
type writesOp struct{ n op }

func (o writesOp) holds(w *writing) bool {
	at := len(w.buf)
	ok := o.n.put(w)
	w.cut(at)
	return ok
}

// whole says whether the value is one unchanged field.
func (v *valueOp) whole() (field int16, ok bool) {
	if v.src == fromField && len(v.steps) == 0 && len(v.candidates) == 1 && v.candidates[0].root {
		return v.candidates[0].field, true
	}
	return -1, false
}

// node compiles a node.
func (c *compiler) node(n Node) op {
	switch n := n.(type) {
	case Value:
		return c.single(&n)
	case object:
		return c.object(&n)
	case list:
		return &listOp{c.nodes(n.nodes), n.always}
	case each:
		o := &eachOp{of: c.value(&n.of), always: n.always}
		c.inside++
		o.n = c.node(n.node)
		c.inside--
		return o
	case first:
		return c.first(n.nodes)
	case when:
		switch c.known(n.cond) {
		case holds:
			return c.node(n.node)
		case fails:
			return nothing{}
		}
		return &whenOp{c.test(n.cond), c.node(n.node)}
	case always:
		return alwaysOp{c.node(n.node)}
	case whole:
		return c.object(&object{members: Fields(n.omit...).members(), always: true})
	case items:
		o := itemsOp{frame: n.frame}
		if n.frame != nil && n.frame.opening != nil {
			o.open, o.close = c.node(*n.frame.opening), c.node(*n.frame.closing)
		}
		return o
	case textual:
		return &textOp{n, c.value(&Value{src: fromFormat, parts: n.parts}).pieces}
	case above:
		return aboveOp{c.node(n.line), c.node(n.node)}
	case answer:
		return answerOp{n}
	}
	return nothing{}
}

func (c *compiler) nodes(ns []Node) (out []op) {
	for _, n := range ns {
		if o := c.node(n); o != (op)(nothing{}) {
			out = append(out, o)
		}
	}
	return out
}

// first leaves out nodes that never write, and those after a node that always writes.
func (c *compiler) first(ns []Node) op {
	var out firstOp
	for _, n := range ns {
		o := c.node(n)
		if _, is := o.(nothing); is {
			continue
		}
		out = append(out, o)
		if _, is := o.(constant); is {
			break
		}
	}
	switch len(out) {
	case 0:
		return nothing{}
	case 1:
		return out[0]
	}
	return out
}

// single compiles a value that is written.
func (c *compiler) single(v *Value) op {
	o := c.value(v)
	if f, ok := o.whole(); ok {
		return copied(f)
	}
	if v.src == fromSetting && !o.fixed.v.Exists() {
		return nothing{}
	}
	if v.src == fromSetting && v.at[0] == c.p.stamp {
		return stamped(o.fixed.v.Raw())
	}
	if v.src != fromConst && v.src != fromSetting ||
		slices.ContainsFunc(v.steps, func(s step) bool { return s.do == as || s.do == where }) {
		return o.direct()
	}
	var w writing
	w.begin(&Input{}, nil)
	if !o.put(&w) {
		return nothing{}
	}
	return constant(slices.Clone(w.buf))
}

// pathOp is a path with values in it.
type pathOp []pieceOp

func (c *compiler) path(parts []piece) pathOp {
	v := c.value(&Value{src: fromFormat, parts: parts})
	return pathOp(v.pieces)
}

// append appends the path of an event to dst, or returns the index of the piece whose value is missing.
func (o pathOp) append(w *writing, dst []byte) (out []byte, lacks int) {
	query := false
	for i := range o {
		p := &o[i]
		if p.value == nil {
			query = query || strings.Contains(p.text, "?")
			dst = append(dst, p.text...)
			continue
		}
		var it item
		var text []byte
		if p.value.find(w, &it) && it.kind() > event.Null && it.kind() < event.Array {
			text = w.textOf(&it)
		}
		switch {
		case len(text) == 0 || string(text) == "." || string(text) == "..":
			return dst, i
		case query:
			dst = jsonval.AppendQueryEscaped(dst, text)
		default:
			dst = jsonval.AppendPathEscaped(dst, text)
		}
	}
	return dst, -1
}
