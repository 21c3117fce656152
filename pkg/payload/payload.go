package payload

import (
	"iter"

	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/event"
)

var emptyObject, _ = event.ParseValue([]byte("{}"))

// payloadScratch is a Resolver's memory for one payload.
type payloadScratch struct {
	payload  Payload
	refs     []event.Ref // for each field: an unchanged value of the event, a made one, or absent
	made     []madeField // the made fields
	out      []byte      // the text of the made fields
	order    []uint16    // the fields that are present, if the mapping does not tell this beforehand
	given    []given     // values before coercion, for conditions
	problems []byte      // each ends in endOfProblem
	noted    []byte      // all of them, with what is missing before the others

	known [64]*InvalidError // recent ones: many events break the same rules
}

// invalid is the error of what was noted.
func (s *payloadScratch) invalid() *InvalidError {
	at := &s.known[xxh3.Hash(s.noted)%uint64(len(s.known))]
	if *at == nil || (*at).noted != string(s.noted) {
		*at = invalid(string(s.noted))
	}
	return *at
}

const (
	absent event.Ref = 0
	made             = event.FreeRef
)

// madeField is a field whose value is not an unchanged value of the event.
type madeField struct {
	start, end int         // of its text in payloadScratch.out
	value      event.Value // the parsed text, once it was asked for
	// parts are the values of an object that consists of the event's values, in the order of its declared members.
	// The object has no text until it is asked for.
	parts  []event.Ref
	whole  bool
	member *member // nil: it has a text
}

// given is a member before coercion.
type given struct {
	key string
	raw []byte
}

// reset prepares for a payload with n fields.
func (s *payloadScratch) reset(n int) {
	s.out, s.order, s.given, s.problems = s.out[:0], s.order[:0], s.given[:0], s.problems[:0]
	if cap(s.refs) < n {
		s.refs, s.made = make([]event.Ref, n), make([]madeField, n)
	}
	s.refs, s.made = s.refs[:n], s.made[:n]
	clear(s.refs)
}

// make makes a field from what was written since start.
func (s *payloadScratch) make(f *schema, start int) {
	m := &s.made[f.number]
	m.start, m.end, m.value, m.whole, m.member = start, len(s.out), event.Value{}, false, nil
	s.refs[f.number] = made
	s.order = append(s.order, uint16(f.number))
}

// Payload is a resolved, coerced and validated event. It belongs to its Resolver, and is valid until that runs
// again.
//
// Values of the event itself are not copied: they are references into its index, which is all that a body needs to
// write them.
type Payload struct {
	r     *Resolver
	root  *schema
	order []uint16 // of the mapping's members; nil: see payloadScratch
	deep  []deep
}

// hashOf is a cheap hash of a field's name. An action looks up dozens of fields by name, and many of them are
// missing.
func hashOf(key string) byte {
	n := len(key)
	if n == 0 {
		return 0
	}
	return byte(
		(uint32(key[0])*31 + uint32(key[n-1])*7 + uint32(key[n/2])*131 + uint32(key[n*3/4])*57 +
			uint32(n)*17) * 0x9e3779b1 >> 24,
	)
}

// Index is for writing many fields at once. It returns for each field the reference into the event's index: 0 if
// the field is missing, and [event.FreeRef] if its value is not an unchanged value of the event; then
// [Payload.RawAt] has it.
func (p *Payload) Index() (fields []event.Ref, index *event.Refs) {
	if p == nil {
		return nil, nil
	}
	return p.r.now.refs, &p.r.Refs
}

// At is Get for a field's index in the action's list.
func (p *Payload) At(f int16) event.Value {
	if f < 0 || p.r.now.refs[f] == absent {
		return event.Value{}
	}
	return p.value(uint16(f))
}

// Lacks says whether the field with this index is missing.
func (p *Payload) Lacks(f int16) bool { return p.r.now.refs[f] == absent }

// Get returns a field's value, or Missing.
func (p *Payload) Get(key string) event.Value { return p.At(int16(p.root.field(key))) }

// value is the value of a field that is present.
func (p *Payload) value(f uint16) event.Value {
	s := &p.r.now
	if ref := s.refs[f]; ref != made {
		return p.r.Refs.Value(ref)
	}
	m := &s.made[f]
	if !m.value.Exists() {
		raw := p.r.raw(f)
		if len(raw) == 2 && raw[0] == '{' {
			return emptyObject // as often
		}
		v, err := p.r.Parse(raw)
		if err != nil {
			return event.Value{} // cannot happen: the bytes were written from valid values
		}
		m.value = v
	}
	return m.value
}

// Part is a member of an object field, both given by their index among the declared ones. known is true only for
// objects that consist of the event's values.
func (p *Payload) Part(f, member int16) (ref event.Ref, known bool) {
	s := &p.r.now
	switch ref := s.refs[f]; {
	case ref == absent:
		return absent, true
	case ref != made || !s.made[f].whole:
		return absent, false
	}
	return s.made[f].parts[member], true
}

// Deep is the value at a path below a field, one of those given to [Deeper], as [event.Value.Find] returns it.
// known is true only if the field is a value of the event, and the path leads only through members of objects.
func (p *Payload) Deep(i int16) (ref event.Ref, known bool) {
	if p == nil || int(i) >= len(p.deep) || p.r.Plain || p.deep[i].slot == 0 {
		return absent, false
	}
	d, s, slots := &p.deep[i], &p.r.now, p.r.Refs.Slots()
	if d.field >= 0 {
		if at := s.refs[d.field]; at == absent {
			return absent, true
		} else if at != slots[d.base-1] {
			return absent, false
		}
	}
	switch parent := slots[d.parent-1]; {
	case parent == absent:
		return absent, true
	case parent.Kind() != event.Object || !parent.InText():
		return absent, false
	}
	return slots[d.slot-1], true
}

// RawAt is Raw for a field's index in the action's list.
func (p *Payload) RawAt(f int16) []byte {
	if p.r.now.refs[f] == absent {
		return nil
	}
	return p.r.raw(uint16(f))
}

// Raw returns a field's JSON, or nil. The caller must not change it.
func (p *Payload) Raw(key string) []byte {
	f := p.root.field(key)
	if f < 0 {
		return nil
	}
	return p.RawAt(int16(f))
}

// Has says whether the payload has the field.
func (p *Payload) Has(key string) bool {
	f := p.root.field(key)
	return f >= 0 && p.r.now.refs[f] != absent
}

// Text returns a field's decoded text, or its JSON if it is not a string; "" if it is missing.
func (p *Payload) Text(key string) string {
	v := p.Get(key)
	if !v.Exists() {
		return ""
	}
	return v.Text()
}

// Len returns the number of fields.
func (p *Payload) Len() (n int) {
	for range p.numbers {
		n++
	}
	return n
}

// numbers yields the indices of the present fields, in the order of the mapping.
func (p *Payload) numbers(yield func(f uint16) bool) {
	order := p.order
	if order == nil {
		order = p.r.now.order
	}
	for _, f := range order {
		if p.r.now.refs[f] != absent && !yield(f) {
			return
		}
	}
}

// Keys yields the fields' names in the order of the mapping.
func (p *Payload) Keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		for f := range p.numbers {
			if !yield(p.root.keys[f]) {
				return
			}
		}
	}
}

// All yields the fields in the order of the mapping, as JSON.
func (p *Payload) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for f := range p.numbers {
			if !yield(p.root.keys[f], p.r.raw(f)) {
				return
			}
		}
	}
}

// Fields yields the fields in the order of the mapping: their keys, and the indices for [Payload.At].
func (p *Payload) Fields() iter.Seq2[string, int16] {
	return func(yield func(string, int16) bool) {
		for f := range p.numbers {
			if !yield(p.root.keys[f], int16(f)) {
				return
			}
		}
	}
}

// AppendJSON appends the payload as a JSON object.
func (p *Payload) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for f := range p.numbers {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, p.root.props[f].prefix...)
		dst = append(dst, p.r.raw(f)...)
	}
	return append(dst, '}')
}

// take makes a value a field of the payload.
func (r *Resolver) take(f *schema, v event.Value) {
	s := &r.now
	if ref, ok := r.Refs.Ref(v); ok {
		s.refs[f.number] = ref
		s.order = append(s.order, uint16(f.number))
		return
	}
	start := len(s.out)
	s.out = append(s.out, v.Raw()...)
	s.make(f, start)
}

// raw is the text of a field that is present.
func (r *Resolver) raw(f uint16) []byte {
	s := &r.now
	if ref := s.refs[f]; ref != made {
		return r.Refs.Raw(ref)
	}
	m := &s.made[f]
	if m.member != nil {
		m.start = len(s.out)
		m.member.join(r, m.parts)
		m.end, m.member = len(s.out), nil
	}
	return s.out[m.start:m.end:m.end]
}
