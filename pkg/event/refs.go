package event

import "encoding/binary"

// Ref is a value of a text by its number in the text's index, with its kind. It is a
// number and nothing else: hundreds of them are noted for each event, and the collector
// need not look at any. The zero Ref is a value that is missing.
type Ref uint32

const (
	refShift = 3
	// madeRef is the bit of values that stand in no text: the length of a list.
	madeRef Ref = 1 << 31
	// FreeRef is a bit that no Ref has, for whoever keeps other things among them.
	FreeRef Ref = 1 << 30
)

// maxRefs is how many values a text may have for Refs to tell them apart.
const maxRefs = int(FreeRef >> refShift)

// Kind is that of the value.
func (r Ref) Kind() Kind { return Kind(r & Ref(kindBits)) }

// ref is the value as a number; of a key there is none.
func (v Value) ref() Ref { return Ref(v.at)<<refShift | Ref(v.kind) }

// Refs are what the paths of a [PathSet] lead to in one value. The zero Refs is ready for
// [PathSet.Find]. It is not safe for concurrent use.
type Refs struct {
	doc    *doc
	raw    []byte
	places []place
	slots  []Ref
	made   []Value
}

// Slot is what was found for a slot. It is 0 where nothing was.
func (r *Refs) Slot(i int) Ref { return r.slots[i] }

// Slots are what was found for all of them.
func (r *Refs) Slots() []Ref { return r.slots }

// At is Slot as a value.
func (r *Refs) At(i int) Value { return r.Value(r.slots[i]) }

// Value is what a Ref stands for.
func (r *Refs) Value(f Ref) Value {
	switch {
	case f == 0:
		return Value{}
	case f&madeRef != 0:
		return r.made[f&^madeRef>>refShift]
	}
	return Value{doc: r.doc, at: int32(f >> refShift), kind: f.Kind()}
}

// Ref is the number of a value, if it stands in the text.
func (r *Refs) Ref(v Value) (f Ref, ok bool) {
	if v.doc != r.doc || v.at < 0 || v.kind == Missing {
		return 0, false
	}
	return v.ref(), true
}

// InText says that the value stands in the text, so that [Refs.Raw] has it.
func (f Ref) InText() bool { return f&madeRef == 0 }

// Raw is the JSON text of a value that stands in the text. The caller must not change it.
func (r *Refs) Raw(f Ref) []byte {
	p := r.places[f>>refShift]
	return r.raw[p.start:p.stop():p.stop()]
}

// Append appends Raw to dst. Most values are short: a copy of a fixed length, which goes
// beyond them, takes half as long as one that first looks how long it is.
func (r *Refs) Append(dst []byte, f Ref) []byte {
	p := r.places[f>>refShift]
	start, n, at := int(p.start), int(p.stop()-p.start), len(dst)
	if n <= shortCopy && start+shortCopy <= len(r.raw) && at+shortCopy <= cap(dst) {
		copyShort((*[shortCopy]byte)(dst[at:at+shortCopy]), (*[shortCopy]byte)(r.raw[start:start+shortCopy]))
		return dst[:at+n]
	}
	return append(dst, r.raw[start:start+n]...)
}

// shortCopy is how long the copies of fixed length are, in bytes.
const shortCopy = 32

// copyShort copies word by word. An assignment of the arrays would call a function, since
// they might overlap.
func copyShort(to, from *[shortCopy]byte) {
	a, b := binary.LittleEndian.Uint64(from[:]), binary.LittleEndian.Uint64(from[8:])
	c, d := binary.LittleEndian.Uint64(from[16:]), binary.LittleEndian.Uint64(from[24:])
	binary.LittleEndian.PutUint64(to[:], a)
	binary.LittleEndian.PutUint64(to[8:], b)
	binary.LittleEndian.PutUint64(to[16:], c)
	binary.LittleEndian.PutUint64(to[24:], d)
}

// Padded is text with room behind it, for [AppendPadded].
func Padded(text []byte) []byte {
	return append(make([]byte, 0, max(len(text), shortCopy)), text...)
}

// AppendPadded appends a text to dst, of which [Padded] has made a copy: faster than append
// when it is short.
func AppendPadded(dst, text []byte) []byte {
	if at := len(dst); len(text) <= shortCopy && cap(text) >= shortCopy && at+shortCopy <= cap(dst) {
		copyShort((*[shortCopy]byte)(dst[at:at+shortCopy]), (*[shortCopy]byte)(text[:shortCopy]))
		return dst[:at+len(text)]
	}
	return append(dst, text...)
}

// Size is the length of Raw.
func (r *Refs) Size(f Ref) int {
	p := r.places[f>>refShift]
	return int(p.stop() - p.start)
}

// IsTimed says that the value is the text of a time that was read when the event was.
func (r *Refs) IsTimed(f Ref) bool {
	return r.doc.timed > 0 && f == Ref(r.doc.timed)<<refShift|Ref(String)
}

// note is what a slot holds of a value.
func (r *Refs) note(v Value) Ref {
	f, ok := r.Ref(v)
	if ok || v.kind == Missing {
		return f
	}
	r.made = append(r.made, v)
	return madeRef | Ref(len(r.made)-1)<<refShift | Ref(v.kind)
}

// reset makes room for the slots of a value.
func (r *Refs) reset(v Value, slots int) {
	r.renew(v, slots)
	clear(r.slots)
}

// renew is reset for who sets all slots.
func (r *Refs) renew(v Value, slots int) {
	r.doc, r.raw, r.places = v.doc, v.doc.raw, v.doc.places
	if cap(r.slots) < slots {
		r.slots = make([]Ref, slots)
	}
	r.slots = r.slots[:slots]
	if len(r.made) > 0 {
		clear(r.made)
		r.made = r.made[:0]
	}
}
