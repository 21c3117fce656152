package payload

import (
	"slices"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// shapeMember is a member of an object that consists of values of the event.
type shapeMember struct {
	key    []byte // "name":
	slot   int    // of its path, from 1
	path   event.Path
	choice *choice // used instead of a path
	lit    []byte  // not nil: a constant
	f      *schema // nil: the value is not changed
}

func (m *shapeMember) value(r *Resolver, element event.Value) event.Value {
	switch {
	case m.choice != nil:
		return m.choice.pick(r)
	case m.slot > 0:
		return r.Refs.At(m.slot - 1)
	}
	return element.Lookup(m.path)
}

// choice is a part of a mapping that only chooses among paths, by which of them exist.
type choice struct {
	slot            int // of its path, from 1
	cond, then, els *choice
	first           []*choice
}

// choiceOf returns the choice, or nil if the part does more than that.
func choiceOf(part mapping.Part) *choice {
	of := part.Parts()
	switch part.Form() {
	case mapping.Nothing:
		return new(choice)
	case mapping.AtPath:
		if _, slot := part.Path(); slot > 0 {
			return &choice{slot: slot}
		}
	case mapping.Exists:
		cond, then, els := choiceOf(of[0]), choiceOf(of[1]), choiceOf(of[2])
		if cond != nil && then != nil && els != nil {
			return &choice{cond: cond, then: then, els: els}
		}
	case mapping.FirstOf:
		c := &choice{first: make([]*choice, len(of))}
		for i := range of {
			if c.first[i] = choiceOf(of[i]); c.first[i] == nil {
				return nil
			}
		}
		return c
	}
	return nil
}

// pick is the chosen value.
func (c *choice) pick(r *Resolver) event.Value {
	switch {
	case c.slot > 0:
		return r.Refs.At(c.slot - 1)
	case c.cond != nil:
		if c.cond.pick(r).Nullish() {
			return c.els.pick(r)
		}
		return c.then.pick(r)
	}
	for _, one := range c.first {
		if v := one.pick(r); !v.Nullish() && !v.IsEmptyText() && (v.Kind() < event.Array || v.Len() > 0) {
			return v
		}
	}
	return event.Value{}
}

// shapeOf finds the members of an object field whose mapping is an object of paths, or an array of such objects.
// These can be written directly, without being parsed again for coercion. It returns nothing if the mapping is not
// that simple.
func (p *Program) shapeOf(m *member) (shape []shapeMember, each int, only bool) {
	if m.s == nil || m.s.Type != TypeObject || m.s.checked || m.s.props == nil || m.tested {
		return nil, 0, false
	}
	object := m.part
	if m.s.Multiple {
		switch of := object.Parts(); object.Form() {
		case mapping.EachOf:
			if _, each = of[0].Path(); each == 0 {
				return nil, 0, false
			}
			object = of[1]
		case mapping.ListOf:
			if only = len(of) == 1; !only {
				return nil, 0, false
			}
			object = of[0]
		default:
			return nil, 0, false
		}
	}
	if object.Form() != mapping.ObjectOf {
		return nil, 0, false
	}
	needed := len(m.s.needed)
	names := object.Names()
	for i, part := range object.Parts() {
		f := m.s.byKey[names[i]]
		if f == nil && !m.s.AdditionalProperties {
			continue
		}
		if f != nil && f.required {
			needed--
		}
		sm, left, ok := m.shapeMember(part, f)
		if !ok || each > 0 && sm.choice != nil {
			return nil, 0, false
		}
		if !left {
			sm.key = append(event.AppendQuoted(nil, names[i]), ':')
			shape = append(shape, sm)
		}
	}
	if needed > 0 {
		return nil, 0, false
	}
	return shape, each, only
}

// shapeMember compiles a member of an object that is a path, a choice of paths or a constant. left says that it is
// left out.
func (m *member) shapeMember(part mapping.Part, f *schema) (sm shapeMember, left, ok bool) {
	sm.f = f
	switch part.Form() {
	case mapping.Constant:
		lit := part.Constant()
		v, err := event.ParseValue(lit)
		drops := f != nil && f.drops(lit, !m.s.Multiple)
		if err != nil || v.Kind() >= event.Array || f != nil && !drops && !f.keeps(v) || drops && f.required {
			return sm, false, false
		}
		sm.lit = lit
		return sm, drops, true
	case mapping.AtPath:
		sm.path, sm.slot = part.Path()
		return sm, false, true
	}
	sm.choice = choiceOf(part)
	return sm, false, sm.choice != nil
}

// object writes an object of paths, or an array of them. It returns false, without having written anything, if a
// member has to be coerced or checked.
func (p *Program) object(r *Resolver, m *member) bool {
	s := &r.now
	start, problems := len(s.out), len(s.problems)
	ok := true
	if m.each == 0 && !m.only {
		if m.gather(r) {
			return true
		}
		ok = m.write(r, event.Value{})
	} else if m.only {
		s.out = append(s.out, '[')
		ok = m.write(r, event.Value{})
		s.out = append(s.out, ']')
	} else {
		array := r.Refs.At(m.each - 1)
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

// gather notes the values of an object field. It returns false, without having done anything, if a member is not
// an unchanged value of the event.
func (m *member) gather(r *Resolver) bool {
	o := &r.now.made[m.s.number]
	if n := len(m.s.props); cap(o.parts) < n {
		o.parts = make([]event.Ref, n)
	} else {
		o.parts = o.parts[:n]
		clear(o.parts)
	}
	shape := m.shape
	if m.under > 0 && r.Refs.Slot(m.under-1) == absent {
		shape = nil // as often
	}
	for i := range shape {
		sm := &shape[i]
		f := sm.f
		if sm.slot == 0 || f == nil {
			return false
		}
		ref := r.Refs.Slot(sm.slot - 1)
		k := ref.Kind()
		switch {
		case k == event.Missing,
			k == event.Null && !f.nullable,
			k == event.String && f.dropsEmpty() && ref.InText() && r.Refs.Size(ref) == 2:
			if f.required {
				return false // the slow way reports what is missing
			}
		case !ref.InText() || !f.asIs[k] && !f.keeps(r.Refs.Value(ref)):
			return false
		default:
			o.parts[f.number] = ref
		}
	}
	r.now.make(m.s, len(r.now.out))
	o.whole, o.member = true, m
	return true
}

// join writes the text of a gathered object.
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
		out = append(append(out, m.shape[i].key...), r.Refs.Raw(ref)...)
	}
	r.now.out = append(out, '}')
}

// write writes one object, of the event or of an element. It returns false if there is something to report about a
// member.
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
				return false // the slow way reports what is missing
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

// parentOf is the common parent of all paths in an object of paths.
func parentOf(part mapping.Part) (parent event.Path, ok bool) {
	if part.Form() != mapping.ObjectOf {
		return parent, false
	}
	var common []string
	for i, member := range part.Parts() {
		path, _ := member.Path()
		steps := path.Steps()
		if member.Form() != mapping.AtPath || len(steps) < 2 || i > 0 && !slices.Equal(steps[:len(steps)-1], common) {
			return parent, false
		}
		common = steps[:len(steps)-1]
	}
	return event.Keys(common...), len(common) > 0
}
