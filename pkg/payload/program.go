package payload

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Option changes how a Program treats payloads.
type Option func(*Program)

// Batch makes a Program keep the empty texts of string fields, as Segment does for batches of events. Without it,
// every empty text at the root is dropped.
func Batch() Option { return func(p *Program) { p.batch = true } }

// Deep is a path below a field, or, with Field -1, below the event.
type Deep struct {
	Field int // its index in the action's list
	Path  event.Path
}

// Deeper makes a Program find paths below its fields together with its own paths, where a field is a value of the
// event: see [Payload.Deep], which takes the index in the list.
func Deeper(list []Deep) Option {
	return func(p *Program) { p.deeper = list }
}

// deep is a compiled path below a field.
type deep struct {
	field        int // -1: below the event
	base         int // slot of the field's own path
	parent, slot int // slot of the path, and of the path of its parent; from 1, 0: it is not found this way
}

// Program is a mapping compiled for an action's fields. It is immutable and safe for concurrent use.
type Program struct {
	batch   bool
	whole   mapping.Part // the mapping, if it is not a plain object
	members []member     // its members, if it is
	quick   []quick      // the fast form of most members
	order   []uint16     // the indices of their fields
	paths   *event.PathSet
	plain   bool
	schema  *schema
	deeper  []Deep
	deep    []deep
}

// quick is the fast way to take a member of a plain mapping into the payload, if the event's value needs no
// change. Otherwise the member is used.
type quick struct {
	slow  bool  // always use the member
	time  bool  // the field is a time
	null  bool  // null does not count as absent
	kinds uint8 // kinds of values that need no change, one bit for each
	field uint16
	slots [4]uint16 // of the paths, each used when the ones before it are missing or null
	n     uint8     // paths
}

// member is one line of a plain mapping.
type member struct {
	key      string
	part     mapping.Part
	slot     int           // of the path, if it is one, from 1; 0: it is not
	template bool          // a template whose text the field takes unchanged
	choice   *choice       // it chooses among paths
	shape    []shapeMember // an object of paths whose members the field declares
	each     int           // slot of the array whose elements are such objects; 0: none
	only     bool          // such an object is the only element of an array
	under    int           // slot of the common parent of the object's paths, from 1; 0: none
	s        *schema       // nil: the action has no such field
	tested   bool          // conditions test its value
}

// Compile compiles a mapping for an action's fields. A zero m is the
// fields' defaults. Members of the mapping that are no fields are dropped when
// it runs.
func Compile(fields []Field, m mapping.Value, opts ...Option) (*Program, error) {
	p := &Program{}
	for _, o := range opts {
		o(p)
	}
	if m.IsZero() {
		m = Defaults(fields)
	}
	parts, whole, err := mapping.CompileParts(m)
	if err != nil {
		return nil, err
	}
	p.schema = &schema{Field: Field{Type: TypeObject, Properties: fields}}
	if err = p.schema.init(true); err != nil {
		return nil, err
	}
	if p.whole, p.plain = whole, parts != nil; p.plain {
		if err = p.compile(parts); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// compile compiles the members of a plain mapping.
func (p *Program) compile(parts []mapping.NamedPart) error {
	for _, part := range parts {
		m := member{
			key:    part.Name,
			part:   part.Part,
			s:      p.schema.byKey[part.Name],
			tested: slices.Contains(p.schema.tested, part.Name),
		}
		if m.s == nil && part.Silent && !m.tested {
			continue
		}
		m.template = m.s != nil && m.s.asIs[event.String] && m.part.Form() == mapping.FromTemplate
		p.members = append(p.members, m)
	}
	var s mapping.Scope
	for i := range p.members {
		s.Bind(p.members[i].part)
	}
	for i := range p.members {
		if under, ok := parentOf(p.members[i].part); ok {
			s.At(under, &p.members[i].under)
		}
	}
	p.goDeeper(&s)
	if p.paths = s.Close(); p.paths == nil {
		return fmt.Errorf("mapping: its %d paths are more than can be followed at once", s.Len())
	}
	for i := range p.members {
		m := &p.members[i]
		_, m.slot = m.part.Path()
		m.shape, m.each, m.only = p.shapeOf(m)
		if slices.ContainsFunc(m.shape, func(s shapeMember) bool { return s.slot == 0 || s.f == nil || s.f.required }) {
			m.under = 0
		}
		if m.s != nil && !m.tested {
			m.choice = choiceOf(m.part)
		}
		p.quick = append(p.quick, m.quick())
		if m.s != nil {
			p.order = append(p.order, uint16(m.s.number))
		}
	}
	return nil
}

// goDeeper adds the requested paths below fields that are a single path.
func (p *Program) goDeeper(s *mapping.Scope) {
	p.deep = make([]deep, len(p.deeper))
	for i, d := range p.deeper {
		steps, base := d.Path.Steps(), event.Path{}
		to := &p.deep[i]
		if to.field = d.Field; d.Field >= 0 {
			at := slices.IndexFunc(p.members, func(m member) bool { return m.s != nil && m.s.number == d.Field })
			if at < 0 || p.members[at].part.Form() != mapping.AtPath {
				continue
			}
			base, _ = p.members[at].part.Path()
			s.At(base, &to.base)
		}
		steps = append(base.Steps(), steps...)
		s.At(event.Keys(steps[:len(steps)-1]...), &to.parent)
		s.At(event.Keys(steps...), &to.slot)
	}
}

// Paths are the paths that are looked up in every event, or nil for a mapping that is not a plain object. A parser
// that indexes events can find them at the same time.
func (p *Program) Paths() *event.PathSet { return p.paths }

// Run resolves the mapping for an event, drops what is undefined or empty, coerces to the fields' types, removes
// members that are not fields, and validates. The error is an [*InvalidError] if the payload breaks the fields'
// rules. The event is not changed.
func (p *Program) Run(r *Resolver, in event.Value) (*Payload, error) {
	r.Reset()
	in, err := mapping.RootOf(in)
	if err != nil {
		return nil, err
	}
	s := &r.now
	s.reset(len(p.schema.props))
	if p.plain {
		if r.Plain {
			p.paths.Look(in, &r.Refs)
			for i := range p.members {
				p.slow(r, &p.members[i], in)
			}
		} else {
			p.paths.Find(in, &r.Refs)
			p.take(r, in)
		}
	} else {
		v := p.whole.Resolve(&r.Resolver, in)
		if r.Err() == nil && v.Kind != event.Object {
			s.problems = append(s.problems, "The root value must be an object but it was "+gotType(v.Kind)+"."+endOfProblem...)
		} else if v.Kind == event.Object {
			jsonval.EachUnique(v.Raw, func(key, val []byte) {
				v := mapping.Result{Raw: val, Kind: jsonval.KindOf(val)}
				if f := p.schema.byKey[jsonval.Text(key)]; f != nil {
					p.field(r, f, &v)
				} else {
					p.note(r, jsonval.Text(key), &v)
				}
			})
		}
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	if lacked := p.lacks(s); len(s.problems) > 0 || len(p.schema.rules) > 0 || lacked != nil {
		if lacked != nil && len(s.problems) == 0 && len(p.schema.rules) == 0 && len(p.schema.needed) == 1 {
			return nil, lacked.lacked
		}
		if s.noted = append(p.missing(r, s.noted[:0]), s.problems...); len(s.noted) > 0 {
			return nil, s.invalid()
		}
	}
	if size := len(s.out); size+len(s.refs)*in.Size() > mapping.MaxOutput {
		for f := range s.refs {
			if ref := s.refs[f]; ref != absent && ref != made {
				size += r.Refs.Size(ref)
			}
		}
		if size > mapping.MaxOutput {
			return nil, mapping.ErrTooLarge
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
	slots, ok := chain(m.part)
	if !ok || len(slots) > len(q.slots) {
		return q
	}
	q.slow, q.field, q.n = false, uint16(m.s.number), uint8(len(slots))
	copy(q.slots[:], slots)
	q.time = m.s.Type == TypeDatetime && !m.s.Multiple && !m.s.checked
	q.null = m.s.nullable
	for k := range m.s.asIs {
		if m.s.asIs[k] {
			q.kinds |= 1 << k
		}
	}
	return q
}

// chain returns the slots of a path, or of the usual form of a choice: several paths, of which the first that
// exists is used, or else the last.
func chain(part mapping.Part) (slots []uint16, ok bool) {
	switch part.Form() {
	case mapping.AtPath:
		_, slot := part.Path()
		return []uint16{uint16(slot - 1)}, slot > 0
	case mapping.Exists:
		parts := part.Parts()
		_, slot := parts[0].Path()
		if slot == 0 || !part.Same() {
			return nil, false
		}
		rest, ok := chain(parts[2])
		return append([]uint16{uint16(slot - 1)}, rest...), ok
	}
	return nil, false
}

// take takes the members of a plain mapping into the payload.
func (p *Program) take(r *Resolver, in event.Value) {
	s, slots := &r.now, r.Refs.Slots()
	for i := range p.quick {
		q := &p.quick[i]
		if q.slow {
			p.slow(r, &p.members[i], in)
			continue
		}
		ref := slots[q.slots[0]]
		k := ref.Kind()
		for j := 1; k <= event.Null && j < int(q.n); j++ {
			ref = slots[q.slots[j&3]]
			k = ref.Kind()
		}
		switch {
		case k == event.Missing, k == event.Null && !q.null:
		case !ref.InText():
			p.slow(r, &p.members[i], in)
		case k == event.String && r.Refs.Size(ref) == 2 && q.kinds>>event.String&1 != 0:
			if p.batch {
				s.refs[q.field] = ref
			}
		case q.kinds>>k&1 != 0, q.time && r.Refs.IsTimed(ref):
			s.refs[q.field] = ref
		default:
			p.slow(r, &p.members[i], in)
		}
	}
}

// slow takes a member whose value is not used unchanged.
func (p *Program) slow(r *Resolver, m *member, in event.Value) {
	if m.slot > 0 && r.Refs.At(m.slot-1).Kind() == event.Missing || m.choice != nil && !r.Plain && p.pick(r, m) {
		return
	}
	p.member(r, m, in)
}

// pick takes the value that a member chooses into the payload, or leaves it out. It returns false, without having
// done anything, if the value has to be coerced or checked.
func (p *Program) pick(r *Resolver, m *member) bool {
	v := m.choice.pick(r)
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
	case m.template && !m.tested && !r.Plain:
		p.template(r, m, in)
		return
	}
	v := m.part.Resolve(&r.Resolver, in)
	if v.Kind == event.Missing {
		return
	}
	if m.s != nil {
		p.field(r, m.s, &v)
	} else {
		p.note(r, m.key, &v)
	}
}

// field takes one root member into the payload.
func (p *Program) field(r *Resolver, f *schema, v *mapping.Result) {
	s := &r.now
	if v.Kind == event.Null && !f.nullable {
		return
	}
	if v.Kind == event.String && len(v.Raw) == 2 && (!p.batch || f.dropsEmpty()) {
		return
	}
	start := len(s.out)
	p.note(r, f.Key, v)
	switch {
	case f.asIs[v.Kind],
		f.Type == TypeDatetime && !f.Multiple && !f.checked && v.Kind == event.String && jsonval.IsPlainISO(v.Raw):
		if v.Event.Exists() {
			r.take(f, v.Event)
			return
		}
		s.out = append(s.out, v.Raw...)
	case f.Multiple && v.Kind != event.Array:
		// Segment wraps before it validates, and only at the root.
		s.out = append(s.out, '[')
		r.trail = append(r.trail[:0], f.path...)
		s.out = f.item(r, s.out, v.Raw, 0, false)
		s.out = append(s.out, ']')
	default:
		r.trail = append(r.trail[:0], f.path...)
		s.out = f.coerce(r, s.out, v.Raw, true)
		if v.Event.Exists() && bytes.Equal(s.out[start:], v.Raw) {
			s.out = s.out[:start]
			r.take(f, v.Event)
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
	if s.out, ok = m.part.Append(&r.Resolver, s.out, in); !ok || len(s.out) == start+2 && !p.batch {
		s.out = s.out[:start]
		return
	}
	s.make(m.s, start)
}

// lacks is the first required field that the payload lacks; nil: none.
func (p *Program) lacks(s *payloadScratch) *schema {
	for _, f := range p.schema.needed {
		if s.refs[f.number] == absent {
			return f
		}
	}
	return nil
}

// Resolver is the memory that running programs need, see [mapping.Resolver]. The zero Resolver is ready for use.
// It is not safe for concurrent use: each goroutine needs its own.
type Resolver struct {
	mapping.Resolver

	// Plain makes programs run member by member, without shortcuts and without what was found while the event was
	// indexed. It serves as a check of the fast way, and as a fallback.
	Plain bool

	now   payloadScratch
	trail []byte // path in the payload of the value at hand, for messages
}
