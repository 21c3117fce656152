package jsonval

import (
	"math"
	"strconv"

	"github.com/fanfold/fanfold/pkg/event"
)

// Writer writes JSON into one growing slice. It puts the commas: after any
// complete value the next key or element gets one. It does not check that the
// calls nest properly; whoever calls it must.
//
// The zero Writer is ready for use. It is not safe for concurrent use.
type Writer struct {
	buf  []byte
	base int // where this writer's own text begins in buf
}

// Reset makes w append to buf.
func (w *Writer) Reset(buf []byte) { w.buf, w.base = buf, len(buf) }

// Bytes returns the slice given to Reset with everything written after it. It
// stays valid until the next call of Reset.
func (w *Writer) Bytes() []byte {
	return w.buf
}

// Len returns how many bytes have been written since Reset.
func (w *Writer) Len() int {
	return len(w.buf) - w.base
}

// Written is Len and Bytes for whoever puts texts together and does not decide
// anything by it.
func (w *Writer) Written() (buf []byte, n int) { return w.buf, len(w.buf) - w.base }

// Truncate takes back what was written after the first n bytes, for a caller
// that finds out late that a value does not exist.
func (w *Writer) Truncate(n int) {
	w.buf = w.buf[:w.base+n]
}

// value writes a value of an event, or of a payload.
func (w *Writer) value(v event.Value) {
	w.buf = append(w.buf, v.Raw()...)
}

// sep writes the comma between two values. The last byte says whether there
// is one to separate from: no complete JSON value ends in any of "{[:,".
func (w *Writer) sep() {
	if n := len(w.buf); n > w.base {
		switch w.buf[n-1] {
		case '{', '[', ':', ',':
		default:
			w.buf = append(w.buf, ',')
		}
	}
}

// BeginObject writes "{".
func (w *Writer) BeginObject() { w.sep(); w.buf = append(w.buf, '{') }

// EndObject writes "}".
func (w *Writer) EndObject() { w.buf = append(w.buf, '}') }

// BeginArray writes "[".
func (w *Writer) BeginArray() { w.sep(); w.buf = append(w.buf, '[') }

// EndArray writes "]".
func (w *Writer) EndArray() { w.buf = append(w.buf, ']') }

// Key writes a member's name and the colon.
func (w *Writer) Key(key string) {
	w.sep()
	w.buf = event.AppendQuoted(w.buf, key)
	w.buf = append(w.buf, ':')
}

// Raw writes a complete JSON value as it is. The caller answers for its
// validity.
func (w *Writer) Raw(json []byte) { w.sep(); w.buf = append(w.buf, json...) }

// RawString is Raw for a string, for constants.
func (w *Writer) RawString(json string) { w.sep(); w.buf = append(w.buf, json...) }

// Text writes a JSON string.
func (w *Writer) Text(s string) { w.sep(); w.buf = event.AppendQuoted(w.buf, s) }

// TextBytes writes a JSON string from bytes.
func (w *Writer) TextBytes(s []byte) { w.sep(); w.buf = event.AppendQuoted(w.buf, s) }

// Int writes an integer.
func (w *Writer) Int(i int64) { w.sep(); w.buf = strconv.AppendInt(w.buf, i, 10) }

// Float writes a number as JavaScript does; NaN and the infinities become
// null, which is what JSON.stringify makes of them.
func (w *Writer) Float(f float64) {
	w.sep()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.buf = append(w.buf, "null"...)
		return
	}
	w.buf = event.AppendFloatJS(w.buf, f)
}

// Bool writes true or false.
func (w *Writer) Bool(b bool) { w.sep(); w.buf = strconv.AppendBool(w.buf, b) }

// Null writes null.
func (w *Writer) Null() { w.sep(); w.buf = append(w.buf, "null"...) }

// Val writes a value byte for byte; a missing one becomes null.
func (w *Writer) Val(v event.Value) {
	if !v.Exists() {
		w.Null()
		return
	}
	w.sep()
	w.value(v)
}

// Field writes a member, or nothing when v is missing.
func (w *Writer) Field(key string, v event.Value) {
	if v.Exists() {
		w.Key(key)
		w.value(v)
	}
}

// FieldNonNull writes a member, or nothing when v is missing or null.
func (w *Writer) FieldNonNull(key string, v event.Value) {
	if k := v.Kind(); k != event.Missing && k != event.Null {
		w.Key(key)
		w.value(v)
	}
}

// RawField writes a member, or nothing when json is empty.
func (w *Writer) RawField(key string, json []byte) {
	if len(json) > 0 {
		w.Key(key)
		w.buf = append(w.buf, json...)
	}
}

// TextField writes a text member: a prefix, and a value's text.
func (w *Writer) TextField(key, prefix string, v event.Value) {
	w.Key(key)
	w.prefixed(prefix, v)
}

func (w *Writer) prefixed(prefix string, v event.Value) {
	if v.Kind() != event.String {
		w.buf = event.AppendQuoted(w.buf, prefix+v.Text())
		return
	}
	w.buf = event.AppendQuoted(w.buf, prefix)
	w.buf = append(w.buf[:len(w.buf)-1], v.Raw()[1:]...)
}

// Str writes a text member.
func (w *Writer) Str(key, s string) { w.Key(key); w.buf = event.AppendQuoted(w.buf, s) }

// StrNonEmpty writes a text member, or nothing when s is empty.
func (w *Writer) StrNonEmpty(key, s string) {
	if s != "" {
		w.Str(key, s)
	}
}

// IntField writes an integer member.
func (w *Writer) IntField(key string, i int64) { w.Key(key); w.Int(i) }

// FloatField writes a number member.
func (w *Writer) FloatField(key string, f float64) { w.Key(key); w.Float(f) }

// BoolField writes a boolean member.
func (w *Writer) BoolField(key string, b bool) { w.Key(key); w.Bool(b) }

// Members writes every member of an object, except those named in skip, into
// the object that is open. Nothing happens when v is no object.
func (w *Writer) Members(v event.Value, skip ...string) {
	if v.Kind() != event.Object {
		return
	}
members:
	for k, m := range v.Members() {
		for _, s := range skip {
			if k.IsText(s) {
				continue members
			}
		}
		w.sep()
		w.buf = append(w.buf, k.Raw()...)
		w.buf = append(w.buf, ':')
		w.value(m)
	}
}

// RawKey writes a member's name that already is a JSON string, and the colon.
func (w *Writer) RawKey(quoted []byte) {
	w.sep()
	w.buf = append(w.buf, quoted...)
	w.buf = append(w.buf, ':')
}
