package payload

import (
	"iter"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

var emptyObject, _ = event.ParseValue([]byte("{}"))

// payloadScratch is a Resolver's memory for one payload.
type payloadScratch struct {
	payload  Payload
	refs     []event.Ref // of each field: a value of the event as it is, made, or absent
	made     []madeField // of each field that is made
	out      []byte      // what was made
	order    []uint16    // the fields that are there, of a mapping that does not say so beforehand
	given    []given     // the values before coercion, for conditions
	full     []byte      // the payload as text, when somebody asked for it
	problems []string
}

const (
	absent event.Ref = 0
	made             = event.FreeRef
)

// madeField is a field that is no value of the event as it is.
type madeField struct {
	start, end int         // of its text, in what was made
	value      event.Value // an index over that, when somebody asked for it
	// An object that was put together of the event's values is these, by the places of
	// its members among those that are declared. It has no text until somebody asks.
	parts  []event.Ref
	whole  bool
	member *member // nil: it has a text
}

// given is a member before coercion.
type given struct {
	key string
	raw []byte
}

// reset prepares for a payload of n fields.
func (s *payloadScratch) reset(n int) {
	s.out, s.order, s.given, s.problems = s.out[:0], s.order[:0], s.given[:0], nil
	if cap(s.refs) < n {
		s.refs, s.made = make([]event.Ref, n), make([]madeField, n)
	}
	s.refs, s.made = s.refs[:n], s.made[:n]
	clear(s.refs)
}

// make makes a field of what was written since start.
func (s *payloadScratch) make(f *schema, start int) {
	m := &s.made[f.number]
	m.start, m.end, m.value, m.whole, m.member = start, len(s.out), event.Value{}, false, nil
	s.refs[f.number] = made
	s.order = append(s.order, uint16(f.number))
}

// Payload is a resolved, coerced and validated event. It belongs to the
// Resolver it was made with and is valid until that runs again.
//
// Values that are the event's own are not copied: they are numbers of its index, which
// is all that a body needs to write them.
type Payload struct {
	r     *Resolver
	root  *schema
	order []uint16 // of the mapping's members; nil: see payloadScratch
	full  bool
	deep  []deep
}

// hashOf is a cheap hash of a field's name. An action asks for dozens of
// fields by their names, many of which are not there.
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

// Index is for whoever writes many fields: of each field the value in the index of the
// event, 0 for those that are missing, and [event.FreeRef] for those that are no value of
// the event as it is, which [Payload.RawAt] has.
func (p *Payload) Index() (fields []event.Ref, index *event.Refs) {
	if p == nil {
		return nil, nil
	}
	return p.r.now.refs, &p.r.Refs
}

// At is Get of the field with a number: its place among the action's fields.
func (p *Payload) At(f int16) event.Value {
	if f < 0 || p.r.now.refs[f] == absent {
		return event.Value{}
	}
	return p.value(uint16(f))
}

// Lacks says that there is no value for the field with a number.
func (p *Payload) Lacks(f int16) bool { return p.r.now.refs[f] == absent }

// Get returns a field's value, or Missing.
func (p *Payload) Get(key string) event.Value { return p.At(int16(p.root.field(key))) }

// value is that of a field that is there.
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
			return event.Value{} // cannot be: the bytes were written from valid values
		}
		m.value = v
	}
	return m.value
}

// Part is a member of a field that is an object, both by their places among those that
// are declared. It is known only of objects that were put together of the event's values.
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

// Deep is the value at a place below a field, of those that the Program was made with
// ([Deeper]): what [event.Value.Find] gives. It is known only where the field is the event's
// own value, and nothing but members of objects lead there.
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

// RawAt is Raw of the field with a number: its place among the action's fields.
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

// Has reports whether the payload has the field.
func (p *Payload) Has(key string) bool {
	f := p.root.field(key)
	return f >= 0 && p.r.now.refs[f] != absent
}

// Text returns a field's text, decoded; the JSON of a field that is no string;
// "" when it is absent.
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

// numbers yields the fields that are there in the order of the mapping.
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

// Fields yields the fields in the order of the mapping: their keys, and the numbers
// by which [Payload.At] knows them.
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

// Write writes the payload as a JSON object.
func (p *Payload) Write(w *jsonval.Writer) {
	w.Raw(p.JSON())
}

// JSON returns the payload as a JSON object. The caller must not change it.
func (p *Payload) JSON() []byte {
	s := &p.r.now
	if !p.full {
		if cap(s.full) > 1<<20 {
			s.full = nil // one huge event must not pin its size for ever
		}
		s.full, p.full = p.AppendJSON(s.full[:0]), true
	}
	return s.full[:len(s.full):len(s.full)]
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

// raw is the text of a field that is there.
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
