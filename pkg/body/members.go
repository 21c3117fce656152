package body

import (
	"slices"

	"github.com/fanfold/fanfold/pkg/event"
)

// objectOp is a compiled object. The names of its members are known. The members of a spread are looked up among
// these names, once each.
type objectOp struct {
	members []memberOp
	spreads []*spreadOp
	names   names
	wins    bool // some spread wins
	always  bool
}

// memberOp is a member, or a spread.
type memberOp struct {
	// What is read of every member, in one line of a processor's cache.
	key    []byte     // ,"key": padded, see [event.Padded]
	els    []byte     // for byField: what to write if the field is missing; nil: nothing
	copies *candidate // for byCopy
	field  int16      // for byField and byValue; for byCopy, too, if its value is below a field: else -1
	way    way
	names  uint8 // index of the name, see names
	same   uint8 // for byCopy: how many members behind it are missing if the field is
	asks   bool  // there is a condition

	cond   test // nil: always
	n      op
	name   string
	spread *spreadOp
	_      [8]byte
}

// way is how a member is written.
type way uint8

const (
	byNode  way = iota
	byValue     // by its node, if the field has a value
	byField     // the field is copied unchanged
	byCopy      // a value below a field, or of the event, is copied unchanged
	byFixed     // key is the whole member, which is always the same
	bySpread
)

// spreadOp is all members of an object.
type spreadOp struct {
	*spread
	of    valueOp
	each  op
	at    int        // index among the spreads
	cond  test       // nil: always
	known rewritings // of rename
}

// called is what a spread that renames makes of a name.
func (s *spreadOp) called(w *writing, n *names, name []byte) *rewritten {
	return s.known.of(s.rename, n, &w.texts, name)
}

// names are the names that other members write or that spreads leave out. Every member of a spread object is
// looked up here. Most are not among them, which the hashes in the index show quickly.
type names struct {
	texts []string
	first [256]uint8 // by hash: the index of a name, from 1
	keys  event.KeySet
	next  []uint8  // for each name: the next one with the same hash
	omit  []uint64 // for each name: the spreads that leave it out, one bit for each
	many  bool     // there are more names than indices
}

const maxNames = 250

func (n *names) add(name string) uint8 {
	if i, ok := n.of([]byte(name)); ok {
		return i
	}
	if len(n.texts) >= maxNames {
		n.many = true
		return maxNames
	}
	i, h := uint8(len(n.texts)), event.HashKey([]byte(name))
	n.texts, n.omit, n.next = append(n.texts, name), append(n.omit, 0), append(n.next, n.first[h])
	n.first[h] = i + 1
	n.keys.Add(name)
	return i
}

// of returns the index of a name; ok is false for names that no member writes or leaves out.
func (n *names) of(b []byte) (number uint8, ok bool) {
	at := n.first[event.HashKey(b)]
	for at > 0 && n.texts[at-1] != string(b) {
		at = n.next[at-1]
	}
	return at - 1, at > 0
}

// lack says whether it is seen at once that a member's name is not among the names.
func (n *names) lack(c *event.Cursor) bool { return !c.Among(&n.keys) }

// set is a set of names.
type set [4]uint64

func (s *set) add(i uint8)      { s[i>>6] |= 1 << (i & 63) }
func (s *set) has(i uint8) bool { return s[i>>6]>>(i&63)&1 != 0 }

// object compiles an object.
func (c *compiler) object(o *object) op {
	out := &objectOp{always: o.always}
	for i := range o.members {
		m := &o.members[i]
		known := c.known(m.cond)
		if known == fails {
			continue
		}
		mo := memberOp{name: m.key}
		if known == unknown {
			mo.cond, mo.asks = c.test(m.cond), true
		}
		if m.spread != nil {
			c.spread(out, &mo, m.spread)
			continue
		}
		n := c.node(m.node)
		if _, is := n.(nothing); is {
			continue
		}
		mo.key = append(event.AppendQuoted([]byte{','}, m.key), ':')
		switch n := n.(type) {
		case copied:
			mo.way, mo.field = byField, int16(n)
		case constant:
			mo.way, mo.key = byFixed, append(mo.key, n...)
		case *valueOp:
			mo.shorten(n)
		case firstOp:
			field, is := n[0].(copied)
			if els, fixed := n[1].(constant); is && fixed && len(n) == 2 {
				mo.way, mo.field, mo.els = byField, int16(field), els
			}
		}
		mo.n, mo.key = n, event.Padded(mo.key)
		out.members = append(out.members, mo)
	}
	for i := len(out.members) - 2; i >= 0; i-- {
		m, next := &out.members[i], &out.members[i+1]
		if m.way == byCopy && next.way == byCopy && m.field >= 0 && m.field == next.field {
			m.same = min(next.same, maxNames) + 1
		}
	}
	if len(out.spreads) == 0 {
		if text, ok := out.constant(); ok {
			return text
		}
		return out
	}
	for i := range out.members {
		if m := &out.members[i]; m.spread == nil {
			m.names = out.names.add(m.name)
		}
	}
	for _, s := range out.spreads {
		for _, name := range s.omit {
			if n := out.names.add(name); !out.names.many {
				out.names.omit[n] |= 1 << s.at
			}
		}
	}
	if out.names.many || len(out.spreads) > 32 {
		return &interpreted{c.p, *o}
	}
	return out
}

// shorten finds a faster way than the node, for a value that comes from one place.
func (m *memberOp) shorten(v *valueOp) {
	if v.src != fromField && v.src != fromEvent || len(v.candidates) != 1 {
		return
	}
	switch c := &v.candidates[0]; {
	case len(v.steps) == 0 && v.tail == nil && (c.part >= 0 || c.deep >= 0):
		m.way, m.copies, m.field = byCopy, c, c.field
	case c.field >= 0:
		m.way, m.field = byValue, c.field
	}
}

// constant is the object as text if it is always the same.
func (o *objectOp) constant() (constant, bool) {
	text := []byte{'{'}
	for i := range o.members {
		m := &o.members[i]
		if m.way != byFixed || m.cond != nil {
			return nil, false
		}
		if i == 0 {
			text = append(text, m.key[1:]...)
		} else {
			text = append(text, m.key...)
		}
	}
	if len(text) == 1 && !o.always {
		return nil, false
	}
	return constant(append(text, '}')), true
}

func (c *compiler) spread(o *objectOp, mo *memberOp, s *spread) {
	so := &spreadOp{spread: s, at: len(o.spreads), cond: mo.cond}
	if !s.fields {
		so.of = c.value(&s.of)
	}
	if s.each != nil {
		c.inside++
		so.each = c.node(s.each)
		c.inside--
	}
	o.wins = o.wins || s.wins
	o.spreads = append(o.spreads, so)
	mo.spread, mo.way = so, bySpread
	o.members = append(o.members, *mo)
}

// interpreted is an object that is too large to be compiled.
type interpreted struct {
	p *Program
	o object
}

func (o *interpreted) put(w *writing) bool {
	x := interpreter{writing: w, p: o.p}
	return x.object(&o.o)
}

func (o *objectOp) put(w *writing) bool {
	if len(o.spreads) > 0 {
		return o.putSpreads(w)
	}
	from := len(w.buf)
	w.sep()
	w.buf = append(w.buf, '{')
	start := len(w.buf)
	o.putMembers(w, nil, start)
	return w.close(from, start, '}', o.always)
}

// putMembers writes the members of an object, which begin at a place in buf. sp is the state of its spreads.
func (o *objectOp) putMembers(w *writing, sp *spreading, start int) {
	fields, index := w.in.Payload.Index()
	buf := w.buf // a local variable, because w.buf would be stored for every piece of text
	for i := 0; i < len(o.members); i++ {
		m := &o.members[i]
		var ref event.Ref // not 0: the value to copy
		switch m.way {
		case byField:
			if ref = fields[m.field]; ref == 0 && m.els == nil {
				continue
			}
		case byCopy:
			if m.field >= 0 && fields[m.field] == 0 {
				i += int(m.same)
				continue
			}
			var known bool
			if ref, known = m.copies.ref(w); known && ref == 0 {
				continue
			}
		case byValue:
			if fields[m.field] == 0 {
				continue
			}
		case bySpread:
			w.buf = buf
			sp.put(w, m.spread, start)
			buf = w.buf
			continue
		}
		if sp != nil && sp.anyReplaced && sp.replaced.has(m.names) {
			continue
		}
		if m.asks {
			w.buf = buf
			if !m.cond.holds(w) {
				continue
			}
		}
		at := len(buf)
		if at > start {
			buf = event.AppendPadded(buf, m.key)
		} else {
			buf = append(buf, m.key[1:]...)
		}
		switch {
		case ref == event.FreeRef:
			buf = append(buf, w.in.Payload.RawAt(m.field)...)
		case ref != 0 && ref.InText():
			buf = index.Append(buf, ref)
		case m.way == byFixed:
		case m.els != nil:
			buf = append(buf, m.els...)
		default:
			if w.buf = buf; !m.n.put(w) {
				w.cut(at)
			}
			buf = w.buf
		}
	}
	w.buf = buf
}

// would says whether a member would be written.
func (m *memberOp) would(w *writing) bool {
	if m.cond != nil && !m.cond.holds(w) {
		return false
	}
	switch m.way {
	case byFixed:
		return true
	case byField:
		return m.els != nil || !w.in.Payload.Lacks(m.field)
	}
	at := len(w.buf)
	ok := m.n.put(w)
	w.cut(at)
	return ok
}

// spreading is the state of an object's spreads for one event.
type spreading struct {
	o           *objectOp
	of          [4]event.Value // of the first spreads; others are found again when needed
	replaced    set            // names in the spreads that win
	anyReplaced bool
	alone       uint64 // spreads that share no name with another member, one bit for each
}

func (o *objectOp) putSpreads(w *writing) bool {
	sp := spreading{o: o}
	for i, s := range o.spreads {
		if i < len(sp.of) {
			sp.of[i] = s.find(w)
		}
	}
	if o.wins {
		sp.replace(w)
	}
	from := len(w.buf)
	w.sep()
	w.buf = append(w.buf, '{')
	start := len(w.buf)
	o.putMembers(w, &sp, start)
	return w.close(from, start, '}', o.always)
}

// find is the object that is spread; Missing: there is none, or its condition does not hold.
func (s *spreadOp) find(w *writing) event.Value {
	if s.fields || s.cond != nil && !s.cond.holds(w) {
		return event.Value{}
	}
	var it item
	if !s.of.find(w, &it) || it.kind() != event.Object {
		return event.Value{}
	}
	return w.valueOf(&it)
}

func (sp *spreading) value(w *writing, s *spreadOp) event.Value {
	if s.at < len(sp.of) {
		return sp.of[s.at]
	}
	return s.find(w)
}

// replace collects the names in spreads that win.
func (sp *spreading) replace(w *writing) {
	for _, s := range sp.o.spreads {
		if !s.wins {
			continue
		}
		if s.fields {
			if s.cond == nil || s.cond.holds(w) {
				for i := range sp.o.members {
					if m := &sp.o.members[i]; m.spread == nil && !sp.o.names.omits(m.names, s) &&
						w.in.Payload.Has(m.name) {
						sp.replaced.add(m.names)
						sp.anyReplaced = true
					}
				}
			}
			continue
		}
		of := sp.value(w, s)
		if s.rename == nil && s.each == nil && of.Apart(&sp.o.names.keys) {
			sp.alone |= 1 << s.at // most often
			continue
		}
		n, size, alone := 0, 1, s.rename == nil && s.each == nil
		for c := of.Cursor(); c.Next(); n++ {
			size += c.Size() + 1
			if s.rename == nil && sp.o.names.lack(&c) {
				continue // most often
			}
			name, plain := w.nameOf(c.Key())
			number, found := sp.o.names.of(name)
			alone = alone && plain && !found
			if found && sp.o.names.omits(number, s) {
				continue
			}
			if s.rename != nil {
				to := s.called(w, &sp.o.names, name)
				number, found = to.number, to.found
			}
			if found {
				sp.replaced.add(number)
				sp.anyReplaced = true
			}
		}
		if alone && n > 0 && size == of.Size() {
			sp.alone |= 1 << s.at
		}
	}
}

func (n *names) omits(number uint8, s *spreadOp) bool { return n.omit[number]>>s.at&1 != 0 }

// nameOf is the text of a key; plain says that it has no escapes.
func (w *writing) nameOf(k event.Value) (name []byte, plain bool) {
	if b, ok := k.Plain(); ok {
		return b, true
	}
	at := len(w.tmp)
	w.tmp = k.AppendString(w.tmp)
	return w.tmp[at:len(w.tmp):len(w.tmp)], false
}

// put writes a spread into an object whose members begin at a place in buf.
func (sp *spreading) put(w *writing, s *spreadOp, start int) {
	if s.fields {
		sp.fields(w, s, start)
		return
	}
	of := sp.value(w, s)
	if of.Kind() != event.Object {
		return
	}
	// Usually no other member shares a name with it, so it is copied unchanged.
	if s.each == nil && s.rename == nil && s.at == len(sp.o.spreads)-1 && sp.isAlone(s, of) {
		if len(w.buf) > start {
			w.buf = append(w.buf, ',')
		}
		raw := of.Raw()
		w.buf = append(w.buf, raw[1:len(raw)-1]...)
		return
	}
	sp.each(w, s, of, start)
}

// isAlone says whether a spread object shares no name with other members, and contains no white space.
func (sp *spreading) isAlone(s *spreadOp, of event.Value) bool {
	if s.wins {
		return sp.alone>>s.at&1 != 0
	}
	if of.Apart(&sp.o.names.keys) {
		return true
	}
	size, n := 1, 0
	for c := of.Cursor(); c.Next(); n++ {
		size += c.Size() + 1
		if sp.o.names.lack(&c) {
			continue
		}
		name, plain := c.Key().Plain()
		if !plain {
			return false
		}
		if _, found := sp.o.names.of(name); found {
			return false
		}
	}
	return n > 0 && size == of.Size()
}

// each writes the members of an object that is spread, one by one.
func (sp *spreading) each(w *writing, s *spreadOp, of event.Value, start int) {
	element, inside, index := w.element, w.inside, w.index
	for c := of.Cursor(); c.Next(); {
		w.element, w.inside = element, inside
		k, v := c.Key(), c.Value()
		var name []byte
		if s.rename != nil || s.at < len(sp.o.spreads)-1 || !sp.o.names.lack(&c) {
			if name, _ = w.nameOf(k); !sp.free(w, s, name) {
				continue
			}
		}
		at := len(w.buf)
		if at > start {
			w.buf = append(w.buf, ',')
		}
		if s.rename != nil {
			to := s.called(w, &sp.o.names, name).to
			if to == "" {
				w.cut(at)
				continue
			}
			w.buf = append(event.AppendQuoted(w.buf, to), ':')
		} else {
			w.buf = append(append(w.buf, k.Raw()...), ':')
		}
		if s.each == nil {
			w.buf = append(w.buf, v.Raw()...)
			continue
		}
		w.element, w.inside = v, true
		if !s.each.put(w) {
			w.cut(at)
		}
	}
	w.element, w.inside, w.index = element, inside, index
}

func (sp *spreading) fields(w *writing, s *spreadOp, start int) {
	if s.cond != nil && !s.cond.holds(w) {
		return
	}
	for key, raw := range w.in.Payload.All() {
		if !sp.free(w, s, []byte(key)) {
			continue
		}
		if len(w.buf) > start {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(event.AppendQuoted(w.buf, key), ':')
		w.buf = append(w.buf, raw...)
	}
}

// free says whether no other member of the object takes a name of a spread.
func (sp *spreading) free(w *writing, s *spreadOp, name []byte) bool {
	o := sp.o
	n, found := o.names.of(name)
	if found && o.names.omits(n, s) {
		return false
	}
	as := ""
	if s.rename != nil {
		to := s.called(w, &o.names, name)
		as, n, found = to.to, to.number, to.found
	}
	if found && !s.wins && !sp.replaced.has(n) {
		for i := range o.members {
			if m := &o.members[i]; m.spread == nil && m.names == n && m.would(w) {
				return false
			}
		}
	}
	if s.at == len(o.spreads)-1 {
		return true
	}
	if s.rename == nil {
		as = w.shared(name)
	}
	for _, later := range o.spreads[s.at+1:] {
		if sp.has(w, later, as) {
			return false
		}
	}
	return true
}

// has says whether a spread has a name that it does not leave out.
func (sp *spreading) has(w *writing, s *spreadOp, name string) bool {
	if s.fields {
		return (s.cond == nil || s.cond.holds(w)) && !slices.Contains(s.omit, name) && w.in.Payload.Has(name)
	}
	of := sp.value(w, s)
	if s.rename == nil {
		return !slices.Contains(s.omit, name) && of.Get(name).Exists()
	}
	for c := of.Cursor(); c.Next(); {
		k, _ := w.nameOf(c.Key())
		if s.called(w, &sp.o.names, k).to != name {
			continue
		}
		if n, found := sp.o.names.of(k); !found || !sp.o.names.omits(n, s) {
			return true
		}
	}
	return false
}
