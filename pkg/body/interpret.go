package body

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// The interpreter walks the tree of a body as it was declared. It is simple and slow, and defines what the
// compiled program has to write.

// interpreter is one interpretation.
type interpreter struct {
	*writing
	p *Program
}

// find is the value at a path below v.
func find(v event.Value, path string) event.Value {
	for path != "" && v.Exists() {
		var key string
		key, path, _ = strings.Cut(path, ".")
		if v.Kind() == event.Object {
			v = v.Get(key)
		} else {
			v = v.Find(event.Keys(key))
		}
	}
	return v
}

// candidate is the value at a path.
func (x *interpreter) candidate(v *Value, path string) event.Value {
	switch {
	case v.src == fromEvent:
		return find(x.in.Event, path)
	case v.src == fromElement || x.inside && !v.outer:
		return find(x.element, path)
	}
	key, rest, _ := strings.Cut(path, ".")
	return find(x.in.Payload.Get(key), rest)
}

// value evaluates a Value for the event; false: it is missing.
func (x *interpreter) value(v *Value) (item, bool) {
	var it item
	switch v.src {
	case fromConst:
		it = item{state: asRaw, bytes: v.konst}
	case fromSetting:
		s := x.p.settings[v.at[0]]
		if it.v = s; !s.Exists() {
			return it, false
		}
	case fromInsertID:
		it = item{state: asText, bytes: []byte(x.in.insertID())}
	case fromEventID:
		it = item{state: asText, bytes: []byte(x.in.ID)}
	case fromNow:
		it = item{state: asAt, at: x.in.Now}
	case fromHistory:
		if !x.in.History {
			return it, false
		}
		it = item{state: asRaw, bytes: yes}
	case fromIndex:
		it = item{state: asRaw, bytes: strconv.AppendInt(nil, int64(x.index), 10)}
	case fromFormat:
		b, ok := x.format(v.parts, nil)
		if it = (item{state: asText, bytes: b}); !ok {
			return it, false
		}
	default:
		for _, path := range v.at {
			it = item{v: x.candidate(v, path)}
			if it.v.Exists() && x.through(v.steps, &it) {
				return it, true
			}
		}
		return it, false
	}
	return it, x.through(v.steps, &it)
}

// format writes a text with values in it. escape, if not nil, is applied to the values.
func (x *interpreter) format(parts []piece, escape func(string) string) ([]byte, bool) {
	var out []byte
	for _, p := range parts {
		if p.value == nil {
			out = append(out, p.text...)
			continue
		}
		it, ok := x.value(p.value)
		if !ok || it.kind() == event.Null {
			return nil, false
		}
		text := string(x.textOf(&it))
		if escape != nil {
			text = escape(text)
		}
		out = append(out, text...)
	}
	return out, true
}

func (x *interpreter) holds(c Cond) bool {
	switch c := c.(type) {
	case nil:
		return true
	case Value:
		_, ok := x.value(&c)
		return ok
	case all:
		for _, one := range c.conds {
			if !x.holds(one) {
				return false
			}
		}
		return true
	case anyOf:
		for _, one := range c.conds {
			if x.holds(one) {
				return true
			}
		}
		return false
	case not:
		return !x.holds(c.cond)
	case writes:
		at := len(x.buf)
		ok := x.put(c.node)
		x.cut(at)
		return ok
	}
	return false
}

// put writes a node; false: nothing was written.
func (x *interpreter) put(n Node) bool {
	switch n := n.(type) {
	case Value:
		return x.putValue(&n)
	case object:
		return x.object(&n)
	case list:
		return x.within('[', ']', n.always, func() {
			for _, e := range n.nodes {
				x.put(e)
			}
		})
	case each:
		of, ok := x.value(&n.of)
		if ok && of.kind() == event.Array {
			ok = x.within('[', ']', n.always, func() { x.each(x.valueOf(&of), func() { x.put(n.node) }) })
			return ok
		}
		return n.always && x.within('[', ']', true, func() {})
	case first:
		for _, one := range n.nodes {
			if x.put(one) {
				return true
			}
		}
		return false
	case when:
		return x.holds(n.cond) && x.put(n.node)
	case always:
		if !x.put(n.node) {
			x.sep()
			x.buf = append(x.buf, "null"...)
		}
		return true
	case whole:
		return x.object(&object{members: Fields(n.omit...).members(), always: true})
	case items:
		if f := n.frame; f != nil && f.opening != nil {
			return x.around(func() bool { return x.put(*f.opening) }, func() bool { return x.put(*f.closing) })
		}
		x.items(n.frame)
		return true
	case textual:
		return n.write(x.writing, func(i int, it *item) bool {
			var ok bool
			*it, ok = x.value(n.parts[i].value)
			return ok
		})
	case above:
		return x.above(func() bool { return x.put(n.line) }, func() bool { return x.put(n.node) })
	case answer:
		x.answer(&n)
		return true
	}
	return false
}

// within writes a container around what f writes. If that is empty, the container is written only if always is
// set.
func (x *interpreter) within(begin, end byte, always bool, f func()) bool {
	from := len(x.buf)
	x.sep()
	x.buf = append(x.buf, begin)
	start := len(x.buf)
	f()
	if len(x.buf) == start && !always {
		x.cut(from)
		return false
	}
	x.buf = append(x.buf, end)
	return true
}

func (x *interpreter) putValue(v *Value) bool {
	it, ok := x.value(v)
	if !ok {
		return false
	}
	x.sep()
	if v.src == fromSetting && v.at[0] == x.p.stamp {
		x.marks = append(x.marks, len(x.buf)-x.base)
	}
	x.buf = appendItem(x.buf, &it)
	return true
}

// answer leaves a place for a value from an answer.
func (x *interpreter) answer(n *answer) {
	x.sep()
	x.holes = append(x.holes, Hole{At: len(x.buf) - x.base, Step: n.step, Path: n.path, Maybe: n.maybe})
	x.buf = append(x.buf, "null"...)
}

// would says whether a member would be written.
func (x *interpreter) would(m *member) bool {
	if !x.holds(m.cond) {
		return false
	}
	at := len(x.buf)
	ok := x.put(m.node)
	x.cut(at)
	return ok
}

// has says whether a spread writes a member of a name, or would do so without the other members.
func (x *interpreter) has(s *spread, name string) bool {
	if s.fields {
		return !slices.Contains(s.omit, name) && x.in.Payload.Has(name)
	}
	of, ok := x.value(&s.of)
	if !ok || of.kind() != event.Object {
		return false
	}
	for k := range x.valueOf(&of).Members() {
		if s.rename == nil && !k.IsText(name) {
			continue // most often
		}
		if k := k.Text(); !slices.Contains(s.omit, k) && s.name(k) == name {
			return true
		}
	}
	return false
}

// name is the name that a spread gives a member.
func (s *spread) name(name string) string {
	if s.rename != nil {
		return s.rename(name)
	}
	return name
}

func (x *interpreter) object(o *object) bool {
	return x.within('{', '}', o.always, func() {
		for i := range o.members {
			m := &o.members[i]
			if !x.holds(m.cond) {
				continue
			}
			if m.spread != nil {
				x.spread(o, i)
				continue
			}
			if x.replaced(o, m.key) {
				continue
			}
			at := len(x.buf)
			x.key(m.key)
			if !x.put(m.node) {
				x.cut(at)
			}
		}
	})
}

// replaced says whether a spread that wins has a member of this name.
func (x *interpreter) replaced(o *object, name string) bool {
	for i := range o.members {
		if m := &o.members[i]; m.spread != nil && m.spread.wins && x.holds(m.cond) && x.has(m.spread, name) {
			return true
		}
	}
	return false
}

func (x *interpreter) key(name string) {
	x.sep()
	x.buf = append(event.AppendQuoted(x.buf, name), ':')
}

// spread writes the members of the object of o's ith member.
func (x *interpreter) spread(o *object, i int) {
	s := o.members[i].spread
	if s.fields {
		for key, raw := range x.in.Payload.All() {
			if x.free(o, i, key) {
				x.key(key)
				x.buf = append(x.buf, raw...)
			}
		}
		return
	}
	it, ok := x.value(&s.of)
	if !ok || it.kind() != event.Object {
		return
	}
	element, inside, index := x.element, x.inside, x.index
	for k, v := range x.valueOf(&it).Members() {
		name := k.Text()
		x.element, x.inside = element, inside
		if !x.free(o, i, name) {
			continue
		}
		at := len(x.buf)
		if s.rename != nil {
			if name = s.rename(name); name == "" {
				continue
			}
			x.key(name)
		} else {
			x.sep()
			x.buf = append(append(x.buf, k.Raw()...), ':')
		}
		if s.each == nil {
			x.buf = append(x.buf, v.Raw()...)
			continue
		}
		x.element, x.inside = v, true
		if !x.put(s.each) {
			x.cut(at)
		}
	}
	x.element, x.inside, x.index = element, inside, index
}

// free says whether no other member of the object takes a name of the ith member, a spread.
func (x *interpreter) free(o *object, i int, name string) bool {
	s := o.members[i].spread
	if slices.Contains(s.omit, name) {
		return false
	}
	name = s.name(name)
	for k := range o.members {
		m := &o.members[k]
		switch {
		case m.spread == nil:
			if m.key == name && !s.wins && !x.replaced(o, name) && x.would(m) {
				return false
			}
		case k > i:
			if x.holds(m.cond) && x.has(m.spread, name) {
				return false
			}
		}
	}
	return true
}
