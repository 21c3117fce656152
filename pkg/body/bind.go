package body

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Scope is what the names in a body refer to: an action's fields and a user's settings.
type Scope struct {
	Fields   []payload.Field
	Settings map[string]any // by key
	Stamp    string         // key of the setting that is the stamp; "": there is none
	Places   *Places        // nil: no places are looked up beforehand
}

// Places are the paths below fields, and in the event itself, that the bodies of an action use. Mapping the event
// can find them in the same pass, see [payload.Deeper].
type Places struct {
	list []payload.Deep
	at   map[string]int
}

// List are the places.
func (p *Places) List() []payload.Deep { return p.list }

// add returns the index of a path below a field; -1: it is not looked up beforehand.
func (p *Places) add(field int, path string) int {
	if p == nil {
		return -1
	}
	name := strconv.Itoa(field) + "." + path
	at, known := p.at[name]
	if !known {
		if at = len(p.list); at > math.MaxInt16 {
			return -1
		}
		if p.at == nil {
			p.at = map[string]int{}
		}
		p.at[name] = at
		p.list = append(p.list, payload.Deep{Field: field, Path: event.Keys(strings.Split(path, ".")...)})
	}
	return at
}

// Program is a body whose names are resolved. It is immutable and safe for concurrent use.
type Program struct {
	node     Node
	compiled op
	settings map[string]event.Value
	stamp    string
	items    *items // of an envelope
	each     []itemOp
	static   bool   // for an envelope: it is the same for all events
	open     string // the text of a static envelope before the items
	close    string
	varies   bool
	history  bool
}

// Scratch is the memory for writing bodies. The zero Scratch is ready for use. It is not safe for concurrent use:
// each goroutine needs its own.
type Scratch struct {
	w    writing
	room []byte // for texts that stand in no body
	// Plain makes the interpreter write instead of the compiled program.
	Plain bool
}

// Context is what a function sees of an event. It is valid until the next writing.
func (s *Scratch) Context(in *Input) *Context {
	s.w.begin(in, nil)
	s.w.context.w = &s.w
	return &s.w.context
}

// Marks are the offsets in bytes of the stamp in what was written last.
func (s *Scratch) Marks() []int { return s.w.marks }

// Holes are the places in what was written last that values from answers will fill.
func (s *Scratch) Holes() []Hole { return s.w.holes }

// Bind resolves the names in a body. The error joins all names that do not exist.
func (sc Scope) Bind(n Node) (*Program, error) {
	p := &Program{node: n, stamp: sc.Stamp}
	c := checker{scope: sc}
	if text, is := n.(textual); is {
		c.text(&text)
	} else {
		c.node(n)
	}
	if _, whole := n.(items); c.items != nil && c.items.frame != nil && !whole {
		c.failf("items that are framed by text are the whole body")
	}
	var err error
	if p.settings, err = sc.Values(); err != nil {
		return nil, err
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	p.items, p.varies, p.history = c.items, c.dynamic, c.history
	comp := compiler{p: p, fields: sc.Fields, places: sc.Places}
	p.compiled = comp.node(n)
	if p.items != nil {
		for _, n := range p.items.nodes {
			o := comp.item(n)
			if p.items.onLines(n) {
				o.n = lineOp{o.n}
			}
			p.each = append(p.each, o)
		}
	}
	if p.static = c.items != nil && !c.dynamic; p.static {
		var s Scratch
		var ok bool
		if p.open, p.close, ok = p.Envelope(&s, &Input{}); !ok {
			return nil, errors.New("the envelope around the items writes nothing: a setting in it has no value")
		}
	}
	return p, nil
}

// Values are the settings as values, for [Input]. A setting without a value is Missing.
func (sc Scope) Values() (map[string]event.Value, error) {
	values := map[string]event.Value{}
	for key, v := range sc.Settings {
		value, err := settingValue(v)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", key, err)
		}
		values[key] = value
	}
	return values, nil
}

// settingValue is a setting as a value; Missing if it has none.
func settingValue(v any) (event.Value, error) {
	if rv := reflect.ValueOf(v); !rv.IsValid() || rv.IsZero() ||
		(rv.Kind() == reflect.Slice || rv.Kind() == reflect.Map) && rv.Len() == 0 {
		return event.Value{}, nil
	}
	if d, is := v.(time.Duration); is {
		v = d.Seconds()
	}
	b, err := encode(v)
	if err != nil {
		return event.Value{}, err
	}
	return event.ParseValue(b)
}

// Batch says whether the body is an envelope around items.
func (p *Program) Batch() bool { return p.items != nil }

// Separator is the text between two items.
func (p *Program) Separator() string {
	if p.items != nil && p.items.frame != nil {
		return p.items.frame.sep
	}
	return ","
}

// Varies says whether the body differs from event to event; for an envelope, only what is around the items counts.
func (p *Program) Varies() bool { return p.varies }

// NeedsHistory says whether the body is different for an event that is history.
func (p *Program) NeedsHistory() bool { return p.history }

// NeedsAnswers says whether a body, or a path ([Format]), uses an earlier answer, as in {answer.1.name}. The names
// in it need not exist.
func NeedsAnswers(n Node) bool {
	c := checker{silent: true, inPath: true}
	c.node(n)
	return c.answers
}

// Static returns the texts before and after the items if they are the same for all events.
func (p *Program) Static() (open, close string, ok bool) { return p.open, p.close, p.static }

// Append appends the body of an event to dst; false: there is nothing to send, and dst is returned unchanged.
func (p *Program) Append(s *Scratch, in *Input, dst []byte) ([]byte, bool) {
	if s.Plain {
		return p.Interpret(s, in, dst)
	}
	s.w.begin(in, dst)
	ok := p.compiled.put(&s.w)
	return s.w.buf, ok
}

// Interpret is [Program.Append] by the interpreter: simple and slow.
func (p *Program) Interpret(s *Scratch, in *Input, dst []byte) ([]byte, bool) {
	x := p.interpreter(s, in, dst)
	ok := x.put(p.node)
	return x.buf, ok
}

func (p *Program) interpreter(s *Scratch, in *Input, dst []byte) *interpreter {
	s.w.begin(in, dst)
	return &interpreter{&s.w, p}
}

// Envelope returns what comes before and after the items of an event.
func (p *Program) Envelope(s *Scratch, in *Input) (open, close string, ok bool) {
	if p.open != "" || p.close != "" {
		return p.open, p.close, true
	}
	if s.Plain {
		return p.InterpretEnvelope(s, in)
	}
	s.begin(in)
	return s.envelope(p.compiled.put(&s.w))
}

// InterpretEnvelope is [Program.Envelope] by the interpreter: simple and slow.
func (p *Program) InterpretEnvelope(s *Scratch, in *Input) (open, close string, ok bool) {
	x := p.interpreter(s, in, nil)
	return s.envelope(x.put(p.node))
}

func (s *Scratch) envelope(written bool) (open, close string, ok bool) {
	w := &s.w
	if s.room = w.buf; !written || w.hole < 0 {
		return "", "", false
	}
	return w.shared(w.buf[:w.hole]), w.shared(w.buf[w.hole:]), true
}

// begin prepares for a text that stands in no body.
func (s *Scratch) begin(in *Input) { s.w.begin(in, s.empty()) }

func (s *Scratch) empty() []byte {
	if cap(s.room) > 1<<20 {
		s.room = nil // one huge event must not keep that much memory for ever
	}
	return s.room[:0]
}

// Key is what [Program.Append] writes, as a string; "": there is nothing.
func (p *Program) Key(s *Scratch, in *Input) string {
	s.room, _ = p.Append(s, in, s.empty())
	return s.w.shared(s.room)
}

// Text is what [Program.Append] writes, decoded if it is a text; false: there is nothing.
func (p *Program) Text(s *Scratch, in *Input) (text string, ok bool) {
	if s.room, ok = p.Append(s, in, s.empty()); !ok {
		return "", false
	}
	return s.w.shared(s.w.textOf(&item{state: asRaw, bytes: s.room})), true
}

// Parse is a JSON text as a value, which is valid until something is written.
func (s *Scratch) Parse(b []byte) (event.Value, error) {
	s.w.parser.Reset()
	return s.w.parser.ParseValue(b)
}

// Same is b as a string, for texts that occur again and again: recent ones are kept.
func (s *Scratch) Same(b []byte) string { return s.w.shared(b) }

// itemOp is what an envelope contains: one item, or one for each element of a list.
type itemOp struct {
	cond test // nil: always
	of   *valueOp
	n    op
}

func (c *compiler) item(n Node) (o itemOp) {
	if w, is := n.(when); is {
		o.cond, n = c.test(w.cond), w.node
	}
	if e, is := n.(each); is {
		of := c.value(&e.of)
		o.of = &of
		c.inside++
		o.n = c.node(e.node)
		c.inside--
		return o
	}
	o.n = c.node(n)
	return o
}

// onLines says that an item has to be put on one line. One that has a line above it is on two.
func (it *items) onLines(n Node) bool {
	_, two := n.(above)
	return it.frame != nil && !two
}

// Sink receives items.
type Sink interface {
	// Next returns the buffer to which the next item is appended.
	Next() []byte
	// Emit receives that buffer with the item appended.
	Emit(buf []byte)
}

// Items writes the items of an event, one after the other.
func (p *Program) Items(s *Scratch, in *Input, to Sink) {
	if s.Plain {
		p.InterpretItems(s, in, to)
		return
	}
	w := &s.w
	for i := range p.each {
		o := &p.each[i]
		w.begin(in, nil)
		if o.cond != nil && !o.cond.holds(w) {
			continue
		}
		if o.of == nil {
			w.begin(in, to.Next())
			if o.n.put(w) {
				to.Emit(w.buf)
			}
			continue
		}
		var of item
		if o.of.find(w, &of) && of.kind() == event.Array {
			w.each(w.lasting(&of), func() {
				w.again(in, to.Next())
				if o.n.put(w) {
					to.Emit(w.buf)
				}
			})
		}
	}
}

// lasting is the item as a value that stays valid when more is written.
func (w *writing) lasting(it *item) event.Value {
	v := w.valueOf(it)
	if it.state != asIs {
		v, _ = event.ParseValue(slices.Clone(v.Raw()))
	}
	return v
}

// again is begin for the current element of [Each].
func (w *writing) again(in *Input, dst []byte) {
	element, inside, index := w.element, w.inside, w.index
	w.begin(in, dst)
	w.element, w.inside, w.index = element, inside, index
}

// InterpretItems is [Program.Items] by the interpreter: simple and slow.
func (p *Program) InterpretItems(s *Scratch, in *Input, to Sink) {
	x := p.interpreter(s, in, nil)
	one := func(n Node) {
		x.again(in, to.Next())
		from := len(x.buf)
		if x.put(n) {
			if p.items.onLines(n) {
				x.unwrap(from)
			}
			to.Emit(x.buf)
		}
	}
	for _, n := range p.items.nodes {
		x.begin(in, nil)
		cond := Cond(nil)
		if w, is := n.(when); is {
			cond, n = w.cond, w.node
		}
		if !x.holds(cond) {
			continue
		}
		e, is := n.(each)
		if !is {
			one(n)
			continue
		}
		if of, ok := x.value(&e.of); ok && of.kind() == event.Array {
			x.each(x.lasting(&of), func() { one(e.node) })
		}
	}
}

// Test is a condition whose names are resolved. It is immutable and safe for concurrent use.
type Test struct {
	cond Cond
	t    test // nil: it always holds
	p    *Program
}

// BindCond resolves the names in a condition.
func (sc Scope) BindCond(c Cond) (*Test, error) {
	p, err := sc.Bind(when{c, Const(true)})
	if err != nil {
		return nil, err
	}
	comp := compiler{p: p, fields: sc.Fields, places: sc.Places}
	return &Test{c, comp.test(c), p}, nil
}

// Holds says whether the condition holds for an event.
func (t *Test) Holds(s *Scratch, in *Input) bool {
	if s.Plain {
		return t.Interpret(s, in)
	}
	if t.t == nil {
		return true
	}
	s.w.begin(in, nil)
	return t.t.holds(&s.w)
}

// NeedsHistory says whether the condition depends on the event being history.
func (t *Test) NeedsHistory() bool { return t.p.history }

// Never says whether the settings alone rule the condition out.
func (t *Test) Never() bool { return t.t == test(fixedTest(false)) }

// Interpret is [Test.Holds] by the interpreter: simple and slow.
func (t *Test) Interpret(s *Scratch, in *Input) bool {
	return t.p.interpreter(s, in, nil).holds(t.cond)
}

// Path is the path of a request, with the names in it resolved.
type Path struct {
	op     pathOp
	names  []string // for each part, of the value in it
	static string
	fixed  bool // static is the path
}

// BindPath resolves the names in a path: in /users/{user_id} they are those of From("user_id"), and {settings.key}
// is a setting. After a question mark, values are escaped as in a query.
func (sc Scope) BindPath(path string) (*Path, error) {
	v := Format(path)
	out := &Path{}
	c := checker{scope: sc, inPath: true}
	c.node(v)
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	p, err := sc.Bind(Const("")) // for the settings
	if err != nil {
		return nil, err
	}
	comp := compiler{p: p, fields: sc.Fields, places: sc.Places}
	for _, part := range v.parts {
		name := ""
		if part.value != nil {
			if name = strings.Join(part.value.at, " or "); part.value.src == fromAnswer { // for who has it
				part = piece{text: "{" + part.value.at[0] + "}"}
			}
		}
		out.op = append(out.op, comp.path([]piece{part})...)
		out.names = append(out.names, name)
	}
	if !c.dynamic {
		var s Scratch
		var lacks string
		out.static, lacks = out.Append(&s, &Input{})
		out.fixed = lacks == "" // a setting that is not set is missing for each event that needs it
	}
	return out, nil
}

// Static is the path if it is the same for all events; else "".
func (p *Path) Static() string { return p.static }

// Append returns the path of an event, or what is missing for it.
func (p *Path) Append(s *Scratch, in *Input) (path, lacks string) {
	if p.fixed {
		return p.static, ""
	}
	s.begin(in)
	out, at := p.op.append(&s.w, s.w.buf)
	if s.room = out; at >= 0 {
		return "", p.names[at]
	}
	return s.w.shared(out), ""
}

// checker checks the names in a body.
type checker struct {
	scope   Scope
	errs    []error
	inside  int  // Each
	dynamic bool // something differs from event to event
	items   *items
	answers bool
	inPath  bool
	silent  bool // names need not exist
	history bool
}

func (c *checker) failf(format string, args ...any) {
	if c.silent {
		return
	}
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *checker) nodes(ns []Node) {
	for _, n := range ns {
		c.node(n)
	}
}

func (c *checker) node(n Node) {
	switch n := n.(type) {
	case nil:
		c.failf("a node is nil")
	case Value:
		c.value(&n)
	case object:
		for i := range n.members {
			c.member(&n.members[i])
		}
	case list:
		c.nodes(n.nodes)
	case each:
		c.value(&n.of)
		c.inside++
		c.node(n.node)
		c.inside--
	case first:
		c.nodes(n.nodes)
	case when:
		c.cond(n.cond)
		c.node(n.node)
	case always:
		c.node(n.node)
	case whole:
		c.dynamic = true
	case items:
		if c.items != nil || c.inside > 0 {
			c.failf("a body has Items once, and not in an Each")
		}
		if n.frame != nil && n.frame.opening != nil {
			c.text(n.frame.opening)
			c.text(n.frame.closing)
		}
		c.items = &n
		dynamic := c.dynamic
		for _, one := range n.nodes {
			if text, is := one.(textual); is && n.frame != nil {
				c.text(&text)
				continue
			}
			two, is := one.(above)
			if !is || n.frame == nil {
				c.node(one)
				continue
			}
			c.node(two.line)
			c.node(two.node)
		}
		c.dynamic = dynamic // what matters is the envelope
	case textual:
		c.failf("text that is no JSON is a whole body, or an item of Lines or Framed")
	case above:
		c.failf("a line stands only above an item of Lines or Framed")
	case answer:
		c.answers, c.dynamic = true, true
		if n.step < 0 || n.path == "" {
			c.failf("Answer(%d, %q): steps are counted from 1, and a path is needed", n.step, n.path)
		}
	}
}

func (c *checker) member(m *member) {
	if m.cond != nil {
		c.cond(m.cond)
	}
	if m.spread == nil {
		c.node(m.node)
		return
	}
	c.dynamic = true
	if !m.spread.fields {
		c.value(&m.spread.of)
	}
	if m.spread.each != nil {
		c.inside++
		c.node(m.spread.each)
		c.inside--
	}
}

func (c *checker) cond(cond Cond) {
	switch cond := cond.(type) {
	case nil:
		c.failf("a condition is nil")
	case Value:
		c.value(&cond)
	case all:
		for _, one := range cond.conds {
			c.cond(one)
		}
	case anyOf:
		for _, one := range cond.conds {
			c.cond(one)
		}
	case not:
		c.cond(cond.cond)
	case writes:
		c.node(cond.node)
	}
}

func (c *checker) value(v *Value) {
	c.dynamic = c.dynamic || v.src != fromConst && v.src != fromSetting && v.src != fromFormat
	for i := range v.steps {
		c.step(&v.steps[i])
	}
	switch v.src {
	case fromHistory:
		c.history = true
	case fromAnswer:
		if c.answers = true; !c.inPath {
			c.failf("{%s} stands in no path: use Answer", v.at[0])
		}
	case fromField:
		for _, path := range v.at {
			if c.inside == 0 || v.outer {
				c.path(path)
			}
		}
	case fromElement:
		if c.inside == 0 {
			c.failf("This(%q) stands in no Each", v.at)
		}
	case fromSetting:
		if _, ok := c.scope.Settings[v.at[0]]; !ok {
			c.unknown("setting", v.at[0], keysOf(c.scope.Settings))
		}
		if v.at[0] == c.scope.Stamp && len(v.steps) > 0 {
			c.failf("the setting %s is the stamp, which is written as it is", v.at[0])
		}
	case fromFormat:
		for _, p := range v.parts {
			if p.value != nil {
				if p.value.src == fromSetting && p.value.at[0] == c.scope.Stamp {
					c.failf("the setting %s is the stamp, which is written as it is", p.value.at[0])
				}
				c.value(p.value)
			}
		}
	}
}

func keysOf(m map[string]any) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// path checks that a path begins with a field and, as far as is known, continues with members of it.
func (c *checker) path(path string) {
	fields, open := c.scope.Fields, false
	for at, key := range strings.Split(path, ".") {
		if open || fields == nil && at > 0 {
			return
		}
		i := slices.IndexFunc(fields, func(f payload.Field) bool { return f.Key == key })
		if i < 0 {
			var keys []string
			for _, f := range fields {
				keys = append(keys, f.Key)
			}
			c.unknown("field", path, keys)
			return
		}
		open = fields[i].AdditionalProperties || fields[i].Multiple
		fields = fields[i].Properties
	}
}

func (c *checker) unknown(what, name string, known []string) {
	if c.silent {
		return
	}
	msg := fmt.Sprintf("there is no %s %q", what, name)
	if near := setting.Nearest(name, known); near != "" {
		msg += "; is it " + near + "?"
	}
	c.errs = append(c.errs, errors.New(msg))
}

func (c *checker) step(s *step) {
	switch s.do {
	case asTime:
		if !slices.Contains(jsonval.TimeFormats(), s.text) {
			c.failf("%q is no format of times: %s", s.text, strings.Join(jsonval.TimeFormats(), ", "))
		}
	case normal, hash:
		known := append(jsonval.NormalForms(), "compact", "alphanumeric", "email_plain")
		if s.text != "" && !slices.Contains(known, s.text) {
			c.failf("%q is no normal form: %s", s.text, strings.Join(known, ", "))
		}
	case where:
		if s.test == nil {
			c.failf("Where(%q) has no function", s.text)
		}
	case rewrite:
		if s.rewrite == nil {
			c.failf("Rewritten(%q) has no function", s.text)
		}
	case as:
		c.dynamic = true // it may look at the event
		if s.f == nil {
			c.failf("As(%q) has no function", s.text)
		}
	}
}
