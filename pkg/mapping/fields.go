package mapping

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// Type is the type of an action's field.
type Type uint8

const (
	TypeString   Type = iota
	TypeText          // a long string
	TypePassword      // a string that is not shown
	TypeNumber
	TypeInteger
	TypeBoolean
	TypeDatetime // a string or number that can be read as a time; kept as it is
	TypeObject
	TypeAny // whatever it is, as it is
)

// String returns the type's name in Segment's field definitions.
func (t Type) String() string {
	return [...]string{"string", "text", "password", "number", "integer", "boolean", "datetime", "object", "any"}[t]
}

// Field is one line of an action's mapping: what a member of the payload is
// called, what it may be, and where it comes from unless the user says
// otherwise.
type Field struct {
	Key   string
	Label string // used in error texts; Key when empty
	Doc   string
	Type  Type

	Multiple   bool       // an array of Type; a lone value is wrapped
	Required   bool       // must be there after empty values are dropped
	RequiredIf *Condition // required when the condition holds
	AllowNull  bool       // null is kept instead of dropped

	Choices []string // the values allowed, as text; for other types than strings their JSON

	// Minimum and Maximum bound a TypeNumber's value and a TypeString's length
	// in characters. Zero is no bound, and other types ignore them, as in
	// Segment.
	Minimum, Maximum float64

	// Format of a TypeString: "date", "time", "date-time", "duration",
	// "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "uuid",
	// "json-pointer" or "regex". Any other is not checked.
	Format string

	// Properties are the members of a TypeObject; members beyond them are
	// dropped unless AdditionalProperties. An object without Properties is
	// taken as it is.
	Properties           []Field
	AdditionalProperties bool

	Default Value // the mapping when the user gives none
}

// Condition says when a field is required: when any (or with All, every) one
// of its tests holds.
type Condition struct {
	All   bool
	Tests []Test
}

// Test looks at another field of the payload. Field may name a member of an
// object field as "object.member". A zero Value asks whether the field is
// absent or null.
type Test struct {
	Field string
	Not   bool
	Value Value // a literal
}

// InvalidError names every way in which a payload breaks its fields' rules.
type InvalidError struct{ Problems []string }

func (e *InvalidError) Error() string { return strings.Join(e.Problems, " ") }

// Option changes how a Program treats payloads.
type Option func(*Program)

// Batch makes a Program keep the empty texts of string fields, as Segment does
// for the events of a batch. Otherwise every empty text at the root is
// dropped.
func Batch() Option { return func(p *Program) { p.batch = true } }

// Deep is a place below a field, or with Field -1 below the event.
type Deep struct {
	Field int // its place among the action's
	Path  event.Path
}

// Deeper has a Program look for places below its fields along with its own paths, as far as
// a field is a value of the event: see [Payload.Deep], which knows them by their places in
// the list.
func Deeper(list []Deep) Option {
	return func(p *Program) { p.deeper = list }
}

// deep is a place below a field, as it is found.
type deep struct {
	field        int // -1: below the event
	base         int // slot of the field's own path
	parent, slot int // of the path, and of that to what it is a member of; from 1 on, 0: it is not found this way
}

// Program is a mapping compiled against an action's fields. It is immutable
// and safe for concurrent use.
type Program struct {
	batch   bool
	root    node     // the mapping as a whole
	members []member // its members, when it is a plain object
	quick   []quick  // what most of these come to
	order   []uint16 // the numbers of their fields
	paths   *event.PathSet
	plain   bool
	schema  *schema
	deeper  []Deep
	deep    []deep
}

// quick is how a member of a plain mapping is taken into the payload when the event has
// what the field takes as it is. Everything else goes by the member.
type quick struct {
	slow  bool  // always
	time  bool  // the field is a time
	null  bool  // null is no way to be absent
	kinds uint8 // that the field takes as they are, a bit for each
	field uint16
	slot  uint16   // of the path
	more  []uint16 // of further paths, each when nothing or null is at those before
}

// member is one line of a plain mapping.
type member struct {
	key    string
	n      node
	p      *pathNode     // n, when it is one
	t      *templateNode // n, when it is one whose text the field takes as it is
	shape  []shapeMember // n, when it is an object of paths and the field knows its members
	each   *pathNode     // the array whose elements are such objects
	only   bool          // one such object is the only element of an array
	under  int           // slot of what all paths of the object go through, from 1 on; 0: there is none
	s      *schema       // nil: the action has no such field
	silent bool          // resolving it cannot fail, so a stripped one is not resolved
	tested bool          // conditions look at its value
	picks  bool          // it chooses among paths
}

// schema is a field, or the whole payload, compiled.
type schema struct {
	Field
	title    string
	prefix   []byte                 // "key":
	str      bool                   // the text types
	checked  bool                   // there is more to check than the type
	obeyed   func(event.Value) bool // then: whether a value passes
	props    []*schema
	byKey    map[string]*schema
	path     string       // of a root field, for problems
	number   int          // of a root field
	buckets  *[256]uint16 // of the root: by hashOf a key the number of a field, from 1 on
	chain    []uint16     // the next field in the bucket of each
	keys     []string     // of its fields
	needed   []*schema
	required bool
	nullable bool
	asIs     [event.Object + 1]bool // kinds that need neither coercion nor checks
	enum     [][]byte               // choices as JSON
	rules    []rule                 // conditions of the root's fields
	tested   []string               // root fields whose values those look at
}

type rule struct {
	path []string // field, or object and member
	cond *Condition
}

// CompileFields compiles a mapping for an action's fields. A zero m is the
// fields' defaults. Members of the mapping that are no fields are dropped when
// it runs.
func CompileFields(fields []Field, m Value, opts ...Option) (*Program, error) {
	p := &Program{}
	for _, o := range opts {
		o(p)
	}
	if m.t == nil {
		m = Defaults(fields)
	}
	t, err := rootTree(m.t)
	if err != nil {
		return nil, err
	}
	if err := check(t); err != nil {
		return nil, err
	}
	p.root = compile(t, nil)
	p.schema = &schema{Field: Field{Type: TypeObject, Properties: fields}}
	if err := p.schema.init(true); err != nil {
		return nil, err
	}
	if t.form == object && t.jsType() == "object" {
		p.plain = true
		for i, k := range t.keys {
			mb := member{
				key:    k,
				n:      compile(t.vals[i], []string{k}),
				s:      p.schema.byKey[k],
				tested: slices.Contains(p.schema.tested, k),
			}
			if pn, ok := mb.n.(*pathNode); ok {
				mb.p = pn
			}
			mb.silent = silent(t.vals[i])
			if mb.s != nil && mb.s.asIs[event.String] {
				mb.t, _ = mb.n.(*templateNode)
			}
			if mb.s == nil && mb.silent && !mb.tested {
				continue
			}
			p.members = append(p.members, mb)
		}
		var s scope
		for i := range p.members {
			s.bind(p.members[i].n)
		}
		for i := range p.members {
			if under, ok := parentOf(p.members[i].n); ok {
				s.at(under, &p.members[i].under)
			}
		}
		p.goDeeper(&s)
		if p.paths = s.close(); p.paths == nil {
			return nil, fmt.Errorf("mapping: its %d paths are more than can be followed at once", len(s.paths))
		}
		for i := range p.members {
			m := &p.members[i]
			m.shape, m.each, m.only = p.shapeOf(m)
			if slices.ContainsFunc(m.shape, func(s shapeMember) bool { return s.p == nil || s.f == nil || s.f.required }) {
				m.under = 0
			}
			m.picks = m.s != nil && !m.tested && picks(m.n)
			p.quick = append(p.quick, m.quick())
			if m.s != nil {
				p.order = append(p.order, uint16(m.s.number))
			}
		}
	}
	return p, nil
}

// parentOf is what the paths of an object of paths all go through.
func parentOf(n node) (parent event.Path, ok bool) {
	o, is := n.(*objectNode)
	if !is {
		return parent, false
	}
	var common []string
	for i := range o.members {
		p, is := o.members[i].n.(*pathNode)
		if !is {
			return parent, false
		}
		steps := p.path.Steps()
		if len(steps) < 2 || i > 0 && !slices.Equal(steps[:len(steps)-1], common) {
			return parent, false
		}
		common = steps[:len(steps)-1]
	}
	return event.Keys(common...), len(common) > 0
}

// goDeeper adds the paths to what is asked for below fields that are the value at one path.
func (p *Program) goDeeper(s *scope) {
	p.deep = make([]deep, len(p.deeper))
	for i, d := range p.deeper {
		steps, base := d.Path.Steps(), event.Path{}
		to := &p.deep[i]
		if to.field = d.Field; d.Field >= 0 {
			at := slices.IndexFunc(p.members, func(m member) bool { return m.s != nil && m.s.number == d.Field })
			if at < 0 || p.members[at].p == nil {
				continue
			}
			base = p.members[at].p.path
			s.at(base, &to.base)
		}
		steps = append(base.Steps(), steps...)
		s.at(event.Keys(steps[:len(steps)-1]...), &to.parent)
		s.at(event.Keys(steps...), &to.slot)
	}
}

// Paths are those that are looked for in every event, nil for a mapping that is no plain
// object: who indexes events may find them at the same time.
func (p *Program) Paths() *event.PathSet { return p.paths }

// Defaults is the mapping made of the fields' defaults.
func Defaults(fields []Field) Value {
	var ms []Member
	for _, f := range fields {
		if !f.Default.IsZero() {
			ms = append(ms, M(f.Key, f.Default))
		}
	}
	return Object(ms...)
}

func (s *schema) init(root bool) error {
	s.title = s.Label
	if s.title == "" {
		s.title = s.Key
	}
	s.path = "/" + s.Key
	s.prefix = append(event.AppendQuoted(nil, s.Key), ':')
	s.str = s.Type <= TypePassword
	s.required = s.Required
	// As in Segment, an object with properties is an object or nothing.
	s.nullable = s.AllowNull && !s.Multiple && (s.Type != TypeObject || s.Properties == nil)
	for _, c := range s.Choices {
		if s.str || s.Type == TypeDatetime {
			s.enum = append(s.enum, event.AppendQuoted(nil, c))
		} else if event.Valid([]byte(c)) == nil {
			s.enum = append(s.enum, []byte(c))
		} else {
			return fmt.Errorf("mapping: field %s: the choice %q is no %s", s.Key, c, s.Type)
		}
	}
	s.checked = s.enum != nil || s.Type == TypeString && (s.Format != "" || s.Minimum != 0 || s.Maximum != 0) ||
		s.Type == TypeNumber && (s.Minimum != 0 || s.Maximum != 0)
	s.obeyed = func(v event.Value) bool { return s.rulesOf(nil, v.Raw(), false) }
	if !s.Multiple && !s.checked {
		s.asIs[event.String] = s.str
		s.asIs[event.Number] = s.Type == TypeNumber
		s.asIs[event.Bool] = s.Type == TypeBoolean
		s.asIs[event.Object] = s.Type == TypeObject && s.Properties == nil
		if s.Type == TypeAny {
			s.asIs = [...]bool{event.Bool: true, event.Number: true, event.String: true, event.Array: true, event.Object: true}
		}
	}
	if s.Properties == nil {
		return nil
	}
	s.byKey = map[string]*schema{}
	for _, f := range s.Properties {
		c := &schema{Field: f}
		if err := c.init(false); err != nil {
			return err
		}
		if s.byKey[f.Key] != nil {
			return fmt.Errorf("mapping: the field %s is declared twice", f.Key)
		}
		s.byKey[f.Key] = c
		s.props = append(s.props, c)
	}
	conditional := slices.ContainsFunc(s.Properties, func(f Field) bool { return f.RequiredIf != nil })
	if !root && conditional {
		// In Segment an object with a conditionally required member loses
		// its unconditional requirements.
		for _, c := range s.props {
			c.required = false
		}
	}
	for i, c := range s.props {
		if c.required {
			s.needed = append(s.needed, c)
		}
		if c.number = i; root {
			if s.buckets == nil {
				s.buckets = new([256]uint16)
			}
			b := &s.buckets[hashOf(c.Key)]
			s.chain = append(s.chain, *b)
			s.keys = append(s.keys, c.Key)
			*b = uint16(i) + 1
		}
	}
	if root {
		for _, f := range s.Properties {
			if f.Type == TypeObject {
				for _, g := range f.Properties {
					if g.RequiredIf != nil && !g.Required {
						s.rules = append(s.rules, rule{[]string{f.Key, g.Key}, g.RequiredIf})
					}
				}
			}
			if f.RequiredIf != nil && !f.Required {
				s.rules = append(s.rules, rule{[]string{f.Key}, f.RequiredIf})
			}
		}
		for _, rl := range s.rules {
			if len(rl.path) == 2 {
				s.tested = append(s.tested, rl.path[0])
			}
			for _, t := range rl.cond.Tests {
				parent, _, _ := strings.Cut(t.Field, ".")
				s.tested = append(s.tested, parent)
			}
		}
	}
	return nil
}

// Run resolves the mapping against an event, drops what is undefined or empty,
// coerces to the fields' types, strips what is no field and validates. The
// error is an [*InvalidError] when the payload breaks the fields' rules. The
// event is not changed.
func (p *Program) Run(r *Resolver, in event.Value) (*Payload, error) {
	r.reset()
	in, err := payloadOf(in)
	if err != nil {
		return nil, err
	}
	s := &r.now
	s.reset(len(p.schema.props))
	if p.plain {
		if r.Plain {
			p.paths.Look(in, &r.refs)
			for i := range p.members {
				p.slow(r, &p.members[i], in)
			}
		} else {
			p.paths.Find(in, &r.refs)
			p.take(r, in)
		}
	} else {
		v := p.root.eval(r, in)
		if r.err == nil && v.kind != event.Object {
			s.problems = append(s.problems, "The root value must be an object but it was "+gotType(v.kind)+".")
		} else if v.kind == event.Object {
			eachUnique(v.raw, func(key, val []byte) {
				v := result{raw: val, kind: kindOf(val)}
				if f := p.schema.byKey[decodeText(key)]; f != nil {
					p.field(r, f, &v)
				} else {
					p.note(r, decodeText(key), &v)
				}
			})
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if len(s.problems) > 0 || len(p.schema.rules) > 0 || p.lacks(s) {
		if problems := append(p.missing(r), s.problems...); len(problems) > 0 {
			return nil, &InvalidError{problems}
		}
	}
	if size := len(s.out); size+len(s.refs)*in.Size() > maxOutput {
		for f := range s.refs {
			if ref := s.refs[f]; ref != absent && ref != made {
				size += r.refs.Size(ref)
			}
		}
		if size > maxOutput {
			return nil, errTooLarge
		}
	}
	s.payload = Payload{r: r, root: p.schema, order: p.order, deep: p.deep}
	return &s.payload, nil
}

// quick compiles a member.
func (m *member) quick() quick {
	q := quick{slow: true}
	if m.s == nil || m.tested || m.s.number > 1<<16-1 {
		return q
	}
	slots, ok := chain(m.n)
	if !ok {
		return q
	}
	q.slow, q.field, q.slot, q.more = false, uint16(m.s.number), slots[0], slots[1:]
	q.time = m.s.Type == TypeDatetime && !m.s.Multiple && !m.s.checked
	q.null = m.s.nullable
	for k := range m.s.asIs {
		if m.s.asIs[k] {
			q.kinds |= 1 << k
		}
	}
	return q
}

// chain is a path, or the usual form of a choice: several paths, of which the first counts
// that leads to something, or else the last.
func chain(n node) (slots []uint16, ok bool) {
	switch n := n.(type) {
	case *pathNode:
		return []uint16{uint16(n.slot - 1)}, n.slot > 0
	case *ifNode:
		cond, is := n.cond.(*pathNode)
		if !is || !n.same || n.blank || cond.slot == 0 {
			return nil, false
		}
		rest, ok := chain(n.els)
		return append([]uint16{uint16(cond.slot - 1)}, rest...), ok
	}
	return nil, false
}

// take takes the members of a plain mapping into the payload.
func (p *Program) take(r *Resolver, in event.Value) {
	s, slots := &r.now, r.refs.Slots()
	for i := range p.quick {
		q := &p.quick[i]
		if q.slow {
			p.slow(r, &p.members[i], in)
			continue
		}
		ref := slots[q.slot]
		for _, next := range q.more {
			if ref.Kind() > event.Null {
				break
			}
			ref = slots[next]
		}
		k := ref.Kind()
		switch {
		case k == event.Missing, k == event.Null && !q.null:
		case !ref.InText():
			p.slow(r, &p.members[i], in)
		case k == event.String && r.refs.Size(ref) == 2 && q.kinds>>event.String&1 != 0:
			if p.batch {
				s.refs[q.field] = ref
			}
		case q.kinds>>k&1 != 0, q.time && r.refs.IsTimed(ref):
			s.refs[q.field] = ref
		default:
			p.slow(r, &p.members[i], in)
		}
	}
}

// slow is take of a member that is not taken as it is.
func (p *Program) slow(r *Resolver, m *member, in event.Value) {
	if m.p != nil && m.p.value(r, in).Kind() == event.Missing || m.picks && !r.Plain && p.pick(r, m) {
		return
	}
	p.member(r, m, in)
}

// pick takes the value that a member chooses into the payload, or finds that it is left
// out. It reports false, with nothing done, when the value has to be coerced or checked.
func (p *Program) pick(r *Resolver, m *member) bool {
	v := pick(r, m.n)
	k := v.Kind()
	switch {
	case k == event.Missing, k == event.Null && !m.s.nullable:
		return true
	case k == event.String && (!p.batch || m.s.dropsEmpty()) && v.IsEmptyText():
		return true
	case k == event.Null, m.s.keeps(v):
		r.take(m.s, v)
		return true
	}
	return false
}

// member resolves one member of a plain mapping and takes it into the payload.
func (p *Program) member(r *Resolver, m *member, in event.Value) {
	switch {
	case m.shape != nil && !r.Plain && p.object(r, m):
		return
	case m.t != nil && !m.tested && !r.Plain:
		p.template(r, m, in)
		return
	}
	v := m.n.eval(r, in)
	if v.kind == event.Missing {
		return
	}
	if m.s != nil {
		p.field(r, m.s, &v)
	} else {
		p.note(r, m.key, &v)
	}
}

// field takes one root member into the payload.
func (p *Program) field(r *Resolver, f *schema, v *result) {
	s := &r.now
	if v.kind == event.Null && !f.nullable {
		return
	}
	if v.kind == event.String && len(v.raw) == 2 && (!p.batch || f.dropsEmpty()) {
		return
	}
	start := len(s.out)
	p.note(r, f.Key, v)
	switch {
	case f.asIs[v.kind],
		f.Type == TypeDatetime && !f.Multiple && !f.checked && v.kind == event.String && isPlainISO(v.raw):
		if v.ev.Exists() {
			r.take(f, v.ev)
			return
		}
		s.out = append(s.out, v.raw...)
	case f.Multiple && v.kind != event.Array:
		// Segment wraps before it validates, and only at the root.
		s.out = append(s.out, '[')
		r.trail = append(r.trail[:0], f.path...)
		s.out = f.item(r, s.out, v.raw, 0, false)
		s.out = append(s.out, ']')
	default:
		r.trail = append(r.trail[:0], f.path...)
		s.out = f.coerce(r, s.out, v.raw, true)
		if v.ev.Exists() && bytes.Equal(s.out[start:], v.raw) {
			s.out = s.out[:start]
			r.take(f, v.ev)
			return
		}
	}
	s.make(f, start)
}

// template writes a template's text straight into the payload.
func (p *Program) template(r *Resolver, m *member, in event.Value) {
	s := &r.now
	start := len(s.out)
	var ok bool
	if s.out, ok = m.t.write(r, s.out, in); !ok || len(s.out) == start+2 && !p.batch {
		s.out = s.out[:start]
		return
	}
	s.make(m.s, start)
}

// shapeMember is a member of an object that consists of values of the event.
type shapeMember struct {
	key []byte // "name":
	p   *pathNode
	n   node    // when p is nil: chooses among paths
	lit []byte  // not nil: is this
	f   *schema // nil: taken as it is
}

func (m *shapeMember) value(r *Resolver, element event.Value) event.Value {
	if m.p != nil {
		return m.p.value(r, element)
	}
	return pick(r, m.n)
}

// pick is the value that a node of [picks] chooses.
func pick(r *Resolver, n node) event.Value {
	switch n := n.(type) {
	case *pathNode:
		return r.refs.At(n.slot - 1)
	case *ifNode:
		if pick(r, n.cond).Nullish() {
			return pick(r, n.els)
		}
		return pick(r, n.then)
	case *firstNode:
		for _, c := range n.vals {
			if v := pick(r, c); !v.Nullish() && !v.IsEmptyText() && (v.Kind() < event.Array || v.Len() > 0) {
				return v
			}
		}
	}
	return event.Value{}
}

// picks says that a node does nothing but choose among paths, by what is there.
func picks(n node) bool {
	switch n := n.(type) {
	case *pathNode:
		return n.slot > 0
	case undefinedNode:
		return true
	case *ifNode:
		return !n.blank && picks(n.cond) && picks(n.then) && picks(n.els)
	case *firstNode:
		return !slices.ContainsFunc(n.vals, func(c node) bool { return !picks(c) })
	}
	return false
}

// shapeOf finds the members of an object field whose mapping is an object of
// paths, or of an array of such objects, so that it can be written without being
// read again for coercion; nothing when that is not so simple.
func (p *Program) shapeOf(m *member) (shape []shapeMember, each *pathNode, only bool) {
	if m.s == nil || m.s.Type != TypeObject || m.s.checked || m.s.props == nil || m.tested {
		return nil, nil, false
	}
	n, ok := m.n.(*objectNode)
	if m.s.Multiple {
		switch array := m.n.(type) {
		case *arrayPathNode:
			if each, ok = array.root.(*pathNode); ok {
				n, ok = array.shape.(*objectNode)
			}
		case *arrayNode:
			if only = len(array.vals) == 1; only {
				n, ok = array.vals[0].(*objectNode)
			}
		default:
			ok = false
		}
	}
	if !ok {
		return nil, nil, false
	}
	needed := len(m.s.needed)
	for i := range n.members {
		om := &n.members[i]
		f := m.s.byKey[om.name]
		if f == nil && !m.s.AdditionalProperties {
			continue
		}
		if f != nil && f.required {
			needed--
		}
		if lit, ok := om.n.(*literalNode); ok {
			v, err := event.ParseValue(lit.v.raw)
			if err != nil || v.Kind() >= event.Array || f != nil && !f.drops(lit.v.raw, !m.s.Multiple) && !f.keeps(v) {
				return nil, nil, false
			}
			if f == nil || !f.drops(lit.v.raw, !m.s.Multiple) {
				shape = append(shape, shapeMember{key: om.key, lit: lit.v.raw, f: f})
			} else if f.required {
				return nil, nil, false
			}
			continue
		}
		pn, ok := om.n.(*pathNode)
		if !ok && (each != nil || !picks(om.n)) {
			return nil, nil, false
		}
		shape = append(shape, shapeMember{key: om.key, p: pn, n: om.n, f: f})
	}
	if needed > 0 {
		return nil, nil, false
	}
	return shape, each, only
}

// keeps says that a value needs neither coercion nor checks.
func (f *schema) keeps(v event.Value) bool {
	k := v.Kind()
	switch {
	case f.asIs[k]:
		return true
	case f.Multiple:
		return false
	case f.checked:
		return (k == event.String && f.str || k == event.Number && f.Type == TypeNumber) && f.obeyed(v)
	}
	switch {
	case f.Type == TypeDatetime:
		return k == event.Number || k == event.String && isDateLike(v)
	case f.Type == TypeInteger:
		return k == event.Number && isInteger(v)
	}
	return false
}

// coerced writes what becomes of a value of the event, in the cases that scalar
// knows.
func (f *schema) coerced(r *Resolver, v event.Value) (ok bool) {
	r.now.out, ok = f.scalar(r.now.out, v.Raw(), v.Kind())
	return ok
}

// wraps says that a value of a kind becomes the only element of the field's array,
// and needs nothing else.
func (f *schema) wraps(k event.Kind) bool {
	return f.Multiple && f.str && f.enum == nil && k == event.String
}

func isDateLike(v event.Value) bool { return isPlainISO(v.Raw()) || dateLike(v.Raw()) }

func isInteger(v event.Value) bool { return plainInteger(v.Raw()) }

// object writes an object of paths, or an array of them. It reports false, with
// nothing written, when a member has to be coerced or checked.
func (p *Program) object(r *Resolver, m *member) bool {
	s := &r.now
	start, problems := len(s.out), len(s.problems)
	ok := true
	if m.each == nil && !m.only {
		if m.gather(r) {
			return true
		}
		ok = m.write(r, event.Value{})
	} else if m.only {
		s.out = append(s.out, '[')
		ok = m.write(r, event.Value{})
		s.out = append(s.out, ']')
	} else {
		array := m.each.value(r, event.Value{})
		s.out = append(s.out, '[')
		switch array.Kind() {
		case event.Object: // stands for an array of it
			ok = m.write(r, array)
		case event.Array:
			for e := range array.Elements() {
				if e.Kind() != event.Object {
					ok = false
					break
				}
				if len(s.out) > start+1 {
					s.out = append(s.out, ',')
				}
				if ok = m.write(r, e); !ok {
					break
				}
			}
		default:
			ok = false
		}
		s.out = append(s.out, ']')
	}
	if !ok {
		s.out, s.problems = s.out[:start], s.problems[:problems]
		return false
	}
	s.make(m.s, start)
	return true
}

// gather notes the values of an object, which is a field of its own. It reports false,
// with nothing done, when some member is not a value of the event as it is.
func (m *member) gather(r *Resolver) bool {
	o := &r.now.made[m.s.number]
	if n := len(m.s.props); cap(o.parts) < n {
		o.parts = make([]event.Ref, n)
	} else {
		o.parts = o.parts[:n]
		clear(o.parts)
	}
	shape := m.shape
	if m.under > 0 && r.refs.Slot(m.under-1) == absent {
		shape = nil // as often
	}
	for i := range shape {
		sm := &shape[i]
		f := sm.f
		if sm.p == nil || f == nil {
			return false
		}
		ref := r.refs.Slot(sm.p.slot - 1)
		k := ref.Kind()
		switch {
		case k == event.Missing,
			k == event.Null && !f.nullable,
			k == event.String && f.dropsEmpty() && ref.InText() && r.refs.Size(ref) == 2:
			if f.required {
				return false // and somebody says what is missing
			}
		case !ref.InText() || !f.asIs[k] && !f.keeps(r.refs.Value(ref)):
			return false
		default:
			o.parts[f.number] = ref
		}
	}
	r.now.make(m.s, len(r.now.out))
	o.whole, o.member = true, m
	return true
}

// join writes the text of an object that was gathered.
func (m *member) join(r *Resolver, parts []event.Ref) {
	out := append(r.now.out, '{')
	start := len(out)
	for i := range m.shape {
		ref := parts[m.shape[i].f.number]
		if ref == absent {
			continue
		}
		if len(out) > start {
			out = append(out, ',')
		}
		out = append(append(out, m.shape[i].key...), r.refs.Raw(ref)...)
	}
	r.now.out = append(out, '}')
}

// write writes one object, of the event or of an element. It reports false when something
// has to be said of a member.
func (m *member) write(r *Resolver, element event.Value) bool {
	s := &r.now
	s.out = append(s.out, '{')
	start := len(s.out)
	for i := range m.shape {
		sm := &m.shape[i]
		if sm.lit != nil {
			if len(s.out) > start {
				s.out = append(s.out, ',')
			}
			s.out = append(append(s.out, sm.key...), sm.lit...)
			continue
		}
		v := sm.value(r, element)
		k := v.Kind()
		if k == event.Missing {
			if sm.f != nil && sm.f.required {
				return false // and somebody says what is missing
			}
			continue
		}
		wrap, coerce := false, false
		if f := sm.f; f != nil {
			if !m.s.Multiple &&
				(k == event.Null && !f.nullable || k == event.String && f.dropsEmpty() && v.IsEmptyText()) {
				if f.required {
					return false
				}
				continue // which happens everywhere but in the objects of arrays
			}
			if wrap = f.wraps(k); !wrap && !f.keeps(v) {
				coerce = true
			}
		}
		if len(s.out) > start {
			s.out = append(s.out, ',')
		}
		s.out = append(s.out, sm.key...)
		if coerce {
			if !sm.f.coerced(r, v) {
				return false
			}
			continue
		}
		if wrap {
			s.out = append(s.out, '[')
		}
		s.out = append(s.out, v.Raw()...)
		if wrap {
			s.out = append(s.out, ']')
		}
	}
	s.out = append(s.out, '}')
	return true
}

// note keeps a member as it was given, for the conditions that look at it.
func (p *Program) note(r *Resolver, key string, v *result) {
	if len(p.schema.tested) == 0 || v.kind == event.String && len(v.raw) == 2 && !p.batch ||
		!slices.Contains(p.schema.tested, key) {
		return
	}
	at := len(r.arena)
	r.arena = append(r.arena, v.raw...)
	r.now.given = append(r.now.given, given{key: key, start: at, end: len(r.arena)})
}

// lacks reports whether a required field is not in the payload.
func (p *Program) lacks(s *payloadScratch) bool {
	for _, f := range p.schema.needed {
		if s.refs[f.number] == absent {
			return true
		}
	}
	return false
}

// missing names the required fields that are not in the payload.
func (p *Program) missing(r *Resolver) []string {
	var problems []string
	s := &r.now
	report := func(where, key string) {
		problems = append(problems, where+" is missing the required field '"+key+"'.")
	}
	for _, rl := range p.schema.rules {
		before := len(problems)
		if !rl.cond.holds(r) {
			continue
		}
		f := p.schema.byKey[rl.path[0]]
		if s.refs[f.number] == absent {
			report("The root value", rl.path[0])
		} else if len(rl.path) == 2 {
			raw := find(s.given, rl.path[0]).text(r)
			g := f.byKey[rl.path[1]]
			if v := memberOf(raw, rl.path[1]); kindOf(raw) == event.Object && g.drops(v, true) {
				report(capitalize(f.title), rl.path[1])
			}
		}
		if len(problems) > before {
			problems = append(problems, `The root value must match "then" schema.`)
		}
	}
	for _, f := range p.schema.needed {
		if s.refs[f.number] == absent {
			report("The root value", f.Key)
		}
	}
	return problems
}

// text is what was given, for who looks at all of it.
func (g *given) text(r *Resolver) []byte {
	if g == nil {
		return nil
	}
	return r.arena[g.start:g.end]
}

func find(spans []given, key string) *given {
	for i := range spans {
		if spans[i].key == key {
			return &spans[i]
		}
	}
	return nil
}

// memberOf returns the text of an object's member, or nil.
func memberOf(obj []byte, key string) (found []byte) {
	if kindOf(obj) == event.Object {
		event.EachMember(obj, func(k, v []byte) {
			if event.IsQuoted(k, key) {
				found = v
			}
		})
	}
	return found
}

func (c *Condition) holds(r *Resolver) bool {
	for _, t := range c.Tests {
		if t.holds(r, len(c.Tests) > 1) != c.All {
			return !c.All
		}
	}
	return c.All && len(c.Tests) > 0
}

func (t *Test) holds(r *Resolver, several bool) bool {
	parent, child, nested := strings.Cut(t.Field, ".")
	sp := find(r.now.given, parent)
	var raw []byte
	if sp != nil {
		raw = r.arena[sp.start:sp.end]
	}
	if nested && sp != nil {
		if kindOf(raw) != event.Object {
			return true // JSON Schema: a condition on members says nothing about other types
		}
		raw = memberOf(raw, child)
	}
	if t.Value.IsZero() && !nested {
		absent := raw == nil || !several && nullLike(raw)
		return absent != t.Not
	}
	if raw == nil {
		return false
	}
	var want []byte
	if !t.Value.IsZero() {
		want = t.Value.t.appendJSON(nil)
	}
	return sameJSON(raw, want) != t.Not
}

// nullLike reports whether the validator's coercion would make null of a value
// that is asked to be null, which is how Segment tests a single condition.
func nullLike(raw []byte) bool {
	if kindOf(raw) == event.Array {
		if only, one := onlyElement(raw); one {
			raw = only
		}
	}
	k := kindOf(raw)
	return k < event.Array && !truthyRaw(k, raw)
}

// sameJSON compares two values as documents.
func sameJSON(a, b []byte) bool {
	return bytes.Equal(appendCanonical(nil, a), appendCanonical(nil, b))
}
